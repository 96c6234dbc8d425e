"""Laws of trucks that lanes share: nothing is lost, too full, or in two places."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import at_most, law, same
from random_freight import draw_freight_case
from random_networks import BATCH, Case, Period, as_numpy, change, leaves, run

from stockyard.envs.network.accounting import cash_flows, freight_due
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import PARTIES, party_balances
from stockyard.envs.network.params import array_maker
from stockyard.envs.network.state import Decisions

cases = st.integers(0, 10**6).map(draw_freight_case)
both_backends = pytest.mark.parametrize("backend", ("numpy", "torch"))


def by_pool(case: Case, values: Any) -> Any:
    """Sums truck lanes (B, L) into pools (B, G)."""
    assert case.network.freight is not None
    total = np.zeros((BATCH, len(case.network.freight.pools)))
    np.add.at(total.T, case.network.freight.pool, np.asarray(values).T)
    return total


def staged(state: Any, volume: bool = False) -> Any:
    """Parcels, or ft3, in all bins and on the way to hubs, (B,)."""
    bins = state.parcel_volume if volume else state.parcels
    coming = state.freight.to_hub_volume if volume else state.freight.to_hub
    return bins.sum(axis=(1, 2)) + sum(part.sum(axis=(1, 2)) for part in coming)


@both_backends
@law()
@given(case=cases)
def test_parcels_are_conserved_through_hubs(backend: str, case: Case) -> None:
    """L3: units and ft3 in bins, late ones included, and on linehauls, change by what passes."""
    for period in run(case, backend):
        flows = period.flows
        for volume, joined, gone, expedited in (
            (False, flows.joined, flows.dispatched, flows.expedited),
            (True, flows.joined_volume, flows.dispatched_volume, flows.expedited_volume),
        ):
            came = joined.sum(axis=1) - gone.sum(axis=(1, 2)) - expedited.sum(axis=1)
            same(staged(period.after, volume), staged(period.before, volume) + came)
        for path, part in leaves(period.after):
            assert (part >= 0.0).all(), path


def counted_trucks(case: Case, period: Period) -> tuple[Any, Any]:
    """Own trucks away before a period, and those that return in it, (B, G) each."""
    before = period.before.freight
    return before.away.sum(axis=1), before.away[:, 0]


@both_backends
@law()
@given(case=cases)
def test_trucks_stay_within_their_pools(backend: str, case: Case) -> None:
    """L4, L7: own trucks are at hand or away, and one that is away cannot be sent."""
    for period in run(case, backend):
        flows, revealed = period.flows.freight, period.exogenous.revealed
        away, back = counted_trucks(case, period)
        same(flows.at_hand, np.maximum(revealed.fleet_size - away, 0.0))
        at_most(by_pool(case, flows.own), flows.at_hand)
        assert (flows.own >= 0.0).all() and (flows.spot >= 0.0).all()
        same(period.flows.trucks, flows.own + flows.spot)
        at_home = period.after.freight.away.sum(axis=1)
        same(at_home, away + by_pool(case, flows.own) - back - one_wave_trips(case, period))
        if not case.flags["fluid_trucks"]:
            same(flows.own, np.rint(flows.own))
            same(flows.spot, np.rint(flows.spot))


def one_wave_trips(case: Case, period: Period) -> Any:
    """Trucks sent in a period that can be sent again in the next, (B, G)."""
    assert case.network.freight is not None and period.flows.freight is not None
    trip = case.network.freight.round_trip + np.zeros((BATCH, 1))
    delay = period.exogenous.return_delay
    if delay is not None:
        trip = trip + delay
    return by_pool(case, period.flows.freight.own * (trip == 1))


@both_backends
@law()
@given(case=cases)
def test_hired_trucks_carriers_and_drivers_have_limits(backend: str, case: Case) -> None:
    """What is asked for, what there is, and the hours of a day bound what runs."""
    freight = case.network.freight
    assert freight is not None
    for period in run(case, backend):
        flows, revealed, plan = period.flows, period.exogenous.revealed, period.decisions
        trucks = flows.freight
        if plan.spot is None:
            assert not trucks.spot.any()
        else:
            at_most(trucks.spot, np.maximum(plan.spot, 0.0))
        if revealed.spot_limit is not None:
            at_most(by_pool(case, trucks.spot), revealed.spot_limit)
        if trucks.hours_left is not None:
            had = np.minimum(
                period.before.freight.hours + revealed.driver_hours, freight.most_hours
            )
            same(trucks.hours_left, had - by_pool(case, trucks.own * freight.duty_hours))
        if revealed.carrier_limit is not None and not case.economics.expedite_left_behind:
            moves = len(case.network.transfers.tail)
            lanes = np.arange(moves, moves + flows.expedited.shape[1])
            if freight.has_pallets:
                lanes[-moves:] = np.arange(moves)
            taken = np.zeros((BATCH, len(freight.pools)))
            np.add.at(taken.T, freight.pool[lanes], flows.expedited.T)
            at_most(taken, revealed.carrier_limit)


@both_backends
@law()
@given(case=cases)
def test_no_truck_is_fuller_than_full(backend: str, case: Case) -> None:
    """L4: what trucks take fits in, and leaves only on lanes with trucks."""
    size = case.network.truck_volume
    for period in run(case, backend):
        trucks = period.flows.freight
        has = np.isfinite(size)
        at_most(trucks.load[:, has], (trucks.own + trucks.spot)[:, has] * size[has])
        assert not trucks.load[:, ~has].any()


@law()
@given(case=cases)
def test_only_who_arrives_in_time_takes_a_linehaul(case: Case) -> None:
    """A parcel with less slack than the way through the hub costs stays; nobody joins late."""
    for period in run(case):
        sent = period.flows.freight.sent_to_hub
        if sent is None:
            continue
        assert not sent[:, :, 0].any()
        via = period.decisions.via_hub
        if via is None:
            assert not sent.any()
        else:
            assert not sent[via <= 0.0].any()


@both_backends
@law()
@given(case=cases)
def test_freight_is_booked_twice(backend: str, case: Case) -> None:
    """L5: every account has a payer and a payee, and own and hired trucks are told apart."""
    params = case.params()
    for period in run(case, backend):
        flows, ledger = period.flows, cash_flows(params, [period.flows])
        assert {"trucks", "spot", "expedite"} <= set(ledger) <= set(PARTIES)
        assert sum(abs(sum(party_balances(ledger).values()))) < 1e-9
        cost = np.asarray(params.a.truck_cost)
        same(ledger["trucks"], -(flows.freight.own * cost).sum(axis=1))
        freight = case.network.freight
        same(ledger["spot"], -(flows.freight.spot * freight.spot_cost).sum(axis=1))
        weighted = (flows.expedited * freight.fee_weight).sum(axis=1)
        same(ledger["expedite"], -weighted * case.economics.expedite_per_parcel)
        assert (freight_due(params, period.after) >= 0.0).all()


@law()
@given(case=cases)
def test_both_backends_run_the_same_trucks(case: Case) -> None:
    """One source: NumPy with read-only arrays and torch agree, entry by entry."""
    for ours, theirs in zip(run(case, "numpy"), run(case, "torch"), strict=True):
        for (path, left), (other, right) in zip(
            leaves((ours.flows, ours.after)), leaves((theirs.flows, theirs.after)), strict=True
        ):
            assert path == other
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9, err_msg=path)


@law(10)
@given(case=cases)
def test_a_row_of_trucks_does_not_see_its_batch(case: Case) -> None:
    """A replica alone, and among others, sends the same trucks bit for bit."""
    params, state = case.params(), case.state
    one = change(state, lambda a: a[1:2])
    for decided, happens in zip(case.decisions, case.exogenous, strict=True):
        state, flows = step(params, state, decided, happens)
        alone = (
            change(part, lambda a: a[1:2] if a.ndim and len(a) == BATCH else a)
            for part in (decided, happens)
        )
        one, told = step(params, one, *alone)
        rows = change(flows, lambda a: a[1:2] if len(a) == BATCH else a)
        ours, theirs = dict(leaves((rows, one))), dict(leaves((told, one)))
        for path in ours.keys() & theirs.keys():  # pipelines are as long as the batch needs
            np.testing.assert_array_equal(ours[path], theirs[path], err_msg=path)


@law(12)
@given(
    case=st.integers(0, 10**6).map(
        # through whole units gradients pass straight: they are others than the slope
        lambda n: draw_freight_case(n, fluid_trucks=True, whole_units=False)
    )
)
def test_fluid_trucks_have_finite_gradients(case: Case) -> None:
    """L14: with trucks in real numbers the money moves with them; asking changes no value."""
    params, make = case.params("torch"), array_maker("torch", "float64")
    decided = next((d for d in case.decisions if d.trucks is not None), Decisions())
    if decided.trucks is None:
        return
    state, happens = change(case.state, make), change(case.exogenous[0], make)
    decided = change(decided, make)

    def money(trucks: Any) -> Any:
        after, flows = step(params, state, decided._replace(trucks=trucks), happens)
        return sum(cash_flows(params, [flows]).values()) - freight_due(params, after)

    free = decided.trucks.clone().requires_grad_(True)
    value = money(free)
    same(as_numpy(value), as_numpy(money(decided.trucks)))
    (slope,) = torch.autograd.grad(value.sum(), free)
    assert torch.isfinite(slope).all()
    h, agree, lanes = 1e-6, 0, free.shape[1]
    for entry in range(lanes):
        bump = torch.zeros_like(free)
        bump[:, entry] = h
        change_of = (money(decided.trucks + bump) - money(decided.trucks - bump)) / (2 * h)
        agree += bool(torch.allclose(change_of.detach(), slope[:, entry], rtol=1e-4, atol=1e-4))
    assert agree >= 0.75 * lanes  # the others stand on a kink


def test_networks_refuse_freight_that_does_not_fit() -> None:
    """Errors name the field."""
    case = draw_freight_case(1, hubs=True)
    network, freight = case.network, case.network.freight
    assert freight is not None and freight.hubs is not None
    wrong = {
        "pools": {"pools": ()},
        "pool": {"pool": [99]},
        "round_trip": {"round_trip": 0},
        "spot_cost": {"spot_cost": -1.0},
        "duty_hours": {"duty_hours": -1.0},
        "slack_mix": {"slack_mix": 0.9},
        "fee_weight": {"fee_weight": -1.0},
        "hubs.via_slack": {"hubs": dataclasses.replace(freight.hubs, via_slack=-1)},
        "hubs.via_lane": {"hubs": dataclasses.replace(freight.hubs, via_lane=-1)},
        "hubs.line_transit": {"hubs": dataclasses.replace(freight.hubs, line_transit=0)},
        "hubs.truck_volume": {"hubs": dataclasses.replace(freight.hubs, truck_volume=np.inf)},
    }
    for field, values in wrong.items():
        with pytest.raises(ValueError, match=rf"^freight\.{field}"):
            dataclasses.replace(network, freight=dataclasses.replace(freight, **values))
