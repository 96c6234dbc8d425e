"""Phase P7: what periods cost and earned, by account, and what the stock is worth.

All rates are constant over the periods of a decision, so flows are summed over the periods first
and priced once: the same money at a fraction of the work.
"""

from collections.abc import Sequence

from stockyard.envs.network.arrays import (
    Array,
    all_sum,
    as_like,
    fill_share,
    namespace,
    product_sum,
    sum_entries,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.seller_accounts import add_seller_accounts
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.state import Flows, Ledger, State


def cash_flows(params: Params, flows: Sequence[Flows]) -> Ledger:
    """The money of one or more periods by account, each (B,) USD.

    Holding, rent and the capital charge fall on the stock that is left after fulfilment and
    dispatch (`Flows.end`).

    Args:
        params: the network and its economics.
        flows: what moved, period by period.

    Returns:
        Accounts of `economics.PARTIES` that apply, signed as the retailer sees them (sales are
        positive, purchases negative). Accounts between other parties are positive for the payee.
    """
    ledger: Ledger = {}
    _sales(params, flows, ledger)
    _orders(params, flows, ledger)
    _movement(params, flows, ledger)
    _freight(params, flows, ledger)
    _space(params, flows, ledger)
    _textbook(params, flows, ledger)
    if params.sellers is not None:
        add_seller_accounts(params, flows, ledger)
    return ledger


def _over(parts: Sequence[Array | None]) -> Array | None:
    """Sum over periods; None where there is nothing in any."""
    total: Array | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


def _sales(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    economics = params.economics
    if economics.valuation != "none":
        sold = _over([f.sold for f in flows])
        ledger["sales"] = weighted_sum(sold, params.a.price_retail)
        if params.has_third_party:
            ledger["seller_sales"] = weighted_sum(sold, params.a.price_sellers)
            ledger["seller_fees"] = weighted_sum(sold, params.a.seller_fee)
        units = product_sum(sold)
        ledger["pick_pack"] = -units * economics.pick_pack_per_unit
        ledger["last_mile"] = -units * economics.last_mile_per_unit
    tariff: Array | None = None
    promises = {f.promise for f in flows}
    for promise in sorted(promises):  # each has its own plan of ranks
        alike = flows if len(promises) == 1 else [f for f in flows if f.promise == promise]
        for k, rank in enumerate(params.ranks(promise)):
            if rank.tariff is not None:
                if params.weighs_tariff:
                    units = _over([f.served[k] for f in alike])
                    parcels = weighted_sum(units, params.a.tariff_weight)
                else:
                    parcels = _over([f.picked[k] for f in alike])
                paid = weighted_sum(parcels, rank.tariff)
                tariff = paid if tariff is None else tariff + paid
    if tariff is not None:
        ledger["tariff"] = -tariff
    if economics.goodwill_per_lost_unit:
        lost = _over([f.lost for f in flows])
        if lost is not None:
            ledger["goodwill"] = -all_sum(lost) * economics.goodwill_per_lost_unit


def _orders(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    shipped = _over([f.shipped for f in flows])
    if shipped is None:
        return
    if params.pays_purchases:
        ledger["purchases"] = -all_sum(shipped * params.a.order_cost_own)
        if params.has_third_party:
            ledger["seller_purchases"] = all_sum(shipped * params.a.order_cost_sellers)
    if params.economics.fixed_order_cost:
        lines: Array = _over([_count_positive(f.ordered) for f in flows if f.ordered is not None])
        ledger["fixed_order"] = -lines * params.economics.fixed_order_cost


def _count_positive(orders: Array) -> Array:
    """Number of order lines, (B,)."""
    return all_sum(namespace(orders).asarray(orders > 0, dtype=orders.dtype))


def _movement(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    if params.economics.receive_per_unit:
        received = _over([f.received for f in flows])
        if received is not None:
            ledger["receiving"] = -all_sum(received) * params.economics.receive_per_unit
    if params.pays_transfers:
        moved = _over([f.transferred for f in flows])
        if moved is not None:
            ledger["transfer"] = -weighted_sum(product_sum(moved), params.a.transfer_cost)


def _freight(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    economics = params.economics
    _trucks(params, flows, ledger)
    expedited = _over([f.expedited for f in flows])
    left = _over([f.end.parcels for f in flows])
    late = _over([f.newly_late for f in flows])
    if expedited is None or left is None or late is None:
        return
    behind = left[:, :, 0]
    freight = params.network.freight
    if freight is not None:  # the fees of a pallet may be others than those of a parcel
        weight = as_like(freight.fee_weight, left)
        expedited, late, behind = expedited * weight, late * weight, behind * weight
    ledger["expedite"] = -product_sum(expedited) * economics.expedite_per_parcel
    if economics.waiting_per_parcel:
        ledger["parcel_waiting"] = -all_sum(left) * economics.waiting_per_parcel
    if economics.late_per_parcel or economics.late_per_parcel_day:
        daily = economics.late_per_parcel_day * params.days_per_period
        fees = product_sum(late) * economics.late_per_parcel
        ledger["late"] = -fees - product_sum(behind) * daily


def _trucks(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    """What own trucks and hired ones cost."""
    freight = params.network.freight
    if freight is None:
        trucks = _over([f.trucks for f in flows])
        if trucks is not None:
            ledger["trucks"] = -weighted_sum(trucks, params.a.truck_cost)
        return
    ran = [f.freight for f in flows if f.freight is not None]
    spot = _over([f.spot for f in ran])
    ledger["trucks"] = -weighted_sum(_over([f.own for f in ran]), params.a.truck_cost)
    ledger["spot"] = -weighted_sum(spot, as_like(freight.spot_cost, spot))


def _space(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    economics, days = params.economics, params.days_per_period
    rent = economics.storage_rent_per_ft3_day * days
    if rent:
        stored = _over([_rented(f) for f in flows])
        ledger["storage"] = -product_sum(stored) * rent
    # The accounts of a network are always the same; what did not happen costs nothing.
    nothing = flows[0].sold[:, 0] * 0.0
    if params.storage_is_limited and economics.overflow_rent_per_ft3_day:
        over = _over([f.overflow_volume for f in flows])
        volume = nothing if over is None else product_sum(over)
        ledger["overflow"] = -volume * (economics.overflow_rent_per_ft3_day * days)
    yard = _over([f.end.yard for f in flows]) if economics.yard_rent_per_ft3_day else None
    if yard is not None:
        volume = product_sum(weighted_sum(yard, params.a.volume))
        ledger["yard"] = -volume * (economics.yard_rent_per_ft3_day * days)
    if params.yard_is_limited and economics.yard_refusal_per_ft3:
        refused = _over([f.refused_volume for f in flows])
        volume = nothing if refused is None else product_sum(refused)
        ledger["refusal"] = -volume * economics.yard_refusal_per_ft3
    if economics.capital_rate_per_year:
        position = _over([f.end.position for f in flows])
        cost = weighted_sum(position, params.a.own_cost)
        ledger["capital"] = -cost * (economics.capital_rate_per_year / 365.0 * days)


def _rented(flows: Flows) -> Array:
    if flows.storage_rent is None:
        return flows.stored_volume
    return flows.stored_volume * flows.storage_rent


def _textbook(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    holding: Array | None = None
    if params.pays_holding:
        holding = _priced(_over([f.end.on_hand for f in flows]), params.a.holding)
    if params.pays_transit_holding:
        under_way = _over([part for f in flows for part in (*f.end.transfers, f.end.staged)])
        if under_way is not None:
            cost = weighted_sum(product_sum(under_way), params.a.transit_holding)
            holding = cost if holding is None else holding + cost
    if holding is not None:
        ledger["holding"] = -holding
    if params.pays_shortage:
        short = _over([f.lost if f.end.backlog is None else f.end.backlog for f in flows])
        ledger["shortage"] = -_priced(short, params.a.shortage)


def _priced(units: Array, rate: Array) -> Array:
    """Units (B, E, P) times a rate (E,) or (E, P), summed, (B,)."""
    if rate.ndim == 1:
        return weighted_sum(product_sum(units), rate)
    return all_sum(units * rate)


def stock_value(params: Params, state: State, cover: Array) -> Array:
    """What the retailer has in its stock, (B,) USD.

    Cost plus handling paid so far counts in full for the units that the forecast sells within the
    cover of `Economics.value_cover_days`, and at the salvage fraction beyond. Parcels still staged
    or late are charged what a common carrier would ask for them, or, with `Freight`, `freight_due`.
    Where sellers decide for their products, the retailer has paid for their handling, and that
    counts.

    Args:
        params: the network and its economics.
        state: start of a period.
        cover: (B, P) forecast units over the cover.

    Returns:
        (B,) USD; differences of it are the account `inventory_value`.
    """
    economics = params.economics
    # All units at cost, plus the handling of those that have arrived.
    if params.sellers is None:
        cost, valued = params.a.unit_cost, params.a.own
    else:
        cost, valued = params.a.own_cost, None
    book = state.position * cost + sum_entries(state.on_hand * params.a.handling_node)
    for slot in state.transfers:
        book = book + sum_entries(slot * params.a.handling_transfer)
    if state.yard is not None:
        book = book + sum_entries(state.yard * params.a.handling_yard)
    if state.staged is not None:
        book = book + sum_entries(state.staged * params.a.handling_node[params.plans.transfer_tail])
    share = _worth_share(params, state, cover)
    value = weighted_sum(book if valued is None else book * valued, share)
    if state.freight is not None:
        value = value - freight_due(params, state)
    elif state.parcels is not None:
        value = value - all_sum(state.parcels) * economics.expedite_per_parcel
    return value


def sellers_stock_value(params: Params, state: State, cover: Array) -> Array:
    """What the sellers' stock is worth to them, (B,) USD: its cost, valued as the retailer's is."""
    return product_sum(stock_value_by_seller(params, state, cover))


def stock_value_by_seller(params: Params, state: State, cover: Array) -> Array:
    """The same for each seller, (B, S) USD."""
    assert params.seller_plan is not None
    worth = state.position * params.a.third_party_cost * _worth_share(params, state, cover)
    return by_seller(params.seller_plan, worth)


def _worth_share(params: Params, state: State, cover: Array) -> Array:
    """Value of a unit over what was paid for it, (B, P), mean over the units there are."""
    salvage = params.economics.salvage_fraction
    return salvage + (1.0 - salvage) * fill_share(cover, state.position)


def freight_due(params: Params, state: State) -> Array:
    """What it will cost to move the parcels that wait where the network has `Freight`, (B,) USD.

    By volume at `Freight.value_per_ft3`, and late parcels besides what a carrier would ask. It is
    charged when parcels join and released when they leave, so that holding them back at the end of
    an episode earns nothing.
    """
    freight = params.network.freight
    assert freight is not None and state.freight is not None
    assert state.parcels is not None and state.parcel_volume is not None
    rate = as_like(freight.value_per_ft3, state.parcel_volume)
    due = weighted_sum(product_sum(state.parcel_volume), rate)
    weight = as_like(freight.fee_weight, rate) * params.economics.expedite_per_parcel
    due = due + weighted_sum(state.parcels[:, :, 0], weight)
    outs = len(params.network.outbound.node)
    for volume in state.freight.to_hub_volume:
        rates = rate[outs : outs + volume.shape[1]]
        due = due + weighted_sum(product_sum(volume), rates)
    return due
