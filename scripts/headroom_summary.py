"""What `stockyard-headroom` tells of a scenario, in numbers: who is best, by how much, how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.statistics import bootstrap_interval
from stockyard.scripts.headroom_contest import Contest

Floats = NDArray[np.float64]


def summarise(contest: Contest, result: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a scenario: profits, gaps closed, the best of each kind, differences."""
    policies = result["policies"]
    test = {name: np.array(entry["test"]["returns"]) for name, entry in policies.items()}
    bound = result.get("bound")
    rival = best_of(policies, [contest.naive, *contest.rules, *contest.slow])
    learners = [name for name in policies if name in contest.learners]
    learner = best_of(policies, learners) if learners else None
    summary: dict[str, Any] = {
        "profit": {name: float(values.mean()) for name, values in test.items()},
        "standard_error": {name: _error(values) for name, values in test.items()},
        "tapes": {name: len(values) for name, values in test.items()},
        "milliseconds": {name: entry["test"]["milliseconds"] for name, entry in policies.items()},
        "metrics": {name: entry["test"]["metrics"] for name, entry in policies.items()},
        "commits": sorted({str(entry.get("commit")) for entry in policies.values()}),
        "best_rival": rival,
        "best_learner": learner,
        "against_best_rival": {
            name: difference(values, test[rival]) for name, values in test.items() if name != rival
        },
    }
    if contest.guarded is not None:
        guarded = {name: np.array(entry["test"]["guarded"]) for name, entry in policies.items()}
        summary["guarded"] = {name: float(values.mean()) for name, values in guarded.items()}
        summary["guarded_against_best_rival"] = {
            name: excess(values, guarded[rival]) for name, values in guarded.items()
        }
    if bound is not None:
        limits = np.array(bound["per_period"])
        summary["bound"] = {
            "profit": float(limits.mean()),
            "stake": _stake(test[contest.naive], limits),
            "tapes": len(limits),
            "optimal": bound["optimal"],
            "seconds": bound["seconds"],
        }
        summary["gap_closed"] = {
            name: gap_closed(values, test[contest.naive], limits) for name, values in test.items()
        }
        summary["beaten"] = [  # law L13: must stay empty
            name
            for name, values in test.items()
            if (
                values[: len(limits)] > limits[: len(values)] + 1e-6 * np.abs(limits[: len(values)])
            ).any()
        ]
    return summary


def best_of(policies: Mapping[str, Any], names: Sequence[str]) -> str:
    """The best on validation tapes; who ran on fewer is compared on those."""
    scores = {name: np.array(policies[name]["validation"]["returns"]) for name in names}
    most = max(len(values) for values in scores.values())
    best = max(
        (name for name, values in scores.items() if len(values) == most),
        key=lambda name: float(scores[name].mean()),
    )
    for name, values in scores.items():
        if len(values) < most and values.mean() > scores[best][: len(values)].mean():
            best = name
    return best


def difference(values: Floats, rival: Floats) -> dict[str, Any]:
    """Paired difference on the tapes that both met, USD a period, with its interval."""
    count = min(len(values), len(rival))
    gap = values[:count] - rival[:count]
    interval = bootstrap_interval(gap)
    return {
        "mean": float(gap.mean()),
        "low": interval.low,
        "high": interval.high,
        "percent": 100.0 * float(gap.mean()) / abs(float(rival[:count].mean())),
        "tapes": count,
        "share_better": float((gap > 0).mean()),
    }


def excess(values: Floats, rival: Floats) -> dict[str, Any]:
    """How much more of a guarded metric there is, on the tapes that both met, with its interval."""
    count = min(len(values), len(rival))
    interval = bootstrap_interval(values[:count] - rival[:count])
    return {
        "own": float(values[:count].mean()),
        "rival": float(rival[:count].mean()),
        "low": interval.low,
        "high": interval.high,
    }


def gap_closed(values: Floats, naive: Floats, bound: Floats) -> float:
    """(J - J_naive) / (J_bound - J_naive), means over the tapes that all met."""
    count = min(len(values), len(bound))
    stake = _stake(naive[:count], bound)
    return float((values[:count].mean() - naive[:count].mean()) / max(stake, 1e-9))


def _stake(naive: Floats, bound: Floats) -> float:
    """What the naive rule leaves to the bound on the tapes that both met."""
    count = min(len(naive), len(bound))
    return float(bound[:count].mean() - naive[:count].mean())


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
