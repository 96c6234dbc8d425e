"""Standing rules of the slot restock: what sellers are offered where no agent decides.

Each states its `mechanism`: `caps` sets limits, `price` the price of storage, `auction` sells space
beyond a small limit, `hybrid` does all of it. Mechanisms act by different means, and are compared
among themselves.
"""

import dataclasses
from typing import Any, ClassVar

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    at_least,
    fill_share,
    product_sum,
    stack,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.platform_view import PlatformView, platform_view
from stockyard.envs.network.state import Revealed, State, Terms

MECHANISMS = ("caps", "price", "auction", "hybrid")
"""Kinds of terms, by what they act through."""

MONTH_PRICE_DAYS = 30.0
"""Days of the month by which public prices of storage are quoted, USD per ft3-month."""


def open_terms(params: Params, view: PlatformView) -> Terms:
    """No limits, storage at the base price, no auction: what other terms are changed from."""
    assert params.sellers is not None
    none = view.stored * 0.0
    common = view.own * 0.0
    price = params.economics.seller_storage_per_ft3_day
    return Terms(
        limit=none + UNLIMITED,
        earned_days=common,
        price=stack([common[:, 0] + price] * params.sellers.num_size_classes, axis=1),
        offered=common,
        reserve=common,
        outlook=stack([none + UNLIMITED] * 2, axis=2),
    )


def within(total: Array, limit: Array, outlook: Array) -> tuple[Array, Array]:
    """Scales limits down in proportion to what all sellers together may have.

    Args:
        total: (B, 1) ft3.
        limit: (B, S) ft3.
        outlook: (B, S, 2) ft3, scaled alike month by month.
    """
    ahead = product_sum(outlook.swapaxes(1, 2))[:, None]
    return (
        limit * fill_share(total, product_sum(limit)[:, None]),
        outlook * fill_share(total[:, :, None], ahead),
    )


@dataclasses.dataclass(frozen=True)
class ForecastNeed:
    """Limits each seller to some days of the demand that the platform forecasts for it."""

    days: float = 28.0  # of forecast demand, on hand and inbound
    most: float = 10.0  # of all limits and the retailer's stock together over the storage

    mechanism: ClassVar[str] = "caps"
    announces_terms: ClassVar[bool] = True

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Terms:
        """Returns terms for the coming month; see `Terms`."""
        view = platform_view(params, state, revealed)
        total = at_least(self.most * view.capacity - view.own, 0.0)
        limit, outlook = within(
            total, self.days * view.forecast[:, :, 0], self.days * view.forecast[:, :, 1:]
        )
        return open_terms(params, view)._replace(limit=limit, outlook=outlook)


@dataclasses.dataclass(frozen=True)
class StoragePrice:
    """Charges every seller the same for storage, month after month."""

    price: float = 8.0  # USD per ft3-month

    mechanism: ClassVar[str] = "price"
    announces_terms: ClassVar[bool] = True

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Terms:
        """Returns terms for the coming month; see `Terms`."""
        terms = open_terms(params, platform_view(params, state, revealed))
        return terms._replace(price=terms.price * 0.0 + self.price / MONTH_PRICE_DAYS)


@dataclasses.dataclass(frozen=True)
class SpaceAuction:
    """Auctions the space that the retailer's own stock leaves, beyond a small limit for all."""

    overbook: float = 1.2  # of what is sold, the limits and the retailer's stock over the storage
    floor: float = 2.0  # USD per ft3-month, the lowest bid
    free_days: float = 5.0  # of forecast demand, the limit that needs no bid

    mechanism: ClassVar[str] = "auction"
    announces_terms: ClassVar[bool] = True

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Terms:
        """Returns terms for the coming month; see `Terms`."""
        view = platform_view(params, state, revealed)
        free = self.free_days * view.forecast
        left = self.overbook * view.capacity - view.own - product_sum(free[:, :, 0])[:, None]
        return open_terms(params, view)._replace(
            limit=free[:, :, 0],
            outlook=free[:, :, 1:],
            offered=at_least(left, 0.0),
            reserve=view.own * 0.0 + self.floor / MONTH_PRICE_DAYS,
        )


RESTOCK_RULES: dict[str, Any] = {
    "forecast_need": ForecastNeed,
    "storage_price": StoragePrice,
    "space_auction": SpaceAuction,
}
"""Rules that announce terms, by name."""
