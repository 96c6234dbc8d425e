"""Checks of the fields that describe a network; errors name the field."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Values: TypeAlias = Any
"""A number or an array-like when given; a checked, read-only NumPy array afterwards."""


def check(condition: bool, field: str, problem: str) -> None:
    """Raises a ValueError that names the field unless the condition holds."""
    if not condition:
        raise ValueError(f"{field}: {problem}")


def floats(value: object, shape: tuple[int, ...], field: str, minimum: float = 0.0) -> Floats:
    """Broadcasts `value` to `shape`; refuses NaN, values below `minimum` and wrong shapes."""
    try:
        array = np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()
    except (TypeError, ValueError):
        raise ValueError(f"{field}: cannot be broadcast to shape {shape}, got {value!r}") from None
    check(not np.isnan(array).any(), field, "holds NaN")
    check(bool((array >= minimum).all()), field, f"must be >= {minimum:g}")
    array.setflags(write=False)
    return array


def ints(value: object, shape: tuple[int, ...], field: str, low: int, high: int) -> Ints:
    """Broadcasts whole numbers to `shape`; refuses those outside [low, high]."""
    try:
        array = np.broadcast_to(np.asarray(value, dtype=np.int64), shape).copy()
    except (TypeError, ValueError):
        raise ValueError(f"{field}: cannot be broadcast to shape {shape}, got {value!r}") from None
    check(
        bool(((array >= low) & (array <= high)).all()),
        field,
        f"must lie in [{low}, {high}], got {array.tolist()}",
    )
    array.setflags(write=False)
    return array


def indices(value: object, field: str, size: int) -> Ints:
    """A list of indices below `size`."""
    array = np.asarray(value, dtype=np.int64)
    check(array.ndim == 1, field, "must be a list of indices")
    return ints(array, array.shape, field, 0, size - 1)
