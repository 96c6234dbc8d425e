"""The program of a tape where trucks are filled: whole trucks over all waves, volume known.

It is a relaxation of the simulator's step: whatever a policy does is a feasible point that costs at
most what the policy paid. What is relaxed:

- Loading: parcels of a bin are any volume; any may be left behind, and trucks load none in vain.
- Linehauls may take what direct trucks would have taken, carriers and lateness any part of what is
  due.
- Trucks: own ones that run or are away are at most the most that were in service since the longest
  trip began; drivers may rest as they like.
- What the network itself sells and moves is left out, with the cost of moving it and of sales lost
  for want of it. Lost sales that no policy can help, of customers whom even the fastest promise is
  too slow, are counted.
- Item loading, which can only lower what a truck takes.

Without whole trucks it is a linear program, whose bound does not trust the solver; with them the
dual bound of the branch and bound is taken where it is lower.
"""

from typing import Any

import numpy as np

from stockyard.agents.oracles.perfect_information.linear_program import (
    Builder,
    Floats,
    Ints,
    LinearProgram,
)
from stockyard.envs.network.accounting import freight_due
from stockyard.envs.network.arrays import UNLIMITED, to_numpy
from stockyard.envs.network.lanes import lane_plan

LATE, SLACK_0 = 0, 1
"""Bins: late, slack 0 to K, no deadline."""


def fills_trucks(env: Any) -> bool:
    """Whether the agent of an environment decides trucks of pools and nothing else."""
    slots = tuple(env.task.slots)
    return slots == ("dispatch",) and env.world.network.freight is not None


def truck_program_of(env: Any, row: int) -> LinearProgram:
    """The program of one replica of an unwrapped environment that was just reset."""
    return _Model(env, row).build()


class _Model:
    """Columns and rows of one program; periods count from the start of the episode."""

    def __init__(self, env: Any, row: int) -> None:
        self.env, self.row = env, row
        self.world, self.params, self.builder = env.world, env.params, Builder()
        self.network, self.economics = self.world.network, self.world.economics
        self.freight, self.lanes = self.network.freight, lane_plan(env.params)
        self.periods: int = env.horizon
        self.last_slack = len(self.network.slack_mix) - 1
        self.truck_lane: Ints = np.arange(len(self.freight.pool))[self.lanes.truck_lane]
        self.parcel_ft3: Floats = np.asarray(self.world.source.background.parcel_volume)
        self.rate: Floats = np.asarray(self.freight.value_per_ft3)
        self.fee: Floats = np.asarray(self.freight.fee_weight) / self.parcel_ft3  # per USD and ft3
        start = self.world.burn_in
        volume = to_numpy(env.tape.freight.volume)[start : start + self.periods, row]
        mix = np.asarray(self.freight.slack_mix)[:, : self.last_slack + 1]
        # (T, F, K+1) ft3 that can be loaded from the period after
        self.joins: Floats = np.asarray(volume, dtype=np.float64)[:, :, None] * mix
        state = env.state
        bins, parcels = (self._of_row(part) for part in (state.parcel_volume, state.parcels))
        # volume that is both there and pays the fees of so many parcels
        self.opening: Floats = np.minimum(bins, parcels * self.parcel_ft3[:, None])
        self.most = float(self.opening.sum() + self.joins.sum()) + 1.0

    def _of_row(self, values: Any) -> Floats:
        array = np.asarray(to_numpy(values), dtype=np.float64)
        return np.asarray(array[self.row if len(array) > 1 else 0])

    def _limit(self, field: str) -> Floats | None:
        """(T, G) limits of the tape; None: none."""
        start = self.world.burn_in
        if field not in self.env.tape.limits:
            return None
        rows = [self._of_row(self.env.tape.limit(field, start + t)) for t in range(self.periods)]
        values = np.stack(rows)
        return np.where(values >= UNLIMITED, np.inf, values)

    def build(self) -> LinearProgram:
        """Adds all parts."""
        b, t, lanes = self.builder, self.periods, len(self.freight.pool)
        everywhere = np.ones((t, lanes), dtype=bool)
        size = np.asarray(self.params.a.truck_volume)
        trucks = np.ceil(self.most / np.maximum(size, 1.0)) * np.asarray(self.params.a.has_trucks)
        self.own = b.columns(everywhere, trucks, upper=trucks)
        self.spot = b.columns(everywhere, trucks, upper=trucks)
        cost = np.asarray(self.params.a.truck_cost)
        b.pay(self.own, -cost)
        b.pay(self.spot, -np.asarray(self.freight.spot_cost))
        # what is loaded fits; where a lane needs no trucks anything does
        needs = np.asarray(self.params.a.has_trucks) > 0.0
        self.load_rows = b.rows(everywhere & needs, 0.0)
        b.add(self.load_rows, self.own, -size)
        b.add(self.load_rows, self.spot, -size)
        self._bins()
        self._rides()
        self._late()
        self._pools()
        b.constant += self._constant()
        whole = np.zeros(b.num_columns, dtype=bool)
        whole[self.own[self.own >= 0]] = whole[self.spot[self.spot >= 0]] = True
        return b.build({"own": self.own, "spot": self.spot}, whole)

    def _bins(self) -> None:
        """Balances of volume by period, parcel lane and slack; what was late is apart."""
        b, t, k = self.builder, self.periods, self.last_slack + 1
        shape = (t, len(self.rate), k)
        there = np.ones(shape, dtype=bool)
        right = np.zeros(shape)
        right[0] = self.opening[:, SLACK_0 : SLACK_0 + k]
        right[1:] = self.joins[:-1]
        # load + wait + carrier + late + ride - waited - arrived = joined
        self.balance = b.rows(there, right, equal=True)
        self.load = b.columns(there, self.most)
        self.wait = b.columns(there & (np.arange(k) > 0), self.most)
        b.add(self.balance, self.load, 1.0)
        b.add(self.balance, self.wait, 1.0)
        b.add(self.balance[1:, :, :-1], self.wait[:-1, :, 1:], -1.0)
        b.add(self.load_rows[:, self.truck_lane][:, :, None], self.load, 1.0)
        b.pay(self.wait[-1], -self.rate[:, None])  # what waits at the end
        # what joins in the last period waits as well
        b.constant -= float((self.joins[-1] * self.rate[:, None]).sum())
        due = there[:, :, 0]
        self.carrier, self.late = (b.columns(due, self.most) for _ in range(2))
        for part in (self.carrier, self.late):
            b.add(self.balance[:, :, 0], part, 1.0)
        b.pay(self.carrier, -self.economics.expedite_per_parcel * self.fee)

    def _rides(self) -> None:
        """Linehauls: volume leaves a lane's balance and enters that of a hub lane."""
        b, hubs, t, k = self.builder, self.freight.hubs, self.periods, self.last_slack + 1
        under_way = self.env.state.freight
        for ahead, bins in enumerate(zip(under_way.to_hub_volume, under_way.to_hub, strict=True)):
            self._arrive(ahead + 1, *(self._of_row(part) for part in bins))
        if hubs is None:
            return
        for e in np.flatnonzero(np.asarray(hubs.via_line) >= 0).tolist():
            line, hub = int(hubs.via_line[e]), self.lanes.num_out + int(hubs.via_lane[e])
            slack, transit = int(hubs.via_slack[e]), int(hubs.line_transit[line])
            able = np.broadcast_to(np.arange(k) >= slack, (t, k))
            ride = b.columns(able, self.most)
            b.add(self.balance[:, e], ride, 1.0)
            b.add(self.load_rows[:, [self.lanes.linehauls.start + line]], ride, 1.0)
            kept = max(k - slack, 0)
            b.add(self.balance[transit:, hub, :kept], ride[: t - transit, slack:], -1.0)
            b.pay(ride[max(t - transit, 0) :], -self.rate[hub])

    def _arrive(self, period: int, volume: Floats, parcels: Floats) -> None:
        """What was on linehauls at first, (E_hub, K+3), joins the balance of its period."""
        first, k = self.lanes.num_out, self.last_slack + 1
        ft3 = self.parcel_ft3[first : first + len(volume), None]
        joins = np.minimum(volume, parcels * ft3)[:, SLACK_0 : SLACK_0 + k]
        hubs = slice(first, first + len(volume))
        if period < self.periods:
            self.builder.raise_right(self.balance[period, hubs], joins)
        else:
            self.builder.constant -= float((joins * self.rate[hubs, None]).sum())

    def _late(self) -> None:
        """Late volume: a fee once, one for every day, and a truck in the end."""
        b, t = self.builder, self.periods
        there = np.ones((t, len(self.rate)), dtype=bool)
        right = np.zeros(there.shape)
        right[0] = self.opening[:, LATE]
        balance = b.rows(there, right, equal=True)
        load, wait = (b.columns(there, self.most) for _ in range(2))
        b.add(balance, load, 1.0)
        b.add(balance, wait, 1.0)
        b.add(balance[1:], wait[:-1], -1.0)
        b.add(balance[1:], self.late[:-1], -1.0)
        b.add(self.load_rows[:, self.truck_lane], load, 1.0)
        economics = self.economics
        daily = economics.late_per_parcel_day * self.params.days_per_period
        b.pay(self.late, -(economics.late_per_parcel + daily) * self.fee)
        b.pay(wait, -daily * self.fee)
        at_end = self.rate + economics.expedite_per_parcel * self.fee
        b.pay(wait[-1], -at_end)
        b.pay(self.late[-1], -at_end)

    def _pools(self) -> None:
        """Own trucks within the pool while they are away, drivers, hired trucks, carriers."""
        b, t, pool = self.builder, self.periods, np.asarray(self.freight.pool)
        pools = len(self.freight.pools)
        there = np.ones((t, pools), dtype=bool)
        fleet, away, trip = self._limit("fleet_size"), self._away(), self._trips()
        if fleet is not None:
            now = b.rows(there, fleet)
            b.add(now[:, pool], self.own, 1.0)
            window = int(trip.max())
            before = np.concatenate((np.repeat(fleet[:1], window, axis=0), fleet))
            most = np.stack([before[s : s + window + 1].max(axis=0) for s in range(t)])
            busy = b.rows(there, np.maximum(most, away) - away)
            for wait in range(window):
                still = trip > wait  # (T, L) trucks sent so many periods ago that are away
                columns = np.where(still, self.own, -1)[: t - wait]
                b.add(busy[wait:, pool], columns, 1.0)
        spot = self._limit("spot_limit")
        if spot is not None:
            b.add(b.rows(there, spot)[:, pool], self.spot, 1.0)
        carriers = self._limit("carrier_limit")
        if carriers is not None and not self.economics.expedite_left_behind:
            of_bins = pool[self.truck_lane]
            b.add(b.rows(there, carriers)[:, of_bins], self.carrier, 1.0 / self.parcel_ft3)
        if self.freight.limits_hours:
            self._hours(pool)

    def _hours(self, pool: Ints) -> None:
        """Drivers' hours: those there were and are given, at most what can be saved up."""
        b, t = self.builder, self.periods
        state, given = self._of_row(self.env.state.freight.hours), self._limit("driver_hours")
        assert given is not None
        most = np.minimum(np.asarray(self.freight.most_hours), UNLIMITED)
        there = np.ones((t, len(most)), dtype=bool)
        kept = b.columns(there, most, upper=most)
        right = given + 0.0
        right[0] += state
        rows = b.rows(there, right)  # used + kept - kept before <= given
        b.add(rows, kept, 1.0)
        b.add(rows[1:], kept[:-1], -1.0)
        duty = np.asarray(self.freight.duty_hours)
        b.add(rows[:, pool], self.own, duty)
        within = b.rows(there, most)
        b.add(within[:, pool], self.own, duty)

    def _away(self) -> Floats:
        """(T, G) own trucks sent before the episode that are away."""
        slots = self._of_row(self.env.state.freight.away)  # (S, G) by periods until they return
        away = np.zeros((self.periods, slots.shape[1]))
        for k in range(min(len(slots), self.periods)):
            away[: k + 1] += slots[k]
        if len(slots) > self.periods:
            away += slots[self.periods :].sum(axis=0)
        return away

    def _trips(self) -> Ints:
        """(T, L) periods until a truck that is sent can be sent again."""
        trip = np.broadcast_to(self.freight.round_trip, (self.periods, len(self.freight.pool)))
        delay = self.env.tape.freight.return_delay
        if delay is not None:
            start = self.world.burn_in
            late = np.asarray(to_numpy(delay))[start : start + self.periods, self.row]
            trip = trip + late
        slots = self.env.state.freight.away.shape[1]
        trips: Ints = np.minimum(np.rint(trip).astype(np.int64), slots)
        return trips

    def _constant(self) -> float:
        """What was set aside for moving what waits, and the sales that nobody can save."""
        due = float(to_numpy(freight_due(self.params, self.env.state))[self.row])
        start, economics = self.world.burn_in, self.economics
        if not economics.goodwill_per_lost_unit or self.network.substitution:
            return due
        demand = to_numpy(self.env.tape.demand)[start : start + self.periods, self.row]
        lost = 0.0
        for k, units in enumerate(demand):
            fastest = self.network.ranks(self.env.tape.at(start + k).promise)[0]
            lost += float((units.sum(axis=1) * (1.0 - fastest.kept)).sum())
        return due - lost * float(economics.goodwill_per_lost_unit)
