"""Phase P5: demand meets stock: promise, fulfilment waterfall, substitution, causes of loss."""

from typing import NamedTuple

from stockyard.envs.network.arrays import Array, at_least, fill_share, namespace
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import ration
from stockyard.envs.network.state import Exogenous, State

CAUSES = ("not_bought", "in_transit", "wrong_node", "outbound", "slow_promise")
"""Why a unit was lost, asked in the order slow_promise, outbound, wrong_node, in_transit; what
remains was not bought. Every lost unit has exactly one cause."""


class Sales(NamedTuple):
    """What phase P5 did; arrays (B, P) in units unless said otherwise."""

    demand: Array
    sold: Array
    sold_by_tier: tuple[Array, ...]
    sold_by_lane: tuple[Array, ...]
    first_served: Array
    abandoned: Array | None
    out_of_stock: Array
    lost: Array | None
    lost_by_cause: dict[str, Array]
    tariff: Array | None  # (B,) USD


class _Round(NamedTuple):
    """Stock and room as the waterfall leaves them."""

    stock: dict[int, Array]  # node -> (B, P) units
    room: dict[int, Array]  # node -> (B,) units that may still be picked
    open: list[Array]  # per region (B, P) units not served
    served: dict[int, Array]  # lane -> (B, P) units
    abandoned: list[Array | None]  # per region (B, P) units given up for slowness


def fulfil(params: Params, state: State, exogenous: Exogenous) -> tuple[State, Sales]:
    """Serves backlog and demand from the nodes, in each region's order of preference.

    1. Regions ask their nodes rank by rank; at a slower tier only the customers who accept it ask.
    2. A node short of stock shares it in proportion to what is asked; so does a node short of
       picking capacity.
    3. Unserved customers try a substitute once; what is then unserved is lost, or owed.

    Args:
        params: the network.
        state: stock after orders, transfers and same-period arrivals.
        exogenous: this period of the tape.

    Returns:
        The state after picking and what was sold. Gradients are one-sided at stock-outs.
    """
    demand = exogenous.demand
    network = params.network
    tier = exogenous.min_offered_tier
    wanted = [demand[:, region] for region in range(network.num_regions)]
    round_ = _Round(
        stock={node: state.on_hand[:, node] for node in range(network.num_nodes)},
        room=_picking_room(params, exogenous),
        open=wanted,
        served={},
        abandoned=[None] * network.num_regions,
    )
    promise_matters = len(network.acceptance_by_tier) > 1 or bool(params.substitutions)
    owed = None
    if state.backlog is not None:
        owed = [state.backlog[:, region] for region in range(network.num_regions)]
        if promise_matters:  # the backlog goes first, and has accepted its promise
            round_ = _waterfall(params, round_._replace(open=owed), tier, patient=True)
            owed = round_.open
            round_ = round_._replace(open=wanted)
        else:  # one pass serves both
            round_ = round_._replace(open=[o + w for o, w in zip(owed, wanted, strict=True)])
    first = _waterfall(params, round_, tier)
    lanes = len(network.outbound.node)
    xp = namespace(demand)
    if state.backlog is None:
        out_of_stock = _total(first.open)
    else:  # the backlog goes first, so new demand is what stays open
        out_of_stock = _total([xp.minimum(o, w) for o, w in zip(first.open, wanted, strict=True)])
    gave_up = [a for a in first.abandoned if a is not None]
    abandoned = _total(gave_up) if gave_up else None
    unserved = [
        left if slow is None else left + slow
        for left, slow in zip(first.open, first.abandoned, strict=True)
    ]
    first_served = _total([first.served[k] for k in range(lanes)])
    last = first
    if params.substitutions and state.backlog is None:
        unserved, last = _substitute(params, first, unserved, tier)
    by_lane = tuple(last.served[lane] for lane in range(lanes))
    sold = first_served if last is first else _total(list(by_lane))
    on_hand = xp.stack([last.stock[node] for node in range(network.num_nodes)], axis=1)
    backlog, lost, causes = state.backlog, None, {}
    if backlog is not None:
        still = (
            unserved
            if not promise_matters or owed is None
            else [o + u for o, u in zip(owed, unserved, strict=True)]
        )
        backlog = xp.stack(still, axis=1)
    else:
        lost = _total(unserved)
        if params.attribute_losses:
            causes = _attribute(params, state, last, lost, abandoned, out_of_stock)
    tiers, tariff = _by_tier(params, by_lane, tier)
    sales = Sales(
        demand=_total(wanted),
        sold=sold,
        sold_by_tier=tiers,
        sold_by_lane=by_lane,
        first_served=first_served,
        abandoned=abandoned,
        out_of_stock=out_of_stock,
        lost=lost,
        lost_by_cause=causes,
        tariff=tariff,
    )
    return state._replace(on_hand=on_hand, backlog=backlog), sales


def _total(parts: list[Array]) -> Array:
    return sum(parts[1:], start=parts[0])


def _picking_room(params: Params, exogenous: Exogenous) -> dict[int, Array]:
    capacity = exogenous.revealed.outbound_capacity
    if not params.outbound_is_limited or capacity is None:
        return {}
    return {node: capacity[:, node] for node in set(params.network.outbound.node.tolist())}


def _waterfall(params: Params, start: _Round, tier: int, patient: bool = False) -> _Round:
    """One pass over all ranks. `patient` customers accept any speed."""
    xp = namespace(start.open[0])
    stock, room = dict(start.stock), dict(start.room)
    left, served, abandoned = list(start.open), dict(start.served), list(start.abandoned)
    for rank in params.network.ranks(tier):
        for node, claims in rank:
            asked = []
            for region, _, _, kept in claims:
                ask = left[region]
                if kept < 1.0 and not patient:
                    stays = ask * kept
                    gone, before = ask - stays, abandoned[region]
                    abandoned[region] = gone if before is None else before + gone
                    ask = stays
                asked.append(ask)
            granted = ration(asked, stock[node], params.whole_units)
            if node in room:
                picked = _total(granted).sum(-1)
                share = fill_share(room[node], picked)
                granted = [units * share[:, None] for units in granted]
                if params.whole_units:
                    granted = [xp.floor(units + 1e-6) for units in granted]
                room[node] = room[node] - picked * share
            stock[node] = stock[node] - _total(granted)
            if len(claims) > 1:  # shares of a ration may overdraw by a rounding error
                stock[node] = at_least(stock[node], 0.0)
            for (region, lane, _, _), ask, units in zip(claims, asked, granted, strict=True):
                left[region] = ask - units
                served[lane] = served[lane] + units if lane in served else units
    return _Round(stock, room, left, served, abandoned)


def _substitute(
    params: Params, first: _Round, unserved: list[Array], tier: int
) -> tuple[list[Array], _Round]:
    """A second and last pass: unserved customers try another product of the group."""
    xp = namespace(unserved[0])
    regions = range(len(unserved))
    second_wish = [
        _total([xp.take(pool, n.source, axis=1) * n.weight for n in params.substitutions])
        for pool in unserved
    ]
    second = _waterfall(
        params,
        first._replace(open=second_wish, abandoned=[None] * len(unserved)),
        tier,
    )
    # A served substitute relieves the products whose customers asked for it, in proportion.
    relieved = []
    for region in regions:
        gone = second.abandoned[region]
        unmet = second.open[region] if gone is None else second.open[region] + gone
        served_share = 1.0 - fill_share(unmet, second_wish[region])
        helped = _total(
            [xp.take(n.weight * served_share, n.receiver, axis=1) for n in params.substitutions]
        )
        rest = unserved[region] * (1.0 - helped)
        relieved.append(at_least(rest, 0.0))
    return relieved, second


def _by_tier(
    params: Params, by_lane: tuple[Array, ...], tier: int
) -> tuple[tuple[Array, ...], Array | None]:
    """Units by delivery tier, and the outbound tariffs paid."""
    network = params.network
    top = len(network.acceptance_by_tier) - 1
    tiers = [min(max(int(k), tier), top) for k in network.outbound.tier]
    tariffs = network.outbound.tariff.tolist()
    per_tier: list[Array | None] = [None] * (top + 1)
    cost: Array | None = None
    for units, k, price in zip(by_lane, tiers, tariffs, strict=True):
        had = per_tier[k]
        per_tier[k] = units if had is None else had + units
        if price:
            paid = units * price
            cost = paid if cost is None else cost + paid
    filled = tuple(by_lane[0] * 0.0 if units is None else units for units in per_tier)
    return filled, None if cost is None else cost.sum(-1)


def _attribute(
    params: Params,
    state: State,
    last: _Round,
    lost: Array,
    abandoned: Array | None,
    out_of_stock: Array,
) -> dict[str, Array]:
    """Splits lost units by cause; the parts sum to `lost`."""
    xp = namespace(lost)
    causes: dict[str, Array] = {}
    rest = lost
    if abandoned is not None:
        pool = out_of_stock + abandoned
        causes["slow_promise"] = lost * fill_share(abandoned, pool)
        rest = lost - causes["slow_promise"]
    sources = sorted(set(params.network.outbound.node.tolist()))
    if last.room:
        blocked = _total(
            [last.stock[k] * (last.room[k] <= 1e-9)[:, None] for k in sources if k in last.room]
        )
        causes["outbound"] = xp.minimum(rest, blocked)
        rest = rest - causes["outbound"]
    if len(sources) > 1:
        elsewhere = _total([last.stock[k] for k in sources])
        causes["wrong_node"] = xp.minimum(rest, elsewhere)
        rest = rest - causes["wrong_node"]
    on_way = state.on_order.sum(1)
    for slot in state.transfers:
        on_way = on_way + slot.sum(1)
    for held in (state.yard, state.staged):
        if held is not None:
            on_way = on_way + held.sum(1)
    for node in range(params.network.num_nodes):
        if node not in sources:
            on_way = on_way + last.stock[node]
    causes["in_transit"] = xp.minimum(rest, on_way)
    rest = rest - causes["in_transit"]
    causes["not_bought"] = rest
    return causes
