"""Rules that fill trucks: what each does, by numbers that can be checked by hand."""

import json
from typing import Any

import numpy as np
import pytest
from environments import TRUCKS

from stockyard import agents
from stockyard.agents import tuning
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.heuristics.base import Facts, search_of
from stockyard.agents.heuristics.truck_lanes import TruckLanes
from stockyard.envs.tasks.task import shaped

TAPES = 8


@pytest.fixture(scope="module")
def env() -> Any:
    """A built batch, and its lanes."""
    return build({"id": TRUCKS}, num_envs=TAPES, split="validation", action_mode="quantity")


def seen_after(env: Any, waves: int = 6) -> Any:
    """The observation after some waves of due and top-up."""
    rule = agents.make("due_and_top_up", env, patience=0.4)
    observation, _ = env.reset(seed=0)
    for _ in range(waves):
        observation, *_ = env.step(rule.predict(observation)[0].astype(np.float32))
    return observation


def parts_of(env: Any, action: Any) -> dict[str, Any]:
    """The action's parts by name."""
    parts = env.unwrapped.task.parts["quantity"]
    return {name: action[:, part] for name, part in parts.items()}


def test_all_now_leaves_nothing_behind(env: Any) -> None:
    """As many trucks on every lane as what waits needs, at most four; nothing by the hub."""
    observation = seen_after(env)
    plan = parts_of(env, agents.make("all_now", env).predict(observation)[0])
    lanes = TruckLanes(Facts(env), "test")
    waiting = lanes.loads(shaped(observation, env.unwrapped.field_shapes)).waiting
    np.testing.assert_array_equal(plan["trucks"], np.minimum(np.ceil(waiting - 1e-6), 4.0))
    assert not plan["via"].any() and plan["expedite"].all()


def test_full_only_sends_full_trucks(env: Any) -> None:
    """Whole truckloads of what waits, and none for what is due."""
    observation = seen_after(env)
    plan = parts_of(env, agents.make("full_only", env, hub_slack=-1).predict(observation)[0])
    lanes = TruckLanes(Facts(env), "test")
    waiting = lanes.loads(shaped(observation, env.unwrapped.field_shapes)).waiting
    np.testing.assert_array_equal(plan["trucks"], np.minimum(np.floor(waiting + 1e-6), 4.0))
    assert not plan["spot"].any()


def test_numbers_of_kinds_are_numbers_of_lanes(env: Any) -> None:
    """`lane_hold` with equal numbers is `truck_hold`."""
    by_kind = agents.make("truck_hold", env, direct_hold=-0.2, hub_hold=-0.1, move_hold=0.1)
    lanes = TruckLanes(Facts(env), "test")
    hold = lanes.by_kind(-0.2, -0.1, 0.1, 0.0).tolist()
    by_lane = agents.make("lane_hold", env, hold=hold, patience=1.0)
    one, other = (rollout(rule, env, seed=0) for rule in (by_kind, by_lane))
    np.testing.assert_array_equal(one.returns, other.returns)
    with pytest.raises(ValueError, match="hold must be a number or one for each"):
        agents.make("lane_hold", env, hold=[0.1, 0.2])


def test_an_interval_sends_trucks_that_are_not_full(env: Any) -> None:
    """With an interval of a wave something leaves wherever it pays; a new episode begins anew."""
    observation = seen_after(env)
    often = agents.make("time_and_quantity", env, quantity=1.0, interval=1, patience=1e3)
    seldom = agents.make("time_and_quantity", env, quantity=1.0, interval=400, patience=1e3)
    lanes = TruckLanes(Facts(env), "test")
    waiting = lanes.loads(shaped(observation, env.unwrapped.field_shapes)).waiting
    plans = [parts_of(env, rule.predict(observation)[0])["trucks"] for rule in (often, seldom)]
    lines = lanes.plan.linehauls.start
    expected = np.maximum(np.floor(waiting + 1e-6), waiting > lanes.even)
    np.testing.assert_array_equal(plans[0][:, :lines], np.minimum(expected, 4.0)[:, :lines])
    np.testing.assert_array_equal(plans[1], np.minimum(np.floor(waiting + 1e-6), 4.0))
    _, state = seldom.predict(observation)
    starts = np.arange(TAPES) == 0
    _, later = seldom.predict(observation, state, starts)
    assert (later[0] <= 1.0).all() and (later[1:] == 2.0).any()


def test_a_truck_leaves_where_carriers_would_ask_more(env: Any) -> None:
    """Break-even: with nothing else counted, one truck from the load that pays for it on."""
    rule = agents.make("break_even_expedite", env, later_share=0.0, due_factor=1.0)
    lanes = TruckLanes(Facts(env), "test")
    due = np.linspace(0.0, 0.9, 40)[:, None] * np.ones(lanes.num_lanes)
    from stockyard.envs.network.truck_rules import Loads

    sent = rule._least(Loads(due, due), lanes.cost)  # type: ignore[attr-defined]
    lines = lanes.plan.linehauls.start
    np.testing.assert_array_equal(sent[:, :lines], (due > lanes.even + 1e-9)[:, :lines])


@pytest.mark.parametrize("scenario", ["truck_shortage", "plain_lanes"])
def test_tuned_rules_beat_the_naive_one(scenario: str) -> None:
    """Waiting for trucks to fill is worth something, whoever decides how."""
    spec = {"id": TRUCKS, "scenario": scenario, "horizon": 56}
    env = build(spec, num_envs=TAPES, split="validation", action_mode="quantity")
    naive = rollout(agents.make("all_now", env), env, seed=0).returns
    rules: dict[str, dict[str, Any]] = {
        "due_and_top_up": {"patience": 0.35, "spot_patience": 0.75},
        "truck_hold": {"direct_hold": -0.2, "direct_patience": 0.6, "spot_patience": 0.5},
        "time_and_quantity": {"quantity": 0.7, "interval": 7, "patience": 0.35},
        "break_even_expedite": {"later_share": 0.9, "due_factor": 2.5},
        "truck_value": {"power": 1.5, "due_factor": 2.5},
        "load_plan": {"window": 4, "patience": 0.4, "spot_patience": 0.8},
    }
    for name, parameters in rules.items():
        earned = rollout(agents.make(name, env, **parameters), env, seed=0).returns
        assert (earned - naive).mean() > 0.01 * abs(naive.mean()), name


def test_the_rolling_program_plans_whole_trucks_within_pools() -> None:
    """What it sends first is there to be sent, and it does better than sending all now."""
    spec = {"id": TRUCKS, "horizon": 12}
    env = build(spec, num_envs=2, split="validation", action_mode="quantity")
    rule = agents.make("truck_milp", env, waves=6, whole_waves=1)
    observation, _ = env.reset(seed=0)
    total = np.zeros(2)
    for _ in range(12):
        action, _ = rule.predict(observation)
        trucks = parts_of(env, action)["trucks"]
        np.testing.assert_array_equal(trucks, np.rint(trucks))
        observation, reward, _, _, info = env.step(action.astype(np.float32))
        assert (info["clip_fraction"] < 0.3).all()
        total += reward
    naive = rollout(agents.make("all_now", env), env, seed=0).returns
    assert total.mean() > naive.mean()


TUNED = (
    *("full_only", "due_and_top_up", "truck_hold", "lane_hold", "time_and_quantity"),
    *("break_even_expedite", "truck_value", "load_plan"),
)


def test_every_rule_with_a_search_is_tuned_below() -> None:
    """A new rule must tune itself somewhere."""
    have = {
        name
        for name, entry in agents.registered().items()
        if "heuristics.truck" in entry.factory_path and search_of(entry.resolve())
    }
    assert have == set(TUNED)


@pytest.mark.parametrize("name", TUNED)
def test_tuned_parameters_are_those_that_make_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may run in other coordinates; what it returns may be printed, kept and given."""
    monkeypatch.setattr(tuning, "ROUNDS", 1)
    spec = {"id": TRUCKS, "horizon": 4}
    result = agents.tune(name, spec, tapes=2)
    assert json.loads(json.dumps(result.parameters)) == result.parameters
    env = build(spec, num_envs=2, split="train", action_mode="quantity")
    again = rollout(agents.make(name, env, **result.parameters), env, seed=0)
    assert again.mean == pytest.approx(result.score)
