"""What the exact recursions need of a demand distribution: masses, sums over periods, losses.

Demand on integers that is unbounded is cut where less than `TAIL` of the probability lies beyond;
the cut is returned with the masses, so that every oracle can state what it left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stockyard.envs.network.distributions import (
    Distribution,
    Gamma,
    Geometric,
    NegativeBinomial,
    Normal,
    Pmf,
    Poisson,
    Uniform,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TAIL = 1e-13
"""Probability that a cut may leave out, per period."""


@dataclass(frozen=True)
class Masses:
    """Probabilities of 0, 1, ..., n units; what lies beyond n is counted at n."""

    p: Floats  # (n + 1,), sums to 1
    mean: float  # of the distribution itself, units
    tail_units: float  # E[(D - n)+], units: what the cut forgets of the mean

    @property
    def largest(self) -> int:
        """The largest demand that is considered, units."""
        return len(self.p) - 1

    def leftover(self, levels: npt.ArrayLike) -> Floats:
        """E[(y - D)+] at whole levels y, units; the cut does not touch it for y <= n."""
        y = np.asarray(levels, dtype=np.int64)
        below = np.concatenate(([0.0], np.cumsum(np.cumsum(self.p))))
        at = np.clip(y, 0, len(self.p))
        return np.asarray(below[at] + (y - at) * (y > at))

    def shortage(self, levels: npt.ArrayLike) -> Floats:
        """E[(D - y)+] at whole levels y, units, of the uncut distribution for y <= n."""
        return self.mean - np.asarray(levels, dtype=np.float64) + self.leftover(levels)


def frozen_law(demand: Distribution, periods: float = 1) -> Any:
    """The SciPy distribution of the demand of several periods, or None if it has no name.

    Poisson and Normal demand may be summed over a fraction of a period, as continuous review does.
    """
    n = periods
    if isinstance(demand, Poisson):
        return stats.poisson(n * demand.mean)
    if isinstance(demand, Geometric):
        return stats.nbinom(n, 1.0 / (1.0 + demand.mean))
    if isinstance(demand, NegativeBinomial):
        p = demand.mean / demand.variance
        return stats.nbinom(n * demand.mean * p / (1.0 - p), p)
    if isinstance(demand, Gamma):
        shape = (demand.mean / demand.sd) ** 2
        return stats.gamma(n * shape, scale=demand.mean / shape)
    if isinstance(demand, Normal):
        return stats.norm(n * demand.mean, math.sqrt(n) * demand.sd)
    return None


def masses(demand: Distribution, periods: float = 1, at_least: int = 0) -> Masses:
    """Probabilities of the demand of several independent periods.

    Args:
        demand: on whole units.
        periods: how many are added up.
        at_least: the largest demand considered is no smaller.

    Raises:
        ValueError: if the demand is not on whole units, or is not identical in every period.
    """
    mean = periods * demand.mean
    if periods == 0:
        return Masses(np.eye(1, at_least + 1)[0], 0.0, 0.0)
    if isinstance(demand, Uniform | Pmf):
        if periods != int(periods):
            raise ValueError(f"periods: must be whole for {type(demand).__name__}, got {periods}")
        if isinstance(demand, Uniform):
            one = np.zeros(demand.high + 1)
            one[demand.low :] = 1.0 / (demand.high - demand.low + 1)
        else:
            one = np.asarray(demand.p, dtype=np.float64)
        total = np.ones(1)
        for _ in range(int(periods)):
            total = np.convolve(total, one)
        return Masses(np.pad(total, (0, max(at_least + 1 - len(total), 0))), mean, 0.0)
    law = frozen_law(demand, periods)
    if law is None or not demand.is_integer:
        raise ValueError(
            f"demand: exact recursions need independent demand on whole units, got {demand!r}"
        )
    n = max(int(law.isf(TAIL)) + 1, at_least)
    p = law.pmf(np.arange(n + 1))
    p[-1] += max(1.0 - math.fsum(p), 0.0)
    cut = Masses(p / math.fsum(p), mean, 0.0)
    tail_units = max(mean - float(cut.p @ np.arange(n + 1)), 0.0)
    if tail_units > 1e-9 * max(mean, 1.0):
        raise ValueError(f"demand: the cut at {n} units forgets {tail_units:.1e} units of the mean")
    return Masses(cut.p, mean, tail_units)


def lumped(law: Masses, most: int) -> Masses:
    """Counts demand above `most` at `most`: the same for stocks that are no larger."""
    if law.largest <= most:
        return law
    p = np.append(law.p[:most], law.p[most:].sum())
    return Masses(p, law.mean, max(law.mean - float(p @ np.arange(most + 1)), 0.0))


def joint(laws: Sequence[Masses]) -> tuple[Ints, Floats]:
    """Outcomes (W, n) of n independent demands, and their probabilities (W,)."""
    grids = np.meshgrid(*(np.arange(len(law.p)) for law in laws), indexing="ij")
    outcomes = np.stack([grid.ravel() for grid in grids], axis=1)
    probability = np.ones(1)
    for law in laws:
        probability = np.multiply.outer(probability, law.p).ravel()
    keep = probability > 0
    return outcomes[keep], probability[keep]


def fractile(demand: Distribution, periods: float, level: float) -> float:
    """The smallest y with P(D <= y) >= level, of the demand of several periods, units."""
    if isinstance(demand, Normal) and demand.sd == 0:
        return periods * demand.mean
    law = frozen_law(demand, periods)
    if law is not None:
        y = float(law.ppf(level))
        # SciPy's inversion may be one off where the distribution function meets the level
        if demand.is_integer and y >= 1 and law.cdf(y - 1) >= level:
            y -= 1.0
        return y
    upto = np.cumsum(masses(demand, periods).p)
    return float(np.searchsorted(upto, level - 1e-12))


def expected_leftover(demand: Distribution, periods: float, level: float) -> float:
    """E[(y - D)+] of the demand of several periods, units: closed form or finite sum."""
    if isinstance(demand, Normal):
        mean, sd = periods * demand.mean, math.sqrt(periods) * demand.sd
        if sd == 0:
            return max(level - mean, 0.0)
        z = (level - mean) / sd
        return sd * float(z * stats.norm.cdf(z) + stats.norm.pdf(z))
    if isinstance(demand, Gamma):
        shape = periods * (demand.mean / demand.sd) ** 2
        scale = periods * demand.mean / shape
        # E[D; D <= y] is the mean times the distribution function with one more shape
        return float(
            level * stats.gamma.cdf(level, shape, scale=scale)
            - shape * scale * stats.gamma.cdf(level, shape + 1.0, scale=scale)
        )
    law = masses(demand, periods, at_least=max(math.ceil(level), 0))
    return float(np.maximum(level - np.arange(len(law.p)), 0.0) @ law.p)


def newsvendor_cost(
    demand: Distribution, periods: float, level: float, holding_cost: float, penalty_cost: float
) -> float:
    """E[h (y - D)+ + p (D - y)+], USD."""
    leftover = expected_leftover(demand, periods, level)
    return holding_cost * leftover + penalty_cost * (periods * demand.mean - level + leftover)
