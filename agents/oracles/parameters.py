"""Parameters of rules, given as the heuristics take them.

A number, or one for each place. Where demand is on whole units so are levels and quantities: the
environment would round others, and the exact cost would be that of another rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stockyard.agents.oracles.demand import Floats

Levels = float | Sequence[float]


def read_levels(
    name: str,
    value: Levels,
    count: int,
    *,
    whole_units: bool = True,
    least: float = -np.inf,
    takes_scalar: bool = True,
) -> Floats:
    """Reads a number for each of `count` places.

    Args:
        name: of the parameter, for errors.
        value: one for each place; or a scalar, which stands for all.
        count: of places.
        whole_units: whether each must be whole; 16.0 is.
        least: the smallest that makes sense.
        takes_scalar: whether a scalar may stand for all.

    Returns:
        (count,) units.

    Raises:
        ValueError: naming the parameter.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    shapes = ((), (1,), (count,)) if takes_scalar else ((count,),)
    if array.shape not in shapes or not np.isfinite(array).all():
        wanted = f"{count} finite numbers" if count > 1 else "a finite number"
        alternative = ", or one for all" if takes_scalar and count > 1 else ""
        raise ValueError(f"{name}: must be {wanted}{alternative}, got {value!r}")
    if whole_units and (array != np.rint(array)).any():
        raise ValueError(f"{name}: must be whole, as demand is, got {value!r}")
    if (array < least).any():
        raise ValueError(f"{name}: must be >= {least:g}, got {value!r}")
    return np.array(np.broadcast_to(array, (count,)))


def whole(name: str, value: Levels, least: float = -np.inf) -> int:
    """Reads a whole number; see `read_levels`."""
    return int(read_levels(name, value, 1, least=least)[0])
