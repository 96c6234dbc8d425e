"""What a shared network sees when it fills trucks: a row for each threshold of each lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents.learners.features import MOST, Floats, Observation, Table, joined, recorded
from stockyard.envs.network.arrays import Array, at_most, namespace
from stockyard.envs.network.lanes import lane_plan
from stockyard.envs.network.truck_rules import break_even
from stockyard.envs.network.world import World
from stockyard.envs.tasks.truck_fields import FORECAST_WAVES, MOST_TRUCKS

GROUPS = ((0, 1), (2,), (3,), (4, 5), tuple(range(6, 60)))
"""Bins whose volume a row is told together: what is due, in a wave, in two, in three or four."""

AHEAD = ((0,), (1, 2, 3), tuple(range(4, FORECAST_WAVES)))
"""Waves ahead whose forecast volume a row is told together."""

ROLES = ("hold", "patience", "via", "spot")
"""What the entries of an action are, in their order."""


@dataclass(frozen=True, eq=False)
class TruckFacts:
    """What does not change of a world with trucks, as far as features need it."""

    rate: Floats  # (A,) truckloads a day of the lane of each entry of an action, mean
    static: Floats  # (A, 4 + 7) one-hot role, and what its lane is
    waiting: Floats  # (F, K+3, L, groups) ft3 in a bin -> truckloads that a truck lane can take
    forecast: Floats  # (F, 12, L, parts) the same of what is expected
    staged: Floats  # (E_tr, L)
    coming: Floats  # (E_hub, L); (0, L) without hubs
    of_pool: Floats  # (G, L) 1 for the lanes of a pool
    entry: Floats  # (A, L) weights of lanes in each entry of an action; they sum to 1
    fleet: Floats  # (G,) own trucks, usual

    @classmethod
    def of(cls, world: World) -> TruckFacts:
        """Reads a world with trucks.

        Raises:
            ValueError: if it has no trucks of pools.
        """
        network, freight = world.network, world.network.freight
        background = world.source.background
        if freight is None or background is None:
            raise ValueError("hindsight: needs trucks of pools (TruckFill-v0)")
        params = world.params("numpy", "float64")
        lanes, count = lane_plan(params), len(freight.pool)
        size = np.where(np.isfinite(network.truck_volume), network.truck_volume, np.inf)
        bins, parcel_lanes = len(network.slack_mix) + 2, network.num_parcel_lanes
        truck_lane = np.arange(count)[lanes.truck_lane]
        own = np.zeros((parcel_lanes, count))
        own[np.arange(parcel_lanes), truck_lane] = 1.0 / size[truck_lane]
        takes = np.repeat(own[:, None], bins, axis=1)  # (F, K+3, L)
        if freight.hubs is not None:
            for e in np.flatnonzero(np.asarray(freight.hubs.via_line) >= 0).tolist():
                line = lanes.linehauls.start + int(freight.hubs.via_line[e])
                takes[e, 1 + int(freight.hubs.via_slack[e]) :, line] = 1.0 / size[line]
        group = np.zeros((bins, len(GROUPS)))
        for k, members in enumerate(GROUPS):
            group[[b for b in members if b < bins], k] = 1.0
        part = np.zeros((FORECAST_WAVES, len(AHEAD)))
        for k, waves in enumerate(AHEAD):
            part[list(waves), k] = 1.0
        staged = np.zeros((len(network.transfers.tail), count))
        staged[np.arange(len(staged)), np.arange(len(staged))] = 1.0 / size[: len(staged)]
        coming = np.zeros((freight.num_hub_lanes, count))
        first = lanes.direct.start + lanes.num_out
        for k in range(len(coming)):
            coming[k, first + k] = 1.0 / size[first + k]
        of_pool = np.eye(len(freight.pools))[freight.pool].T
        outs = np.eye(count)[lanes.direct.start : lanes.direct.start + lanes.num_out]
        by_pool = of_pool / np.maximum(of_pool.sum(axis=1, keepdims=True), 1.0)
        each = np.eye(count)
        entry = np.concatenate((each, each, outs, by_pool))
        roles = np.repeat(np.arange(len(ROLES)), [count, count, len(outs), len(by_pool)])
        daily = background.mean.mean(axis=0) * network.periods_per_day
        rate = entry @ (daily @ own)
        what = _kinds(world, count)
        return cls(
            rate=rate,
            static=np.concatenate((np.eye(len(ROLES))[roles], entry @ what), axis=1),
            waiting=takes[:, :, :, None] * group[:, None],
            forecast=own[:, None, :, None] * part[:, None],
            staged=staged,
            coming=coming,
            of_pool=of_pool,
            entry=entry,
            fleet=np.atleast_2d(np.asarray(world.source.capacities.fleet)).mean(axis=0),
        )

    def to_dict(self) -> dict[str, Any]:
        """What run.json keeps."""
        return recorded(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TruckFacts:
        """Rebuilds facts from `to_dict`."""
        facts = {name: np.asarray(entry, np.float64) for name, entry in record.items()}
        facts["coming"] = facts["coming"].reshape(-1, facts["entry"].shape[1])
        return cls(**facts)


def _kinds(world: World, count: int) -> Floats:
    """(L, 7) one-hot kind of lane, relative cost, round trip in days, break-even truckloads."""
    params, freight = world.params("numpy", "float64"), world.network.freight
    assert freight is not None
    lanes, kind = lane_plan(params), np.zeros((count, 4))
    kind[lanes.transfers, 0] = 1.0
    kind[lanes.direct.start : lanes.direct.start + lanes.num_out, 1] = 1.0
    kind[lanes.direct.start + lanes.num_out : lanes.direct.stop, 2] = 1.0
    kind[lanes.linehauls, 3] = 1.0
    cost = np.asarray(params.a.truck_cost)
    more = (
        cost / max(float(cost.mean()), 1e-9),
        freight.round_trip / world.network.periods_per_day,
        5.0 * np.asarray(break_even(params)),
    )
    return np.concatenate((kind, np.stack(more, axis=1)), axis=1)


class TruckTable(Table):
    """One row per entry of a threshold action: `stockyard/TruckFill-v0`."""

    name = "truckfill"
    facts_type = TruckFacts

    def __init__(self, facts: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Builds the constants."""
        super().__init__(facts, shapes)
        groups, parts = facts.waiting.shape[3], facts.forecast.shape[3]
        lanes = facts.entry.shape[1]
        self._constants |= {
            "waiting": facts.waiting.reshape(-1, lanes * groups),
            "forecast": facts.forecast.reshape(-1, lanes * parts),
            "staged": facts.staged,
            "coming": facts.coming,
            "lane_pool": facts.of_pool.T,
            "entry": facts.entry,
            "fleet": np.maximum(facts.fleet, 1.0),
            "static": facts.static,
        }
        self.features = {
            "waiting": groups,
            "staged": 1,
            "coming": 1,
            "forecast": parts,
            "pool": 7,
            "static": facts.static.shape[1],
        }
        self.global_features = {"wave": shapes["wave"][0], "weekday": shapes["weekday"][0]}

    def __call__(self, observation: Observation) -> tuple[Array, Array]:
        """See `Table`; K = 1."""
        see = observation
        xp, volume = namespace(see["volume"]), see["volume"]
        batch, lanes = volume.shape[0], self.facts.entry.shape[1]

        def of_lanes(values: Array, name: str) -> Array:
            flat = values.reshape(batch, -1) @ self._like(name, values)
            return at_most(flat.reshape(batch, lanes, -1), MOST)

        coming = see.get("to_hub_volume")
        nothing = see["truck_volume"][:, :, None] * 0.0
        rows = joined(
            xp,
            of_lanes(volume, "waiting"),
            of_lanes(see["staged_volume"], "staged"),
            nothing if coming is None else of_lanes(coming.sum(2), "coming"),
            of_lanes(see["forecast"], "forecast"),
            self._pools(xp, see),
            see["trucks_at_hand"][:, :, None] / MOST_TRUCKS,
        )
        entries = self._like("entry", rows) @ rows  # (B, A, features)
        static = entries[:, :, :1] * 0.0 + self._like("static", rows)
        return (
            joined(xp, entries, static)[:, :, None],
            joined(xp, see["wave"], see["weekday"]),
        )

    def _pools(self, xp: Any, see: Observation) -> Array:
        """What the pool of a lane has, (B, L, 6), in shares of its usual fleet."""
        fleet = self._like("fleet", see["own_trucks"])
        hours = see.get("driver_hours")
        rested = see["own_trucks"] * 0.0 + 1.0
        if hours is not None:
            rested = at_most(hours / (6.0 * fleet), MOST)
        parts = [
            see["own_trucks"] / fleet,
            see["due_back"][:, :, 0] / fleet,
            see["due_back"][:, :, 1:4].sum(2) / fleet,
            see["overdue"] / fleet,
            at_most(see["spot_trucks"] / fleet, MOST),
            rested,
        ]
        stacked = xp.stack(parts, -1)
        return self._like("lane_pool", stacked) @ stacked

    def position(self, observation: Observation) -> Array:
        """Truckloads that wait for the lane of each entry, (B, A, 1); not used by this mode."""
        waiting = self(observation)[0][:, :, 0, : self.features["waiting"]]
        return waiting.sum(2)[:, :, None]

    def start(self, observation: Observation) -> Array:
        """The middle of the range, where the rule stands."""
        return observation["truck_volume"][:, :1, None] * 0.0 + 0.5
