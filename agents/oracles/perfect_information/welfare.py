"""What the bound adds where terms for sellers are decided: everybody's surplus, first best.

A planner who knows the tape orders for retailer and sellers. Payments between parties cancel; what
goods are worth to customers counts in full. Sellers' ways around the network are the planner's too:
units that they send themselves, and customers whom price cuts draw.
"""

import numpy as np

from stockyard.agents.oracles.perfect_information.facts import Facts
from stockyard.agents.oracles.perfect_information.linear_program import Builder, Floats, Ints


def worth_by_lane(facts: Facts) -> Floats:
    """What a unit is worth to the customer whom a lane serves, (E_out, P) USD.

    The surplus of the lane's own speed: a slower promise lowers it.
    """
    network, surplus = facts.world.network, np.asarray(facts.world.economics.surplus_by_tier)
    tier = np.minimum(network.outbound.tier, len(surplus) - 1)
    return np.asarray((1.0 + surplus[tier])[:, None] * network.products.price)


def most_gained(facts: Facts) -> Floats:
    """Largest share by which price cuts raise the demand for each product, (P,)."""
    plan, products = facts.params.seller_plan, facts.world.network.products
    if not facts.is_welfare:
        return np.zeros(products.num_products)
    return np.asarray(plan.cut_elasticity * plan.most_cut * np.asarray(plan.plays))


def drawn_customers(builder: Builder, facts: Facts, block: Ints) -> Ints | None:
    """Columns (T, R, P) of customers whom price cuts draw; None where nobody cuts.

    With a cut that draws the share g of the demand D, sales at tier k or slower are within the
    share a_k of (1 + g) D. Take e as what is needed of it, the largest of sales / a_k - D. The
    simulator values g / (1 + g) of all sales without the surplus s of the fastest speed. Sales are
    at least a_k (D + e), and g at least e / D, so that this is at least a_k e: e costs a s times
    the price, with a the share that accepts the slowest speed.
    """
    gained = most_gained(facts)
    if not gained.any():
        return None
    economics, products = facts.world.economics, facts.world.network.products
    most = facts.demand * gained
    columns = builder.columns(most > 0.0, most, upper=most, block=block)
    accepted = min(min(promise.acceptance_by_tier) for promise in facts.promises)
    builder.pay(columns, -accepted * economics.surplus_by_tier[0] * products.price)
    return columns


def add_merchants(builder: Builder, facts: Facts, sold: Ints, block: Ints) -> None:
    """Units that sellers send themselves to some of the customers whom the network loses."""
    plan = facts.params.seller_plan
    if not facts.is_welfare or plan is None:
        return
    economics, products = facts.world.economics, facts.world.network.products
    share = np.asarray(plan.merchant_share)  # the tier that accepts least is in it
    demand = facts.demand.sum(axis=1) * (1.0 + most_gained(facts))
    most = share * demand
    columns = builder.columns(most > 0.0, most, upper=most, block=block)
    worth = products.price * (1.0 + economics.surplus_by_tier[-1]) - products.unit_cost
    saved = economics.goodwill_per_lost_unit - economics.merchant_cost_per_unit
    builder.pay(columns, worth + saved)
    rows = builder.rows(most > 0.0, most, block=block)
    builder.add(rows, columns, 1.0)
    builder.add(rows[:, None], sold, share)


def add_congestion(
    builder: Builder,
    facts: Facts,
    shelf: Ints,
    received: Ints,
    waiting: Ints,
    refused: Ints | None,
) -> None:
    """Docks slow down as buildings fill up: a concave majorant of their productivity.

    1 - slope (u - start)+ falls to a floor and stays there, which no linear program can say. The
    chord from `start` to the fullest that a building can be lies above it.

    Args:
        builder: takes rows.
        facts: the tape.
        shelf: (T, N) columns, ft3 on the shelf before receiving.
        received: (T, N) columns, ft3.
        waiting: (T + 1, N) columns, ft3 in the yard and refused at the start of a period.
        refused: (T, N) columns, ft3 turned away; None: nothing is.
    """
    rule = facts.params.congestion
    if rule is None:
        return
    docks, storage = facts.limits["receiving_capacity"], facts.limits["storage_capacity"]
    volume = facts.world.network.products.volume
    opening = (facts.on_hand + facts.yard) @ volume
    highest = np.maximum(np.maximum.accumulate(storage), opening)
    yard = facts.limits.get("yard_capacity")
    if yard is None:
        return  # a yard without end has no fullest building; the docks' own limit stands
    yard = np.maximum(np.maximum.accumulate(yard), opening)
    there = np.isfinite(docks) & np.isfinite(storage) & (storage > 1e-6)
    capacity = np.where(there, storage, 1.0)
    fullest = (highest + rule.yard_weight * yard) / capacity
    slope = np.minimum(rule.slope, (1.0 - rule.least) / np.maximum(fullest - rule.start, 1e-9))
    weight = np.where(there, docks * slope / capacity, 0.0)
    right = np.where(there, docks * (1.0 + slope * rule.start), 0.0)
    rows = builder.rows(there, right)
    builder.add(rows, received, 1.0 + weight * rule.yard_weight)
    builder.add(rows, shelf, weight)
    builder.add(rows, waiting[1:], weight * rule.yard_weight)
    if refused is not None:
        builder.add(rows, refused, -weight * rule.yard_weight)
