"""Laws of the step: what no decision and no tape may break, on both backends."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import ROUNDING, TOLERANCE, at_most, law, same
from random_networks import Case, Period, draw_case, everywhere, leaves, run

import stockyard.envs  # noqa: F401
from stockyard.envs.metrics import CONSUMER_SURPLUS, summarise
from stockyard.envs.network.accounting import cash_flows
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import PARTIES, party_balances
from stockyard.envs.network.fulfil import CAUSES, lost_by_cause
from stockyard.envs.network.state import Decisions
from stockyard.envs.network.topology import Promise
from stockyard.envs.network.world import Stretch
from stockyard.envs.tasks.task import View

BACKENDS = ("numpy", "torch")

cases = st.integers(0, 10**6).map(draw_case)
both_backends = pytest.mark.parametrize("backend", BACKENDS)


def by_group(array: Any, groups: Any, num_groups: int, axis: int) -> Any:
    """Sums entries of `axis` into groups."""
    moved = np.moveaxis(array, axis, 0)
    total = np.zeros((num_groups, *moved.shape[1:]))
    np.add.at(total, np.asarray(groups), moved)
    return np.moveaxis(total, 0, axis)


def at_tails(case: Case, staged: Any) -> Any:
    """Staged units (B, E_tr, P) at the nodes (B, N, P) they stand in."""
    return by_group(staged, case.network.transfers.tail, case.network.num_nodes, 1)


def served_first(period: Period) -> Any:
    """Units that met their own demand, (B, R, P)."""
    served = sum(period.flows.served)
    return served if period.flows.substituted is None else served - period.flows.substituted


def in_lots(case: Case, orders: Any) -> Any:
    """Orders made up to minima and whole cases, one by one."""
    lanes = case.network.inbound
    made_up = np.zeros_like(orders)
    for (b, e, p), units in np.ndenumerate(orders):
        case_pack, minimum = lanes.case_pack[e, p], lanes.minimum_order[e, p]
        if units > 0.0 and units >= minimum / 2.0:
            whole = units if case_pack == 0.0 else case_pack * round(units / case_pack)
            made_up[b, e, p] = max(minimum, whole)
    return made_up


def lane_plan(case: Case, promise: Promise) -> list[Any]:
    """Ranks of the waterfall."""
    return list(case.network.ranks(promise))


@pytest.mark.wheel
@both_backends
@law()
@given(case=cases)
def test_units_are_conserved(backend: str, case: Case) -> None:
    """L1: what was there plus what suppliers shipped is what was sold plus what is there."""
    for period in run(case, backend):
        shipped = 0.0 if period.flows.shipped is None else period.flows.shipped.sum(axis=1)
        expected = everywhere(period.before) + shipped - period.flows.sold
        same(everywhere(period.after), expected)
        same(period.after.position, everywhere(period.after))
        same(sum(period.flows.served).sum(axis=1), period.flows.sold)


@both_backends
@law()
@given(case=cases)
def test_what_suppliers_cancel_is_never_negative(backend: str, case: Case) -> None:
    """L1: an order is shipped or cancelled; rounding parts to whole units must not add any."""
    for period in run(case, backend):
        flows = period.flows
        if flows.ordered is None:
            continue
        wanted = in_lots(case, np.maximum(period.decisions.orders, 0.0) * case.network.carries)
        at_most(flows.ordered, wanted, ROUNDING)
        at_most(flows.shipped, flows.ordered)
        if period.exogenous.shipments is not None and not case.flags["whole_units"]:
            same(flows.shipped, flows.ordered * period.exogenous.shipments.fraction.sum(axis=1))


@both_backends
@law()
@given(case=cases)
def test_every_wish_is_served_lost_or_owed(backend: str, case: Case) -> None:
    """L2: demand = served + slow + out of stock; the rest buys a substitute, is lost or waits."""
    groups = np.unique(case.network.products.group, return_inverse=True)[1]
    for period in run(case, backend):
        flows, demand = period.flows, period.exogenous.demand
        same(flows.demand, demand)
        if period.before.backlog is not None:
            owed = period.before.backlog + demand - sum(flows.served)
            same(period.after.backlog, owed)
            assert flows.lost is None and flows.abandoned is None and flows.substituted is None
            same(flows.out_of_stock, np.minimum(demand, owed))
            continue
        slow = 0.0 if flows.abandoned is None else flows.abandoned
        same(demand, served_first(period) + slow + flows.out_of_stock)
        pool = slow + flows.out_of_stock
        if flows.substituted is None:
            same(flows.lost, pool)
            continue
        at_most(flows.lost, pool)
        count = int(groups.max()) + 1
        left = by_group(pool - flows.lost, groups, count, 2)
        same(left, by_group(flows.substituted, groups, count, 2))
        if not case.flags["whole_units"]:
            at_most(by_group(flows.substituted, groups, count, 2).sum(), 0.35 * pool.sum())


@both_backends
@law()
@given(case=cases)
def test_few_accept_a_slow_promise(backend: str, case: Case) -> None:
    """L2: at most the share kappa of demand is served at tier k or slower."""
    # In whole units, customers are rounded to whole ones once at each slower tier.
    slack = len(case.network.acceptance_by_tier) - 1.0 if case.flags["whole_units"] else 0.0
    for period in run(case, backend):
        if period.before.backlog is not None or case.network.substitution:
            continue
        promise = period.exogenous.promise
        for k, share in enumerate(promise.acceptance_by_tier):
            slower: Any = 0.0
            plan = lane_plan(case, promise)
            for rank, units in zip(plan, period.flows.served, strict=True):
                slower = slower + units * ((rank.tier >= k) & (rank.lane >= 0))[:, None]
            at_most(slower, share * period.exogenous.demand, slack if k else 0.0)


@both_backends
@law()
@given(case=cases)
def test_causes_of_loss_sum_to_lost_units(backend: str, case: Case) -> None:
    """2.9: every lost unit has exactly one cause."""
    params = case.params()
    for period in run(case, backend):
        causes = lost_by_cause(params, period.flows)
        if period.flows.lost is None:
            assert causes == {}
            continue
        assert tuple(causes) == CAUSES
        same(sum(causes.values()), period.flows.lost.sum(axis=1))
        for cause in CAUSES:
            at_most(-causes[cause], 0.0)


parcel_cases = st.integers(0, 10**6).map(lambda seed: draw_case(seed, parcels=True))


@both_backends
@law()
@given(case=parcel_cases)
def test_parcels_and_their_volume_are_conserved(backend: str, case: Case) -> None:
    """L3: bin by bin: what stood, less what left, one period closer, plus what joined."""
    network = case.network
    mix = np.asarray(network.slack_mix)
    assert abs(mix.sum() - 1.0) < TOLERANCE
    factor, fixed = network.parcel_volume_factor, network.parcel_volume_fixed
    size = factor * np.asarray(network.products.volume) + fixed
    for period in run(case, backend):
        flows = period.flows
        by_lane = np.zeros((*flows.joined.shape, network.num_products))
        plan = lane_plan(case, period.exogenous.promise)
        for rank, units in zip(plan, flows.served, strict=True):
            for region, lane in enumerate(rank.lane):
                if lane >= 0:
                    by_lane[:, lane] = units[:, region]
        extra, extra_volume = (
            0.0 if part is None else part
            for part in (period.exogenous.background_parcels, period.exogenous.background_volume)
        )
        same(flows.joined, by_lane.sum(axis=2) + extra)
        same(flows.joined_volume, by_lane @ size + extra_volume)
        for stood, after, left, sent, joined in (
            (
                period.before.parcels,
                period.after.parcels,
                flows.dispatched,
                flows.expedited,
                flows.joined,
            ),
            (
                period.before.parcel_volume,
                period.after.parcel_volume,
                flows.dispatched_volume,
                flows.expedited_volume,
                flows.joined_volume,
            ),
        ):
            rest = stood - left
            same(after.sum(axis=2), rest.sum(axis=2) - sent + joined)
            same(after[:, :, 0], rest[:, :, 0] + rest[:, :, 1] - sent)
            waiting = np.concatenate((rest[:, :, 2:-1], np.zeros_like(rest[:, :, :1])), axis=2)
            same(after[:, :, 1:-1], waiting + joined[:, :, None] * mix)
            same(after[:, :, -1], rest[:, :, -1])
        same(
            flows.newly_late, (period.before.parcels - flows.dispatched)[:, :, 1] - flows.expedited
        )


@both_backends
@law(40)
@given(case=cases)
def test_nothing_exceeds_its_capacity(backend: str, case: Case) -> None:
    """L4: shelves, docks, yards, picking, trucks and suppliers keep to their capacities."""
    network, flags = case.network, case.flags
    volume = np.asarray(network.products.volume)
    slack = ROUNDING * network.num_products * 2.0 if flags["whole_units"] else 0.0
    moves = len(network.transfers.tail)
    truck = np.concatenate((network.transfers.truck_volume, network.outbound.truck_volume))

    def stored(state: Any) -> Any:
        units = (
            state.on_hand if state.staged is None else state.on_hand + at_tails(case, state.staged)
        )
        return units @ volume

    for period in run(case, backend):
        flows, known = period.flows, period.exogenous.revealed
        if flags["storage_is_limited"]:
            carried = stored(period.before)
            at_most(stored(period.after), np.maximum(known.storage_capacity, carried), slack)
            over = np.maximum(stored(flows.end) - known.storage_capacity, 0.0)
            same(over, 0.0 if flows.overflow_volume is None else flows.overflow_volume)
        if flags["dock_is_limited"]:
            at_most(
                flows.received @ volume, known.receiving_capacity + 0 * carried_nodes(case), slack
            )
        if flags["yard_is_limited"]:
            carried = period.before.yard @ volume
            at_most(period.after.yard @ volume, np.maximum(known.yard_capacity, carried))
        if flags["outbound_is_limited"]:
            picked = np.zeros((len(flows.sold), network.num_nodes))
            for rank, units in zip(
                lane_plan(case, period.exogenous.promise), flows.served, strict=True
            ):
                for region in np.flatnonzero(rank.lane >= 0):
                    picked[:, rank.node[region]] += units[:, region].sum(axis=-1)
            at_most(picked, known.outbound_capacity, slack)
        if flags["supplier_is_limited"] and flows.ordered is not None:
            for k in range(len(network.suppliers)):
                total = (flows.ordered * (network.inbound.supplier == k)).sum(axis=(1, 2))
                at_most(total, known.supplier_capacity[:, k] * flags["review_days"], slack)
        if flows.trucks is not None:
            if known.truck_limit is not None:
                at_most(flows.trucks, known.truck_limit)
            if not flags["fluid_trucks"]:
                same(flows.trucks, np.rint(flows.trucks))
            needs = np.isfinite(truck)
            room = flows.trucks * np.where(needs, truck, 0.0)
            if flows.dispatched_volume is not None:
                load = flows.dispatched_volume.sum(axis=2)
                at_most(load[:, needs[moves:]], room[:, moves:][:, needs[moves:]])
            if period.before.staged is not None:
                wanted = period.before.staged
                new = 0.0 if flows.transferred is None else flows.transferred
                kept = flows.end.staged - new * needs[:moves, None]
                load = (wanted - kept) @ volume
                at_most(load[:, needs[:moves]], room[:, :moves][:, needs[:moves]], slack)


def carried_nodes(case: Case) -> Any:
    """Zeros, (B, N), to broadcast capacities."""
    return np.zeros((len(case.state.on_hand), case.network.num_nodes))


@both_backends
@law()
@given(case=cases)
def test_books_balance(backend: str, case: Case) -> None:
    """L5: every payment has a payer and a payee, and a sum over periods is priced as its parts."""
    params = case.params()
    flows = [period.flows for period in run(case, backend)]
    ledger = cash_flows(params, flows)
    assert set(ledger) <= set(PARTIES)
    balances = party_balances(ledger)
    size = sum(np.abs(amount) for amount in ledger.values())
    net = sum(balances.values())
    assert (np.abs(net) <= TOLERANCE * (1.0 + size)).all()
    own = sum((v for k, v in ledger.items() if "retailer" in PARTIES[k]), start=np.zeros(1))
    same(balances.get("retailer", np.zeros(1)), own)
    parts = [cash_flows(params, [flow]) for flow in flows]
    for account, amount in ledger.items():
        same(amount, sum(part.get(account, 0.0) for part in parts))


@both_backends
@law()
@given(case=st.integers(0, 10**6).map(lambda seed: draw_case(seed, textbook=False, parcels=True)))
def test_key_figures_and_surpluses_are_what_the_books_say(backend: str, case: Case) -> None:
    """Surplus of the retailer and the sellers is their balance; trucks are never overfull."""
    params = case.params()
    flows = [period.flows for period in run(case, backend)]
    tape: Any = ExogenousAsTape(case)
    view = View(run(case, backend)[-1].after, tape, len(flows), None, {})
    ledger = cash_flows(params, flows)
    figures = summarise(params, view, Stretch(flows, ledger), ledger)
    balances = party_balances(ledger)
    same(figures["surplus_retailer"], balances["retailer"])
    paid = ledger["sales"] + ledger.get("seller_sales", 0.0)
    same(figures["surplus_customers"], CONSUMER_SURPLUS * paid)
    assert ("surplus_sellers" in figures) == params.has_third_party
    if params.has_third_party:
        same(figures["surplus_sellers"], balances["sellers"])
    if "utilisation_trucks" in figures:
        at_most(figures["utilisation_trucks"], 1.0)
    assert all(np.isfinite(values).all() for values in figures.values())
    has_tiers = len(case.network.acceptance_by_tier) > 1
    assert ("abandon_rate" in figures) == (has_tiers and not params.is_backorder)
    products = case.network.products
    if products.num_products < 3:
        return
    wanted = sum(flow.demand.sum(axis=1) for flow in flows)
    order = np.argsort((products.price - products.unit_cost) / products.volume)
    thirds = zip(("low", "mid", "high"), np.array_split(order, 3), strict=True)
    filled = sum(
        figures[f"fill_{name}_margin"] * wanted[:, part].sum(axis=1) for name, part in thirds
    )
    same(filled, figures["fill_rate"] * wanted.sum(axis=1))


class ExogenousAsTape:
    """The limits of a case, period by period."""

    def __init__(self, case: Case) -> None:
        """Remembers the case."""
        self._exogenous = case.exogenous

    def limit(self, field: str, period: int) -> Any:
        """A limit in a period."""
        return getattr(self._exogenous[period].revealed, field)


def test_a_promise_that_changes_is_paid_for_as_it_was() -> None:
    """Ranks of a slower promise are other lanes: each period's tariff is that of its own."""
    tiers = set()
    for seed in range(40):
        case = draw_case(seed, tiers=True, textbook=False)
        flipped = [
            x._replace(promise=x.promise._replace(min_offered_tier=k % 2))
            for k, x in enumerate(case.exogenous)
        ]
        case = dataclasses.replace(case, exogenous=tuple(flipped))
        params = case.params()
        flows = [period.flows for period in run(case)]
        tiers |= {flow.promise.min_offered_tier for flow in flows}
        together = cash_flows(params, flows)
        parts = [cash_flows(params, [flow]) for flow in flows]
        for account, amount in together.items():
            same(amount, sum(part.get(account, 0.0) for part in parts))
    assert tiers == {0, 1}


@both_backends
@law()
@given(case=cases)
def test_what_suppliers_bring_is_told_apart_from_transfers(backend: str, case: Case) -> None:
    """A node that transfers reach too receives more than its suppliers send."""
    fed = set(case.network.transfers.head.tolist()) & set(case.network.inbound.head.tolist())
    for period in run(case, backend):
        brought = period.flows.supplied
        if brought is None:
            assert not fed or not period.flows.end.inbound
            continue
        before = sum(slot.sum(axis=1) for slot in period.flows.end.inbound)
        after = sum((slot.sum(axis=1) for slot in period.after.inbound), start=0.0)
        same(brought, before - after)


@both_backends
@law(40)
@given(case=cases)
def test_new_inbound_fits_into_an_owners_headroom(backend: str, case: Case) -> None:
    """L6: an owner orders into a node no more than its limit leaves free."""
    network = case.network
    volume, owner = np.asarray(network.products.volume), np.asarray(network.products.owner)
    slack = ROUNDING * network.num_products * 2.0 if case.flags["whole_units"] else 0.0
    for period in run(case, backend):
        limits, flows = period.decisions.limits, period.flows
        if limits is None or flows.ordered is None:
            continue
        state = period.before
        held = state.on_hand if state.yard is None else state.on_hand + state.yard
        for slot in state.inbound:
            held = held + by_group(slot, network.inbound.head, network.num_nodes, 1)
        for slot in state.transfers:
            held = held + by_group(slot, network.transfers.head, network.num_nodes, 1)
        if state.staged is not None:
            held = held + at_tails(case, state.staged)
        new = by_group(flows.shipped, network.inbound.head, network.num_nodes, 1)
        for o in range(network.products.num_owners):
            mine = volume * (owner == o)
            room = np.maximum(limits[:, o] - held @ mine, 0.0)
            at_most(new @ mine, room, slack)


@law()
@given(case=cases)
def test_a_lower_limit_never_removes_stock(case: Case) -> None:
    """L6: without orders, a limit of nothing changes nothing."""
    params = case.params()
    shape = (len(case.state.on_hand), case.network.products.num_owners, case.network.num_nodes)
    for limits in (np.zeros(shape), np.full(shape, np.inf)):
        idle = step(params, case.state, Decisions(), case.exogenous[0])
        limited = step(params, case.state, Decisions(limits=limits), case.exogenous[0])
        for (path, a), (_, b) in zip(leaves(idle), leaves(limited), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=path)


@both_backends
@law(40)
@given(case=cases)
def test_no_stock_and_no_flow_is_negative(backend: str, case: Case) -> None:
    """L8: negative stock would conserve units, so this is a law of its own."""
    for period in run(case, backend):
        told = period.flows._replace(end=period.flows.end)
        for path, array in [*leaves(period.after, "state"), *leaves(told, "flows")]:
            assert np.isfinite(array).all(), path
            assert (array >= -TOLERANCE).all(), f"{path} holds {array.min()}"
        for path, array in leaves(period.after, "state"):
            if "parcel" not in path and "position" not in path and not case.flags["whole_units"]:
                assert (array >= 0.0).all(), f"{path} holds {array.min()}"


whole_cases = st.integers(0, 10**6).map(
    lambda seed: draw_case(seed, whole_units=True, parcels=False)
)


@both_backends
@law()
@given(case=whole_cases)
def test_whole_units_stay_whole(backend: str, case: Case) -> None:
    """Half a unit can be neither ordered, moved, received nor sold."""
    for period in run(case, backend):
        for path, array in [*leaves(period.after, "state"), ("sold", period.flows.sold)]:
            np.testing.assert_allclose(array, np.rint(array), rtol=0, atol=TOLERANCE, err_msg=path)


@law()
@given(case=cases)
def test_backends_agree(case: Case) -> None:
    """One source gives the same numbers in NumPy and in torch."""
    for ours, theirs in zip(run(case, "numpy"), run(case, "torch"), strict=True):
        for part in ("flows", "after"):
            left, right = leaves(getattr(ours, part)), leaves(getattr(theirs, part))
            assert [path for path, _ in left] == [path for path, _ in right]
            for (path, a), (_, b) in zip(left, right, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=path)


@pytest.mark.parametrize("task", ["Replenishment", "Placement"])
def test_no_rounding_error_is_seen(task: str) -> None:
    """What is carried over many periods, such as the position, must not be shown below zero."""
    env = gym.make_vec(f"stockyard/{task}-v0", num_envs=64, scenario="steady", horizon=28).unwrapped
    env.action_space.seed(0)
    seen, _ = env.reset(seed=0)
    for _ in range(4):
        for field, values in seen.items():
            space = env.single_observation_space[field]
            assert (values >= space.low).all() and (values <= space.high).all(), field
        seen, *_ = env.step(-(env.action_space.sample() ** 2))
