"""What a platform remembers of the month that has passed."""

from typing import NamedTuple

from stockyard.envs.network.arrays import Array, product_sum
from stockyard.envs.network.params import Params
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.world import Stretch


class Memory(NamedTuple):
    """Figures of the last step."""

    sold_volume: Array  # (B, S) ft3 per day that sellers sold from the network
    sold_value: Array  # (B, S) USD per day at list prices
    crowding: Array  # (B,) ft3 on shelves and in yards over the storage, mean of the days
    refused: Array  # (B,) ft3 per day that full yards turned away


def remember(params: Params, stretch: Stretch | None, like: Array) -> Memory:
    """The memory after a stretch; of the opening, where there was none.

    Args:
        params: the network; it has sellers.
        stretch: the last step.
        like: (B, P) array, for shapes.
    """
    plan = params.seller_plan
    assert plan is not None
    nothing = like[:, 0] * 0.0
    if stretch is None:
        none = by_seller(plan, like * 0.0)
        return Memory(none, none, nothing, nothing)
    flows = stretch.flows
    days = len(flows) * params.days_per_period
    sold = sum((f.sold for f in flows[1:]), start=flows[0].sold) / days
    crowding, refused = nothing, nothing
    for flow in flows:
        assert flow.sellers is not None
        crowding = crowding + flow.sellers.crowding[:, 0]
        if flow.refused_volume is not None:
            refused = refused + product_sum(flow.refused_volume)
    return Memory(
        by_seller(plan, sold * params.a.volume),
        by_seller(plan, sold * params.a.price_sellers),
        crowding / len(flows),
        refused / days,
    )
