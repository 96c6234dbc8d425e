"""Phase P7: what the period cost and earned, by account, and what the stock is worth."""

from stockyard.envs.network.arrays import (
    Array,
    at_least,
    fill_share,
    namespace,
    product_sum,
    sum_entries,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Exogenous, Flows, State

Ledger = dict[str, Array]


def cash_flows(params: Params, end: State, flows: Flows, exogenous: Exogenous) -> Ledger:
    """The period's money by account, each (B,) USD.

    Args:
        params: the network and its economics.
        end: stock after fulfilment and dispatch, before the pipelines advance: holding, rent and
            the capital charge fall on it.
        flows: what moved.
        exogenous: this period of the tape.

    Returns:
        Accounts of `economics.PARTIES` that apply, signed as the retailer sees them (sales are
        positive, purchases negative). Accounts between other parties are positive for the payee.
    """
    ledger: Ledger = {}
    _sales(params, flows, ledger)
    _orders(params, flows, ledger)
    _movement(params, flows, ledger)
    _freight(params, end, flows, ledger)
    _space(params, end, flows, exogenous, ledger)
    _textbook(params, end, flows, ledger)
    return ledger


def _total(array: Array) -> Array:
    """Sum over all axes but the first, products first, so that a row sums alike in any batch."""
    sums = product_sum(array)
    return sums if sums.ndim == 1 else product_sum(sums)


def _sales(params: Params, flows: Flows, ledger: Ledger) -> None:
    economics = params.economics
    if economics.valuation != "none":
        ledger["sales"] = weighted_sum(flows.sold, params.a.price_retail)
        if params.has_third_party:
            ledger["seller_sales"] = weighted_sum(flows.sold, params.a.price_sellers)
            ledger["seller_fees"] = weighted_sum(flows.sold, params.a.seller_fee)
    if economics.pick_pack_per_unit or economics.last_mile_per_unit:
        units = product_sum(flows.sold)
        ledger["pick_pack"] = -units * economics.pick_pack_per_unit
        ledger["last_mile"] = -units * economics.last_mile_per_unit
    if flows.tariff is not None:
        ledger["tariff"] = -flows.tariff
    if economics.goodwill_per_lost_unit and flows.lost is not None:
        ledger["goodwill"] = -_total(flows.lost) * economics.goodwill_per_lost_unit


def _orders(params: Params, flows: Flows, ledger: Ledger) -> None:
    if flows.shipped is None or flows.ordered is None:
        return
    if params.network.inbound.unit_cost.any():
        ledger["purchases"] = -_total(flows.shipped * params.a.order_cost_own)
        if params.has_third_party:
            ledger["seller_purchases"] = _total(flows.shipped * params.a.order_cost_sellers)
    if params.economics.fixed_order_cost:
        xp = namespace(flows.ordered)
        lines = _total(xp.asarray(flows.ordered > 0, dtype=flows.ordered.dtype))
        ledger["fixed_order"] = -lines * params.economics.fixed_order_cost


def _movement(params: Params, flows: Flows, ledger: Ledger) -> None:
    if params.economics.receive_per_unit and flows.received is not None:
        ledger["receiving"] = -_total(flows.received) * params.economics.receive_per_unit
    if flows.transferred is not None and params.network.transfers.cost_per_unit.any():
        ledger["transfer"] = -weighted_sum(product_sum(flows.transferred), params.a.transfer_cost)


def _freight(params: Params, end: State, flows: Flows, ledger: Ledger) -> None:
    economics = params.economics
    if flows.trucks is not None:
        ledger["trucks"] = -weighted_sum(flows.trucks, params.a.truck_cost)
    if flows.expedited is None or flows.newly_late is None or end.parcels is None:
        return
    ledger["expedite"] = -product_sum(flows.expedited) * economics.expedite_per_parcel
    if economics.waiting_per_parcel:
        ledger["parcel_waiting"] = -_total(end.parcels) * economics.waiting_per_parcel
    if economics.late_per_parcel or economics.late_per_parcel_day:
        daily = economics.late_per_parcel_day * params.days_per_period
        ledger["late"] = (
            -product_sum(flows.newly_late) * economics.late_per_parcel
            - end.parcels[:, :, 0].sum(-1) * daily
        )


def _space(params: Params, end: State, flows: Flows, exogenous: Exogenous, ledger: Ledger) -> None:
    economics, days = params.economics, params.days_per_period
    stored = flows.stored_volume
    if stored is not None:
        rent = product_sum(stored) * (economics.storage_rent_per_ft3_day * days)
        if exogenous.revealed.storage_rent is not None:
            rent = rent * exogenous.revealed.storage_rent[:, 0]
        ledger["storage"] = -rent
        over = stored - exogenous.revealed.storage_capacity if params.storage_is_limited else None
        if over is not None and bool((over > 0.0).any()):
            daily = economics.overflow_rent_per_ft3_day * days
            ledger["overflow"] = -product_sum(at_least(over, 0.0)) * daily
    if flows.yard_volume is not None and economics.yard_rent_per_ft3_day:
        ledger["yard"] = -product_sum(flows.yard_volume) * (economics.yard_rent_per_ft3_day * days)
    if flows.refused_volume is not None:
        ledger["refusal"] = -product_sum(flows.refused_volume) * economics.yard_refusal_per_ft3
    if economics.capital_rate_per_year:
        cost = weighted_sum(end.position, params.a.own_cost)
        ledger["capital"] = -cost * (economics.capital_rate_per_year / 365.0 * days)


def _textbook(params: Params, end: State, flows: Flows, ledger: Ledger) -> None:
    economics, network = params.economics, params.network
    holding = None
    if _is_charged(economics.holding_per_unit):
        holding = weighted_sum(product_sum(end.on_hand), params.a.holding)
    if _is_charged(economics.transit_holding_per_unit) and len(network.transfers.tail):
        under_way = [product_sum(slot) for slot in end.transfers]
        if end.staged is not None:
            under_way.append(product_sum(end.staged))
        for units in under_way:
            cost = weighted_sum(units, params.a.transit_holding)
            holding = cost if holding is None else holding + cost
    if holding is not None:
        ledger["holding"] = -holding
    if economics.shortage_per_unit:
        short = flows.lost if end.backlog is None else end.backlog
        assert short is not None
        ledger["shortage"] = -_total(short) * economics.shortage_per_unit


def _is_charged(rate: object) -> bool:
    import numpy as np

    return bool(np.any(np.asarray(rate)))


def stock_value(params: Params, state: State, cover: Array) -> Array:
    """What the retailer's stock is worth, (B,) USD.

    Cost plus handling paid so far counts in full for the units that the forecast sells within the
    cover of `Economics.value_cover_days`, and at the salvage fraction beyond. Parcels still staged
    or late are charged what a common carrier would ask for them.

    Args:
        params: the network and its economics.
        state: start of a period.
        cover: (B, P) forecast units over the cover.

    Returns:
        (B,) USD; differences of it are the account `inventory_value`.
    """
    economics = params.economics
    # All units at cost, plus the handling of those that have arrived.
    book = state.position * params.a.unit_cost + sum_entries(state.on_hand * params.a.handling_node)
    for slot in state.transfers:
        book = book + sum_entries(slot * params.a.handling_transfer)
    if state.yard is not None:
        book = book + sum_entries(state.yard * params.a.handling_yard)
    if state.staged is not None:
        tail = params.network.transfers.tail
        book = book + sum_entries(state.staged * params.a.handling_node[tail])
    share = fill_share(cover, state.position)
    share = economics.salvage_fraction + (1.0 - economics.salvage_fraction) * share
    value = weighted_sum(book * params.a.own, share)
    if state.parcels is not None:
        value = value - _total(state.parcels) * economics.expedite_per_parcel
    return value
