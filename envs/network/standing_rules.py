"""The default rule of each slot, which decides where the agent does not.

A rule reads the state and what has been revealed, never the tape. Replenishment rules are asked at
review epochs, the others in every period.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.accounting import system_units
from stockyard.envs.network.arrays import Array, as_like, at_least, namespace
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import transfer_position
from stockyard.envs.network.state import Revealed, State
from stockyard.envs.network.topology import Network

Rule = Callable[[Params, State, Revealed], Array | None]
"""(params, state, revealed) -> the slot's decision, or None to do nothing."""


@dataclasses.dataclass(frozen=True)
class Idle:
    """Decides nothing: no limits, no transfers, no trucks (parcels then leave at a tariff)."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> None:
        """Returns None."""
        return


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
        need = self.level(params, state, revealed) - system_units(params, state)
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
        position = system_units(params, state)
        if state.backlog is not None:
            position = position - state.backlog.sum(1)
        need = self.level(params, state, revealed) - position
        return on_first_lane(params, at_least(need, 0.0))


def on_first_lane(params: Params, units: Array) -> Array:
    """Puts product orders (B, P) on the first inbound lane that carries each product."""
    first = params.network.carries.argmax(axis=0)
    lanes = [as_like(first == e, units) * units for e in range(len(params.network.carries))]
    return namespace(units).stack(lanes, axis=1)


@dataclasses.dataclass(frozen=True)
class ForecastSharePush:
    """Pushes stock from cross-docks to centres by forecast share; large centres take the rest.

    First every centre is filled up to `cover_days` of the demand of the regions it is nearest to; a
    tail short of stock shares it in proportion (phase P4 does that). What is then left above a
    reserve goes to the centres `rest_to`, for cross-docks do not store; space limits what they take.
    """

    cover_days: float = 7.0
    rest_to: tuple[int, ...] = ()  # nodes; the centres fed by one tail share its rest equally
    reserve_days: float = 1.5  # of all demand, kept at the cross-docks for the next days

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array | None:
        """Returns transfers (B, E_tr, P)."""
        tails = params.network.transfers.tail.tolist()
        if not tails:
            return None
        assert revealed.forecast_daily is not None
        daily = revealed.forecast_daily
        position = transfer_position(params, state)
        wanted, left = [], {tail: state.on_hand[:, tail] for tail in tails}
        lanes = _push_lanes(params.network)
        for tail, lane in zip(tails, lanes, strict=True):
            rate = sum((daily[:, r] for r in lane.regions), start=0.0)
            need = at_least(rate * self.cover_days - position[lane.head], 0.0)
            need = need if lane.share is None else need * as_like(lane.share, need)
            wanted.append(need)
            left[tail] = left[tail] - need
        takers = [k for k, lane in enumerate(lanes) if lane.head in self.rest_to]
        if takers:
            reserve = daily.sum(1) * self.reserve_days
            among = {tail: sum(tails[k] == tail for k in takers) for tail in left}
            rest = {
                tail: at_least(units - reserve, 0.0) * (1.0 / among[tail])
                for tail, units in left.items()
                if among[tail]
            }
            for k in takers:
                wanted[k] = wanted[k] + rest[tails[k]]
        return namespace(state.on_hand).stack(wanted, axis=1)


class _PushLane(NamedTuple):
    """A transfer lane as the push rule sees it."""

    head: int
    regions: tuple[int, ...]  # whose first choice the head is
    share: (
        npt.NDArray[np.float64] | None
    )  # (P,) part of the head's need this lane brings; None: all


@functools.lru_cache(maxsize=64)
def _push_lanes(network: Network) -> tuple[_PushLane, ...]:
    """A product comes from the tails that an inbound lane or a chain of transfers reaches."""
    first = [(node, claim.region) for node, claims in network.ranks()[0] for claim in claims]
    lanes = list(zip(network.transfers.tail.tolist(), network.transfers.head.tolist(), strict=True))
    reach = np.zeros((network.num_nodes, network.num_products))
    for e, node in enumerate(network.inbound.head.tolist()):
        reach[node] += network.carries[e]
    for tail, head in lanes:
        reach[head] += reach[tail]
    plan = []
    for tail, head in lanes:
        into = np.sum([reach[t] for t, h in lanes if h == head], axis=0)
        share = reach[tail] / np.maximum(into, 1.0)
        regions = tuple(r for node, r in first if node == head)
        plan.append(_PushLane(head, regions, None if (share == 1.0).all() else share))
    return tuple(plan)


RULES: dict[str, dict[str, Callable[[], Rule]]] = {
    "restock": {"no_limit": Idle},
    "replenish": {"cover": CoverOrder},
    "place": {"forecast_share_push": ForecastSharePush, "idle": Idle},
    "dispatch": {"tariff": Idle},
}
"""Standing rules by slot and name."""


def resolve_rule(slot: str, rule: str | Rule) -> Rule:
    """Returns the rule of that name for a slot, or the callable itself.

    Raises:
        ValueError: if the slot or the name is unknown; the known ones are listed.
    """
    if slot not in RULES:
        raise ValueError(f"rules: unknown slot {slot!r}; known: {', '.join(RULES)}")
    if callable(rule):
        return rule
    if rule not in RULES[slot]:
        raise ValueError(f"rules: unknown {slot} rule {rule!r}; known: {', '.join(RULES[slot])}")
    return RULES[slot][rule]()
