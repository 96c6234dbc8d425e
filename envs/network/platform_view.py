"""What a platform knows of its sellers: stock, sales, forecasts and an index of how they fare.

Rules and observations read this, and nothing that only sellers know: neither their beliefs nor
their costs nor what they remember.
"""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    Array,
    at_least,
    at_most,
    product_sum,
    stack,
    sum_entries,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.receive import stored_volume
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.state import Revealed, State

EXCESS_DAYS = 90.0
"""Days of forecast demand above which stock counts as excess."""

INDEX_WEIGHTS = (0.35, 0.30, 0.25, 0.10)
"""Of excess, sell-through, availability and stranded stock in the index [A]: the true ones of the
index that inspired it are not public. No stock is stranded here."""

MOST_SELL_THROUGH = 9.0
"""What sell-through shows at most: a seller without stock has a finite one."""


class PlatformView(NamedTuple):
    """Sellers as the platform sees them; S sellers."""

    stored: Array  # (B, S) ft3 in buildings, yards included
    inbound: Array  # (B, S) ft3 on the way from suppliers
    past: Array  # (B, S) ft3 sold per day, average of the last months
    forecast: Array  # (B, S, 3) ft3 per day expected in this month and the two after
    in_stock: Array  # (B, S) share of demand that met a stocked shelf, mean over products
    excess: Array  # (B, S) share of units above `EXCESS_DAYS` of forecast demand
    sell_through: Array  # (B, S) units sold in 90 days over units in buildings, at most 9
    index: Array  # (B, S) 0 to 1000
    own: Array  # (B, 1) ft3 of the retailer's own products in buildings
    capacity: Array  # (B, 1) ft3 of storage, all nodes
    crowding: Array  # (B, 1) ft3 on shelves and in yards over the capacity


def platform_view(params: Params, state: State, revealed: Revealed) -> PlatformView:
    """Builds the view at the start of a month.

    Args:
        params: the network; it has sellers.
        state: start of the period.
        revealed: of a period in which terms are announced; it holds forecasts by month.
    """
    plan, sellers = params.seller_plan, state.sellers
    assert plan is not None and sellers is not None and revealed.forecast_months is not None
    volume, third = params.a.volume, plan.third_party
    inside = sum_entries(state.on_hand if state.yard is None else state.on_hand + state.yard)
    for moving in (*state.transfers, *(() if state.staged is None else (state.staged,))):
        inside = inside + sum_entries(moving)
    stored = by_seller(plan, inside * volume)
    position = by_seller(plan, state.position * volume)
    daily = revealed.forecast_months[:, 0]
    above = at_least(inside - EXCESS_DAYS * daily, 0.0)
    units = by_seller(plan, inside)
    products = by_seller(plan, inside * 0.0 + 1.0)
    excess = by_seller(plan, above) / at_least(units, 1e-6)
    sold = by_seller(plan, sellers.sales)
    sell_through = at_most(EXCESS_DAYS * sold / at_least(units, 1e-6), MOST_SELL_THROUGH)
    in_stock = by_seller(plan, sellers.in_stock) / products
    weights = INDEX_WEIGHTS
    index = 1000.0 * (
        weights[0] * (1.0 - at_most(excess, 1.0))
        + weights[1] * at_most(sell_through / 3.0, 1.0)
        + weights[2] * in_stock
        + weights[3]
    )
    none = state.position[:, :1] * 0.0
    capacity = product_sum(revealed.storage_capacity)[:, None] + none
    shelves = product_sum(stored_volume(params, state))[:, None]
    waiting = none if state.yard is None else product_sum(sum_entries(state.yard) * volume)[:, None]
    return PlatformView(
        stored=stored,
        inbound=at_least(position - stored, 0.0),
        past=by_seller(plan, sellers.sales * volume),
        forecast=stack(
            [by_seller(plan, revealed.forecast_months[:, k] * volume) for k in range(3)], axis=2
        ),
        in_stock=in_stock,
        excess=excess,
        sell_through=sell_through,
        index=index,
        own=product_sum(inside * volume * (1.0 - third))[:, None],
        capacity=capacity,
        crowding=(shelves + waiting) / at_least(capacity, 1e-6),
    )
