"""Means, paired differences and their intervals.

Policies run on identical tapes, so the difference on each tape is what is compared: the luck of a
tape falls out of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.rollout import Evaluation

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval, and how it was found."""

    low: float
    high: float
    method: str  # "BCa", "percentile", "exact" (no spread at all) or "none" (a single value)


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


def mean(values: Floats) -> float:
    """Returns the mean."""
    return float(np.mean(values))


def standard_error(values: Floats) -> float:
    """Returns the standard error of the mean; NaN for a single value."""
    if len(values) < 2:
        return float("nan")
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def bootstrap_interval(
    values: Floats, *, confidence: float = 0.95, resamples: int = 4999, seed: int = 0
) -> Interval:
    """Bootstrap interval of the mean: bias-corrected and accelerated (BCa; Efron 1987).

    Where BCa is not defined the percentile interval stands in, and `method` says so. If all values
    are equal there is nothing to resample: the interval is that value, "exact" for these tapes.

    Args:
        values: (n,) one value for each tape.
        confidence: Coverage aimed at.
        resamples: Bootstrap resamples.
        seed: Of the resampling, so that a table is the same twice.
    """
    if len(values) < 2:
        return Interval(float("nan"), float("nan"), "none")
    if np.ptp(values) == 0.0:
        return Interval(float(values[0]), float(values[0]), "exact")
    from scipy.stats import bootstrap

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = bootstrap(
                (values,),
                np.mean,
                confidence_level=confidence,
                n_resamples=resamples,
                batch=max(1, 2_000_000 // len(values)),
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite(found.low) and np.isfinite(found.high):
            return Interval(float(found.low), float(found.high), method)
    raise ValueError("the values hold a NaN or an infinity")


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
