"""What every environment says to wrong actions, arguments and seeds, and to calls out of turn."""

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import make, make_batch, same_tree

from stockyard.envs import textbook


@pytest.mark.parametrize("name", ["steady", "lost_sales"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_no_number_is_refused(name: str, bad: float) -> None:
    """The entry is named; projecting NaN would hide a diverged policy."""
    env = make_batch(name, 2)
    env.reset(seed=1)
    actions = np.zeros(env.action_space.shape)
    actions[1, 0] = bad
    with pytest.raises(ValueError, match=r"^action: entry \[1, 0\] is"):
        env.step(actions)
    env.step(np.zeros(env.action_space.shape))  # and the environment is unharmed


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 3)),
        np.zeros(12),
        np.zeros((3, 12)),
        np.zeros((2, 12), dtype=complex),
        np.zeros((2, 12), dtype=bool),
        np.full((2, 12), "a"),
        np.full((2, 12), None),
        "order",
        None,
        [[1.0], [2.0, 3.0]],
    ],
    ids=str,
)
def test_an_action_of_a_wrong_shape_or_type_is_refused(bad: Any) -> None:
    """Broadcasting would order something that nobody asked for."""
    env = make_batch("steady", 2)
    env.reset(seed=1)
    with pytest.raises(ValueError, match="^action: must h"):
        env.step(bad)


def test_whole_numbers_and_lists_are_actions() -> None:
    """A person types them."""
    env = make("lost_sales")
    env.reset(seed=1)
    for action in ([3], [3.0], np.array([3]), np.array([3], dtype=np.float32)):
        env.step(action)


@pytest.mark.parametrize(
    ("name", "mode", "action"),
    [
        ("steady", "cover", 1.5),
        ("steady", "residual", -7.0),
        ("steady", "quantity", -1.0),
        ("real", "quantity", 1e12),
        ("placement", "cover", 1.5),
        ("placement", "class_cover", 9.0),
        ("placement", "shares", -3.0),
        ("placement", "quantity", 1e12),
        ("placement", "cover_split", 2.0),
        ("restock", "hybrid", 1.5),
        ("restock", "caps", -3.0),
        ("restock", "quantity", -1.0),
        ("lost_sales", "quantity", -1.0),
        ("lost_sales", "quantity", 1e12),
    ],
)
def test_an_action_out_of_reach_is_projected(name: str, mode: str, action: float) -> None:
    """It counts as the nearest feasible one, and info says so."""
    env, other = make_batch(name, 2, action=mode), make_batch(name, 2, action=mode)
    env.reset(seed=1)
    other.reset(seed=1)
    space = env.action_space
    wild = np.full(space.shape, action)
    seen, reward, *_, info = env.step(wild)
    expected, other_reward, *_ = other.step(np.clip(wild, space.low, space.high))
    assert (info["clip_fraction"] > 0).all() and (info["clip_fraction"] <= 1).all()
    same_tree(seen, expected)
    np.testing.assert_array_equal(reward, other_reward)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "nowhere"}, "scenario: unknown 'nowhere'; known: .*steady"),
        ({"scenario": 3}, "scenario: must be"),
        ({"size": "tiny"}, "size: unknown 'tiny'; known: small"),
        ({"action": "psychic"}, "action: unknown mode 'psychic'; known: cover"),
        ({"split": "exam"}, "split: unknown 'exam'; known: train"),
        ({"backend": "fortran"}, "backend: must be"),
        ({"dtype": "int8"}, "dtype: must be"),
        ({"rules": {"cook": "cover"}}, "rules: unknown slot 'cook'; known: "),
        ({"rules": {"place": "nowhere"}}, "rules: unknown place rule 'nowhere'; known: "),
        ({"horizon": 10}, "horizon: must be a positive multiple of 7"),
        ({"horizon": 0}, "horizon: must be a positive multiple of 7"),
        ({"horizon": -7}, "horizon: must be a positive multiple of 7"),
        ({"horizon": 10.5}, "horizon: must be a positive multiple of 7"),
        ({"horizon": "14"}, "horizon: must be a positive multiple of 7"),
        ({"horizon": [14]}, "horizon: must be a positive multiple of 7"),
        ({"horizon": float("nan")}, "horizon: must be a positive multiple of 7"),
        ({"horizon": float("inf")}, "horizon: must be a positive multiple of 7"),
        ({"task": "cooking"}, "task: unknown 'cooking'; known: replenishment"),
        ({"task": None}, "task: unknown None; known: replenishment"),
        ({"rules": "cover"}, "rules: must map"),
        ({"rules": ["place"]}, "rules: must map"),
        ({"rules": {"place": ["idle"]}}, "rules: place must be"),
        ({"rules": {"place": None}}, "rules: place must be"),
        ({"integer": "yes"}, "integer: must be"),
        ({"integer": 1}, "integer: must be"),
        ({"render_mode": "ascii"}, "render_mode: unknown 'ascii'; known: rgb_array"),
        ({"demand": "a lot"}, "demand: must be"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """The error names the argument, and the known names where there are some."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium remarks on unknown render modes
        with pytest.raises(ValueError, match=f"^{message}"):
            make_batch("steady", 2, **changes)


@pytest.mark.parametrize("law", [textbook.Gamma(5, 2), textbook.Normal(5, 1)], ids=str)
def test_whole_units_of_fractional_demand_are_refused(law: Any) -> None:
    """Half a unit of demand can be neither met nor missed in whole units."""
    problem = textbook.lost_sales(demand=law, lead_time=1, holding_cost=1, penalty_cost=4)
    gym.make(**problem, integer=False)
    with pytest.raises(ValueError, match="^integer: demand must come in whole units"):
        gym.make(**problem, integer=True)
    make("lost_sales", integer=True)


def test_a_single_environment_speaks_of_its_own_shape() -> None:
    """Whoever made one environment knows of no batch axis."""
    env = make("steady")
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"^action: must have shape \(12,\), got \(3,\)"):
        env.step(np.zeros(3))
    bad = np.zeros(12)
    bad[4] = np.nan
    with pytest.raises(ValueError, match=r"^action: entry \[4\] is nan"):
        env.step(bad)
    env.step(np.zeros(12))


def test_a_wrong_batch_is_refused_by_name() -> None:
    """These are arguments of the batch alone."""
    with pytest.raises(ValueError, match="^autoreset_mode: unknown 'never'; known: "):
        make_batch("steady", 2, autoreset_mode="never")
    with pytest.raises(ValueError, match="^num_envs: must be"):
        make_batch("steady", 0)


@pytest.mark.parametrize("seed", [-1, [1], [1, None], [1, -2], 1.5, "a"])
def test_a_bad_seed_is_refused_by_name(seed: Any) -> None:
    """A seed that were ignored or wrapped around would break pairing silently."""
    env = make_batch("lost_sales", 2)
    with pytest.raises(ValueError, match="^seed: "):
        env.reset(seed=seed)


def test_nothing_works_before_reset() -> None:
    """The error says what to do."""
    env = make_batch("lost_sales", 2)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros((2, 1)))


def test_a_horizon_beyond_the_scenario_is_refused_by_name() -> None:
    """The baseline of demand and of its forecast is laid out for a while; the last day counts."""
    with pytest.raises(ValueError, match="^horizon: must be at most [0-9]+ periods") as refused:
        make_batch("steady", 1, horizon=3_640)
    longest = int(re.findall("[0-9]+", str(refused.value))[0])
    assert longest > 2 * 182
    env = make_batch("steady", 1, horizon=longest)
    env.reset(seed=1)
    for _ in range(env.unwrapped.steps_per_episode):
        observation, reward, *_ = env.step(np.zeros((1, 12)))
    assert np.isfinite(reward).all() and (observation["forecast_mean"] > 0).all()
    make_batch("real", 1, horizon=3_640).reset(seed=1)
