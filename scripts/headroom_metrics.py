"""What pages of `stockyard-headroom` call metrics, and in which unit they tell them."""

from __future__ import annotations

from stockyard.envs.network.world import MONTH_DAYS

LABELS = {
    "surplus_retailer": "platform",
    "surplus_sellers": "sellers",
    "surplus_customers": "customers",
    "utilisation_trucks": "trucks' load, %",
    "late_share": "parcels late, %",
}
"""Metric -> what a reader calls it; surpluses are told in USD a day, shares in percent."""

LESS = "-"
"""Before a metric of which less is better."""


def is_money_metric(metric: str) -> bool:
    """Whether a metric is a surplus, in USD."""
    return metric.removeprefix(LESS).startswith("surplus_")


def scale(metric: str) -> float:
    """Surpluses are of a decision's step, a month, and told are those of a day; shares, percent."""
    return 1.0 / MONTH_DAYS if is_money_metric(metric) else 100.0


def label(metric: str) -> str:
    """What a reader calls a metric, with its unit."""
    if metric.startswith(LESS):
        return f"{label(metric.removeprefix(LESS))} (less is better)"
    return LABELS.get(metric, metric.replace("_", " "))
