"""Sellers and terms in random networks: what no seller and no platform may break."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import at_most, law, same
from random_networks import BATCH, Case, change, everywhere, leaves, run
from seller_networks import draw_seller_case

from stockyard.envs.network.accounting import cash_flows, sellers_stock_value, stock_value
from stockyard.envs.network.arrays import UNLIMITED
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import PARTIES, party_balances
from stockyard.envs.network.params import array_maker
from stockyard.envs.network.sellers import (
    SHADOW_PRICES,
    Wants,
    price_where,
    space_wanted,
    used_space,
)
from stockyard.envs.network.state import Terms

both_backends = pytest.mark.parametrize("backend", ["numpy", "torch"])
seeds = st.integers(0, 10**6)
cases = seeds.map(draw_seller_case)
fluid_cases = seeds.map(
    lambda seed: draw_seller_case(seed, whole_units=False, fluid_trucks=True, lots=False)
)


def owned(case: Case) -> Any:
    """(P,) whether a product is a seller's."""
    return case.network.products.owner > 0


@both_backends
@law()
@given(case=cases)
def test_units_are_conserved_with_sellers(backend: str, case: Case) -> None:
    """L1, L2: units sellers send themselves leave no stock; every wish is served, sent or lost."""
    for period in run(case, backend):
        flows = period.flows
        assert flows.sellers is not None
        shipped = 0.0 if flows.shipped is None else flows.shipped.sum(axis=1)
        same(everywhere(period.after), everywhere(period.before) + shipped - flows.sold)
        same(period.after.position, everywhere(period.after))
        merchant = flows.sellers.merchant
        at_most(0.0, merchant)
        assert not merchant[:, ~owned(case)].any()
        if flows.substituted is None:
            slow = 0.0 if flows.abandoned is None else flows.abandoned
            missed = (flows.out_of_stock + slow).sum(axis=1)
            same(missed, flows.lost.sum(axis=1) + merchant)


@both_backends
@law()
@given(case=cases)
def test_limits_block_inbound_and_remove_nothing(backend: str, case: Case) -> None:
    """L6: a seller's volume exceeds its space only where it did before; nothing is taken away."""
    params = case.params()
    for period in run(case, backend):
        if period.exogenous.beliefs is None or period.flows.ordered is None:
            continue
        sellers = period.after.sellers
        assert sellers is not None
        before = used_space(params, period.before)
        sent = period.flows.ordered * owned(case) * case.network.products.volume
        by_seller = np.stack(
            [
                sent[:, :, case.network.products.owner == s + 1].sum(axis=(1, 2))
                for s in range(before.shape[1])
            ],
            axis=1,
        )
        if case.params().orders_in_lots:  # minima and cases may lift a seller's order
            continue
        at_most(before + by_seller, np.maximum(before, sellers.limit + sellers.won) + 1e-6)


@both_backends
@law()
@given(case=cases)
def test_money_between_parties_is_conserved(backend: str, case: Case) -> None:
    """L5: what one pays another is paid; the parties' sum is what crosses the border."""
    params = case.params()
    flows = [period.flows for period in run(case, backend)]
    ledger = cash_flows(params, flows)
    assert set(ledger) <= set(PARTIES)
    balances = party_balances(ledger)
    size = sum(np.abs(amount) for amount in ledger.values())
    assert (np.abs(sum(balances.values())) <= 1e-9 * (1.0 + size)).all()
    inner = {"retailer", "sellers", "customers"}
    outside = sum(
        (-amount if PARTIES[name][0] == "retailer" else amount)
        * ((PARTIES[name][1] in inner) * 1.0 - (PARTIES[name][0] in inner) * 1.0)
        for name, amount in ledger.items()
    )
    same(sum(balances[party] for party in inner), outside)
    parts = [cash_flows(params, [flow]) for flow in flows]
    for account, amount in ledger.items():
        same(amount, sum(part.get(account, 0.0) for part in parts))


@law()
@given(case=cases)
def test_fees_are_charged_for_what_is_used(case: Case) -> None:
    """Storage by volume and price, overage above the limit, credits at most what was paid."""
    params = case.params()
    days, economics = params.days_per_period, case.economics
    for period in run(case):
        bill, ledger = period.flows.sellers, cash_flows(params, [period.flows])
        assert bill is not None
        same(ledger["seller_storage"], (bill.stored * bill.price).sum(axis=1) * days)
        rate = economics.seller_overage_per_ft3_day * days
        same(ledger["seller_overage"], bill.over.sum(axis=1) * rate)
        same(ledger["seller_reservations"], (bill.won * bill.fee).sum(axis=1) * days)
        at_most(-ledger["seller_credits"], ledger["seller_reservations"])
        at_most(0.0, -ledger["seller_credits"])


@both_backends
@law()
@given(case=cases)
def test_an_auction_sells_no_more_than_is_offered(backend: str, case: Case) -> None:
    """Nobody pays less than the reserve; under one price all winners pay the same."""
    for period in run(case, backend):
        terms, sellers = period.decisions.terms, period.after.sellers
        if terms is None:
            continue
        assert sellers is not None
        at_most(sellers.won.sum(axis=1), terms.offered[:, 0])
        won = sellers.won > 0.0
        at_most(np.where(won, terms.reserve, 0.0), np.where(won, sellers.fee, 0.0))
        if case.flags["sellers"].payment == "uniform":
            same(np.where(won, sellers.fee, 0.0), np.where(won, sellers.clearing, 0.0))
        else:
            at_most(np.where(won, sellers.clearing, 0.0), np.where(won, sellers.fee, 0.0) + 1e-9)


@law()
@given(case=cases)
def test_backends_agree_on_sellers(case: Case) -> None:
    """One source serves NumPy and torch."""
    for numpy_period, torch_period in zip(run(case), run(case, "torch"), strict=True):
        for (path, left), (other, right) in zip(
            leaves(numpy_period.after), leaves(torch_period.after), strict=True
        ):
            assert path == other
            np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-7, err_msg=path)


@law(12)
@given(case=fluid_cases)
def test_gradients_reach_limits_and_prices(case: Case) -> None:
    """L14: d return / d terms equals finite differences where the return is smooth."""
    params, make = case.params("torch"), array_maker("torch", "float64")

    def total(bump: Any) -> Any:
        state = change(case.state, make)
        money = torch.zeros(BATCH, dtype=torch.float64)
        for k, (decided, happens) in enumerate(zip(case.decisions, case.exogenous, strict=True)):
            decisions = change(decided, make)
            if k == 0 and decisions.terms is not None:
                terms: Terms = decisions.terms
                decisions = decisions._replace(
                    terms=terms._replace(limit=terms.limit * bump[0], price=terms.price * bump[1])
                )
            state, flows = step(params, state, decisions, change(happens, make))
            money = money + sum(cash_flows(params, [flows]).values())
        cover = torch.full((BATCH, case.network.num_products), 20.0, dtype=torch.float64)
        money = money + stock_value(params, state, cover)
        return money + sellers_stock_value(params, state, cover)

    free = torch.ones(2, dtype=torch.float64, requires_grad=True)
    value = total(free)
    (slope,) = torch.autograd.grad(value.sum(), free)
    assert torch.isfinite(slope).all()
    h = 1e-6
    for entry in range(2):
        bump = torch.zeros(2, dtype=torch.float64)
        bump[entry] = h
        ones = torch.ones(2, dtype=torch.float64)
        right = (total(ones + bump) - value.detach()).sum() / h
        left = (value.detach() - total(ones - bump)).sum() / h
        if abs(right - left) > 1e-4 * (1.0 + abs(right) + abs(left)):
            continue  # a kink: a stock-out, a limit that just binds, a cut that just pays
        assert abs(slope[entry] - (right + left) / 2) <= 1e-3 * (1.0 + abs(right))


@law()
@given(case=cases)
def test_no_space_lets_nothing_in_and_no_limit_is_no_limit(case: Case) -> None:
    """Limits at the extremes do what they say."""

    def with_limit(value: float) -> Case:
        decisions = []
        for decided in case.decisions:
            terms = decided.terms
            if terms is not None:
                terms = terms._replace(
                    limit=np.full_like(terms.limit, value),
                    offered=terms.offered * 0.0,
                    earned_days=terms.earned_days * 0.0,
                    outlook=np.full_like(terms.outlook, UNLIMITED),
                )
            decisions.append(decided._replace(terms=terms))
        return dataclasses.replace(case, decisions=tuple(decisions))

    for period in run(with_limit(0.0)):
        if period.flows.ordered is not None:
            assert not period.flows.ordered[:, :, owned(case)].any() or case.params().orders_in_lots
    for period in run(with_limit(UNLIMITED)):
        assert period.flows.sellers is not None
        assert not period.flows.sellers.over.any()
        if period.decisions.terms is not None:
            assert not period.flows.sellers.broken.any()


def exponential(means: list[float], price: float, cost: float) -> Wants:
    """Three products of one seller whose demand is exponential: the newsvendor of one season."""
    case = draw_seller_case(1)
    plan = case.params().seller_plan
    assert plan is not None
    from stockyard.envs.network.arrays import SumPlan

    p = len(means)
    plan = plan._replace(
        to_seller=SumPlan.of([0] * p, 1),
        left_over=np.full(p, cost),
        rent_days=np.ones(p),
        demand_shape=1.0,
    )
    return Wants(
        scale=np.array([means]),
        at_stake=np.full((1, p), price),
        charged=np.zeros((1, p)),
        position=np.zeros((1, p)),
        volume=np.ones(p),
        plan=plan,
    )


def test_a_seller_shares_its_space_like_newsvendors_under_one_limit() -> None:
    """Known answer C2: exponential demand, limit 250; equal marginal value per volume, closed form.

    price 10, cost 4: a unit left over costs 4, one short 6; the shadow price is .34598.
    """
    wants = exponential([50.0, 100.0, 150.0], price=10.0, cost=4.0)
    shadow = 0.34598208507078176
    np.testing.assert_allclose(
        wants.levels(shadow)[0], [41.666666666666664, 83.33333333333333, 125.0], rtol=1e-6
    )
    levels = wants.levels(shadow)[0]
    marginal = 10.0 * np.exp(-levels / np.array([50.0, 100.0, 150.0])) - 4.0
    np.testing.assert_allclose(marginal, shadow, rtol=1e-6)
    # between the prices that sellers think in, they interpolate
    found = price_where(space_wanted(wants), np.array([[250.0]]))[0, 0]
    below = max(x for x in SHADOW_PRICES if x <= shadow)
    above = min(x for x in SHADOW_PRICES if x >= shadow)
    assert below <= found <= above
    np.testing.assert_allclose(found, shadow, rtol=0.02)


def test_space_that_suffices_has_no_price() -> None:
    """The shadow price of what is not scarce is zero, of what nobody gets the largest."""
    wanted = space_wanted(exponential([50.0, 100.0, 150.0], price=10.0, cost=4.0))
    assert price_where(wanted, np.array([[1e6]])) == 0.0
    assert price_where(wanted, np.array([[-1.0]])) == pytest.approx(SHADOW_PRICES[-1])
