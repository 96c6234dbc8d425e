"""Theorems on sharing what is scarce: who gains by misreporting, and what it costs everybody."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stockyard.agents.heuristics.allocation import (
    linear_allocation,
    proportional_allocation,
    uniform_allocation,
)
from stockyard.agents.oracles.allocation import proportional_share_market
from stockyard.agents.oracles.auctions import uniform_price_auction, vickrey_auction

RULES = {
    "proportional": proportional_allocation,
    "linear": linear_allocation,
    "uniform": uniform_allocation,
}


def best_lie(allocate: Callable[..., Any], needs: Any, capacity: float) -> float:
    """Units by which the first comes closer to its need by misreporting, the others truthful.

    A local monopolist's payoff has one peak, at its need (Cachon & Lariviere 1999).
    """
    truth = abs(allocate(needs, capacity)[0] - needs[0])
    lies = np.linspace(0.0, 4.0 * needs[0], 161)
    misses = [abs(allocate([lie, *needs[1:]], capacity)[0] - needs[0]) for lie in lies]
    return float(truth - min(misses))


@pytest.mark.parametrize("rule", RULES)
def test_only_the_uniform_rule_induces_truth(rule: str) -> None:
    """Cachon & Lariviere 1999: proportional and linear allocation reward inflated orders."""
    rng = np.random.default_rng(3)
    gains = []
    for _ in range(200):
        needs = rng.uniform(5.0, 100.0, 3)
        gains.append(best_lie(RULES[rule], needs, 0.7 * needs.sum()))
    if rule == "uniform":
        assert max(gains) <= 1e-9
    else:
        assert max(gains) > 1.0


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_gives_more_than_there_is_or_than_is_asked(rule: str) -> None:
    """Feasible, and efficient: what is scarce is used up; batches are shared row by row."""
    rng = np.random.default_rng(4)
    asked, there = rng.uniform(0.0, 50.0, (64, 5)), rng.uniform(0.0, 200.0, 64)
    given = RULES[rule](asked, there)
    assert (given >= 0.0).all() and (given <= asked + 1e-9).all()
    np.testing.assert_allclose(given.sum(axis=1), np.minimum(asked.sum(axis=1), there))
    for row in range(8):
        np.testing.assert_array_equal(given[row], RULES[rule](asked[row], there[row]))


def test_symmetric_inflation_cancels_under_proportional_rationing() -> None:
    """Trap E12: if all inflate by the same factor, nobody gains and nothing changes."""
    needs = np.array([60.0, 50.0, 30.0])
    plain = proportional_allocation(needs, 100.0)
    np.testing.assert_allclose(proportional_allocation(3.0 * needs, 100.0), plain)
    uneven = proportional_allocation(needs * np.array([3.0, 1.0, 1.0]), 100.0)
    assert uneven[0] > plain[0] + 10.0  # different types are what makes strategy matter


def test_the_proportional_share_market_is_between_three_quarters_and_all_of_the_best() -> None:
    """Johari & Tsitsiklis 2004: efficiency >= 3/4, tight as users grow; n = 2 gives 5/6."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        found = proportional_share_market(rng.uniform(0.05, 1.0, int(rng.integers(2, 9))))
        assert 0.75 <= found.efficiency <= 1.0 + 1e-12
    for users in (2, 10, 1000):
        closed = users / (2 * users - 1) + (users - 1) / (2 * (2 * users - 1))
        found = proportional_share_market([1.0] + [0.5] * (users - 1))
        assert found.efficiency == pytest.approx(closed, abs=1e-9)


def lies() -> Any:
    """Falling bids on a grid, for two units."""
    grid = np.arange(0.0, 13.0, 1.0)
    return [np.array(pair) for pair in itertools.product(grid, grid) if pair[0] >= pair[1]]


def test_truth_is_dominant_in_the_vickrey_auction() -> None:
    """Vickrey 1961: whatever the others bid, no report gains more than one's values."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        values = -np.sort(-rng.integers(1, 12, (3, 2)).astype(float), axis=1)
        truth = vickrey_auction(values, 3).gains(values)[0]
        for lie in lies():
            bids = values.copy()
            bids[0] = lie
            assert vickrey_auction(bids, 3).gains(values)[0] <= truth + 1e-9


def test_a_uniform_price_invites_demand_reduction() -> None:
    """Ausubel & Cramton 2002: a bidder for two units gains by asking for one, and welfare falls."""
    values = np.array([[10.0, 9.0], [8.0, 0.0]])
    truthful = uniform_price_auction(values, 2)
    assert truthful.units.tolist() == [2, 0] and truthful.gains(values)[0] == 19.0 - 16.0
    reduced = values.copy()
    reduced[0, 1] = 0.0
    outcome = uniform_price_auction(reduced, 2)
    assert outcome.units.tolist() == [1, 1]
    assert outcome.gains(values)[0] == 10.0 > truthful.gains(values)[0]
    assert vickrey_auction(values, 2).gains(values)[0] >= 10.0 - 1e-9 + (19.0 - 8.0 - 10.0)


def test_auctions_refuse_bids_that_rise() -> None:
    """The highest bids would otherwise not be a bidder's first units."""
    with pytest.raises(ValueError, match="bids"):
        uniform_price_auction([[1.0, 2.0]], 1)
    with pytest.raises(ValueError, match="supply"):
        vickrey_auction([[2.0, 1.0]], 0)
