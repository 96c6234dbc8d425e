"""Loaders: vectorised packing against the exact counts, and the table that the step reads."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_freight import draw_freight_case
from random_networks import run

from stockyard.agents.oracles import packing as oracle
from stockyard.envs.network.packing import LOADERS, OFFERED, Items, pack, reachable, reached

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=20)


@given(items=sizes)
def test_with_trucks_enough_every_item_is_packed(items: list[int]) -> None:
    """As many trucks as first-fit decreasing opens take all items, one less do not."""
    capacity, count = 9, oracle.first_fit_decreasing(items, 9)
    load = np.array([items])
    full = pack(load, capacity, count, "first_fit_decreasing")[0]
    assert full * capacity * count == pytest.approx(sum(items))
    if count > 1:
        fewer = pack(load, capacity, count - 1, "first_fit_decreasing")[0]
        assert fewer * capacity * (count - 1) < sum(items)


@settings(deadline=None)  # the first call imports CP-SAT
@given(items=sizes, loader=st.sampled_from(LOADERS), trucks=st.integers(1, 4))
def test_no_truck_is_packed_beyond_its_room(items: list[int], loader: str, trucks: int) -> None:
    """And what lies in trucks are items that there were."""
    share = pack(np.array([items]), 9, trucks, loader)[0]
    assert 0.0 < share <= 1.0 and share * 9 * trucks <= sum(items) + 1e-9


def test_online_loaders_waste_what_the_oracle_says() -> None:
    """Items of 2 and 3 in bins of 9, each loader with bins without end: the same waste."""
    rng = np.random.default_rng(0)
    items = rng.choice((2, 3), 60, p=(0.8, 0.2))
    for loader in ("best_fit", "sum_of_squares"):
        waste = oracle.online_waste(items.tolist(), 9, loader)
        used = (int(items.sum()) + waste) / 9
        share = pack(items[None], 9, round(used), loader)[0]
        assert share == pytest.approx(items.sum() / (9 * round(used)), abs=0.02)


def test_more_to_choose_from_fills_a_truck_better() -> None:
    """The table rises with what is offered, up to full; larger items leave more room."""
    fine, coarse = (reached(Items(ft3, 0.6, "best_fit"), 3000) for ft3 in (60.0, 900.0))
    for table in (fine, coarse):
        assert (np.diff(table, axis=1) >= 0.0).all()
        assert (table <= np.minimum(OFFERED, 1.0) + 1e-12).all()
    exact = int(np.argmin(np.abs(OFFERED - 1.0)))
    assert (coarse[1:, exact] < fine[1:, exact]).all()


def test_large_items_waste_room_and_small_ones_do_not() -> None:
    """What is one item too much stays behind, however much there is to choose from."""
    last = reached(Items(1100.0, 0.0), 3000)[:, -1]
    np.testing.assert_allclose(last, 2 * 1100 / 3000)  # two of them go into a truck
    np.testing.assert_allclose(reached(Items(1000.0, 0.0), 3000)[:, -1], 1.0)
    offline, online = (
        reached(Items(600.0, 0.6, k), 3000) for k in ("best_fit_decreasing", "best_fit")
    )
    more = OFFERED > 1.0
    assert (online[0, more] < 0.97).all()
    assert (offline[:, more] > online[:, more]).all()
    assert reached(Items(10.0, 0.6, "best_fit"), 3000)[:, more].min() > 0.995


@pytest.mark.parametrize("trucks", [1, 2, 3])
def test_cp_sat_fills_trucks_as_full_as_they_get(trucks: int) -> None:
    """Against all sums that can be reached, one truck after the other."""
    rng = np.random.default_rng(trucks)
    loads = rng.integers(3, 19, (12, 5 * trucks))
    share = pack(loads, 30, trucks, "cp_sat")
    for load, filled in zip(loads.tolist(), share.tolist(), strict=True):
        states = {(0,) * trucks}
        for size in load:
            states |= {
                tuple(sorted((*at[:k], at[k] + size, *at[k + 1 :])))
                for at in states
                for k in range(trucks)
                if at[k] + size <= 30
            }
        assert filled * 30 * trucks == pytest.approx(max(map(sum, states)))
    assert (share >= pack(loads, 30, trucks, "best_fit_decreasing")).all()


def test_without_ortools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing else was wrong."""
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ImportError, match=r"stockyard\[or\]"):
        pack(np.array([[7, 7]]), 9, 1, "cp_sat")


def test_room_is_read_off_the_table() -> None:
    """At its entries, in between, and above its trucks."""
    table = reached(Items(600.0, 0.6), 3000)
    trucks = np.array([[1.0, 2.0, 9.0]])
    room = 3000.0 * trucks
    for j, share in enumerate(OFFERED):
        got = reachable(table, trucks, room, share * room)
        np.testing.assert_allclose(got, room * table[[0, 1, 3], j])
    assert (reachable(table, trucks, room, 0.0 * room) == 0.0).all()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_items_only_take_room_away(backend: str) -> None:
    """A network whose parcels are items loads no truck fuller; parcels are conserved."""
    for seed in range(6):
        case = draw_freight_case(seed, hubs=True)
        freight = case.network.freight
        assert freight is not None
        items = dataclasses.replace(freight, items=Items(3.0, 0.6))
        network = dataclasses.replace(case.network, freight=items)
        with_items = dataclasses.replace(case, network=network)
        (plain, packed) = (next(iter(run(one, backend))) for one in (case, with_items))
        size = np.where(np.isfinite(network.truck_volume), network.truck_volume, 1e18)
        trucks = packed.flows.trucks
        assert (packed.flows.freight.load <= trucks * size + 1e-9).all()
        gone, loaded = (p.flows.dispatched_volume.sum() for p in (plain, packed))
        assert loaded <= gone + 1e-9


def test_unknown_loaders_and_items_that_fit_nowhere_are_refused() -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match="loader: unknown 'tetris'"):
        Items(60.0, 0.8, "tetris")
    with pytest.raises(ValueError, match="sizes: 10 exceeds"):
        pack(np.array([[10]]), 9, 1, "best_fit")
    with pytest.raises(ValueError, match="mean_ft3"):
        Items(0.0, 0.8)
