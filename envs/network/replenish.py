"""Phase P3: purchase orders, cut to what lanes carry, limits allow and suppliers can ship."""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    Array,
    all_sum,
    at_least,
    fill_share,
    floor_straight_through,
    namespace,
    round_in_turn,
    round_straight_through,
    spread,
    sum_entries,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.restock import within_limits
from stockyard.envs.network.state import Exogenous, Shipments, State


class Ordered(NamedTuple):
    """What came of an order."""

    ordered: Array  # (B, E_in, P) units after projection
    shipped: Array  # (B, E_in, P) units that will arrive
    landed: Array | None  # (B, E_in, P) units usable in this very period (lead time 0)
    shortfall: Array | None  # (B, E_in, P) units that will not arrive; None at fixed lead times
    last_lead: Array | None  # (B, E_in, P) periods until the last part can be used; likewise


def place_orders(
    params: Params,
    state: State,
    orders: Array | None,
    limits: Array | None,
    exogenous: Exogenous,
) -> tuple[State, Ordered | None]:
    """Projects orders onto what is feasible and sends them on their way.

    Orders are made up to minima and whole cases. Then each step only shrinks: lanes that carry the
    product, limits, supplier capacity (which may leave part of a case), whole units.
    What a supplier does not fill is cancelled, and neither paid nor delivered.

    Args:
        params: the network.
        state: start of the period.
        orders: (B, E_in, P) units wanted; negative values count as zero. None: no order.
        limits: (B, O, N) ft3, or None.
        exogenous: this period of the tape.

    Returns:
        The state with `inbound` and `position` raised, and what was ordered. Gradients pass;
        they are zero for negative orders and straight-through for lots and whole units.
    """
    if orders is None:
        return state, None
    orders = at_least(orders, 0.0)
    if params.plans.carried is not None:
        orders = orders * params.plans.carried
    if params.orders_in_lots:
        orders = _in_lots(params, orders)
    orders = within_limits(params, state, orders, limits)
    if params.supplier_is_limited:
        orders = _within_supplier_capacity(params, orders, exogenous.revealed.supplier_capacity)
    if params.whole_units:
        # Shares make fractions; rounding them down keeps every limit.
        is_cut = limits is not None or params.supplier_is_limited or params.sellers is not None
        orders = (floor_straight_through if is_cut else round_straight_through)(orders)
    if exogenous.shipments is None:
        inbound, landed = _send_at_fixed_lead(params, state.inbound, orders)
        shipped, shortfall, last_lead = orders, None, None
    else:
        inbound, landed, shipped = _send_in_parts(
            params, state.inbound, orders, exogenous.shipments
        )
        lead = exogenous.shipments.lead
        shortfall, last_lead = orders - shipped, namespace(lead).max(lead, axis=1)
    position = state.position + sum_entries(shipped)
    ordered = Ordered(orders, shipped, landed, shortfall, last_lead)
    return state._replace(inbound=inbound, position=position), ordered


def _in_lots(params: Params, orders: Array) -> Array:
    """Orders in whole cases and at least the minimum; nothing below half of it.

    The gradient passes straight through.
    """
    xp = namespace(orders)
    case, minimum = params.a.case_pack, params.a.minimum_order
    given = orders.detach() if hasattr(orders, "detach") else orders
    size = xp.where(case > 0.0, case, case + 1.0)
    lots = xp.where(case > 0.0, xp.round(given / size) * size, given)
    lots = xp.maximum(lots, minimum + given * 0.0)
    lots = xp.where((given < minimum / 2.0) | (given <= 0.0), given * 0.0, lots)
    return lots if lots is orders else orders + (lots - given)


def _within_supplier_capacity(params: Params, orders: Array, capacity: Array) -> Array:
    """Cuts each supplier's orders in proportion to `capacity` (B, V) units per day of review."""
    kept = orders
    for v, mask in params.plans.supplier_masks:
        own = orders if mask is None else orders * mask
        part = fill_share(capacity[:, v] * params.review_days, all_sum(own))
        kept = kept - own * (1.0 - part)[:, None, None]
    return kept


def _padded(inbound: tuple[Array, ...], slots: int, like: Array) -> list[Array]:
    if len(inbound) >= slots:
        return [*inbound]
    return [*inbound, *[like * 0.0] * (slots - len(inbound))]


def _send_at_fixed_lead(
    params: Params, inbound: tuple[Array, ...], orders: Array
) -> tuple[tuple[Array, ...], Array | None]:
    masks = params.plans.lead_masks
    slots = _padded(inbound, masks[-1][0], orders)
    landed = None
    for k, mask in masks:
        part = orders if mask is None else orders * mask
        if k == 0:
            landed = part
        else:
            slots[k - 1] = slots[k - 1] + part
    return tuple(slots), landed


def _send_in_parts(
    params: Params, inbound: tuple[Array, ...], orders: Array, shipments: Shipments
) -> tuple[tuple[Array, ...], Array | None, Array]:
    parts = orders[:, None] * shipments.fraction
    if params.whole_units:
        parts = round_in_turn(parts, 1)  # together no more than was ordered
    first, last = int(shipments.lead.min()), int(shipments.lead.max())
    arriving = spread(parts, shipments.lead - first, last - first + 1)
    slots = _padded(inbound, last, orders)
    for k in range(max(first, 1), last + 1):
        slots[k - 1] = slots[k - 1] + arriving[:, k - first]
    landed = arriving[:, 0] if first == 0 else None
    return tuple(slots), landed, sum_entries(parts)
