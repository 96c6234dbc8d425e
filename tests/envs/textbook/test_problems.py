"""What the textbook functions take: demand by name or object, every distribution, no nonsense."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook
from stockyard.envs.network.distributions import DISTRIBUTIONS

LAWS: dict[str, dict[str, Any]] = {
    "poisson": {"mean": 3},
    "geometric": {"mean": 3},
    "negative_binomial": {"mean": 3, "variance": 7},
    "normal": {"mean": 3, "sd": 1},
    "gamma": {"mean": 3, "sd": 2},
    "uniform": {"low": 1, "high": 5},
    "pmf": {"p": [0.25, 0.5, 0.25]},
    "deterministic": {"values": [2, 5, 1]},
}
COSTS = {"holding_cost": 1, "penalty_cost": 9}
GIVEN: dict[str, dict[str, Any]] = {
    "newsvendor": {**COSTS, "lead_time": 1},
    "setup_cost": {**COSTS, "fixed_order_cost": 5},
    "lost_sales": {**COSTS, "lead_time": 2},
    "serial": {"lead_times": [1, 2], "holding_costs": [2, 1], "penalty_cost": 9},
    "dual_sourcing": {
        **COSTS,
        "regular_lead_time": 2,
        "expedited_lead_time": 0,
        "regular_cost": 10,
        "expedited_cost": 12,
    },
    "one_warehouse": {
        "warehouse_lead_time": 1,
        "store_lead_times": [1, 2],
        "warehouse_holding_cost": 0.5,
        "store_holding_costs": 1,
        "penalty_costs": [9, 8],
    },
    "spillover": {**COSTS, "cross_cost": 2, "num_locations": 2},
    "transshipment": {**COSTS, "transshipment_cost": 2, "num_locations": 2},
    "shared_capacity": {
        "capacity": 9,
        "holding_costs": 1,
        "penalty_costs": [5, 4],
        "num_products": 2,
    },
    "restock_limit": {
        "limit": 9,
        "holding_costs": 1,
        "penalty_costs": [5, 4],
        "lead_time": 2,
        "num_products": 2,
    },
    "batch_dispatch": {"truck_capacity": 6, "truck_cost": 12, "holding_cost": 1},
    "deadline_dispatch": {
        "slack": 2,
        "truck_capacity": 6,
        "truck_cost": 12,
        "holding_cost": 1,
        "expedite_cost": 9,
    },
}
MANY = {"one_warehouse", "spillover", "transshipment", "shared_capacity", "restock_limit"}
"""Problems with a distribution for each of several entities."""


def build(problem: str, *law: Any, **changes: Any) -> dict[str, Any]:
    """An instance, its horizon short."""
    given = {**GIVEN[problem], "horizon": 12, **changes}
    spec: dict[str, Any] = textbook.PROBLEMS[problem](*law, **given)
    return spec


def episode(spec: Mapping[str, Any]) -> list[Any]:
    """Observations and rewards under seeded random actions."""
    envs = gym.make_vec(num_envs=2, **spec)
    observation, _ = envs.reset(seed=5)
    envs.action_space.seed(5)
    seen = [*observation.values()]
    for _ in range(12):
        observation, reward, *_ = envs.step(0.3 * envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert np.isfinite(reward).all()
        seen += [*observation.values(), reward]
    envs.close()
    return seen


def test_every_problem_and_distribution_is_tried() -> None:
    """A new one has to be named here."""
    assert set(GIVEN) == set(textbook.PROBLEMS)
    assert set(LAWS) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("problem", GIVEN)
def test_demand_by_name_is_demand_by_object(problem: str, law: str) -> None:
    """Every problem plays with every distribution, and whole units are those of the demand."""
    made = DISTRIBUTIONS[law](**LAWS[law])
    by_object = build(problem, made)
    named = {f"demand_{key}": value for key, value in LAWS[law].items()}
    absent = {"demand_sd": None} if "sd" not in LAWS[law] else {}  # as configurations pass it
    by_name = build(problem, law, **named, **absent)
    assert by_object == by_name
    for left, right in zip(episode(by_object), episode(by_name), strict=True):
        np.testing.assert_array_equal(left, right)
    envs = gym.make_vec(num_envs=1, **by_object)
    assert envs.unwrapped.world.whole_units == made.is_integer
    envs.close()


@pytest.mark.parametrize("problem", sorted(MANY))
def test_entities_may_differ_in_demand(problem: str) -> None:
    """By a sequence of distributions, or of parameters."""
    one, two = textbook.Poisson(2), textbook.Poisson(5)
    counted = {key: None for key in GIVEN[problem] if key.startswith("num_")}
    by_object = build(problem, [one, two], **counted)
    assert by_object["scenario"].demand == (one, two)
    assert by_object == build(problem, "poisson", demand_mean=[2, 5], **counted)
    other = textbook.Pmf([0.5, 0.5]), textbook.Pmf([0.1, 0.9])
    lists = {"demand_p": [[0.5, 0.5], [0.1, 0.9]]}
    assert build(problem, list(other), **counted) == build(problem, "pmf", **lists, **counted)
    with pytest.raises(ValueError, match="^demand: num_.* must agree on one number"):
        build(problem, [one, two, one], **{**counted, **_two(problem)})
    with pytest.raises(ValueError, match="must agree on one number"):
        build(problem, "poisson", demand_mean=[2, 5, 3], **{**counted, **_two(problem)})


def _two(problem: str) -> dict[str, int]:
    names = {
        "one_warehouse": "num_stores",
        "spillover": "num_locations",
        "transshipment": "num_locations",
    }
    return {names.get(problem, "num_products"): 2}


POISSON = textbook.Poisson(3)


def wrong(problem: str, field: str, value: Any, more: str = "") -> Any:
    """A parameter that is out of range."""
    return pytest.param(problem, {field: value}, f"^{field}: .*{more}", id=f"{problem}-{field}")


@pytest.mark.parametrize(
    ("problem", "changes", "message"),
    [
        *(wrong(problem, "holding_cost", -1) for problem in (
            "newsvendor", "setup_cost", "lost_sales", "dual_sourcing", "spillover", "transshipment",
            "batch_dispatch", "deadline_dispatch",
        )),
        *(wrong(problem, "penalty_cost", float("nan"), "finite") for problem in (
            "newsvendor", "setup_cost", "lost_sales", "serial", "dual_sourcing", "spillover",
        )),
        *(wrong(problem, "lead_time", 1.5, "whole") for problem in (
            "newsvendor", "setup_cost", "lost_sales", "spillover", "transshipment", "restock_limit",
        )),
        wrong("setup_cost", "fixed_order_cost", -1),
        wrong("lost_sales", "fixed_order_cost", float("inf"), "finite"),
        wrong("lost_sales", "lead_time", "two", "whole"),
        wrong("serial", "lead_times", [], "at least one"),
        wrong("serial", "lead_times", [1, -1], "whole"),
        wrong("serial", "holding_costs", [1, 2, 3], "2 of them"),
        wrong("dual_sourcing", "regular_lead_time", -1, "whole"),
        wrong("dual_sourcing", "expedited_lead_time", 3, "at most regular_lead_time 2"),
        wrong("dual_sourcing", "expedited_cost", -3),
        wrong("one_warehouse", "warehouse_lead_time", 0.5, "whole"),
        wrong("one_warehouse", "store_holding_costs", [1, 2, 3], "2 of them"),
        wrong("one_warehouse", "penalty_costs", [1, -2]),
        wrong("one_warehouse", "warehouse_holding_cost", -1),
        wrong("one_warehouse", "unmet", "forgotten"),
        wrong("one_warehouse", "store_lead_times", [1, 1.5], "whole"),
        wrong("spillover", "cross_cost", -1),
        pytest.param("spillover", {"local_cost": 3}, "^cross_cost: .*local_cost", id="local"),
        wrong("spillover", "stock_limit", -1),
        wrong("transshipment", "transshipment_cost", 11, "at most holding_cost"),
        wrong("shared_capacity", "volumes", [1, 2, 3], "2 of them"),
        wrong("shared_capacity", "holding_costs", "dear", "number"),
        wrong("shared_capacity", "capacity", -1),
        wrong("restock_limit", "limit", float("nan"), "finite"),
        wrong("batch_dispatch", "truck_capacity", 0),
        wrong("batch_dispatch", "max_trucks", 0, "whole"),
        wrong("batch_dispatch", "truck_cost", -1),
        wrong("deadline_dispatch", "slack", 1.5, "whole"),
        wrong("deadline_dispatch", "expedite_cost", -1),
        wrong("deadline_dispatch", "truck_capacity", -1),
        *(wrong(problem, "truck_capacity", "a") for problem in (
            "batch_dispatch", "deadline_dispatch",
        )),
        wrong("transshipment", "transshipment_cost", "a"),
        wrong("transshipment", "holding_cost", None),
        wrong("spillover", "penalty_cost", True),
        wrong("newsvendor", "lead_time", True, "whole"),
        wrong("serial", "lead_times", 1, "sequence"),
        wrong("serial", "holding_costs", [1], "2 of them"),
        wrong("one_warehouse", "penalty_costs", [9, True], "2 of them"),
        wrong("shared_capacity", "holding_costs", ["1", "2"], "2 of them"),
        wrong("restock_limit", "num_products", 1.5, "whole"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name(
    problem: str, changes: dict[str, Any], message: str
) -> None:
    """The error begins with the field, before anything is simulated."""
    with pytest.raises(ValueError, match=message):
        gym.make_vec(num_envs=1, **build(problem, POISSON, **changes))


@pytest.mark.parametrize(
    ("law", "parameters", "message"),
    [
        ("poisson", {"demand_mean": "5"}, "^demand_mean: "),
        ("poisson", {"demand_mean": True}, "^demand_mean: "),
        ("negative_binomial", {"demand_mean": 3, "demand_variance": "7"}, "^demand_variance: "),
        ("uniform", {"demand_low": "a", "demand_high": 3}, "^demand_low: "),
        ("pmf", {"demand_p": 0.5}, "^demand_p: "),
        ("pmf", {"demand_p": ["a"]}, "^demand_p: "),
        ("deterministic", {"demand_values": "a"}, "^demand_values: "),
    ],
)
def test_a_wrong_parameter_of_a_distribution_is_refused_by_name(
    law: str, parameters: dict[str, Any], message: str
) -> None:
    """Under the name by which it was given."""
    for problem in ("newsvendor", "spillover"):
        with pytest.raises(ValueError, match=message):
            build(problem, law, **parameters)


@pytest.mark.parametrize("problem", GIVEN)
def test_parameters_of_other_distributions_are_left_aside(problem: str) -> None:
    """A file's values for its own distribution do not stand in the way of another one."""
    others = {"demand_low": 0, "demand_high": 4, "demand_p": [[0.5, 0.5]] * 5, "demand_sd": [1] * 7}
    assert build(problem, "poisson", demand_mean=3, **others) == build(problem, POISSON)


def test_whole_numbers_are_kept_as_integers() -> None:
    """A configuration's 2.0 is as good as 2, for what computes with scenarios too."""
    for problem, field, value in (
        ("newsvendor", "lead_time", 2.0),
        ("dual_sourcing", "regular_lead_time", np.int64(2)),
        ("one_warehouse", "warehouse_lead_time", np.array(2)),
        ("spillover", "lead_time", np.float32(2.0)),
        ("restock_limit", "lead_time", 2.0),
        ("deadline_dispatch", "slack", 2.0),
        ("batch_dispatch", "max_trucks", 2.0),
    ):
        kept = getattr(build(problem, POISSON, **{field: value})["scenario"], field)
        assert type(kept) is int and kept == 2
    leads = build("serial", POISSON, lead_times=[1.0, 2.0])["scenario"].lead_times
    leads += build("one_warehouse", POISSON)["scenario"].store_lead_times
    assert {type(lead) for lead in leads} == {int}


def test_arrays_are_taken_where_lists_are() -> None:
    """So are the scalars and the arrays without dimensions of NumPy."""
    assert build("serial", POISSON, lead_times=np.array([1, 2])) == build("serial", POISSON)
    arrays = {"store_lead_times": np.array([1, 2]), "penalty_costs": np.array([9.0, 8.0])}
    assert build("one_warehouse", POISSON, **arrays) == build("one_warehouse", POISSON)
    scalars = {"holding_cost": np.array(1), "penalty_cost": np.float32(9)}
    assert build("spillover", POISSON, **scalars) == build("spillover", POISSON)
    for law in ({"demand_mean": [2, 5]}, {"demand_mean": np.array([2, 5])}):
        laws = build("spillover", "poisson", **law)["scenario"].demand
        assert laws == (textbook.Poisson(2), textbook.Poisson(5))
    rows = np.array([[0.5, 0.5], [0.1, 0.9]])
    lists = build("spillover", "pmf", demand_p=rows.tolist())
    assert build("spillover", "pmf", demand_p=rows) == lists


@pytest.mark.parametrize("problem", sorted(MANY))
def test_the_number_of_entities_is_that_of_any_sequence(problem: str) -> None:
    """Of costs as of demands; where there is none, the error says what to give."""
    field = next(iter(_two(problem)))
    costs = [key for key in GIVEN[problem] if key.endswith("_costs")]
    numbers = dict.fromkeys(costs, 1)
    if problem == "one_warehouse":
        numbers["store_lead_times"] = 1
    for key in numbers:
        given = {**numbers, key: [1, 2, 3], field: None}
        assert len(build(problem, POISSON, **given)["scenario"].demand) == 3
    with pytest.raises(ValueError, match=f"^demand: .*give {field}, or a sequence"):
        build(problem, POISSON, **{**numbers, field: None})


@pytest.mark.parametrize("problem", GIVEN)
def test_wrong_demand_is_refused_by_name(problem: str) -> None:
    """Unknown names list the known ones, missing parameters the wanted ones."""
    with pytest.raises(ValueError, match="^demand: unknown 'fish'; known: poisson, geometric"):
        build(problem, "fish")
    with pytest.raises(ValueError, match="^demand: 'gamma' takes demand_mean, demand_sd; got dem"):
        build(problem, "gamma", demand_mean=3)
    with pytest.raises(ValueError, match="^demand: no distribution takes demand_meen; known: dem"):
        build(problem, "poisson", demand_mean=3, demand_meen=3)
    with pytest.raises(ValueError, match="^demand: give demand_. parameters only with"):
        build(problem, POISSON, demand_mean=3)
    with pytest.raises(ValueError, match="^demand: must be a distribution or the name of one"):
        build(problem, 3.0)
    with pytest.raises(TypeError, match="unknown parameter 'lead_tyme'"):
        build(problem, POISSON, lead_tyme=3)
    with pytest.raises(ValueError, match="^horizon: must be a positive multiple"):
        gym.make_vec(num_envs=1, **build(problem, POISSON, horizon=0))


@pytest.mark.parametrize("problem", GIVEN)
def test_nothing_ordered_and_nothing_asked_costs_nothing(problem: str) -> None:
    """No cost without stock, trucks or demand: rewards are costs, and zero is their best."""
    spec = build(problem, textbook.Deterministic([0.0]))
    envs = gym.make_vec(num_envs=1, **spec)
    envs.reset(seed=0)
    for _ in range(5):
        reward = envs.step(np.zeros(envs.action_space.shape))[1]
        assert (reward == 0.0).all()
    envs.close()
