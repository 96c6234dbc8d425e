"""The numbers of the step in one array namespace and precision, prepared once."""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple

import numpy as np

from stockyard.envs.network.arrays import Array, SumPlan, index_of
from stockyard.envs.network.capacities import Congestion
from stockyard.envs.network.economics import Economics, handling_values
from stockyard.envs.network.seller_traits import Sellers
from stockyard.envs.network.topology import Network, Promise, Rank, Substitution

Backend = Literal["numpy", "torch"]


def array_maker(backend: Backend, dtype: str, device: str = "cpu") -> Any:
    """Returns a function that turns NumPy values into read-only arrays of the backend.

    Raises:
        ValueError: if `backend` or `dtype` is unknown.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype: must be 'float32' or 'float64', got {dtype!r}")
    if backend == "numpy":
        return functools.partial(_read_only, dtype=dtype)
    if backend == "torch":
        return functools.partial(_tensor, dtype=dtype, device=device)
    raise ValueError(f"backend: must be 'numpy' or 'torch', got {backend!r}")


def _read_only(values: Any, dtype: str) -> Array:
    array = np.array(values, dtype=dtype)  # keeps the order in memory
    array.setflags(write=False)
    return array


def _tensor(values: Any, dtype: str, device: str) -> Array:
    import torch

    return torch.tensor(np.array(values, dtype=dtype), dtype=getattr(torch, dtype), device=device)


def _by_entity(values: Any, entities: int, network: Network) -> Any:
    """A rate per entity (E,), or (E, P) where it is given by product.

    Raises:
        ValueError: if it fits neither shape.
    """
    rates = np.asarray(values, dtype=np.float64)
    shape = (entities,) if rates.ndim < 2 else (entities, network.num_products)
    return np.broadcast_to(rates, shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Params:
    """Everything about a network that no period changes.

    The flags `has_docks` to `supplier_is_limited` say which limits exist; what is not limited costs
    nothing.
    """

    network: Network
    economics: Economics
    whole_units: bool = False  # round orders, transfers and rations to whole units
    fluid_trucks: bool = False  # real numbers of trucks, for gradients
    review_days: float = 1.0  # days of supplier capacity that one order may use
    has_docks: bool = False  # receiving, storage or yard space is limited: goods wait in a yard
    dock_is_limited: bool = False
    storage_is_limited: bool = False
    yard_is_limited: bool = False
    outbound_is_limited: bool = False
    supplier_is_limited: bool = False
    congestion: Congestion | None = None  # docks slow down as buildings fill up
    sellers: Sellers | None = None  # who decides for products of other owners; None: orders do
    backend: Backend = "numpy"
    dtype: str = "float64"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Derives the arrays that the phases multiply with."""
        make = array_maker(self.backend, self.dtype, self.device)
        network, economics = self.network, self.economics
        products, days = network.products, 1.0 / network.periods_per_day
        third_party = products.owner > 0
        if (self.storage_is_limited or self.yard_is_limited) and not self.has_docks:
            raise ValueError("has_docks: must be true where storage or yard space is limited")
        if self.has_docks and (
            not network.inbound.lead_time[network.carries].all()
            or not network.transfers.transit.all()
        ):
            raise ValueError(
                "inbound.lead_time: lead time or transit 0 is allowed only where receiving, "
                "storage and yard are unlimited"
            )
        handling_node, handling_transfer = handling_values(network, economics)
        handling_yard = np.maximum(handling_node - economics.receive_per_unit, 0.0)
        truck_volume = network.truck_volume
        slack_mix: Any = (*network.slack_mix, network.undated_share) if network.has_parcels else ()
        if network.freight is not None:
            slack_mix = network.freight.slack_mix
        every_product = np.ones(network.num_products)
        derived = {
            "volume": products.volume,
            "unit_cost": products.unit_cost,
            "price_retail": products.price * ~third_party,
            "price_sellers": products.price * third_party,
            "seller_fee": third_party
            * (economics.seller_referral_fraction * products.price + economics.seller_fee_per_unit),
            "own": ~third_party,
            "own_cost": products.unit_cost * ~third_party,
            "third_party_cost": products.unit_cost * third_party,
            "order_cost_own": network.inbound.unit_cost * ~third_party,
            "order_cost_sellers": network.inbound.unit_cost * third_party,
            "carries": network.carries,
            "minimum_order": network.inbound.minimum_order,
            "case_pack": network.inbound.case_pack,
            "tariff_weight": products.tariff_weight,
            "transfer_cost": network.transfers.cost_per_unit,
            "holding": _by_entity(economics.holding_per_unit, network.num_nodes, network),
            "shortage": _by_entity(economics.shortage_per_unit, network.num_regions, network),
            "transit_holding": np.broadcast_to(
                economics.transit_holding_per_unit, (len(network.transfers.tail),)
            ),
            "parcel_volume": network.parcel_volume_factor * products.volume
            + network.parcel_volume_fixed,
            "slack_mix": slack_mix,
            "has_trucks": np.isfinite(truck_volume),
            "truck_volume": np.where(np.isfinite(truck_volume), truck_volume, 0.0),
            "truck_cost": np.broadcast_to(economics.cost_per_truck, truck_volume.shape),
            "handling_node": handling_node[:, None] * every_product,
            "handling_yard": handling_yard[:, None] * every_product,
            "handling_transfer": handling_transfer[:, None] * every_product,
        }
        object.__setattr__(self, "a", Arrays(**{k: make(v) for k, v in derived.items()}))
        object.__setattr__(self, "days_per_period", days)
        several_tiers = len(network.acceptance_by_tier) > 1
        has_tariff = bool(network.outbound.tariff.any())
        flags = {
            "orders_in_lots": network.inbound.minimum_order.any()
            or network.inbound.case_pack.any(),
            "weighs_tariff": (products.tariff_weight != 1.0).any(),
            "pays_purchases": network.inbound.unit_cost.any(),
            "pays_transfers": network.transfers.cost_per_unit.any(),
            "pays_holding": np.any(economics.holding_per_unit),
            "pays_shortage": np.any(economics.shortage_per_unit),
            "pays_transit_holding": np.any(economics.transit_holding_per_unit)
            and len(network.transfers.tail),
        }
        for name, flag in flags.items():
            object.__setattr__(self, name, bool(flag))
        counts_picks = several_tiers or has_tariff or self.outbound_is_limited
        object.__setattr__(self, "counts_picks", counts_picks)
        rented = bool(economics.storage_rent_per_ft3_day)
        object.__setattr__(self, "counts_volume", rented or self.storage_is_limited)
        fed = set(network.transfers.head.tolist()) & set(network.inbound.head.tolist())
        object.__setattr__(self, "feeds_twice", bool(fed))
        object.__setattr__(self, "has_third_party", bool(third_party.any()))
        if self.congestion is not None and not (self.dock_is_limited and self.storage_is_limited):
            raise ValueError("congestion: needs docks and storage to be limited")
        object.__setattr__(self, "substitutions", self._substitutions(make))
        object.__setattr__(self, "plans", self._plans())
        object.__setattr__(self, "_ranks", {})
        object.__setattr__(self, "seller_plan", self._seller_plan(make))

    # set in __post_init__
    a: "Arrays" = dataclasses.field(init=False, repr=False)
    days_per_period: float = dataclasses.field(init=False)
    has_third_party: bool = dataclasses.field(init=False)
    counts_picks: bool = dataclasses.field(init=False)  # someone asks how much each lane carried
    counts_volume: bool = dataclasses.field(init=False)  # shelf space is limited or costs rent
    feeds_twice: bool = dataclasses.field(init=False)  # suppliers and transfers reach some node
    orders_in_lots: bool = dataclasses.field(init=False)  # some order has a minimum or cases
    weighs_tariff: bool = dataclasses.field(init=False)  # the tariff differs by product
    pays_purchases: bool = dataclasses.field(init=False)
    pays_transfers: bool = dataclasses.field(init=False)
    pays_holding: bool = dataclasses.field(init=False)
    pays_shortage: bool = dataclasses.field(init=False)
    pays_transit_holding: bool = dataclasses.field(init=False)
    substitutions: tuple[Substitution, ...] = dataclasses.field(init=False, repr=False)
    plans: "Plans" = dataclasses.field(init=False, repr=False)
    seller_plan: "SellerPlan | None" = dataclasses.field(init=False, repr=False)
    _ranks: dict[Promise, tuple["RankPlan", ...]] = dataclasses.field(init=False, repr=False)

    def index(self, values: Any) -> Any:
        """An index of the backend for `arrays.take`."""
        index = index_of(values)
        if self.backend == "numpy" or isinstance(index, slice):
            return index
        import torch

        return torch.as_tensor(np.array(index), device=self.device)

    def mask(self, selected: Any) -> Array | None:
        """An array (E, P), 1 for the selected lanes, (E,) or (E, P); None where all are."""
        if selected.all():
            return None
        if selected.ndim == 1:
            selected = selected[:, None] * np.ones(self.network.num_products)
        return array_maker(self.backend, self.dtype, self.device)(selected)

    def _plans(self) -> "Plans":
        network = self.network
        n = network.num_nodes
        inbound, transfers = network.inbound.head, network.transfers.head
        carries, lead = network.carries, network.inbound.lead_time
        first_lane = np.where(carries.any(axis=0), carries.argmax(axis=0), -1)
        return Plans(
            carried=self.mask(carries),
            tails_are_shared=len(set(network.transfers.tail.tolist())) < len(transfers),
            lead_masks=tuple(
                (k, self.mask((lead == k) | ~carries)) for k in sorted(set(lead[carries].tolist()))
            ),
            first_lane_masks=tuple(
                None if mask is None else mask[0]
                for mask in (self.mask(first_lane[None] == e) for e in range(len(carries)))
            ),
            supplier_masks=tuple(
                (v, self.mask(network.inbound.supplier == v))
                for v in sorted(set(network.inbound.supplier[carries].tolist()))
            ),
            inbound_to_node=SumPlan.of(inbound, n),
            transfers_to_node=SumPlan.of(transfers, n),
            transfers_from_node=SumPlan.of(network.transfers.tail, n),
            from_tail_order=self.index(
                np.argsort(np.argsort(network.transfers.tail, kind="stable"))
            ),
            transit_masks=tuple(
                (k, self.mask(network.transfers.transit == k))
                for k in sorted(set(network.transfers.transit.tolist()))
            ),
            inbound_head=self.index(inbound),
            transfer_head=self.index(transfers),
            transfer_tail=self.index(network.transfers.tail),
        )

    def ranks(self, promise: Promise) -> tuple["RankPlan", ...]:
        """The waterfall's plan under a promise."""
        if promise not in self._ranks:
            make = array_maker(self.backend, self.dtype, self.device)
            n, tariff = self.network.num_nodes, self.network.outbound.tariff
            plans = []
            for rank in self.network.ranks(promise):
                there = rank.lane >= 0
                node_of = np.where(there, rank.node, -1)
                tariffs = np.where(there, tariff[rank.lane], 0.0)
                plans.append(
                    RankPlan(
                        rank=rank,
                        node=self.index(rank.node),
                        kept=None if (rank.kept == 1.0).all() else make(rank.kept[:, None]),
                        there=None if there.all() else make(there[:, None]),
                        is_shared=rank.is_shared,
                        claims=tuple(
                            (k, tuple(np.flatnonzero(rank.node == k).tolist()))
                            for k in sorted(set(rank.node.tolist()))
                        ),
                        to_node=SumPlan.of(node_of, n),
                        tariff=make(tariffs) if tariffs.any() else None,
                    )
                )
            self._ranks[promise] = tuple(plans)
        return self._ranks[promise]

    def _seller_plan(self, make: Any) -> "SellerPlan | None":
        sellers, network, economics = self.sellers, self.network, self.economics
        if sellers is None:
            return None
        products, days = network.products, 1.0 / network.periods_per_day
        third_party = products.owner > 0
        kept = products.price * (1.0 - economics.seller_referral_fraction)
        capital = economics.capital_rate_per_year / 365.0 * sellers.holding_days
        carries = network.carries
        lane = carries.argmax(axis=0)
        first = (np.arange(len(carries))[:, None] == lane) & carries
        lead = (network.inbound.lead_time * first).sum(axis=0) * days
        plays = (sellers.inflation > 0.0)[sellers.of_product] & third_party
        return SellerPlan(
            of_product=self.index(sellers.of_product),
            size_class=self.index(sellers.size_class),
            one_price=self.index(np.zeros(network.num_products)),
            to_seller=SumPlan.of(products.owner - 1, sellers.num_sellers),
            third_party=make(third_party),
            first_lane=make(first & third_party),
            lead_days=make(lead),
            margin=make((kept - economics.seller_fee_per_unit - products.unit_cost) * third_party),
            kept_price=make(kept * third_party),
            left_over=make(np.maximum(products.unit_cost * (capital + sellers.obsolescence), 1e-3)),
            rent_days=make(products.volume * sellers.holding_days),
            inflation=make(sellers.inflation),
            hoarding=make(sellers.hoarding),
            shading=make(sellers.shading),
            plays=make(plays),
            merchant_share=make(
                np.asarray(sellers.merchant_share)[sellers.of_product]
                * third_party
                * network.acceptance_by_tier[-1]
            ),
            scale_of_mean=1.0 / math.gamma(1.0 + 1.0 / sellers.demand_shape),
            demand_shape=sellers.demand_shape,
            anticipation=sellers.anticipation,
            most_cut=sellers.most_cut,
            cut_elasticity=sellers.cut_elasticity,
            pays_as_bid=sellers.payment == "pay_as_bid",
            pay_as_bid_shading=sellers.pay_as_bid_shading,
        )

    def _substitutions(self, make: Any) -> tuple[Substitution, ...]:
        return tuple(
            Substitution(self.index(n.source), self.index(n.receiver), make(n.weight))
            for n in self.network.substitutions
        )

    @property
    def is_backorder(self) -> bool:
        """Whether unmet demand is owed rather than lost."""
        return self.economics.unmet == "backorder"


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """Constants of `Params` in its backend and precision, read-only."""

    volume: Array  # (P,) ft3
    unit_cost: Array  # (P,) USD
    price_retail: Array  # (P,) USD, zero for sellers' products
    price_sellers: Array  # (P,) USD, zero for the retailer's products
    seller_fee: Array  # (P,) USD a seller pays per unit sold
    own: Array  # (P,) 1 for the retailer's products
    own_cost: Array  # (P,) USD, zero for sellers' products
    third_party_cost: Array  # (P,) USD, zero for the retailer's products
    order_cost_own: Array  # (E_in, P) USD, zero for sellers' products
    order_cost_sellers: Array  # (E_in, P) USD, zero for the retailer's products
    carries: Array  # (E_in, P) 1 where the lane carries the product
    minimum_order: Array  # (E_in, P) units
    case_pack: Array  # (E_in, P) units; 0: single units
    tariff_weight: Array  # (P,) multiple of the outbound tariff
    transfer_cost: Array  # (E_tr,) USD per unit
    holding: Array  # (N,) USD per unit and period; (N, P) where products differ
    shortage: Array  # (R,) USD per unit short; (R, P) where products differ
    transit_holding: Array  # (E_tr,) USD per unit and period
    parcel_volume: Array  # (P,) ft3
    # (K+2,) share of parcels by slack 0..K, and without a deadline; (F, K+2) with `Freight`
    slack_mix: Array
    has_trucks: Array  # (L,) 1 where the lane needs trucks
    truck_volume: Array  # (L,) ft3 a truck holds; 0 where the lane needs none
    truck_cost: Array  # (L,) USD
    handling_node: Array  # (N, P) USD per unit paid so far
    handling_yard: Array  # (N, P)
    handling_transfer: Array  # (E_tr, P)


class Plans(NamedTuple):
    """How lanes add up to nodes, and where they begin and end; a mask is None where all are in."""

    carried: Array | None  # (E_in, P) the lane carries the product
    tails_are_shared: bool  # two transfer lanes leave some node
    lead_masks: tuple[tuple[int, Array | None], ...]  # (periods, (E_in, P) with that lead time)
    first_lane_masks: tuple[Array | None, ...]  # per lane (P,): first to carry the product
    supplier_masks: tuple[tuple[int, Array | None], ...]  # (supplier, (E_in, P) it serves)
    inbound_to_node: SumPlan
    transfers_to_node: SumPlan
    transfers_from_node: SumPlan
    from_tail_order: Any  # (E_tr,) index that undoes a stable sort of the lanes by tail
    transit_masks: tuple[tuple[int, Array | None], ...]  # (periods, lanes (E_tr, P))
    inbound_head: Any  # (E_in,) index
    transfer_head: Any  # (E_tr,) index
    transfer_tail: Any  # (E_tr,) index


class RankPlan(NamedTuple):
    """One rank of the waterfall in the backend's arrays."""

    rank: Rank
    node: Any  # (R,) index of the node asked
    kept: Array | None  # (R, 1); None: everybody accepts
    there: Array | None  # (R, 1) 0 where a region has no source at this rank; None: all have
    is_shared: bool
    claims: tuple[tuple[int, tuple[int, ...]], ...]  # the nodes asked, and who asks each
    to_node: SumPlan
    tariff: Array | None  # (R,) USD per unit


class SellerPlan(NamedTuple):
    """What sellers decide by, in the backend's arrays; see `seller_traits.Sellers`."""

    of_product: Any  # (P,) index of each product's seller
    size_class: Any  # (P,) index of each product's size class
    one_price: Any  # (P,) index that gives every product the same entry
    to_seller: SumPlan  # how products add up to sellers
    third_party: Array  # (P,) 1 for sellers' products
    first_lane: Array  # (E_in, P) 1 on the first lane that carries a seller's product
    lead_days: Array  # (P,) days on that lane, where suppliers quote none
    margin: Array  # (P,) USD that a seller earns per unit at the list price, zero for others
    kept_price: Array  # (P,) USD of a unit's price that a seller keeps
    left_over: Array  # (P,) USD that a unit left over costs its seller
    rent_days: Array  # (P,) ft3-days that a unit is taken to stay
    inflation: Array  # (S,)
    hoarding: Array  # (S,)
    shading: Array  # (S,)
    plays: Array  # (P,) 1 where the seller plays the system
    merchant_share: Array  # (P,) share of customers of an empty shelf whom the seller serves
    scale_of_mean: float  # of the Weibull distribution
    demand_shape: float
    anticipation: float
    most_cut: float
    cut_elasticity: float
    pays_as_bid: bool
    pay_as_bid_shading: float
