"""Loading, order splitting and allocation rules against their known figures."""

import itertools
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stockyard.agents.oracles import allocation, order_split, packing

FILE = pathlib.Path(__file__).parents[2] / "known_answers" / "oracles.json"
FACTS = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("fact", FACTS["bin_packing"], ids=lambda fact: fact["name"])
def test_bins(fact: dict[str, Any]) -> None:
    """Optimum and both decreasing rules; FFD stays within 11/9 OPT + 6/9."""
    items, size = fact["items"], fact["capacity"]
    assert packing.fewest_bins(items, size) == fact["opt"]
    assert packing.first_fit_decreasing(items, size) == fact["ffd"]
    assert packing.best_fit_decreasing(items, size) == fact["bfd"]
    assert fact["ffd"] <= 11 / 9 * fact["opt"] + 6 / 9 + 1e-9


@pytest.mark.parametrize("fact", FACTS["knapsack"], ids=lambda fact: fact["name"])
def test_knapsack(fact: dict[str, Any]) -> None:
    """Published optima."""
    assert packing.knapsack(fact["values"], fact["weights"], fact["capacity"]) == fact["value"]


@pytest.mark.parametrize("fact", FACTS["online_packing"], ids=lambda fact: fact["name"])
def test_online_packing(fact: dict[str, Any]) -> None:
    """w(F) exactly; the waste of both rules over 1000 items within noise of the recorded mean."""
    sizes, p, capacity = fact["sizes"], fact["probabilities"], fact["capacity"]
    found = packing.waste_per_item(sizes, p, capacity)
    assert found == pytest.approx(fact["waste_per_item"], abs=1e-9)
    generator = np.random.default_rng(7)
    drawn = [generator.choice(sizes, 1000, p=p).tolist() for _ in range(60)]
    for rule in ("sum_of_squares", "best_fit"):
        waste = np.array([packing.online_waste(items, capacity, rule) for items in drawn])
        error = waste.std(ddof=1) / np.sqrt(len(waste))
        # the recorded mean is one of 60 sequences or more, and has an error of its own
        assert abs(waste.mean() - fact[f"{rule}_1000"]) <= 4.0 * np.sqrt(2.0) * error


def test_waste_of_sum_of_squares_grows_as_its_class_says() -> None:
    """Ten times the items: the same waste, about 10^.5 times, or 10 times (Csirik et al. 2006)."""
    generator = np.random.default_rng(3)
    for p, low, high in [((0.5, 0.5), 0.7, 1.8), ((0.75, 0.25), 2.0, 5.0), ((0.8, 0.2), 7.0, 13.0)]:
        waste = [
            np.mean(
                [
                    packing.online_waste(generator.choice((2, 3), n, p=p).tolist(), 9)
                    for _ in range(30)
                ]
            )
            for n in (1000, 10_000)
        ]
        assert low < waste[1] / waste[0] < high
        per_item = packing.waste_per_item((2, 3), p, 9)
        assert (per_item > 1e-9) == (low > 5.0)


def test_fewest_bins_is_that_of_exhaustion() -> None:
    """All assignments of six items to three bins."""
    items = [5, 5, 4, 4, 3, 3]
    fits = any(
        all(sum(i for i, b in zip(items, bins, strict=True) if b == k) <= 8 for k in range(3))
        for bins in itertools.product(range(3), repeat=6)
    )
    assert packing.fewest_bins(items, 8) == (3 if fits else 4)
    with pytest.raises(ValueError, match="exceeds the capacity"):
        packing.fewest_bins([9], 8)


def test_order_split_bounds_are_in_order() -> None:
    """Linear program <= dynamic program <= myopic (B4)."""
    fact = FACTS["B4"]
    stream = order_split.OrderStream({(0,): 0.3, (1,): 0.3, (0, 1): 0.4}, 2, (4.0, 6.0), 12.0)
    stock = (2, 3, 3, 2)
    least = order_split.least_cost(stream, stock, 8)
    myopic = order_split.myopic_cost(stream, stock, 8)
    bound = order_split.linear_program_bound(stream, stock, 8)
    assert least == pytest.approx(fact["least_cost"], rel=1e-8)
    assert myopic == pytest.approx(fact["myopic_cost"], rel=1e-8)
    assert bound == pytest.approx(fact["linear_program"], rel=1e-9)
    assert bound <= least <= myopic


RULES = {
    "proportional": allocation.proportional_allocation,
    "linear": allocation.linear_allocation,
    "uniform": allocation.uniform_allocation,
}


@pytest.mark.parametrize("case", FACTS["C4"]["cases"], ids=str)
@pytest.mark.parametrize("name", RULES)
def test_allocation_rules(case: dict[str, Any], name: str) -> None:
    """Recorded allocations; all capacity is given out, nobody gets more than the order."""
    given = RULES[name](case["orders"], case["capacity"])
    assert given == pytest.approx(case[name])
    assert given.sum() == pytest.approx(case["capacity"])
    assert RULES[name]([10.0, 20.0], 100.0) == pytest.approx([10.0, 20.0])


def test_only_uniform_allocation_rewards_no_lie() -> None:
    """A retailer who wants m and values units up to m gains by another order, or does not."""
    wanted, capacity = np.array([60.0, 50.0, 30.0]), 100.0
    for name, rule in RULES.items():
        honest = np.minimum(rule(wanted, capacity), wanted)
        gains = []
        for i, order in itertools.product(range(3), np.arange(0.0, 301.0, 5.0)):
            told = wanted.copy()
            told[i] = order
            gains.append(min(rule(told, capacity)[i], wanted[i]) - honest[i])
        assert (max(gains) > 1.0) == (name != "uniform")


@pytest.mark.parametrize("market", FACTS["C5"]["markets"], ids=lambda m: str(m["users"]))
def test_proportional_share_market(market: dict[str, Any]) -> None:
    """Price, share and efficiency; at least 3/4."""
    found = allocation.proportional_share_market([1.0] + [0.5] * (market["users"] - 1))
    assert found.price == pytest.approx(market["price"], rel=1e-9)
    assert found.shares[0] == pytest.approx(market["share_user1"], rel=1e-9)
    assert found.efficiency == pytest.approx(market["closed_form"], rel=1e-9)
    assert found.efficiency >= 0.75
