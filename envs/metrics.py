"""Key figures of a step, beside the reward: what a supply chain manager would ask first."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.accounting import Ledger, system_units
from stockyard.envs.network.arrays import Array, product_sum, weighted_sum
from stockyard.envs.network.fulfil import CAUSES
from stockyard.envs.network.params import Params
from stockyard.envs.network.receive import stored_volume
from stockyard.envs.network.world import Stretch
from stockyard.envs.tasks.task import View

SPEEDS = ("1_day", "2_day", "3_to_5_day")
"""Names of the delivery tiers."""

CONSUMER_SURPLUS = 0.3
"""Customers' surplus as a share of what they pay; an assumption, for the surplus metrics only."""


def summarise(
    params: Params, view: View, stretch: Stretch, ledger: Ledger
) -> dict[str, npt.NDArray[np.float64]]:
    """Key figures over a step, each (B,).

    in_stock_rate: share of demand on product-days on which no shelf was empty. fill_rate: units
    served of units wanted. days_of_cover: units anywhere in the network over the step's daily
    demand. speed_share_*: share of sold units by delivery tier. abandon_rate: share of demand given
    up because the promise was slow. lost_*: units by cause. utilisation_*: share of a capacity
    used. late_share: parcels newly late of parcels that joined. surplus_*: USD by party.
    """
    flows = stretch.flows
    demand_by_product = _sum([f.demand for f in flows])
    demand = product_sum(demand_by_product)
    sold = product_sum(_sum([f.sold for f in flows]))
    wanted = _at_least(demand)
    empty = _sum([(f.out_of_stock > 1e-9) * f.demand for f in flows]).sum(-1)
    figures: dict[str, Array] = {
        "in_stock_rate": 1.0 - empty / wanted,
        "fill_rate": _first_served(flows) / wanted,
    }
    if params.attribute_losses:
        figures |= _service(params, flows, sold, wanted)
        days = len(flows) * params.days_per_period
        stock = system_units(params, view.state).sum(-1)
        figures["days_of_cover"] = stock / _at_least(demand / days)
        figures |= _utilisation(params, view, stretch)
    if flows[0].newly_late is not None:
        late = _sum([f.newly_late for f in flows if f.newly_late is not None]).sum(-1)
        joined = _sum([f.joined for f in flows if f.joined is not None]).sum(-1)
        figures["late_share"] = late / _at_least(joined)
    if "sales" in ledger:
        figures["surplus_retailer"] = sum(
            (v for k, v in ledger.items() if not k.startswith("seller_s")), start=sold * 0.0
        )
        figures["surplus_customers"] = CONSUMER_SURPLUS * ledger["sales"]
    return {name: _numpy(value) for name, value in figures.items()}


def _sum(parts: list[Array]) -> Array:
    return sum(parts[1:], start=parts[0])


def _at_least(array: Array) -> Array:
    return np.maximum(array, 1e-9) if isinstance(array, np.ndarray) else array.clamp(min=1e-9)


def _numpy(values: Array) -> npt.NDArray[np.float64]:
    if not isinstance(values, np.ndarray):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _first_served(flows: Any) -> Array:
    """Demand served at once: demand less what met an empty shelf or was given up."""
    total: Array = 0.0
    for f in flows:
        missed = f.out_of_stock if f.abandoned is None else f.out_of_stock + f.abandoned
        total = total + product_sum(f.demand - missed)
    return total


def _service(params: Params, flows: Any, sold: Array, wanted: Array) -> dict[str, Array]:
    figures: dict[str, Array] = {}
    by_tier: dict[int, Array] = {k: 0.0 for k in range(len(params.network.acceptance_by_tier))}
    for flow in flows:
        ranks = params.ranks(flow.min_offered_tier)
        for rank, units in zip(ranks, flow.picked, strict=True):
            for region, tier in enumerate(rank.rank.tier.tolist()):
                by_tier[tier] = by_tier[tier] + units[:, region]
    for tier, units in by_tier.items():
        name = SPEEDS[min(tier, len(SPEEDS) - 1)]
        figures[f"speed_share_{name}"] = (units + sold * 0.0) / _at_least(sold)
    if flows[0].abandoned is not None:
        figures["abandon_rate"] = product_sum(_sum([f.abandoned for f in flows])) / wanted
    for cause in CAUSES:
        parts = [f.lost_by_cause[cause].sum(-1) for f in flows if cause in f.lost_by_cause]
        figures[f"lost_{cause}"] = sum(parts, start=sold * 0.0)
    return figures


def _utilisation(params: Params, view: View, stretch: Stretch) -> dict[str, Array]:
    """Used over available, all nodes together."""
    figures: dict[str, Array] = {}
    known = view.tape.known(view.period)
    flows = stretch.flows
    if params.storage_is_limited:
        stored = stored_volume(params, view.state).sum(-1)
        figures["utilisation_storage"] = stored / _at_least(product_sum(known.storage_capacity))
    if params.dock_is_limited:
        received = _sum([f.received for f in flows])
        volume = weighted_sum(received, params.a.volume).sum(-1) / len(flows)
        figures["utilisation_receiving"] = volume / _at_least(product_sum(known.receiving_capacity))
    if params.outbound_is_limited:
        sold = product_sum(_sum([f.sold for f in flows])) / len(flows)
        nodes = sorted(set(params.network.outbound.node.tolist()))
        room = known.outbound_capacity[:, nodes].sum(-1)
        figures["utilisation_outbound"] = sold / _at_least(room)
    return figures
