"""Scores: 0 is the naive rule, 1 the bound, on the very same tape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stockyard.agents.evaluation.statistics.intervals import Floats, Interval, bootstrap_interval

LEAST_STAKE = 0.1
"""Part of an entry's mean stake with which a tape of a smaller stake counts."""

NO_HEADROOM = 0.02
"""Mean stake, as a share of what the bound earns, at which there is nothing to gain."""


def normalise(returns: Floats, naive: Floats, bound: Floats) -> Floats:
    """Scores of a policy: (return - naive) / (bound - naive), tape by tape.

    Where a bound holds on every tape no score exceeds 1. The stake of a tape, bound less naive, can
    come close to nothing, and a ratio to it then says nothing: a tape of a stake under a tenth of
    the mean counts with a tenth of the mean.

    Args:
        returns: (..., T) money.
        naive: (T,) money of the naive rule on the same tapes.
        bound: (T,) money of the bound.

    Returns:
        (..., T) scores.

    Raises:
        ValueError: if the bound does not exceed the naive rule in the mean.
    """
    stake = np.asarray(bound - naive, dtype=np.float64)
    typical = float(stake.mean())
    if not typical > 0.0:
        raise ValueError(f"bound: must exceed the naive rule in the mean, not by {typical:g}")
    return np.asarray((returns - naive) / np.maximum(stake, LEAST_STAKE * typical))


@dataclass(frozen=True)
class Headroom:
    """What there is to gain in an entry, and how much of it a rule gains."""

    stake: float  # money, mean over tapes of bound less naive
    interval: Interval  # of the stake
    share: float  # of what the bound earns, as it is without its sign
    best_rule: float  # highest mean score of a rule; NaN: no rule was evaluated
    verdict: str  # "" or why nothing is ranked here: "degenerate: ..."


def headroom(
    naive: Floats,
    bound: Floats,
    best_rule: float = float("nan"),
    *,
    solved: float | None = None,
) -> Headroom:
    """Tells whether an entry tests anything.

    It is degenerate where the bound earns hardly more than the naive rule, or where a classical
    rule comes so near the bound that there is nothing left to rank on.

    Args:
        naive: (T,) money.
        bound: (T,) money.
        best_rule: highest mean score of a classical rule.
        solved: score of a rule from which the entry counts as solved; None: never.
    """
    stake = bound - naive
    interval = bootstrap_interval(stake)
    size = max(abs(float(bound.mean())), 1e-12)
    share = float(stake.mean()) / size
    verdict = ""
    if not interval.low > 0.0 and not (interval.method == "none" and stake.mean() > 0.0):
        verdict = "degenerate: the bound does not exceed the naive rule with certainty"
    elif share < NO_HEADROOM:
        verdict = f"degenerate: the bound earns {100 * share:.1f} % more than the naive rule"
    elif solved is not None and best_rule >= solved:
        verdict = f"degenerate: a rule closes {100 * best_rule:.1f} % of the gap to the bound"
    return Headroom(float(stake.mean()), interval, share, best_rule, verdict)
