"""Solved bounds in a file, so that an interrupted run resumes and a table needs no solver."""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from stockyard.agents.evaluation.files import to_json
from stockyard.agents.oracles.perfect_information.linear_program import LinearProgram

DUST = 1e-9
"""Numbers below this are rounding errors of zero."""


def digest(program: LinearProgram) -> str:
    """A name of the program by all its numbers: another world, tape or model has another.

    It covers whatever can change a bound, so that a bound found under it is never stale. Numbers
    count to single precision: what another machine's last digits change keeps its name.
    """
    hashed = hashlib.sha256()
    matrix = program.matrix
    parts = (
        matrix.indptr,
        matrix.indices,
        matrix.data,
        program.right,
        program.is_equality,
        program.profit,
        program.lower,
        program.upper,
        program.largest,
        np.array([program.constant]),
    )
    for part in parts:
        whole = part.dtype.kind != "f"
        told = part.astype(np.int64) if whole else np.where(np.abs(part) < DUST, 0.0, part)
        hashed.update(np.ascontiguousarray(told if whole else told.astype(np.float32)).tobytes())
    return hashed.hexdigest()[:32]


class BoundCache:
    """A file of bounds, one JSON object a line, the tightest of a key in force.

    Lines are only ever appended, each by one write, so that several processes may share the file
    and an interrupted one leaves at worst a torn last line, which is skipped.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads what is there; the file is made when the first bound is stored."""
        self.path = Path(path)
        self.records: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    self._keep(json.loads(line))
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue  # torn by an interruption

    def _keep(self, record: dict[str, Any]) -> None:
        known = self.records.get(record["key"])
        if known is None or record["bound"] <= known["bound"]:
            self.records[record["key"]] = record

    def find(
        self, key: str, time_limit: float | None, whole: bool = False
    ) -> dict[str, Any] | None:
        """The record of a key; None if there is none, or more time may give a better bound.

        Args:
            key: `digest` of the program.
            time_limit: seconds that it would be given.
            whole: whether the time is for its whole columns, which a limit of None leaves alone.
        """
        record = self.records.get(key)
        if record is None or (record["is_optimal"] and not whole):
            return record
        if record["is_optimal"]:
            return record if (time_limit or 0.0) <= (record["time_limit"] or 0.0) else None
        spent = record["time_limit"]
        allowed = math.inf if time_limit is None else time_limit
        return record if spent is not None and allowed <= spent else None

    def store(self, record: dict[str, Any]) -> None:
        """Adds a record; it has `key`, `bound`, `is_optimal` and `time_limit`."""
        line = json.dumps(to_json(record), allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = "\n" + line
            os.write(handle, line.encode("utf-8"))
        finally:
            os.close(handle)
        self._keep(json.loads(line))
