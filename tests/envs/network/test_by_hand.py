"""The step by hand: a toy of three nodes, and the worked steps of the textbook problems."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook
from stockyard.envs.network.accounting import cash_flows
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Decisions, Exogenous, Revealed, State
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    Promise,
    TransferLanes,
)

NOTHING_KNOWN = Revealed(*[None] * len(Revealed._fields))


def column(*values: float) -> Any:
    """(1, len, 1): one replica, one product."""
    return np.array(values, dtype=float)[None, :, None]


def happens(demand: Any, promise: Promise = Promise(), **known: Any) -> Exogenous:  # noqa: B008
    """A period in which only demand (and what is known) is given."""
    return Exogenous(NOTHING_KNOWN._replace(**known), demand, None, None, None, promise)


def cost_of(params: Params, flows: Any) -> float:
    """What a period cost."""
    return -float(sum(amount[0] for amount in cash_flows(params, [flows]).values()))


def test_a_network_of_three_nodes_moves_as_on_paper() -> None:
    """Every array of three periods, worked out by hand from the order of events."""
    network = Network(
        nodes=("dock", "A", "B"),
        regions=("east", "west"),
        products=Products(("unit",)),
        inbound=InboundLanes(head=[0], lead_time=2, unit_cost=7.0),
        transfers=TransferLanes(tail=[0, 0], head=[1, 2], transit=[1, 2]),
        outbound=OutboundLanes(
            node=[1, 2, 2], region=[0, 1, 0], tier=[0, 0, 1], tariff=[1.0, 2.0, 3.0]
        ),
        acceptance_by_tier=(1.0, 0.5),
    )
    economics = Economics.textbook(
        holding_per_unit=[1.0, 2.0, 3.0],
        transit_holding_per_unit=0.5,
        shortage_per_unit=10.0,
        fixed_order_cost=4.0,
    )
    params = Params(network, economics, has_docks=True, dock_is_limited=True)
    dock = np.array([[6.0, 100.0, 100.0]])
    state = State(
        on_hand=column(10, 4, 3),
        yard=column(0, 0, 0),
        inbound=(),
        staged=None,
        transfers=(),
        backlog=None,
        parcels=None,
        parcel_volume=None,
        position=np.array([[17.0]]),
    )

    # Period 0: ten units at the dock for twenty wanted; east's second choice loses half of those
    # whom A could not serve, for it is slow.
    decided = Decisions(orders=column(9), transfers=column(5, 15))
    state, flows = step(
        params, state, decided, happens(column(6, 2), network.promise, receiving_capacity=dock)
    )
    np.testing.assert_array_equal(flows.transferred, column(2.5, 7.5))
    np.testing.assert_array_equal(flows.served[0], column(4, 2))
    np.testing.assert_array_equal(flows.served[1], column(1, 0))
    np.testing.assert_array_equal(flows.abandoned, column(1, 0))
    np.testing.assert_array_equal(flows.out_of_stock, column(0, 0))
    np.testing.assert_array_equal(flows.lost, column(1, 0))
    np.testing.assert_array_equal(state.on_hand, column(0, 2.5, 0))
    np.testing.assert_array_equal(state.yard, column(0, 0, 0))
    np.testing.assert_array_equal(state.inbound[0], column(9))
    np.testing.assert_array_equal(state.transfers[0], column(0, 7.5))
    np.testing.assert_array_equal(state.position, [[19.0]])
    # purchases 63, set-up 4, transit 10 * .5, tariffs 4 + 4 + 3, shortage 10
    assert cost_of(params, flows) == 63 + 4 + 5 + 11 + 10

    # Period 1: nothing is decided; the dock receives six of the nine units.
    state, flows = step(
        params, state, Decisions(), happens(column(4, 3), network.promise, receiving_capacity=dock)
    )
    np.testing.assert_array_equal(flows.served[0], column(2.5, 0))
    np.testing.assert_array_equal(flows.served[1], column(0, 0))
    np.testing.assert_array_equal(flows.abandoned, column(0.75, 0))
    np.testing.assert_array_equal(flows.out_of_stock, column(0.75, 3))
    np.testing.assert_array_equal(flows.lost, column(1.5, 3))
    np.testing.assert_array_equal(state.on_hand, column(6, 0, 7.5))
    np.testing.assert_array_equal(state.yard, column(3, 0, 0))
    np.testing.assert_array_equal(state.position, [[16.5]])
    assert not any(slot.any() for slot in (*state.inbound, *state.transfers))
    # transit 7.5 * .5, tariff 2.5, shortage 45
    assert cost_of(params, flows) == 3.75 + 2.5 + 45

    # Period 2: B runs out before east's slow customers reach it.
    decided = Decisions(orders=column(5), transfers=column(2, 2))
    state, flows = step(
        params, state, decided, happens(column(1, 9), network.promise, receiving_capacity=dock)
    )
    np.testing.assert_array_equal(flows.served[0], column(0, 7.5))
    np.testing.assert_array_equal(flows.abandoned, column(0.5, 0))
    np.testing.assert_array_equal(flows.out_of_stock, column(0.5, 1.5))
    np.testing.assert_array_equal(flows.lost, column(1, 1.5))
    np.testing.assert_array_equal(state.on_hand, column(5, 2, 0))
    np.testing.assert_array_equal(state.yard, column(0, 0, 0))
    np.testing.assert_array_equal(state.inbound[0], column(5))
    np.testing.assert_array_equal(state.transfers[0], column(0, 2))
    np.testing.assert_array_equal(state.position, [[14.0]])
    # purchases 35, set-up 4, holding 2 at the dock, transit 2, tariff 15, shortage 25
    assert cost_of(params, flows) == 35 + 4 + 2 + 2 + 15 + 25


def play(problem: dict[str, Any], orders: list[float]) -> tuple[list[float], dict[str, Any]]:
    """Costs of a sequence of orders, and the last observation."""
    env = gym.make(**problem)
    observation, _ = env.reset(seed=0)
    costs = []
    for order in orders:
        observation, reward, *_ = env.step(np.array([order]))
        costs.append(-float(reward))
    return costs, observation


@pytest.mark.parametrize(
    ("stock", "order", "demand", "cost", "after"),
    [((3, 2), 4, 5, 18.0, (2, 4)), ((6, 2), 0, 4, 2.0, (4, 0))],
)
def test_lost_sales_step_as_published(
    stock: tuple[int, int], order: int, demand: int, cost: float, after: tuple[int, int]
) -> None:
    """L = 2, h = 1, p = 9: the state is today's stock and tomorrow's arrival (Zipkin 2008)."""
    problem = textbook.lost_sales(
        demand=textbook.Deterministic([0, 0, demand]),
        lead_time=2,
        holding_cost=1,
        penalty_cost=9,
        horizon=3,
    )
    costs, observation = play(problem, [*stock, order])
    assert costs[2] == cost
    assert observation["on_hand"].sum() == after[0]
    assert observation["inventory_position"].sum() == sum(after)
    assert observation["on_order_quoted"].ravel().tolist() == [after[1]]


def test_newsvendor_step_as_on_paper() -> None:
    """With h = .18, p = .7: 50 on hand, 6 ordered that come at once, demand 60, 4 are owed."""
    problem = textbook.newsvendor(
        demand=textbook.Deterministic([0, 60]), holding_cost=0.18, penalty_cost=0.7, horizon=2
    )
    costs, observation = play(problem, [50, 6])
    assert costs == pytest.approx([9.0, 2.8], abs=1e-12)
    assert observation["backlog"].tolist() == [4.0]
    assert observation["inventory_position"].tolist() == [-4.0]


def test_dual_sourcing_step_as_published() -> None:
    """Regular lead 3, expedited lead 0: (8, 3, 1), orders 2 and 1, demand 4 cost 330."""
    network = Network(
        nodes=("store",),
        regions=("customers",),
        products=Products(("unit",)),
        suppliers=("regular", "expedited"),
        inbound=InboundLanes(
            head=[0, 0], supplier=[[0], [1]], lead_time=[[3], [0]], unit_cost=[[100.0], [105.0]]
        ),
        outbound=OutboundLanes(node=[0], region=[0]),
    )
    economics = Economics.textbook(unmet="backorder", holding_per_unit=5.0, shortage_per_unit=495.0)
    params = Params(network, economics)
    state = State(
        on_hand=column(8),
        yard=None,
        inbound=(column(3, 0), column(1, 0)),
        staged=None,
        transfers=(),
        backlog=column(0),
        parcels=None,
        parcel_volume=None,
        position=np.array([[12.0]]),
    )
    state, flows = step(params, state, Decisions(orders=column(2, 1)), happens(column(4)))
    assert cost_of(params, flows) == 330.0
    np.testing.assert_array_equal(state.on_hand, column(8))
    pipeline = [float(slot.sum()) for slot in state.inbound]
    assert pipeline == [1.0, 2.0]
    assert not state.backlog.any()


def test_spillover_step_as_on_paper() -> None:
    """Two centres help each other at 2 USD a unit: (4, 1), demand (2, 3) cost 4 and leave none."""
    network = Network(
        nodes=("A", "B"),
        regions=("a", "b"),
        products=Products(("unit",)),
        inbound=InboundLanes(head=[0, 1], lead_time=1),
        outbound=OutboundLanes(node=[0, 1, 1, 0], region=[0, 1, 0, 1], tariff=[0.0, 0.0, 2.0, 2.0]),
    )
    params = Params(network, Economics.textbook(holding_per_unit=1.0, shortage_per_unit=8.0))
    state = State(
        on_hand=column(4, 1),
        yard=None,
        inbound=(),
        staged=None,
        transfers=(),
        backlog=None,
        parcels=None,
        parcel_volume=None,
        position=np.array([[5.0]]),
    )
    state, flows = step(params, state, Decisions(orders=column(0, 0)), happens(column(2, 3)))
    assert cost_of(params, flows) == 4.0
    np.testing.assert_array_equal(state.on_hand, column(0, 0))
    assert not flows.lost.any()


def truck_lane(mix: tuple[float, ...], truck: float, undated: float = 0.0, **costs: Any) -> Params:
    """One lane with trucks, whose parcels come from the background."""
    network = Network(
        nodes=("terminal",),
        regions=("city",),
        products=Products(("unit",)),
        inbound=InboundLanes(head=[0]),
        outbound=OutboundLanes(node=[0], region=[0], truck_volume=truck),
        slack_mix=mix,
        undated_share=undated,
    )
    return Params(network, Economics.textbook(**costs))


def parcels_in(*bins: float) -> State:
    """Parcels of one ft3 by bin: late, slack 0 .. K, no deadline."""
    stood = np.array(bins, dtype=float)[None, None, :]
    nothing = column(0)
    return State(nothing, None, (), None, (), None, stood, stood, np.zeros((1, 1)))


def arrivals(parcels: float) -> Exogenous:
    """Parcels that come in during the period."""
    come = np.array([[float(parcels)]])
    return Exogenous(NOTHING_KNOWN, column(0), None, come, come, Promise())


def test_batch_dispatch_decides_after_arrivals() -> None:
    """C = 15, c = 20, h = 1: 14 wait, 4 come, a vehicle goes: 20 + 3, and 3 are left."""
    params = truck_lane((0.0,), 15.0, 1.0, cost_per_truck=20.0, waiting_per_parcel=1.0)
    idle, going = (Decisions(trucks=np.array([[n]])) for n in (0.0, 1.0))
    state, flows = step(params, parcels_in(0, 0, 14), idle, arrivals(4))
    assert cost_of(params, flows) == 14.0
    assert state.parcels.ravel().tolist() == [0, 0, 18]
    state, flows = step(params, state, going, arrivals(0))
    assert cost_of(params, flows) == 20.0 + 3.0
    assert state.parcels.ravel().tolist() == [0, 0, 3]


def test_deadline_dispatch_step_as_on_paper() -> None:
    """Slack 2, trucks of 6: one truck takes (1, 2, 2) for 12; without it, one unit is expedited."""
    params = truck_lane(
        (0.0, 0.0, 1.0),
        6.0,
        cost_per_truck=12.0,
        waiting_per_parcel=0.2,
        expedite_per_parcel=10.0,
        expedite_left_behind=True,
    )
    state = parcels_in(0, 1, 2, 2, 0)
    after, flows = step(params, state, Decisions(trucks=np.array([[1.0]])), arrivals(3))
    assert cost_of(params, flows) == 12.0
    assert after.parcels.ravel().tolist() == [0, 0, 0, 3, 0]
    after, flows = step(params, state, Decisions(trucks=np.array([[0.0]])), arrivals(3))
    assert cost_of(params, flows) == pytest.approx(10.0 + 0.2 * 4, abs=1e-12)
    assert after.parcels.ravel().tolist() == [0, 2, 2, 3, 0]
