"""What the step must not depend on: names, order, units of measure, the rest of the batch."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import law, same
from random_networks import BATCH, Case, change, draw_case, freeze, leaves, run

from stockyard.envs.network.accounting import cash_flows, stock_value
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.params import array_maker
from stockyard.envs.network.state import Decisions, State

both_backends = pytest.mark.parametrize("backend", ["numpy", "torch"])
seeds = st.integers(0, 10**6)
fluid_cases = seeds.map(lambda seed: draw_case(seed, whole_units=False))


def money(case: Case, backend: str = "numpy") -> dict[str, Any]:
    """The ledger of a run of the case."""
    return cash_flows(case.params(), [period.flows for period in run(case, backend)])


def same_money(left: dict[str, Any], right: dict[str, Any], factor: float = 1.0) -> None:
    """Asserts that two ledgers agree, up to a factor."""
    assert left.keys() == right.keys()
    for account, amount in left.items():
        np.testing.assert_allclose(
            amount * factor, right[account], rtol=1e-9, atol=1e-9 * factor, err_msg=account
        )


def with_products(case: Case, order: Any) -> Case:
    """The same case with its products in another order."""
    old = case.network.products
    products = dataclasses.replace(
        old,
        names=tuple(old.names[k] for k in order),
        group=tuple(old.group[k] for k in order),
        **{
            name: getattr(old, name)[order]
            for name in ("volume", "price", "unit_cost", "owner", "tariff_weight")
        },
    )
    inbound = dataclasses.replace(
        case.network.inbound,
        **{
            name: getattr(case.network.inbound, name)[:, order]
            for name in ("lead_time", "unit_cost", "supplier", "minimum_order", "case_pack")
        },
    )
    network = dataclasses.replace(case.network, products=products, inbound=inbound)

    def turn(tree: Any) -> Any:
        return change(tree, lambda a: a[..., order])

    state = turn(case.state._replace(parcels=None, parcel_volume=None))._replace(
        parcels=case.state.parcels, parcel_volume=case.state.parcel_volume
    )
    decisions = tuple(
        d._replace(orders=turn(d.orders), transfers=turn(d.transfers)) for d in case.decisions
    )
    exogenous = tuple(
        x._replace(demand=turn(x.demand), shipments=turn(x.shipments)) for x in case.exogenous
    )
    return dataclasses.replace(
        case, network=network, state=state, decisions=decisions, exogenous=exogenous
    )


def with_regions(case: Case, order: Any) -> Case:
    """The same case with its regions in another order; `order[k]` is the old index of the new k."""
    place = np.argsort(order)
    outbound = dataclasses.replace(
        case.network.outbound, region=place[np.asarray(case.network.outbound.region)]
    )
    names = tuple(case.network.regions[k] for k in order)
    network = dataclasses.replace(case.network, regions=names, outbound=outbound)
    backlog = case.state.backlog
    state = case.state._replace(backlog=None if backlog is None else backlog[:, order])
    exogenous = tuple(x._replace(demand=x.demand[:, order]) for x in case.exogenous)
    return dataclasses.replace(case, network=network, state=state, exogenous=exogenous)


@both_backends
@law()
@given(case=fluid_cases)
def test_the_order_of_products_does_not_matter(backend: str, case: Case) -> None:
    """L9: rationing is in proportion; a loop over products would favour the first (trap E11)."""
    order = np.random.default_rng(case.seed).permutation(case.network.num_products)
    other = with_products(case, order)
    same_money(money(case, backend), money(other, backend))
    for mine, theirs in zip(run(case, backend), run(other, backend), strict=True):
        same(mine.after.on_hand[..., order], theirs.after.on_hand)
        same(mine.flows.sold[..., order], theirs.flows.sold)


@both_backends
@law()
@given(case=fluid_cases)
def test_the_order_of_regions_does_not_matter(backend: str, case: Case) -> None:
    """L9: regions that ask one node share its stock and its room in proportion."""
    order = np.random.default_rng(case.seed).permutation(case.network.num_regions)
    other = with_regions(case, order)
    same_money(money(case, backend), money(other, backend))
    for mine, theirs in zip(run(case, backend), run(other, backend), strict=True):
        same(mine.after.on_hand, theirs.after.on_hand)
        for a, b in zip(mine.flows.served, theirs.flows.served, strict=True):
            same(a[:, order], b)


@law()
@given(
    case=seeds.map(
        lambda seed: draw_case(seed, whole_units=False, parcels=False, transfer_trucks=False)
    ),
    factor=st.sampled_from((0.25, 3.7, 100.0)),
)
def test_money_scales_with_units(case: Case, factor: float) -> None:
    """L9: twice the units over twice the capacities is twice the money; nothing hides a size."""
    economics = dataclasses.replace(case.economics, fixed_order_cost=0.0)
    case = dataclasses.replace(case, economics=economics)
    lanes = case.network.inbound
    lots = dataclasses.replace(
        lanes, minimum_order=lanes.minimum_order * factor, case_pack=lanes.case_pack * factor
    )

    def grow(tree: Any) -> Any:
        return change(tree, lambda a: a * factor)

    exogenous = tuple(
        x._replace(
            demand=grow(x.demand),
            revealed=grow(x.revealed)._replace(
                storage_rent=x.revealed.storage_rent, truck_limit=x.revealed.truck_limit
            ),
        )
        for x in case.exogenous
    )
    decisions = tuple(
        d._replace(orders=grow(d.orders), transfers=grow(d.transfers), limits=grow(d.limits))
        for d in case.decisions
    )
    large = dataclasses.replace(
        case,
        network=dataclasses.replace(case.network, inbound=lots),
        state=grow(case.state),
        decisions=decisions,
        exogenous=exogenous,
    )
    same_money(money(case), money(large), factor)


@law()
@given(case=seeds.map(draw_case), row=st.integers(0, BATCH - 1))
def test_a_row_of_a_batch_is_its_own_world(case: Case, row: int) -> None:
    """L11: row i of a batch equals the replica alone, bit for bit."""

    def alone(tree: Any) -> Any:
        return change(tree, lambda a: a[row : row + 1] if a.shape[0] == BATCH else a)

    single = dataclasses.replace(
        case,
        state=alone(case.state),
        decisions=tuple(alone(d) for d in case.decisions),
        exogenous=tuple(alone(x) for x in case.exogenous),
    )
    for many, one in zip(run(case), run(single), strict=True):
        theirs = dict(leaves(one.after, "state"))
        for path, array in leaves(many.after, "state"):
            if path in theirs:
                np.testing.assert_array_equal(array[row : row + 1], theirs[path], err_msg=path)
            else:  # a slot of the pipeline that only other replicas use
                assert not array[row].any(), path
        np.testing.assert_array_equal(many.flows.sold[row : row + 1], one.flows.sold)
        left = cash_flows(case.params(), [many.flows])
        right = cash_flows(case.params(), [one.flows])
        for account, amount in right.items():
            np.testing.assert_array_equal(left[account][row : row + 1], amount, err_msg=account)


@law()
@given(case=seeds.map(draw_case))
def test_the_step_writes_into_nothing(case: Case) -> None:
    """A step is pure: arrays that went in are the same afterwards, and may be read-only."""
    given_state, decisions = freeze(case.state), freeze(case.decisions[0])
    exogenous = freeze(case.exogenous[0])
    first = step(case.params(), given_state, decisions, exogenous)
    again = step(case.params(), case.state, case.decisions[0], case.exogenous[0])
    for (path, a), (_, b) in zip(leaves(first), leaves(again), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)
    for (path, a), (_, b) in zip(leaves(given_state), leaves(case.state), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@both_backends
@law()
@given(case=seeds.map(lambda seed: draw_case(seed, parcels=False)))
def test_doing_nothing_without_demand_earns_nothing(backend: str, case: Case) -> None:
    """L8: with zero demand, action and forecast only holding, rent and capital are left to pay."""
    params, make = case.params(backend), array_maker(backend, "float64")
    state = change(case.state, make)
    if state.backlog is not None:
        state = state._replace(backlog=state.backlog * 0.0)
    cover = make(np.zeros((BATCH, case.network.num_products)))
    for exogenous in case.exogenous:
        quiet = change(exogenous._replace(demand=exogenous.demand * 0.0), make)
        after, flows = step(params, state, Decisions(), quiet)
        reward = sum(cash_flows(params, [flows]).values(), start=cover[:, 0] * 0.0)
        if params.economics.valuation != "none":
            reward = reward + stock_value(params, after, cover) - stock_value(params, state, cover)
        assert (reward <= 1e-9).all()
        assert not flows.sold.any()
        state = after


def test_stock_without_demand_pays_rent_and_capital() -> None:
    """L8: the sign law is not kept by charging nothing at all."""
    case = draw_case(11, textbook=False, parcels=False, backorder=False)
    quiet = case.exogenous[0]._replace(demand=case.exogenous[0].demand * 0.0)
    _, flows = step(case.params(), case.state, Decisions(), quiet)
    ledger = cash_flows(case.params(), [flows])
    assert (ledger["storage"] < 0).all() and (ledger["capital"] < 0).all()


def test_states_are_named_tuples_of_arrays() -> None:
    """`change` and `freeze` see every field, so the tests above miss none."""
    case = draw_case(3, parcels=True, transfer_trucks=True, docks=True, backorder=True)
    assert {path.split(".")[1] for path, _ in leaves(case.state)} <= set(State._fields)
