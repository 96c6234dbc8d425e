"""What the placer sees."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, as_like, at_least, stack, take
from stockyard.envs.network.capacities import WEEKS_AHEAD
from stockyard.envs.network.forecast import QUANTILES
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import position_at_nodes
from stockyard.envs.network.standing_rules import inventory_position
from stockyard.envs.network.state import State
from stockyard.envs.network.world import World, as_booked
from stockyard.envs.tasks.centres import Centres
from stockyard.envs.tasks.placement_books import QUOTED_DAYS, PlacerBooks
from stockyard.envs.tasks.retail_fields import (
    MOST_UNITS,
    Bounds,
    RetailFields,
    typical_limit,
)
from stockyard.envs.tasks.shown_forecast import check_regional
from stockyard.envs.tasks.task import View


class PlacementFields:
    """Shows one world to who places its stock; pure and differentiable."""

    def __init__(self, world: World, centres: Centres, books: PlacerBooks) -> None:
        """Takes the world, its centres and the books that are kept of it."""
        self.world, self.centres, self.books = world, centres, books
        self._shared = RetailFields(world)
        check_regional(self._shared.forecast)
        network = world.network
        # mean units per day, (P, R)
        self.rate = (world.source.demand.mean_rate(network) * network.periods_per_day).T

    @functools.cached_property
    def bounds(self) -> Bounds:
        """Field -> (shape, low, high)."""
        network = self.world.network
        p, n, r = network.num_products, network.num_nodes, network.num_regions
        tiers, f = len(network.acceptance_by_tier), self.centres.count
        return {
            "on_hand": ((p, n), 0.0, MOST_UNITS),
            "in_transit": ((p, f, 2), 0.0, MOST_UNITS),
            "inventory_position": ((p,), 0.0, MOST_UNITS),
            "inbound_quoted": ((p, QUOTED_DAYS), 0.0, MOST_UNITS),
            "forecast_by_region": ((p, r), 0.0, MOST_UNITS),
            "forecast_by_region_quantiles": ((p, r, len(QUANTILES)), 0.0, MOST_UNITS),
            "sales_by_region": ((p, r), 0.0, MOST_UNITS),
            "served_demand": ((p, f), 0.0, MOST_UNITS),
            "tariff_weight": ((p,), 0.0, 1e6),
            "group": ((p,), 0.0, 1e6),
            "outbound_capacity": ((n, WEEKS_AHEAD), 0.0, 1e15),
            "tier": ((n, r), -1.0, tiers - 1.0),
            "tariff": ((n, r), 0.0, 1e6),
            "acceptance": ((tiers,), 0.0, 1.0),
            "days_to_review": ((1,), 0.0, 365.0),
            **self._shared.bounds(),
        }

    def scale(self) -> dict[str, Any]:
        """Static typical size of every field; never from a tape."""
        world, rate = self.world, self.rate
        week = np.maximum(7.0 * rate.sum(axis=1), 1e-3)
        by_region = np.maximum(rate, 1e-3)
        scale = {
            "in_transit": week[:, None, None] / 7.0,
            "inbound_quoted": week[:, None],
            "forecast_by_region": by_region,
            "forecast_by_region_quantiles": by_region[:, :, None],
            "sales_by_region": 7.0 * by_region,
            "served_demand": np.maximum(rate @ self.centres.served.T, 1e-3),
            "tariff_weight": 1.0,
            "group": float(max(self._group.max(), 1)),
            "outbound_capacity": typical_limit(world.source.capacities.outbound),
            "tier": 1.0,
            "tariff": max(float(world.network.outbound.tariff.mean()), 1e-3),
            "acceptance": 1.0,
            "days_to_review": float(world.source.epoch_periods / world.network.periods_per_day),
            **self._shared.scale(),
        }
        return {
            name: scale.get(name, week.reshape((-1,) + (1,) * (len(shape) - 1)))
            for name, (shape, _, _) in self.bounds.items()
        }

    @functools.cached_property
    def _group(self) -> npt.NDArray[np.int64]:
        """Index of each product's subcategory, by first appearance, (P,)."""
        names = list(self.world.network.products.group)
        if not names:
            return np.arange(self.world.network.num_products)
        order = {name: k for k, name in enumerate(dict.fromkeys(names))}
        return np.array([order[name] for name in names])

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field; products first, as people read it."""
        booked = as_booked(view.state, self.books.unreported(view.memory))
        like = booked.position
        assert self.world.forecaster is not None
        h = self.world.network.periods_per_day
        daily = self.daily(view)
        quantiles = self.world.forecaster.week_quantiles(daily)  # (B, Q, R, P)
        left = -view.period % self.world.source.epoch_periods
        sold = sum(view.memory.sales[1:], start=view.memory.sales[0])
        shared = self._shared.observe(params, view, booked)
        fields = {
            "on_hand": booked.on_hand.swapaxes(1, 2),
            "in_transit": self._in_transit(params, view.state),
            "inventory_position": at_least(inventory_position(booked), 0.0),  # for rounding
            "inbound_quoted": self.books.inbound_quoted(view.state, view.memory),
            "forecast_by_region": daily.swapaxes(1, 2),
            "forecast_by_region_quantiles": quantiles.swapaxes(1, 3),
            "sales_by_region": sold.swapaxes(1, 2),
            "served_demand": self.served_daily(view).swapaxes(1, 2),
            "outbound_capacity": self._shared.announced(view, "outbound_capacity", like),
            "days_to_review": like[:, :1] * 0.0 + left / h,
            **self._constants(view),
            **shared,
        }
        return fields | self._shared.forecasts(view, fields)

    def served_daily(self, view: View) -> Array:
        """Demand that covers are measured in, (B, F, P) units per day."""
        return self.centres.served_daily(self.daily(view))

    def _constants(self, view: View) -> dict[str, Array]:
        """What neither stock nor demand change, (B, ...)."""
        like = view.state.position
        network = self.world.network
        lanes = network.outbound
        tier = np.full((network.num_nodes, network.num_regions), -1.0)
        tier[lanes.node, lanes.region] = lanes.tier
        tariff = np.zeros_like(tier)
        tariff[lanes.node, lanes.region] = lanes.tariff
        fields = {
            "tariff_weight": network.products.tariff_weight,
            "group": self._group,
            "tier": tier,
            "tariff": tariff,
            "acceptance": np.asarray(view.tape.promise(view.period).acceptance_by_tier),
        }
        zero = like[:, :1] * 0.0
        return {
            name: (zero if values.ndim == 1 else zero[:, :, None]) + as_like(values, like)
            for name, values in fields.items()
        }

    def daily(self, view: View) -> Array:
        """Mean units per day and region over the coming week that are shown, (B, R, P)."""
        return self._shared.daily(view)

    def _in_transit(self, params: Params, state: State) -> Array:
        """Units on the way to each centre, (B, P, F, 2): arriving within a day, and all others.

        The two add up to what `position_at_nodes` counts beside the shelf and the yard.
        """
        day = self.world.network.periods_per_day
        at_rest = state._replace(transfers=(), staged=None, inbound=())
        still = position_at_nodes(params, at_rest)
        soon = position_at_nodes(params, at_rest._replace(transfers=state.transfers[:day]))
        every = position_at_nodes(params, state)
        parts = [at_least(soon - still, 0.0), at_least(every - soon, 0.0)]
        at = params.index(self.centres.nodes)
        return stack([take(part, at).swapaxes(1, 2) for part in parts], axis=3)
