"""One figure for many scores: Agarwal, Schwarzer, Castro, Courville & Bellemare (2021).

"Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 34. Scores are
arrays (S, E, T): training seeds, entries of a benchmark, tapes. What that paper calls a run is a
pair of seed and tape here, and what it calls a task is an entry.
"""

from __future__ import annotations

import numpy as np

from stockyard.agents.evaluation.statistics.intervals import Floats

TRIMMED = 0.25
"""Share of the scores that the interquartile mean leaves out at each end."""

GOAL = 1.0
"""Score below which the optimality gap counts what is missing: that of the bound."""


def mean_score(scores: Floats) -> float:
    """Mean over runs and entries."""
    return float(scores.mean())


def median_score(scores: Floats) -> float:
    """Median over entries of the mean over runs."""
    return float(np.median(scores.mean(axis=(0, 2))))


def interquartile_mean(scores: Floats) -> float:
    """Mean of the middle half of all scores, runs and entries pooled."""
    ordered = np.sort(scores, axis=None)
    counts = np.ones((1, ordered.size))
    return float(weighted_interquartile_mean(ordered, counts)[0])


def weighted_interquartile_mean(ordered: Floats, counts: Floats) -> Floats:
    """Interquartile means of resamples of the same scores.

    Args:
        ordered: (n,) scores, the lowest first.
        counts: (B, n) how often each is in a resample.

    Returns:
        (B,) means of what is left after cutting a quarter of the scores, rounded down to whole
        ones, from each end.
    """
    upto = np.cumsum(counts, axis=1)
    total = upto[:, -1:]
    cut = np.floor(TRIMMED * total)
    kept = np.clip(np.minimum(upto, total - cut) - np.maximum(upto - counts, cut), 0.0, None)
    return np.asarray(kept @ ordered / (total - 2.0 * cut)[:, 0])


def optimality_gap(scores: Floats) -> float:
    """How much is missing to the bound in the mean; what exceeds it does not make up for it."""
    return float((GOAL - np.minimum(scores, GOAL)).mean())


def performance_profile(scores: Floats, levels: Floats) -> Floats:
    """Share of all runs that score above each level, (L,)."""
    ordered = np.sort(scores, axis=None)
    return np.asarray(1.0 - np.searchsorted(ordered, levels, side="right") / ordered.size)


def probability_of_improvement(scores: Floats, rival: Floats, *, paired: bool = False) -> float:
    """Probability that a run of one scores above a run of the other, mean over entries.

    Ties count half. In an entry any run may meet any other, which is the Mann-Whitney statistic of
    the paper; `paired` lets only runs on the same tape meet.

    Args:
        scores: (S, E, T).
        rival: (S', E, T'), with T' = T if paired.
        paired: see above.
    """
    if paired:
        return float(wins(scores, rival).mean())
    shares = []
    for entry in range(scores.shape[1]):
        ours = scores[:, entry].ravel()[:, None]
        theirs = rival[:, entry].ravel()[None, :]
        shares.append(float(((ours > theirs) + 0.5 * (ours == theirs)).mean()))
    return float(np.mean(shares))


def wins(scores: Floats, rival: Floats) -> Floats:
    """Share of the pairs of seeds in which one scores above the other on a tape, ties half, (E, T).

    Args:
        scores: (S, E, T).
        rival: (S', E, T).
    """
    ours, theirs = scores[:, None], rival[None]
    return np.asarray(((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(0, 1)))
