"""Who is better than whom, with which certainty, and what rank that gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stockyard.agents.evaluation.statistics.aggregates import (
    interquartile_mean,
    probability_of_improvement,
)
from stockyard.agents.evaluation.statistics.intervals import Floats, Interval
from stockyard.agents.evaluation.statistics.resampling import (
    RESAMPLES,
    Resamples,
    Spread,
    acceleration,
    contributions,
    influence,
    seed_error,
    widened,
)

INDISTINGUISHABLE = "indistinguishable"


@dataclass(frozen=True)
class Pair:
    """One policy beside another, both on the same tapes."""

    name: str
    rival: str
    difference: float  # of the interquartile means
    interval: Interval  # of the difference, by itself
    p_value: float
    corrected_p_value: float  # by Holm, among all pairs that are corrected together
    corrected_interval: Interval  # of the confidence that Holm leaves to this pair
    probability: float  # that it scores above the rival on the same tape, ties half
    tapes: int  # of each entry that both ran on

    @property
    def verdict(self) -> str:
        """Whether the corrected interval leaves zero out, and on which side."""
        low, high = self.corrected_interval.low, self.corrected_interval.high
        return "better" if low > 0.0 else "worse" if high < 0.0 else INDISTINGUISHABLE


def holm(p_values: Sequence[float]) -> tuple[list[float], list[int]]:
    """Holm's (1979) corrected p-values, and the number by which each was multiplied.

    Scandinavian Journal of Statistics 6, 65-70. The least p-value is multiplied by their number,
    the next by one less, and none may end up below the one before it.
    """
    order = sorted(range(len(p_values)), key=lambda i: (p_values[i], i))
    corrected, factors = [1.0] * len(p_values), [1] * len(p_values)
    most, most_factor = 0.0, len(p_values)
    for place, i in enumerate(order):
        factor = len(p_values) - place
        value = min(1.0, factor * p_values[i])
        if value >= most:
            most, most_factor = value, factor
        corrected[i], factors[i] = most, most_factor
    return corrected, factors


class Field:
    """Policies that met the same entries and tapes; a slow one perhaps only the first of them."""

    def __init__(self, scores: Mapping[str, Floats], *, resamples: int = RESAMPLES, seed: int = 0):
        """Takes the scores.

        Args:
            scores: Name -> (S, E, T); S and T may differ.
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            ValueError: if policies have met different numbers of entries, or a score is not finite.
        """
        entries = {values.shape[1] for values in scores.values()}
        if len(entries) > 1:
            raise ValueError(f"scores: policies have met {sorted(entries)} entries")
        for name, values in scores.items():
            if not np.isfinite(values).all():
                raise ValueError(f"scores: {name} has one that is not finite")
        # by name, so that nothing depends on the order in which they came
        self.scores = {name: scores[name] for name in sorted(scores)}
        self._entries = entries.pop() if entries else 0
        self._settings = {"resamples": resamples, "seed": seed}
        self._drawn: dict[int, Resamples] = {}
        self._replicates: dict[tuple[str, int], Floats] = {}

    def resamples(self, tapes: int) -> Resamples:
        """The draws of so many tapes."""
        if tapes not in self._drawn:
            self._drawn[tapes] = Resamples(self._entries, tapes, **self._settings)
        return self._drawn[tapes]

    def pairs(self, confidence: float = 0.95, ranked: Collection[str] | None = None) -> list[Pair]:
        """All pairs, each once, corrected for their number.

        Args:
            confidence: of the intervals.
            ranked: policies whose pairs are corrected by themselves, so that no other policy has a
                part in their ranks; None: all.
        """
        names = list(itertools.combinations(self.scores, 2))
        spreads = [self.difference(*pair) for pair in names]
        p_values = [spread.p_value() for spread in spreads]
        among = set(self.scores if ranked is None else ranked)
        corrected, factors = [1.0] * len(names), [1] * len(names)
        for inside in (True, False):
            chosen = [i for i, pair in enumerate(names) if (set(pair) <= among) is inside]
            found_p, found_factors = holm([p_values[i] for i in chosen])
            for place, i in enumerate(chosen):
                corrected[i], factors[i] = found_p[place], found_factors[place]
        found = []
        for i, (name, rival) in enumerate(names):
            tapes = self._common(name, rival)
            left = 1.0 - (1.0 - confidence) / factors[i]
            found.append(
                Pair(
                    name=name,
                    rival=rival,
                    difference=spreads[i].estimate,
                    interval=spreads[i].interval(confidence),
                    p_value=p_values[i],
                    corrected_p_value=corrected[i],
                    corrected_interval=spreads[i].interval(left),
                    probability=probability_of_improvement(
                        self.scores[name][..., :tapes], self.scores[rival][..., :tapes], paired=True
                    ),
                    tapes=tapes,
                )
            )
        return found

    def difference(self, name: str, rival: str) -> Spread:
        """Paired difference of two interquartile means, on the tapes that both met."""
        tapes = self._common(name, rival)
        ours, theirs = (self.scores[one][..., :tapes] for one in (name, rival))
        errors = [
            seed_error(scores, interquartile_mean, contributions(scores))
            for scores in (ours, theirs)
        ]
        total = math.hypot(*errors)
        freedom = math.inf
        if total > 0.0:  # Welch & Satterthwaite
            parts = zip(errors, (ours, theirs), strict=True)
            freedom = total**4 / sum(e**4 / (len(scores) - 1) for e, scores in parts if e > 0.0)
        replicates = self._of(name, tapes) - self._of(rival, tapes)
        estimate = interquartile_mean(ours) - interquartile_mean(theirs)
        return Spread(
            estimate=estimate,
            replicates=widened(replicates, estimate, tapes),
            acceleration=acceleration(influence(ours) - influence(theirs)),
            corrected=True,
            seed_error=total,
            seed_freedom=freedom,
        )

    def _common(self, name: str, rival: str) -> int:
        return min(int(self.scores[one].shape[2]) for one in (name, rival))

    def _of(self, name: str, tapes: int) -> Floats:
        key = (name, tapes)
        if key not in self._replicates:
            scores = self.scores[name][..., :tapes]
            self._replicates[key] = self.resamples(tapes).interquartile_means(scores)
        return self._replicates[key]


def ranks(names: Sequence[str], pairs: Sequence[Pair]) -> dict[str, int]:
    """Rank of each policy: one more than there are that are better with certainty.

    Policies that no corrected interval separates from the same rivals share a rank.
    """
    above = dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.verdict != INDISTINGUISHABLE:
            above[pair.rival if pair.verdict == "better" else pair.name] += 1
    return {name: 1 + count for name, count in above.items()}
