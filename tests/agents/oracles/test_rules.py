"""The oracles name rules and parameters as the heuristics do, and cost what these play."""

import inspect
from typing import Any

import pytest

from stockyard import agents
from stockyard.agents import evaluate, oracles
from stockyard.agents.policy import registered
from stockyard.envs import textbook

LAW = textbook.Pmf((0.3, 0.3, 0.25, 0.15))
LOST = textbook.lost_sales(textbook.Poisson(5), 2, 1, 4)
OWED = textbook.newsvendor(textbook.Poisson(4), 1, 9, 1)
DUAL = textbook.dual_sourcing(textbook.Uniform(0, 4), 2, 0, 100, 110, 5, 495)
SERIAL = textbook.serial(textbook.Poisson(4), (1, 2), (2, 1), 20)
STORES = textbook.one_warehouse(
    [textbook.Pmf((0.4, 0.3, 0.3)), textbook.Pmf((0.2, 0.3, 0.3, 0.2))],
    warehouse_lead_time=1,
    store_lead_times=1,
    warehouse_holding_cost=0.5,
    store_holding_costs=1,
    penalty_costs=[9, 5],
)
PLACES = textbook.spillover(LAW, 1, 8, 2, lead_time=1, stock_limit=6, num_locations=2)
SHARED = textbook.shared_capacity([textbook.Poisson(4), textbook.Poisson(6)], 14, 1, [5, 3])
BATCH = textbook.batch_dispatch(textbook.Poisson(5), 4, 9, 1, max_trucks=2)
TRUCKS = textbook.deadline_dispatch(textbook.Poisson(6), 1, 4, 9, 1, 10)
DATED = textbook.deadline_dispatch(
    textbook.Pmf((0.1, 0.3, 0.4, 0.2)), 2, 3, 5, 0.2, 10, max_trucks=2
)
PROBLEMS = (LOST, OWED, DUAL, SERIAL, STORES, PLACES, SHARED, BATCH, DATED)
ORACLES_OWN = {"always", "never"}
"""Bounds to compare with; no heuristic plays them."""


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p["scenario"]).__name__)
def test_rules_and_parameters_are_those_of_the_heuristics(problem: dict[str, Any]) -> None:
    """One vocabulary: what an oracle takes, `agents.make` takes."""
    heuristics = registered()
    rules = oracles._oracle(problem).rules
    for name in set(rules) - ORACLES_OWN:
        taken = [*inspect.signature(rules[name]).parameters][1:]
        known = [*inspect.signature(heuristics[name].resolve()).parameters][1:]
        assert taken == [parameter for parameter in known if parameter in taken], name


@pytest.mark.parametrize(
    ("problem", "name", "parameters"),
    [
        (LOST, "r_Q", {"reorder_point": 13, "quantity": 3}),
        (LOST, "newsvendor", {"fractile": 0.6}),
        (OWED, "r_Q", {"reorder_point": 9, "quantity": 4}),
        (DUAL, "single_index", {"order_up_to": 9}),
        (DUAL, "single_index", {"order_up_to": 8, "expedited_order_up_to": 6}),
        (STORES, "echelon_base_stock", {"order_up_to": [3, 5, 8]}),
        (STORES, "echelon_base_stock", {"order_up_to": [3, 5, 8], "allocation": "equal"}),
        (STORES, "echelon_base_stock", {"order_up_to": [3, 5, 8], "allocation": "weighted"}),
        (SHARED, "base_stock", {"order_up_to": 6}),
        (PLACES, "base_stock", {"order_up_to": 4}),
        (BATCH, "control_limit", {"threshold": 3}),
        (DATED, "control_limit", {"threshold": 2}),
        (TRUCKS, "control_limit", {"threshold": 6}),
        (DATED, "dispatch_when_due", {}),
        (DATED, "dispatch_when_full_or_due", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_heuristic_of_that_name_costs_what_the_oracle_says(
    problem: dict[str, Any], name: str, parameters: dict[str, Any]
) -> None:
    """Averages over 300 tapes of 400 periods; rounding shares otherwise would show."""
    expected = oracles.policy_cost(problem, name, **parameters)
    rule = agents.make(name, {**problem, "split": "train"}, **parameters)
    played = evaluate(rule, problem, periods=400, warmup=100, num_tapes=300, seed=5)
    assert played.standard_error <= 0.01 * expected, "proves nothing"
    assert abs(-played.mean - expected) <= 4.0 * played.standard_error


@pytest.mark.parametrize(
    ("problem", "name", "parameters", "parameter"),
    [
        (LOST, "base_stock", {"order_up_to": 16}, "order_up_to"),
        (LOST, "capped_base_stock", {"order_up_to": 16, "cap": 5}, "cap"),
        (LOST, "constant_order", {"quantity": 4}, "quantity"),
        (LOST, "s_S", {"reorder_point": 13, "order_up_to": 16}, "reorder_point"),
        (
            LOST,
            "modified_s_S",
            {"reorder_point": 13, "order_up_to": 16, "quantity": 5},
            "quantity",
        ),
        (LOST, "r_Q", {"reorder_point": 13, "quantity": 3}, "reorder_point"),
        (OWED, "base_stock", {"order_up_to": 12}, "order_up_to"),
        (OWED, "s_S", {"reorder_point": 9, "order_up_to": 13}, "order_up_to"),
        (OWED, "r_Q", {"reorder_point": 9, "quantity": 4}, "quantity"),
        (
            DUAL,
            "dual_index",
            {"expedited_order_up_to": 4, "regular_order_up_to": 8},
            "regular_order_up_to",
        ),
        (
            DUAL,
            "tailored_base_surge",
            {"expedited_order_up_to": 4, "quantity": 1},
            "expedited_order_up_to",
        ),
        (DUAL, "single_index", {"order_up_to": 9}, "order_up_to"),
        (BATCH, "control_limit", {"threshold": 3}, "threshold"),
        (PLACES, "base_stock", {"order_up_to": 4}, "order_up_to"),
    ],
)
def test_whole_floats_are_taken_and_fractions_refused(
    problem: dict[str, Any], name: str, parameters: dict[str, Any], parameter: str
) -> None:
    """Tuners and tables give 16.0; 16.5 would be rounded in the environment to another rule."""
    cost = oracles.policy_cost(problem, name, **parameters)
    floats = {key: float(value) for key, value in parameters.items()}
    assert oracles.policy_cost(problem, name, **floats) == cost
    floats[parameter] += 0.5
    with pytest.raises(ValueError, match=f"^{parameter}: must be whole"):
        oracles.policy_cost(problem, name, **floats)


def test_a_scalar_stands_for_equal_levels() -> None:
    """As in the heuristics, which take a number or one for each place."""
    for problem, level in ((PLACES, 4), (SHARED, 6)):
        each = oracles.policy_cost(problem, "base_stock", order_up_to=[level, level])
        assert oracles.policy_cost(problem, "base_stock", order_up_to=level) == each
    single = oracles.policy_cost(LOST, "base_stock", order_up_to=[16])
    assert single == oracles.policy_cost(LOST, "base_stock", order_up_to=16)


def test_nothing_expedited_is_the_regular_supplier_alone() -> None:
    """Single index without an expedited level is base stock at the regular lead time."""
    alone = textbook.newsvendor(textbook.Uniform(0, 4), 5, 495, 2)
    expected = oracles.policy_cost(alone, "base_stock", order_up_to=9) + 100 * 2.0
    assert oracles.policy_cost(DUAL, "single_index", order_up_to=9) == pytest.approx(expected)


def test_a_fraction_is_a_level_where_demand_is_continuous() -> None:
    """The newsvendor of normal demand is not rounded."""
    normal = textbook.newsvendor(textbook.Normal(50, 8), 0.18, 0.7)
    best = oracles.solve(normal)
    cost = oracles.policy_cost(normal, "base_stock", **best.parameters)
    assert cost == pytest.approx(best.cost)


@pytest.mark.parametrize(
    ("problem", "name", "parameters", "message"),
    [
        (LOST, "r_Q", {"reorder_point": 13, "quantity": 0}, "quantity: must be >= 1"),
        (LOST, "base_stock", {"order_up_to": "many"}, "order_up_to: must be a finite number"),
        (LOST, "newsvendor", {"fractile": 1.0}, "fractile: must lie between"),
        (
            textbook.lost_sales(textbook.Poisson(5.001), 2, 1, 4),
            "constant_order",
            {"quantity": 5},
            "quantity: 5 is too near the mean demand 5.001",
        ),
        (
            textbook.lost_sales(textbook.Poisson(5), 2, 0, 4),
            "newsvendor",
            {},
            "holding_cost, penalty_cost: both must be > 0",
        ),
        (BATCH, "control_limit", {"threshold": -3}, "threshold: must be >= 1"),
        (BATCH, "control_limit", {"threshold": "a"}, "threshold: must be a finite number"),
        (
            DUAL,
            "single_index",
            {"order_up_to": 6, "expedited_order_up_to": 8},
            "expedited_order_up_to: must be at most order_up_to",
        ),
        (PLACES, "base_stock", {"order_up_to": [1, 2, 3]}, "order_up_to: must be 2 finite numbers"),
        (SERIAL, "echelon_base_stock", {"order_up_to": 8}, "order_up_to: must be 2 finite"),
        (STORES, "echelon_base_stock", {"order_up_to": [3, 5]}, "order_up_to: must be 3 finite"),
        (
            STORES,
            "echelon_base_stock",
            {"order_up_to": [3, 5, 8], "allocation": "fair"},
            "allocation: unknown 'fair'",
        ),
        (
            STORES,
            "echelon_base_stock",
            {"order_up_to": [3, 5, 8], "weights": [1, 1]},
            "weights: need",
        ),
    ],
)
def test_wrong_parameters_are_named(
    problem: dict[str, Any], name: str, parameters: dict[str, Any], message: str
) -> None:
    """One message, with the parameter first."""
    with pytest.raises(ValueError, match=f"^{message}"):
        oracles.policy_cost(problem, name, **parameters)


MIXED = textbook.shared_capacity([textbook.Poisson(5), textbook.Normal(5, 1)], 14, 1, 5)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (None, "instance: pass what textbook"),
        (textbook.setup_cost(textbook.Poisson(5), 1, 0, 20), "holding_cost, penalty_cost: both"),
        (textbook.setup_cost(textbook.Poisson(5), 0, 9, 20), "holding_cost, penalty_cost: both"),
        (
            textbook.spillover(textbook.Poisson(2), 0, 9, 2, num_locations=2),
            "holding_cost, penalty_cost: both",
        ),
        (MIXED, "demand: the exact oracle takes laws all on whole units or all continuous"),
        (
            textbook.shared_capacity(
                [textbook.Deterministic((2.5,)), textbook.Normal(5, 1)], 14, 1, 5
            ),
            "demand: the exact oracle knows Normal",
        ),
    ],
)
def test_problems_without_an_exact_optimum_are_refused(problem: Any, message: str) -> None:
    """At once and by name: some of these searched for ever, or overflowed."""
    with pytest.raises(ValueError, match=f"^{message}"):
        oracles.optimal_cost(problem)


def test_costs_of_nothing_are_no_division_by_zero() -> None:
    """Neither holding nor shortage costs anything: no stock is as good as any."""
    free = textbook.spillover(
        textbook.Poisson(5), 0, 0, 2, num_locations=2, lead_time=0, spills=False
    )
    assert oracles.optimal_cost(free) == 0.0


def test_volumes_of_zero_and_mixed_laws_have_no_levels() -> None:
    """Whoever refuses first, the field is named."""
    with pytest.raises(ValueError, match="^volumes: must be > 0"):
        oracles.optimal_cost(
            textbook.shared_capacity([textbook.Poisson(5)] * 2, 14, 1, 5, volumes=0)
        )
    with pytest.raises(ValueError, match="^demand: the exact oracle takes laws"):
        oracles.policy_cost(MIXED, "base_stock", order_up_to=5)
