"""Statistics of policies that ran on identical tapes.

The difference on each tape is what is compared: the luck of a tape falls out of it. A file has one
subject: intervals of a mean, comparisons with one policy, scores between the naive rule and the
bound, aggregates of many scores, resampling, ranks.
"""

from stockyard.agents.evaluation.statistics.aggregates import (
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from stockyard.agents.evaluation.statistics.comparison import Comparison, compare
from stockyard.agents.evaluation.statistics.intervals import (
    Interval,
    bootstrap_interval,
    mean,
    standard_error,
)
from stockyard.agents.evaluation.statistics.ranking import (
    INDISTINGUISHABLE,
    Field,
    Pair,
    holm,
    ranks,
)
from stockyard.agents.evaluation.statistics.resampling import Resamples, Spread, aggregate
from stockyard.agents.evaluation.statistics.scores import Headroom, headroom, normalise

__all__ = [
    "INDISTINGUISHABLE",
    "Comparison",
    "Field",
    "Headroom",
    "Interval",
    "Pair",
    "Resamples",
    "Spread",
    "aggregate",
    "bootstrap_interval",
    "compare",
    "headroom",
    "holm",
    "interquartile_mean",
    "mean",
    "mean_score",
    "median_score",
    "normalise",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "ranks",
    "standard_error",
]
