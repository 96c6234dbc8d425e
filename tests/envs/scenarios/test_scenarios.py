"""Every scenario is a change of the processes: comparable tapes, honest forecasts, clear errors."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.world import World
from stockyard.envs.scenarios import BENCHMARK, Scenario, build_world, names

GENERATED = tuple(name for name in names() if name != "real")
TASKS = ("replenishment", "placement")
OF_TRUCKS = ("plain_lanes", "truck_shortage", "late_returns", "own_windows", "big_parcels")
"""Scenarios of filling trucks alone: see tests/envs/tasks/test_truck_fill.py."""


def tapes(scenario: Any, task: str = "replenishment", count: int = 4) -> tuple[World, Tape]:
    """A world and some of its tapes."""
    world = build_world(scenario, "small", task)
    params = world.params("numpy", "float64")
    replicas = [Streams("train", seed) for seed in range(count)]
    return world, world.source.draw(params, replicas, world.burn_in + world.horizon + 1)


def test_the_benchmark_comes_with_the_project() -> None:
    """What policies are compared on can be asked for by name."""
    assert set(BENCHMARK) <= set(names())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scenario", GENERATED)
def test_equal_seeds_give_comparable_tapes(scenario: str, task: str) -> None:
    """Before a scenario's changes begin, its demand and arrivals are those of `steady`."""
    _, plain = tapes("steady", task)
    _, changed = tapes(scenario, task)
    np.testing.assert_array_equal(plain.start_day, changed.start_day)
    np.testing.assert_array_equal(plain.fraction, changed.fraction)
    if scenario not in ("seasonal", "cold_start", "seller_launches"):
        np.testing.assert_array_equal(plain.demand[:14], changed.demand[:14])
    ratio = changed.demand / plain.demand
    assert np.ptp(ratio, axis=2).max() < 1e-9 * ratio.max()  # all regions alike


@pytest.mark.parametrize("scenario", GENERATED)
def test_what_a_scenario_is_about_happens(scenario: str) -> None:
    """Each scenario differs from `steady` where it says so."""
    plain_world, plain = tapes("steady")
    world, tape = tapes(scenario)
    differs = {
        "demand": not np.array_equal(plain.demand, tape.demand),
        "lead": not np.array_equal(plain.lead, tape.lead),
        "limits": bool(tape.announced),
        "promises": plain.promises != tape.promises,
        "network": world.network.substitution > 0 or world.network.inbound.case_pack.any(),
    }
    expected = {
        "steady": set(),
        "seasonal": {"demand", "limits"},
        "peak_event": {"demand", "limits"},
        "capacity_shock": {"demand", "lead", "limits"},
        "cold_start": {"demand"},
        "supplier_disruption": {"limits"},
        "port_delay": {"lead"},
        "fc_outage": {"limits"},
        "demand_drop": {"demand"},
        "one_day_rollout": {"promises"},
        "case_packs": {"network"},
        "substitutes": {"network"},
        "q4": {"demand"},
        "space_shock": {"limits"},
        "mixed_sellers": set(),  # they decide in restock limits alone
        "seller_launches": {"demand"},
        "peak_days": {"demand"},
        # of trucks alone, which only truck fill has; see tests/envs/tasks/test_truck_fill.py
        **dict.fromkeys(OF_TRUCKS, set()),
    }
    assert {name for name, does in differs.items() if does} == expected[scenario]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scenario", ["seasonal", "peak_event", "capacity_shock", "cold_start"])
def test_forecasts_are_martingales_in_every_scenario(scenario: str, task: str) -> None:
    """2.3: through seasons, events, shocks and launches revisions have mean zero and no pattern."""
    world = build_world(scenario, "small", task)
    demand, forecaster = world.source.demand, world.source.forecaster
    assert forecaster is not None
    target, length = 80, 14
    made_at = np.array([14, 28, 42, 52, 60, 66, 73, 80])
    rows, came, scale = [], [], []
    for seed in range(150):
        path = demand.draw(Streams("train", seed), world.network, target + length + 1)
        row = []
        for day in made_at:
            ends = [int(target + length - day)]
            ends = [int(target - day), *ends] if day < target else ends
            units = forecaster.expected(path, np.array([day]), ends).units[0]
            row.append(units[-1] - (units[0] if len(ends) > 1 else 0.0))
        rows.append(row)
        came.append(path.demand[target : target + length].sum(axis=(0, 1)))
        scale.append(demand.mean_rate(world.network).sum(axis=0) * length)
    path = (
        np.concatenate((np.array(rows), np.array(came)[:, None]), axis=1) / np.array(scale)[:, None]
    )
    for k in range(path.shape[1] - 1):
        revision = path[:, k + 1] - path[:, k]
        for weight in (np.ones_like(revision), path[:, k]):
            # products of one tape share shocks, so tapes are what is independent
            terms = (revision * weight).mean(axis=1)
            error = terms.std(ddof=1) / np.sqrt(len(terms))
            assert abs(terms.mean()) <= 4.0 * error, (scenario, k)
    errors = ((path[:, -1:] - path[:, :-1]) ** 2).mean(axis=(0, 2))
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("scenario", ["peak_event", "capacity_shock", "fc_outage"])
def test_limits_are_announced_when_they_are_known(scenario: str) -> None:
    """An announced change is seen weeks ahead, an unannounced one only once it has begun."""
    world, tape = tapes(scenario, count=8)
    for field, announced in tape.announced.items():
        true = tape.limits[field]
        np.testing.assert_array_equal(announced[0], true)  # what holds now is always known
        periods = tape.num_periods - 28
        foreseen = np.array_equal(announced[4][:periods], true[28 : 28 + periods])
        assert foreseen == (scenario == "peak_event"), field
    assert len(tape.announced) > 0
    assert world.source.capacities.changes


def test_a_supplier_outage_is_known_two_weeks_ahead() -> None:
    """It is announced 14 days before it begins: three weeks ahead nobody knows."""
    _, tape = tapes("supplier_disruption", count=8)
    announced, true = tape.announced["supplier_capacity"], tape.limits["supplier_capacity"]
    for b in range(8):
        begin = int(np.flatnonzero(true[:, b, 0] == 0.0)[0])
        assert announced[2, begin - 14, b, 0] == 0.0
        assert announced[3, begin - 21, b, 0] > 0.0
        assert announced[2, begin - 15, b, 0] > 0.0


def test_the_days_to_events_count_down() -> None:
    """The calendar shows the next two events, and the lift begins on the day it says."""
    _, tape = tapes("peak_event")
    _, plain = tapes("steady")
    days = tape.event_days
    ratio = tape.demand.sum(axis=(2, 3)) / plain.demand.sum(axis=(2, 3))
    for b in range(4):
        first = int(days[0, b, 0])
        assert days[first, b, 0] == 0.0
        assert ratio[first, b] > 1.2 * ratio[first - 1, b]
        assert (np.diff(days[: first + 1, b, 0]) == -1.0).all()


def test_one_day_delivery_begins_in_the_middle() -> None:
    """The promise is the same in all tapes, and customers come to expect it later."""
    world, tape = tapes("one_day_rollout")
    tiers = [tape.promise(t).min_offered_tier for t in range(world.burn_in + world.horizon)]
    assert tiers[0] == 1 and tiers[-1] == 0 and sorted(tiers, reverse=True) == tiers
    assert tape.promise(10**6).acceptance_by_tier == (1.0, 0.90, 0.72)


def test_orders_come_in_cases() -> None:
    """Whole cases, at least the minimum, nothing below half of it."""
    env = gym.make_vec(
        "stockyard/Replenishment-v0", num_envs=2, scenario="case_packs", action="quantity"
    )
    env.reset(seed=0)
    network = env.unwrapped.world.network
    minimum = network.inbound.minimum_order[0]
    asked = np.stack([0.4 * minimum, 1.6 * minimum]).astype(np.float32)
    env.step(asked)
    from stockyard.envs.network.replenish import _in_lots

    params = env.unwrapped.params
    lots = _in_lots(params, np.repeat(asked[:, None].astype(float), 1, axis=1))
    assert (lots[0] == 0.0).all()
    assert (lots[1] >= minimum).all()
    above = lots[1] > minimum + 1e-9
    np.testing.assert_allclose(lots[1][above] % 12.0, 0.0, atol=1e-9)


def test_recorded_orders_do_not_depend_on_placement() -> None:
    """Ruling 16: the inbound of placement is a tape; it buys about what is demanded."""
    _, tape = tapes("steady", "placement", 8)
    weeks = tape.recorded.shape[0]
    bought = tape.recorded.sum(axis=(0, 2)) / weeks
    wanted = tape.demand.sum(axis=(0, 2, 3)) / tape.num_periods * 7.0
    assert 0.8 < bought.mean() / wanted.mean() < 1.3
    _, same = tapes("fc_outage", "placement", 8)
    np.testing.assert_array_equal(tape.recorded, same.recorded)


def test_recorded_orders_do_not_know_what_will_be_delivered() -> None:
    """L12: how full an order is shows when its goods arrive, not in the orders before."""
    import dataclasses

    world, tape = tapes("steady", "placement", 4)
    recorder, params = world.source.recorder, world.params("numpy", "float64")
    assert recorder is not None
    epoch = 4
    fraction = np.array(tape.fraction)
    fraction[epoch] *= 0.5
    # suppliers' limits would tell of one product by the orders of another
    tape = dataclasses.replace(tape, limits={})
    orders = recorder.record(params, tape)
    changed = recorder.record(params, dataclasses.replace(tape, fraction=fraction))
    first = tape.lead[epoch].min(axis=1)[:, 0]  # (B, P) periods, on the lane into the dock
    differs = False
    for later in range(epoch, len(changed)):
        unseen = (later - epoch) * tape.epoch_periods < first
        np.testing.assert_array_equal(changed[later][unseen], orders[later][unseen])
        differs |= not np.array_equal(changed[later], orders[later])
    assert differs


MINE = """
about: a tight fortnight
like: peak_event
retail: {local_space_days: 5.0}
limit_changes:
  - {key: strike, start: 0.5, days: 14, limit: outbound, factor: 0.5, nodes: local}
"""


def test_a_user_adds_a_scenario_with_one_file(tmp_path: Path) -> None:
    """A YAML file, its data, or a `Scenario` give one world."""
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    env = gym.make("stockyard/Replenishment-v0", scenario=str(path), horizon=14)
    assert env.reset(seed=0)[1]["tape_hash"]
    scenario = Scenario.from_yaml(path)
    assert scenario.name == "mine" and len(scenario.demand_changes) == 6
    _, of_file = tapes(str(path))
    _, of_object = tapes(scenario)
    np.testing.assert_array_equal(of_file.digests(), of_object.digests())
    assert list(of_file.announced) == ["outbound_capacity"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"name": "x", "sesaon": {}}, "unknown field 'sesaon'"),
        ({"about": "no name"}, "name is missing"),
        ({"name": "x", "retail": {"local_space": 5}}, "retail: unknown field 'local_space'"),
        ({"name": "x", "limit_changes": [{"key": "a", "start": 2, "days": 3}]}, ".start: must"),
        ({"name": "x", "limit_changes": [{"key": "a", "start": 0.1}]}, r"limit_changes\[0\]: days"),
        (
            {"name": "x", "limit_changes": [{"key": "a", "start": 0.1, "days": 3, "limit": "b"}]},
            "limit: unknown 'b'",
        ),
        (
            {"name": "x", "limit_changes": [{"key": "a", "start": 0.1, "days": 3, "nodes": "b"}]},
            "nodes: unknown 'b'",
        ),
        ({"name": "x", "source": "panel", "season": {}}, "source: demand of a panel"),
        ({"name": "x", "like": "stedy"}, "unknown 'stedy'; known: "),
        (
            {
                "name": "x",
                "demand_changes": [{"key": "a", "start": 0.1, "days": 3, "common_sd": 0.5}],
            },
            "announced_days: an uncertain lift",
        ),
    ],
)
def test_a_wrong_scenario_is_refused_by_name(data: dict[str, Any], problem: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=problem):
        build_world(data)


def test_an_unknown_scenario_lists_the_known_ones() -> None:
    """As every unknown name does."""
    with pytest.raises(ValueError, match="unknown 'stedy'; known: .*peak_event"):
        build_world("stedy")
    with pytest.raises(ValueError, match="there is no file"):
        build_world("nowhere.yaml")
