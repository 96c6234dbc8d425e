"""What a decision maker who knew the whole tape could earn: an upper bound for every policy.

One linear program per tape, with every order, transfer and sale of the episode as a variable; see
`stockyard.agents.oracles.perfect_information.model` for what it relaxes. No policy's return on a
tape exceeds the bound on it, so `(J - J_naive) / (J_bound - J_naive)` tells how much of what is
possible a policy gains; most of the rest is foresight that nobody has.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.agents.evaluation.rollout import build, specification_of
from stockyard.agents.oracles.perfect_information.cache import BoundCache, digest
from stockyard.agents.oracles.perfect_information.facts import read
from stockyard.agents.oracles.perfect_information.linear_program import (
    Floats,
    LinearProgram,
    Solved,
    solve,
    solve_by_block,
    solve_whole,
)
from stockyard.agents.oracles.perfect_information.model import program_of
from stockyard.agents.oracles.perfect_information.trucks import fills_trucks, truck_program_of

__all__ = ["Bound", "BoundCache", "LinearProgram", "digest", "perfect_information", "program"]


@dataclass(frozen=True)
class Bound:
    """Upper bounds on what any policy earns, by tape."""

    total: Floats  # (B,) USD an episode; compare with `Evaluation.returns`. NaN: not yet solved
    gap: Floats  # (B,) USD by which a bound may exceed the program's optimum; inf: unknown
    is_optimal: npt.NDArray[np.bool_]  # (B,) whether the program was solved within the time limit
    seconds: Floats  # (B,) solving took, whenever that was
    tape_hash: npt.NDArray[np.int64]  # (B,)
    seeds: tuple[int, ...]
    split: str
    periods: int  # of an episode

    @property
    def per_period(self) -> Floats:
        """(B,) USD a period; compare with `Evaluation.per_period_mean`."""
        return np.asarray(self.total / self.periods)

    @property
    def is_complete(self) -> bool:
        """Whether there is a bound for every tape."""
        return not bool(np.isnan(self.total).any())


def perfect_information(
    specification: Any,
    seeds: Sequence[int],
    split: str = "test",
    *,
    cache: str | Path | None = None,
    time_limit: float | None = None,
    only_cached: bool = False,
    inbound_split: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bound:
    """Bounds the return of every policy on each of the tapes.

    Where the agent decides orders, the placement rule is relaxed too, so that the bound holds under
    any. Where it decides placement alone, buying is fixed to the orders recorded on the tape. Where
    it fills trucks, see `trucks`.

    Args:
        specification: keyword arguments of `gymnasium.make_vec`, `id` included, or a built
            environment: a task that decides orders, placement or both, with lost sales, or trucks
            alone.
        seeds: of the tapes, as `evaluate` counts them: row i of its batch has the seed + i.
        split: "train", "validation" or "test".
        cache: file of solved bounds, read first and added to; None: none.
        time_limit: seconds for one program. Where they do not suffice, the bound is that of its
            products one by one under the prices of capacity of the tape before (none: free), valid
            but looser, and `is_optimal` says False. Where trucks are filled, it is that of trucks
            in fractions, lowered by what branch and bound finds in the time; without a limit it is
            that of fractions, the same on every machine.
        only_cached: solve nothing; what is not in the cache is NaN.
        inbound_split: for placement, leave the lanes of the recorded orders open. That is needed
            where policies act in the mode `cover_split`; None: if the specification names it.
        progress: called with the number of tapes done and their number.

    Returns:
        The bounds, one per seed.

    Raises:
        ValueError: for a world that the bound does not cover (backorders, trucks).
    """
    arguments, _ = specification_of(specification)
    store = None if cache is None else BoundCache(cache)
    free = arguments.get("action") == "cover_split" if inbound_split is None else inbound_split
    env: Any = build(arguments, num_envs=len(seeds), split=split)
    try:
        _, info = env.reset(seed=[int(seed) for seed in seeds])
        base = env.unwrapped
        records = []
        prices: Floats | None = None
        for row, seed in enumerate(seeds):
            model = program(base, row, free)
            key = digest(model)
            record = None
            if store is not None:
                record = (
                    store.records.get(key)
                    if only_cached
                    else store.find(key, time_limit, model.whole is not None)
                )
            if record is None and not only_cached:
                begun = time.perf_counter()
                solved = _solve(model, time_limit, prices)
                prices = solved.multipliers if solved.is_optimal else prices
                record = {
                    "key": key,
                    "bound": solved.bound,
                    "gap": solved.gap,
                    "is_optimal": solved.is_optimal,
                    "time_limit": time_limit,
                    "seconds": round(time.perf_counter() - begun, 3),
                    "id": arguments["id"],
                    "scenario": str(arguments.get("scenario", "steady")),
                    "size": arguments.get("size", "small"),
                    "split": split,
                    "seed": int(seed),
                    "tape_hash": int(info["tape_hash"][row]),
                }
                if store is not None:
                    store.store(record)
            records.append(record or {})
            if progress is not None:
                progress(row + 1, len(seeds))
        gap = _column(records, "gap")
        return Bound(
            total=_column(records, "bound"),
            gap=np.where(np.isnan(gap), np.inf, gap),
            is_optimal=np.array([bool(record.get("is_optimal")) for record in records]),
            seconds=_column(records, "seconds"),
            tape_hash=np.asarray(info["tape_hash"], dtype=np.int64),
            seeds=tuple(int(seed) for seed in seeds),
            split=split,
            periods=base.horizon,
        )
    finally:
        env.close()


def program(env: Any, row: int = 0, inbound_split: bool = False) -> LinearProgram:
    """The linear program of one replica of an environment that was just reset.

    Args:
        env: single or vector, wrapped or not.
        row: replica.
        inbound_split: see `perfect_information`.
    """
    base = env.unwrapped
    if fills_trucks(base):
        return truck_program_of(base, row)
    return program_of(read(base, row, inbound_split))


def _solve(model: LinearProgram, time_limit: float | None, prices: Floats | None) -> Solved:
    begun = time.perf_counter()
    solved = solve(model, time_limit)
    if solved.is_optimal and model.whole is not None and time_limit is not None:
        left = time_limit - time.perf_counter() + begun
        if left > 0.0:
            whole = solve_whole(model, left)
            solved = solved._replace(bound=min(solved.bound, whole))
    if solved.is_optimal:
        return solved
    candidates = [np.zeros(len(model.right))]
    if prices is not None and len(prices) == len(model.right):
        candidates.append(prices)
    return min((solve_by_block(model, each) for each in candidates), key=lambda found: found.bound)


def _column(records: Sequence[dict[str, Any]], name: str) -> Floats:
    values = [record.get(name) for record in records]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
