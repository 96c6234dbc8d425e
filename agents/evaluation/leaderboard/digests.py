"""A name for anything that a result depends on, by all its numbers."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FIGURES = 9
"""Figures to which a number counts: what another machine's last digits change keeps its name."""


def digest(value: Any) -> str:
    """SHA-256 of a value's content: worlds, processes, rules, panels, plain data.

    Two values of the same content have the same digest on any machine. Dataclasses and other
    objects count with the name of their class and all their fields, functions with their names.

    Raises:
        TypeError: naming the place, for what has no content that could be read.
    """
    hashed = hashlib.sha256()
    for part in _parts(value, "value"):
        hashed.update(part.encode("utf-8") if isinstance(part, str) else part)
        hashed.update(b"\0")
    return hashed.hexdigest()


def file_digest(*paths: Path) -> str:
    """SHA-256 of the names and contents of files, those of folders in order of their names."""
    hashed = hashlib.sha256()
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in inside:
            if "__pycache__" in file.parts:
                continue
            hashed.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
            hashed.update(hashlib.sha256(file.read_bytes()).digest())
    return hashed.hexdigest()


def _parts(value: Any, place: str) -> Iterator[str | bytes]:
    """The content of a value, piece by piece; every piece says what it is."""
    if value is None or isinstance(value, bool | str | bytes):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, enum.Enum):
        yield f"enum {_name(type(value))} {value.name}"
    elif isinstance(value, int | np.integer):
        yield f"number {int(value)}"
    elif isinstance(value, float | np.floating):
        yield f"number {_figures(float(value))}"
    elif isinstance(value, np.ndarray):
        yield from _array(value, place)
    elif isinstance(value, datetime.date | Path):
        yield f"{type(value).__name__} {value}"
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}"
        for key in sorted(value, key=str):
            yield str(key)
            yield from _parts(value[key], f"{place}[{key!r}]")
    elif isinstance(value, tuple | list):
        yield f"sequence {len(value)}"
        for index, item in enumerate(value):
            yield from _parts(item, f"{place}[{index}]")
    elif isinstance(value, frozenset | set):
        yield from _parts(sorted(value, key=str), place)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), f"{place}.partial")
    elif inspect.isroutine(value) or isinstance(value, type):
        yield f"code {_name(value)}"
    elif dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        yield f"object {_name(type(value))}"
        fields = (
            [field.name for field in dataclasses.fields(value)]
            if dataclasses.is_dataclass(value)
            else [name for name in sorted(vars(value)) if not name.startswith("__")]
        )
        for name in fields:
            yield name
            yield from _parts(getattr(value, name), f"{place}.{name}")
    else:
        raise TypeError(f"{place}: {type(value).__name__} has no content that could be read")


def _array(value: np.ndarray[Any, Any], place: str) -> Iterator[str | bytes]:
    yield f"array {value.shape}"
    if value.dtype.kind == "f":
        for number in value.ravel().tolist():
            yield _figures(number)
    elif value.dtype.kind in "biu":
        yield np.ascontiguousarray(value.astype(np.int64)).tobytes()
    else:
        yield from _parts(value.tolist(), place)


def _figures(number: float) -> str:
    """A number in `FIGURES` figures; whole ones read the same as integers."""
    if number == int(number) if np.isfinite(number) else False:
        return str(int(number))
    return f"{number:.{FIGURES - 1}e}"


def _name(code: Any) -> str:
    return f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', code)}"
