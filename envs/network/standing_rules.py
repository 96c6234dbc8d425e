"""The default rule of each slot, which decides where the agent does not.

A rule reads the state and what has been revealed, never the tape. Replenishment rules are asked at
review epochs, the others in every period.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.accounting import system_units
from stockyard.envs.network.arrays import Array, as_like, at_least, namespace
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import transfer_position
from stockyard.envs.network.state import Revealed, State

Rule = Callable[[Params, State, Revealed], Array | None]
"""(params, state, revealed) -> the slot's decision, or None to do nothing."""


@dataclasses.dataclass(frozen=True)
class Idle:
    """Decides nothing: no limits, no transfers, no trucks (parcels then leave at a tariff)."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> None:
        """Returns None."""
        return


@dataclasses.dataclass(frozen=True)
class CoverOrder:
    """Orders each product up to a cover of its forecast: the burn-in and residual base rule."""

    cover_days: float = 28.0

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns orders (B, E_in, P), all on the first lane that carries a product."""
        assert revealed.forecast_daily is not None
        daily = revealed.forecast_daily.sum(1)
        need = at_least(self.cover_days * daily - system_units(params, state), 0.0)
        return on_first_lane(params, need)


@dataclasses.dataclass(frozen=True)
class BaseStock:
    """Orders each product up to a fixed level, on the first lane that carries it."""

    order_up_to: Any = 0.0  # scalar or (P,) units

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array:
        """Returns orders (B, E_in, P)."""
        position = system_units(params, state)
        if state.backlog is not None:
            position = position - state.backlog.sum(1)
        level = as_like(self.order_up_to, position)
        return on_first_lane(params, at_least(level - position, 0.0))


def on_first_lane(params: Params, units: Array) -> Array:
    """Puts product orders (B, P) on the first inbound lane that carries each product."""
    first = params.network.carries.argmax(axis=0)
    lanes = [as_like(first == e, units) * units for e in range(len(params.network.carries))]
    return namespace(units).stack(lanes, axis=1)


@dataclasses.dataclass(frozen=True)
class ForecastSharePush:
    """Pushes stock from cross-docks to centres, up to days of the demand each is nearest to.

    A centre with a cover of 30 days in effect takes all that its space allows: cross-docks do not
    store. The stock of a tail short of the total is shared in proportion (phase P4 does that).
    """

    cover_days: Any = 7.0  # scalar or (N,) days

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array | None:
        """Returns transfers (B, E_tr, P)."""
        lanes = params.network.transfers
        if not len(lanes.tail):
            return None
        assert revealed.forecast_daily is not None
        daily = revealed.forecast_daily
        cover = np.broadcast_to(self.cover_days, (params.network.num_nodes,))
        position = transfer_position(params, state)
        sources = _feeders(params)
        wanted = []
        for node, served, share in zip(
            lanes.head.tolist(), _served_regions(params), sources, strict=True
        ):
            rate: Array = 0.0
            for region, part in served:
                rate = rate + daily[:, region] * part
            need = at_least(rate * float(cover[node]) - position[node], 0.0)
            wanted.append(need * share)
        return namespace(state.on_hand).stack(wanted, axis=1)


def _served_regions(params: Params) -> list[list[tuple[int, float]]]:
    """Per transfer lane: the regions whose first choice its head is, and its part of them."""
    first = first_choice(params)
    return [
        [(r, part) for node, r, part in first if node == head]
        for head in params.network.transfers.head.tolist()
    ]


def first_choice(params: Params) -> list[tuple[int, int, float]]:
    """(node, region, part of its demand) by each region's first rank; a tie is shared."""
    ranks = params.network.ranks()
    return [(node, claim.region, 1.0) for node, claims in ranks[0] for claim in claims]


def _feeders(params: Params) -> list[Any]:
    """Per transfer lane: share (P,) of the head's need that its tail supplies.

    A product is supplied from the nodes whose inbound lane carries it; tails that do not carry it
    send nothing, and tails further down the chain send all.
    """
    network = params.network
    lanes = network.transfers
    reach = np.zeros((network.num_nodes, network.num_products))
    for e, node in enumerate(network.inbound.head.tolist()):
        reach[node] += network.carries[e]
    for tail, head in zip(lanes.tail.tolist(), lanes.head.tolist(), strict=True):
        reach[head] += reach[tail]
    shares = []
    for tail, head in zip(lanes.tail.tolist(), lanes.head.tolist(), strict=True):
        into = sum(reach[t] for t, h in zip(lanes.tail, lanes.head, strict=True) if h == head)
        total: npt.NDArray[np.float64] = np.maximum(into, 1e-9)
        shares.append(np.minimum(reach[tail] / total, 1.0))
    return shares


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
