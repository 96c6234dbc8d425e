"""Rules that fill trucks by thresholds: what waits, what is due, and how long ago a truck left.

All give to carriers what is due and left, and hire trucks for what is due where that pays. Which
lanes' parcels may take a linehaul is one number: all whose way through the hub costs no more slack.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.truck_lanes import TruckLanes, TruckRule
from stockyard.envs.network.state import TruckPlan
from stockyard.envs.network.truck_rules import ROUNDING, Loads, trucks_for

HUB_SLACK = Parameter("hub_slack", -1, 3, integer=True, least=-1, most=12)
SPOT = Parameter("spot_patience", 0.5, 4.5, least=0.0, most=1000.0)
PATIENCE = (0.5, 4.5)
HOLD = (-0.6, 0.2)


class ThresholdRule(TruckRule):
    """Trucks for what is due beyond a patience, and for what waits beyond what is held back."""

    def __init__(
        self,
        facts: Facts,
        name: str,
        hold: Any,
        patience: Any,
        spot_patience: Any = 2.0,
        hub_slack: float = -1,
    ) -> None:
        """Takes the thresholds.

        Args:
            facts: the environment.
            name: of the rule, for errors.
            hold: scalar or (L,) truckloads that are held back.
            patience: scalar or (L,) multiples of the truckload that a carrier would take for the
                price of a truck.
            spot_patience: the same for hired trucks.
            hub_slack: waves of slack that the way through a hub may cost.
        """
        super().__init__(facts, name)
        lanes = self.lanes
        shape = (lanes.num_lanes,)
        self.hold: Floats = np.array(np.broadcast_to(hold, shape), dtype=np.float64)
        self.patience: Floats = np.asarray(patience) * lanes.even
        self.spot_patience: Floats = np.asarray(spot_patience) * lanes.even
        self.via: Floats = lanes.ways_within(hub_slack)
        lines = lanes.plan.linehauls
        self.patience = np.array(np.broadcast_to(self.patience, shape))
        # what is left by a linehaul can still go straight
        self.patience[lines] = self.spot_patience[lines] = np.inf

    def plan(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[TruckPlan, Any]:
        """The plan: `trucks_for` of the thresholds."""
        loads = self.lanes.loads(observation, self._ways(observation))
        wanted, state = self.wanted(loads, observation, state, episode_start)
        return self.carried_out(loads, wanted, observation), state

    def wanted(
        self, loads: Loads, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Trucks of each lane, (B, L), and the next state."""
        wanted: Floats = trucks_for(loads, self.hold, self.patience)
        return wanted, state

    def carried_out(self, loads: Loads, wanted: Floats, observation: Observation) -> TruckPlan:
        """A plan of these trucks, hired ones among them only for what is due."""
        hired = trucks_for(loads._replace(waiting=loads.due * 0.0), 0.0, self.spot_patience)
        return TruckPlan(trucks=wanted, expedite=1.0, spot=hired, via_hub=self._ways(observation))

    def _ways(self, observation: Observation) -> Floats:
        batch = len(observation["volume"])
        return np.broadcast_to(self.via, (batch, len(self.via)))


def all_now(env: Any) -> ThresholdRule:
    """Sends whatever waits with as many trucks as it takes: the zero of the scores.

    Args:
        env: a built environment that fills trucks.
    """
    return ThresholdRule(Facts(env), "all_now", hold=-1.0 + 2.0 * ROUNDING, patience=0.0)


@tuned_by(lambda facts: (HUB_SLACK,))
def full_only(env: Any, hub_slack: int | None = None) -> ThresholdRule:
    """Sends full trucks only; what is due before goes by carrier or is late.

    Args:
        env: a built environment that fills trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if hub_slack is None:
        TruckLanes(facts, "full_only")
        return full_only(env, **tuned("full_only", facts))
    never = 1e9
    return ThresholdRule(facts, "full_only", 0.0, never, never, hub_slack)


@tuned_by(lambda facts: (Parameter("patience", *PATIENCE, least=0.0, most=1000.0), SPOT, HUB_SLACK))
def due_and_top_up(
    env: Any,
    patience: float | None = None,
    spot_patience: float = 2.0,
    hub_slack: int = -1,
) -> ThresholdRule:
    """Sends trucks for what is due, filled up with what may wait, and full ones.

    Args:
        env: a built environment that fills trucks.
        patience: multiple of the truckload that a carrier would take for the price of a truck,
            above which a truck is sent for what is due.
        spot_patience: the same for hired trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if patience is None:
        TruckLanes(facts, "due_and_top_up")
        return due_and_top_up(env, **tuned("due_and_top_up", facts))
    return ThresholdRule(facts, "due_and_top_up", 0.0, patience, spot_patience, hub_slack)


def _kinds(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("direct_hold", *HOLD),
        Parameter("direct_patience", *PATIENCE, least=0.0, most=1000.0),
        Parameter("hub_hold", *HOLD),
        Parameter("hub_patience", *PATIENCE, least=0.0, most=1000.0),
        Parameter("line_hold", *HOLD),
        Parameter("move_hold", *HOLD),
        Parameter("move_patience", *PATIENCE, least=0.0, most=1000.0),
        SPOT,
        HUB_SLACK,
    )


@tuned_by(_kinds, is_separable=True)
def truck_hold(
    env: Any,
    direct_hold: float | None = None,
    direct_patience: float = 1.0,
    hub_hold: float = 0.0,
    hub_patience: float = 1.0,
    line_hold: float = 0.0,
    move_hold: float = 0.0,
    move_patience: float = 1.0,
    spot_patience: float = 2.0,
    hub_slack: int = -1,
) -> ThresholdRule:
    """Holds back so much on lanes of a kind; sends trucks for what is due beyond a patience.

    n = max(ceil(due - patience), floor(waiting - hold)) in truckloads: the quantity policy of
    shipment consolidation with deadlines.

    Args:
        env: a built environment that fills trucks.
        direct_hold: truckloads held back on lanes from centres to regions.
        direct_patience: multiple of the truckload that a carrier takes for the price of a truck.
        hub_hold: the same on lanes from hubs.
        hub_patience: likewise.
        line_hold: the same on linehauls, which nothing is ever due for.
        move_hold: the same on lanes from the cross-dock.
        move_patience: likewise.
        spot_patience: of all lanes, for hired trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if direct_hold is None:
        TruckLanes(facts, "truck_hold")
        return truck_hold(env, **tuned("truck_hold", facts))
    lanes = TruckLanes(facts, "truck_hold")
    hold = lanes.by_kind(direct_hold, hub_hold, move_hold, line_hold)
    patience = lanes.by_kind(direct_patience, hub_patience, move_patience, 0.0)
    return ThresholdRule(facts, "truck_hold", hold, patience, spot_patience, hub_slack)


def _by_lane(facts: Facts) -> tuple[Parameter, ...]:
    lanes = range(len(facts.world.network.truck_volume))
    holds = [Parameter(f"hold_{k}", *HOLD) for k in lanes]
    patience = [Parameter(f"patience_{k}", *PATIENCE, least=0.0, most=1000.0) for k in lanes]
    return (*holds, *patience, SPOT, HUB_SLACK)


def _lists(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    lanes = range(len(facts.world.network.truck_volume))
    return {
        "hold": [values[f"hold_{k}"] for k in lanes],
        "patience": [values[f"patience_{k}"] for k in lanes],
        "spot_patience": values["spot_patience"],
        "hub_slack": int(values["hub_slack"]),
    }


@tuned_by(_by_lane, _lists, is_separable=True)
def lane_hold(
    env: Any,
    hold: Any = None,
    patience: Any = 1.0,
    spot_patience: float = 2.0,
    hub_slack: int = -1,
) -> ThresholdRule:
    """Holds back so much on every lane, and has a patience of its own with what is due there.

    Two numbers for each lane; on independent lanes it comes close to the best that there is.

    Args:
        env: a built environment that fills trucks.
        hold: a number for all lanes or one for each, transfer lanes first, then outbound lanes, hub
            lanes and linehauls: truckloads held back.
        patience: likewise, multiples of the truckload that a carrier takes for a truck's price.
        spot_patience: of all lanes, for hired trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if hold is None:
        TruckLanes(facts, "lane_hold")
        return lane_hold(env, **tuned("lane_hold", facts))
    for field, values in (("hold", hold), ("patience", patience)):
        if np.size(values) not in (1, len(facts.world.network.truck_volume)):
            raise ValueError(f"lane_hold: {field} must be a number or one for each truck lane")
    return ThresholdRule(facts, "lane_hold", hold, patience, spot_patience, hub_slack)


class TimeAndQuantity(ThresholdRule):
    """Sends a truck when a quantity waits or an interval has passed, and for what is due."""

    def __init__(self, facts: Facts, quantity: float, interval: int, **given: Any) -> None:
        """Takes the quantity in truckloads, the interval in waves, and a threshold rule's rest."""
        super().__init__(facts, "time_and_quantity", 1.0 - quantity, **given)
        self._interval = interval
        # what is sent when the time has come must fill what pays for the truck
        self._least = self.lanes.even

    def wanted(
        self, loads: Loads, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Trucks of each lane, and the waves that have passed since each had some, (B, L)."""
        waited = np.zeros(loads.due.shape) if state is None else state
        if episode_start is not None:
            waited = np.where(np.asarray(episode_start)[:, None], 0.0, waited)
        wanted: Floats = trucks_for(loads, self.hold, self.patience)
        late = (waited + 1.0 >= self._interval) & (loads.waiting > self._least)
        wanted = np.where(late, np.maximum(wanted, 1.0), wanted)
        wanted[:, self.lanes.plan.linehauls] *= self.via.any()
        return wanted, np.where(wanted > 0.0, 0.0, waited + 1.0)


def _hybrid(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("quantity", 0.5, 1.0, least=0.01, most=4.0),
        Parameter("interval", 2, 14, integer=True, least=1, most=500),
        Parameter("patience", *PATIENCE, least=0.0, most=1000.0),
        SPOT,
        HUB_SLACK,
    )


@tuned_by(_hybrid)
def time_and_quantity(
    env: Any,
    quantity: float | None = None,
    interval: int = 4,
    patience: float = 1.0,
    spot_patience: float = 2.0,
    hub_slack: int = -1,
) -> TimeAndQuantity:
    """Sends trucks at a quantity or after an interval, whichever comes first, or for what is due.

    The hybrid policy of shipment consolidation (Higginson & Bookbinder, Journal of Business
    Logistics 15, 1994; Cetinkaya & Bookbinder, Transportation Research B 37, 2003), with deadlines.

    Args:
        env: a built environment that fills trucks.
        quantity: truckloads of what waits at which a truck leaves.
        interval: waves after the last truck of a lane at which one leaves, if it pays at all.
        patience: multiple of the truckload that a carrier would take for the price of a truck,
            above which a truck is sent for what is due.
        spot_patience: the same for hired trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if quantity is None:
        TruckLanes(facts, "time_and_quantity")
        return time_and_quantity(env, **tuned("time_and_quantity", facts))
    return TimeAndQuantity(
        facts,
        quantity,
        interval,
        patience=patience,
        spot_patience=spot_patience,
        hub_slack=hub_slack,
    )
