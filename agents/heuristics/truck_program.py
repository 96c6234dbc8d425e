"""The mixed-integer program of trucks over a number of waves: whole trucks, parcels by due date.

Columns are trucks of every lane and wave, and volumes: what is loaded, rides to a hub, waits, goes
by carrier or is late, of each parcel lane, wave and due wave. The constraints of a world never
change but for their right sides: volumes that come in, trucks and hours that there are.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from stockyard.agents.heuristics.base import Floats
from stockyard.agents.heuristics.truck_lanes import TruckLanes
from stockyard.envs.tasks.truck_fields import MOST_TRUCKS

Ints = npt.NDArray[np.int64]


class Supply(NamedTuple):
    """The right sides of one program."""

    volume: Floats  # (F, W, W+1) ft3 that come in, by wave and due wave; the last: due later
    own: Floats  # (W, G) trucks that the pool has if none is sent
    spot: Floats  # (W, G) trucks for hire
    carriers: Floats  # (W, G) parcels that carriers take
    hours: Floats  # (D, G) drivers' hours of each day; empty where they are not limited
    wave: int  # of the day, of the first


class Sending(NamedTuple):
    """What a solution does in its first wave."""

    own: Floats  # (L,) trucks
    spot: Floats  # (L,) hired trucks
    rides: Floats  # (E_out,) ft3 on linehauls


class TruckProgram:
    """The program of one world."""

    def __init__(
        self,
        lanes: TruckLanes,
        waves: int,
        whole_waves: int,
        fill: float,
        later_fill: float,
        later_is_cheaper: float,
        delay: int = 0,
    ) -> None:
        """Builds columns and constraints.

        Args:
            lanes: the world's lanes.
            waves: W, planned.
            whole_waves: first waves whose trucks are whole.
            fill: of the trucks at whose price what is left at the end is charged.
            later_fill: of the trucks of later waves, which are not whole.
            later_is_cheaper: share of a truck's cost that a wave's delay saves, so that a plan that
                is indifferent waits.
            delay: waves by which trucks are expected to return late.
        """
        self.lanes, self.waves, self._whole_waves = lanes, waves, whole_waves
        self._trip = lanes.freight.round_trip + delay
        self._costs: list[Floats] = []
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._num_columns = self._num_rows = 0
        num, later = lanes.num_lanes, np.arange(waves)[:, None] >= whole_waves
        discount = (1.0 - later_is_cheaper * np.arange(waves)[:, None]) / np.where(
            later, later_fill, 1.0
        )
        self.own = self._columns(lanes.cost * discount)
        self.spot = self._columns(lanes.freight.spot_cost * discount)
        self._truck_columns = self._num_columns
        self.load_rows = self._rows((waves, num))
        for block in (self.own, self.spot):
            self._put(self.load_rows, block, -lanes.size * np.ones((waves, 1)))
        self.end_value = lanes.cost / (lanes.size * fill)  # (L,) USD per ft3
        self._volumes()
        self._ride()
        self.num_shared = self._num_rows
        self._pools()

    def _columns(self, cost: Any) -> Ints:
        cost = np.asarray(cost, dtype=np.float64)
        index = self._num_columns + np.arange(cost.size).reshape(cost.shape)
        self._costs.append(cost.ravel())
        self._num_columns += cost.size
        return index

    def _rows(self, shape: tuple[int, ...]) -> Ints:
        size = int(np.prod(shape))
        index = self._num_rows + np.arange(size).reshape(shape)
        self._num_rows += size
        return index

    def _put(self, rows: Any, columns: Any, values: Any) -> None:
        parts = np.broadcast_arrays(rows, columns, np.asarray(values, dtype=np.float64))
        row, column, value = (part.ravel() for part in parts)
        self._entries.append((row, column, value))

    def _volumes(self) -> None:
        """Balances of parcel lanes: load + wait + carrier + late = comes in + waited."""
        lanes, w = self.lanes, self.waves
        network, economics = lanes.world.network, lanes.world.economics
        count = network.num_parcel_lanes
        background = lanes.world.source.background
        assert background is not None
        self.parcel = background.parcel_volume
        t, d = np.arange(w)[:, None], np.arange(w + 1)
        self.there = d >= t  # (W, W+1) due waves of each wave
        self.balance = self._rows((count, w, w + 1))
        truck_lane = np.arange(lanes.num_lanes)[lanes.plan.truck_lane]
        self.load = self._columns(np.zeros((count, w, w + 1)))
        self._put(self.balance, self.load, self.there)
        self._put(self.load_rows[:, truck_lane].T[:, :, None], self.load, self.there)
        charge = np.where(t == w - 1, self.end_value[truck_lane][:, None, None], 0.0)
        self.wait = self._columns(charge * np.ones((count, w, w + 1)))
        waits = d > t
        self._put(self.balance, self.wait, waits)
        self._put(self.balance[:, 1:], self.wait[:, :-1], -1.0 * waits[:-1])
        weight = lanes.freight.fee_weight / self.parcel
        self.by_carrier = self._columns(
            np.broadcast_to((economics.expedite_per_parcel * weight)[:, None], (count, w))
        )
        fee = economics.late_per_parcel + economics.late_per_parcel_day / 4.0
        late = self._columns(np.broadcast_to((fee * weight)[:, None], (count, w)))
        now = np.arange(w)
        for gone in (self.by_carrier, late):
            self._put(self.balance[:, now, now], gone, 1.0)

    def _ride(self) -> None:
        """Rides to hubs: they leave a lane's balance and enter that of the hub's."""
        lanes, w = self.lanes, self.waves
        hubs, outs = lanes.freight.hubs, lanes.num_out
        self.rides = self._columns(np.zeros((outs, w, w + 1)))
        if hubs is None:
            return
        first_line = lanes.plan.linehauls.start
        charge = np.zeros((outs, w, w + 1))
        for e in np.flatnonzero(hubs.via_line >= 0).tolist():
            line, hub = int(hubs.via_line[e]), outs + int(hubs.via_lane[e])
            slack, transit = int(hubs.via_slack[e]), int(hubs.line_transit[line])
            t, d = np.nonzero(self.there & (np.arange(w + 1) - np.arange(w)[:, None] >= slack))
            column = self.rides[e, t, d]
            self._put(self.balance[e, t, d], column, 1.0)
            self._put(self.load_rows[t, first_line + line], column, 1.0)
            arrives = t + transit < w
            due = np.where(d == w, w, np.minimum(d + transit - slack, w))
            self._put(
                self.balance[hub, (t + transit)[arrives], due[arrives]], column[arrives], -1.0
            )
            value = self.end_value[lanes.plan.direct.start + hub]
            charge[e, t, d] = np.where(arrives, 0.0, value)
        self._costs[-1] = charge.ravel()

    def _pools(self) -> None:
        """Trucks within the pool while they are away, hired ones and carriers within theirs."""
        lanes, w = self.lanes, self.waves
        pools, pool = lanes.num_pools, lanes.freight.pool
        self.own_rows, self.spot_rows = self._rows((w, pools)), self._rows((w, pools))
        self.carrier_rows = self._rows((w, pools))
        for sent in range(w):
            for t in range(sent, w):
                away = self._trip > t - sent
                self._put(self.own_rows[t, pool[away]], self.own[sent, away], 1.0)
        self._put(self.spot_rows[:, pool], self.spot, 1.0)
        of_bins = pool[np.arange(lanes.num_lanes)[lanes.plan.truck_lane]]
        self._put(self.carrier_rows[:, of_bins].T, self.by_carrier, 1.0 / self.parcel[:, None])

    @functools.cached_property
    def cost(self) -> Floats:
        """USD of the columns."""
        return np.concatenate(self._costs)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a handful of waves of the day
    def matrix(self, wave: int) -> Any:
        """The constraints, those of drivers' hours last, which depend on the wave of the day."""
        lanes, h = self.lanes, self.lanes.world.network.periods_per_day
        rows, columns, values = (
            np.concatenate([entry[k] for entry in self._entries]) for k in range(3)
        )
        size = self._num_rows
        if lanes.freight.limits_hours:
            day = (wave + np.arange(self.waves)) // h
            hours = size + day[:, None] * lanes.num_pools + lanes.freight.pool
            rows = np.concatenate((rows, hours.ravel()))
            columns = np.concatenate((columns, self.own.ravel()))
            duty = np.broadcast_to(lanes.freight.duty_hours, self.own.shape)
            values = np.concatenate((values, duty.ravel()))
            size += (int(day[-1]) + 1) * lanes.num_pools
        return sparse.csr_array((values, (rows, columns)), shape=(size, self._num_columns))

    def solve(self, supply: Supply, gap: float, time_limit: float) -> Sending | None:
        """The first wave of the best plan found; None if none was found in time."""
        matrix = self.matrix(supply.wave)
        low = np.full(matrix.shape[0], -np.inf)
        high = np.zeros(matrix.shape[0])
        low[self.balance] = high[self.balance] = supply.volume * self.there
        high[self.own_rows], high[self.spot_rows] = supply.own, supply.spot
        high[self.carrier_rows] = supply.carriers
        high[self._num_rows :] = supply.hours.ravel()
        upper = np.full(self._num_columns, np.inf)
        upper[: self._truck_columns] = MOST_TRUCKS
        whole = np.zeros(self._num_columns)
        for block in (self.own, self.spot):
            whole[block[: self._whole_waves]] = 1
        found = optimize.milp(
            self.cost,
            integrality=whole,
            bounds=optimize.Bounds(0.0, upper),
            constraints=optimize.LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": gap, "time_limit": time_limit},
        )
        if found.x is None:
            return None
        return Sending(
            own=np.rint(found.x[self.own[0]]),
            spot=np.rint(found.x[self.spot[0]]),
            rides=found.x[self.rides[:, 0]].sum(axis=1),
        )
