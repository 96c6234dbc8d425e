"""Limiting and pricing sellers: what actions mean, what is shown, and what counts."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from environments import RESTOCK

import stockyard.envs  # noqa: F401
from stockyard.envs.network.arrays import UNLIMITED
from stockyard.envs.network.platform_view import platform_view
from stockyard.envs.network.sellers import used_space
from stockyard.envs.network.standing_terms import ForecastNeed, SpaceAuction, StoragePrice
from stockyard.envs.network.world import MONTH_DAYS, World, outlook_at, simulate
from stockyard.envs.scenarios import build_world
from stockyard.envs.tasks.referee import Objective, resolve_objective
from stockyard.envs.tasks.restock_limits import MODES, RestockLimits
from stockyard.envs.tasks.restock_modes import as_terms_action
from stockyard.envs.tasks.task import View

SCENARIOS = ("steady", "q4", "space_shock", "mixed_sellers", "seller_launches")


def batch(num_envs: int = 4, **changes: Any) -> Any:
    """A built batch, unwrapped."""
    return gym.make_vec(RESTOCK, num_envs=num_envs, **{"horizon": 84, **changes}).unwrapped


@pytest.fixture(scope="module")
def world() -> World:
    """The small world."""
    return build_world("steady", "small", "restock_limits")


def played(env: Any, action: Any, seed: int = 0) -> tuple[Any, list[Any]]:
    """Total reward (B,) of an action repeated, and the infos."""
    env.reset(seed=seed)
    total, infos, done = 0.0, [], False
    while not done:
        _, reward, _, cut, info = env.step(action)
        total, done = total + reward, bool(cut[0])
        infos.append(info)
    return total, infos


def zeros(env: Any) -> Any:
    """The middle of the action space."""
    return np.zeros(env.action_space.shape, dtype=np.float32)


def test_the_world_is_what_the_page_says(world: World) -> None:
    """Eight sellers own four fifths of the products and sell three fifths of the units."""
    products = world.network.products
    assert products.num_owners - 1 == 8 and products.num_products == 20
    rate = world.source.demand.mean_rate(world.network).sum(axis=0)
    share = rate[products.owner > 0].sum() / rate.sum()
    assert share == pytest.approx(0.6)
    assert (products.owner == 0).mean() == 0.2
    assert world.periods_per_step == MONTH_DAYS and world.horizon == 12 * MONTH_DAYS


@pytest.mark.parametrize("mode", [m for m in MODES if m not in ("quantity", "residual")])
def test_a_mode_in_physical_units_is_the_same_terms(mode: str) -> None:
    """What a mode decodes to, given as quantities, leads to the same episode."""
    env, raw = batch(action=mode), batch(action="quantity")
    env.reset(seed=3)
    raw.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(3):
        action = rng.uniform(-0.8, 0.8, env.action_space.shape).astype(np.float32)
        terms = env.task.decode(env.params, mode, action.astype(np.float64), env._current)
        given = as_terms_action(terms.decisions.terms)
        left, right = env.step(action), raw.step(given)
        np.testing.assert_allclose(left[1], right[1], rtol=1e-4)


@pytest.mark.parametrize("rule", [ForecastNeed(30.0), StoragePrice(9.0), SpaceAuction()])
def test_a_residual_of_zero_is_the_standing_rule(rule: Any) -> None:
    """The agent begins where the rule stands, and may leave it by the rule's own means only."""
    env = batch(action="residual", rules={"restock": rule})
    assert env.task.mechanism("residual") == rule.mechanism
    total, infos = played(env, zeros(env))
    assert all(info["metrics"]["is_pareto_better"].all() for info in infos)
    raised, _ = played(env, zeros(env) + 0.5)
    assert (raised != total).all()
    reference, _ = played(batch(rules={"restock": rule}, action="residual"), zeros(env))
    np.testing.assert_array_equal(total, reference)


def test_rules_are_named_with_their_parameters() -> None:
    """A configuration names a rule and its numbers; what it cannot take is named."""
    env = batch(rules={"restock": {"name": "storage_price", "price": 12}})
    assert env.world.rules["restock"] == StoragePrice(12)
    with pytest.raises(ValueError, match="no parameter 'cost'; known: price"):
        batch(rules={"restock": {"name": "storage_price", "cost": 12}})
    with pytest.raises(ValueError, match=r"storage_price\.price must be a number"):
        batch(rules={"restock": {"name": "storage_price", "price": "much"}})
    with pytest.raises(ValueError, match="known: no_limit"):
        batch(rules={"restock": "none"})


def test_limits_are_months_of_the_forecast() -> None:
    """Mode caps: .25, 1 and 4 months at -1, 0 and 1, and outlooks by later months."""
    env = batch(action="caps")
    env.reset(seed=1)
    seen = platform_view(env.params, env.state, env.tape.known(env._current.period))
    for action, months in ((-1.0, 0.25), (0.0, 1.0), (1.0, 4.0)):
        given = np.full(env.action_space.shape, action)
        terms = env.task.decode(env.params, "caps", given, env._current).decisions.terms
        np.testing.assert_allclose(terms.limit, months * MONTH_DAYS * seen.forecast[:, :, 0])
        np.testing.assert_allclose(terms.outlook, months * MONTH_DAYS * seen.forecast[:, :, 1:])


def test_prices_are_charged_by_the_volume_and_the_day() -> None:
    """Mode price: 10 USD per ft3-month at 0; the ledger of both parties is what was stored."""
    env = batch(action="price", objective={"platform": 1, "sellers": 0, "customers": 0})
    _, infos = played(env, zeros(env))
    info = infos[0]
    np.testing.assert_allclose(info["metrics"]["storage_price"], 10.0)
    assert (info["ledger"]["seller_storage"] > 0.0).all()
    seller_side = batch(action="price", objective={"platform": 0, "sellers": 1, "customers": 0})
    _, others = played(seller_side, zeros(seller_side))
    for one, other in zip(infos, others, strict=True):
        np.testing.assert_allclose(
            one["ledger"]["seller_storage"], -other["ledger"]["seller_storage"]
        )


def test_extreme_terms_do_what_they_say() -> None:
    """No space: sellers run out; no limits: they send what they like; nothing is ever taken."""
    env = batch(action="quantity")
    s = env.world.sellers.num_sellers
    closed = zeros(env)
    env.reset(seed=2)
    used = [used_space(env.params, env.state)]
    for _ in range(3):
        info = env.step(closed)[-1]
        used.append(used_space(env.params, env.state))
    assert (used[1] <= used[0] + 1e-9).all() and (used[3] < 0.2 * used[0] + 1.0).all()
    assert (info["metrics"]["merchant_share"] > 0.3).all()
    free = zeros(env)
    free[:, :s] = free[:, -2 * s :] = 1e9
    free[:, s + 1 : s + 4] = 0.78
    env.reset(seed=2)
    env.step(free)
    assert (env.state.sellers.limit == UNLIMITED).all()
    unlimited = batch(rules={"restock": "no_limit"}, action="quantity")
    _, infos = played(unlimited, free, seed=4)
    names = ("surplus_retailer", "surplus_sellers", "surplus_customers")
    own = np.stack([sum(info["metrics"][name] for info in infos) for name in names], axis=1)
    np.testing.assert_allclose(own, unlimited._referee.reference(3))  # nobody ever set any terms


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rewards_are_the_weighed_surpluses(scenario: str) -> None:
    """Welfare is what the three parties gain; payments between them cancel."""
    env = batch(scenario=scenario, action="hybrid", objective={"volatility": 0})
    total, infos = played(env, zeros(env))
    parties = ("retailer", "sellers", "customers")
    gained = sum(info["metrics"][f"surplus_{party}"] for info in infos for party in parties)
    np.testing.assert_allclose(total, gained)
    for info in infos:
        np.testing.assert_allclose(info["ledger"]["seller_fees"], 0.0)
        assert "volatility" not in info["ledger"]


def test_breaking_an_outlook_costs() -> None:
    """Who confirms what was announced pays nothing; who halves it pays for every ft3."""
    env = batch(action="quantity", objective={"volatility": 2.0})
    s = env.world.sellers.num_sellers
    env.reset(seed=0)
    action = zeros(env)
    action[:, :s] = action[:, -2 * s :] = 100.0
    env.step(action)
    info = env.step(action)[-1]
    np.testing.assert_array_equal(info["ledger"]["volatility"], 0.0)
    action[:, :s] = 50.0
    info = env.step(action)[-1]
    np.testing.assert_allclose(info["ledger"]["volatility"], -2.0 * 50.0 * s)
    np.testing.assert_allclose(info["metrics"]["broken_outlook"], 50.0 * s)


def test_a_triple_win_charges_for_who_is_worse_off() -> None:
    """The penalty sums to twice what parties have less than under the reference at the end."""
    plain, constrained = batch(action="price"), batch(action="price", objective="triple_win")
    dear = np.full(plain.action_space.shape, 0.9, dtype=np.float32)
    total, infos = played(plain, dear)
    held, judged = played(constrained, dear)
    reference, others = played(batch(action="residual"), np.zeros((4, 8), dtype=np.float32))
    del reference
    behind = 0.0
    for party in ("retailer", "sellers", "customers"):
        own = sum(info["metrics"][f"surplus_{party}"] for info in infos)
        theirs = sum(info["metrics"][f"surplus_{party}"] for info in others)
        behind = behind + np.maximum(theirs - own, 0.0)
    np.testing.assert_allclose(total - held, 2.0 * behind, rtol=1e-6)
    assert not judged[-1]["metrics"]["is_pareto_better"].any()


def test_objectives_are_named_or_weights() -> None:
    """Unknown names and weights are refused, and other tasks have none."""
    assert resolve_objective("platform") == Objective(sellers=0.0, customers=0.0)
    with pytest.raises(ValueError, match="known: welfare, platform, triple_win"):
        batch(objective="profit")
    with pytest.raises(ValueError, match="unknown 'vendors'"):
        batch(objective={"vendors": 1})
    with pytest.raises(ValueError, match=r"objective\.sellers"):
        batch(objective={"sellers": -1})
    with pytest.raises(ValueError, match="RestockLimits"):
        gym.make_vec("stockyard/Placement-v0", num_envs=1, objective="welfare")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_has_not_happened_is_not_seen(scenario: str) -> None:
    """L12: an observation is the same whatever the tape holds from its moment on."""
    env = batch(scenario=scenario, action="hybrid")
    env.reset(seed=5)
    env.step(zeros(env))
    view = env._current
    rng = np.random.default_rng(1)
    tape, now = view.tape, view.period
    epoch = now // tape.epoch_periods
    demand, beliefs = tape.demand.copy(), tape.beliefs.copy()
    demand[now:] = demand[now:][rng.permutation(len(demand) - now)] * 3.0
    beliefs[epoch:] = beliefs[epoch:] * rng.uniform(0.2, 5.0, beliefs[epoch:].shape)
    lead, fraction = tape.lead.copy(), tape.fraction.copy()
    lead[epoch:] += 5.0
    fraction[epoch:] *= 0.5
    limits = {name: values.copy() for name, values in tape.limits.items()}
    for values in limits.values():
        if len(values) > 1:
            values[now + 1 :] *= 0.3
    changed = dataclasses.replace(
        tape, demand=demand, beliefs=beliefs, lead=lead, fraction=fraction, limits=limits
    )
    before = env.task.observe(env.params, view)
    after = env.task.observe(env.params, view._replace(tape=changed))
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)


def test_sellers_private_knowledge_is_not_shown() -> None:
    """The platform sees what sellers do, never what they believe.

    Beliefs of the coming reviews, permuted, give the same observation, and other answers later.
    """
    env = batch(action="hybrid")
    env.reset(seed=6)
    view = env._current
    tape, epoch = view.tape, view.period // view.tape.epoch_periods
    rng = np.random.default_rng(2)
    beliefs = tape.beliefs.copy()
    beliefs[epoch:] = beliefs[epoch:][:, rng.permutation(beliefs.shape[1])]
    other = dataclasses.replace(tape, beliefs=beliefs)
    for name, values in env.task.observe(env.params, view).items():
        same = env.task.observe(env.params, view._replace(tape=other))[name]
        np.testing.assert_array_equal(values, same, err_msg=name)
    hidden = {"granted", "cut", "unit_cost", "margin", "belief"}
    assert not hidden & env.task.field_shapes().keys()
    decided = env.task.decode(env.params, "hybrid", zeros(env), view).decisions
    ends = [
        simulate(env.world, env.params, view.state, each, view.period, 28, decided)[0]
        for each in (tape, other)
    ]
    assert not np.array_equal(ends[0].position, ends[1].position)


def test_platform_and_sellers_draw_from_streams_of_their_own() -> None:
    """Sellers' beliefs change no demand, arrival or capacity: equal tapes but for them."""
    plain, mixed = (batch(scenario=name) for name in ("steady", "mixed_sellers"))
    plain.reset(seed=0)
    mixed.reset(seed=0)
    np.testing.assert_array_equal(plain.tape.demand, mixed.tape.demand)
    np.testing.assert_array_equal(plain.tape.lead, mixed.tape.lead)
    assert not np.array_equal(plain.tape.beliefs, mixed.tape.beliefs)


def test_beliefs_are_unbiased_and_know_of_promotions(world: World) -> None:
    """On average sellers expect what comes; a promoted month they see coming, the platform not."""
    env = batch(num_envs=64, horizon=336)
    env.reset(seed=0)
    tape = env.tape
    third = np.asarray(world.network.products.owner) > 0
    epochs = np.arange(8, 40)
    coming = np.stack([tape.demand[7 * e : 7 * e + 28].sum(axis=(0, 2)) for e in epochs]) / 28.0
    believed = np.asarray(tape.beliefs)[epochs]
    ratio = believed[..., third].mean() / coming[..., third].mean()
    assert 0.93 < ratio < 1.07
    error = np.log(believed[..., third]) - np.log(coming[..., third])
    months = [4 * (e // 4) for e in epochs if e % 4 == 0]
    shown = np.stack([tape.known(7 * e).forecast_months[:, 0] for e in months])
    picked = [k for k, e in enumerate(epochs) if e % 4 == 0]
    platform = np.log(shown[..., third]) - np.log(coming[picked][..., third])
    wave = platform.std(axis=(0, 1)).mean()
    bias_free = (error - error.mean(axis=0, keepdims=True)).std(axis=(0, 1)).mean()
    assert bias_free < wave  # but for their bias they know more


def test_gradients_of_a_month_are_those_of_finite_differences() -> None:
    """L14 through the whole task: observation, decoding, sellers, network and accounts."""
    env = batch(num_envs=2, backend="torch", action="hybrid", horizon=28)
    env.reset(seed=0)
    view, task, params = env._current, env.task, env.params

    def value(action: Any) -> Any:
        decided = task.decode(params, "hybrid", action, view).decisions
        _, stretch = simulate(env.world, params, view.state, view.tape, view.period, 28, decided)
        return sum(task.accounts(params, stretch.ledger, tuple(stretch.flows)).values()).sum()

    start = torch.tensor(np.random.default_rng(3).uniform(-0.3, 0.3, (2, 8)), requires_grad=True)
    (slope,) = torch.autograd.grad(value(start), start)
    assert torch.isfinite(slope).all()
    checked = 0
    for entry in np.ndindex(2, 8):
        bump = torch.zeros_like(start)
        bump[entry] = 1e-6
        with torch.no_grad():
            middle = value(start)
            right = (value(start + bump) - middle) / 1e-6
            left = (middle - value(start - bump)) / 1e-6
        if abs(right - left) > 1e-3 * (1.0 + abs(right)):
            continue
        checked += 1
        assert slope[entry].item() == pytest.approx(((right + left) / 2).item(), rel=2e-3, abs=0.5)
    assert checked >= 8


@pytest.mark.parametrize("size", ["medium", "large"])
def test_larger_networks_have_their_sellers(size: str) -> None:
    """40 and 500 sellers; one month runs."""
    env = gym.make(RESTOCK, size=size, horizon=28)
    observation, _ = env.reset(seed=0)
    sellers = env.unwrapped.world.sellers.num_sellers
    assert sellers == {"medium": 40, "large": 500}[size]
    assert observation["request"].shape == (sellers,)
    reward = env.step(np.zeros(env.action_space.shape, dtype=np.float32))[1]
    assert np.isfinite(reward)


def test_the_page_names_every_field_and_mode(world: World) -> None:
    """The docstring is the documentation."""
    task, page = RestockLimits(world), RestockLimits.__doc__ or ""
    for name in (*task.field_shapes(), *MODES):
        assert f"`{name}`" in page, name


def test_a_world_without_sellers_has_nobody_to_limit() -> None:
    """The error says what is missing."""
    plain = build_world("steady", "small", "placement")
    with pytest.raises(ValueError, match="needs a world with sellers"):
        RestockLimits(plain)


def test_the_reference_is_that_of_its_own_episode(world: World) -> None:
    """What the referee compares with is the standing rule on the same tapes, month by month."""
    env = batch(action="residual")
    _, infos = played(env, zeros(env), seed=9)
    view: View = env._opened
    state, period, total = view.state, view.period, 0.0
    from stockyard.envs.network.state import Decisions
    from stockyard.envs.network.world import stock_values
    from stockyard.envs.tasks.referee import surpluses

    values = stock_values(env.params, state, outlook_at(env.world, view.tape, period))
    for _ in range(3):
        state, stretch = simulate(env.world, env.params, state, view.tape, period, 28, Decisions())
        period += 28
        now = stock_values(env.params, state, outlook_at(env.world, view.tape, period))
        total = total + surpluses(stretch.ledger | {k: now[k] - values[k] for k in now})
        values = now
    names = ("surplus_retailer", "surplus_sellers", "surplus_customers")
    own = np.stack([sum(info["metrics"][name] for info in infos) for name in names], axis=1)
    np.testing.assert_allclose(own, total)
