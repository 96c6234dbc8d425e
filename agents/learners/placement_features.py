"""What a shared network sees when it places stock: a row for each product at each centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents.learners.features import (
    KINDS,
    MOST,
    Facts,
    Floats,
    Observation,
    RetailTable,
    joined,
    share_of,
)
from stockyard.envs.network.arrays import Array, at_least, at_most, namespace
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.world import World
from stockyard.envs.tasks.centres import Centres
from stockyard.envs.tasks.placement import MAX_COVER_DAYS


@dataclass(frozen=True, eq=False)
class PlacementFacts(Facts):
    """What placing needs to know beside: who serves whom, and from which dock."""

    nodes: Floats  # (F,) node of each centre
    serves: Floats  # (F, R) share of a region's demand that the centre's cover is counted in
    home: Floats  # (P, N) 1 at the product's dock
    by_region: Floats  # (P, R) mean demand, units per day
    centre: Floats  # (P, F, S) features of products at centres that no period changes

    @classmethod
    def of(cls, world: World, **more: Any) -> PlacementFacts:
        """Reads a world."""
        network, centres = world.network, Centres(world.network)
        rate = np.asarray(world.source.demand.mean_rate(network), dtype=np.float64)
        rate = rate.T * network.periods_per_day
        home = np.zeros((network.num_products, network.num_nodes))
        known = centres.dock_of >= 0
        home[np.flatnonzero(known), centres.dock_of[known]] = 1.0
        return super().of(
            world,
            nodes=centres.nodes.astype(np.float64),
            serves=centres.served,
            home=home,
            by_region=rate,
            centre=_of_centres(world, centres, rate),
        )


class PlacementTable(RetailTable):
    """One row per product and centre: `stockyard/Placement-v0`."""

    name = "placement"
    facts_type = PlacementFacts

    def __init__(self, facts: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Builds the constants: where centres and docks stand in the fields."""
        super().__init__(facts, shapes)
        n = facts.kinds.shape[1]
        self._nodes = facts.nodes.astype(int)
        self._nodes_of_torch: Any = None
        at = np.eye(n)[:, self._nodes]  # (N, F)
        slots = np.zeros((7, 3))
        slots[[0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2, 2]] = 1.0
        self._constants |= {
            "at": at,
            "local": facts.kinds[2][self._nodes],
            "served": self.served,
            "serves": facts.serves.T,
            "home": facts.home,
            "centre": facts.centre,
            "slots": slots,
            "storage": np.maximum(facts.storage[self._nodes], 1e-9),
            "usual_daily": np.maximum((self.served * facts.volume[:, None]).sum(0), 1e-9),
        }
        self.features = {
            "stock": 6,
            "product": 3 + 3 + 3,
            "forecast": len(HORIZONS_DAYS) + 3,
            "space": 4 + 4,
            "static": facts.static.shape[1] + facts.centre.shape[2],
        }
        self.global_features = {
            "full": 3 * len(KINDS),
            "under way": 7,
            "expected": len(HORIZONS_DAYS),
            **self._CALENDAR,
            "acceptance": shapes["acceptance"][0],
            "days_to_review": 1,
        }

    @property
    def lanes(self) -> int:
        """Centres, F."""
        return len(self.facts.nodes)

    @property
    def served(self) -> Floats:
        """(P, F) mean of the demand that a centre's cover is counted in, units per day."""
        return np.asarray(np.maximum(self.facts.by_region @ self.facts.serves.T, 1e-3))

    def start(self, observation: Observation) -> Array:
        """A week at local centres; regional ones take what is left."""
        like = observation["served_demand"]
        days = 27.0 - 20.0 * self._like("local", like)
        return like * 0.0 + days / MAX_COVER_DAYS

    def position(self, observation: Observation) -> Array:
        """What a centre has, in its yard and on the way included."""
        at = self._like("at", observation["served_demand"])
        return (observation["on_hand"] + observation["yard"]) @ at + observation["in_transit"].sum(
            -1
        )

    def __call__(self, observation: Observation) -> tuple[Array, Array]:
        """See `Table`; K = F."""
        see = observation
        served = see["served_demand"]  # (B, P, F) per day
        xp = namespace(served)
        like, at = served, self._like("at", served)
        rate, usual = self._like("rate", like), self._like("served", like)
        volume = self._like("volume", like)
        on_hand, yard = see["on_hand"] @ at, see["yard"] @ at
        coming = see["in_transit"]
        pace = at_least(served, 0.0) + 0.1 * usual
        daily = see["forecast_by_region"].sum(-1)[:, :, None]  # (B, P, 1) all regions
        pace_all = daily + 0.1 * rate
        home = self._like("home", like)
        at_dock = (see["on_hand"] * home).sum(-1)[:, :, None]
        in_yard = (see["yard"] * home).sum(-1)[:, :, None]
        position = on_hand + yard + coming.sum(-1)
        elsewhere = position.sum(-1)[:, :, None] - position
        stock = _days(
            xp,
            xp.stack((on_hand, coming[..., 0], coming[..., 1], position), -1) / pace[..., None],
        )
        spread_out = _days(xp, elsewhere / pace_all)
        dock_here = _days(xp, at_dock / pace)
        arriving = see["inbound_quoted"] @ self._like("slots", like)
        product = _days(
            xp,
            joined(
                xp,
                at_dock,
                in_yard,
                see["on_order"][:, :, None],
                arriving,
            )
            / pace_all,
        )
        quantiles = see["forecast_by_region_quantiles"]
        width = (quantiles[..., 2] - quantiles[..., 0]) @ self._like("serves", like)
        sold = see["sales_by_region"] @ self._like("serves", like) / 7.0
        local_level = xp.log(xp.stack((served / usual, sold / usual), -1) + 0.1)
        levels = xp.log(self._levels(xp, see) + 0.1)
        means, spread = see["forecast_mean"], see["forecast_quantiles"]
        wide = (spread[:, :, :3, 2] - spread[:, :, :3, 0]) / (means[:, :, :3] + rate)
        space = self._space(xp, see, at, volume, position, pace)
        whole = like[..., None] * 0.0 + 1.0
        rows = joined(
            xp,
            stock,
            spread_out[..., None],
            dock_here[..., None],
            whole * joined(xp, product, wide)[:, :, None],
            whole * levels[:, :, None],
            local_level,
            (width / pace)[..., None],
            space,
            whole * self._like("static", like)[:, None],
            whole * self._like("centre", like),
        )
        return rows, self._pooled(xp, see, volume)

    def _space(
        self, xp: Any, see: Observation, at: Array, volume: Array, position: Array, pace: Array
    ) -> Array:
        """Space at the centre and at the product's dock, (B, P, F, 8)."""
        held = (position * volume).sum(1)  # (B, F) ft3, what is under way included
        stored = ((see["on_hand"] @ at) * volume).sum(1)
        storage = at_most(see["storage_capacity"], 1e12).swapaxes(1, 2) @ at  # (B, 5, F)
        flow = self._like("usual_daily", held)
        centre = xp.stack(
            (
                share_of(stored, storage[:, 0]),
                share_of(held, storage[:, 0]),
                at_most(at_least(storage[:, 0] - held, 0.0) / (10.0 * flow), MOST),
                at_most(storage[:, 2] / self._like("storage", held), MOST),
            ),
            -1,
        )  # (B, F, 4)
        filled = share_of((see["on_hand"] * volume).sum(1), see["storage_capacity"][:, :, 0])
        waits = share_of((see["yard"] * volume).sum(1), 2.0 * see["receiving_capacity"][:, :, 0])
        home = self._like("home", held)
        mine = (see["on_hand"] * home).sum(-1) * volume[:, 0]
        room = at_most(see["storage_capacity"][:, :, 0], 1e12) @ home.swapaxes(0, 1)
        dock = xp.stack(
            (
                filled @ home.swapaxes(0, 1),
                waits @ home.swapaxes(0, 1),
                share_of(mine, room),
                share_of(mine * len(volume), room),
            ),
            -1,
        )  # (B, P, 4)
        whole = pace[..., None] * 0.0 + 1.0
        return joined(xp, whole * centre[:, None], whole * dock[:, :, None])

    def _pooled(self, xp: Any, see: Observation, volume: Array) -> Array:
        """Features of no decision, (B, G)."""
        usual = self._like("dock_labour", volume)
        arriving = (see["inbound_quoted"] * volume).sum(1)
        expected = (see["forecast_mean"] * volume).sum(1) / self._like("days", volume)
        return joined(
            xp,
            *self._fullness(xp, see),
            at_most(arriving / (2.0 * usual), MOST),
            at_most(expected / usual, MOST),
            *self._calendar(xp, see),
            see["acceptance"],
            see["days_to_review"] / 7.0,
        )


def _days(xp: Any, days: Array) -> Array:
    """Days of cover on the scale of a logarithm, 0 at none."""
    return xp.log1p(at_least(days, 0.0) / 3.0)


def _of_centres(world: World, centres: Centres, by_region: Floats) -> Floats:
    """(P, F, S): speed and tariff beside the next best centre's, share of demand, kind."""
    network, lanes = world.network, world.network.outbound
    n, r = network.num_nodes, network.num_regions
    slowest = float(max(lanes.tier)) + 1.0
    tier, tariff = np.full((n, r), slowest), np.full((n, r), float(np.max(lanes.tariff)))
    tier[lanes.node, lanes.region] = lanes.tier
    tariff[lanes.node, lanes.region] = lanes.tariff
    tier, tariff = tier[centres.nodes], tariff[centres.nodes]
    weights = centres.served  # (F, R)
    share = by_region @ weights.T / np.maximum(by_region.sum(axis=1), 1e-9)[:, None]
    columns = []
    for values in (tier, tariff):
        for f in range(centres.count):
            others = np.delete(values, f, axis=0)
            best = others.min(axis=0) if len(others) else values[f]
            columns.append(best - values[f])
    gain = np.array(columns).reshape(2, centres.count, r)  # what the centre is better by
    volume_of = by_region[:, None, :] * weights[None]  # (P, F, R)
    total = np.maximum(volume_of.sum(axis=2), 1e-9)
    faster, cheaper = ((volume_of * g).sum(axis=2) / total for g in gain)
    weight = np.asarray(network.products.tariff_weight, dtype=np.float64)[:, None]
    transit = np.zeros(centres.count)
    for f, node in enumerate(centres.nodes.tolist()):
        transit[f] = np.mean(np.asarray(network.transfers.transit)[network.transfers.head == node])
    local = np.array([network.nodes[node].startswith("FC-local") for node in centres.nodes]) * 1.0
    like = np.ones_like(share)
    return np.stack(
        (
            like * local,
            share,
            faster,
            cheaper * weight / 2.0,
            like * np.log(weight),
            like * transit / network.periods_per_day,
        ),
        axis=2,
    )
