"""Key figures of a platform with sellers: fairness, predictability, crowding, the bullwhip."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import product_sum, sum_entries, to_numpy, weighted_sum
from stockyard.envs.network.params import Params
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.state import Flows, State

Floats = npt.NDArray[np.float64]


def seller_figures(
    params: Params, flows: tuple[Flows, ...], state: State, launched: Any
) -> dict[str, Floats]:
    """Figures over a step, each (B,).

    limit_gini: Gini coefficient of limits over requests, each at most 1, among sellers (0: all are
    granted alike). in_stock_sellers: share of demand for sellers' products that met a stocked
    shelf; in_stock_new: of products launched within the last 91 days, 1 where there are none.
    bullwhip: variance over weeks of the volume that sellers ship over that of what they sell.
    crowding: ft3 on shelves and in yards over the storage, mean of the days. merchant_share: units
    that sellers sent themselves, of all their sales. price_cut: mean cut of sellers' prices.
    storage_price, clearing_price: USD per ft3-month. broken_outlook: ft3 by which limits differ
    from what was announced for them.

    Args:
        params: the network; it has sellers.
        flows: of the step's periods.
        state: at the end of the step.
        launched: (B, P) whether a product is new; None where nothing is launched.
    """
    plan, sellers = params.seller_plan, state.sellers
    assert plan is not None and sellers is not None and params.sellers is not None
    volume = np.asarray(params.network.products.volume)
    third = np.asarray(params.network.products.owner) > 0
    bills = [flow.sellers for flow in flows if flow.sellers is not None]
    limit, request = to_numpy(sellers.limit + sellers.won), to_numpy(sellers.request)
    figures = {"limit_gini": gini(np.minimum(limit / np.maximum(request, 1e-9), 1.0))}
    demand = sum(sum_entries(to_numpy(f.demand)) for f in flows)
    missed = sum(sum_entries(to_numpy(f.out_of_stock)) for f in flows)
    figures["in_stock_sellers"] = _met(demand * third, missed * third)
    new = np.zeros_like(demand) if launched is None else to_numpy(launched) * third
    figures["in_stock_new"] = _met(demand * new, missed * new)
    weeks = [list(range(k, min(k + 7, len(flows)))) for k in range(0, len(flows), 7)]
    shipped = [sum(_shipped(flows[i], volume * third) for i in week) for week in weeks]
    sold = [
        sum(weighted_sum(to_numpy(flows[i].sold), volume * third) for i in week) for week in weeks
    ]
    figures["bullwhip"] = np.minimum(_variance(shipped) / np.maximum(_variance(sold), 1e-9), 1e6)
    figures["crowding"] = _mean([to_numpy(b.crowding)[:, 0] for b in bills])
    own_sent = sum(product_sum(to_numpy(b.merchant)) for b in bills if b.merchant is not None)
    all_sold = sum(product_sum(to_numpy(f.sold) * third) for f in flows)
    figures["merchant_share"] = own_sent / np.maximum(own_sent + all_sold, 1e-9)
    figures["price_cut"] = _mean([product_sum(to_numpy(b.cut) * third) for b in bills])
    figures["price_cut"] = figures["price_cut"] / third.sum()
    prices = to_numpy(sellers.price)
    figures["storage_price"] = 30.0 * product_sum(prices) / prices.shape[1]
    figures["clearing_price"] = 30.0 * to_numpy(sellers.clearing)[:, 0]
    broken = [product_sum(to_numpy(b.broken)) for b in bills if b.broken is not None]
    figures["broken_outlook"] = sum(broken, start=np.zeros(len(demand)))
    used = to_numpy(by_seller(plan, state.position * params.a.volume))
    figures["limit_used"] = product_sum(used) / np.maximum(product_sum(limit), 1e-9)
    return figures


def _mean(values: list[Floats]) -> Floats:
    """Mean of arrays (B,), term after term, so that a row gives the same bits in any batch."""
    return sum(values[1:], start=values[0]) / len(values)


def _variance(values: list[Floats]) -> Floats:
    """Variance of arrays (B,) around their mean, likewise."""
    mean = _mean(values)
    return _mean([(value - mean) ** 2 for value in values])


def _shipped(flows: Flows, volume: Floats) -> Any:
    """ft3 that sellers sent in, (B,)."""
    if flows.shipped is None:
        return 0.0
    return weighted_sum(sum_entries(to_numpy(flows.shipped)), volume)


def _met(demand: Floats, missed: Floats) -> Floats:
    """Share of demand that was met, 1 where there was none, (B,)."""
    wanted = product_sum(demand)
    return np.where(wanted > 0.0, 1.0 - product_sum(missed) / np.maximum(wanted, 1e-9), 1.0)


def gini(shares: Floats) -> Floats:
    """Gini coefficient of each row of (B, S) amounts >= 0: 0 if all are equal, (B,)."""
    count = shares.shape[1]
    ordered = np.sort(shares, axis=1)
    rank = 2.0 * np.arange(1, count + 1) - count - 1.0
    total = product_sum(ordered)
    return np.asarray(weighted_sum(ordered, rank) / np.maximum(count * total, 1e-12))
