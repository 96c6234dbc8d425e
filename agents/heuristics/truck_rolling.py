"""Trucks by a mixed-integer program on the forecast, solved anew in every wave."""

from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Starts,
)
from stockyard.agents.heuristics.truck_lanes import TruckLanes, TruckRule
from stockyard.agents.heuristics.truck_program import Sending, Supply, TruckProgram
from stockyard.envs.network.state import TruckPlan
from stockyard.envs.tasks.truck_fields import DUE_BACK_WAVES, FORECAST_WAVES

SLACK_0 = 1
"""First bin of what is not late yet."""

GAP = 5e-3
"""Relative gap at which a program may stop."""

SECONDS = 2.0
"""Longest time for one program; where no plan is found in it, what is due goes."""


class RollingTrucks(TruckRule):
    """Solves the program of the next waves for each replica, and does what it does first."""

    def __init__(
        self,
        facts: Facts,
        waves: int,
        whole_waves: int,
        hedge: float,
        later_fill: float,
        fill: float,
        later_is_cheaper: float,
    ) -> None:
        """Takes the program's settings; see `truck_milp`."""
        super().__init__(facts, "truck_milp")
        self._waves, self._hedge = waves, hedge
        self._program = TruckProgram(
            self.lanes, waves, whole_waves, fill, later_fill, later_is_cheaper
        )
        self._mix = np.asarray(self.lanes.freight.slack_mix)[:, :-1]
        self._most_hours = np.asarray(self.lanes.freight.most_hours)

    def plan(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[TruckPlan, Any]:
        """The plan: one program a replica."""
        fields = {name: np.asarray(v, dtype=np.float64) for name, v in observation.items()}
        sent = [
            self._sent({name: values[row] for name, values in fields.items()})
            for row in range(len(fields["volume"]))
        ]
        own, spot, rides = (np.stack([getattr(one, k) for one in sent]) for k in Sending._fields)
        return (
            TruckPlan(
                trucks=own + spot, expedite=1.0, spot=own + spot, via_hub=(rides > 1e-3) * 1.0
            ),
            state,
        )

    def _sent(self, seen: dict[str, Floats]) -> Sending:
        found = self._program.solve(self._supply(seen), GAP, SECONDS)
        if found is not None:
            return found
        lanes = self.lanes
        due = lanes.loads({name: values[None] for name, values in seen.items()}).due[0]
        none = np.zeros(lanes.num_lanes)
        return Sending(np.ceil(due - lanes.even), none, np.zeros(lanes.num_out))

    def _supply(self, seen: dict[str, Floats]) -> Supply:
        w, freight = self._waves, self.lanes.freight
        wave = int(np.argmax(seen["wave"]))
        steps = np.arange(w)
        back = np.concatenate((np.zeros((len(freight.pools), 1)), seen["due_back"]), axis=1)
        back[:, 1] += seen["overdue"]
        home = np.cumsum(back, axis=1)[:, np.minimum(steps, DUE_BACK_WAVES)].T
        h = self.lanes.world.network.periods_per_day
        day = np.minimum((wave + steps) // h, seen["fleet_size"].shape[1] - 1)
        changes = (seen["fleet_size"][:, day] - seen["fleet_size"][:, :1]).T
        hours = np.zeros((0, len(freight.pools)))
        if freight.limits_hours:
            days = int((wave + w - 1) // h) + 1
            hours = np.repeat(self._most_hours[None], days, axis=0)
            hours[0] = seen["driver_hours"]
        return Supply(
            volume=self._volume(seen),
            own=np.maximum(seen["own_trucks"] + home + changes, 0.0),
            spot=np.repeat(seen["spot_trucks"][None], w, axis=0),
            carriers=np.repeat(seen["carrier_parcels"][None], w, axis=0),
            hours=hours,
            wave=wave,
        )

    def _volume(self, seen: dict[str, Floats]) -> Floats:
        """What is there and what is expected, by wave and due wave, (F, W, W+1)."""
        w, bins = self._waves, seen["volume"]
        volume = np.zeros((len(bins), w, w + 1))
        now = bins[:, SLACK_0:].copy()
        now[:, 0] += bins[:, 0]  # late: at once
        self._put(volume, 0, now)
        if "to_hub_volume" in seen:
            first = self.lanes.num_out
            coming = np.zeros_like(now)
            coming[first : first + len(seen["to_hub_volume"])] = seen["to_hub_volume"][:, SLACK_0:]
            self._put(volume, 1, coming)
        for t in range(1, w):
            expected = self._hedge * seen["forecast"][:, min(t - 1, FORECAST_WAVES - 1), None]
            self._put(volume, t, expected * self._mix)
        return volume

    def _put(self, volume: Floats, wave: int, by_slack: Floats) -> None:
        """Adds what comes in a wave, (F, K+1) and maybe what has no deadline, by due wave."""
        for slack in range(by_slack.shape[1]):
            volume[:, wave, min(wave + slack, self._waves)] += by_slack[:, slack]


def truck_milp(
    env: Any,
    later_fill: float = 0.95,
    fill: float = 0.95,
    hedge: float = 1.0,
    waves: int = 5,
    whole_waves: int = 2,
    later_is_cheaper: float = 0.01,
) -> RollingTrucks:
    """The first wave of a mixed-integer program on the forecast, solved anew in every wave.

    The deterministic rolling-horizon program of dispatch: whole trucks in the first waves, trucks
    in fractions later. Between equally cheap plans it waits: forecasts become better. The defaults
    are the best of nine settings on six training tapes of `steady`, which takes half an hour.

    Args:
        env: a built environment that fills trucks.
        later_fill: fill at which trucks of later waves, which are not whole, are expected to run.
        fill: of the trucks at whose price what is left at the end of the plan is charged.
        hedge: multiple of the forecast that is planned for.
        waves: planned.
        whole_waves: first waves whose trucks are whole.
        later_is_cheaper: share of a truck's cost that a wave's delay is taken to save.
    """
    facts = Facts(env)
    TruckLanes(facts, "truck_milp")
    return RollingTrucks(facts, waves, whole_waves, hedge, later_fill, fill, later_is_cheaper)
