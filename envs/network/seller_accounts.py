"""Phase P7 for third parties: what sellers earn and pay, and what customers get for their money."""

from collections.abc import Sequence

from stockyard.envs.network.arrays import (
    Array,
    anywhere,
    as_like,
    at_least,
    namespace,
    product_sum,
    sum_entries,
    weighted_sum,
)
from stockyard.envs.network.economics import PARTIES
from stockyard.envs.network.params import Params
from stockyard.envs.network.sellers import by_seller
from stockyard.envs.network.state import Flows, Ledger


def add_seller_accounts(params: Params, flows: Sequence[Flows], ledger: Ledger) -> None:
    """Adds the accounts between sellers, platform and customers to a ledger of several periods.

    Args:
        params: the network; it has sellers.
        flows: what moved, period by period.
        ledger: with the accounts of `accounting.cash_flows`; those of sellers are set anew.
    """
    for account, amount in accounts_by_seller(params, flows).items():
        ledger[account] = product_sum(amount)
    merchant = _merchant(flows)
    ledger["consumption"] = _usefulness(params, flows, merchant)


def accounts_by_seller(params: Params, flows: Sequence[Flows]) -> Ledger:
    """The accounts of each seller, (B, S) USD, signed as in a ledger: see `cash_flows`."""
    plan, economics, days, a = (
        params.seller_plan,
        params.economics,
        params.days_per_period,
        params.a,
    )
    assert plan is not None
    price, referral = a.price_sellers, economics.seller_referral_fraction
    sold = sum((f.sold for f in flows[1:]), start=flows[0].sold)
    held = sum((f.end.position for f in flows[1:]), start=flows[0].end.position)
    merchant = _merchant(flows)
    rent, cut_away = sold * 0.0, sold * 0.0
    none = by_seller(plan, rent)
    overage, reserved, credited = none, none, none
    for flow in flows:
        bill = flow.sellers
        assert bill is not None
        rent = rent + bill.stored * bill.price
        overage = overage + bill.over
        if anywhere(bill.won > 0.0):
            paid = bill.won * bill.fee * days
            reserved, credited = reserved + paid, credited + _credit(params, flow, paid)
        if anywhere(bill.cut > 0.0):
            cut_away = cut_away + flow.sold * bill.cut * price
    shipped = [f.shipped for f in flows if f.shipped is not None]
    bought = [sum_entries(units * a.order_cost_sellers) for units in shipped]
    rate = economics.capital_rate_per_year / 365.0 * days
    sales = by_seller(plan, sold * price - cut_away)
    own_sales = by_seller(plan, merchant * price)
    per_unit = by_seller(plan, sold * plan.third_party) * economics.seller_fee_per_unit
    return {
        "seller_sales": sales,
        "seller_fees": referral * sales + per_unit,
        "seller_purchases": by_seller(plan, sum(bought, start=sold * 0.0)),
        "seller_storage": by_seller(plan, rent) * days,
        "seller_overage": overage * (economics.seller_overage_per_ft3_day * days),
        "seller_reservations": reserved,
        "seller_credits": -credited,
        "seller_capital": by_seller(plan, held * a.third_party_cost) * rate,
        "merchant_sales": own_sales,
        "merchant_referrals": referral * own_sales,
        "merchant_purchases": by_seller(plan, merchant * a.third_party_cost),
        "merchant_freight": by_seller(plan, merchant) * economics.merchant_cost_per_unit,
    }


def surplus_by_seller(accounts: Ledger) -> Array:
    """What each seller has left of its accounts, (B, S) USD, without what its stock gained."""
    total: Array = 0.0
    for account, amount in accounts.items():
        payer, payee = PARTIES[account]
        received = -amount if payer == "retailer" else amount
        total = total + received * (float(payee == "sellers") - float(payer == "sellers"))
    return total


def _merchant(flows: Sequence[Flows]) -> Array:
    """Units that sellers sent themselves, (B, P)."""
    units: Array = flows[0].sold * 0.0
    for flow in flows:
        if flow.sellers is not None and flow.sellers.merchant is not None:
            units = units + flow.sellers.merchant
    return units


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
