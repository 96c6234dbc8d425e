"""Phase P4: transfers between nodes, cut to what the tail has and the head can hold."""

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    fill_share,
    floor_straight_through,
    namespace,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Exogenous, State


def transfer_position(params: Params, state: State) -> list[Array]:
    """Units at each node or on the way to it, per node (B, P): what placement counts as there."""
    network = params.network
    units = state.on_hand if state.yard is None else state.on_hand + state.yard
    position = [units[:, node] for node in range(network.num_nodes)]
    heads = network.transfers.head.tolist()
    fed_by_both = set(heads) & set(network.inbound.head.tolist())
    for lane, node in enumerate(network.inbound.head.tolist()):
        if node in fed_by_both:
            position[node] = position[node] + state.on_order[:, lane]
    for slot in state.transfers:
        for lane, node in enumerate(heads):
            position[node] = position[node] + slot[:, lane]
    if state.staged is not None:
        for lane, node in enumerate(heads):
            position[node] = position[node] + state.staged[:, lane]
    return position


def move(
    params: Params, state: State, wanted: Array | None, exogenous: Exogenous
) -> tuple[State, Array | None, Array | None]:
    """Takes transfers from the tails' stock; units that cannot go stay where they are.

    Every lane sees the stock at the start of the period. Lanes of one tail share its stock in
    proportion to what they want; lanes into one head share its free space likewise.

    Args:
        params: the network.
        state: start of the period (orders already placed).
        wanted: (B, E_tr, P) units; negative values count as zero. None: nothing moves.
        exogenous: this period of the tape.

    Returns:
        The state without the moved units and with them under way or staged; the units moved,
        (B, E_tr, P); units that land in this very period (transit 0), or None.
    """
    network = params.network
    lanes = network.transfers
    if wanted is None or not len(lanes.tail):
        return state, None, None
    xp = namespace(wanted)
    wanted = at_least(wanted, 0.0)
    moved = _within_tail_stock(params, state, wanted)
    if params.storage_is_limited:
        capacity = exogenous.revealed.storage_capacity
        moved = _within_head_space(params, state, moved, capacity)
        if params.whole_units:
            moved = floor_straight_through(moved)
    on_hand = [state.on_hand[:, node] for node in range(network.num_nodes)]
    for lane, tail in enumerate(lanes.tail.tolist()):
        on_hand[tail] = on_hand[tail] - moved[:, lane]
    state = state._replace(on_hand=xp.stack(on_hand, axis=1))
    leaving = moved
    if state.staged is not None:
        waits = params.a.has_trucks[: len(lanes.tail), None]
        state = state._replace(staged=state.staged + moved * waits)
        leaving = moved * (1.0 - waits)
    transit, landed = depart(params, state.transfers, leaving)
    return state._replace(transfers=transit), moved, landed


def _within_tail_stock(params: Params, state: State, wanted: Array) -> Array:
    """Rations each tail's stock among its lanes; (B, E_tr, P), never more than there is."""
    xp = namespace(wanted)
    lanes = params.network.transfers
    units = [wanted[:, lane] for lane in range(len(lanes.tail))]
    for tail in sorted(set(lanes.tail.tolist())):
        leaving = [lane for lane, node in enumerate(lanes.tail.tolist()) if node == tail]
        stock = state.on_hand[:, tail]
        units_leaving = ration([units[lane] for lane in leaving], stock, params.whole_units)
        for lane, granted in zip(leaving, units_leaving, strict=True):
            units[lane] = granted
    return xp.stack(units, axis=1)


def ration(claims: list[Array], stock: Array, whole_units: bool) -> list[Array]:
    """Shares `stock` among claims in proportion; whole units by cumulative rounding.

    Args:
        claims: arrays of one shape, units >= 0.
        stock: units at hand, the same shape.
        whole_units: whether the shares must be whole; then each is within one unit of its
            proportional share, and together they use all that is wanted or there.

    Returns:
        What each claim gets; together never more than `stock`.
    """
    xp = namespace(stock)
    if len(claims) == 1:
        return [xp.minimum(claims[0], stock)]
    total = sum(claims[1:], start=claims[0])
    share = fill_share(stock, total)
    if not whole_units:
        return [claim * share for claim in claims]
    granted, before, asked = [], xp.zeros_like(stock), xp.zeros_like(stock)
    for claim in claims:
        asked = asked + claim
        upto = floor_straight_through(asked * share)
        granted.append(upto - before)
        before = upto
    return granted


def _within_head_space(params: Params, state: State, units: Array, capacity: Array) -> Array:
    """Cuts lanes into a node to the space that its stock and what is on the way leave free."""
    xp = namespace(units)
    heads = params.network.transfers.head.tolist()
    position = transfer_position(params, state)
    room_left = {
        node: capacity[:, node] - weighted_sum(position[node], params.a.volume)
        for node in sorted(set(heads))
    }
    volume = weighted_sum(units, params.a.volume)
    shares = []
    for node in heads:
        into = [k for k, head in enumerate(heads) if head == node]
        wanted = sum((volume[:, k] for k in into[1:]), start=volume[:, into[0]])
        shares.append(fill_share(room_left[node], wanted))
    return units * xp.stack(shares, axis=1)[:, :, None]


def depart(
    params: Params, transfers: tuple[Array, ...], units: Array
) -> tuple[tuple[Array, ...], Array | None]:
    """Puts `units` (B, E_tr, P) under way; returns the pipeline and what lands at once."""
    xp = namespace(units)
    transit = params.network.transfers.transit
    empty = xp.zeros_like(units)
    slots = [*transfers, *[empty] * (int(transit.max()) - len(transfers))]
    landed = None
    times = sorted(set(transit.tolist()))
    for k in times:
        if len(times) == 1:
            part = units
        else:
            part = units * as_like((transit == k)[:, None], units)
        if k == 0:
            landed = part
        else:
            slots[k - 1] = slots[k - 1] + part
    return tuple(slots), landed
