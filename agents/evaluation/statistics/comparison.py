"""Policies beside each other on the same tapes, difference by difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockyard.agents.evaluation.rollout import Evaluation
from stockyard.agents.evaluation.statistics.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class Comparison:
    """One policy beside the one it is compared with."""

    name: str
    mean: float  # money per period, mean over tapes
    standard_error: float
    against: str
    difference: float  # mean over tapes of (this - against), money per period
    interval: Interval  # of the difference
    share_better: float  # share of tapes on which this one earns more
    metrics: Mapping[str, float]


def compare(
    evaluations: Mapping[str, Evaluation],
    against: str | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Compares policies that ran on the same tapes, best first.

    Args:
        evaluations: Name -> evaluation.
        against: Whom to compare with; None for the best by mean.
        confidence: Of the intervals.
        seed: Of the bootstrap.

    Raises:
        ValueError: if `against` is not among the names, or the tapes differ.
    """
    if not evaluations:
        return []
    tapes = {
        name: (e.seed, e.split, e.periods, e.warmup, e.num_tapes) for name, e in evaluations.items()
    }
    if len(set(tapes.values())) > 1:
        raise ValueError(
            f"not the same tapes (seed, split, periods, warmup, number): {dict(tapes)}"
        )
    ranked = sorted(evaluations, key=lambda name: -evaluations[name].mean)
    rival = ranked[0] if against is None else against
    if rival not in evaluations:
        raise ValueError(f"against {rival!r} was not evaluated; known: {', '.join(evaluations)}")
    base = evaluations[rival].per_period_mean
    rows = []
    for name in ranked:
        evaluation = evaluations[name]
        difference = evaluation.per_period_mean - base
        rows.append(
            Comparison(
                name=name,
                mean=evaluation.mean,
                standard_error=evaluation.standard_error,
                against=rival,
                difference=float(difference.mean()),
                interval=bootstrap_interval(difference, confidence=confidence, seed=seed),
                share_better=float((difference > 0).mean()),
                metrics=evaluation.summary()["metrics"],
            )
        )
    return rows
