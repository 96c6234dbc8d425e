"""Phase P7 for third parties: what sellers earn and pay, and what customers get for their money."""

from collections.abc import Sequence

from stockyard.envs.network.arrays import (
    Array,
    anywhere,
    as_like,
    at_least,
    namespace,
    product_sum,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.state import Flows, Ledger


def add_seller_accounts(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    """Adds the accounts between sellers, platform and customers to a ledger of several periods.

    Args:
        params: the network; it has sellers.
        flows: what moved, period by period.
        ledger: with the accounts of `accounting.cash_flows`; sales and fees of sellers are set
            right for price cuts.
    """
    economics, days, a = params.economics, params.days_per_period, params.a
    price, referral = a.price_sellers, params.economics.seller_referral_fraction
    nothing = flows[0].sold[:, 0] * 0.0
    storage, overage, reserved, credits_, cut_away = (nothing for _ in range(5))
    merchant: Array = flows[0].sold * 0.0
    for flow in flows:
        bill = flow.sellers
        assert bill is not None
        storage = storage + product_sum(bill.stored * bill.price)
        overage = overage + product_sum(bill.over)
        if anywhere(bill.won > 0.0):
            paid = bill.won * bill.fee * days
            reserved = reserved + product_sum(paid)
            credits_ = credits_ + product_sum(_credit(params, flow, paid))
        if anywhere(bill.cut > 0.0):
            cut_away = cut_away + weighted_sum(flow.sold * bill.cut, price)
        if bill.merchant is not None:
            merchant = merchant + bill.merchant
    ledger["seller_sales"] = ledger["seller_sales"] - cut_away
    ledger["seller_fees"] = ledger["seller_fees"] - referral * cut_away
    ledger["seller_storage"] = storage * days
    ledger["seller_overage"] = overage * (economics.seller_overage_per_ft3_day * days)
    ledger["seller_reservations"] = reserved
    ledger["seller_credits"] = -credits_
    rate = economics.capital_rate_per_year / 365.0 * days
    held = sum((f.end.position for f in flows[1:]), start=flows[0].end.position)
    ledger["seller_capital"] = weighted_sum(held, a.third_party_cost) * rate
    ledger["merchant_sales"] = weighted_sum(merchant, price)
    ledger["merchant_referrals"] = referral * ledger["merchant_sales"]
    ledger["merchant_purchases"] = weighted_sum(merchant, a.third_party_cost)
    ledger["merchant_freight"] = product_sum(merchant) * economics.merchant_cost_per_unit
    ledger["consumption"] = _usefulness(params, flows, merchant)


def _credit(params: Params, flow: Flows, paid: Array) -> Array:
    """What sellers get back for sales from space that they bought, (B, S) USD.

    Of a seller's sales, the bought share of its space counts; nobody gets more than it `paid`.
    """
    plan, bill, sellers = params.seller_plan, flow.sellers, flow.end.sellers
    assert plan is not None and bill is not None and sellers is not None
    sold = by_seller(plan, flow.sold * params.a.price_sellers)
    bought = bill.won / at_least(sellers.limit + bill.won, 1e-9)
    credit = params.economics.seller_credit_fraction * sold * bought
    return namespace(credit).minimum(credit, paid)


def _usefulness(params: Params, flows: Sequence[Flows], merchant: Array) -> Array:
    """What customers' purchases are worth to them, (B,) USD.

    A delivered unit is worth its list price and a surplus that falls with the delivery time. Who
    bought only because the price was cut values a unit at the middle of old and new price, and
    none above the surplus of the fastest delivery.
    """
    plan, surplus = params.seller_plan, params.economics.surplus_by_tier
    assert plan is not None
    price = params.a.price_retail + params.a.price_sellers
    worth: Array = weighted_sum(merchant, price) * (1.0 + surplus[-1])
    for promise in sorted({f.promise for f in flows}):
        alike = [f for f in flows if f.promise == promise]
        for k, rank in enumerate(params.ranks(promise)):
            units = sum((f.served[k] for f in alike[1:]), start=alike[0].served[k])
            tiers = [surplus[min(t, len(surplus) - 1)] for t in rank.rank.tier.tolist()]
            by_region = weighted_sum(units, price)
            worth = worth + weighted_sum(by_region, as_like(tiers, by_region) + 1.0)
    for flow in flows:
        bill = flow.sellers
        if bill is not None and anywhere(bill.cut > 0.0):
            gained = plan.cut_elasticity * bill.cut
            drawn = flow.sold * gained / (1.0 + gained)
            worth = worth - weighted_sum(drawn * (surplus[0] + bill.cut / 2.0), price)
    return worth
