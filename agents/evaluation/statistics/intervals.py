"""Means and their intervals."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval, and how it was found."""

    low: float
    high: float
    method: str  # "BCa", "percentile", "exact" (no spread at all) or "none" (a single value)


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
