"""The results of a board: who earned what on every tape, in files that anybody can check.

results.json   the benchmark, its entries, the rows: what they are and where they failed
returns.npz    money per period on every tape: of the naive rule, the bound, and every row
measured.json  time, memory, machine, commit: what differs from run to run
"""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stockyard.agents.evaluation.files import write_bytes_atomic, write_json_atomic
from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Track
from stockyard.agents.evaluation.leaderboard.plan import Plan, Store
from stockyard.agents.evaluation.leaderboard.submission import Submission
from stockyard.agents.evaluation.statistics.intervals import Floats

RE_RUN, REPORTED = "re-run", "self-reported"
"""How a row's numbers came about."""


@dataclass
class Results:
    """What the three files hold."""

    benchmark: dict[str, Any]
    tracks: list[dict[str, Any]]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name
    # "naive/TRACK" and "bound/TRACK" (E, T), "row/TRACK/NAME" (S, E, T): money per period
    returns: dict[str, Floats] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)  # row -> entry -> figures

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Reads the files of a folder.

        Raises:
            FileNotFoundError: naming the one that is not there.
        """
        place = Path(folder)
        told = json.loads((place / "results.json").read_text(encoding="utf-8"))
        with np.load(place / "returns.npz", allow_pickle=False) as arrays:
            returns = {name: arrays[name] for name in arrays.files}
        path = place / "measured.json"
        measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        rows = {row["name"]: row for row in told["rows"]}
        return cls(told["benchmark"], told["tracks"], rows, returns, measured)

    def write(self, folder: str | Path) -> None:
        """Writes the files; rows stand in the order of their names."""
        place = Path(folder)
        rows = [self.rows[name] for name in sorted(self.rows)]
        told = {"benchmark": self.benchmark, "tracks": self.tracks, "rows": rows}
        buffer = io.BytesIO()
        ordered: dict[str, Any] = {name: self.returns[name] for name in sorted(self.returns)}
        np.savez_compressed(buffer, **ordered)
        write_bytes_atomic(place / "returns.npz", buffer.getvalue())
        write_json_atomic(place / "measured.json", self.measured)
        write_json_atomic(place / "results.json", told)

    @property
    def specification_hash(self) -> str:
        """Of the benchmark that was played."""
        return str(self.benchmark["specification_hash"])

    def take(self, other: Results, provenance: str | None = None) -> list[str]:
        """Adds the rows of other results that are not here; returns their names.

        Args:
            other: of the same specification.
            provenance: how their numbers are to be told to have come about; None: as they say.

        Raises:
            ValueError: if the specifications differ.
        """
        if other.specification_hash != self.specification_hash:
            raise ValueError(
                f"results of another specification ({other.specification_hash[:12]} instead of "
                f"{self.specification_hash[:12]}): environments, tapes or limits have changed since"
            )
        added = [name for name in other.rows if name not in self.rows]
        for name in added:
            row = dict(other.rows[name])
            if provenance is not None:
                row["provenance"] = provenance
            self.rows[name] = row
            for track in row["tracks"]:
                key = f"row/{track}/{name}"
                self.returns[key] = other.returns[key]
            if name in other.measured:
                self.measured[name] = other.measured[name]
        return added


def assemble(
    benchmark: Benchmark,
    submissions: Sequence[Submission],
    planned: Plan,
    store: Store,
    left_out: Mapping[str, Mapping[str, str]] | None = None,
) -> Results:
    """Puts the results together from cells that are all done.

    Args:
        benchmark: what was played.
        submissions: who played.
        planned: their cells.
        store: where they are.
        left_out: track -> policy -> why it is not among the rows.
    """
    told = {
        "name": benchmark.name,
        "version": benchmark.version,
        "title": benchmark.title,
        "seeds": benchmark.seeds,
        "tapes": benchmark.tapes,
        "slow_tapes": benchmark.slow_tapes,
        "bound_tapes": benchmark.bound_tapes or benchmark.tapes,
        "rows": benchmark.rows,
        "limits": asdict(benchmark.limits),
        "secret_sha256": benchmark.secret_sha256,
        "secret": benchmark.secret,
        "specification_hash": benchmark.specification_hash,
    }
    results = Results(told, [])
    reference: dict[str, dict[str, Any]] = {}
    for track in benchmark.tracks:
        results.tracks.append(_track(benchmark, track, dict((left_out or {}).get(track.name, {}))))
        naive = [store.result(planned.naive[entry.key]) for entry in track.entries]
        bounds = [
            np.concatenate([store.result(cell)["per_period"] for cell in planned.bounds[entry.key]])
            for entry in track.entries
        ]
        results.returns[f"naive/{track.name}"] = np.array([one["returns"] for one in naive])
        results.returns[f"bound/{track.name}"] = np.array(bounds)
        reference |= {e.key: one for e, one in zip(track.entries, naive, strict=True)}
        results.tracks[-1]["naive_metrics"] = {
            entry.key: _means([one["metrics"]], benchmark.slow_tapes)
            for entry, one in zip(track.entries, naive, strict=True)
        }
    for submission in submissions:
        _add_row(results, benchmark, submission, planned, store, reference)
    return results


def _track(benchmark: Benchmark, track: Track, left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "name": track.name,
        "title": track.title,
        "family": track.family,
        "mechanisms": list(track.mechanisms),
        "money": track.money,
        "periods_per_unit": track.periods_per_unit,
        "naive": track.naive,
        "bound": track.bound,
        "solved": track.solved,
        "metrics": list(track.metrics),
        "frontiers": list(track.frontiers),
        "left_out": left_out,
        "entries": [
            {"key": e.key, "name": e.name, "hash": benchmark.entry_hashes[e.key], **_id(e)}
            for e in track.entries
        ],
    }


def _id(entry: Any) -> dict[str, Any]:
    return {"id": entry.specification["id"], "description": entry.description}


def _add_row(
    results: Results,
    benchmark: Benchmark,
    submission: Submission,
    planned: Plan,
    store: Store,
    reference: Mapping[str, Mapping[str, Any]],
) -> None:
    """Adds a row: where it gave no action, the naive rule's money on that tape counts."""
    row = {**submission.told(), "provenance": RE_RUN, "tracks": [], "entries": {}}
    measured: dict[str, Any] = {}
    for track in benchmark.tracks:
        entries = [e for e in track.entries if (e.key, submission.seeds[0]) in submission.recipes]
        if not entries:
            continue
        if len(entries) < len(track.entries):
            raise ValueError(f"{submission.name}: plays a part of {track.name} only")
        row["tracks"].append(track.name)
        money = []
        for entry in entries:
            cells = [planned.policies[submission.name, entry.key, s] for s in submission.seeds]
            found = [store.result(cell) for cell in cells]
            money.append(
                [_filled(one["returns"], reference[entry.key]["returns"]) for one in found]
            )
            failures = [failure for one in found for failure in one["failures"]]
            row["entries"][entry.key] = {
                "hash": benchmark.entry_hashes[entry.key],
                "episodes": sum(len(one["returns"]) for one in found),
                "failed": len(failures),
                "failures": _told(failures),
                "metrics": _means([one["metrics"] for one in found], benchmark.slow_tapes),
            }
            measured[entry.key] = [store.measured(cell) for cell in cells]
        # (E, S, T) -> (S, E, T)
        results.returns[f"row/{track.name}/{submission.name}"] = np.swapaxes(np.array(money), 0, 1)
    results.rows[submission.name] = row
    results.measured[submission.name] = measured


def _filled(returns: Sequence[float | None], naive: Sequence[float]) -> list[float]:
    return [naive[i] if value is None else value for i, value in enumerate(returns)]


def _told(failures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Failures by kind: how many, and what the first one said."""
    kinds: dict[str, dict[str, Any]] = {}
    for failure in failures:
        told = kinds.setdefault(
            failure["kind"], {"kind": failure["kind"], "count": 0, "message": failure["message"]}
        )
        told["count"] += 1
    return list(kinds.values())


def _means(
    found: Sequence[Mapping[str, Sequence[float | None]]], tapes: int
) -> dict[str, float | None]:
    """Means of every metric over seeds and the tapes that everybody meets, where it is defined."""
    means: dict[str, float | None] = {}
    for name in found[0]:
        values = [value for one in found for value in one[name][:tapes] if value is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def circumstances(commit: str | None) -> dict[str, Any]:
    """What is noted beside a measurement."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
