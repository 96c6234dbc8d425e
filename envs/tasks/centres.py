"""Where stock can be placed: the centres, the lanes that reach them, and whom they serve."""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, stack, take
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.place import position_at_nodes
from stockyard.envs.network.state import State
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VELOCITIES, SIZES = 3, 2
"""Classes of products: thirds by mean demand, and within each two halves by volume of a unit."""


class Centres:
    """The fulfilment centres of a network: nodes that head a transfer lane, in node order.

    A product comes from its dock, the node that its first supplier's lane delivers to, and reaches
    a centre on the first lane between the two.
    """

    def __init__(self, network: Network) -> None:
        """Looks the lanes up once; nothing of it changes."""
        self.network = network
        lanes = network.transfers
        products = network.num_products
        self.nodes: Ints = np.unique(np.asarray(lanes.head, dtype=np.int64))
        carried = network.carries.any(axis=0)
        first = np.asarray(network.inbound.head)[network.carries.argmax(axis=0)]
        self.dock_of: Ints = np.where(carried, first, -1)  # (P,) node; -1: no supplier
        self.lane_of: Ints = np.full((products, len(self.nodes)), -1)  # transfer lane; -1: none
        self.direct_of: Ints = self.lane_of.copy()  # inbound lane into the centre; -1: none
        for f, node in enumerate(self.nodes.tolist()):
            for e in reversed(np.flatnonzero(lanes.head == node).tolist()):
                self.lane_of[self.dock_of == lanes.tail[e], f] = e
            for e in reversed(np.flatnonzero(network.inbound.head == node).tolist()):
                self.direct_of[network.carries[e], f] = e
        found = np.searchsorted(self.nodes, lanes.head)
        self.centre_of_lane: Ints = np.asarray(found, dtype=np.int64)  # (E_tr,)

    @property
    def count(self) -> int:
        """Number of centres, F."""
        return len(self.nodes)

    @functools.cached_property
    def served(self) -> Floats:
        """Share of each region's demand that a cover of the centre is counted in, (F, R).

        A region that asks the centre first counts in full. Of the other centres that deliver to it
        faster than the slowest tier, each counts an equal share: so a large centre that is the
        second choice of many regions has a cover of its own, and a local one is not filled for
        regions that it would only serve slowly. A centre to which neither applies counts an equal
        share of every region that lists it.
        """
        network, lanes = self.network, self.network.outbound
        first = network.ranks()[0]
        regions = np.arange(network.num_regions)
        slowest = len(network.acceptance_by_tier) - 1
        listed = np.zeros((self.count, network.num_regions))
        fast = listed.copy()
        for node, region, tier in zip(lanes.node, lanes.region, lanes.tier, strict=True):
            listed[self.nodes == node, region] = 1.0
            if tier < slowest:
                fast[self.nodes == node, region] = 1.0
        own = listed * (self.nodes[:, None] == np.where(first.lane >= 0, first.node, -1)[regions])
        second = np.maximum(fast - own, 0.0)
        served = own + second / np.maximum(second.sum(axis=0), 1.0)
        idle = served.sum(axis=1) == 0.0
        served[idle] = (listed / np.maximum(listed.sum(axis=0), 1.0))[idle]
        return np.asarray(served)

    def classes(self, rate: Floats) -> Ints:
        """Class of each product, (P,): 2 * third by mean demand (0 the quickest) + half by volume.

        Args:
            rate: (P,) mean units per period.
        """
        products = self.network.num_products
        rank = np.empty(products, dtype=np.int64)
        rank[np.argsort(-rate, kind="stable")] = np.arange(products)
        third = rank * VELOCITIES // products
        half = np.zeros(products, dtype=np.int64)
        for k in range(VELOCITIES):
            members = np.flatnonzero(third == k)
            by_size = members[np.argsort(self.network.products.volume[members], kind="stable")]
            half[by_size] = np.arange(len(members)) * SIZES // max(len(members), 1)
        return third * SIZES + half

    # arrays of a backend

    def served_daily(self, daily: Array) -> Array:
        """Demand that covers are counted in, (B, F, P) units per day.

        Args:
            daily: (B, R, P) units per day by region.
        """
        rows = []
        for weights in self.served:
            total: Array = daily[:, 0] * float(weights[0])
            for region in np.flatnonzero(weights[1:]) + 1:
                total = total + daily[:, int(region)] * float(weights[region])
            rows.append(total)
        return stack(rows, axis=1)

    def position(self, params: Params, state: State) -> Array:
        """Units at each centre or on a lane to it, (B, F, P)."""
        return take(position_at_nodes(params, state), self._plan(params).nodes)

    def dock_stock(self, params: Params, state: State) -> Array:
        """Units of each product on hand at its dock, (B, P)."""
        total: Array | None = None
        for dock, mask in self._plan(params).docks:
            units = state.on_hand[:, dock] if mask is None else state.on_hand[:, dock] * mask
            total = units if total is None else total + units
        return total

    def reached(self, params: Params) -> Array:
        """1 where a lane leads from the product's dock to the centre, (F, P)."""
        return self._plan(params).reached

    def on_lanes(self, params: Params, units: Array) -> Array:
        """Units for each centre (B, F, P) on the lanes from the products' docks, (B, E_tr, P)."""
        plan = self._plan(params)
        by_lane = take(units, plan.centre_of_lane)
        return by_lane if plan.own is None else by_lane * plan.own

    def from_lanes(self, params: Params, units: Array) -> Array:
        """What lanes carry (B, E_tr, P), those from the products' docks alone, (B, F, P)."""
        plan = self._plan(params)
        own = units if plan.own is None else units * plan.own
        rows = []
        for f in range(self.count):
            lanes = np.flatnonzero(self.centre_of_lane == f).tolist()
            rows.append(sum((own[:, e] for e in lanes[1:]), start=own[:, lanes[0]]))
        return stack(rows, axis=1)

    def split_orders(self, params: Params, units: Array, share: Array, weights: Array) -> Array:
        """Sends a share of orders straight to the centres, the rest to the docks.

        Args:
            params: the network.
            units: (B, P) units ordered.
            share: (B, P) of them that skip the dock, in [0, 1].
            weights: (B, F, P) in what proportion the centres with a lane from the supplier get it.

        Returns:
            (B, E_in, P) orders by lane; together `units` where a product has a supplier.
        """
        direct = self._plan(params).direct
        nothing = units * 0.0
        total = sum((weights[:, f] * mask for _, f, mask in direct), start=nothing)
        part = share * units / (total + (total <= 0.0) * 1.0)
        lanes: list[Array] = [nothing] * len(self.network.inbound.head)
        for lane, f, mask in direct:
            lanes[lane] = part * weights[:, f] * mask
        left = units - sum(lanes, start=nothing)
        for lane, first in enumerate(params.plans.first_lane_masks):
            lanes[lane] = lanes[lane] + (left if first is None else left * first)
        return stack(lanes, axis=1)

    def _plan(self, params: Params) -> "_Plan":
        return _plan_of(self, params)


class _Plan(NamedTuple):
    """The geometry in the arrays of a backend."""

    nodes: Any  # (F,) index
    centre_of_lane: Any  # (E_tr,) index
    own: Array | None  # (E_tr, P) 1 where the lane brings the product from its dock; None: all do
    reached: Array  # (F, P)
    docks: tuple[tuple[int, Array | None], ...]  # (node, (P,) products that it is the dock of)
    direct: tuple[tuple[int, int, Array], ...]  # (inbound lane, centre, (P,) products it is for)


@functools.lru_cache(maxsize=64)
def _plan_of(centres: Centres, params: Params) -> _Plan:
    make = array_maker(params.backend, params.dtype, params.device)
    lanes = np.arange(len(centres.centre_of_lane))
    own = (centres.lane_of.T[centres.centre_of_lane] == lanes[:, None]) * 1.0
    docks = sorted(set(centres.dock_of.tolist()) - {-1})
    return _Plan(
        nodes=params.index(centres.nodes),
        centre_of_lane=params.index(centres.centre_of_lane),
        own=None if own.all() else make(own),
        reached=make(centres.lane_of.T >= 0),
        docks=tuple(
            (dock, None if (centres.dock_of == dock).all() else make(centres.dock_of == dock))
            for dock in docks
        ),
        direct=tuple(
            (lane, f, make(centres.direct_of[:, f] == lane))
            for f in range(centres.count)
            for lane in sorted(set(centres.direct_of[:, f].tolist()) - {-1})
        ),
    )
