"""The default rule of each slot, which decides where the agent does not.

A rule reads the state and what has been revealed, never the tape. Replenishment rules are asked at
review epochs, the others in every period.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    SumPlan,
    as_like,
    at_least,
    copy_of,
    gather_sum,
    stack,
    sum_entries,
    take,
)
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.place import lanes_by_tail, position_at_nodes
from stockyard.envs.network.standing_terms import RESTOCK_RULES
from stockyard.envs.network.state import Revealed, State
from stockyard.envs.network.truck_rules import HoldRule

Rule = Callable[[Params, State, Revealed], Any]
"""(params, state, revealed) -> the slot's decision, or None to do nothing.

A decision is an array; that of the slot dispatch may be a `state.TruckPlan`.
"""


@dataclasses.dataclass(frozen=True)
class Idle:
    """Decides nothing: no limits, no transfers, no trucks (parcels then leave at a tariff)."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> None:
        """Returns None."""
        return


@dataclasses.dataclass(frozen=True)
class FixedLimit:
    """Limits what every owner may have on hand plus inbound at each node, always alike."""

    volume: Any  # scalar or (N,) ft3

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns limits (1, O, N) ft3."""
        network = params.network
        shape = (1, network.products.num_owners, network.num_nodes)
        return as_like(
            np.broadcast_to(np.asarray(self.volume, dtype=np.float64), shape), state.on_hand
        )


class OrderUpTo(Protocol):
    """A replenishment rule that orders up to a level; `action="residual"` needs one."""

    def level(self, params: Params, state: State, revealed: Revealed) -> Array:
        """The order-up-to level, (B, P) units."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns orders (B, E_in, P)."""


@dataclasses.dataclass(frozen=True)
class CoverOrder:
    """Orders each product up to the forecast over quoted lead time, review and a safety cover."""

    safety_days: float = 7.0

    def level(self, params: Params, state: State, revealed: Revealed) -> Array:
        """The order-up-to level, (B, P) units."""
        assert revealed.forecast_daily is not None
        network = params.network
        lead = revealed.quoted_lead
        if lead is None:
            lead = as_like(network.inbound.lead_time[None], state.on_hand)
        lead = on_first_lane(params, state.on_hand[:, 0] * 0.0 + 1.0) * lead
        days = lead.sum(1) / network.periods_per_day + params.review_days + self.safety_days
        return revealed.forecast_daily.sum(1) * days

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns orders (B, E_in, P), all on the first lane that carries a product."""
        need = self.level(params, state, revealed) - inventory_position(state)
        return on_first_lane(params, at_least(need, 0.0))


@dataclasses.dataclass(frozen=True)
class BaseStock:
    """Orders each product up to a fixed level, on the first lane that carries it."""

    order_up_to: Any = 0.0  # scalar or (P,) units

    def level(self, params: Params, state: State, revealed: Revealed) -> Array:
        """The order-up-to level, (B, P) units."""
        return as_like(self.order_up_to, state.on_hand) + state.on_hand[:, 0] * 0.0

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns orders (B, E_in, P)."""
        need = self.level(params, state, revealed) - inventory_position(state)
        return on_first_lane(params, at_least(need, 0.0))


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Places the orders that the tape has recorded, whatever the stock."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array | None:
        """Returns orders (B, E_in, P), all on the first lane that carries a product.

        Raises:
            ValueError: if the world's tapes record no orders.
        """
        if revealed.recorded_orders is None:
            raise ValueError(
                "rules: 'recorded' needs a world whose tapes record orders (placement)"
            )
        return on_first_lane(params, revealed.recorded_orders)


@dataclasses.dataclass(frozen=True)
class NodeBaseStock:
    """Transfers bring every node up to a fixed level of its own stock and what is under way."""

    order_up_to: Any  # (N,) units; what stands for a node that no lane reaches is not used

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns transfers (B, E_tr, P); lanes into one node share its need equally."""
        heads = params.network.transfers.head
        sharing = np.bincount(heads, minlength=params.network.num_nodes)[heads]
        position = position_at_nodes(params, state)
        if state.backlog is not None:
            nearest = SumPlan.of(params.network.ranks()[0].node, params.network.num_nodes)
            position = position - gather_sum(state.backlog, nearest)
        level = as_like(np.asarray(self.order_up_to, dtype=np.float64)[heads, None], state.on_hand)
        need = at_least(level - take(position, params.plans.transfer_head), 0.0)
        return need / as_like(sharing[:, None], state.on_hand)


def inventory_position(state: State) -> Array:
    """What an order is measured against: units anywhere, less units owed; (B, P)."""
    if state.backlog is None:
        return state.position
    return state.position - sum_entries(state.backlog)


def on_first_lane(params: Params, units: Array) -> Array:
    """Puts product orders (B, P) on the first inbound lane that carries each product."""
    masks = params.plans.first_lane_masks
    if len(masks) == 1 and masks[0] is None:
        return units[:, None]
    return stack([units if mask is None else units * mask for mask in masks], axis=1)


@dataclasses.dataclass(frozen=True)
class ForecastSharePush:
    """Pushes stock from cross-docks to centres by forecast share; large centres take the rest.

    First every centre is filled up to `cover_days` of the demand of the regions it is nearest to; a
    tail short of stock shares it in proportion (phase P4 does that). What is then left above a
    reserve goes to the centres `rest_to`, for cross-docks do not store; their space limits it.
    """

    cover_days: float = 7.0
    rest_to: tuple[int, ...] = ()  # nodes; the centres fed by one tail share its rest equally
    reserve_days: float = 1.5  # of all demand, kept at the cross-docks for the next days

    def level(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Units that every lane's head is filled up to first, (B, E_tr, P)."""
        assert revealed.forecast_daily is not None
        plan = _push_plan(params, self.rest_to)
        nearby = gather_sum(revealed.forecast_daily, plan.nearest)
        return take(nearby, params.plans.transfer_head) * self.cover_days

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array | None:
        """Returns transfers (B, E_tr, P)."""
        if not len(params.network.transfers.tail):
            return None
        plan, daily = _push_plan(params, self.rest_to), revealed.forecast_daily
        position = take(position_at_nodes(params, state), params.plans.transfer_head)
        wanted = at_least(self.level(params, state, revealed) - position, 0.0)
        if plan.share is not None:
            wanted = wanted * plan.share
        if not plan.takes_rest:
            return wanted
        total = copy_of(wanted)
        reserve = sum_entries(daily) * self.reserve_days
        for tail, lanes, takers, share in plan.takes_rest:
            left = state.on_hand[:, tail] - sum_entries(take(wanted, lanes))
            rest = at_least(left - reserve, 0.0) * share
            for lane in takers:
                total[:, lane] += rest
        return total


class _PushPlan(NamedTuple):
    """What the push rule needs to know of the lanes."""

    nearest: SumPlan  # regions to nodes: whose first choice a node is
    share: Array | None  # (E_tr, P) part of the head's need that a lane brings; None: all
    # per tail with large centres: the tail, its lanes, those that share its rest, and each's part
    takes_rest: tuple[tuple[int, Any, tuple[int, ...], float], ...]


@functools.lru_cache(maxsize=64)
def _push_plan(params: Params, rest_to: tuple[int, ...]) -> _PushPlan:
    """A product comes from the tails that an inbound lane or a chain of transfers reaches."""
    network = params.network
    tails, heads = network.transfers.tail, network.transfers.head
    first = network.ranks()[0]
    supplied = np.zeros((network.num_nodes, network.num_products))
    np.add.at(supplied, network.inbound.head, network.carries)
    reach = supplied
    for _ in range(network.num_nodes):  # a chain has at most N nodes, its lanes in any order
        further = supplied.copy()
        np.add.at(further, heads, reach[tails])
        reach = further
    into = np.stack([reach[tails[heads == head]].sum(axis=0) for head in heads])
    share = reach[tails] / np.maximum(into, 1.0)
    takes = np.isin(heads, rest_to)
    takes_rest = []
    for tail, lanes in lanes_by_tail(params):
        takers = tuple(np.flatnonzero(takes & (tails == tail)).tolist())
        if takers:
            takes_rest.append((tail, lanes, takers, 1.0 / len(takers)))
    make = array_maker(params.backend, params.dtype, params.device)
    return _PushPlan(
        nearest=SumPlan.of(first.node, network.num_nodes),
        share=None if (share == 1.0).all() else make(share),
        takes_rest=tuple(takes_rest),
    )


RULES: dict[str, dict[str, Callable[..., Rule]]] = {
    "restock": {"no_limit": Idle, **RESTOCK_RULES},
    "replenish": {"cover": CoverOrder, "recorded": Recorded},
    "place": {"forecast_share_push": ForecastSharePush, "idle": Idle},
    "dispatch": {"tariff": Idle, "due_and_top_up": HoldRule, "truck_hold": HoldRule},
}
"""Standing rules by slot and name."""


def resolve_rule(slot: str, rule: str | Mapping[str, Any] | Rule) -> Rule:
    """Returns the rule of that name for a slot, or the callable itself.

    Args:
        slot: a decision slot.
        rule: a name, a mapping of `name` and the rule's parameters, or a callable.

    Raises:
        ValueError: if the slot, the name or a parameter is unknown; the known ones are listed.
    """
    if slot not in RULES:
        raise ValueError(f"rules: unknown slot {slot!r}; known: {', '.join(RULES)}")
    if callable(rule):
        return rule
    given = dict(rule) if isinstance(rule, Mapping) else {"name": rule}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"rules: {slot} must be a rule's name or a callable, got {rule!r}")
    if name not in RULES[slot]:
        raise ValueError(f"rules: unknown {slot} rule {name!r}; known: {', '.join(RULES[slot])}")
    factory: Any = RULES[slot][name]
    known = [field.name for field in dataclasses.fields(factory)]
    for field, value in given.items():
        if field not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"rules: {name} has no parameter {field!r}; known: {listed}")
        if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
            raise ValueError(f"rules: {name}.{field} must be a number, got {value!r}")
    resolved: Rule = factory(**given)
    return resolved
