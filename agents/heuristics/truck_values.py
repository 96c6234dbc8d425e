"""Rules that weigh a truck against what its load would cost otherwise."""

import abc
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
from stockyard.agents.heuristics.truck_fill import HUB_SLACK, ThresholdRule
from stockyard.agents.heuristics.truck_lanes import TruckLanes
from stockyard.envs.network.state import TruckPlan
from stockyard.envs.network.truck_rules import Loads
from stockyard.envs.tasks.truck_fields import MOST_TRUCKS

TIE = 1e-9
"""USD by which more trucks must be better than fewer."""


class CostRule(ThresholdRule):
    """Sends the number of trucks that costs least by a rule's own reckoning, lane by lane."""

    def __init__(self, facts: Facts, name: str, spot: bool = True, hub_slack: float = -1) -> None:
        """Takes the environment, the rule's name, whether it hires trucks, and the ways of hubs."""
        super().__init__(facts, name, 0.0, 0.0, 0.0, hub_slack)
        self._hires = spot

    @abc.abstractmethod
    def left_behind(self, due: Floats, later: Floats) -> Floats:
        """USD that it costs to leave truckloads (B, L) that are due now, and that are not."""

    def _least(self, loads: Loads, cost: Floats, only_due: bool = False) -> Floats:
        """The number of trucks with the least cost, (B, L)."""
        later = np.maximum(loads.waiting - loads.due, 0.0)
        best, number = None, np.zeros(loads.due.shape)
        for n in range(MOST_TRUCKS + 1):
            due_left = np.maximum(loads.due - n, 0.0)
            room = np.maximum(n - loads.due, 0.0)
            later_left = later if only_due else np.maximum(later - room, 0.0)
            total = n * cost + self.left_behind(due_left, later_left)
            if best is None:
                best = total
                continue
            better = total < best - TIE
            number, best = np.where(better, float(n), number), np.where(better, total, best)
        return number

    def plan(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[TruckPlan, Any]:
        """The plan: own trucks at their cost, hired ones for what is due at theirs."""
        ways = self._ways(observation)
        loads = self.lanes.loads(observation, ways)
        wanted = self._least(loads, self.own_cost())
        hired = np.zeros_like(wanted)
        if self._hires:
            hired = self._least(loads, np.asarray(self.lanes.freight.spot_cost), only_due=True)
        hired[:, self.lanes.plan.linehauls] = 0.0
        return (
            TruckPlan(trucks=np.maximum(wanted, hired), expedite=1.0, spot=hired, via_hub=ways),
            state,
        )

    def own_cost(self) -> Floats:
        """USD at which a truck of each lane is reckoned, (L,)."""
        return self.lanes.cost


class BreakEven(CostRule):
    """A truck leaves if carriers would ask more for what is due, and a share for what waits."""

    def __init__(self, facts: Facts, later_share: float, due_factor: float, hub_slack: int) -> None:
        """Takes the weights of what waits and of what is due."""
        super().__init__(facts, "break_even_expedite", hub_slack=hub_slack)
        self._later, self._due = later_share, due_factor

    def left_behind(self, due: Floats, later: Floats) -> Floats:
        """What carriers ask for what is due; a share of a truck's cost for what waits."""
        total: Floats = self._due * self.lanes.carrier * due + self._later * self.lanes.cost * later
        return total


def _break_even(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("later_share", 0.4, 1.6, least=0.0, most=20.0),
        Parameter("due_factor", 0.5, 3.5, least=0.0, most=100.0),
        HUB_SLACK,
    )


@tuned_by(_break_even)
def break_even_expedite(
    env: Any, later_share: float | None = None, due_factor: float = 1.0, hub_slack: int = -1
) -> BreakEven:
    """Weighs a truck against the carrier's price of what is due, and what it saves later.

    The break-even load between private truck and common carriage of shipment consolidation
    (Higginson & Bookbinder, Journal of Business Logistics 15, 1994), for every further truck.

    Args:
        env: a built environment that fills trucks.
        later_share: of a truck's cost, what a truckload that may still wait is taken to cost later.
        due_factor: multiple of the carriers' price for what is due, for they take only so much.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if later_share is None:
        TruckLanes(facts, "break_even_expedite")
        return break_even_expedite(env, **tuned("break_even_expedite", facts))
    return BreakEven(facts, later_share, due_factor, hub_slack)


class ValueOfWaiting(CostRule):
    """Trucks that minimise their cost and the approximate value of what is left behind."""

    def __init__(
        self,
        facts: Facts,
        power: float,
        level: float,
        due_factor: float,
        truck_price: float,
        hub_slack: int,
    ) -> None:
        """Takes the parameters of the value function; see `truck_value`."""
        super().__init__(facts, "truck_value", hub_slack=hub_slack)
        self._power, self._level, self._due = power, level, due_factor
        trip = np.asarray(self.lanes.freight.round_trip, dtype=np.float64)
        self._own = self.lanes.cost + truck_price * trip

    def own_cost(self) -> Floats:
        """The cost of a truck, and a price for every wave for which the pool lacks it."""
        return self._own

    def left_behind(self, due: Floats, later: Floats) -> Floats:
        """What carriers ask for what is due; whole trucks and a power of the rest for what waits.

        level * cost * (n + x^power) for n + x truckloads, n whole.
        """
        whole = np.floor(later)
        part = np.maximum(later - whole, 0.0) ** self._power
        value: Floats = self._level * self.lanes.cost * (whole + part)
        return self._due * self.lanes.carrier * due + value


def _value(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("power", 0.4, 2.8, least=0.05, most=20.0),
        Parameter("level", 0.5, 1.5, least=0.0, most=20.0),
        Parameter("due_factor", 0.5, 3.5, least=0.0, most=100.0),
        Parameter("truck_price", 0.0, 100.0, least=0.0, most=5000.0),
        HUB_SLACK,
    )


@tuned_by(_value)
def truck_value(
    env: Any,
    power: float | None = None,
    level: float = 1.0,
    due_factor: float = 1.0,
    truck_price: float = 0.0,
    hub_slack: int = -1,
) -> ValueOfWaiting:
    """Minimises the cost of trucks and an approximate value of what is left behind.

    A separable value function of the post-decision state with few parameters, which are searched on
    training tapes (Powell, Approximate Dynamic Programming, 2011, chapters 8 and 13).

    Args:
        env: a built environment that fills trucks.
        power: of the part of a truckload that is left: above 1, little is cheap to leave.
        level: multiple of a truck's cost that a truckload left is taken to cost.
        due_factor: multiple of the carriers' price for what is due.
        truck_price: USD for every wave for which a pool lacks a truck.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if power is None:
        TruckLanes(facts, "truck_value")
        return truck_value(env, **tuned("truck_value", facts))
    return ValueOfWaiting(facts, power, level, due_factor, truck_price, hub_slack)


class LoadPlan(ThresholdRule):
    """Fewest trucks for what is due soon, and among as few those nearest to a reference plan."""

    def __init__(
        self,
        facts: Facts,
        window: int,
        fill: float,
        patience: float,
        spot_patience: float,
        hub_slack: int,
    ) -> None:
        """Takes the window of waves, the fill of planned trucks, and a threshold rule's rest."""
        super().__init__(facts, "load_plan", 0.0, patience, spot_patience, hub_slack)
        self._window, self._fill = window, fill
        self._reference = self._planned()

    def _planned(self) -> Floats:
        """Trucks of the reference plan by wave of the week, (W, L): mean volume, fully loaded."""
        lanes, background = self.lanes, self.lanes.world.source.background
        assert background is not None
        waves = 7 * lanes.world.network.periods_per_day
        start = lanes.world.burn_in
        mean = background.mean_of(start + np.arange(waves))
        volume = np.zeros((waves, lanes.num_lanes))
        truck_lane = np.arange(lanes.num_lanes)[lanes.plan.truck_lane]
        for lane, column in zip(truck_lane, mean.T, strict=True):
            volume[:, lane] += column
        loads = np.cumsum(volume / lanes.size, axis=0)
        sent: Floats = np.diff(np.floor(loads), axis=0, prepend=0.0)
        return sent

    def wanted(
        self, loads: Loads, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Trucks of each lane, (B, L), and the next state."""
        lanes = self.lanes
        least, state = super().wanted(
            loads._replace(waiting=loads.due), observation, state, episode_start
        )
        soon = self._due_within(observation)
        fewest = np.ceil(soon - lanes.even - 1e-6)
        h = lanes.world.network.periods_per_day
        wave = np.argmax(observation["weekday"], axis=1) * h + np.argmax(observation["wave"], 1)
        planned = self._reference[wave]
        most = np.floor(loads.waiting + 1.0 - self._fill)  # trucks that are full enough
        early = np.minimum(np.minimum(np.maximum(planned, loads.waiting // 1.0), fewest), most)
        found: Floats = np.maximum(least, early)
        lines = lanes.plan.linehauls
        found[:, lines] = np.maximum(most[:, lines], 0.0) * self.via.any()
        return np.maximum(found, 0.0), state

    def _due_within(self, observation: Observation) -> Floats:
        """Truckloads that are due within the window, (B, L), linehauls none."""
        lanes = self.lanes
        volume = np.asarray(observation["volume"], dtype=np.float64)
        bins = volume[:, :, : 2 + self._window].sum(axis=2)
        staged = np.asarray(observation["staged_volume"], dtype=np.float64)
        joined: Floats = lanes.plan.on_trucks(bins, None, staged)
        return joined / np.maximum(lanes.size, 1.0)


def _plan(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("window", 1, 9, integer=True, least=0, most=30),
        Parameter("fill", 0.5, 1.0, least=0.01, most=1.0),
        Parameter("patience", 0.2, 2.2, least=0.0, most=1000.0),
        Parameter("spot_patience", 0.5, 2.5, least=0.0, most=1000.0),
        HUB_SLACK,
    )


@tuned_by(_plan)
def load_plan(
    env: Any,
    window: int | None = None,
    fill: float = 0.9,
    patience: float = 1.0,
    spot_patience: float = 2.0,
    hub_slack: int = -1,
) -> LoadPlan:
    """Fewest trucks for what falls due within a window, as near as they can be to a reference plan.

    Outbound load planning in two steps: the number of trailers first, then changes of the plan
    (Ojha et al., Outbound load planning in parcel delivery service networks, arXiv 2307.04050),
    lane by lane. The reference sends full trucks at mean volumes.

    Args:
        env: a built environment that fills trucks.
        window: waves within which trucks are counted.
        fill: that a truck must reach to leave before anything is due.
        patience: multiple of the truckload that a carrier would take for the price of a truck,
            above which a truck is sent for what is due.
        spot_patience: the same for hired trucks.
        hub_slack: waves of slack that the way through a hub may cost; -1: nothing goes there.
    """
    facts = Facts(env)
    if window is None:
        TruckLanes(facts, "load_plan")
        return load_plan(env, **tuned("load_plan", facts))
    return LoadPlan(facts, window, fill, patience, spot_patience, hub_slack)
