"""Searches by Optuna: tree-structured Parzen estimators, early ends, and studies that go on.

A study is a database. An interrupted one goes on where it stopped and ends as if it had not been
interrupted, for what is tried next follows from what was tried and the seed. Optuna is imported
when a search begins.

References:
    Bergstra, Bardenet, Bengio & Kegl, Algorithms for hyper-parameter optimization, NeurIPS 2011;
    Akiba, Sano, Yanase, Ohta & Koyama, Optuna, KDD 2019 (arXiv 1907.10902).
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

NEAR_EDGE = 0.1
"""Part of a range from its end that counts as its edge."""

WIDENED_EVERY = 10
"""Finished trials between two looks at whether the best is on an edge."""

FIRST_AT_RANDOM = 8
"""Finished trials before the estimator and the pruner have their say."""


@dataclasses.dataclass(frozen=True)
class Range:
    """What one coordinate of a search may be.

    Raises:
        ValueError: if it is empty, or logarithmic and not positive.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    least: float = -math.inf  # no search goes beyond these
    most: float = math.inf

    def __post_init__(self) -> None:
        """Checks the ends."""
        if not (self.least <= self.low < self.high <= self.most):
            raise ValueError(
                f"range: needs least <= low < high <= most, got {self.least}, {self.low}, "
                f"{self.high}, {self.most}"
            )
        if self.log and not self.low > 0:
            raise ValueError(f"range: low must be > 0 where log is true, got {self.low}")

    def _place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        ends = [math.log(x) if self.log else x for x in (self.low, self.high, value)]
        return (ends[2] - ends[0]) / (ends[1] - ends[0])

    def _value(self, place: float) -> float:
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = low + place * (high - low)
        value = min(max(math.exp(value) if self.log else value, self.least), self.most)
        return float(round(value)) if self.integer else value

    @property
    def middle(self) -> float:
        """The value in the middle."""
        return self._value(0.5)

    def is_near_edge(self, value: float) -> bool:
        """Whether a value is at an end beyond which the search may go."""
        place = self._place(value)
        below = place <= NEAR_EDGE and self.low > self.least
        return below or (place >= 1.0 - NEAR_EDGE and self.high < self.most)

    def widened(self, value: float) -> "Range":
        """The range with half its width more on the side of a value near its edge."""
        if not self.is_near_edge(value):
            return self
        if self._place(value) < 0.5:
            return dataclasses.replace(self, low=self._value(-0.5))
        return dataclasses.replace(self, high=self._value(1.5))


@dataclasses.dataclass(frozen=True)
class Trial:
    """One point that was tried."""

    values: dict[str, float]
    score: float | None  # None: ended early


@dataclasses.dataclass(frozen=True)
class Found:
    """What a study found."""

    values: dict[str, float]
    score: float
    near_edge: tuple[str, ...]  # coordinates whose best is near an edge of the last ranges
    trials: tuple[Trial, ...]


Report = Callable[[float], None]
"""Tells the study a part of the score, the same part in every trial; it may end the trial."""

Objective = Callable[[Mapping[str, float], Report], float]


def search(
    objective: Objective,
    ranges: Mapping[str, Range],
    *,
    trials: int,
    seed: int = 0,
    storage: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Found:
    """Looks for the values of the highest score.

    The first trial is the middle of all ranges. A range is widened when the best is near its edge.

    Args:
        objective: takes values by name and a report; returns the score. What it reports may end the
            trial by an exception of Optuna, which it must let through.
        ranges: where to look, by name.
        trials: how many in all, those that end early and those of an earlier run included.
        seed: of the search.
        storage: an SQLite file, begun or gone on with; None: memory.
        about: what is searched, as JSON can hold it; a file about something else is refused.
        progress: called with a line after each trial.

    Raises:
        ValueError: if the file is about something else, or no trial ended well.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a failed trial tells itself
    study = _open(optuna, storage, {"ranges": _plain(ranges), "seed": seed, **(about or {})})
    states = optuna.trial.TrialState
    for interrupted in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(interrupted.number, state=states.FAIL)

    def run(trial: Any) -> float:
        now = _ranges_after(ranges, _trials(study, states))
        values = {name: _suggest(trial, name, one) for name, one in now.items()}
        reported = 0

        def report(value: float) -> None:
            nonlocal reported
            trial.report(value, reported)
            reported += 1
            if trial.should_prune():
                raise optuna.TrialPruned

        return float(objective(values, report))

    while (done := len(_trials(study, states))) < trials:
        if not done and not study.get_trials(deepcopy=False, states=(states.WAITING,)):
            study.enqueue_trial({name: _typed(one, one.middle) for name, one in ranges.items()})
        # A sampler of its own for each trial: an interrupted study forgets nothing then.
        study.sampler = optuna.samplers.TPESampler(
            seed=1000 * seed + done, n_startup_trials=FIRST_AT_RANDOM
        )
        study.optimize(run, n_trials=1)
        if progress is not None:
            progress(_told(_trials(study, states)))
    tried = _trials(study, states)
    best = _best(tried)
    if best is None or best.score is None:
        raise ValueError("trials: none ended with a score")
    last = _ranges_after(ranges, tried)
    return Found(
        values=best.values,
        score=best.score,
        near_edge=tuple(name for name, one in last.items() if one.is_near_edge(best.values[name])),
        trials=tuple(tried),
    )


def _open(optuna: Any, storage: str | Path | None, about: dict[str, Any]) -> Any:
    """The study of a file, or a new one."""
    where = None
    if storage is not None:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        where = f"sqlite:///{Path(storage).resolve()}"
    study = optuna.create_study(
        storage=where,
        study_name="stockyard",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_AT_RANDOM),
    )
    wanted = json.dumps(about, sort_keys=True, default=str)
    if study.user_attrs.setdefault("about", wanted) != wanted:
        raise ValueError(f"{storage}: holds a study of something else; give another output")
    study.set_user_attr("about", wanted)
    return study


def _plain(ranges: Mapping[str, Range]) -> dict[str, Any]:
    return {name: dataclasses.asdict(one) for name, one in ranges.items()}


def _typed(one: Range, value: float) -> float:
    return int(value) if one.integer else float(value)


def _suggest(trial: Any, name: str, one: Range) -> float:
    if one.integer:
        return int(trial.suggest_int(name, int(one.low), int(one.high), log=one.log))
    return float(trial.suggest_float(name, one.low, one.high, log=one.log))


def _trials(study: Any, states: Any) -> list[Trial]:
    """Those that ended, well or early, in order."""
    ended = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    return [Trial(dict(t.params), t.value if t.state == states.COMPLETE else None) for t in ended]


def _best(trials: Sequence[Trial]) -> Trial | None:
    scored = [(t.score, -k) for k, t in enumerate(trials) if t.score is not None]
    return trials[-max(scored)[1]] if scored else None


def _ranges_after(ranges: Mapping[str, Range], trials: Sequence[Trial]) -> dict[str, Range]:
    """The ranges as they have been widened so far: what a study knows, it knows from its trials."""
    now = dict(ranges)
    for done in range(WIDENED_EVERY, len(trials) + 1, WIDENED_EVERY):
        best = _best(trials[:done])
        if best is not None:
            now = {name: one.widened(best.values[name]) for name, one in now.items()}
    return now


def _told(trials: Sequence[Trial]) -> str:
    best = _best(trials)
    early = sum(t.score is None for t in trials)
    ended = f"{len(trials)} trials, {early} of them ended early"
    if best is None:
        return ended
    named = ", ".join(f"{name}={value:.4g}" for name, value in best.values.items())
    return f"{ended}; best {best.score:,.5g}: {named}"
