"""Which cells a board consists of, and where those that are done are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockyard.agents.evaluation.files import write_json_atomic
from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Track
from stockyard.agents.evaluation.leaderboard.cells import Cell
from stockyard.agents.evaluation.leaderboard.digests import digest
from stockyard.agents.evaluation.leaderboard.submission import Submission

BOUNDS_AT_ONCE = 4
"""Tapes whose bounds are solved in one cell."""


@dataclass(frozen=True)
class Plan:
    """The cells of a benchmark and some submissions."""

    naive: dict[str, Cell]  # by entry
    bounds: dict[str, list[Cell]]  # by entry, in the order of the tapes
    policies: dict[tuple[str, str, int], Cell]  # by submission, entry and seed

    @property
    def cells(self) -> list[Cell]:
        """All cells: first what every score needs, and long ones before short ones."""
        return [
            *self.naive.values(),
            *(cell for cells in self.bounds.values() for cell in cells),
            *self.policies.values(),
        ]


def plan(
    benchmark: Benchmark,
    submissions: Sequence[Submission],
    *,
    secret: str | None = None,
    bounds_of: Callable[[Benchmark, Track], Path | None] | None = None,
) -> Plan:
    """Lays out what is to be done.

    Args:
        benchmark: what is played.
        submissions: who plays; `check_names` has passed.
        secret: of held-out tapes, unless it is published.
        bounds_of: benchmark and track -> file of solved bounds, if there is one. Its lines name
            seeds, so it is used only where everybody can know them.
    """
    naive: dict[str, Cell] = {}
    bounds: dict[str, list[Cell]] = {}
    policies: dict[tuple[str, str, int], Cell] = {}
    for entry in benchmark.entries:
        track, hashed = benchmark.track(entry.track), benchmark.entry_hashes[entry.key]
        seeds = tuple(benchmark.tape_seeds(entry, secret))
        shared: dict[str, Any] = {
            "entry": entry,
            "rows": benchmark.rows,
            "limits": benchmark.limits,
            "metrics": track.metrics,
        }
        naive[entry.key] = Cell(
            key=_key("naive", hashed, len(seeds), track.metrics),
            kind="naive",
            label=f"{entry.world}: naive",
            tapes=seeds,
            rule=track.naive,
            **shared,
        )
        is_public = benchmark.seeds == "development" or benchmark.secret is not None
        cache = bounds_of(benchmark, track) if is_public and bounds_of is not None else None
        bounded = seeds[: benchmark.bound_tapes]
        size = BOUNDS_AT_ONCE if track.bound != "optimum" else len(bounded)
        bounds[entry.key] = [
            Cell(
                key=_key("bound", hashed, first, len(bounded[first : first + size])),
                kind="bound",
                label=f"{entry.world}: bounds from tape {first}",
                tapes=bounded[first : first + size],
                bound=track.bound,
                cache=None if cache is None else str(cache),
                **shared,
            )
            for first in range(0, len(bounded), size)
        ]
        of_track = (track.metrics, track.mechanisms)
        for submission in submissions:
            for seed in submission.seeds:
                recipe = submission.recipes.get((entry.key, seed))
                if recipe is None:
                    continue
                tapes = seeds[: benchmark.slow_tapes] if submission.slow else seeds
                own = submission.digests[entry.key, seed]
                policies[submission.name, entry.key, seed] = Cell(
                    key=_key("policy", entry.key, hashed, own, seed, len(tapes), *of_track),
                    kind="policy",
                    label=f"{entry.key}: {submission.name}, seed {seed}",
                    tapes=tapes,
                    recipe=recipe,
                    seed=seed,
                    folder=submission.folder,
                    mechanisms=track.mechanisms,
                    **shared,
                )
    return Plan(naive, bounds, policies)


def _key(*parts: Any) -> str:
    return digest(list(parts))[:24]


class Store:
    """A folder of cells that are done, one file each, written whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        """Names the folder, which need not exist yet."""
        self.folder = Path(folder)

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells that are still to do, each key once."""
        todo = {cell.key: cell for cell in cells if not self._path(cell.key).is_file()}
        return list(todo.values())

    def keep(self, done: Mapping[str, Any]) -> None:
        """Keeps what a cell gave."""
        write_json_atomic(self._path(done["key"]), done)

    def result(self, cell: Cell) -> dict[str, Any]:
        """What a cell gave."""
        return dict(self._read(cell)["result"])

    def measured(self, cell: Cell) -> dict[str, Any]:
        """What was measured meanwhile."""
        return dict(self._read(cell)["measured"])

    def _read(self, cell: Cell) -> dict[str, Any]:
        return dict(json.loads(self._path(cell.key).read_text(encoding="utf-8")))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
