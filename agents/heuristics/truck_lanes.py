"""What rules for filling trucks share: lanes, pools and hubs, and the plan as an action."""

import abc
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import Facts, Floats, Heuristic, Observation, Starts
from stockyard.envs.network.lanes import lane_plan
from stockyard.envs.network.state import TruckPlan
from stockyard.envs.network.truck_rules import Loads, break_even, loads_of
from stockyard.envs.tasks.truck_fields import MOST_TRUCKS


class TruckLanes:
    """The lanes of a world with trucks, as rules need them."""

    def __init__(self, facts: Facts, rule: str) -> None:
        """Reads the world.

        Raises:
            ValueError: if the environment asks for anything but the trucks of pools.
        """
        facts.require_slots(rule, "dispatch")
        world = facts.world
        freight = world.network.freight
        if freight is None or "volume" not in facts.field_shapes:
            raise ValueError(f"{rule}: needs an environment that fills trucks (TruckFill-v0)")
        self.world, self.freight = world, freight
        self.params = world.params("numpy", "float64")
        self.plan = lane_plan(self.params)
        self.size: Floats = world.network.truck_volume
        self.cost: Floats = np.asarray(self.params.a.truck_cost)
        self.even: Floats = np.asarray(break_even(self.params))  # (L,) truckloads
        self.num_lanes = len(self.size)
        self.num_out = self.plan.num_out
        # USD that a carrier asks per truckload of a lane, (L,); a linehaul's as a direct one's
        self.carrier: Floats = self.cost / np.maximum(self.even, 1e-9)

    def by_kind(self, direct: float, hub: float, move: float, line: float) -> Floats:
        """(L,) the number of each lane's kind."""
        values = np.full(self.num_lanes, direct)
        values[self.plan.direct.start + self.num_out : self.plan.direct.stop] = hub
        values[self.plan.transfers] = move
        values[self.plan.linehauls] = line
        return values

    def ways_within(self, slack: float) -> Floats:
        """(E_out,) 1 for lanes whose way through a hub costs at most so many waves of slack."""
        hubs = self.freight.hubs
        if hubs is None:
            return np.zeros(self.num_out)
        near = (np.asarray(hubs.via_line) >= 0) & (np.asarray(hubs.via_slack) <= slack)
        return near.astype(np.float64)

    @property
    def num_pools(self) -> int:
        """G."""
        return len(self.freight.pools)

    def loads(self, observation: Observation, via_hub: Floats | None = None) -> Loads:
        """What waits on each truck lane, (B, L) truckloads."""
        volume = np.asarray(observation["volume"], dtype=np.float64)
        staged = np.asarray(observation["staged_volume"], dtype=np.float64)
        return loads_of(self.params, volume, staged, via_hub)


class TruckRule(Heuristic):
    """A rule that plans trucks, hired ones, carriers and ways through hubs."""

    def __init__(self, facts: Facts, name: str) -> None:
        """Takes the environment's facts and the rule's name, for errors."""
        super().__init__(facts)
        self.lanes = TruckLanes(facts, name)

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """The plan in mode `quantity`: trucks, hired ones, ways through hubs, carriers."""
        plan, state = self.plan(observation, state, episode_start)
        lanes, batch = self.lanes, len(observation["volume"])
        shapes = {
            "trucks": (lanes.num_lanes, 0.0, MOST_TRUCKS),
            "spot": (lanes.num_lanes, 0.0, MOST_TRUCKS),
            "via_hub": (lanes.num_out, 0.0, 1.0),
            "expedite": (lanes.params.network.num_parcel_lanes, 0.0, 1.0),
        }
        parts = []
        for name, (size, low, high) in shapes.items():
            value = getattr(plan, name)
            value = 0.0 if value is None else np.asarray(value, dtype=np.float64)
            parts.append(np.clip(np.broadcast_to(value, (batch, size)), low, high))
        return np.concatenate(parts, axis=1), state

    @abc.abstractmethod
    def plan(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[TruckPlan, Any]:
        """The plan (B, ...), and the next state; the observation is in its shapes."""


__all__ = ["TruckLanes", "TruckRule"]
