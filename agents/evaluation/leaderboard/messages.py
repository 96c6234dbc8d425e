"""What goes through the pipes between the evaluator and a submission: JSON and arrays.

Nothing is ever unpickled: whoever sits at the other end may be hostile, and a pickle runs code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = struct.Struct(">QI")  # bytes of the whole message, of which the header
"""What every message begins with."""

LARGEST = 1 << 28
"""Bytes of a message that are taken for one."""

_KINDS = "biuf"  # kinds of arrays that are numbers


class BadMessage(Exception):
    """The other end sent what is no message."""


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """Writes a message."""
    parts = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    told = {name: [array.dtype.str, list(array.shape)] for name, array in parts.items()}
    head = json.dumps({"header": dict(header), "arrays": told}).encode("utf-8")
    body = b"".join([head, *(array.tobytes() for array in parts.values())])
    return LENGTH.pack(len(body), len(head)) + body


def decode(body: bytes, head_size: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads a message.

    Raises:
        BadMessage: for what is none.
    """
    try:
        told = json.loads(body[:head_size])
        header, kinds = dict(told["header"]), dict(told["arrays"])
        arrays, at = {}, head_size
        for name, (kind, shape) in kinds.items():
            dtype = np.dtype(kind)
            if dtype.kind not in _KINDS or any(not isinstance(n, int) or n < 0 for n in shape):
                raise BadMessage(f"an array of {kind} {shape}")
            count = int(np.prod(shape, dtype=np.int64))
            end = at + count * dtype.itemsize
            if end > len(body):
                raise BadMessage("an array is longer than its message")
            arrays[str(name)] = np.frombuffer(body[at:end], dtype).reshape(shape).copy()
            at = end
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadMessage(f"no message: {error}") from None
    if at != len(body):
        raise BadMessage("a message holds more than it says")
    return header, arrays


def sizes(start: bytes) -> tuple[int, int]:
    """Bytes of the message that begins so, and of its header.

    Raises:
        BadMessage: for sizes that no message has.
    """
    size, head = LENGTH.unpack(start)
    if not 0 < head <= size <= LARGEST:
        raise BadMessage(f"a message of {size} bytes")
    return int(size), int(head)
