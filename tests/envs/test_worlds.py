"""Worlds beyond the shipped ones: whole units, other networks, rules on any of them."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.params import Params
from stockyard.envs.network.standing_rules import ForecastSharePush
from stockyard.envs.network.state import Revealed, State
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    TransferLanes,
)
from stockyard.envs.network.world import World
from stockyard.envs.scenarios import build_world
from stockyard.envs.tasks.task import shaped

ID = "stockyard/Replenishment-v0"


@dataclasses.dataclass(frozen=True)
class OneSpeed:
    """The steady world with one delivery speed, no tariff, and trucks between nodes if asked."""

    truck_volume: float = np.inf

    def build(self, size: str, task: str) -> World:
        """Changes what `steady` builds."""
        world = build_world("steady", size, task)
        network = dataclasses.replace(
            world.network,
            outbound=dataclasses.replace(world.network.outbound, tier=0, tariff=0.0),
            transfers=dataclasses.replace(world.network.transfers, truck_volume=self.truck_volume),
            acceptance_by_tier=(1.0,),
        )
        capacities = dataclasses.replace(world.source.capacities, outbound=None)
        source = dataclasses.replace(world.source, network=network, capacities=capacities)
        return dataclasses.replace(world, network=network, source=source)


def test_metrics_do_without_what_nobody_counts() -> None:
    """With one speed, no tariff and no picking limit, picks by lane are not counted."""
    env = gym.make_vec(ID, num_envs=2, scenario=OneSpeed())
    env.reset(seed=1)
    metrics = dict(env.step(np.zeros((2, 12)))[-1]["metrics"])
    np.testing.assert_allclose(metrics["speed_share_1_day"], 1.0)
    assert all(np.isfinite(values).all() for values in metrics.values())


@pytest.mark.parametrize("truck_volume", [np.inf, 40.0])
def test_the_parts_of_the_position_are_all_observed(truck_volume: float) -> None:
    """On hand, in yards, between nodes (staged too) and on order are the inventory position."""
    env = gym.make_vec(ID, num_envs=2, scenario=OneSpeed(truck_volume))
    env.reset(seed=1)
    for _ in range(3):
        seen = shaped(env.step(np.zeros((2, 12)))[0], env.unwrapped.field_shapes)
        parts = seen["on_hand"].sum(axis=2) + seen["yard"].sum(axis=2)
        parts = parts + seen["in_transfer"] + seen["on_order"]
        np.testing.assert_allclose(parts, seen["inventory_position"], rtol=1e-5, atol=1e-3)
        coming = sum(slot.sum(axis=1) for slot in env.unwrapped.state.inbound)
        short = env.unwrapped._current.memory.unfilled[0]  # nobody knows yet
        assert (short > 0).any()
        np.testing.assert_allclose(seen["on_order"], coming + short, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scenario", ["steady", "real"])
def test_whole_units_stay_whole_for_a_whole_episode(scenario: str) -> None:
    """`integer=True` leaves no half unit in demand, on a shelf or on its way."""
    env = gym.make_vec(ID, num_envs=2, scenario=scenario, integer=True).unwrapped
    env.reset(seed=1)
    env.action_space.seed(1)

    def assert_whole(array: Any) -> None:
        np.testing.assert_allclose(array, np.rint(array), rtol=0, atol=1e-6)

    assert_whole(env.tape.demand)
    assert env.tape.demand.any()
    for _ in range(env.steps_per_episode):
        env.step(env.action_space.sample())
        state = env.state
        for array in (state.on_hand, state.yard, *state.inbound, *state.transfers):
            assert_whole(array)


def test_the_push_rule_finds_stock_through_a_chain_in_any_order() -> None:
    """Lanes of a chain need not be listed from the supplier on."""
    decided = []
    for order in ([0, 1, 2], [2, 1, 0]):
        tail, head = np.array([0, 1, 0])[order], np.array([1, 2, 3])[order]
        network = Network(
            nodes=("dock", "hub", "end", "side"),
            regions=("far", "near"),
            products=Products(("unit",)),
            inbound=InboundLanes(head=[0]),
            transfers=TransferLanes(tail=tail, head=head),
            outbound=OutboundLanes(node=[2, 3], region=[0, 1]),
        )
        params = Params(network, Economics())
        state = State(
            on_hand=np.full((1, 4, 1), 10.0),
            yard=None,
            inbound=(),
            staged=None,
            transfers=(),
            backlog=None,
            parcels=None,
            parcel_volume=None,
            position=np.full((1, 1), 40.0),
        )
        known = Revealed(*[None] * len(Revealed._fields))
        known = known._replace(forecast_daily=np.full((1, 2, 1), 2.0))
        wanted = ForecastSharePush(cover_days=6.0)(params, state, known)
        decided.append(wanted[0, np.argsort(order), 0])
    np.testing.assert_array_equal(decided[0], decided[1])
    np.testing.assert_array_equal(decided[0], [0.0, 2.0, 2.0])
