"""One node: optima against brute force, each other, and limiting cases."""

import itertools

import numpy as np
import pytest

from stockyard.agents import oracles
from stockyard.agents.oracles import backorders, lost_sales
from stockyard.agents.oracles.dynamic_programming import Process
from stockyard.envs import textbook
from stockyard.envs.network.distributions import Distribution

LAWS = [
    textbook.Uniform(0, 4),
    textbook.Pmf((0.3, 0.1, 0.4, 0.2)),
    textbook.NegativeBinomial(2, 5),
]


def brute_force(law: Distribution, lead_time: int, penalty: float, fixed: float = 0.0) -> float:
    """Average optimum of lost sales from a plain table of states, written from the definition."""
    largest_stock, largest_order = 14, 6
    generator = np.arange(60)
    if isinstance(law, textbook.NegativeBinomial):
        from scipy import stats

        p = law.mean / law.variance
        mass = stats.nbinom(law.mean * p / (1 - p), p).pmf(generator)
    elif isinstance(law, textbook.Uniform):
        mass = np.where(generator <= law.high, 1.0 / (law.high + 1), 0.0)
    else:
        mass = np.pad(np.asarray(law.p), (0, 60 - len(law.p)))
    states = list(
        itertools.product(range(largest_stock + 1), *[range(largest_order + 1)] * (lead_time - 1))
    )
    number = {state: k for k, state in enumerate(states)}
    successor = np.zeros((len(states), largest_order + 1, len(mass)), dtype=np.int64)
    cost = np.zeros((len(states), largest_order + 1))
    for state, q in itertools.product(states, range(largest_order + 1)):
        pipeline = (*state[1:], q)
        for d in range(len(mass)):
            stock = min(max(state[0] - d, 0) + pipeline[0], largest_stock)
            successor[number[state], q, d] = number[(stock, *pipeline[1:])]
        left, lost = np.maximum(state[0] - generator, 0), np.maximum(generator - state[0], 0)
        cost[number[state], q] = mass @ (left + penalty * lost) + fixed * (q > 0)
    return Process(successor, mass / mass.sum(), cost).average().cost


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize(("lead_time", "fixed"), [(1, 0.0), (2, 0.0), (2, 3.0)])
def test_lost_sales_optimum_is_that_of_brute_force(
    law: Distribution, lead_time: int, fixed: float
) -> None:
    """A table of all states, built entry by entry, knows nothing of the fast operator."""
    instance = textbook.lost_sales(law, lead_time, 1, 4, fixed)
    expected = brute_force(law, lead_time, 4, fixed)
    assert oracles.optimal_cost(instance) == pytest.approx(expected, rel=1e-7)


def test_larger_bounds_find_nothing_cheaper() -> None:
    """The cut of stock and orders does not bind: the checked rule of `lost_sales`."""
    for law, lead_time, penalty, fixed in [
        (textbook.Poisson(5), 2, 19, 0.0),
        (textbook.Geometric(3), 3, 9, 0.0),
        (textbook.Poisson(5), 2, 14, 5.0),
    ]:
        scenario = textbook.lost_sales(law, lead_time, 1, penalty, fixed)["scenario"]
        found = lost_sales.solve(scenario)
        stock, order = (int(found.truncation.bounds[k]) for k in ("stock", "order"))
        wide = lost_sales.Model(scenario, stock + 15, order + 6)
        value = lost_sales.value_iteration(wide.update, np.zeros(wide.shape))
        assert value.cost == pytest.approx(found.cost, rel=1e-8)


def test_lost_sales_cost_rises_with_lead_time_and_penalty() -> None:
    """A longer wait never helps, nor a dearer loss (Zipkin 2008)."""
    costs = np.array(
        [
            [
                oracles.optimal_cost(textbook.lost_sales(textbook.Poisson(3), lead, 1, p))
                for p in (2, 4, 9, 19)
            ]
            for lead in (0, 1, 2, 3)
        ]
    )
    assert (np.diff(costs, axis=0) > 0).all()
    assert (np.diff(costs, axis=1) > 0).all()


def test_no_rule_beats_the_lost_sales_optimum_and_backorders_cost_more() -> None:
    """Optimum <= every rule; and with equal costs losing a sale is no worse than owing it."""
    instance = textbook.lost_sales(textbook.Poisson(5), 2, 1, 9)
    optimum = oracles.optimal_cost(instance)
    assert optimum < oracles.policy_cost(instance, "myopic_2")
    assert oracles.policy_cost(instance, "myopic_2") < oracles.policy_cost(instance, "myopic")
    owed = textbook.newsvendor(textbook.Poisson(5), 1, 9, 2)
    assert optimum < oracles.policy_cost(instance, "newsvendor")
    assert oracles.policy_cost(instance, "newsvendor") <= oracles.optimal_cost(owed)


def test_lost_sales_without_lead_time_is_the_newsvendor() -> None:
    """With lead time 0 and no fixed cost the best level is refilled every period."""
    lost = textbook.lost_sales(textbook.Poisson(5), 0, 1, 9)
    owed = textbook.newsvendor(textbook.Poisson(5), 1, 9)
    assert oracles.optimal_cost(lost) == pytest.approx(oracles.optimal_cost(owed))


def test_discounted_and_finite_costs_approach_the_average() -> None:
    """(1 - b) V and the cost of one more period tend to the average."""
    instance = textbook.lost_sales(textbook.Poisson(3), 2, 1, 4)
    average = oracles.optimal_cost(instance)
    assert (1 - 0.9999) * oracles.optimal_cost(instance, discount=0.9999) == pytest.approx(
        average, rel=5e-3
    )
    more = oracles.optimal_cost(instance, periods=151) - oracles.optimal_cost(instance, periods=150)
    assert more == pytest.approx(average, rel=1e-6)
    # from empty the first period sells nothing
    assert oracles.optimal_cost(instance, periods=1) == pytest.approx(3 * 4)


@pytest.mark.parametrize("law", [*LAWS, textbook.Poisson(6)], ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("lead_time", [0, 2])
@pytest.mark.parametrize("fixed", [0.5, 5.0, 40.0])
def test_zheng_federgruen_is_the_optimum(law: Distribution, lead_time: int, fixed: float) -> None:
    """Value iteration over all rules finds nothing better than the best (s, S)."""
    instance = textbook.setup_cost(law, 1, 4, fixed, lead_time)
    solution = oracles.solve(instance)
    found = solution.parameters
    process = backorders.position_process(
        instance["scenario"], int(found["reorder_point"]) - 40, int(found["order_up_to"]) + 15
    )
    assert process.average().cost == pytest.approx(solution.cost, rel=1e-7)
    chain = oracles.policy_cost(instance, "s_S", **found)
    assert chain == pytest.approx(solution.cost, rel=1e-7)


def test_a_lot_of_one_is_base_stock() -> None:
    """(r, Q) with Q = 1 orders up to r + 1."""
    instance = textbook.newsvendor(textbook.Poisson(4), 1, 9, 1)
    lots = oracles.policy_cost(instance, "r_Q", reorder_point=10, quantity=1)
    assert lots == pytest.approx(oracles.policy_cost(instance, "base_stock", order_up_to=11))
    lost = textbook.lost_sales(textbook.Poisson(4), 1, 1, 9)
    lots = oracles.policy_cost(lost, "r_Q", reorder_point=10, quantity=1)
    assert lots == pytest.approx(oracles.policy_cost(lost, "base_stock", order_up_to=11))


def test_base_stock_with_a_fixed_cost_pays_it_whenever_there_was_demand() -> None:
    """The closed form equals the (s, S) chain with s = S - 1."""
    instance = textbook.setup_cost(textbook.Poisson(2), 1, 9, 7)
    closed = oracles.policy_cost(instance, "base_stock", order_up_to=5)
    chain = oracles.policy_cost(instance, "s_S", reorder_point=4, order_up_to=5)
    assert closed == pytest.approx(chain)


def test_newsvendor_knows_gamma_and_exponential_demand() -> None:
    """Exponential demand has S = -mean log(1 - ratio) and cost h S."""
    found = oracles.solve(textbook.newsvendor(textbook.Gamma(10, 10), 1, 4))
    level = 10 * np.log(5)
    assert found.parameters["order_up_to"] == pytest.approx(level)
    assert found.cost == pytest.approx(level)


def test_errors_say_why_and_list_what_is_known() -> None:
    """No oracle, no rule, a wrong parameter, a wrong option."""
    lost = textbook.lost_sales(textbook.Poisson(5), 1, 1, 4)
    with pytest.raises(ValueError, match="state is continuous"):
        oracles.optimal_cost(textbook.lost_sales(textbook.Normal(5, 1), 1, 1, 4))
    with pytest.raises(ValueError, match="unknown rule 'best'; known: base_stock, capped_"):
        oracles.policy_cost(lost, "best")
    with pytest.raises(ValueError, match="base_stock takes order_up_to; given: level"):
        oracles.policy_cost(lost, "base_stock", level=3)
    with pytest.raises(ValueError, match="discount: the exact oracle of SingleNode"):
        oracles.optimal_cost(textbook.newsvendor(textbook.Poisson(5), 1, 4), discount=0.9)
    with pytest.raises(ValueError, match="no exact oracle for 'steady'"):
        oracles.optimal_cost({"id": "stockyard/Replenishment-v0", "scenario": "steady"})
    with pytest.raises(ValueError, match="discount: must lie between"):
        oracles.optimal_cost(lost, discount=1.0)
    with pytest.raises(ValueError, match="penalty_cost"):
        oracles.optimal_cost(textbook.lost_sales(textbook.Poisson(5), 1, 1, 0))
    with pytest.raises(ValueError, match="too large"):
        oracles.optimal_cost(textbook.lost_sales(textbook.Poisson(50), 6, 1, 39))
    with pytest.raises(ValueError, match="below the mean"):
        oracles.policy_cost(lost, "constant_order", quantity=5)


def test_the_error_of_lost_sales_counts_what_larger_bounds_change() -> None:
    """Next to nothing at the bounds accepted; plenty at bounds that bind."""
    scenario = textbook.lost_sales(textbook.Poisson(5), 2, 1, 4)["scenario"]
    found = lost_sales.solve(scenario)
    assert "units more change" in found.truncation.rule
    assert found.truncation.error < 1e-7
    tight = lost_sales.Model(scenario, 18, 4)
    average, _ = lost_sales._solved(tight, None, None, 1e-9)
    assert lost_sales._gain_of_larger_bounds(tight, average, 1e-9) > 0.01
    assert "not tried" in lost_sales.solve(scenario, discount=0.9).truncation.rule
