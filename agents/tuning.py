"""Tunes any heuristic on training tapes, the same for every candidate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import Facts, Parameter

GRID = 5
"""Points per parameter and round."""

ROUNDS = 12
"""Most rounds of moving or shrinking the grid."""


@dataclass(frozen=True)
class TuningResult:
    """What a search found."""

    parameters: dict[str, float]
    score: float  # money per period on the training tapes
    on_edge: bool  # whether the best lies at a limit, or on the edge of the last grid
    converged: bool  # whether the last grid was fine, and the best not on its edge
    history: list[dict[str, float]] = field(default_factory=list)  # every candidate and its score


def tune(
    name: str,
    specification: Mapping[str, Any] | Any,
    *,
    tapes: int = 64,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> TuningResult:
    """Searches a heuristic's parameters on tapes of the split "train".

    Coordinate by coordinate, a grid of 5 points moves on where the best lies on its edge, and
    shrinks by half around the best otherwise, until it is as fine as a unit, or 2 % of the range it
    began with, or `ROUNDS` are over; the result says which. All candidates meet the same tapes.

    Args:
        name: a registered heuristic with something to tune.
        specification: keyword arguments of `gymnasium.make_vec`, or a built environment.
        tapes: how many training tapes.
        seed: of the first tape.
        progress: called with a line after each round.

    Returns:
        The best parameters and the history.

    Raises:
        ValueError: if the heuristic has nothing to tune.
    """
    from stockyard.agents.evaluation.rollout import build, rollout, specification_of
    from stockyard.agents.heuristics.replenishment import from_parameters, search_space

    chosen, _ = specification_of(specification)
    envs = build(chosen, num_envs=tapes, split="train", action_mode="quantity")
    facts = Facts(envs)
    space = search_space(name, facts)
    tried: dict[tuple[float, ...], float] = {}

    def score(values: tuple[float, ...]) -> float:
        if values not in tried:
            named = {p.name: v for p, v in zip(space, values, strict=True)}
            run = rollout(from_parameters(name, facts, named), envs, seed=seed)
            tried[values] = run.mean
        return tried[values]

    try:
        best = tuple(_snap(p, (p.low + p.high) / 2.0) for p in space)
        brackets = [(p.low, p.high) for p in space]
        edges = [True for _ in space]
        for round_ in range(ROUNDS):
            before = (best, tuple(brackets))
            for k, parameter in enumerate(space):
                best, brackets[k], edges[k] = _search_line(parameter, brackets[k], best, k, score)
            if progress is not None:
                named = ", ".join(f"{p.name}={v:.4g}" for p, v in zip(space, best, strict=True))
                progress(f"{name}: round {round_ + 1}, {named}: {tried[best]:,.4g} per period")
            if all(_is_fine(p, b) for p, b in zip(space, brackets, strict=True)) or (
                (best, tuple(brackets)) == before
            ):
                break
    finally:
        envs.close()
    names = [p.name for p in space]
    return TuningResult(
        parameters=dict(zip(names, best, strict=True)),
        score=tried[best],
        on_edge=any(edges) or any(_at_limit(p, v) for p, v in zip(space, best, strict=True)),
        converged=not any(edges)
        and all(_is_fine(p, b) for p, b in zip(space, brackets, strict=True)),
        history=[
            {**dict(zip(names, values, strict=True)), "score": value}
            for values, value in tried.items()
        ],
    )


def _snap(parameter: Parameter, value: float) -> float:
    value = min(max(value, parameter.least), parameter.most)
    return float(round(value)) if parameter.integer else float(value)


def _search_line(
    parameter: Parameter,
    bracket: tuple[float, float],
    best: tuple[float, ...],
    k: int,
    score: Callable[[tuple[float, ...]], float],
) -> tuple[tuple[float, ...], tuple[float, float], bool]:
    """Tries a grid along parameter k.

    Returns:
        The best point, the next bracket, and whether the best lay on the edge of the grid, so that
        better may lie beyond.
    """
    low, high = bracket
    points = sorted({_snap(parameter, value) for value in np.linspace(low, high, GRID)} | {best[k]})
    candidates = [(*best[:k], value, *best[k + 1 :]) for value in points]
    scores = [score(candidate) for candidate in candidates]
    winner = int(np.argmax(scores))
    value, width = points[winner], high - low
    at_edge = winner in (0, len(points) - 1) and not _at_limit(parameter, value)
    half = width / 2.0 if at_edge else width / 4.0
    following = (max(value - half, parameter.least), min(value + half, parameter.most))
    # A grid finer than a unit has a single whole number, which is no edge.
    return candidates[winner], following, at_edge and len(points) > 1


def _is_fine(parameter: Parameter, bracket: tuple[float, float]) -> bool:
    finest = 1.0 if parameter.integer else 0.02 * (parameter.high - parameter.low)
    return bracket[1] - bracket[0] <= finest


def _at_limit(parameter: Parameter, value: float) -> bool:
    return value <= parameter.least or value >= parameter.most
