"""Tapes: keyed streams that nothing else disturbs, and forecasts that are martingales."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import law

from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import QUANTILES, MartingaleForecaster
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.params import Params
from stockyard.envs.network.processes import TwoPartArrivals
from stockyard.envs.network.streams import SPLITS, Streams
from stockyard.envs.network.tapes import Tape, TapeSource
from stockyard.envs.network.topology import InboundLanes, Network, OutboundLanes, Products

DAYS = 200


def source(
    num_products: int = 3,
    num_regions: int = 2,
    lanes: tuple[int, ...] = (0,),
    names: tuple[str, ...] = (),
    whole_units: bool = False,
    periods_per_day: int = 1,
) -> TapeSource:
    """A source whose first products and regions are the same whatever comes after them."""
    suppliers = names or tuple(f"s{k}" for k in range(len(lanes)))
    network = Network(
        nodes=("dock", "second"),
        regions=tuple(f"r{k}" for k in range(num_regions)),
        products=Products(tuple(f"p{k}" for k in range(num_products))),
        suppliers=suppliers,
        inbound=InboundLanes(head=list(lanes), supplier=np.arange(len(lanes))[:, None]),
        outbound=OutboundLanes(node=[0] * num_regions, region=list(range(num_regions))),
        periods_per_day=periods_per_day,
    )
    day = np.arange(DAYS * periods_per_day) // periods_per_day
    week = 1.0 + 0.3 * np.cos(2.0 * np.pi * day / 7.0)
    demand = MartingaleDemand(
        baseline=week[:, None] * (5.0 + np.arange(num_products)) / periods_per_day,
        shares=np.array([0.5, 0.3, 0.2])[:num_regions],
        whole_units=whole_units,
    )
    return TapeSource(
        network=network,
        demand=demand,
        arrivals=TwoPartArrivals(),
        forecaster=MartingaleForecaster(demand, periods_per_day),
        epoch_periods=7 * periods_per_day,
    )


def draw(
    seeds: tuple[int, ...] = (4,),
    periods: int = 60,
    split: str = "train",
    episode: int = 0,
    **changes: Any,
) -> Tape:
    """Tapes of some replicas."""
    made = source(**changes)
    params = Params(made.network, Economics())
    return made.draw(params, [Streams(split, seed, episode) for seed in seeds], periods)


def arrays(tape: Tape) -> dict[str, Any]:
    """All that is random in a tape, by name; time first."""
    told = {name: getattr(tape, name) for name in ("demand", "forecast_daily", "quoted", "lead")}
    return {**told, "fraction": tape.fraction, "outlook": tape.outlook}


def same_tape(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Asserts bitwise equality."""
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


@pytest.mark.parametrize("whole_units", [False, True])
def test_a_tape_does_not_depend_on_its_batch(whole_units: bool) -> None:
    """L11: the size of the batch and the place in it change no bit."""
    alone = arrays(draw((4,), whole_units=whole_units))
    for seeds in ((4, 9), (7, 9, 4), (4, 4)):
        place = seeds.index(4)
        batch = arrays(draw(seeds, whole_units=whole_units))
        same_tape(alone, {k: v[:, place : place + 1] for k, v in batch.items()})


@pytest.mark.parametrize("whole_units", [False, True])
def test_a_longer_tape_begins_with_the_shorter(whole_units: bool) -> None:
    """L11: draws are sequential in time."""
    short, long = draw(periods=35, whole_units=whole_units), draw(whole_units=whole_units)
    same_tape(arrays(short), {k: v[: len(arrays(short)[k])] for k, v in arrays(long).items()})


@pytest.mark.parametrize("whole_units", [False, True])
def test_a_new_product_leaves_the_others_alone(whole_units: bool) -> None:
    """L11: scenario variants share random numbers (trap E16)."""
    few = arrays(draw(num_products=2, whole_units=whole_units))
    many = arrays(draw(num_products=3, whole_units=whole_units))
    same_tape(few, {k: v[..., :2] for k, v in many.items()})


@law(15)
@given(data=st.data())
def test_a_tape_is_its_own_whatever_stands_beside_it(data: st.DataObject) -> None:
    """L11 on random networks: batch, place in it, later products and lanes anywhere."""
    seeds = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
    place = data.draw(st.integers(0, len(seeds) - 1))
    products, regions = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    whole, h = data.draw(st.booleans()), data.draw(st.sampled_from([1, 2]))
    heads = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=3))
    more = data.draw(st.lists(st.integers(0, 1), max_size=2))
    more_products = products + data.draw(st.integers(0, 2))
    names = tuple(f"s{k}" for k in range(len(heads)))
    new = tuple(f"n{k}" for k in range(len(more)))
    same_for_both: dict[str, Any] = {
        "num_regions": regions,
        "whole_units": whole,
        "periods_per_day": h,
    }
    alone = arrays(
        draw(
            (seeds[place],),
            num_products=products,
            lanes=tuple(heads),
            names=names,
            **same_for_both,
        )
    )
    beside = arrays(
        draw(
            tuple(seeds),
            num_products=more_products,
            lanes=(*more, *heads),
            names=(*new, *names),
            **same_for_both,
        )
    )
    for name, values in beside.items():
        mine = values[:, place : place + 1, ..., :products]
        if name in ("quoted", "lead", "fraction"):
            mine = mine[..., len(more) :, :]
        np.testing.assert_array_equal(alone[name], mine, err_msg=name)


def test_a_new_region_leaves_the_others_alone() -> None:
    """L11: as for products."""
    few, many = arrays(draw(num_regions=2)), arrays(draw(num_regions=3))
    for tape in (few, many):
        tape["demand"], tape["forecast_daily"] = tape["demand"][:, :, :2], None
    del few["forecast_daily"], many["forecast_daily"]
    same_tape(few, many)


def test_a_new_lane_leaves_the_others_alone() -> None:
    """L11: as for products."""
    few, many = draw(lanes=(0,)), draw(lanes=(0, 1, 0))
    np.testing.assert_array_equal(few.demand, many.demand)
    np.testing.assert_array_equal(few.lead, many.lead[:, :, :, :1])
    np.testing.assert_array_equal(few.fraction, many.fraction[:, :, :, :1])


def test_a_lane_listed_before_the_others_leaves_them_alone() -> None:
    """L11: a lane is known by its node, product and supplier, not by its place in the list."""
    few = draw(lanes=(0, 0), names=("old", "older"))
    many = draw(lanes=(1, 0, 0, 0), names=("new", "newer", "old", "older"))
    for name in ("lead", "fraction", "quoted"):
        values = getattr(many, name)[..., 2:, :]
        np.testing.assert_array_equal(getattr(few, name), values, err_msg=name)


def test_names_with_a_slash_have_streams_of_their_own() -> None:
    """Product "a" in region "b/c" is not product "a/b" in region "c"."""
    streams = Streams("train", 1)
    one = streams.generator("demand", "a", "b/c").random()
    assert one != streams.generator("demand", "a/b", "c").random()
    assert one == streams.generator("demand", "a", "b/c").random()


def test_two_suppliers_of_a_node_fail_independently() -> None:
    """Dual sourcing is worth nothing if both lanes into a node have one and the same luck."""
    tape = draw(lanes=(0, 0), periods=180)
    assert not (tape.fraction[:, :, :, 0] == tape.fraction[:, :, :, 1]).any()
    assert (tape.lead[:, :, :, 0] != tape.lead[:, :, :, 1]).any()


def test_splits_seeds_and_episodes_have_other_tapes() -> None:
    """L11 and trap E15: what is learned on must not be what is reported on."""
    digests = [
        int(draw((seed,), split=split, episode=episode).digests()[0])
        for split in SPLITS
        for seed in (4, 5)
        for episode in (0, 1)
    ]
    assert len(set(digests)) == len(digests)
    assert draw().digests() == draw().digests()


def test_a_digest_sees_every_change() -> None:
    """Equal digests are what a paired comparison relies on."""
    tape = draw()
    for name in ("demand", "lead", "fraction"):
        values = np.array(getattr(tape, name))
        values[-1, 0, 0] += 1.0
        assert dataclasses.replace(tape, **{name: values}).digests() != tape.digests(), name


def test_arrivals_are_what_the_process_says() -> None:
    """Parts sum to a fill of at most 1, leads are whole and positive, the mean fill is .9."""
    tape = draw(tuple(range(40)), periods=180)
    fill = tape.fraction.sum(axis=2)
    assert (tape.fraction >= 0).all() and (fill <= 1.0 + 1e-12).all()
    assert (tape.lead >= 1).all() and (tape.lead == np.rint(tape.lead)).all()
    assert (tape.lead[:, :, 1] >= tape.lead[:, :, 0]).all()
    assert abs(fill.mean() - 0.9) < 4.0 * fill.std() / np.sqrt(fill.size)


# The forecast. Products are independent, so many products in a few replicas are many paths.

TARGET = (70, 77)  # days of the week that is forecast
MADE_AT = (0, 14, 28, 35, 49, 63, 70)  # first and middle days of weeks


def forecasts_at(
    made: TapeSource, replicas: list[Streams], period: int, periods: int, horizons: list[int]
) -> Any:
    """What is expected over horizons at the start of a period, (B, H, P)."""
    parts = []
    for streams in replicas:
        path = made.demand.draw(streams, made.network, periods)
        parts.append(made.forecaster.expected(path, np.array([period]), horizons).units[0])
    return np.stack(parts)


def week_forecasts(periods_per_day: int, whole_units: bool) -> tuple[Any, Any]:
    """Forecasts of one week made at several dates, and what came: (dates, paths), (paths,)."""
    made = source(150, 2, whole_units=whole_units, periods_per_day=periods_per_day)
    params = Params(made.network, Economics())
    h = periods_per_day
    replicas = [Streams("train", seed) for seed in range(30)]
    tape = made.draw(params, replicas, TARGET[1] * h + 1)
    rows = []
    for day in MADE_AT:
        ends = [(end - day) * h for end in TARGET if end > day]
        sums = forecasts_at(made, replicas, day * h, TARGET[1] * h + 1, ends)
        rows.append((sums[:, -1] - (sums[:, 0] if len(ends) > 1 else 0.0)).ravel())
    came = tape.demand[TARGET[0] * h : TARGET[1] * h].sum(axis=(0, 2)).ravel() / 0.8
    scale = 1.0 / np.tile(made.demand.baseline[TARGET[0] * h : TARGET[1] * h].sum(axis=0), 30)
    return np.array(rows) * scale, came * scale


@pytest.mark.parametrize(("periods_per_day", "whole_units"), [(1, False), (4, False), (1, True)])
def test_the_forecast_is_a_martingale(periods_per_day: int, whole_units: bool) -> None:
    """2.3: revisions have mean zero and are unforeseeable; the last one is what came."""
    forecasts, came = week_forecasts(periods_per_day, whole_units)
    path = np.vstack((forecasts, came[None]))
    assert abs(path[0].mean() - 1.0) <= 4.0 * path[0].std() / np.sqrt(path[0].size)
    for before, after in zip(path[:-1], path[1:], strict=True):
        revision = after - before
        for weight in (np.ones_like(before), before):  # unbiased, whatever was expected
            terms = revision * weight
            error = terms.std() / np.sqrt(terms.size)
            assert abs(terms.mean()) <= 4.0 * error
        assert revision.std() > 0


def test_forecast_errors_fall_as_the_date_comes_near() -> None:
    """2.3: each revelation removes some variance."""
    forecasts, came = week_forecasts(1, False)
    errors = np.sqrt(((came - forecasts) ** 2).mean(axis=1))
    assert (np.diff(errors) < 0).all(), errors


def test_rolling_and_cumulative_forecasts_agree() -> None:
    """The tape's daily forecast and the task's horizons are one forecast."""
    made = source(periods_per_day=2)
    params = Params(made.network, Economics())
    tape = made.draw(params, [Streams("train", 3)], 120)
    for period in (0, 1, 13, 14, 55, 101):
        mean = forecasts_at(made, [Streams("train", 3)], period, 120, [14])[0, 0]
        outlook, extra = tape.outlook_at(period)
        assert extra is None
        np.testing.assert_allclose(outlook[0, 0], mean, rtol=1e-12)
        np.testing.assert_allclose(
            tape.forecast_daily[period, 0].sum(axis=0), mean * 0.8 / 7.0, rtol=1e-12
        )


@pytest.mark.parametrize("days", [7, 28, 91])
def test_quantiles_cover_what_comes(days: int) -> None:
    """2.3: P10, P50 and P90 hold in about that share of cases; the lognormal is a fit."""
    made = source(150, 2)
    params = Params(made.network, Economics())
    replicas = [Streams("train", seed) for seed in range(30)]
    tape = made.draw(params, replicas, 42 + days + 1)
    mean = forecasts_at(made, replicas, 42, 42 + days + 1, [days])
    quantiles = made.forecaster.quantiles(mean, (days,), None)[:, 0]
    came = tape.demand[42 : 42 + days].sum(axis=(0, 2))
    for k, level in enumerate(QUANTILES):
        covered = float((came <= quantiles[:, k] * 0.8).mean())
        assert abs(covered - level) < 0.03, (days, level, covered)
