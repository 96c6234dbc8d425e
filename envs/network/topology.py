"""The network: nodes, lanes, products and regions, checked once when it is built."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.checks import Floats, Ints, Values
from stockyard.envs.network.checks import check as _check
from stockyard.envs.network.checks import floats as _floats
from stockyard.envs.network.checks import indices as _indices
from stockyard.envs.network.checks import ints as _ints
from stockyard.envs.network.freight import Freight, truck_volumes

__all__ = [
    "InboundLanes",
    "Network",
    "OutboundLanes",
    "Products",
    "Promise",
    "Rank",
    "Substitution",
    "TransferLanes",
    "Values",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Products:
    """The catalogue. Scalars are broadcast to all products.

    Raises:
        ValueError: if a field has a wrong shape or a value out of range; the field is named.
    """

    names: Sequence[str]  # P unique names; random streams are keyed by them
    volume: Values = 1.0  # (P,) ft3 a unit takes on the shelf
    price: Values = 0.0  # (P,) USD a customer pays
    unit_cost: Values = 0.0  # (P,) USD, the book value of a unit
    owner: Values = 0  # (P,) 0 the retailer, s the seller s
    group: Sequence[str] = ()  # P subcategories; empty: each product stands alone
    tariff_weight: Values = 1.0  # (P,) multiple of the outbound tariff: dimensional weight

    def __post_init__(self) -> None:
        """Checks and broadcasts the fields."""
        size = (len(self.names),)
        _check(len(self.names) > 0, "products.names", "must not be empty")
        _check(len(set(self.names)) == len(self.names), "products.names", "must be unique")
        _check(len(self.group) in (0, size[0]), "products.group", f"must have {size[0]} entries")
        for field in ("volume", "price", "unit_cost", "tariff_weight"):
            checked = _floats(getattr(self, field), size, f"products.{field}")
            object.__setattr__(self, field, checked)
        object.__setattr__(self, "owner", _ints(self.owner, size, "products.owner", 0, 10**6))

    @property
    def num_products(self) -> int:
        """Number of products, P."""
        return len(self.names)

    @property
    def num_owners(self) -> int:
        """Number of owners, O: the retailer and the sellers."""
        return int(self.owner.max()) + 1


@dataclasses.dataclass(frozen=True, eq=False)
class InboundLanes:
    """Lanes from suppliers to nodes. A product may travel on several (dual sourcing)."""

    head: Values  # (E_in,) node that the lane delivers to
    lead_time: Values = 1  # (E_in, P) periods, quoted by default
    unit_cost: Values = 0.0  # (E_in, P) USD paid per unit shipped
    supplier: Values = 0  # (E_in, P) supplier; -1: does not carry it
    minimum_order: Values = 0.0  # (E_in, P) units; below half of it nothing is ordered
    case_pack: Values = 0.0  # (E_in, P) units of a case, ordered whole; 0: single units


@dataclasses.dataclass(frozen=True, eq=False)
class TransferLanes:
    """Lanes between nodes. Without a truck size, goods leave at once at a cost per unit."""

    tail: Values = ()  # (E_tr,) node that sends
    head: Values = ()  # (E_tr,) node that receives
    transit: Values = 1  # (E_tr,) periods under way
    cost_per_unit: Values = 0.0  # (E_tr,) USD
    truck_volume: Values = np.inf  # (E_tr,) ft3; inf: no trucks


@dataclasses.dataclass(frozen=True, eq=False)
class OutboundLanes:
    """Lanes from nodes to customers' regions."""

    node: Values  # (E_out,) node that picks
    region: Values  # (E_out,) region that is served
    tier: Values = 0  # (E_out,) delivery speed, 0 the fastest
    tariff: Values = 0.0  # (E_out,) USD per unit, by distance
    truck_volume: Values = np.inf  # (E_out,) ft3; inf: no trucks
    distance: Values = 0.0  # (E_out,) miles


class Promise(NamedTuple):
    """What customers are promised in a period."""

    min_offered_tier: int = 0  # the fastest tier on offer: 1 hides one-day delivery
    acceptance_by_tier: tuple[float, ...] = (1.0,)  # share of customers content with each tier


class Rank(NamedTuple):
    """One rank of the regions' lists of sources; arrays of shape (R,)."""

    lane: Ints  # lane asked; -1 where a region's list is shorter
    node: Ints  # its node; 0 where there is none
    tier: Ints  # delivery tier at which it serves
    kept: Floats  # share of the region's open demand that accepts this lane's speed

    @property
    def is_shared(self) -> bool:
        """Whether two regions ask the same node at this rank."""
        asked = self.node[self.lane >= 0]
        return len(set(asked.tolist())) < len(asked)


class Substitution(NamedTuple):
    """One neighbour that every product may hand its unmet demand to; arrays of shape (P,)."""

    source: Ints  # product whose customers try this one
    receiver: Ints  # product that this one's customers try
    weight: Floats  # share of the source's unmet demand that comes here


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A directed acyclic graph of suppliers, nodes and regions, and what flows over it.

    Two echelons (inbound cross-docks, then fulfilment centres) are the retail default; a serial
    system is a chain of transfer lanes, one warehouse with many stores a star.

    Raises:
        ValueError: one per violated condition, naming the field.
    """

    nodes: Sequence[str]
    regions: Sequence[str]
    products: Products
    inbound: InboundLanes
    outbound: OutboundLanes
    transfers: TransferLanes = dataclasses.field(default_factory=TransferLanes)
    suppliers: Sequence[str] = ("supplier",)
    periods_per_day: int = 1
    acceptance_by_tier: Sequence[float] = (1.0,)  # share of customers content with tier k
    substitution: float = 0.0  # share of unmet demand that tries another product of the group
    slack_mix: Sequence[float] = ()  # share of parcels by slack 0..K when they join; () no trucks
    undated_share: float = 0.0  # share of parcels without a deadline; with `slack_mix` sums to 1
    parcel_volume_factor: float = 1.5  # parcel ft3 = factor * unit volume + fixed (MODEL 2.6)
    parcel_volume_fixed: float = 0.35  # ft3
    freight: Freight | None = None  # what trucks share; None: they come from nowhere
    node_latitude: Sequence[float] = ()  # degrees; for maps only
    node_longitude: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Checks every field against every other."""
        n, p, r, v = self.num_nodes, self.num_products, self.num_regions, len(self.suppliers)
        _check(n > 0, "nodes", "must not be empty")
        _check(r > 0, "regions", "must not be empty")
        for field in ("nodes", "regions", "suppliers"):
            names = getattr(self, field)
            _check(len(set(names)) == len(names), field, "must be unique names")
        _check(self.periods_per_day >= 1, "periods_per_day", "must be >= 1")
        checked = {
            "inbound": self._checked_inbound(n, p, v),
            "transfers": self._checked_transfers(n),
            "outbound": self._checked_outbound(n, r),
        }
        for field, lanes in checked.items():
            object.__setattr__(self, field, lanes)
        accepted = np.asarray(self.acceptance_by_tier, dtype=np.float64)
        _check(
            bool(accepted[0] == 1.0 and (np.diff(accepted) <= 0).all() and accepted[-1] > 0),
            "acceptance_by_tier",
            "must start at 1 and fall, staying above 0",
        )
        _check(0.0 <= self.substitution < 1.0, "substitution", "must lie in [0, 1)")
        if len(self.slack_mix):
            mix = np.asarray(self.slack_mix, dtype=np.float64)
            _check(bool((mix >= 0).all()), "slack_mix", "must be >= 0")
            _check(0.0 <= self.undated_share <= 1.0, "undated_share", "must lie in [0, 1]")
            total = float(mix.sum()) + self.undated_share
            _check(abs(total - 1.0) < 1e-9, "slack_mix", "must sum to 1 with undated_share")
        else:
            limited = np.isfinite(self.outbound.truck_volume).any()
            _check(not limited, "slack_mix", "is needed where outbound lanes run trucks")
        if self.freight is not None:
            object.__setattr__(self, "freight", self.freight.checked(self))
        self._check_acyclic()

    def _checked_inbound(self, n: int, p: int, v: int) -> InboundLanes:
        lanes = self.inbound
        head = _indices(lanes.head, "inbound.head", n)
        _check(len(head) > 0, "inbound.head", "must name at least one lane")
        shape = (len(head), p)
        return InboundLanes(
            head=head,
            lead_time=_ints(lanes.lead_time, shape, "inbound.lead_time", 0, 9999),
            unit_cost=_floats(lanes.unit_cost, shape, "inbound.unit_cost"),
            supplier=_ints(lanes.supplier, shape, "inbound.supplier", -1, v - 1),
            minimum_order=_floats(lanes.minimum_order, shape, "inbound.minimum_order"),
            case_pack=_floats(lanes.case_pack, shape, "inbound.case_pack"),
        )

    def _checked_transfers(self, n: int) -> TransferLanes:
        lanes = self.transfers
        tail = _indices(lanes.tail, "transfers.tail", n)
        shape = (len(tail),)
        transit = _ints(lanes.transit, shape, "transfers.transit", 0, 9999)
        trucks = _floats(lanes.truck_volume, shape, "transfers.truck_volume")
        _check(
            bool(transit[np.isfinite(trucks)].all()),
            "transfers.transit",
            "must be >= 1 on lanes with trucks",
        )
        return TransferLanes(
            tail=tail,
            head=_ints(lanes.head, shape, "transfers.head", 0, n - 1),
            transit=transit,
            cost_per_unit=_floats(lanes.cost_per_unit, shape, "transfers.cost_per_unit"),
            truck_volume=trucks,
        )

    def _checked_outbound(self, n: int, r: int) -> OutboundLanes:
        lanes = self.outbound
        node = _indices(lanes.node, "outbound.node", n)
        shape, tiers = (len(node),), len(self.acceptance_by_tier)
        return OutboundLanes(
            node=node,
            region=_ints(lanes.region, shape, "outbound.region", 0, r - 1),
            tier=_ints(lanes.tier, shape, "outbound.tier", 0, tiers - 1),
            tariff=_floats(lanes.tariff, shape, "outbound.tariff"),
            truck_volume=_floats(lanes.truck_volume, shape, "outbound.truck_volume"),
            distance=_floats(lanes.distance, shape, "outbound.distance"),
        )

    def _check_acyclic(self) -> None:
        """Kahn's algorithm: a cycle of transfer lanes leaves nodes that nothing releases."""
        waiting = set(range(self.num_nodes))
        edges = list(zip(self.transfers.tail.tolist(), self.transfers.head.tolist(), strict=True))
        while waiting:
            free = {k for k in waiting if not any(h == k and t in waiting for t, h in edges)}
            if not free:
                cycle = sorted(self.nodes[k] for k in waiting)
                raise ValueError(f"transfers: lanes form a cycle among {cycle}")
            waiting -= free

    @property
    def num_nodes(self) -> int:
        """Number of nodes, N."""
        return len(self.nodes)

    @property
    def num_products(self) -> int:
        """Number of products, P."""
        return self.products.num_products

    @property
    def num_regions(self) -> int:
        """Number of regions, R."""
        return len(self.regions)

    @property
    def has_parcels(self) -> bool:
        """Whether sold units wait for outbound trucks; otherwise they leave at a tariff."""
        return bool(len(self.slack_mix))

    @property
    def has_transfer_trucks(self) -> bool:
        """Whether some transfer lane needs trucks."""
        return bool(np.isfinite(self.transfers.truck_volume).any())

    @functools.cached_property
    def truck_volume(self) -> Floats:
        """What a truck of each truck lane takes, (L,) ft3; inf where a lane needs none."""
        return truck_volumes(self)

    @property
    def num_parcel_lanes(self) -> int:
        """Number of lanes with bins of parcels, F: outbound lanes, and what `Freight` adds."""
        outs = len(self.outbound.node)
        return outs if self.freight is None else len(self.freight.fee_weight)

    @functools.cached_property
    def carries(self) -> npt.NDArray[np.bool_]:
        """(E_in, P) whether an inbound lane carries a product."""
        return np.asarray(self.inbound.supplier >= 0)

    @functools.cached_property
    def substitutions(self) -> tuple[Substitution, ...]:
        """Who takes over unmet demand, one entry per neighbour within a group.

        Each product of a group of n passes `substitution / (n - 1)` of its unmet demand to each
        of the others.
        """
        if not self.substitution or not len(self.products.group):
            return ()
        members: dict[str, list[int]] = {}
        for product, group in enumerate(self.products.group):
            members.setdefault(group, []).append(product)
        neighbours = []
        for shift in range(1, max(len(ids) for ids in members.values())):
            source = np.arange(self.num_products)
            receiver = source.copy()
            weight = np.zeros(self.num_products)
            for ids in members.values():
                if len(ids) > shift:
                    source[ids] = np.roll(ids, shift)
                    receiver[ids] = np.roll(ids, -shift)
                    weight[ids] = self.substitution / (len(ids) - 1)
            neighbours.append(Substitution(source, receiver, weight))
        return tuple(neighbours)

    @property
    def promise(self) -> Promise:
        """What customers are promised unless a tape says otherwise."""
        return Promise(0, tuple(self.acceptance_by_tier))

    def ranks(self, promise: Promise | None = None) -> tuple[Rank, ...]:
        """The order in which regions ask nodes: by delivery tier, tariff, distance, then lane.

        A lane faster than the fastest tier on offer delivers, and is accepted, at that tier.
        """
        promise = self.promise if promise is None else promise
        min_offered_tier, acceptance = promise
        lanes, regions = self.outbound, range(self.num_regions)
        slowest = len(acceptance) - 1
        tier = np.minimum(np.maximum(lanes.tier, min_offered_tier), slowest)
        lists = []
        for region in regions:
            own = np.flatnonzero(lanes.region == region)
            keys = (own, lanes.distance[own], lanes.tariff[own], tier[own])
            lists.append(own[np.lexsort(keys)].tolist())
        willing = np.ones(self.num_regions)
        ranks = []
        for k in range(max(len(own) for own in lists)):
            lane = np.array([own[k] if k < len(own) else -1 for own in lists])
            there = lane >= 0
            accepted = np.asarray(acceptance)[np.where(there, tier[lane], 0)]
            accepted = np.where(there, np.minimum(willing, accepted), willing)
            node = np.where(there, lanes.node[lane], 0)
            ranks.append(Rank(lane, node, np.where(there, tier[lane], 0), accepted / willing))
            willing = accepted
        return tuple(ranks)

    def __getstate__(self) -> dict[str, object]:
        """Leaves out caches, which cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
