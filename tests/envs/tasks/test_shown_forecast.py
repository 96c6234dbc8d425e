"""What is shown as forecast: every kind, what it may know, and what must not depend on it."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.tasks.learned_forecast import WEIGHTS, LearnedForecast, inputs_of
from stockyard.envs.tasks.shown_forecast import (
    KINDS,
    Lagged,
    OwnForecast,
    Shown,
    regional_forecast,
    resolve_forecast,
)
from stockyard.envs.tasks.task import shaped

ID = "stockyard/Replenishment-v0"
PLACEMENT = "stockyard/Placement-v0"
FORECASTS = [
    "martingale",
    "none",
    "biased",
    {"kind": "biased", "bias": -0.1},
    "lagged",
    {"kind": "lagged", "days": 10},
    "learned",
]
SCENARIOS = ["steady", "real", "peak_event", "cold_start"]


def make(num_envs: int = 2, id: str = ID, **changes: Any) -> Any:
    """A batch, without wrappers."""
    return gym.make_vec(id, num_envs=num_envs, **changes).unwrapped


def seen(env: Any, observation: Any) -> Any:
    """The observation in its shapes."""
    return shaped(observation, env.field_shapes)


def play(env: Any, steps: int, seed: int = 3, cover: float = -0.4) -> list[Any]:
    """Observations of an episode under a constant action, in their shapes."""
    observation, _ = env.reset(seed=seed)
    action = np.full(env.action_space.shape, cover, dtype=np.float32)
    shown = [seen(env, observation)]
    for _ in range(steps):
        shown.append(seen(env, env.step(action)[0]))
    return shown


def test_the_default_is_the_tapes_own() -> None:
    """Nobody who names no forecast sees another one."""
    for own, named in zip(play(make(), 3), play(make(forecast="martingale"), 3), strict=True):
        for name, values in own.items():
            np.testing.assert_array_equal(values, named[name])


@pytest.mark.parametrize("bias", [0.2, -0.1])
def test_a_biased_forecast_is_the_own_one_times_a_factor(bias: float) -> None:
    """Means and quantiles alike, at every horizon."""
    env = make(forecast={"kind": "biased", "bias": bias})
    own, biased = play(make(), 0)[0], play(env, 0)[0]
    for field in ("forecast_mean", "forecast_quantiles"):
        np.testing.assert_allclose(biased[field], own[field] * (1.0 + bias), rtol=1e-6)


def test_the_bias_is_a_fifth_unless_said() -> None:
    """What the name alone stands for."""
    own, biased = play(make(), 0)[0], play(make(forecast="biased"), 0)[0]
    np.testing.assert_allclose(biased["forecast_mean"], own["forecast_mean"] * 1.2, rtol=1e-6)


def test_no_forecast_is_the_long_run_rate() -> None:
    """The same in every week, on every tape: it knows nothing of the tape."""
    env = make(forecast="none")
    rate = env.world.source.demand.mean_rate(env.world.network).sum(axis=0)
    for shown in play(env, 3):
        expected = rate[:, None] * np.array(HORIZONS_DAYS)
        for replica in shown["forecast_mean"]:
            np.testing.assert_allclose(replica, expected, rtol=1e-6)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_lagged_forecast_is_what_was_shown_then(scenario: str) -> None:
    """Four weeks late, quantiles too; the orders in between make no difference."""
    own = play(make(scenario=scenario), 6)
    late = play(make(scenario=scenario, forecast="lagged"), 6, cover=0.3)
    for k in range(4, 7):
        for field in ("forecast_mean", "forecast_quantiles"):
            np.testing.assert_allclose(late[k][field], own[k - 4][field], rtol=1e-6)


def test_a_lag_between_two_forecasts_takes_the_older() -> None:
    """Ten days ago the newest forecast was that of a fortnight ago, where they are weekly."""
    env = make(forecast={"kind": "lagged", "days": 10})
    if env.world.source.outlook_periods == 7:
        late, own = play(env, 3), play(make(), 3)
        np.testing.assert_allclose(late[3]["forecast_mean"], own[1]["forecast_mean"], rtol=1e-6)


@pytest.mark.parametrize("forecast", FORECASTS, ids=str)
def test_money_does_not_depend_on_what_is_shown(forecast: Any) -> None:
    """Valuation and standing rules use the tape's own: equal orders earn equal money."""
    rewards = []
    for shown in (None, forecast):
        env = make(action="quantity", forecast=shown)
        env.reset(seed=5)
        order = np.full(env.action_space.shape, 60.0, dtype=np.float32)
        rewards.append([env.step(order)[1] for _ in range(4)])
    np.testing.assert_array_equal(rewards[0], rewards[1])


def test_cover_is_measured_in_the_forecast_that_is_shown() -> None:
    """Order-up-to levels of the long-run rate, where nothing else is shown."""
    env = make(action="cover", forecast="none")
    before = seen(env, env.reset(seed=1)[0])
    days = 40.0
    action = np.full(env.action_space.shape, days / 45.0 - 1.0, dtype=np.float32)
    rate = env.world.source.demand.mean_rate(env.world.network).sum(axis=0)
    decoded = env.task.decode(env.params, "cover", action.astype(np.float64), env._view)
    wanted = np.maximum(rate * days - before["inventory_position"], 0.0)
    np.testing.assert_allclose(decoded.decisions.orders.sum(axis=1), wanted, rtol=1e-5, atol=1e-3)


def test_learned_cover_follows_the_learned_means() -> None:
    """The decoder and the observation speak of one forecast."""
    env = make(action="cover", forecast="learned", scenario="real")
    before = seen(env, env.reset(seed=1)[0])
    action = np.full(env.action_space.shape, 28.0 / 45.0 - 1.0)
    decoded = env.task.decode(env.params, "cover", action, env._view)
    wanted = np.maximum(before["forecast_mean"][..., 2] - before["inventory_position"], 0.0)
    np.testing.assert_allclose(decoded.decisions.orders.sum(axis=1), wanted, rtol=1e-5, atol=1e-3)


# causality


def without_future(tape: Any, period: int) -> Any:
    """The tape with NaN for all that is not revealed at the start of a period.

    Revealed are quotes and forecasts made by then, the calendar, and what is announced.
    """
    epoch = period // tape.epoch_periods

    def cut(values: Any, first: int) -> Any:
        if values is None or len(values) == 1:
            return values
        copy = values.copy()
        copy[first:] = np.nan
        return copy

    return dataclasses.replace(
        tape,
        demand=cut(tape.demand, period),
        outlook=cut(tape.outlook, period // tape.outlook_periods + 1),
        outlook_extra=cut(tape.outlook_extra, period // tape.outlook_periods + 1),
        forecast_daily=cut(tape.forecast_daily, period + 1),
        quoted=cut(tape.quoted, epoch + 1),
        lead=cut(tape.lead, epoch),
        fraction=cut(tape.fraction, epoch),
        event_days=cut(tape.event_days, period + 1),
        recorded=cut(tape.recorded, epoch + 1),
        announced={
            name: np.stack([cut(part, period + 1) for part in values])
            for name, values in tape.announced.items()
        },
        limits={
            name: cut(values, period) if name in tape.announced else values
            for name, values in tape.limits.items()
        },
    )


@pytest.mark.parametrize("scenario", ["real", "peak_event"])
@pytest.mark.parametrize("forecast", FORECASTS, ids=str)
def test_observations_do_not_know_the_future(forecast: Any, scenario: str) -> None:
    """Law L12: what is not revealed may be anything, here NaN, and nothing changes."""
    env = make(scenario=scenario, forecast=forecast)
    play(env, 5)
    view, task = env._view, env.task
    known = task.observe(env.params, view)
    # another object of the task: nothing that it remembers helps it
    blind = type(task)(env.world).observe(
        env.params, view._replace(tape=without_future(view.tape, view.period))
    )
    for name, values in known.items():
        assert np.isfinite(values).all(), name
        np.testing.assert_array_equal(values, blind[name], err_msg=name)


@pytest.mark.parametrize("forecast", ["martingale", "none", "biased", "lagged"])
def test_who_places_does_not_know_the_future_either(forecast: str) -> None:
    """Law L12 where demand is forecast by region, day by day."""
    env = make(id=PLACEMENT, scenario="peak_event", forecast=forecast)
    play(env, 9)
    view, task = env._view, env.task
    known = task.observe(env.params, view)
    tape = without_future(view.tape, view.period)
    blind = type(task)(env.world).observe(env.params, view._replace(tape=tape))
    for name, values in known.items():
        assert np.isfinite(values).all(), name
        np.testing.assert_array_equal(values, blind[name], err_msg=name)


# the learned forecast


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_learned_quantiles_ascend_and_are_units(scenario: str) -> None:
    """They never cross, and no product's are negative or infinite."""
    env = make(scenario=scenario, forecast="learned")
    for shown in play(env, 4):
        quantiles = shown["forecast_quantiles"]
        assert (np.diff(quantiles, axis=-1) >= 0.0).all()
        assert (quantiles >= 0.0).all() and np.isfinite(quantiles).all()
        assert (shown["forecast_mean"] > 0.0).all()


def fields_of(sales: Any, in_stock: float = 1.0) -> dict[str, Any]:
    """The fields of one product with a history, nothing unusual about it."""
    history = np.zeros((1, 1, 13))
    history[0, 0, : len(sales)] = sales
    return {
        "sales_history": history,
        "in_stock_history": np.full((1, 1, 13), in_stock),
        "price": np.full((1, 1), 30.0),
        "unit_cost": np.full((1, 1), 19.0),
        "volume": np.full((1, 1), 0.25),
        "season": np.array([[0.0, 1.0]]),
        "days_to_event": np.full((1, 2), 365.0),
    }


def test_a_product_without_history_gets_sensible_quantiles() -> None:
    """The prior is that of the catalogue: some units a day, and nobody is sure of it."""
    forecaster = LearnedForecast()
    mean, quantiles = forecaster.forecast(fields_of([]))
    known_mean, known = forecaster.forecast(fields_of([140.0] * 13))
    assert (mean[0, 0] / np.array(HORIZONS_DAYS) > 1.0).all()
    assert (mean[0, 0] / np.array(HORIZONS_DAYS) < 60.0).all()
    spread, usual = quantiles[..., 2] / quantiles[..., 0], known[..., 2] / known[..., 0]
    assert (spread > 1.5 * usual).all()
    assert (np.abs(np.log(known_mean[0, 0] / (20.0 * np.array(HORIZONS_DAYS)))) < 0.4).all()


def test_stock_outs_raise_the_forecast() -> None:
    """The same sales mean more demand where the product was there half of the time."""
    always, _ = LearnedForecast().forecast(fields_of([70.0] * 13, in_stock=1.0))
    half, _ = LearnedForecast().forecast(fields_of([70.0] * 13, in_stock=0.5))
    assert (half > 1.05 * always).all()


def test_zeros_before_the_first_sale_are_not_taken_for_sales() -> None:
    """The observation pads the time before the burn-in with zeros."""
    inputs = inputs_of(fields_of([50.0, 60.0]), prior=70.0)
    assert inputs.weeks[0, :, 2].sum() == 2.0
    assert 50.0 < inputs.scale[0] < 70.0


def test_a_row_does_not_depend_on_its_batch() -> None:
    """Replica i of a batch sees what a single environment sees, to the precision of float32."""
    batch = play(make(4, forecast="learned"), 2, seed=11)
    single = play(make(1, forecast="learned"), 2, seed=13)
    for several, one in zip(batch, single, strict=True):
        for field in ("forecast_mean", "forecast_quantiles"):
            np.testing.assert_allclose(several[field][2], one[field][0], rtol=1e-6)


@pytest.mark.parametrize("forecast", FORECASTS, ids=str)
def test_torch_shows_the_same(forecast: Any) -> None:
    """The hindsight trainer observes tensors."""
    numpy = play(make(forecast=forecast), 2)
    torch = play(make(forecast=forecast, backend="torch"), 2)
    for one, other in zip(numpy, torch, strict=True):
        for field in ("forecast_mean", "forecast_quantiles"):
            np.testing.assert_allclose(one[field], other[field], rtol=1e-5)


# what is taken and what is refused


def test_a_users_own_forecast_is_shown() -> None:
    """Any callable will do: here last week's sales go on for ever, with no doubt about it."""

    def last_week(own: OwnForecast, view: Any, fields: Any) -> Shown:
        assert "forecast_mean" not in fields
        weekly = fields["sales_history"][..., 0]
        means = np.stack([weekly * days / 7.0 for days in HORIZONS_DAYS], axis=1)
        return Shown(means, np.repeat(means[:, :, None], 3, axis=2))

    env = make(forecast=last_week)
    shown = play(env, 3)[3]
    np.testing.assert_allclose(shown["forecast_mean"][..., 1], 2.0 * shown["sales_history"][..., 0])
    with pytest.raises(ValueError, match="says nothing about regions"):
        make(id=PLACEMENT, forecast=last_week)


@pytest.mark.parametrize(
    ("forecast", "message"),
    [
        ("oracle", "^forecast: unknown 'oracle'; known: martingale, none, biased, lagged, learned"),
        ({"kind": "oracle"}, "^forecast: unknown 'oracle'; known: "),
        ({"bias": 0.1}, "^forecast: unknown None; known: "),
        ({"kind": "biased", "days": 3}, "^forecast: 'biased' does not take days"),
        ({"kind": "biased", "bias": -1.0}, "^forecast.bias: must be a number above -1"),
        ({"kind": "lagged", "days": 1.5}, "^forecast.days: must be a whole number >= 0"),
        ({"kind": "lagged", "days": np.inf}, "^forecast.days: must be a whole number >= 0"),
        ({"kind": "lagged", "days": np.nan}, "^forecast.days: must be a whole number >= 0"),
        ({"kind": ["lagged"]}, r"^forecast: unknown \['lagged'\]; known: "),
        (Lagged, "^forecast: must be an instance, got the class Lagged"),
        ({"kind": "learned", "weights": 5}, "^forecast.weights: must be a path, got 5"),
        ({"kind": "learned", "weights": __file__}, "^forecast.weights: .*py holds no weights"),
        (7, "^forecast: must be a name, a mapping or a callable, got 7"),
        ({"kind": "learned", "weights": "no/such.npz"}, "^forecast.weights: "),
    ],
)
def test_a_wrong_forecast_is_refused(forecast: Any, message: str) -> None:
    """Known names are listed."""
    with pytest.raises(ValueError, match=message):
        make(forecast=forecast)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Arrays that are missing or of another shape, and an array that is none of several."""
    with np.load(WEIGHTS) as arrays:
        shipped = dict(arrays)
    cut = {**shipped, "global.0.weight": shipped["global.0.weight"][1:]}
    missing = {name: array for name, array in shipped.items() if name != "prior"}
    for number, arrays in enumerate((cut, missing)):
        path = tmp_path / f"{number}.npz"
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"^forecast.weights: .*{number}.npz holds no"):
            LearnedForecast(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"^forecast.weights: .*one.npy holds no"):
        LearnedForecast(tmp_path / "one.npy")
    assert LearnedForecast(WEIGHTS)


def test_worlds_without_a_forecast_refuse_another() -> None:
    """Textbook problems show none."""
    problem = textbook.newsvendor(textbook.Poisson(5), 1, 9)
    with pytest.raises(ValueError, match="^forecast: this world shows no forecast"):
        gym.make_vec(**{**problem, "num_envs": 1, "forecast": "biased"})


@pytest.mark.parametrize("id", ["stockyard/Network-v0", PLACEMENT])
def test_the_learned_forecast_is_weekly(id: str) -> None:
    """Where each day is decided, no sales by week are shown."""
    with pytest.raises(ValueError, match="^forecast: 'learned' reads sales by week"):
        make(id=id, scenario="steady", forecast="learned")


def test_forecasts_by_region_follow_the_same_kinds() -> None:
    """For environments that show demand by region; summed, they are a week's mean by day."""
    env = make(scenario="steady")
    play(env, 5)
    view, own = env._view, OwnForecast(env.world)
    kinds = {name: resolve_forecast(name, env.world) for name in KINDS if name != "learned"}
    by_region = {name: regional_forecast(kind, own, view) for name, kind in kinds.items()}
    np.testing.assert_allclose(by_region["biased"], 1.2 * by_region["martingale"])
    np.testing.assert_array_equal(by_region["lagged"], view.tape.forecast_daily[view.period - 28])
    rate = env.world.source.demand.mean_rate(env.world.network)
    np.testing.assert_allclose(by_region["none"][0], rate)
    np.testing.assert_allclose(
        by_region["martingale"].sum(axis=1), view.outlook[7] / 7.0, rtol=1e-9
    )


def test_who_places_sees_the_same_kinds() -> None:
    """All of the forecasts of `Placement-v0`, quantiles and what covers are measured in too."""
    fields = ["forecast_by_region", "forecast_by_region_quantiles", "served_demand"]
    fields += ["forecast_mean", "forecast_quantiles"]
    own = play(make(id=PLACEMENT), 28)
    biased, late = (play(make(id=PLACEMENT, forecast=kind), 28) for kind in ("biased", "lagged"))
    none = play(make(id=PLACEMENT, forecast="none"), 2)
    for field in fields:
        np.testing.assert_allclose(biased[3][field], 1.2 * own[3][field], rtol=1e-5)
        np.testing.assert_allclose(late[28][field], own[0][field], rtol=1e-5)
        np.testing.assert_array_equal(none[0][field], none[2][field])


def test_the_specification_keeps_the_forecast() -> None:
    """What a run folder writes down makes the same environment again."""
    given = {"kind": "biased", "bias": 0.1}
    assert make(forecast=given).specification["forecast"] == given
