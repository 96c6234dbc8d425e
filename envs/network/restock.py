"""Phase P1-P2: limits on what an owner may have on hand plus inbound at a node.

A limit never removes stock; it only blocks new inbound (trap E19 of the model).
"""

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    as_like,
    at_least,
    at_most,
    fill_share,
    gather_sum,
    stack,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import State


def owner_volume(params: Params, state: State) -> Array:
    """Volume on hand, in the yard, staged and inbound by owner and node, (B, O, N) ft3."""
    network, plans = params.network, params.plans
    position = state.on_hand if state.yard is None else state.on_hand + state.yard
    for slot in state.inbound:
        position = position + gather_sum(slot, plans.inbound_to_node)
    for slot in state.transfers:
        position = position + gather_sum(slot, plans.transfers_to_node)
    if state.staged is not None:
        position = position + gather_sum(state.staged, plans.transfers_from_node)
    owners = network.products.owner
    columns = []
    for owner in range(network.products.num_owners):
        mask = as_like(owners == owner, position)
        columns.append(weighted_sum(position, params.a.volume * mask))
    return stack(columns, axis=1)


def within_limits(params: Params, state: State, orders: Array, limits: Array | None) -> Array:
    """Scales orders so that each owner stays within its limit at each node.

    Args:
        params: the network.
        state: start of the period.
        orders: (B, E_in, P) units >= 0.
        limits: (B, O, N) ft3 on hand plus inbound, inf for none; None leaves orders alone.

    Returns:
        (B, E_in, P) units; an owner's orders into a node shrink in proportion. Kinks where a limit
        starts to bind; the gradient there is one-sided.
    """
    if limits is None:
        return orders
    network = params.network
    room = limits - owner_volume(params, state)
    room = at_most(at_least(room, 0.0), UNLIMITED)
    owners = network.products.owner
    heads = network.inbound.head.tolist()
    lanes: list[Array] = [orders[:, lane] for lane in range(len(heads))]
    for owner in range(network.products.num_owners):
        mask = as_like(owners == owner, orders)
        volume = params.a.volume * mask
        for node in sorted(set(heads)):
            into = [lane for lane, head in enumerate(heads) if head == node]
            wanted = sum(weighted_sum(orders[:, lane], volume) for lane in into)
            share = fill_share(room[:, owner, node], wanted)[:, None]
            for lane in into:
                lanes[lane] = lanes[lane] - lanes[lane] * mask * (1.0 - share)
    return stack(lanes, axis=1)
