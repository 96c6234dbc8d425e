"""Sellers as agents: PettingZoo's contract, private knowledge, and what a seller earns."""

from typing import Any

import numpy as np
import pytest
from environments import RESTOCK
from pettingzoo.test import parallel_api_test

from stockyard.agents.evaluation.rollout import build
from stockyard.envs.parallel_env import SellersParallelEnv


def made(**changes: Any) -> SellersParallelEnv:
    """Two months."""
    return SellersParallelEnv(**{"horizon": 56, **changes})


def still(env: SellersParallelEnv) -> dict[str, Any]:
    """Nobody deviates from the newsvendor."""
    return {agent: np.zeros(3, dtype=np.float32) for agent in env.agents}


def earned(env: SellersParallelEnv, deviation: dict[str, Any] | None = None) -> dict[str, float]:
    """What each seller earns in an episode, USD."""
    env.reset(seed=3)
    total = dict.fromkeys(env.possible_agents, 0.0)
    while env.agents:
        _, rewards, _, _, _ = env.step({**still(env), **(deviation or {})})
        for agent, reward in rewards.items():
            total[agent] += reward
    return total


def test_pettingzoos_checker_accepts_it() -> None:
    """Libraries for many agents rely on the letter of the interface."""
    parallel_api_test(made(), num_cycles=20)


def test_equal_seeds_give_equal_episodes_and_others_do_not() -> None:
    """A result that cannot be repeated is none."""
    one, two = made(), made()
    assert earned(one) == earned(two)
    first = one.reset(seed=3)[0]["seller_1"]
    again, next_one = two.reset(seed=3)[0]["seller_1"], two.reset()[0]["seller_1"]
    np.testing.assert_array_equal(first["belief"], again["belief"])
    assert not np.array_equal(first["belief"], next_one["belief"])


def test_observations_stay_inside_their_space_and_end_together() -> None:
    """Over an episode of random actions; eight weeks are two months."""
    env = made(scenario="seller_launches")
    observations, _ = env.reset(seed=0)
    rng, weeks = np.random.default_rng(0), 0
    while env.agents:
        for agent, seen in observations.items():
            assert env.observation_space(agent).contains(seen), agent
        actions = {agent: rng.uniform(-1, 1, 3).astype(np.float32) for agent in env.agents}
        observations, _, terminated, truncated, _ = env.step(actions)
        assert not any(terminated.values())
        weeks += 1
        assert all(truncated.values()) == (weeks == 8)
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})


def test_what_sellers_earn_adds_up_to_the_sellers_surplus() -> None:
    """The same books as the platform's environment, split by seller.

    Truthful sellers without habits do the same in both.
    """
    scenario = {"like": "steady", "name": "truthful", "sellers": {"kinds": [1.0, 0.0, 0.0]}}
    total = sum(earned(made(scenario=scenario)).values())
    spec = {"id": RESTOCK, "scenario": scenario, "horizon": 56, "action": "residual"}
    env = build(spec, num_envs=1, split="train")
    env.reset(seed=3)
    surplus = 0.0
    for _ in range(2):
        info = env.step(np.zeros(env.action_space.shape, dtype=np.float32))[-1]
        surplus += info["metrics"]["surplus_sellers"][0]
    assert total == pytest.approx(surplus, rel=1e-9)


def test_a_seller_sees_its_own_beliefs_and_nobody_elses() -> None:
    """Private knowledge stays private: the first product of a seller is shown to it alone."""
    env = made()
    observations, _ = env.reset(seed=1)
    owner = env.world.network.products.owner
    assert env._tape is not None
    belief = env._tape.at(env._period).beliefs[0]
    for s, agent in enumerate(env.possible_agents):
        own = belief[owner == s + 1]
        np.testing.assert_allclose(observations[agent]["belief"][: len(own)], own, rtol=1e-6)


def test_inflated_requests_pay_where_space_is_shared_by_requests() -> None:
    """A game: one who asks for more gets more under a rule that shares by requests."""

    class Shared:
        """Shares by requests, tightly."""

        announces_terms = True
        mechanism = "caps"

        def __call__(self, params: Any, state: Any, revealed: Any) -> Any:
            """Terms in proportion to requests."""
            from stockyard.envs.network.platform_view import platform_view
            from stockyard.envs.network.standing_terms import open_terms, within

            view = platform_view(params, state, revealed)
            asked = np.maximum(state.sellers.request, 1e-6)
            outlook = np.repeat(asked[:, :, None], 2, axis=2)
            limit, outlook = within(0.45 * view.capacity, asked, outlook)
            return open_terms(params, view)._replace(limit=limit, outlook=outlook)

    plain = earned(made(horizon=168, rules={"restock": Shared()}))
    inflated = {"seller_2": np.array([0.0, 1.0, 0.0], dtype=np.float32)}
    lied = earned(made(horizon=168, rules={"restock": Shared()}), inflated)
    assert lied["seller_2"] > plain["seller_2"]
    others = [agent for agent in plain if agent != "seller_2"]
    assert sum(lied[a] for a in others) < sum(plain[a] for a in others)


def test_wrong_input_is_named() -> None:
    """The agent, the field."""
    env = made()
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="seller_8 is missing"):
        env.step({a: np.zeros(3, dtype=np.float32) for a in env.agents[:-1]})
    with pytest.raises(ValueError, match="seller_1 must give 3 finite numbers"):
        env.step({**still(env), "seller_1": np.array([0.0, np.nan, 0.0])})
    with pytest.raises(ValueError, match="multiple of 28"):
        made(horizon=30)
