"""Dual sourcing, echelons, locations, shared capacity and dispatch: limits and other routes."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stockyard.agents import oracles
from stockyard.agents.oracles import (
    capacity,
    dual_sourcing,
    echelons,
    known_answers,
    locations,
    one_warehouse,
)
from stockyard.agents.oracles.demand import newsvendor_cost
from stockyard.agents.oracles.dynamic_programming import Process
from stockyard.envs import textbook

TABLE = {instance.id: instance for instance in known_answers.load_table()}


def dual(regular: int, expedited: int, premium: float, **changed: Any) -> dict[str, Any]:
    """The instance of Gijsbrechts et al. with other lead times and premium."""
    given = dict(
        demand=textbook.Uniform(0, 4),
        regular_lead_time=regular,
        expedited_lead_time=expedited,
        regular_cost=100,
        expedited_cost=100 + premium,
        holding_cost=5,
        penalty_cost=495,
    )
    return textbook.dual_sourcing(**{**given, **changed})


def test_equal_costs_need_the_fast_supplier_only() -> None:
    """Without a premium dual sourcing is single sourcing at the fast lead time."""
    single = textbook.newsvendor(textbook.Uniform(0, 4), 5, 495, 1)
    expected = oracles.optimal_cost(single) + 100 * 2.0
    assert oracles.optimal_cost(dual(3, 1, 0.0)) == pytest.approx(expected, rel=1e-8)
    assert oracles.optimal_cost(dual(1, 1, 7.0)) == pytest.approx(expected, rel=1e-8)


def test_a_dear_fast_supplier_is_not_used() -> None:
    """With a huge premium dual sourcing is single sourcing at the slow lead time."""
    single = textbook.newsvendor(textbook.Uniform(0, 4), 5, 495, 3)
    expected = oracles.optimal_cost(single) + 100 * 2.0
    assert oracles.optimal_cost(dual(3, 1, 1e5)) == pytest.approx(expected, rel=1e-7)


def test_dual_sourcing_cost_rises_with_premium_and_regular_lead_time() -> None:
    """And no classical rule is better than the optimum."""
    costs = [oracles.optimal_cost(dual(lead, 0, 10.0)) for lead in (1, 2, 3, 4)]
    assert (np.diff(costs) > 0).all()
    costs = [oracles.optimal_cost(dual(2, 0, premium)) for premium in (0, 5, 10, 40)]
    assert (np.diff(costs) > 0).all()
    instance = dual(2, 0, 10.0)
    for name in oracles.known_rules(instance):
        parameters, cost = dual_sourcing.best_parameters(instance["scenario"], name)
        assert cost >= oracles.optimal_cost(instance) - 1e-6
        assert oracles.policy_cost(instance, name, **parameters) == pytest.approx(cost)


def test_discounted_dual_sourcing_approaches_the_average() -> None:
    """(1 - b) V tends to the average; with a lead time of the fast supplier there is no such V."""
    average = oracles.optimal_cost(dual(2, 0, 10.0))
    total = oracles.optimal_cost(dual(2, 0, 10.0), discount=0.9999)
    assert (1 - 0.9999) * total == pytest.approx(average, rel=1e-2)
    with pytest.raises(ValueError, match="expedited lead time of 0"):
        oracles.optimal_cost(dual(3, 1, 10.0), discount=0.9)


def test_dual_sourcing_takes_demand_without_bound() -> None:
    """Poisson demand: a wider table finds the same."""
    scenario = dual(2, 0, 10.0, demand=textbook.Poisson(2))["scenario"]
    found = dual_sourcing.solve(scenario)
    bounds = found.truncation.bounds
    wide = dual_sourcing.Model(
        scenario,
        int(bounds["lowest"]) - 20,
        int(bounds["highest"]) + 20,
        int(bounds["regular_order"]) + 5,
    )
    value = dual_sourcing.value_iteration(wide.update, np.zeros(wide.shape))
    assert value.cost == pytest.approx(found.cost, rel=1e-8)


@pytest.mark.parametrize("law", [textbook.Normal(50, 8), textbook.Poisson(7)], ids=str)
@pytest.mark.parametrize("lead_time", [0, 3])
def test_one_stage_is_the_newsvendor(law: textbook.Distribution, lead_time: int) -> None:
    """Cost and level of base stock over L + 1 periods."""
    chain = oracles.solve(textbook.serial(law, (lead_time,), (1.0,), 9.0))
    single = oracles.solve(textbook.newsvendor(law, 1.0, 9.0, lead_time))
    assert chain.cost == pytest.approx(single.cost, rel=1e-6)
    assert chain.parameters["order_up_to"][0] == pytest.approx(
        single.parameters["order_up_to"], abs=1e-3
    )


def test_a_depot_next_door_adds_one_period() -> None:
    """At equal holding costs a depot with lead time 0 only adds the period that units rest."""
    two = oracles.optimal_cost(textbook.serial(textbook.Poisson(7), (2, 0), (1.0, 1.0), 9.0))
    one = oracles.optimal_cost(textbook.serial(textbook.Poisson(7), (3,), (1.0,), 9.0))
    # the rest and the pipeline between them are charged now
    assert two == pytest.approx(one + 3 * 7.0, rel=1e-9)


def test_other_echelon_levels_cost_more() -> None:
    """Every level moved by one unit either way, discrete demand."""
    instance = textbook.serial(textbook.Poisson(4), (1, 2, 1), (3, 2, 1), 20)
    found = oracles.solve(instance)
    best = np.array(found.parameters["order_up_to"])
    same = oracles.policy_cost(instance, "echelon_base_stock", order_up_to=best.tolist())
    assert same == pytest.approx(found.cost)
    for step in itertools.product((-1, 0, 1), repeat=3):
        moved = (best + step).tolist()
        cost = oracles.policy_cost(instance, "echelon_base_stock", order_up_to=moved)
        assert cost >= found.cost - 1e-9


def test_the_grid_of_normal_demand_is_fine_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many points move the cost by less than the error that the solution states."""
    instance = textbook.serial(textbook.Normal(5, 2), (4, 3, 4, 2), (1, 0.5, 0.2, 0.1), 4)
    coarse = oracles.solve(instance)
    monkeypatch.setattr(echelons, "STEPS_PER_DEVIATION", 2 * echelons.STEPS_PER_DEVIATION)
    assert abs(oracles.optimal_cost(instance) - coarse.cost) < 0.1 * coarse.truncation.error


def test_one_warehouse_bounds_do_not_bind() -> None:
    """Larger limits find the same cost, and lead times other than one are refused."""
    given = dict(warehouse_holding_cost=0.5, store_holding_costs=1, penalty_costs=9, num_stores=2)
    law = textbook.Pmf((0.4, 0.4, 0.2))
    instance = textbook.one_warehouse(law, 1, 1, **given)
    wide, _, _ = one_warehouse.process(instance["scenario"], np.array([8, 5, 5]))
    cost = oracles.optimal_cost(instance)
    assert wide.average().cost == pytest.approx(cost, rel=1e-8)
    assert oracles.policy_cost(instance, "echelon_base_stock", order_up_to=[2, 2, 7]) > cost
    with pytest.raises(ValueError, match="lead times of one period"):
        oracles.optimal_cost(textbook.one_warehouse(law, 2, 1, **given))


def test_one_period_placement_is_that_of_enumeration() -> None:
    """The separable formula against the double sum over both demands."""
    period = locations.OnePeriod([textbook.Poisson(3), textbook.Poisson(5)], 3, 6, 1, 3)
    p = [stats.poisson(m).pmf(np.arange(60)) for m in (3, 5)]
    d1, d2 = np.meshgrid(np.arange(60), np.arange(60), indexing="ij")
    for x1, x2 in [(0, 0), (3, 5), (6, 2), (1, 12)]:
        local = np.minimum(x1, d1) + np.minimum(x2, d2)
        spill = np.minimum(np.maximum(x1 - d1, 0), np.maximum(d2 - x2, 0))
        spill = spill + np.minimum(np.maximum(x2 - d2, 0), np.maximum(d1 - x1, 0))
        cost = local + 3 * spill + 3 * (x1 + x2 - local - spill) + 6 * (d1 + d2 - local - spill)
        assert period((x1, x2)) == pytest.approx(p[0] @ cost @ p[1], rel=1e-9)


def test_spilling_helps_and_pooling_bounds_it() -> None:
    """Profit: own shelves <= spillover at those levels <= best spillover <= one pooled stock."""
    given = dict(
        demand=[textbook.Poisson(8), textbook.Poisson(12)],
        holding_cost=3,
        penalty_cost=6,
        cross_cost=3,
        local_cost=1,
        lead_time=0,
        horizon=1,
    )
    alone = 120 - oracles.optimal_cost(textbook.spillover(**given, spills=False))
    spilling = 120 - oracles.optimal_cost(textbook.spillover(**given))
    pooled = textbook.newsvendor(textbook.Poisson(20), 3, 5)  # 1 to ship what is sold
    bound = 120 - 20 - oracles.optimal_cost(pooled)
    at_their_levels = 120 - next(
        a.recorded for a in TABLE["B1"].answers if a.parameters == {"order_up_to": [9, 13]}
    )
    assert alone < at_their_levels < spilling < bound
    assert bound == pytest.approx(100 - TABLE["B1/pooled"].answers[0].recorded, rel=1e-9)


def test_a_single_location_is_lost_sales() -> None:
    """Without a neighbour and without a limit the two oracles agree."""
    law = textbook.Pmf((0.3, 0.3, 0.25, 0.15))
    one = textbook.spillover([law], 1, 8, 2)
    assert oracles.optimal_cost(one) == pytest.approx(
        oracles.optimal_cost(textbook.lost_sales(law, 1, 1, 8)), rel=1e-8
    )


def test_a_wide_restock_limit_leaves_independent_products() -> None:
    """Without a binding limit the products are lost-sales problems of their own."""
    laws = [textbook.Pmf((0.25, 0.35, 0.25, 0.15)), textbook.Pmf((0.4, 0.3, 0.2, 0.1))]
    together = oracles.optimal_cost(textbook.restock_limit(laws, 14, 1, [10, 6]))
    alone = sum(
        oracles.optimal_cost(textbook.lost_sales(law, 1, 1, p))
        for law, p in zip(laws, (10, 6), strict=True)
    )
    assert together == pytest.approx(alone, rel=1e-8)


def test_shared_capacity_with_volumes_is_that_of_enumeration() -> None:
    """Whole volumes go through the knapsack recursion."""
    laws = [textbook.Poisson(3), textbook.Poisson(4)]
    instance = textbook.shared_capacity(laws, 14, 1, [9, 5], [3, 2])
    costs = {
        (a, b): newsvendor_cost(laws[0], 1, a, 1, 9) + newsvendor_cost(laws[1], 1, b, 1, 5)
        for a, b in itertools.product(range(8), range(12))
        if 3 * a + 2 * b <= 14
    }
    solution = oracles.solve(instance)
    assert solution.cost == pytest.approx(min(costs.values()))
    assert tuple(solution.parameters["order_up_to"]) == min(costs, key=costs.__getitem__)


def test_marginal_allocation_is_that_of_enumeration() -> None:
    """Greedy is optimal where marginal values fall (C3)."""
    laws = [textbook.Poisson(2), textbook.Poisson(3)]
    found, value = capacity.marginal_allocation(laws, [5, 3], 6)
    sold = [[law.mean - newsvendor_cost(law, 1, y, 0, 1) for y in range(7)] for law in laws]
    values = [5 * sold[0][y] + 3 * sold[1][6 - y] for y in range(7)]
    assert value == pytest.approx(max(values))
    assert found == (int(np.argmax(values)), 6 - int(np.argmax(values)))


def test_fast_and_plain_tables_agree() -> None:
    """`DemandFirst` against a table of every outcome, entry by entry."""
    law = textbook.Pmf((0.3, 0.3, 0.25, 0.15))
    scenario = textbook.spillover(law, 1, 8, 2, 0, 1, 4, True, 2)["scenario"]
    fast, states = locations.process(scenario, 4)
    outcomes = list(itertools.product(range(4), repeat=2))
    successor = np.zeros((len(states), len(states), len(outcomes)), dtype=np.int64)
    for s, a, w in itertools.product(range(len(states)), range(len(states)), range(len(outcomes))):
        x, d = states[s], np.array(outcomes[w])
        own = np.minimum(x, d)
        cross = np.minimum(x - own, (d - own)[::-1])
        after = np.minimum(x - own - cross + states[a], 4)
        successor[s, a, w] = after[0] * 5 + after[1]
    probability = np.array([law.p[a] * law.p[b] for a, b in outcomes])
    plain = Process(successor, probability, fast.cost)
    assert plain.average().cost == pytest.approx(fast.average().cost, rel=1e-8)


def test_slack_zero_sends_what_pays() -> None:
    """Without slack each period stands alone: a truck if it saves more than it costs."""
    law = textbook.Pmf((0.2, 0.3, 0.3, 0.2))
    instance = textbook.deadline_dispatch(law, 0, 6, 12, 0.2, 10, 1)
    expected = sum(p * min(12 if d else 0, 10 * d) for d, p in enumerate(law.p))
    assert oracles.optimal_cost(instance) == pytest.approx(expected)


def test_trucks_that_do_not_keep_up_are_refused() -> None:
    """More arrivals than trucks can take have no average cost."""
    instance = textbook.batch_dispatch(textbook.Poisson(8), 5, 10, 1)
    with pytest.raises(ValueError, match="do not keep up"):
        oracles.policy_cost(instance, "control_limit", threshold=1)
    with pytest.raises(ValueError, match="do not keep up"):
        oracles.optimal_cost(instance)
