"""Rules for sellers: what they offer on a small instance, and that all of them tune and run."""

from typing import Any

import numpy as np
import pytest
from environments import RESTOCK

from stockyard import agents
from stockyard.agents import tuning
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.heuristics.base import Facts, search_of
from stockyard.agents.heuristics.restock_lp import WEEKS, RollingProgram
from stockyard.agents.heuristics.terms import read
from stockyard.agents.policy import registered
from stockyard.envs.tasks.restock_modes import NO_LIMIT
from stockyard.envs.tasks.task import shaped

RULES = [
    name
    for name, e in registered().items()
    if "restock_" in e.factory_path or "commitment" in e.factory_path
]
SPEC = {"id": RESTOCK, "scenario": "steady", "horizon": 56}


@pytest.fixture(scope="module")
def env() -> Any:
    """A built batch of three."""
    return build(SPEC, num_envs=3, split="train", action_mode="quantity")


@pytest.fixture(scope="module")
def observation(env: Any) -> Any:
    """Its first observation."""
    return env.reset(seed=0)[0]


def parameters_of(name: str, env: Any) -> dict[str, Any]:
    """The middle of a rule's space."""
    search = search_of(registered()[name].resolve())
    if search is None:
        return {}
    facts = Facts(env)
    middle = {p.name: (p.low + p.high) / 2.0 for p in search.space(facts)}
    return search.parameters(facts, middle)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_offers_what_the_environment_takes(
    name: str, env: Any, observation: Any
) -> None:
    """Alone or in a batch, row by row, inside the space; its mechanism moves only its own means."""
    rule: Any = agents.make(name, env, **parameters_of(name, env))
    action, _ = rule.predict(observation)
    assert env.action_space.contains(action.astype(np.float32))
    single, _ = rule.predict({field: values[1] for field, values in observation.items()})
    np.testing.assert_array_equal(single, action[1])
    s, c = rule.num_sellers, rule.num_classes
    limits, prices = action[:, :s], action[:, s + 1 : s + 1 + c]
    offered = action[:, s + 1 + c]
    base = 0.78
    if rule.mechanism in ("caps", "auction"):
        np.testing.assert_allclose(prices, base)
    if rule.mechanism == "price":
        assert (limits >= NO_LIMIT).all()
    if rule.mechanism in ("caps", "price"):
        assert not offered.any()
    assert rollout(rule, env, seed=1, figures=False).mean > 0.0


@pytest.mark.parametrize(
    "name", ["forecast_need", "constant_price", "auction", "priced_need", "kept_adaptive_need"]
)
def test_rules_tune_themselves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search runs, and finds something no worse than where it began."""
    monkeypatch.setattr(tuning, "ROUNDS", 1)
    found = tuning.tune(name, SPEC, tapes=4)
    assert found.score >= found.history[0]["score"]
    agents.make(name, SPEC, **found.parameters)


def test_shares_add_up_to_what_is_given(env: Any, observation: Any) -> None:
    """Equal, proportional, linear and uniform shares: all of the capacity where it is short."""
    seen = read(shaped(observation, env.unwrapped.field_shapes))
    for name in ("equal_split", "proportional", "linear", "uniform"):
        action, _ = agents.make(name, env, total=0.3).predict(observation)
        limits = action[:, : seen.request.shape[1]]
        given = np.minimum(0.3 * seen.storage, seen.request.sum(axis=1))
        if name == "equal_split":
            given = 0.3 * seen.storage
        np.testing.assert_allclose(limits.sum(axis=1), given, rtol=1e-6)


def test_limits_follow_the_forecast(env: Any, observation: Any) -> None:
    """Days of forecast, month by month; scarcer storage scales all down alike."""
    seen = read(shaped(observation, env.unwrapped.field_shapes))
    s = seen.request.shape[1]
    action, _ = agents.make("forecast_need", env, days=20.0).predict(observation)
    np.testing.assert_allclose(action[:, :s], 20.0 * seen.forecast[:, :, 0], rtol=1e-6)
    outlook = action[:, -2 * s :].reshape(-1, s, 2)
    np.testing.assert_allclose(outlook, 20.0 * seen.forecast[:, :, 1:], rtol=1e-6)
    tight, _ = agents.make("forecast_need", env, days=20.0, total=0.1).predict(observation)
    share = tight[:, :s] / action[:, :s]
    np.testing.assert_allclose(share, share[:, :1] + np.zeros((1, s)), rtol=1e-6)


def test_scarcity_raises_the_price(env: Any, observation: Any) -> None:
    """Where twice as much is stored, a price that follows crowding is higher."""
    rule = agents.make("scarcity_price", env, price=8.0, need=0.0, crowding=1.0)
    fuller = {**observation, "crowding": observation["crowding"] * 2.0}
    s = env.unwrapped.world.sellers.num_sellers
    before, after = rule.predict(observation)[0], rule.predict(fuller)[0]
    np.testing.assert_allclose(after[:, s + 1], 2.0 * before[:, s + 1], rtol=1e-6)


def test_the_program_holds_safety_stock_where_space_is_plenty_and_what_earns_where_not(
    env: Any, observation: Any
) -> None:
    """With space for all, positions cover lead time and safety; with none, what stands there."""
    facts = Facts(env)
    fields = shaped(observation, env.unwrapped.field_shapes)
    one = {name: np.asarray(values[0], dtype=np.float64) for name, values in fields.items()}
    roomy = RollingProgram(facts, fill=50.0, safety_days=10.0, slack=1.0, receiving=50.0)
    planned = roomy._planned(one)
    daily = one["forecast_mean"][:, 3] / 56.0
    volume = one["product_volume"]
    need = volume * daily * (10.0 + 14.0)  # safety and the two weeks of lead time, on average
    later = planned[:, 4:8].mean(axis=1)
    np.testing.assert_allclose(later, need, rtol=0.25)
    tight = RollingProgram(facts, fill=0.2, safety_days=10.0, slack=1.0, receiving=1.0)
    assert planned.shape == (len(volume), WEEKS)
    assert tight._planned(one)[:, 4:8].sum() < planned[:, 4:8].sum()


def test_rules_for_sellers_say_where_they_do_not_apply() -> None:
    """An environment that decides something else is named."""
    with pytest.raises(ValueError, match="decides restock"):
        agents.make("forecast_need", {"id": "stockyard/Placement-v0"}, days=20.0)


def test_a_kept_outlook_is_what_was_announced() -> None:
    """From the second month on limits never differ from what was said; half a word is half way."""
    named = {"name": "forecast_need", "days": 30.0, "total": 2.0}
    env = build({**SPEC, "horizon": 112}, num_envs=2, split="train", action_mode="quantity")
    rule: Any = agents.make("kept_outlook", env, rule=named)
    result = rollout(rule, env, seed=0)
    # observations are single precision, and limits thousands of ft3
    np.testing.assert_allclose(result.metrics["broken_outlook"], 0.0, atol=1e-3)
    free = rollout(agents.make("kept_outlook", env, rule=named, share=0.0), env, seed=0)
    plain = rollout(agents.make("forecast_need", env, days=30.0, total=2.0), env, seed=0)
    np.testing.assert_array_equal(free.returns, plain.returns)
    assert (plain.ledger["volatility"] < 0.0).all()
    with pytest.raises(ValueError, match="share: must lie in"):
        agents.make("kept_outlook", env, share=2.0)
    with pytest.raises(ValueError, match="unknown heuristic 'nobody'"):
        agents.make("kept_outlook", env, rule="nobody")


def test_the_program_holds_what_comes_after_its_demand(env: Any, observation: Any) -> None:
    """All demand falls in the first week, half of the goods arrive in the second: they stay."""
    rule: Any = agents.make("rolling_lp", env, fill=0.0, safety_days=10.0, slack=1.0)
    seen = {k: np.asarray(v).copy() for k, v in observation.items()}
    seen["on_hand"][:] = 0.0
    seen["inventory_position"][:] = 100.0
    seen["forecast_mean"][:] = 1000.0  # of every horizon: nothing comes after the first
    action, _ = rule.predict(seen)
    volume = np.asarray(env.world.network.products.volume)
    owner = np.asarray(env.world.network.products.owner)
    held = [50.0 * volume[owner == s + 1].sum() for s in range(rule.num_sellers)]
    assert (action[:, : rule.num_sellers] >= np.array(held) * 0.999).all()


@pytest.mark.parametrize(("overbook", "clears"), [(1.0, 13.2), (1.25, 7.0)])
def test_space_clears_near_the_overage_fee(overbook: float, clears: float) -> None:
    """All storage auctioned without a reserve: the median month, USD per ft3-month.

    Sellers pay 10 for space over their limit in the public fee schedule: capacity and what sellers
    earn by space are in proportion. The figures are those of the docs.
    """
    spec = {"id": RESTOCK, "scenario": "steady"}
    year = build(spec, num_envs=16, split="test", action_mode="quantity")
    free = {"floor": 0.0, "markup": 0.0, "free_days": 0.0}
    policy = agents.make("auction", year, overbook=overbook, **free)
    seen, _ = year.reset(seed=0)
    prices = []
    for _ in range(11):  # months
        seen, *_ = year.step(policy.predict(seen)[0])
        prices.append(seen["clearing_price"])
    assert np.median(prices) == pytest.approx(clears, abs=0.1)
