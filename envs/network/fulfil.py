"""Phase P5: demand meets stock: promise, fulfilment waterfall, substitution, causes of loss."""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    Array,
    anywhere,
    at_least,
    fill_share,
    floor_straight_through,
    gather_sum,
    minus_gathered,
    namespace,
    product_sum,
    round_in_turn,
    round_straight_through,
    stack,
    sum_entries,
    take,
)
from stockyard.envs.network.params import Params, RankPlan
from stockyard.envs.network.place import ration
from stockyard.envs.network.state import Exogenous, Flows, State

CAUSES = ("not_bought", "in_transit", "wrong_node", "outbound", "slow_promise")
"""Why a unit was lost, asked in the order slow_promise, outbound, wrong_node, in_transit; what
remains was not bought. Every lost unit has exactly one cause."""


class Sales(NamedTuple):
    """What phase P5 did; shapes as in `Flows`."""

    demand: Array
    sold: Array
    served: tuple[Array, ...]
    picked: tuple[Array, ...]
    substituted: Array | None
    abandoned: Array | None
    out_of_stock: Array
    lost: Array | None
    room: Array | None


class _Round(NamedTuple):
    """Stock and room as a pass of the waterfall leaves them."""

    stock: Array  # (B, N, P) units
    room: Array | None  # (B, N) units that may still be picked; None: no limit
    open: Array  # (B, R, P) units not served
    served: tuple[Array, ...]  # per rank (B, R, P) units
    picked: tuple[Array, ...]  # per rank (B, R) units of all products
    abandoned: Array | None  # (B, R, P) units given up for slowness


def fulfil(params: Params, state: State, exogenous: Exogenous) -> tuple[State, Sales, Array | None]:
    """Serves backlog and demand from the nodes, in each region's order of preference.

    1. Regions ask their nodes rank by rank; at a slower tier only the customers who accept it ask.
    2. A node short of stock shares it in proportion to what is asked; so does a node short of
       picking capacity.
    3. Unserved customers try a substitute once; what is then unserved is lost. Where unmet demand
       is owed instead, the backlog is served first, and nobody substitutes or gives up.
    4. Of the customers that the network loses, sellers serve some from stock of their own.

    Args:
        params: the network.
        state: stock after orders, transfers and same-period arrivals.
        exogenous: this period of the tape.

    Returns:
        The state after picking, what was sold, and what sellers sent themselves, (B, P) units or
        None. Gradients are one-sided at stock-outs.
    """
    demand = _demand(params, state, exogenous)
    ranks = params.ranks(exogenous.promise)
    room = exogenous.revealed.outbound_capacity if params.outbound_is_limited else None
    wanted = demand if state.backlog is None else demand + state.backlog
    first = _waterfall(params, ranks, _Round(state.on_hand, room, wanted, (), (), None))
    slow = first.abandoned
    unserved = first.open if slow is None else first.open + slow
    last = first
    if params.substitutions and state.backlog is None:
        unserved, last = _substitute(params, ranks, first, unserved)
    total = _total(last.served)
    sold = sum_entries(total)
    owed = state.backlog is not None
    merchant = None
    if params.seller_plan is not None and not owed:
        by_themselves = unserved * params.seller_plan.merchant_share
        if params.whole_units:
            by_themselves = floor_straight_through(by_themselves)
        unserved, merchant = unserved - by_themselves, sum_entries(by_themselves)
    sales = Sales(
        demand=demand,
        sold=sold,
        served=last.served,
        picked=last.picked,
        substituted=None if last is first else total - _total(first.served),
        abandoned=slow,
        out_of_stock=namespace(demand).minimum(first.open, demand) if owed else first.open,
        lost=None if owed else unserved,
        room=last.room,
    )
    state = state._replace(
        on_hand=last.stock,
        backlog=unserved if owed else None,
        position=state.position - sold,
    )
    return state, sales, merchant


def _demand(params: Params, state: State, exogenous: Exogenous) -> Array:
    """Purchase intents, (B, R, P) units: what the tape says, and more where sellers cut prices."""
    sellers, plan = state.sellers, params.seller_plan
    if sellers is None or plan is None or not anywhere(sellers.cut > 0.0):
        return exogenous.demand
    demand = exogenous.demand * (1.0 + plan.cut_elasticity * sellers.cut)[:, None]
    return round_straight_through(demand) if params.whole_units else demand


def _total(parts: tuple[Array, ...]) -> Array:
    return sum(parts[1:], start=parts[0])


def _waterfall(params: Params, ranks: tuple[RankPlan, ...], start: _Round) -> _Round:
    """One pass over all ranks; adds to what `start` has served."""
    xp = namespace(start.stock)
    stock, room, left, abandoned = start.stock, start.room, start.open, start.abandoned
    patient = params.is_backorder  # the owed wait, however slow
    served, picked = [], []
    for k, rank in enumerate(ranks):
        if rank.kept is not None and not patient:
            stays = left * rank.kept
            if params.whole_units:  # the guard is for rounding errors of the running total
                stays = xp.minimum(round_in_turn(stays, -1), left)
            gone = left - stays
            abandoned = gone if abandoned is None else abandoned + gone
            left = stays
        asked = left if rank.there is None else left * rank.there
        units = _grant(params, rank, asked, stock)
        if params.counts_picks:
            by_region = product_sum(units)
            if room is not None:
                units, by_region, room = _within_room(params, rank, units, by_region, room)
            picked.append(by_region + start.picked[k] if start.picked else by_region)
        stock = minus_gathered(stock, units, rank.to_node)
        if rank.is_shared:  # shares of a ration may overdraw by a rounding error
            stock = at_least(stock, 0.0)
        left = left - units
        served.append(units + start.served[k] if start.served else units)
    return _Round(stock, room, left, tuple(served), tuple(picked), abandoned)


def _grant(params: Params, rank: RankPlan, asked: Array, stock: Array) -> Array:
    """What the nodes of one rank give, (B, R, P): all that is asked, or a proportional share."""
    xp = namespace(asked)
    if not rank.is_shared:
        return xp.minimum(asked, take(stock, rank.node))
    granted: list[Array] = [None] * asked.shape[1]
    for node, regions in rank.claims:
        claims = [asked[:, r] for r in regions]
        shares = ration(claims, stock[:, node], params.whole_units)
        for r, claim, units in zip(regions, claims, shares, strict=True):
            # Rounding in turn may pass a claim that is not whole.
            granted[r] = xp.minimum(units, claim) if params.whole_units else units
    return stack(granted, axis=1)


def _within_room(
    params: Params, rank: RankPlan, units: Array, by_region: Array, room: Array
) -> tuple[Array, Array, Array]:
    """Cuts what is picked to the nodes' room; returns units, their sums (B, R), the room left."""
    picked = gather_sum(by_region, rank.to_node)
    if anywhere(picked > room):  # a share of one would change nothing
        share = take(fill_share(room, picked), rank.node)
        units, by_region = units * share[:, :, None], by_region * share
        if params.whole_units:
            units = floor_straight_through(units)
            by_region = product_sum(units)
        picked = gather_sum(by_region, rank.to_node)
        return units, by_region, at_least(room - picked, 0.0)
    return units, by_region, room - picked


def _substitute(
    params: Params, ranks: tuple[RankPlan, ...], first: _Round, unserved: Array
) -> tuple[Array, _Round]:
    """A second and last pass: unserved customers try another product of the group."""
    xp = namespace(unserved)

    def along_products(array: Array, index: Array) -> Array:
        return xp.take(array, index, axis=2)

    parts = params.substitutions
    asks = [unserved * n.weight for n in parts]  # by source; a group shares one weight
    if params.whole_units:
        together = round_in_turn(xp.stack(asks, axis=1), 1)
        asks = [together[:, k] for k in range(len(parts))]
    wish = _total(tuple(along_products(ask, n.source) for ask, n in zip(asks, parts, strict=True)))
    second = _waterfall(params, ranks, first._replace(open=wish, abandoned=None))
    unmet = second.open if second.abandoned is None else second.open + second.abandoned
    helped = 1.0 - fill_share(unmet, wish)
    # A served substitute relieves the products whose customers asked for it, in proportion.
    relief = _total(
        tuple(ask * along_products(helped, n.receiver) for ask, n in zip(asks, parts, strict=True))
    )
    return at_least(unserved - relief, 0.0), second


def lost_by_cause(params: Params, flows: Flows) -> dict[str, Array]:
    """Why units were lost in a period: cause -> (B, P) units; the parts sum to the lost units.

    Args:
        params: the network.
        flows: what moved in the period.

    Returns:
        All of `CAUSES`; empty where unmet demand is owed.
    """
    if flows.lost is None:
        return {}
    xp = namespace(flows.lost)
    lost = sum_entries(flows.lost)
    causes = dict.fromkeys(CAUSES, lost * 0.0)
    rest = lost
    if flows.abandoned is not None:
        slow = sum_entries(flows.abandoned)
        pool = sum_entries(flows.out_of_stock) + slow
        causes["slow_promise"] = lost * fill_share(slow, pool)
        rest = lost - causes["slow_promise"]
    end = flows.end
    sources = sorted(set(params.network.outbound.node.tolist()))
    stock = take(end.on_hand, params.index(sources))
    if flows.room is not None:
        full = take(flows.room, params.index(sources)) <= 1e-9
        causes["outbound"] = xp.minimum(rest, sum_entries(stock * full[:, :, None]))
        rest = rest - causes["outbound"]
    reachable = sum_entries(stock)
    if len(sources) > 1:
        causes["wrong_node"] = xp.minimum(rest, reachable)
        rest = rest - causes["wrong_node"]
    elsewhere = at_least(end.position - reachable, 0.0)
    causes["in_transit"] = xp.minimum(rest, elsewhere)
    causes["not_bought"] = rest - causes["in_transit"]
    return causes
