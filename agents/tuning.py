"""Tunes any heuristic on training tapes, the same for every candidate."""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
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

TRIALS = 60
"""Trials of the method "tpe" before the best of them is polished."""

POLISH_WIDTH = 0.125
"""Part of a parameter's first range around the best of the trials that polishing begins with."""

POLISH_ROUNDS = 4
"""Rounds after which polishing ends unless the best is on an edge of its grid."""

POLISH_GRID = 3
"""Points per parameter and round of the polishing."""

POLISH_FINEST = 0.5
"""Finest grid of the polishing, as a share of the range that it began with."""

METHODS = ("coordinate", "tpe")
"""Known methods."""

Point = tuple[float, ...]


@dataclass(frozen=True)
class TuningResult:
    """What a search found."""

    parameters: dict[str, Any]  # of the rule, as `stockyard.agents.make` takes them
    score: float  # money per period on the training tapes
    on_edge: bool  # whether the best lies on the edge of the last grid: better may lie beyond
    converged: bool  # whether the last grid was fine, and the best not on its edge
    history: list[dict[str, float]] = field(default_factory=list)  # every candidate and its score
    at_limit: tuple[str, ...] = ()  # coordinates at a limit of theirs, beyond which nothing lies
    method: str = "coordinate"
    tapes: int = 0
    seed: int = 0
    seconds: float = field(default=0.0, compare=False)  # wall time

    @property
    def trials(self) -> int:
        """How many candidates were tried."""
        return len(self.history)


def tune(
    name: str,
    specification: Mapping[str, Any] | Any,
    *,
    tapes: int = 64,
    seed: int = 0,
    fixed: Mapping[str, Any] | None = None,
    method: str = "coordinate",
    trials: int = TRIALS,
    batches: int | None = None,
    storage: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> TuningResult:
    """Searches a heuristic's parameters on tapes of the split "train".

    Method "coordinate": coordinate by coordinate, a grid of 5 points moves on where the best lies
    on its edge, and shrinks by half around the best otherwise, until it is as fine as a unit, or
    2 % of the range it began with, or `ROUNDS` are over; the result says which. A ridge can hold
    whole numbers up, for on it two must move together (a unit less of one level, a unit more of
    another): so the search then walks among the neighbours that differ by a unit in one of them or
    in two, until none is better. Where costs have several valleys, each is searched.

    Method "tpe": first `trials` of a study (`stockyard.agents.studies`), whose ranges widen where
    the best is near an edge, then the same search around the best of them, on grids that move on
    but need not become as fine. For rules with three parameters and more, whose coordinates
    depend on each other.

    All candidates meet the same tapes.

    Args:
        name: a registered heuristic with something to tune.
        specification: keyword arguments of `gymnasium.make_vec`, or a built environment.
        tapes: how many training tapes.
        seed: of the first tape, and of the study.
        fixed: parameters that are given: the others are tuned for them.
        method: "coordinate" or "tpe".
        trials: of the study.
        batches: parts of the tapes after each of which a hopeless trial of the study ends; None: as
            the rule declares, 1 where all tapes together take hardly longer than a few.
        storage: SQLite file of the study, begun or gone on with; None: memory.
        progress: called with a line after each round.

    Returns:
        The best parameters and the history.

    Raises:
        ValueError: if the heuristic has nothing to tune, or the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method: unknown {method!r}; known: {', '.join(METHODS)}")
    factory, search = _tunable(name)
    started = time.perf_counter()
    if method == "coordinate":
        parts = 1
    else:
        parts = search.batches if batches is None else batches
    scorer = _Scorer(factory, search, specification, tapes, seed, fixed or {}, parts)
    space = scorer.space

    def tell(stage: str, best: Point) -> None:
        if progress is not None:
            named = ", ".join(f"{k}={v:.4g}" for k, v in _named(space, best).items())
            progress(f"{name}: {stage}, {named}: {scorer.tried[best]:,.4g} per period")

    try:
        if method == "coordinate":
            found = []
            for begun in _beginnings(space):
                best, brackets, edges = _by_coordinates(begun, scorer, tell)
                found.append((_among_neighbours(begun, best, scorer, tell), brackets, edges))
            best, brackets, edges = max(found, key=lambda one: scorer.tried[one[0]])
        else:
            begun = _study(name, scorer, trials, seed, storage, progress)
            best, brackets, edges = _by_coordinates(
                begun, scorer, tell, POLISH_ROUNDS, POLISH_FINEST, polishes=True
            )
            best = _among_neighbours(begun, best, scorer, tell)
            space = begun
    finally:
        scorer.close()
    finest = FINEST if method == "coordinate" else POLISH_FINEST
    return TuningResult(
        parameters=search.parameters(scorer.facts, _named(space, best)),
        score=scorer.tried[best],
        on_edge=any(edges),
        converged=not any(edges)
        and all(_is_fine(p, b, finest) for p, b in zip(space, brackets, strict=True)),
        history=[{**_named(space, values), "score": v} for values, v in scorer.tried.items()],
        at_limit=tuple(p.name for p, v in zip(space, best, strict=True) if _at_limit(p, v)),
        method=method,
        tapes=tapes,
        seed=seed,
        seconds=time.perf_counter() - started,
    )


class _Scorer:
    """Scores points on the same tapes, each once."""

    def __init__(
        self,
        factory: Callable[..., Any],
        search: Search,
        specification: Any,
        tapes: int,
        seed: int,
        fixed: Mapping[str, Any],
        batches: int,
    ) -> None:
        from stockyard.agents.evaluation.rollout import build, specification_of

        if not 1 <= batches <= tapes:
            raise ValueError(f"batches: must lie between 1 and {tapes} tapes, got {batches}")
        chosen, _ = specification_of(specification)
        self._factory, self._search, self._fixed = factory, search, fixed
        self._sizes = [len(part) for part in np.array_split(np.arange(tapes), batches)]
        self._envs = [
            build(chosen, num_envs=size, split="train", action_mode="quantity")
            for size in self._sizes
        ]
        self._seeds = [seed + sum(self._sizes[:k]) for k in range(batches)]
        self.facts = Facts(self._envs[0])
        self.space = search.space(self.facts)
        self.tried: dict[Point, float] = {}
        self.about = {"environment": chosen, "tapes": tapes, "batches": batches, "fixed": fixed}

    def __call__(self, values: Point, report: Callable[[float], None] | None = None) -> float:
        """Money per period, mean over all tapes.

        Args:
            values: the point.
            report: told the mean over the tapes so far after each batch but the last.
        """
        from stockyard.agents.evaluation.rollout import rollout

        if values not in self.tried:
            parameters = self._search.parameters(self.facts, _named(self.space, values))
            total, count = 0.0, 0
            for envs, seed, size in zip(self._envs, self._seeds, self._sizes, strict=True):
                if count and report is not None:
                    report(total / count)
                rule = self._factory(envs, **parameters, **self._fixed)
                total += rollout(rule, envs, seed=seed, figures=False).mean * size
                count += size
            self.tried[values] = total / count
        return self.tried[values]

    def close(self) -> None:
        """Lets go of the tapes."""
        for envs in self._envs:
            envs.close()


def _study(
    name: str,
    scorer: _Scorer,
    trials: int,
    seed: int,
    storage: str | Path | None,
    progress: Callable[[str], None] | None,
) -> tuple[Parameter, ...]:
    """The space around the best of a study's trials, where polishing begins."""
    from stockyard.agents import studies

    space = scorer.space
    ranges = {
        p.name: studies.Range(p.low, p.high, integer=p.integer, least=p.least, most=p.most)
        for p in space
    }

    def objective(values: Mapping[str, float], report: studies.Report) -> float:
        return scorer(tuple(_snap(p, values[p.name]) for p in space), report)

    found = studies.search(
        objective,
        ranges,
        trials=trials,
        seed=seed,
        storage=storage,
        about={"policy": name, **scorer.about},
        progress=progress,
    )
    for trial in found.trials:
        if trial.score is not None:  # of an earlier run, too
            scorer.tried[tuple(_snap(p, trial.values[p.name]) for p in space)] = trial.score
    around = []
    for p in space:
        half = POLISH_WIDTH * (p.high - p.low) / 2.0
        value = found.values[p.name]
        around.append(replace(p, low=value - half, high=value + half, elsewhere=()))
    return tuple(around)


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
    rounds: int | None = None,
    finest: float = FINEST,
    polishes: bool = False,
) -> tuple[Point, list[tuple[float, float]], list[bool]]:
    """Searches line by line, after so many rounds only where the best is on an edge.

    Returns:
        The best point, the last brackets, and whether the best lay on the edge of its last grid.
    """
    best = tuple(_snap(p, (p.low + p.high) / 2.0) for p in space)
    brackets = [(p.low, p.high) for p in space]
    edges = [True for _ in space]
    for round_ in range(ROUNDS):
        before = (best, tuple(brackets))
        for k, parameter in enumerate(space):
            best, brackets[k], edges[k] = _search_line(
                parameter, brackets[k], best, k, score, polishes
            )
        tell(f"round {round_ + 1}", best)
        if all(_is_fine(p, b, finest) for p, b in zip(space, brackets, strict=True)) or (
            (best, tuple(brackets)) == before
            or (rounds is not None and round_ + 1 >= rounds and not any(edges))
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
    polishes: bool = False,
) -> tuple[Point, tuple[float, float], bool]:
    """Tries a grid along parameter k.

    Of equal scores the first of the grid is taken, or where it polishes, on a smaller grid, the
    point that was best before: along a parameter that does nothing it would walk for nothing.

    Returns:
        The best point, the next bracket, and whether the best lay on the edge of the grid, so that
        better may lie beyond.
    """
    low, high = bracket
    grid = POLISH_GRID if polishes else GRID
    points = sorted({_snap(parameter, value) for value in np.linspace(low, high, grid)} | {best[k]})
    candidates = [(*best[:k], value, *best[k + 1 :]) for value in points]
    scores = [score(candidate) for candidate in candidates]
    winner = int(np.argmax(scores))
    if polishes and score(best) >= scores[winner]:
        winner = points.index(best[k])
    value, width = points[winner], high - low
    at_edge = winner in (0, len(points) - 1) and not _at_limit(parameter, value)
    half = width / 2.0 if at_edge else width / 4.0
    following = (max(value - half, parameter.least), min(value + half, parameter.most))
    # A grid finer than a unit has a single whole number, which is no edge.
    return candidates[winner], following, at_edge and len(points) > 1


def _is_fine(parameter: Parameter, bracket: tuple[float, float], finest: float = FINEST) -> bool:
    width = 1.0 if parameter.integer else finest * (parameter.high - parameter.low)
    return bracket[1] - bracket[0] <= width


def _at_limit(parameter: Parameter, value: float) -> bool:
    return value <= parameter.least or value >= parameter.most
