"""Loading, order splitting and allocation rules against their known figures."""

import itertools

import numpy as np
import pytest

from stockyard.agents.heuristics.allocation import (
    linear_allocation,
    proportional_allocation,
    uniform_allocation,
)
from stockyard.agents.oracles import allocation, oracle_only, packing
from stockyard.agents.oracles.known_answers import Instance, load_table
from stockyard.agents.oracles.verification import Exact


def of_problem(name: str) -> list[Instance]:
    """The instances of a problem in the table of known answers."""
    return [instance for instance in load_table() if instance.problem == name]


@pytest.mark.parametrize("instance", of_problem("bin_packing"), ids=lambda i: i.id)
def test_first_fit_decreasing_stays_within_its_bound(instance: Instance) -> None:
    """11/9 OPT + 6/9 (Dosa 2007)."""
    items, size = instance.parameters["items"], instance.parameters["capacity"]
    least = packing.fewest_bins(items, size)
    assert packing.first_fit_decreasing(items, size) <= 11 / 9 * least + 6 / 9 + 1e-9


@pytest.mark.parametrize("instance", of_problem("online_packing"), ids=lambda i: i.id)
def test_online_packing(instance: Instance) -> None:
    """The waste of both rules over 1000 items, within noise of the recorded mean."""
    for answer in instance.answers[1:]:
        mean, error = oracle_only.online_waste(instance, answer)
        # the recorded mean is one of 60 sequences or more, and has an error of its own
        assert abs(mean - answer.recorded) <= 4.0 * np.sqrt(2.0) * error


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
    (instance,) = of_problem("order_split")
    exact = Exact(instance)
    cost = {answer.policy: exact.cost(answer) for answer in instance.answers}
    assert cost["linear_program_bound"] <= cost["optimal"] <= cost["myopic"]


RULES = {
    "proportional": proportional_allocation,
    "linear": linear_allocation,
    "uniform": uniform_allocation,
}


@pytest.mark.parametrize("instance", of_problem("allocation"), ids=lambda i: i.id)
@pytest.mark.parametrize("name", RULES)
def test_allocation_rules_give_out_the_capacity(instance: Instance, name: str) -> None:
    """All of it where it is short; nobody gets more than the order."""
    orders, capacity = instance.parameters["orders"], instance.parameters["capacity"]
    given = RULES[name](orders, capacity)
    assert given.sum() == pytest.approx(capacity)
    assert (given <= np.array(orders) + 1e-9).all()
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


@pytest.mark.parametrize("users", [2, 5, 100, 1000])
def test_proportional_shares_lose_a_quarter_at_most(users: int) -> None:
    """Efficiency is at least 3/4 (Johari & Tsitsiklis 2004)."""
    found = allocation.proportional_share_market([1.0] + [0.5] * (users - 1))
    assert 0.75 <= found.efficiency < 1.0
