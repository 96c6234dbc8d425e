"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary file to write; it takes the name `path` when the block ends well.

    Whoever reads meets the old content or the new, never a part of it, and an error inside the
    block leaves the old one.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp lets only the owner read; the file gets what any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Writes bytes so that the file is there whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: str | Path, content: str) -> None:
    """Writes text (UTF-8) so that the file is there whole or not at all."""
    write_bytes_atomic(path, content.encode("utf-8"))


def write_json_atomic(path: str | Path, content: Any) -> None:
    """Writes JSON so that the file is there whole or not at all.

    NumPy numbers and arrays, dataclasses and paths are converted. JSON has no NaN and no infinity:
    they become null.
    """
    text = json.dumps(to_json(content), indent=2, allow_nan=False) + "\n"
    write_text_atomic(path, text)


def to_json(value: Any) -> Any:
    """Converts a value into what JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")
