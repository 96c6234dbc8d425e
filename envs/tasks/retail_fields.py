"""Fields that every task in a retail world shows: forecasts, catalogue, limits, calendar."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    at_most,
    namespace,
    stack,
    sum_entries,
)
from stockyard.envs.network.capacities import WEEKS_AHEAD
from stockyard.envs.network.forecast import HORIZONS_DAYS, QUANTILES
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import State
from stockyard.envs.network.tapes import NO_EVENT_DAYS
from stockyard.envs.network.world import World
from stockyard.envs.tasks.shown_forecast import (
    OwnForecast,
    Shown,
    regional_forecast,
    resolve_forecast,
)
from stockyard.envs.tasks.task import View

MOST_UNITS = 1e9
"""Bound of what counts units; no stock of any shipped world comes near it."""

MOST_MONEY = 1e6

Bounds = dict[str, tuple[tuple[int, ...], float, float]]
"""Field -> (shape, low, high)."""


def boxes(bounds: Bounds) -> spaces.Dict:
    """A Dict of flat float32 boxes."""
    return spaces.Dict(
        {
            name: spaces.Box(low, high, (math.prod(shape),), dtype=np.float32)
            for name, (shape, low, high) in bounds.items()
        }
    )


class RetailFields:
    """Shows one retail world; pure and differentiable.

    Forecasts are those of `World.forecast`; see `stockyard.envs.tasks.shown_forecast`.
    """

    def __init__(self, world: World, shows_supply: bool = False) -> None:
        """Takes the world, and whether what suppliers can ship is shown."""
        self.world, self.shows_supply = world, shows_supply
        self.forecast = resolve_forecast(world.forecast, world)
        self.own_forecast = OwnForecast(world)
        # An action is decoded by the forecast that the observation has shown: it is kept, for a
        # network takes its time.
        self._latest: tuple[View, Shown] | None = None

    def bounds(self) -> Bounds:
        """Shape and bounds of every field."""
        network = self.world.network
        p, n = network.num_products, network.num_nodes
        supply = {"supplier_capacity": ((p, WEEKS_AHEAD), 0.0, 1e15)} if self.shows_supply else {}
        return {
            "on_order": ((p,), 0.0, MOST_UNITS),
            "yard": ((p, n), 0.0, MOST_UNITS),
            "forecast_mean": ((p, len(HORIZONS_DAYS)), 0.0, MOST_UNITS),
            "forecast_quantiles": ((p, len(HORIZONS_DAYS), len(QUANTILES)), 0.0, MOST_UNITS),
            "price": ((p,), 0.0, MOST_MONEY),
            "unit_cost": ((p,), 0.0, MOST_MONEY),
            "volume": ((p,), 0.0, 1e6),
            "storage_capacity": ((n, WEEKS_AHEAD), 0.0, 1e15),
            "receiving_capacity": ((n, WEEKS_AHEAD), 0.0, 1e15),
            **supply,
            "offered_tier": ((WEEKS_AHEAD,), 0.0, 9.0),
            "season": ((2,), -1.0, 1.0),
            "days_to_event": ((2,), 0.0, NO_EVENT_DAYS),
        }

    def scale(self) -> dict[str, Any]:
        """Static typical size of the fields, where it is not that of units of a product."""
        world = self.world
        products, limits = world.network.products, world.source.capacities
        over = np.array(HORIZONS_DAYS) * world.network.periods_per_day
        rate = world.source.demand.mean_rate(world.network).sum(axis=0)
        return {
            "forecast_mean": np.maximum(rate[:, None] * over, 1e-3),
            "forecast_quantiles": np.maximum(rate[:, None] * over, 1e-3)[:, :, None],
            "price": max(float(products.price.mean()), 1e-3),
            "unit_cost": max(float(products.unit_cost.mean()), 1e-3),
            "volume": max(float(products.volume.mean()), 1e-3),
            "storage_capacity": typical_limit(limits.storage),
            "receiving_capacity": typical_limit(limits.receiving),
            **({"supplier_capacity": self._typical_supply()[:, None]} if self.shows_supply else {}),
            "offered_tier": 1.0,
            "season": 1.0,
            "days_to_event": 28.0,
        }

    def observe(self, params: Params, view: View, booked: State) -> dict[str, Array]:
        """Builds the fields but for the forecasts; products first, as people read it.

        Args:
            params: the network.
            view: what the decision maker has.
            booked: the state with open orders as the buyer's books have them.
        """
        like = booked.position
        yard = booked.on_hand * 0.0 if booked.yard is None else booked.yard
        moving = in_transfer(booked)
        on_order = at_least(booked.position - moving - sum_entries(booked.on_hand + yard), 0.0)
        ones = like * 0.0 + 1.0
        supply = {"supplier_capacity": self._supply(view, like)} if self.shows_supply else {}
        return {
            "on_order": on_order,
            "yard": yard.swapaxes(1, 2),
            "price": ones * as_like(params.network.products.price, like),
            "unit_cost": ones * params.a.unit_cost,
            "volume": ones * params.a.volume,
            "storage_capacity": self.announced(view, "storage_capacity", like),
            "receiving_capacity": self.announced(view, "receiving_capacity", like),
            **supply,
            "offered_tier": self._offered(view, like),
            **self.calendar(view, like),
        }

    def forecasts(self, view: View, fields: Mapping[str, Array]) -> dict[str, Array]:
        """The forecasts that are shown; `fields` are the others of the observation."""
        means, quantiles = self.shown(view, lambda: fields)
        zero = view.state.position * 0.0
        return {
            "forecast_mean": last_to_second(at_least(means, 0.0) + zero[:, None]),
            "forecast_quantiles": last_to_second(at_least(quantiles, 0.0) + zero[:, None, None]),
        }

    def shown(self, view: View, fields: Callable[[], Mapping[str, Array]]) -> Shown:
        """The forecast that is shown; `fields` builds the others, where it needs them."""
        if not getattr(self.forecast, "uses_fields", True):
            return self.forecast(self.own_forecast, view, {})
        if self._latest is None or not _is_same(self._latest[0], view):
            self._latest = view, self.forecast(self.own_forecast, view, fields())
        return self._latest[1]

    def daily(self, view: View) -> Array:
        """Mean units per day and region over the coming week that are shown, (B, R, P)."""
        regional = regional_forecast(self.forecast, self.own_forecast, view)
        return regional + view.state.position[:, None] * 0.0

    def announced(self, view: View, field: str, like: Array) -> Array:
        """A limit of the nodes now and as announced for the next four weeks, (B, N, 5)."""
        values = self._ahead(view, field)
        if values[0] is None:
            values = [as_like(np.full((1, self.world.network.num_nodes), 1e15), like)] * WEEKS_AHEAD
        return stack(values, axis=2) + like[:, :1, None] * 0.0

    def _ahead(self, view: View, field: str) -> list[Array | None]:
        """A limit as it is known now, for this week and the next four."""
        week = 7 * self.world.network.periods_per_day
        return [view.tape.announced_limit(field, view.period, k, week) for k in range(WEEKS_AHEAD)]

    @functools.cached_property
    def _supplier_of(self) -> npt.NDArray[np.int64]:
        """(P,) who makes a product, by the first lane that carries it."""
        network = self.world.network
        lane = network.carries.argmax(axis=0)
        return np.asarray(network.inbound.supplier[lane, np.arange(network.num_products)])

    def _typical_supply(self) -> npt.NDArray[np.float64]:
        """(P,) units per day that a product's supplier ships at most, mean over time."""
        supply = self.world.source.capacities.supplier
        if supply is None:
            return np.full(self.world.network.num_products, 1e15)
        mean = np.atleast_2d(np.asarray(supply, dtype=np.float64)).mean(axis=0)
        return np.asarray(np.maximum(mean[self._supplier_of], 1e-3))

    def _supply(self, view: View, like: Array) -> Array:
        """What the product's supplier ships at most, (B, P, 5) units per day."""
        none = like * 0.0
        ahead = [
            none + 1e15 if value is None else value[:, self._supplier_of] + none
            for value in self._ahead(view, "supplier_capacity")
        ]
        return stack(ahead, axis=2)

    def _offered(self, view: View, like: Array) -> Array:
        """The fastest tier on offer now and in the next four weeks, (B, 5)."""
        week = 7 * self.world.network.periods_per_day
        tiers = [
            view.tape.promise(view.period + k * week).min_offered_tier for k in range(WEEKS_AHEAD)
        ]
        return as_like(np.array([tiers], dtype=np.float64), like) + like[:, :1] * 0.0

    def calendar(self, view: View, like: Array) -> dict[str, Array]:
        """The date that demand depends on, and the days to the next two planned events."""
        xp = namespace(like)
        h = self.world.network.periods_per_day
        angle = (view.tape.start_day + view.period / h) * (2.0 * np.pi / 365.0)
        days = view.tape.event_days
        return {
            "season": stack([xp.sin(angle), xp.cos(angle)], axis=1),
            "days_to_event": days[0 if len(days) == 1 else view.period] + like[:, :1] * 0.0,
        }


def _is_same(one: View, other: View) -> bool:
    """Whether two views are of one moment of one episode."""
    return (
        one.period == other.period
        and one.tape is other.tape
        and one.state is other.state
        and one.memory is other.memory
    )


def typical_limit(values: Any) -> Any:
    """Mean of a capacity of the nodes over time, (N, 1); a huge number where there is none."""
    if values is None:
        return 1e15
    return np.maximum(np.atleast_2d(np.asarray(values)).mean(axis=0), 1e-3)[:, None]


def in_transfer(state: State) -> Array:
    """Units between nodes, (B, P)."""
    moving = state.position * 0.0
    for slot in state.transfers:
        moving = moving + sum_entries(slot)
    return moving if state.staged is None else moving + sum_entries(state.staged)


def last_to_second(array: Array) -> Array:
    """Moves the last axis of (B, ..., P) behind the batch, as people read it."""
    xp = namespace(array)
    return xp.moveaxis(array, -1, 1) if xp is np else array.movedim(-1, 1)


def expected_over(means: list[Array], days: Array) -> Array:
    """Expected demand over `days` (B, P) from now: linear between the forecast's horizons."""
    total: Array = 0.0
    before, start = 0.0, 0.0
    for mean, end in zip(means, HORIZONS_DAYS, strict=True):
        part = at_most(at_least((days - start) / (end - start), 0.0), 1.0)
        total = total + part * (mean - before)
        before, start = mean, float(end)
    return total
