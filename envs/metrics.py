"""Key figures of a step, beside the reward: what a supply chain manager would ask first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import (
    Array,
    all_sum,
    as_like,
    at_least,
    at_most,
    product_sum,
    sum_entries,
    to_numpy,
    weighted_sum,
)
from stockyard.envs.network.economics import party_balances
from stockyard.envs.network.fulfil import CAUSES, lost_by_cause
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Flows, Ledger
from stockyard.envs.network.world import Stretch
from stockyard.envs.seller_metrics import seller_figures
from stockyard.envs.tasks.referee import surpluses
from stockyard.envs.tasks.restock_fields import NEW_DAYS
from stockyard.envs.tasks.task import View

SPEEDS = ("1_day", "2_day", "3_to_5_day")
"""Names of the delivery tiers."""

MARGINS = ("low", "mid", "high")
"""Thirds of the products by margin per ft3, whose fill rates are told apart."""

MOST_DAYS_OF_COVER = 365.0
"""What `days_of_cover` shows at most, so that a step without demand has a finite one."""

CONSUMER_SURPLUS = 0.3
"""Customers' surplus as a share of what they pay; an assumption, for the surplus metrics only."""


class LazyFigures(Mapping[str, Any]):
    """A mapping that is computed when first read: figures that nobody reads cost nothing."""

    def __init__(self, compute: Callable[[], dict[str, Any]]) -> None:
        """Remembers how to compute the figures."""
        self._compute: Callable[[], dict[str, Any]] | None = compute
        self._figures: dict[str, Any] = {}

    def _get(self) -> dict[str, Any]:
        if self._compute is not None:
            self._figures = self._compute()
            self._compute = None
        return self._figures

    def map(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> "LazyFigures":
        """The figures after `change`, as lazy as these."""
        return LazyFigures(lambda: change(self._get()))

    def __getitem__(self, name: str) -> Any:
        """The figure `name`."""
        return self._get()[name]

    def __iter__(self) -> Iterator[str]:
        """Names in order."""
        return iter(self._get())

    def __len__(self) -> int:
        """Number of figures."""
        return len(self._get())

    def __repr__(self) -> str:
        """Like the dictionary."""
        return repr(self._get())

    def __reduce__(self) -> Any:
        """Pickles as a plain dictionary."""
        return (dict, (self._get(),))


def summarise(
    params: Params,
    view: View,
    stretch: Stretch,
    ledger: Ledger,
    in_detail: bool = True,
    verdict: Callable[[], Any] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Key figures over a step, each (B,).

    in_stock_rate: share of demand on product-days on which no shelf was empty. fill_rate: units
    served at once of units wanted, also of the products in the lowest, middle and highest third by
    margin per ft3 (`fill_*_margin`, with three products or more): who earns little for the space
    is starved first. days_of_cover: units anywhere in the network over the step's
    daily demand, at most 365. speed_share_*: share of sold units by delivery tier. abandon_rate:
    share of demand given up because the promise was slow. substitution_rate: share sold as a
    substitute. lost_*: units by cause. utilisation_*: share of a capacity used; of trucks, the
    load of the parcel trucks that ran, where lanes share pools of all trucks. late_share: parcels
    newly late of parcels that joined. Of shared pools: trucks that ran, their loads in truckloads,
    the share of hired ones, the share of parcels by carriers, and of ft3 through hubs.
    surplus_*: USD by party, that of the sellers in cash; where sellers decide, in full books, with
    the figures of `seller_metrics.seller_figures`. is_pareto_better: 1 where no party is worse off
    so far than under the reference rule. `in_detail` False leaves out all that a textbook does not
    ask.
    """
    flows = stretch.flows
    demand = [sum_entries(f.demand) for f in flows]
    missed = [sum_entries(f.out_of_stock) for f in flows]
    wanted = at_least(product_sum(_sum(demand)), 1e-9)
    empty = product_sum(_sum([(m > 1e-9) * d for m, d in zip(missed, demand, strict=True)]))
    # A promise that all accept makes nobody leave; it may hold in some of the periods only.
    slow = [sum_entries(f.abandoned) for f in flows if f.abandoned is not None]
    abandoned: Array = product_sum(_sum(slow)) / wanted if slow else wanted * 0.0
    figures: dict[str, Array] = {
        "in_stock_rate": 1.0 - empty / wanted,
        "fill_rate": 1.0 - product_sum(_sum(missed)) / wanted - abandoned,
    }
    if len(params.network.acceptance_by_tier) > 1 and not params.is_backorder:
        figures["abandon_rate"] = abandoned
    if in_detail:
        figures |= _fill_by_margin(params, _sum(demand), _sum([*missed, *slow]))
        figures |= _service(params, flows)
        days = len(flows) * params.days_per_period
        cover = product_sum(view.state.position) / (wanted / days)
        figures["days_of_cover"] = at_most(cover, MOST_DAYS_OF_COVER)
        figures |= _utilisation(params, view, stretch)
    if flows[0].newly_late is not None:
        late = product_sum(_sum([f.newly_late for f in flows if f.newly_late is not None]))
        joined = product_sum(_sum([f.joined for f in flows if f.joined is not None]))
        figures["late_share"] = late / at_least(joined, 1e-9)
    if params.network.freight is not None:
        figures |= _trucks_of_pools(params, flows)
    if "sales" in ledger:
        balances = party_balances(ledger)
        figures["surplus_retailer"] = balances["retailer"]
        paid = ledger["sales"]
        if "seller_sales" in ledger:
            figures["surplus_sellers"] = balances["sellers"]
            paid = paid + ledger["seller_sales"]
        figures["surplus_customers"] = CONSUMER_SURPLUS * paid
    if params.sellers is not None:
        figures |= _of_sellers(params, view, stretch, ledger)
    if verdict is not None:
        figures["is_pareto_better"] = verdict()
    return {name: np.asarray(to_numpy(value), np.float64) for name, value in figures.items()}


def _of_sellers(
    params: Params, view: View, stretch: Stretch, ledger: Ledger
) -> dict[str, npt.NDArray[np.float64]]:
    """Surpluses in full books, and what tells how sellers fare."""
    names = ("surplus_retailer", "surplus_sellers", "surplus_customers")
    gained = to_numpy(surpluses(ledger))
    figures = {name: gained[:, k] for k, name in enumerate(names)}
    launched = None
    if view.tape.launch_day is not None:
        day = view.period * params.days_per_period
        age = day - to_numpy(view.tape.launch_day)
        launched = (to_numpy(view.tape.launch_day) >= 0) & (age >= 0) & (age <= NEW_DAYS)
    return figures | seller_figures(params, tuple(stretch.flows), view.state, launched)


def _sum(parts: list[Array]) -> Array:
    return sum(parts[1:], start=parts[0])


def _fill_by_margin(params: Params, wanted: Array, missed: Array) -> dict[str, Array]:
    """Fill rates of thirds of the products by margin per ft3; units (B, P)."""
    products = params.network.products
    if products.num_products < len(MARGINS):
        return {}
    margin = (products.price - products.unit_cost) / np.maximum(products.volume, 1e-9)
    thirds = np.array_split(np.argsort(margin, kind="stable"), len(MARGINS))
    figures: dict[str, Array] = {}
    for name, members in zip(MARGINS, thirds, strict=True):
        inside = as_like(np.isin(np.arange(products.num_products), members), wanted)
        some = at_least(weighted_sum(wanted, inside), 1e-9)
        figures[f"fill_{name}_margin"] = 1.0 - weighted_sum(missed, inside) / some
    return figures


def _service(params: Params, flows: Any) -> dict[str, Array]:
    """Delivery speed, substitution and causes of loss."""
    sold = product_sum(_sum([f.sold for f in flows]))
    some = at_least(sold, 1e-9)
    by_tier: list[Array] = [sold * 0.0 for _ in params.network.acceptance_by_tier]
    for flow in flows:
        ranks = params.ranks(flow.promise)
        picked = flow.picked or [product_sum(units) for units in flow.served]
        for rank, units in zip(ranks, picked, strict=True):
            for region, tier in enumerate(rank.rank.tier.tolist()):
                by_tier[tier] = by_tier[tier] + units[:, region]
    figures: dict[str, Array] = {
        f"speed_share_{SPEEDS[min(tier, len(SPEEDS) - 1)]}": units / some
        for tier, units in enumerate(by_tier)
    }
    if flows[0].substituted is not None:
        other = product_sum(sum_entries(_sum([f.substituted for f in flows])))
        figures["substitution_rate"] = other / some
    causes = [lost_by_cause(params, flow) for flow in flows]
    for cause in CAUSES if causes[0] else ():
        figures[f"lost_{cause}"] = product_sum(_sum([c[cause] for c in causes]))
    return figures


def _utilisation(params: Params, view: View, stretch: Stretch) -> dict[str, Array]:
    """Used over available, all nodes together."""
    figures: dict[str, Array] = {}
    flows = stretch.flows

    def used(parts: list[Array], field: str, nodes: Any = slice(None)) -> Array:
        periods = range(view.period - len(flows), view.period)
        capacity = _sum([view.tape.limit(field, t) for t in periods])
        return product_sum(_sum(parts)) / at_least(product_sum(capacity[:, nodes]), 1e-9)

    if params.storage_is_limited:
        stored = [f.stored_volume for f in flows]
        figures["utilisation_storage"] = used(stored, "storage_capacity")
    if params.dock_is_limited:
        received = _sum([f.received for f in flows if f.received is not None])
        volume = [weighted_sum(received, params.a.volume)]
        figures["utilisation_receiving"] = used(volume, "receiving_capacity")
    if params.outbound_is_limited:
        nodes = sorted(set(params.network.outbound.node.tolist()))
        figures["utilisation_outbound"] = used([f.sold for f in flows], "outbound_capacity", nodes)
    loads = [f.dispatched_volume for f in flows if f.dispatched_volume is not None]
    trucks = [f.trucks for f in flows if f.trucks is not None]
    ran = [f.freight for f in flows if f.freight is not None]
    if ran:  # linehauls and transfers too
        load = product_sum(_sum([f.load for f in ran]))
        room = weighted_sum(_sum(trucks), params.a.has_trucks * params.a.truck_volume)
        figures["utilisation_trucks"] = load / at_least(room, 1e-9)
    elif loads and trucks:
        first = len(params.network.transfers.tail)
        room = (_sum(trucks) * params.a.truck_volume)[:, first:]
        load = product_sum(_sum(loads)) * params.a.has_trucks[first:]
        figures["utilisation_trucks"] = product_sum(load) / at_least(product_sum(room), 1e-9)
    return figures


def _trucks_of_pools(params: Params, flows: Sequence[Flows]) -> dict[str, Array]:
    """Trucks that ran in a step, and what went by hired ones, by carriers and through hubs."""
    ran = [f.freight for f in flows if f.freight is not None]
    own, spot = (product_sum(_sum([getattr(f, name) for f in ran])) for name in ("own", "spot"))
    joined, joined_ft3, expedited = (
        product_sum(_sum([getattr(f, name) for f in flows]))
        for name in ("joined", "joined_volume", "expedited")
    )
    figures = {
        "trucks": own + spot,
        "truckloads": product_sum(
            _sum([f.load for f in ran]) / at_least(params.a.truck_volume, 1e-9)
        ),
        "spot_share": spot / at_least(own + spot, 1e-9),
        "carrier_share": expedited / at_least(joined, 1e-9),
    }
    if ran[0].sent_to_hub_volume is not None:
        sent = all_sum(_sum([f.sent_to_hub_volume for f in ran]))
        figures["hub_share"] = sent / at_least(joined_ft3, 1e-9)
    return figures
