"""Tunes any heuristic on training tapes, the same for every candidate."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import Facts, Parameter, Search, search_of
from stockyard.agents.policy import registered

GRID = 5
"""Points per parameter and round."""

ROUNDS = 12
"""Most rounds of moving or shrinking the grid, and most steps among neighbours after it."""

FINEST = 0.02
"""Where a parameter is no whole number, the finest grid, as a share of the range it began with."""

Point = tuple[float, ...]


@dataclass(frozen=True)
class TuningResult:
    """What a search found."""

    parameters: dict[str, Any]  # of the rule, as `stockyard.agents.make` takes them
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
    fixed: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> TuningResult:
    """Searches a heuristic's parameters on tapes of the split "train".

    Coordinate by coordinate, a grid of 5 points moves on where the best lies on its edge, and
    shrinks by half around the best otherwise, until it is as fine as a unit, or 2 % of the range it
    began with, or `ROUNDS` are over; the result says which. A ridge can hold whole numbers up, for
    on it two must move together (a unit less of one level, a unit more of another): so the search
    then walks among the neighbours that differ by a unit in one of them or in two, until none is
    better. Where costs have several valleys, each is searched. All candidates meet the same
    tapes.

    Args:
        name: a registered heuristic with something to tune.
        specification: keyword arguments of `gymnasium.make_vec`, or a built environment.
        tapes: how many training tapes.
        seed: of the first tape.
        fixed: parameters that are given: the others are tuned for them.
        progress: called with a line after each round.

    Returns:
        The best parameters and the history.

    Raises:
        ValueError: if the heuristic has nothing to tune.
    """
    from stockyard.agents.evaluation.rollout import build, rollout, specification_of

    factory, search = _tunable(name)
    chosen, _ = specification_of(specification)
    envs = build(chosen, num_envs=tapes, split="train", action_mode="quantity")
    tried: dict[Point, float] = {}
    try:
        facts = Facts(envs)
        space = search.space(facts)

        def score(values: Point) -> float:
            if values not in tried:
                parameters = search.parameters(facts, _named(space, values))
                rule = factory(envs, **parameters, **(fixed or {}))
                tried[values] = rollout(rule, envs, seed=seed).mean
            return tried[values]

        def tell(stage: str, best: Point) -> None:
            if progress is not None:
                named = ", ".join(f"{k}={v:.4g}" for k, v in _named(space, best).items())
                progress(f"{name}: {stage}, {named}: {tried[best]:,.4g} per period")

        found = []
        for begun in _beginnings(space):
            best, brackets, edges = _by_coordinates(begun, score, tell)
            found.append((_among_neighbours(begun, best, score, tell), brackets, edges))
        best, brackets, edges = max(found, key=lambda one: tried[one[0]])
    finally:
        envs.close()
    return TuningResult(
        parameters=search.parameters(facts, _named(space, best)),
        score=tried[best],
        on_edge=any(edges) or any(_at_limit(p, v) for p, v in zip(space, best, strict=True)),
        converged=not any(edges)
        and all(_is_fine(p, b) for p, b in zip(space, brackets, strict=True)),
        history=[{**_named(space, values), "score": value} for values, value in tried.items()],
    )


def _tunable(name: str) -> tuple[Callable[..., Any], Search]:
    """The factory of a rule, and how it is tuned."""
    entries = registered()
    if name in entries:
        factory = entries[name].resolve()
        search = search_of(factory)
        if search is not None:
            return factory, search
    have = ", ".join(k for k, entry in entries.items() if search_of(entry.resolve()) is not None)
    raise ValueError(f"{name!r} has nothing to tune; these have: {have}")


def _named(space: tuple[Parameter, ...], values: Point) -> dict[str, float]:
    """A point by the names of its coordinates, whole numbers as such."""
    return {p.name: int(v) if p.integer else v for p, v in zip(space, values, strict=True)}


def _beginnings(space: tuple[Parameter, ...]) -> list[tuple[Parameter, ...]]:
    """The space, and the same around every other place where its parameters say to begin."""
    choices = []
    for p in space:
        half = (p.high - p.low) / 2.0
        others = [replace(p, low=x - half, high=x + half) for x in p.elsewhere]
        choices.append([p, *others])
    return list(itertools.product(*choices))


def _by_coordinates(
    space: tuple[Parameter, ...],
    score: Callable[[Point], float],
    tell: Callable[[str, Point], None],
) -> tuple[Point, list[tuple[float, float]], list[bool]]:
    """Searches line by line.

    Returns:
        The best point, the last brackets, and whether the best lay on the edge of its last grid.
    """
    best = tuple(_snap(p, (p.low + p.high) / 2.0) for p in space)
    brackets = [(p.low, p.high) for p in space]
    edges = [True for _ in space]
    for round_ in range(ROUNDS):
        before = (best, tuple(brackets))
        for k, parameter in enumerate(space):
            best, brackets[k], edges[k] = _search_line(parameter, brackets[k], best, k, score)
        tell(f"round {round_ + 1}", best)
        if all(_is_fine(p, b) for p, b in zip(space, brackets, strict=True)) or (
            (best, tuple(brackets)) == before
        ):
            break
    return best, brackets, edges


def _among_neighbours(
    space: tuple[Parameter, ...],
    best: Point,
    score: Callable[[Point], float],
    tell: Callable[[str, Point], None],
) -> Point:
    """Moves to better neighbours, a unit away in one whole number or in two, while there are any.

    Coordinates without a unit stay: along a ridge of theirs a walk would be long and gain little.
    """
    whole = [k for k, p in enumerate(space) if p.integer]
    if len(whole) < 2:
        return best
    single = [{k: sign} for k in whole for sign in (1, -1)]
    double = [
        {j: first, k: second}
        for j, k in itertools.combinations(whole, 2)
        for first, second in ((1, -1), (-1, 1), (1, 1), (-1, -1))
    ]
    for _ in range(ROUNDS):
        before = best
        for move in single + double:
            moved = tuple(
                _snap(p, v + move.get(k, 0))
                for k, (p, v) in enumerate(zip(space, best, strict=True))
            )
            while score(moved) > score(best):  # and on, as long as it pays
                step = [new - old for new, old in zip(moved, best, strict=True)]
                best = moved
                moved = tuple(_snap(p, v + d) for p, v, d in zip(space, best, step, strict=True))
        tell("among neighbours", best)
        if best == before:
            break
    return best


def _snap(parameter: Parameter, value: float) -> float:
    value = min(max(value, parameter.least), parameter.most)
    return float(round(value)) if parameter.integer else float(value)


def _search_line(
    parameter: Parameter,
    bracket: tuple[float, float],
    best: Point,
    k: int,
    score: Callable[[Point], float],
) -> tuple[Point, tuple[float, float], bool]:
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
    finest = 1.0 if parameter.integer else FINEST * (parameter.high - parameter.low)
    return bracket[1] - bracket[0] <= finest


def _at_limit(parameter: Parameter, value: float) -> bool:
    return value <= parameter.least or value >= parameter.most
