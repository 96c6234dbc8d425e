"""What a platform is shown before it sets terms: sellers, products, space, the calendar."""

import functools
from typing import Any

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    at_most,
    fill_share,
    product_sum,
    stack,
    sum_entries,
    weighted_sum,
)
from stockyard.envs.network.capacities import AHEAD_WEEKS
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.params import Params
from stockyard.envs.network.platform_view import platform_view
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.standing_terms import MONTH_PRICE_DAYS
from stockyard.envs.network.world import World
from stockyard.envs.tasks.restock_books import Memory
from stockyard.envs.tasks.restock_modes import NO_LIMIT
from stockyard.envs.tasks.retail_fields import MOST_MONEY, MOST_UNITS, Bounds, RetailFields
from stockyard.envs.tasks.task import View

NEW_DAYS = 91
"""Days before and after its launch for which a product counts as new."""


class RestockFields:
    """Shows one world with sellers; pure and differentiable."""

    def __init__(self, world: World) -> None:
        """Takes the world."""
        self.world = world
        self._retail = RetailFields(world)

    @functools.cached_property
    def bounds(self) -> Bounds:
        """Field -> (shape, low, high)."""
        sellers = self.world.sellers
        assert sellers is not None
        p, s, c = self.world.network.num_products, sellers.num_sellers, sellers.num_size_classes
        k, most = len(AHEAD_WEEKS), NO_LIMIT
        return {
            "seller_stored_volume": ((s,), 0.0, most),
            "seller_inbound_volume": ((s,), 0.0, most),
            "seller_sales_volume": ((s, 2), 0.0, most),
            "seller_sales_value": ((s,), 0.0, most),
            "seller_forecast_volume": ((s, 3), 0.0, most),
            "seller_in_stock": ((s,), 0.0, 1.0),
            "seller_sell_through": ((s,), 0.0, 9.0),
            "seller_excess": ((s,), 0.0, 1.0),
            "seller_index": ((s,), 0.0, 1000.0),
            "seller_new_share": ((s,), 0.0, 1.0),
            "limit": ((s,), 0.0, most),
            "outlook": ((s, 2), 0.0, most),
            "request": ((s,), 0.0, most),
            "granted_share": ((s,), 0.0, 1.0),
            "price": ((c,), 0.0, MOST_MONEY),
            "clearing_price": ((1,), 0.0, MOST_MONEY),
            "storage_capacity": ((k,), 0.0, 1e15),
            "receiving_capacity": ((k,), 0.0, 1e15),
            "crowding": ((2,), 0.0, 1e6),
            "yard_volume": ((1,), 0.0, most),
            "refused_volume": ((1,), 0.0, most),
            "own_volume": ((1,), 0.0, most),
            "own_forecast_volume": ((3,), 0.0, most),
            "on_hand": ((p,), 0.0, MOST_UNITS),
            "inventory_position": ((p,), 0.0, MOST_UNITS),
            "forecast_mean": ((p, len(HORIZONS_DAYS)), 0.0, MOST_UNITS),
            "sales_daily": ((p,), 0.0, MOST_UNITS),
            "product_price": ((p,), 0.0, MOST_MONEY),
            "product_volume": ((p,), 0.0, 1e6),
            "product_seller": ((p,), 0.0, 1e6),
            "season": ((2,), -1.0, 1.0),
            "days_to_event": ((2,), 0.0, 365.0),
        }

    def scale(self) -> dict[str, Any]:
        """Static typical size of every field; never from a tape."""
        world, network = self.world, self.world.network
        products, h = network.products, network.periods_per_day
        rate = world.source.demand.mean_rate(network).sum(axis=0) * h
        volume = rate * products.volume
        sellers = np.array(
            [volume[products.owner == s + 1].sum() for s in range(products.num_owners - 1)]
        )
        sellers = np.maximum(sellers, 1e-3)
        month = 28.0 * sellers
        money = np.array(
            [
                (rate * products.price)[products.owner == s + 1].sum()
                for s in range(products.num_owners - 1)
            ]
        )
        limits = world.source.capacities
        own = max(float(volume[products.owner == 0].sum()), 1e-3)
        everything = max(float(volume.sum()), 1e-3)
        units = np.maximum(rate * 28.0, 1e-3)
        over = np.array(HORIZONS_DAYS, dtype=np.float64)
        return {
            "seller_stored_volume": month,
            "seller_inbound_volume": month,
            "seller_sales_volume": sellers[:, None],
            "seller_sales_value": np.maximum(money, 1e-3),
            "seller_forecast_volume": sellers[:, None],
            "seller_in_stock": 1.0,
            "seller_sell_through": 3.0,
            "seller_excess": 1.0,
            "seller_index": 1000.0,
            "seller_new_share": 1.0,
            "limit": month,
            "outlook": month[:, None],
            "request": month,
            "granted_share": 1.0,
            "price": 10.0,
            "clearing_price": 10.0,
            "storage_capacity": _total(limits.storage),
            "receiving_capacity": _total(limits.receiving),
            "crowding": 1.0,
            "yard_volume": 7.0 * everything,
            "refused_volume": everything,
            "own_volume": 28.0 * own,
            "own_forecast_volume": own,
            "on_hand": units,
            "inventory_position": units,
            "forecast_mean": np.maximum(rate[:, None] * over, 1e-3),
            "sales_daily": np.maximum(rate, 1e-3),
            "product_price": max(float(products.price.mean()), 1e-3),
            "product_volume": max(float(products.volume.mean()), 1e-3),
            "product_seller": float(max(products.num_owners - 1, 1)),
            "season": 1.0,
            "days_to_event": 28.0,
        }

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field, (B, ...), in physical units."""
        state, memory = view.state, view.memory
        plan, sellers = params.seller_plan, state.sellers
        assert plan is not None and sellers is not None and isinstance(memory, Memory)
        known = view.tape.known(view.period)
        seen = platform_view(params, state, known)
        volume, none = params.a.volume, state.position * 0.0
        shown = self._retail.forecasts(view, {})
        own = 1.0 - plan.third_party
        daily = known.forecast_months
        assert daily is not None
        yard = (
            none[:, :1]
            if state.yard is None
            else weighted_sum(sum_entries(state.yard), volume)[:, None]
        )
        return {
            "seller_stored_volume": seen.stored,
            "seller_inbound_volume": seen.inbound,
            "seller_sales_volume": stack([memory.sold_volume, seen.past], axis=2),
            "seller_sales_value": memory.sold_value,
            "seller_forecast_volume": at_least(seen.forecast, 0.0),
            "seller_in_stock": seen.in_stock,
            "seller_sell_through": seen.sell_through,
            "seller_excess": at_most(seen.excess, 1.0),
            "seller_index": seen.index,
            "seller_new_share": self._new_share(params, view, none),
            "limit": at_most(sellers.limit + sellers.won, NO_LIMIT),
            "outlook": at_most(sellers.outlook, NO_LIMIT),
            "request": sellers.request,
            "granted_share": fill_share(sellers.limit + sellers.won, sellers.request),
            "price": sellers.price * MONTH_PRICE_DAYS,
            "clearing_price": sellers.clearing * MONTH_PRICE_DAYS,
            "storage_capacity": self._capacity(view, "storage_capacity", none),
            "receiving_capacity": self._capacity(view, "receiving_capacity", none),
            "crowding": stack([seen.crowding[:, 0], memory.crowding], axis=1),
            "yard_volume": yard,
            "refused_volume": memory.refused[:, None],
            "own_volume": seen.own,
            "own_forecast_volume": at_least(product_sum(daily * volume * own), 0.0),
            "on_hand": sum_entries(state.on_hand),
            "inventory_position": at_least(state.position, 0.0),
            "forecast_mean": shown["forecast_mean"],
            "sales_daily": sellers.sales,
            "product_price": none + (params.a.price_retail + params.a.price_sellers),
            "product_volume": none + volume,
            "product_seller": none + as_like(self.world.network.products.owner, none),
            **self._retail.calendar(view, none),
        }

    def _capacity(self, view: View, field: str, like: Array) -> Array:
        """A limit of all nodes that it binds, now and as announced, (B, K)."""
        week = 7 * self.world.network.periods_per_day
        nodes = slice(None)
        if field == "receiving_capacity":  # everything passes the docks that suppliers deliver to
            nodes = sorted(set(self.world.network.inbound.head.tolist()))  # type: ignore[assignment]
        ahead = [
            view.tape.announced_limit(field, view.period, weeks, week) for weeks in AHEAD_WEEKS
        ]
        totals = [
            like[:, 0] * 0.0 + (1e15 if value is None else product_sum(value[:, nodes]))
            for value in ahead
        ]
        return stack(totals, axis=1)

    def _new_share(self, params: Params, view: View, none: Array) -> Array:
        """Share of a seller's products that are launched about now, (B, S)."""
        plan = params.seller_plan
        assert plan is not None
        ones = by_seller(plan, none + 1.0)
        if view.tape.launch_day is None:
            return ones * 0.0
        day = view.period / self.world.network.periods_per_day
        launch = view.tape.launch_day
        new = ((launch >= 0) & (abs(launch - day) <= NEW_DAYS)) * 1.0
        return by_seller(plan, none + new) / ones


def _total(values: Any) -> float:
    """Sum over nodes of a capacity, mean over time; a huge number where there is none."""
    if values is None:
        return 1e15
    return max(float(np.atleast_2d(np.asarray(values)).mean(axis=0).sum()), 1e-3)
