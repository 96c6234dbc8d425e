"""Windows, changing limits and the random factors of demand, each against its definition."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import law

from stockyard.envs.network.capacities import (
    AHEAD_WEEKS,
    WEEKS_AHEAD,
    Capacities,
    CapacityChange,
    RentSeason,
)
from stockyard.envs.network.shocks import DemandShock, Launches, Season
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.windows import Window
from stockyard.envs.scenarios import build_world

NAMES = tuple(f"p{k}" for k in range(4))


def streams(count: int) -> list[Streams]:
    """Streams of some replicas."""
    return [Streams("train", seed) for seed in range(count)]


# windows


def test_a_window_without_ramps_is_all_or_nothing() -> None:
    """It holds for `days`, counted from the key day, and then no more."""
    window = Window("w", 10, 10, days=3)
    profile = window.profile(np.arange(-2, 6))
    np.testing.assert_array_equal(profile, [0, 0, 1, 1, 1, 0, 0, 0])


def test_a_window_ramps_holds_and_recovers() -> None:
    """Full after the ramp; the first day of recovery is less than full, the last more than none."""
    window = Window("w", 10, 10, days=6, offset_days=2, ramp_days=3, recovery_days=4)
    profile = window.profile(np.arange(0, 14))
    rise, hold, fall = [0.25, 0.5, 0.75], [1.0] * 3, [0.8, 0.6, 0.4, 0.2]
    np.testing.assert_allclose(profile, [0, 0, *rise, *hold, *fall, 0, 0], atol=1e-12)


@law(30)
@given(data=st.data())
def test_a_profile_is_a_share(data: st.DataObject) -> None:
    """Between 0 and 1, nothing before the window, nothing after its recovery."""
    window = draw_window(data)
    since = np.arange(-30, 90)
    profile = window.profile(since)
    assert ((profile >= 0.0) & (profile <= 1.0)).all()
    outside = (since < window.offset_days) | (
        since >= window.offset_days + window.days + window.recovery_days
    )
    assert not profile[outside].any()
    assert profile[since == window.offset_days] > 0.0


def draw_window(data: st.DataObject, **fixed: Any) -> Window:
    """Any window of a few weeks."""
    first = data.draw(st.integers(0, 20))
    return Window(
        "w",
        first,
        first + data.draw(st.integers(0, 20)),
        days=data.draw(st.integers(1, 12)),
        offset_days=data.draw(st.integers(-5, 8)),
        ramp_days=data.draw(st.integers(0, 5)),
        recovery_days=data.draw(st.integers(0, 6)),
        announced_days=data.draw(st.sampled_from([0, 3, 10])),
        **fixed,
    )


@law(30)
@given(data=st.data())
def test_what_is_expected_of_a_hidden_window_is_its_conditional_mean(data: st.DataObject) -> None:
    """By enumeration: key days that would not be known yet are equally likely, others impossible.

    Together with what is seen once it is known this is a martingale: the mean over key days of
    what is expected is the mean of what happens.
    """
    window = draw_window(data)
    days, ahead = np.arange(window.last_day + 25), np.arange(30)
    keys = np.arange(window.first_day, window.last_day + 1)
    told = np.stack([window.expected(days, ahead, int(key)) for key in keys])
    truth = np.stack([window.profile(days[:, None] + ahead - key) for key in keys])
    for d in days:
        known = window.is_known(d, keys)
        np.testing.assert_allclose(told[known, d], truth[known, d])
        if not known.all():
            mean = truth[~known, d].mean(axis=0)
            np.testing.assert_allclose(told[~known, d], np.stack([mean] * (~known).sum()))
    np.testing.assert_allclose(told.mean(axis=0), truth.mean(axis=0))


def test_a_window_known_from_the_start_is_no_surprise() -> None:
    """`announced_days` None: expected is what happens."""
    window = Window("w", 5, 30, days=7, announced_days=None)
    days, ahead = np.arange(40), np.arange(20)
    for key in (5, 17, 30):
        truth = window.profile(days[:, None] + ahead - key)
        np.testing.assert_array_equal(window.expected(days, ahead, key), truth)


def test_key_days_are_even_and_shared() -> None:
    """Every day of the span is drawn, and windows of one key begin together."""
    window = Window("w", 4, 9)
    twin = Window("w", 4, 9, days=3, offset_days=7)
    other = Window("v", 4, 9)
    days = np.array([window.key_day(s) for s in streams(300)])
    assert sorted(set(days.tolist())) == list(range(4, 10))
    assert np.bincount(days - 4).min() > 25
    assert [twin.key_day(s) for s in streams(20)] == days[:20].tolist()
    assert [other.key_day(s) for s in streams(20)] != days[:20].tolist()


@pytest.mark.parametrize(
    ("field", "value"),
    [("key", ""), ("first_day", -1), ("days", 0), ("ramp_days", -1), ("announced_days", -1)],
)
def test_a_wrong_window_is_refused_by_name(field: str, value: Any) -> None:
    """One error for each condition."""
    with pytest.raises(ValueError, match=f"^{field}: "):
        Window(**{"key": "w", "first_day": 3, "last_day": 5, field: value})


# limits


def limits_of(window: Window, factor: float, periods: int = 60, **fields: Any) -> Any:
    """A storage limit of two nodes of which the first changes."""
    change = CapacityChange("storage", window, factor, np.array([1.0, 0.0]), **fields)
    capacities = Capacities(storage=np.array([100.0, 50.0]), changes=(change,))
    return capacities.draw(Streams("train", 3), "storage", periods, 1, 0)


def test_a_limit_changes_where_and_when_it_says() -> None:
    """The first node falls to a fifth for ten days; the second stays."""
    drawn = limits_of(Window("w", 20, 20, days=10), 0.2)
    expected = np.full(60, 100.0)
    expected[20:30] = 20.0
    np.testing.assert_allclose(drawn.true, np.stack([expected, np.full(60, 50.0)], axis=1))


@pytest.mark.parametrize("announced_days", [0, 9, 30, None])
def test_a_change_is_announced_as_early_as_it_says(announced_days: int | None) -> None:
    """Before, the old limit is told for the weeks to come; from then on, the truth."""
    window = Window("w", 40, 40, days=10, ramp_days=2, announced_days=announced_days)
    drawn = limits_of(window, 0.2, periods=90)
    from_then = 0 if announced_days is None else 40 - announced_days
    assert drawn.announced.shape == (len(AHEAD_WEEKS), 90, 2)
    np.testing.assert_array_equal(drawn.announced[0], drawn.true)
    for weeks in range(WEEKS_AHEAD):
        later = np.minimum(np.arange(90) + 7 * weeks, 89)
        known = np.arange(90) >= from_then
        told = drawn.announced[weeks, :, 0]
        np.testing.assert_allclose(told[known], drawn.true[later[known], 0])
        assert (told[~known] == 100.0).all()


def test_changes_of_one_limit_multiply() -> None:
    """Two windows that overlap leave the product of their factors."""
    windows = (Window("a", 5, 5, days=10), Window("b", 10, 10, days=10))
    both = tuple(CapacityChange("outbound", w, 0.5, np.ones(1)) for w in windows)
    capacities = Capacities(outbound=np.array([8.0]), changes=both)
    true = capacities.draw(Streams("train", 0), "outbound", 30, 1, 0).true[:, 0]
    np.testing.assert_allclose(true, [8.0] * 5 + [4.0] * 5 + [2.0] * 5 + [4.0] * 5 + [8.0] * 10)


def test_only_one_of_the_affected_is_hit() -> None:
    """The one is drawn for each tape, evenly, never another."""
    affected = np.array([0.0, 1.0, 1.0, 1.0])
    change = CapacityChange("yard", Window("w", 3, 3), 0.0, affected, one_of_affected=True)
    hit = np.stack([change.whom(s) for s in streams(150)])
    assert (hit.sum(axis=1) == 1.0).all() and not hit[:, 0].any()
    assert hit.sum(axis=0)[1:].min() > 30


def test_rent_follows_the_date() -> None:
    """The season of high rent is known ahead; the year goes on into the next."""
    season = RentSeason(factor=3.0, first_day=10, last_day=19)
    capacities = Capacities(storage_rent=np.ones(1), rent_season=season)
    drawn = capacities.draw(Streams("train", 0), "storage_rent", 40, 1, 360)
    day = (360 + np.arange(40)) % 365
    np.testing.assert_array_equal(drawn.true[:, 0] == 3.0, (day >= 10) & (day <= 19))
    np.testing.assert_array_equal(drawn.announced[1, :33], drawn.true[7:40])


def test_limits_in_waves_of_a_day_change_by_the_day() -> None:
    """With two periods a day a window of three days holds for six periods."""
    change = CapacityChange("outbound", Window("w", 2, 2, days=3), 0.0, np.ones(1))
    capacities = Capacities(outbound=np.ones(1), changes=(change,))
    true = capacities.draw(Streams("train", 0), "outbound", 14, 2, 0).true[:, 0]
    np.testing.assert_array_equal(true, [1.0] * 4 + [0.0] * 6 + [1.0] * 4)


# random factors of demand


def test_a_course_of_the_year_has_mean_one() -> None:
    """A season moves demand within the year and adds none."""
    for season in (Season(), Season(0.5, 100, 3.0, 30), Season(0.0, 0, 1.0)):
        factors = season.factors()
        assert factors.shape == (365,) and (factors > 0.0).all()
        assert abs(factors.mean() - 1.0) < 1e-12
    assert Season().factors()[330] > 1.5 > Season().factors()[250]


def test_an_uncertain_lift_has_the_mean_it_says() -> None:
    """Lognormal: exp(sd z - sd^2 / 2), common to all products and of each product's own."""
    window = Window("w", 30, 30, days=4, announced_days=None)
    shock = DemandShock(window, 3.5, np.ones(4), common_sd=0.5, product_sd=0.4)
    factor = np.stack([shock.draw(s, 60, NAMES).factor for s in streams(800)])
    error = factor.mean(axis=1).std(ddof=1) / np.sqrt(800)
    assert abs(factor.mean() - 3.5) < 4.0 * error
    log = np.log(factor)
    assert abs(log.var() - shock.log_variance) < 0.05
    covariance = np.cov(log.T)[np.triu_indices(4, 1)].mean()
    assert abs(covariance - 0.5**2) < 0.05


def test_an_event_is_in_the_calendar_from_the_start() -> None:
    """What the calendar shows cannot be news."""
    with pytest.raises(ValueError, match="^is_event: the calendar shows it from the start, so"):
        DemandShock(Window("w", 3, 9, announced_days=14), 2.0, np.ones(4), is_event=True)


def test_a_lift_becomes_known_bit_by_bit() -> None:
    """Nothing before the days of revelation, all after the first day, the variance falling."""
    window = Window("w", 30, 30, days=4, announced_days=None)
    shock = DemandShock(window, 3.5, np.ones(4), common_sd=0.5, product_sd=0.4, reveal_days=14)
    path = shock.draw(Streams("train", 1), 60, NAMES)
    assert (path.known[:17] == 3.5).all()
    assert (path.known[31:] == path.factor).all() and not path.left[31:].any()
    assert (path.known[30] != path.factor).all(), "what the first day reveals is not known before"
    assert path.left[0] == pytest.approx(shock.log_variance) and (np.diff(path.left) <= 0.0).all()
    assert path.left[30] == pytest.approx(0.2 * shock.log_variance)


def test_a_certain_lift_is_what_it_says() -> None:
    """Without a deviation every product's factor is the lift."""
    shock = DemandShock(Window("w", 3, 9), 0.7, np.ones(4))
    path = shock.draw(Streams("train", 1), 20, NAMES)
    assert (path.factor == 0.7).all() and (path.known == 0.7).all() and not path.left.any()


def test_launches_have_the_mean_they_say() -> None:
    """Hits, flops and the rest times a lognormal of mean 1; products that are not launched: 1."""
    launches = Launches(np.array([1.0, 1.0, 0.0, 1.0]), 5, 25)
    paths = [launches.draw(s, 60, NAMES) for s in streams(1500)]
    factor = np.stack([path.factor for path in paths])
    assert (factor[:, 2] == 1.0).all() and all(path.begin[2] == -1 for path in paths)
    launched = np.delete(factor, 2, axis=1)
    error = launched.std(ddof=1) / np.sqrt(launched.size)
    assert abs(launched.mean() - launches.mean) < 4.0 * error
    begin = np.stack([path.begin for path in paths])[:, [0, 1, 3]]
    assert begin.min() == 5 and begin.max() == 25


def test_nothing_is_learnt_of_a_launch_before_it() -> None:
    """Until the launch the mean is expected; a fortnight later all is known."""
    launches = Launches(np.ones(4), 20, 20, learn_days=14)
    for path in (launches.draw(s, 60, NAMES) for s in streams(10)):
        assert (path.known[:21] == launches.mean).all()
        np.testing.assert_allclose(path.known[34:], np.stack([path.factor] * 26))
        assert (path.left[34:] < 1e-12).all() and (path.left[20] == path.left[0]).all()


@pytest.mark.parametrize("scenario", ["peak_event", "cold_start", "seasonal", "demand_drop"])
def test_nothing_changes_the_mean_of_what_was_not_touched(scenario: str) -> None:
    """Products outside a change have the demand of `steady`, number for number."""
    params_of = {}
    for name in ("steady", scenario):
        world = build_world(name)
        params = world.params("numpy", "float64")
        params_of[name] = world, world.source.draw(params, streams(2), 120)
    world, tape = params_of[scenario]
    demand: Any = world.source.demand
    touched = np.zeros(world.network.num_products)
    for shock in demand.shocks:
        touched = np.maximum(touched, shock.affected)
    if demand.launches is not None:
        touched = np.maximum(touched, demand.launches.affected)
    if demand.season is not None:
        touched[:] = 1.0
    same = np.isclose(tape.demand, params_of["steady"][1].demand, rtol=1e-12).all(axis=(0, 1, 2))
    assert (same | (touched > 0.0)).all()
    assert not same[touched > 0.0].any()


# recorded orders


@pytest.mark.parametrize("scenario", ["steady", "supplier_disruption"])
def test_recorded_orders_keep_to_minimum_and_supplier(scenario: str) -> None:
    """Nothing or the minimum, unless the supplier cuts it, who ships no more than he can."""
    world = build_world(scenario, "small", "placement")
    params = world.params("numpy", "float64")
    tape = world.source.draw(params, streams(8), world.burn_in + world.horizon + 1)
    recorder = world.source.recorder
    assert recorder is not None and tape.recorded is not None
    network = world.network
    supplier = network.inbound.supplier[0]
    is_cut = np.zeros(tape.recorded.shape, dtype=bool)
    for epoch, orders in enumerate(tape.recorded):
        capacity = tape.limit("supplier_capacity", epoch * tape.epoch_periods)
        for v in range(len(network.suppliers)):
            own = supplier == v
            room = capacity[:, v] * params.review_days
            total = orders[:, own].sum(axis=1)
            assert (total <= room * (1.0 + 1e-9)).all()
            is_cut[epoch][:, own] |= (total >= room * (1.0 - 1e-9))[:, None]
    uncut = tape.recorded[~is_cut & (tape.recorded > 0.0)]
    least = np.broadcast_to(recorder.minimum, tape.recorded.shape)
    assert (uncut >= least[~is_cut & (tape.recorded > 0.0)] * (1.0 - 1e-9)).all()
    assert len(uncut) > 100 and (tape.recorded == 0.0).mean() > 0.3
    if scenario == "supplier_disruption":
        closed = tape.limits["supplier_capacity"][:: tape.epoch_periods] == 0.0
        hit = np.stack([closed[..., v] for v in supplier], axis=-1)
        assert hit.any() and not tape.recorded[hit].any()


def test_recorded_orders_do_not_look_ahead() -> None:
    """L12: orders up to a week are the same whatever is demanded from then on."""
    world = build_world("steady", "small", "placement")
    params = world.params("numpy", "float64")
    tape = world.source.draw(params, streams(3), 85)
    recorder = world.source.recorder
    assert recorder is not None and tape.recorded is not None
    demand = np.array(tape.demand)
    demand[42:] *= 3.0
    other = recorder.record(params, dataclasses.replace(tape, demand=demand))
    np.testing.assert_array_equal(other[:7], tape.recorded[:7])  # the order of day 42 included
    assert (other[7:] != tape.recorded[7:]).any()
