"""Stratified bootstrap over tapes, and what training seeds add to an interval.

Tapes are drawn anew within each entry, the same draws for every policy, so that differences stay
paired. Training seeds are few, three or so: resampling three values understates their spread by a
fifth and knows nothing of the tails (a resample's standard deviation is that of the population of
the three). Their part therefore comes from the jackknife over seeds and Student's t with one degree
of freedom less than there are seeds, and the two parts are joined as Zou & Donner (2008),
"Construction of confidence limits about effect measures", Statistics in Medicine 27, join limits of
a sum: the squares of the distances from the estimate add. What seeds differ in from tape to tape is
in the resamples already and is taken off the jackknife's variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.statistics.aggregates import (
    GOAL,
    TRIMMED,
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    weighted_interquartile_mean,
)
from stockyard.agents.evaluation.statistics.intervals import Floats, Interval

RESAMPLES = 4999
"""Bootstrap resamples of a board."""

IN_A_TAIL = 5
"""Resamples that must lie beyond a limit for it to be read off them."""

_BATCH = 2_000_000  # counts held at once

Statistic = Callable[[Floats], float]


class Resamples:
    """Draws of tapes, the same for every policy that ran on so many of them."""

    def __init__(self, entries: int, tapes: int, *, resamples: int = RESAMPLES, seed: int = 0):
        """Draws.

        Args:
            entries: E.
            tapes: T of each entry.
            resamples: B.
            seed: of the draws.
        """
        rng = np.random.default_rng([seed, entries, tapes])
        drawn = rng.multinomial(tapes, np.full(tapes, 1.0 / tapes), size=(resamples, entries))
        self.counts: NDArray[np.int16] = drawn.astype(np.int16)  # (B, E, T)

    def means(self, values: Floats) -> Floats:
        """Mean of (E, T) values in every resample, (B,)."""
        return np.asarray(self.entry_means(values).mean(axis=1))

    def entry_means(self, values: Floats) -> Floats:
        """Means of (E, T) values by entry in every resample, (B, E)."""
        columns = [
            self.counts[:, entry].astype(np.float64) @ values[entry] for entry in range(len(values))
        ]
        return np.asarray(np.stack(columns, axis=1) / values.shape[1])

    def interquartile_means(self, scores: Floats) -> Floats:
        """Interquartile mean of (S, E, T) scores in every resample, (B,)."""
        seeds = len(scores)
        order = np.argsort(scores, axis=None, kind="stable")
        ordered = scores.ravel()[order]
        tape = order % (scores.size // seeds)
        flat = self.counts.reshape(len(self.counts), -1)
        step = max(1, _BATCH // ordered.size)
        parts = [
            weighted_interquartile_mean(ordered, flat[first : first + step, tape].astype(float))
            for first in range(0, len(flat), step)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True)
class Spread:
    """How far an estimate may be from the truth; intervals of any confidence come from it."""

    estimate: float
    replicates: Floats  # (B,) of the estimate, in order, as `widened` returns them
    acceleration: float = 0.0  # BCa's; Efron (1987)
    corrected: bool = False  # BCa; else percentile
    seed_error: float = 0.0  # standard error for the choice of training seeds
    seed_freedom: float = math.inf  # degrees of freedom of that error

    def interval(self, confidence: float = 0.95) -> Interval:
        """The interval of a confidence."""
        from scipy.special import stdtrit

        tail = (1.0 - confidence) / 2.0
        low, high = self._limits(tail)
        if self.seed_error > 0.0:
            reach = float(-stdtrit(self.seed_freedom, tail)) * self.seed_error
            low = self.estimate - math.hypot(self.estimate - low, reach)
            high = self.estimate + math.hypot(high - self.estimate, reach)
        elif low == high:
            return Interval(low, high, "exact")
        return Interval(low, high, "BCa" if self.corrected else "percentile")

    def p_value(self) -> float:
        """The largest error probability whose interval leaves zero out; 1 for an estimate of 0."""
        if self.estimate == 0.0:
            return 1.0
        low, high = 1e-300, 1.0  # of the probability, on a logarithmic scale
        if not self._excludes_zero(low):
            for _ in range(60):
                middle = math.sqrt(low * high) if low < 1e-3 * high else 0.5 * (low + high)
                if self._excludes_zero(middle):
                    high = middle
                else:
                    low = middle
            return high
        return low

    def _excludes_zero(self, probability: float) -> bool:
        interval = self.interval(1.0 - probability) if probability > 1e-16 else None
        if interval is None:  # 1 - probability is 1 in floating point
            return False
        return interval.low > 0.0 or interval.high < 0.0

    def _limits(self, tail: float) -> tuple[float, float]:
        """Limits for the choice of tapes; beyond what resamples resolve, of a normal tail."""
        from scipy.special import ndtri

        resolved = IN_A_TAIL / len(self.replicates)
        low, high = self._quantiles(max(tail, resolved))
        if tail < resolved:
            stretch = float(ndtri(tail) / ndtri(resolved))
            low = self.estimate - stretch * (self.estimate - low)
            high = self.estimate + stretch * (high - self.estimate)
        # an interval that leaves its own estimate out serves nobody
        return min(low, self.estimate), max(high, self.estimate)

    def _quantiles(self, tail: float) -> tuple[float, float]:
        from scipy.special import ndtr, ndtri

        levels = np.array([tail, 1.0 - tail])
        if self.corrected:
            z = self._bias + ndtri(levels)
            levels = ndtr(self._bias + z / (1.0 - self.acceleration * z))
        index = levels * (len(self.replicates) - 1)
        found = np.interp(index, np.arange(len(self.replicates)), self.replicates)
        return float(found[0]), float(found[1])

    @cached_property
    def _bias(self) -> float:
        from scipy.special import ndtri

        below = np.searchsorted(self.replicates, self.estimate, side="left")
        upto = np.searchsorted(self.replicates, self.estimate, side="right")
        share = 0.5 * (below + upto) / len(self.replicates)
        edge = 0.5 / len(self.replicates)
        return float(ndtri(min(max(share, edge), 1.0 - edge)))


def aggregate(scores: Floats, resamples: Resamples) -> dict[str, Spread]:
    """The aggregates of a policy's scores and how sure they are.

    Args:
        scores: (S, E, T).
        resamples: of E entries with T tapes.
    """
    over_seeds = scores.mean(axis=0)
    below = np.minimum(scores, GOAL)
    replicates: dict[str, tuple[Statistic, Floats, Floats]] = {
        "iqm": (interquartile_mean, contributions(scores), resamples.interquartile_means(scores)),
        "mean": (mean_score, scores, resamples.means(over_seeds)),
        "median": (median_score, scores, np.median(resamples.entry_means(over_seeds), axis=1)),
        "optimality_gap": (optimality_gap, below, GOAL - resamples.means(below.mean(axis=0))),
    }
    return {
        name: Spread(
            estimate=statistic(scores),
            replicates=widened(values, statistic(scores), scores.shape[2]),
            seed_error=seed_error(scores, statistic, parts),
            seed_freedom=max(len(scores) - 1.0, 1.0),
        )
        for name, (statistic, parts, values) in replicates.items()
    }


def widened(replicates: Floats, estimate: float, tapes: int) -> Floats:
    """Replicates of an estimate in order, with the variance that T tapes of an entry have.

    Drawing T of T tapes has a variance that is too small by (T - 1) / T in every entry, however
    many entries there are (Davison & Hinkley, "Bootstrap methods and their application", 1997,
    section 3.2): 8 tapes would make intervals 6 % too narrow.
    """
    factor = math.sqrt(tapes / (tapes - 1.0)) if tapes > 1 else 1.0
    return np.asarray(np.sort(estimate + factor * (replicates - estimate)))


def seed_error(scores: Floats, statistic: Statistic, parts: Floats) -> float:
    """Standard error of a statistic for the choice of training seeds; 0 with one seed or one tape.

    Args:
        scores: (S, E, T).
        statistic: of the scores.
        parts: (S, E, T) what every score contributes to it; their mean moves as the statistic does.
    """
    seeds, entries, tapes = scores.shape
    if seeds < 2:
        return 0.0
    without = [statistic(np.delete(scores, seed, axis=0)) for seed in range(seeds)]
    variance = (seeds - 1) * float(np.var(without))
    if tapes > 1:
        by_seed, by_tape = parts.mean(axis=2, keepdims=True), parts.mean(axis=0, keepdims=True)
        rest = parts - by_seed - by_tape + by_tape.mean(axis=2, keepdims=True)
        noise = float((rest**2).sum()) / ((seeds - 1) * (tapes - 1) * entries)
        variance -= noise / (seeds * entries * tapes)
    return math.sqrt(max(variance, 0.0))


def contributions(scores: Floats) -> Floats:
    """What every score contributes to the interquartile mean, (S, E, T), but for a constant.

    The influence on a trimmed mean is the winsorised score over the share that is kept (Huber,
    "Robust Statistics", 1981, section 3.3).
    """
    low, high = np.quantile(scores, [TRIMMED, 1.0 - TRIMMED])
    return np.asarray(np.clip(scores, low, high) / (1.0 - 2.0 * TRIMMED))


def influence(scores: Floats) -> Floats:
    """Influence of every tape on the interquartile mean, (E, T), its entry's mean taken off."""
    parts = contributions(scores).mean(axis=0)
    return np.asarray(parts - parts.mean(axis=1, keepdims=True))


def acceleration(influences: Floats) -> float:
    """BCa's acceleration from the influence of every tape; 0 where none has any."""
    squares = float((influences**2).sum())
    return 0.0 if squares == 0.0 else float((influences**3).sum()) / (6.0 * squares**1.5)
