"""What placement rules share: the centres, what serving from them is worth, and reserves.

Axes: B batch, P product, F fulfilment centre, R region, D dock. A centre is *regional* where some
region that asks another centre first is served faster than by the slowest tier; the others are
*local*. A region's home is the centre that it asks first; the *catchment* of a regional centre is
the regions that ask it before any other regional centre.
"""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Aims,
    Facts,
    Floats,
    Heuristic,
    Observation,
    Starts,
)
from stockyard.agents.heuristics.rationing import NOTHING, level_share, shares, volume_of
from stockyard.envs.network.arrays import Array, as_like, at_least, at_most
from stockyard.envs.network.economics import handling_values

Integers = npt.NDArray[np.int64]

NEEDED = ("forecast_by_region", "storage_capacity", "in_transit", "on_hand", "inbound_quoted")
"""Fields of an observation without which no placement rule decides."""

SOON_DAYS = 3
"""Days ahead of which goods quoted to reach a dock may claim room there."""

UNREACHED = -1e9
"""Worth, USD, of serving a region from a centre that has no lane to it."""


class Stocks(NamedTuple):
    """What a placement rule reads of an observation: float64, or tensors as they come."""

    dock: Floats  # (B, P) units on hand at the product's dock
    dock_yard: Floats  # (B, P) units that wait in its yard
    position: Floats  # (B, P, F) units at a centre: shelf, yard and on the way from a dock
    arrivals: Floats  # (B, P, days) units quoted to reach the dock
    daily: Floats  # (B, P, R) units per day expected over the coming week
    nearby: Floats  # (B, P, F) of the regions whose home a centre is
    room: Floats  # (B, F) ft3 free, all that is on the way counted
    dock_room: Floats  # (B, D) ft3 of a dock's shelf, empty or not
    observation: Observation  # in its shapes


class Centres:
    """Where the products of a placement world may go."""

    def __init__(self, facts: Facts, rule: str) -> None:
        """Reads the network.

        Args:
            facts: the environment.
            rule: its name, for errors.

        Raises:
            ValueError: if the environment asks for another decision, or shows too little.
        """
        facts.require_slots(rule, "place")
        missing = [name for name in NEEDED if name not in facts.field_shapes]
        if not missing and len(facts.field_shapes["in_transit"]) != 3:
            missing = ["in_transit by centre"]
        if missing:
            raise ValueError(
                f"{rule}: needs the observation of stockyard/Placement-v0; "
                f"this one lacks {', '.join(missing)}"
            )
        network, economics = facts.world.network, facts.world.economics
        lanes, products = network.transfers, network.products
        self.nodes: Integers = np.unique(lanes.head)
        self.dock: Integers = np.asarray(network.inbound.head)[network.carries.argmax(axis=0)]
        self.docks: Integers = np.unique(self.dock)
        self.at_dock: Floats = (self.dock == self.docks[:, None]).astype(np.float64)  # (D, P)
        self.count, self.num_products = len(self.nodes), network.num_products
        # periods under way from a product's dock, (P, F); -1 where no lane goes
        self.transit: Integers = np.full((self.num_products, self.count), -1)
        for tail, head, transit in zip(lanes.tail, lanes.head, lanes.transit, strict=True):
            self.transit[self.dock == tail, np.searchsorted(self.nodes, head)] = transit
        self.reached: Floats = (self.transit >= 0).astype(np.float64)
        self.tier, self.tariff = self._lanes(network)
        slowest = len(network.acceptance_by_tier) - 1
        first = network.ranks()[0].node  # (R,)
        self.home: Floats = (self.nodes[:, None] == first).astype(np.float64)
        reaches = (self.tier >= 0) & (self.tier < max(slowest, 1)) & (self.home == 0)
        self.regional: npt.NDArray[np.bool_] = reaches.any(axis=1)
        if not self.regional.any():  # all alike: what serves most regions
            served = (self.tier >= 0).sum(axis=1)
            self.regional = served == served.max()
        self.catchment = self._catchment()
        self.volume: Floats = np.asarray(products.volume, dtype=np.float64)
        self.tariff_weight: Floats = np.asarray(
            getattr(products, "tariff_weight", 1.0) + 0.0 * self.volume
        )
        handling, _ = handling_values(network, economics)
        served_at = handling[self.nodes].mean()
        spent = economics.pick_pack_per_unit + economics.last_mile_per_unit + served_at
        # USD of a sale before the tariff, against losing it
        self.worth: Floats = (
            products.price - products.unit_cost - spent + economics.goodwill_per_lost_unit
        )
        self._values: dict[bytes, Floats] = {}

    def _lanes(self, network: Any) -> tuple[Integers, Floats]:
        """Tier and tariff by centre and region, (F, R); tier -1 where no lane goes."""
        tier = np.full((self.count, network.num_regions), -1)
        tariff = np.zeros((self.count, network.num_regions))
        for e, node in enumerate(network.outbound.node.tolist()):
            where = np.searchsorted(self.nodes, node)
            if where < self.count and self.nodes[where] == node:
                tier[where, network.outbound.region[e]] = network.outbound.tier[e]
                tariff[where, network.outbound.region[e]] = network.outbound.tariff[e]
        return tier, tariff

    def _catchment(self) -> Floats:
        """(F, R) one where a region asks this regional centre before the others."""
        rank = np.where(self.tier >= 0, self.tier * 1e4 + self.tariff, np.inf)
        rank[~self.regional] = np.inf
        chosen = rank.argmin(axis=0)
        catchment = np.zeros(self.tier.shape)
        catchment[chosen, np.arange(len(chosen))] = np.isfinite(rank.min(axis=0))
        return catchment

    def read(self, observation: Mapping[str, Array]) -> Stocks:
        """Reads an observation in its shapes, of NumPy arrays or of tensors."""

        def field(name: str) -> Array:
            values = observation[name]
            return np.asarray(values, np.float64) if isinstance(values, np.ndarray) else values

        on_hand, arrivals = field("on_hand"), field("inbound_quoted")
        position = on_hand[:, :, self.nodes] + field("in_transit").sum(-1)
        daily = field("forecast_by_region")
        products = np.arange(self.num_products)
        at_dock = on_hand[:, products, self.dock]
        waiting = at_dock * 0.0
        if "yard" in observation:
            yard = field("yard")
            position = position + yard[:, :, self.nodes]
            waiting = yard[:, products, self.dock]
        capacity = field("storage_capacity")[..., 0]
        used = volume_of(position, as_like(self.volume, position))
        return Stocks(
            dock=at_dock,
            dock_yard=waiting,
            position=position,
            arrivals=arrivals,
            daily=daily,
            nearby=daily @ as_like(self.home.T, daily),
            room=at_least(capacity[:, self.nodes] - used, 0.0),
            dock_room=capacity[:, self.docks],
            observation=observation,
        )

    def values(self, observation: Observation) -> Floats:
        """USD that a customer's wish is worth when a centre with stock serves it, (B, P, F, R).

        The share of customers who accept the tier, times margin, goodwill and tariff; against
        losing them all. `UNREACHED` where no lane goes. One row where all replicas are promised
        the same.
        """
        accepted = np.asarray(observation["acceptance"], dtype=np.float64)
        offered = np.asarray(observation["offered_tier"], dtype=np.float64)[:, 0]
        if (accepted == accepted[:1]).all() and (offered == offered[0]).all():
            accepted, offered = accepted[:1], offered[:1]
        key = accepted.tobytes() + offered.tobytes()
        if key not in self._values:
            self._values = {key: self._worth_of_serving(accepted, offered)}
        return self._values[key]

    def _worth_of_serving(self, accepted: Floats, offered: Floats) -> Floats:
        last = accepted.shape[1] - 1
        slower = np.maximum(self.tier, np.rint(offered)[:, None, None]).astype(np.int64)
        tier = np.clip(slower, 0, last).reshape(len(accepted), -1)
        share = np.take_along_axis(accepted, tier, axis=1).reshape(slower.shape)  # (B, F, R)
        net = self.worth[:, None, None] - self.tariff_weight[:, None, None] * self.tariff
        worth = share[:, None] * np.maximum(net, 0.0)
        return np.asarray(np.where(self.tier >= 0, worth, UNREACHED))

    def gains(self, stocks: Stocks) -> tuple[Floats, Floats]:
        """USD per unit at a centre for its own regions and for others', both (B, P, F).

        The first is the worth of serving a home region over what the best regional centre beside it
        would earn; the second the worth of serving a wish that its own home could not.
        """
        worth = self.values(stocks.observation)
        backup = np.where(self.regional[:, None], worth, 0.0)
        best = np.sort(np.maximum(backup, 0.0), axis=2)
        second = best[:, :, -2] if self.count > 1 else np.zeros_like(best[:, :, -1])
        is_best = backup >= best[:, :, -1][:, :, None]  # its own backup is the next
        other = np.where(is_best, second[:, :, None], best[:, :, -1][:, :, None])
        share = stocks.daily[:, :, None] * self.home
        gain = (np.maximum(worth - other, 0.0) * share).sum(axis=-1)
        away = stocks.daily[:, :, None] * ((self.home == 0) & (self.tier >= 0))
        spill = (np.maximum(worth, 0.0) * away).sum(axis=-1)
        return gain / np.maximum(stocks.nearby, 1e-9), spill / np.maximum(away.sum(-1), 1e-9)


class PlacementRule(Heuristic):
    """A rule that decides how many units go from a product's dock to each centre."""

    def __init__(self, facts: Facts, name: str) -> None:
        """Finds the centres of an environment in which only transfers are decided."""
        self.centres = Centres(facts, name)
        super().__init__(facts)

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """Units to move, (B, P * F): never more than the dock has, along lanes that are there.

        Room is up to the rules: base covers and what local centres take stay within it; the rest
        that a dock cannot keep goes to the regional centres, whether they have room or not.
        """
        stocks = self.centres.read(observation)
        moved, state = self.transfers(stocks, state, episode_start)
        moved = self.possible(stocks, moved)
        return moved.reshape(len(moved), -1), state

    def possible(self, stocks: Stocks, moved: Array) -> Array:
        """Transfers (B, P, F) along lanes that are there, of stock that the dock has."""
        moved = at_least(moved, 0.0) * as_like(self.centres.reached, moved)
        return moved * at_most(stocks.dock / at_least(moved.sum(-1), NOTHING), 1.0)[..., None]

    def levels(self, stocks: Stocks) -> Floats:
        """Units (B, P, F) that centres are filled up to; all else that a rule sends is beyond.

        A rule without levels of its own fills up to what there is.
        """
        return stocks.position

    def aims(self, observation: Observation) -> Aims:
        """What the rule aims at; the observation is in its shapes.

        Where a level is out of reach, for want of stock or of room, what is reached takes its
        place.
        """
        stocks = self.centres.read(observation)
        level = self.levels(stocks)
        moved = self.decide(observation, None, None)[0].reshape(level.shape)
        need = np.maximum(level - stocks.position, 0.0)
        level = np.where(moved < need, stocks.position + moved, level)
        return Aims(level, np.maximum(moved - need, 0.0), np.zeros_like(level))

    @abc.abstractmethod
    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """Units to move (B, P, F), and the next state."""

    def kept_at_dock(
        self,
        stocks: Stocks,
        left: Array,
        fill: Any,
        weight: Array | None = None,
        inbound_weight: float = 0.0,
    ) -> Array:
        """What stays at the docks of what is left there, (B, P) units.

        Args:
            stocks: the observation.
            left: (B, P) units that no centre is sent.
            fill: share of its shelf that a dock may keep filled, or (B,) of them.
            weight: (B, P) units: a product keeps as many times it as any other, if it has them;
                None: all products keep the same share of what they have.
            inbound_weight: part of what waits in the dock's yard, or is quoted to come within
                `SOON_DAYS`, that the shelf is kept free for.
        """
        volume = as_like(self.centres.volume, left)
        coming = stocks.dock_yard + stocks.arrivals[..., :SOON_DAYS].sum(-1)
        weight = left if weight is None else weight
        kept: Any = 0.0
        for d, here in enumerate(as_like(self.centres.at_dock, left)):
            space = fill * stocks.dock_room[:, d] - inbound_weight * (coming @ (here * volume))
            kept = kept + level_share(left * here, weight * here, volume, space)
        return kept

    def overflow(self, stocks: Stocks, moved: Array, fill: Any, weight: Array | None) -> Array:
        """Adds what a dock holds above a share of its shelf, for the regional centres.

        Args:
            stocks: the observation.
            moved: (B, P, F) units that leave anyway.
            fill: see `kept_at_dock`, as `weight`.
            weight: (B, P) units.

        Returns:
            (B, P, F) units, `moved` included.
        """
        left = at_least(stocks.dock - moved.sum(-1), 0.0)
        away = left - self.kept_at_dock(stocks, left, fill, weight)
        return moved + away[..., None] * self.regional_shares(stocks)

    def regional_shares(self, stocks: Stocks) -> Array:
        """Share of a product that each regional centre gets, by forecast, (B, P, F)."""
        catchment = as_like(self.centres.catchment.T, stocks.daily)
        return shares(stocks.daily @ catchment, self.centres.regional)


def log_deviation(observation: Observation) -> Floats:
    """Log standard deviation of a region's demand over the coming week, (B, P, R), in [.05, 1.5].

    That of the lognormal through the shown P50 and P90.
    """
    quantiles = np.asarray(observation["forecast_by_region_quantiles"], dtype=np.float64)
    middle = np.maximum(quantiles[..., 1], 1e-9)
    ratio = np.maximum(quantiles[..., 2] / middle, 1.0)
    return np.asarray(np.clip(np.log(ratio) / ndtri(0.9), 0.05, 1.5))
