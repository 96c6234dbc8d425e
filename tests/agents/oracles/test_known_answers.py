"""The oracles reproduce every recorded figure that is about an exact value.

Facts, tolerances and sources stand in `tests/known_answers/oracles.json`.
"""

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stockyard.agents import oracles
from stockyard.agents.oracles.verification import Comparison, compare, instance_of

FILE = pathlib.Path(__file__).parents[2] / "known_answers" / "oracles.json"
FACTS = json.loads(FILE.read_text(encoding="utf-8"))["textbook"]


SLOW = {"A4_geometric_L4_p19", "A4_geometric_L4_p39"}  # the largest tables


@pytest.mark.parametrize(
    "fact",
    [pytest.param(f, marks=pytest.mark.slow) if f["name"] in SLOW else f for f in FACTS],
    ids=lambda fact: fact["name"],
)
def test_oracles_reproduce(fact: dict[str, Any]) -> None:
    """Optimal costs, costs of rules and their best parameters, orders in named states."""
    for comparison in compare(fact):
        assert comparison.agrees, comparison


@pytest.mark.parametrize(
    "fact", [f for f in FACTS if f["name"].startswith("A5_lr")], ids=lambda fact: fact["name"]
)
def test_dual_sourcing_gaps_are_the_published_ones(fact: dict[str, Any]) -> None:
    """Only gaps to the optimum are printed; ours agree to 0.01 points, the last digit printed."""
    instance = instance_of(fact)
    best = oracles.optimal_cost(instance)
    printed = {
        "capped_dual_index": "cdi",
        "dual_index": "di",
        "single_index": "si",
        "tailored_base_surge": "tbs",
    }
    for figure in fact["figures"][1:]:
        cost = oracles.policy_cost(instance, figure["rule"], **figure["parameters"])
        gap = 100.0 * (cost / best - 1.0)
        assert gap == pytest.approx(fact["published"]["gap_pct"][printed[figure["rule"]]], abs=0.01)
        assert gap == pytest.approx(figure["gap_percent"], abs=0.001)


@pytest.mark.parametrize(
    "fact", [f for f in FACTS if f["name"].startswith("A4_")], ids=lambda fact: fact["name"]
)
def test_zipkins_table_is_met_where_ours_differs_by_rounding(fact: dict[str, Any]) -> None:
    """Recorded optima round to the two decimals printed by Zipkin 2008 and Bijvank et al. 2015."""
    optimum = fact["figures"][0]["optimal_cost"]
    assert abs(optimum - fact["published"]["optimal"]) <= 0.005 + 1e-9


def test_a_wrong_figure_is_reported() -> None:
    """A comparison that agrees with anything would prove nothing."""
    fact = {**FACTS[0], "figures": [{"optimal_cost": 2.0}]}
    assert not next(compare(fact)).agrees
    assert not Comparison("x", "y", [1.0], [1.0, 2.0], 1.0, 0.0).agrees


def test_parameters_that_are_not_best_are_reported() -> None:
    """The search around best parameters must be able to fail."""
    fact = next(f for f in FACTS if f["name"] == "A4_poisson_L1_p4")
    instance = instance_of(fact)
    cost = oracles.policy_cost(instance, "base_stock", order_up_to=13)
    figure = {"rule": "base_stock", "parameters": {"order_up_to": 13}, "cost": cost}
    plain, searched = (
        next(compare({**fact, "figures": [{**figure, "is_best": best}]})) for best in (False, True)
    )
    assert plain.agrees
    assert not searched.agrees and np.isnan(searched.computed)
