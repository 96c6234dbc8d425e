"""Several worlds for one set of weights: their specifications, and one score over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents.evaluation.rollout import Evaluation, Specification, build, evaluate
from stockyard.agents.policy import Policy


def worlds_of(
    specification: Specification | Sequence[Specification],
) -> dict[str, dict[str, Any]]:
    """Scenario -> specification of one world.

    Args:
        specification: of one world; one with a list of scenarios as `mixture` instead of a
            `scenario`; or a list of specifications.

    Raises:
        ValueError: for an empty list.
    """
    given = [specification] if isinstance(specification, Mapping) else list(specification)
    flat: list[dict[str, Any]] = []
    for spec in given:
        rest = {key: value for key, value in spec.items() if key != "mixture"}
        mixture = spec.get("mixture")
        if isinstance(mixture, str) or not isinstance(mixture, Sequence | None):
            raise ValueError(f"mixture: must be a list of scenarios, got {mixture!r}")
        flat += [rest] if mixture is None else [{**rest, "scenario": one} for one in mixture]
    if not flat:
        raise ValueError("mixture: must name a scenario")
    named: dict[str, dict[str, Any]] = {}
    for spec in flat:
        name = base = _name(spec)
        while name in named:
            name = f"{base}-{len(named)}"
        named[name] = spec
    return named


def as_one(specification: Specification | Sequence[Specification]) -> dict[str, Any]:
    """A mixture as one specification for the record; one world as it is."""
    if isinstance(specification, Mapping):
        return dict(specification)
    return {**specification[0], "mixture": [spec.get("scenario") for spec in specification]}


def _name(spec: Specification) -> str:
    scenario = spec.get("scenario")
    if isinstance(scenario, Mapping):
        return str(scenario.get("name", "scenario"))
    return str(getattr(scenario, "name", scenario) or spec.get("id", "world"))


@dataclass(frozen=True)
class MixedEvaluation:
    """Evaluations in several worlds as one; quacks like an `Evaluation` to whoever keeps a curve.

    The mean is that of the worlds' scores, each in the scale of its world, so that a world of
    larger sales counts no more than another.
    """

    parts: Mapping[str, Evaluation]  # scenario -> evaluation
    scales: Mapping[str, float]  # scenario -> USD per period that its score is divided by

    @property
    def mean(self) -> float:
        """Money per period: the mean of the normalised scores, in the mean scale."""
        scores = [part.mean / self.scales[name] for name, part in self.parts.items()]
        return float(np.mean(scores) * np.mean(list(self.scales.values())))

    def summary(self) -> dict[str, Any]:
        """As `Evaluation.summary`, averaged over worlds; `scenarios` holds each one's mean."""
        parts = [part.summary() for part in self.parts.values()]
        first = parts[0]
        errors = np.array([part["standard_error"] for part in parts])
        return {
            **first,
            "mean_per_period": self.mean,
            "standard_error": float(np.sqrt((errors**2).sum()) / len(parts)),
            "scenarios": {name: part.mean for name, part in self.parts.items()},
            "metrics": _averages([part["metrics"] for part in parts]),
            "ledger_per_period": _averages([part["ledger_per_period"] for part in parts]),
            "seconds": sum(part["seconds"] for part in parts),
            "milliseconds_per_decision": _average(
                [part["milliseconds_per_decision"] for part in parts]
            ),
        }


def together(
    parts: Mapping[str, Evaluation], bases: Mapping[str, Any]
) -> Evaluation | MixedEvaluation:
    """The evaluation of the one world there is, or that of several as one.

    Args:
        parts: scenario -> evaluation.
        bases: scenario -> its environment, unwrapped, for the scale of its rewards.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    scales = {name: base.reward_scale / base.periods_per_step for name, base in bases.items()}
    return MixedEvaluation(parts, scales)


def evaluate_in(
    worlds: Mapping[str, Specification], policies: Mapping[str, Policy], **how: Any
) -> Evaluation | MixedEvaluation:
    """Evaluates a policy in each of several worlds, or the one there is.

    Args:
        worlds: scenario -> specification.
        policies: scenario -> policy.
        **how: of `agents.evaluate`.
    """
    parts, bases = {}, {}
    for name, specification in worlds.items():
        built = build(specification, num_envs=1, split="train")
        bases[name] = built.unwrapped
        built.close()
        parts[name] = evaluate(policies[name], specification, **how)
    return together(parts, bases)


def _averages(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over the tables that define an entry; NaN where none does."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: _average([t[name] for t in tables if name in t]) for name in names}


def _average(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
