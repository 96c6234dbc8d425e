"""What a shared network must know of an environment beside its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.learners.features import ReplenishmentTable, Table
from stockyard.agents.learners.placement_features import PlacementTable
from stockyard.agents.learners.seller_features import SellerTable
from stockyard.agents.learners.truck_features import TruckTable
from stockyard.envs.network.topology import Network
from stockyard.envs.network.world import World
from stockyard.envs.tasks.task import ActionMode

Floats = NDArray[np.float64]

GLOBAL_FIELDS = (
    "storage_capacity",
    "receiving_capacity",
    "season",
    "days_to_event",
    "periods_to_review",
)
"""Fields that belong to no product; the first axis of a capacity is nodes."""

NODE_FIELDS = ("on_hand", "yard")
"""Fields (P, N) whose second axis is nodes, of which there may be any number."""

SLOTS = ("replenish", "place")
"""Slots whose decisions these networks take lane by lane, in the order of their lanes; besides
them they take the slot `restock` by itself, seller by seller."""

POSITION = 0
"""Index, among a lane's own features, of the stock that its order-up-to level is compared with."""


TABLES: dict[str, type[Table]] = {
    table.name: table for table in (ReplenishmentTable, PlacementTable, SellerTable, TruckTable)
}
"""Tables of retail tasks by name, that of the task's class."""


@dataclass(frozen=True, eq=False)
class Layout:
    """An environment as a table of decisions: product p on lane k, K lanes for each of P products.

    Features of a decision are linear functionals of the observation's fields; those of the lane's
    own stock are in units of the mean demand that the lane serves, so that one set of weights
    serves all lanes.
    """

    mode: ActionMode  # of policies
    shapes: dict[str, tuple[int, ...]]  # field -> shape of an observation
    scales: dict[str, Floats]  # field -> typical size, broadcastable to its shape
    own: dict[str, Floats]  # field -> (M, K, F) functionals of its M entries per product
    common: dict[str, Floats]  # field -> (M, F') functionals that all lanes of a product see
    static: Floats  # (P, K, S) features that no period changes
    rate: Floats  # (P, K) mean demand of a review that the lane serves, units
    total_rate: Floats  # (P,) mean demand of a review, units
    cover: Floats  # (K,) reviews that an order-up-to level of the lane has to cover
    faster: Floats  # (K, K) [k, j] = 1 where lane j is decided first and counts for lane k
    low: Floats  # (P, K) lowest action
    high: Floats  # (P, K) highest action
    action_shape: tuple[int, ...]  # of one environment
    lanes_by_slot: tuple[int, ...]  # an action is the (P, lanes) of one slot after another
    table: Table | None = None  # of retail tasks; then `own` and `common` are empty

    @classmethod
    def of(cls, env: Any) -> Layout:
        """Reads a built environment, single or vector, wrapped or not.

        Raises:
            ValueError: if the environment hands out decisions that these networks do not take.
        """
        base = env.unwrapped
        if base.task.slots == ("restock",):
            return _of_sellers(base)
        if base.task.slots == ("dispatch",) and base.world.network.freight is not None:
            return _of_trucks(base)
        other = [slot for slot in base.task.slots if slot not in SLOTS]
        if other:
            raise ValueError(f"hindsight: decides {' and '.join(SLOTS)}, not {', '.join(other)}")
        if hasattr(base.task, "action_parts"):
            return _of_lanes(base, base.world)
        name = type(base.task).__name__.lower()
        if name == PlacementTable.name or (
            name in TABLES and base.world.shows_history and len(base.single_action_space.shape) == 1
        ):
            return _of_table(base, TABLES[name].of(base, _shapes(base)))
        return _of_products(base, base.world)

    @property
    def num_products(self) -> int:
        """Number of products, P."""
        return int(self.static.shape[0])

    @property
    def num_lanes(self) -> int:
        """Decisions per product, K."""
        return int(self.static.shape[1])

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of products that features are made of."""
        return tuple(name for name in self.shapes if name in self.own or name in self.common)

    @property
    def features(self) -> dict[str, int]:
        """Group of features of a decision -> how many; equal ones fit the same weights."""
        if self.table is not None:
            return dict(self.table.features)
        own = next(iter(self.own.values())).shape[2]
        common = {name: self.common[name].shape[1] for name in self.fields if name in self.common}
        return {"own stock": own, **common, "static": self.static.shape[2]}

    @property
    def global_features(self) -> dict[str, int]:
        """Field that belongs to no decision -> its features; capacities are averaged over nodes."""
        if self.table is not None:
            return dict(self.table.global_features)
        shapes = {name: s for name, s in self.shapes.items() if name in GLOBAL_FIELDS}
        return {n: s[1] if n.endswith("_capacity") else s[0] for n, s in shapes.items()}

    @property
    def num_features(self) -> int:
        """Features of a decision, the static ones included."""
        return sum(self.features.values())

    @property
    def num_globals(self) -> int:
        """Features that belong to no decision."""
        return sum(self.global_features.values())

    def to_dict(self) -> dict[str, Any]:
        """What run.json keeps."""
        record: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Table):
                value = {"name": value.name, "facts": value.facts.to_dict()}
            if field.name == "table":
                record[field.name] = value
                continue
            if isinstance(value, dict):
                value = {
                    k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in value.items()
                }
            record[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Layout:
        """Rebuilds a layout from `to_dict`."""
        values = dict(record)
        for name in ("scales", "own", "common"):
            values[name] = {k: np.asarray(v, dtype=np.float64) for k, v in values[name].items()}
        for name in ("static", "rate", "total_rate", "cover", "faster", "low", "high"):
            values[name] = np.asarray(values[name], dtype=np.float64)
        values["shapes"] = {name: tuple(shape) for name, shape in values["shapes"].items()}
        for name in ("action_shape", "lanes_by_slot"):
            values[name] = tuple(values[name])
        table = values.get("table")
        if table is not None:
            kind = TABLES[table["name"]]
            values["table"] = kind(kind.facts_type.from_dict(table["facts"]), values["shapes"])
        return cls(**values)


def _of_table(base: Any, table: Table) -> Layout:
    """The decisions of a retail task, whose features are those of its table."""
    space, k = base.single_action_space, table.lanes
    if space.shape != (base.world.network.num_products * k,):
        raise ValueError(
            f"action: shared networks decide for each product and centre, not in mode "
            f"{base.action_mode!r}"
        )
    days = base.periods_per_step / base.world.network.periods_per_day
    rate, total = _at_least(table.served * days), _at_least(table.facts.rate * days)
    return _by_table(base, table, rate, total, (space.low, space.high))


def _of_sellers(base: Any) -> Layout:
    """Terms for sellers in physical units, to which every seller's row contributes.

    Raises:
        ValueError: in another mode than `quantity`, whose actions belong to no seller.
    """
    if base.action_mode != "quantity":
        raise ValueError(
            f"action: shared networks set terms in mode 'quantity', not {base.action_mode!r}"
        )
    table = SellerTable.of(base, _shapes(base))
    days = base.periods_per_step / base.world.network.periods_per_day
    rate = _at_least(table.served * days)
    return _by_table(base, table, rate, rate[:, 0], (np.zeros_like(rate), np.ones_like(rate)))


def _of_trucks(base: Any) -> Layout:
    """The thresholds by which trucks leave, a row for each entry of the action.

    Raises:
        ValueError: in a mode whose actions are no thresholds.
    """
    if base.action_mode not in ("threshold", "residual"):
        raise ValueError(
            "action: shared networks fill trucks in the modes 'threshold' and 'residual', not "
            f"{base.action_mode!r}"
        )
    table, space = TruckTable.of(base, _shapes(base)), base.single_action_space
    rate = _at_least(table.served)
    return _by_table(base, table, rate, rate[:, 0], (space.low, space.high))


def _by_table(
    base: Any, table: Table, rate: Floats, total_rate: Floats, bounds: tuple[Any, Any]
) -> Layout:
    """A layout whose features are those of a table, so that it names no functionals of its own."""
    k = rate.shape[1]
    low, high = (np.asarray(bound, dtype=np.float64).reshape(rate.shape) for bound in bounds)
    return Layout(
        mode=base.policy_mode,
        shapes=_shapes(base),
        scales={},
        own={},
        common={},
        static=np.zeros((*rate.shape, 0)),
        rate=rate,
        total_rate=total_rate,
        cover=np.ones(k),
        faster=np.zeros((k, k)),
        low=low,
        high=high,
        action_shape=tuple(base.single_action_space.shape),
        lanes_by_slot=(k,),
        table=table,
    )


def _of_products(base: Any, world: World) -> Layout:
    """One decision for each product and lane of its own: `stockyard/Replenishment-v0`."""
    network, shapes = world.network, _shapes(base)
    p, space = network.num_products, base.single_action_space
    k = int(np.prod(space.shape[1:], dtype=int))
    lead = network.inbound.lead_time.max(axis=1)[:k].astype(np.float64)
    faster = np.zeros((k, k))
    if k == 1:
        own = {"inventory_position": np.ones((1, 1, 1))}
    else:
        own = {"on_hand": np.ones((network.num_nodes, k, 1))}
        if "on_order_quoted" in shapes:
            due = 1.0 + np.arange(shapes["on_order_quoted"][1])
            own["on_order_quoted"] = ((due[:, None] <= lead) * 1.0)[:, :, None]
        if "backlog" in shapes:
            own["backlog"] = -np.ones((1, k, 1))
        for lane in range(k):
            faster[lane] = (lead < lead[lane]) | ((lead == lead[lane]) & (np.arange(k) > lane))
    reviews = lead / world.periods_per_step
    rate = _rate_by_region(world).sum(axis=0)
    rates = np.repeat(_at_least(rate)[:, None], k, axis=1)
    holding, penalty = _unit_costs(world)
    everywhere = np.ones((p, k))
    cost = network.inbound.unit_cost[:k].T if k > 1 else 0.0 * everywhere
    low, high = (
        np.broadcast_to(bound, space.shape).reshape(p, k).astype(np.float64)
        for bound in (space.low, space.high)
    )
    return Layout(
        mode=base.policy_mode,
        shapes=shapes,
        scales=_scales(base),
        own=own,
        common=_common(shapes, p, ()),
        static=_static(
            reviews,
            np.ones(k),
            everywhere * holding.max(axis=0)[:, None],
            everywhere * penalty.max(axis=0)[:, None],
            rates,
            cost,
        ),
        rate=rates,
        total_rate=_at_least(rate),
        cover=reviews + 1.0,
        faster=faster,
        low=low,
        high=high,
        action_shape=tuple(space.shape),
        lanes_by_slot=(k,),
    )


def _of_lanes(base: Any, world: World) -> Layout:
    """One decision for each product and lane, suppliers' lanes first: `stockyard/Network-v0`."""
    network, shapes, parts = world.network, _shapes(base), base.task.action_parts
    p, n = network.num_products, network.num_nodes
    inbound, transfers = network.inbound, network.transfers
    num = (
        len(inbound.head) if "replenish" in parts else 0,
        len(transfers.head) if "place" in parts else 0,
    )
    heads = np.concatenate((inbound.head[: num[0]], transfers.head[: num[1]])).astype(int)
    k = len(heads)
    at_head = np.eye(n)[heads]  # (K, N)
    at_tail = np.zeros((k, n))
    at_tail[np.arange(num[0], k), transfers.tail[: num[1]]] = 1.0
    below = _downstream(network)[heads]  # (K, N) nodes that the head supplies, itself included
    served = np.eye(n)[network.ranks()[0].node]  # (R, N) the node that a region asks first
    slots = max([shapes[f][2] for f in ("inbound", "in_transit") if f in shapes], default=0)
    # a lane's own features: echelon position, stock at the head, stock to draw on, units owed, and
    # what is under way on it, slot by slot
    own = {"on_hand": np.zeros((n, k, 4 + slots))}
    own["on_hand"][:, :, POSITION] = below.T
    own["on_hand"][:, :, 1] = at_head.T
    own["on_hand"][:, :, 2] = at_tail.T
    if "backlog_by_region" in shapes:
        own["backlog_by_region"] = np.zeros((network.num_regions, k, 4 + slots))
        own["backlog_by_region"][:, :, POSITION] = -(served @ below.T)
        own["backlog_by_region"][:, :, 3] = served @ at_head.T
    lanes_of = (np.arange(num[0]), np.arange(num[0], k))
    for field, into, mine in zip(
        ("inbound", "in_transit"), (inbound.head, transfers.head), lanes_of, strict=True
    ):
        if field in shapes:
            weights = np.zeros((len(into), shapes[field][2], k, 4 + slots))
            weights[..., POSITION] = below[:, into].T[:, None]
            for slot in range(shapes[field][2]):
                weights[np.arange(len(mine)), slot, mine, 4 + slot] = 1.0
            own[field] = weights.reshape(-1, k, 4 + slots)
    if "staged" in shapes:
        own["staged"] = np.zeros((len(transfers.head), k, 4 + slots))
        own["staged"][:, :, POSITION] = below[:, transfers.head].T
    # where lead times are random, open orders are known by product only
    if "inbound" not in shapes and "on_order" in shapes:
        own["on_order"] = np.zeros((1, k, 4 + slots))
        own["on_order"][0, : num[0], POSITION] = 1.0
    if "yard" in shapes:
        own["yard"] = np.zeros((n, k, 4 + slots))
        own["yard"][:, :, POSITION] = below.T
    rate_by_region = _rate_by_region(world)
    rate = _at_least((below @ served.T @ rate_by_region).T)
    lead = np.concatenate((inbound.lead_time.max(axis=1)[: num[0]], transfers.transit[: num[1]]))
    holding, penalty = _unit_costs(world)
    bounds = []
    for bound in (base.single_action_space.low, base.single_action_space.high):
        by_slot = [bound[parts[s][0]].reshape(parts[s][1]) for s in SLOTS if s in parts]
        bounds.append(np.concatenate(by_slot, axis=1).astype(np.float64))
    return Layout(
        mode=base.policy_mode,
        shapes=shapes,
        scales=_scales(base),
        own=own,
        common=_common(shapes, p, tuple(own)),
        static=_static(
            lead / world.periods_per_step,
            (np.arange(k) < num[0]) * 1.0,
            (at_head @ holding).T,
            (at_head @ served.T @ penalty).T,
            rate,
            np.zeros((p, k)),
        ),
        rate=rate,
        total_rate=_at_least(rate_by_region.sum(axis=0)),
        cover=(lead + _depth(network)[heads]) / world.periods_per_step + 1.0,
        faster=np.zeros((k, k)),
        low=bounds[0],
        high=bounds[1],
        action_shape=tuple(base.single_action_space.shape),
        lanes_by_slot=tuple(lanes for lanes in num if lanes),
    )


def _shapes(base: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(n) for n in shape) for name, shape in base.field_shapes.items()}


def _scales(base: Any) -> dict[str, Floats]:
    return {name: np.asarray(v, dtype=np.float64) for name, v in base.observation_scale.items()}


def _common(
    shapes: Mapping[str, tuple[int, ...]], products: int, left_out: tuple[str, ...]
) -> dict[str, Floats]:
    """Every field of products that is not left out, as it is; stock of nodes is summed."""
    kept = {}
    for name, shape in shapes.items():
        if name in GLOBAL_FIELDS or name in left_out or shape[0] != products:
            continue
        size = int(np.prod(shape[1:], dtype=int))
        kept[name] = np.ones((size, 1)) if name in NODE_FIELDS else np.eye(size)
    return kept


def _static(
    reviews: Any, supplied: Any, holding: Any, penalty: Any, rate: Floats, cost: Any
) -> Floats:
    """Features (P, K, S) that tell lanes and products apart, of order one."""
    like = np.ones_like(rate)
    columns = (
        like * reviews / 10.0,
        like * supplied,
        holding / max(float(holding.max()), 1e-9),
        penalty / np.maximum(penalty + holding, 1e-9),
        np.log(rate / rate.mean()),
        cost / max(float(cost.max()), 1e-9),
    )
    return np.stack(columns, axis=2)


def _rate_by_region(world: World) -> Floats:
    """Mean demand of a review, (R, P) units."""
    rate = world.source.demand.mean_rate(world.network)
    return np.asarray(rate, dtype=np.float64) * world.periods_per_step


def _unit_costs(world: World) -> tuple[Floats, Floats]:
    """Textbook holding (N, P) and penalty (R, P), USD per unit; zero in retail worlds."""
    network, economics = world.network, world.economics

    def spread(values: Any, entities: int) -> Floats:
        rates = np.asarray(values, dtype=np.float64)
        rates = rates[:, None] if rates.ndim == 1 else rates
        return np.broadcast_to(rates, (entities, network.num_products))

    return (
        spread(economics.holding_per_unit, network.num_nodes),
        spread(economics.shortage_per_unit, network.num_regions),
    )


def _downstream(network: Network) -> Floats:
    """(N, N) 1 where a chain of transfer lanes leads from the row's node to the column's."""
    reach = np.eye(network.num_nodes)
    for _ in range(network.num_nodes):  # a chain has at most N nodes
        for tail, head in zip(network.transfers.tail, network.transfers.head, strict=True):
            reach[tail] = np.maximum(reach[tail], reach[head])
    return reach


def _depth(network: Network) -> Floats:
    """(N,) longest transit, in periods, from a node to one that serves customers."""
    depth = np.zeros(network.num_nodes)
    lanes = network.transfers
    for _ in range(network.num_nodes):
        for tail, head, transit in zip(lanes.tail, lanes.head, lanes.transit, strict=True):
            depth[tail] = max(depth[tail], transit + depth[head])
    return depth


def _at_least(rate: Floats) -> Floats:
    return np.maximum(rate, 1e-3)
