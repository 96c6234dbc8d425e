"""What every environment promises, whatever its id, scenario and action mode."""

import copy
import pickle
import re
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from environments import PROBLEMS, make, make_batch, same_tree
from gymnasium.utils.env_checker import check_env as check_by_gymnasium
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_by_sb3

import stockyard.envs

HEAVY = {"torch", "pandas", "matplotlib", "hydra", "stable_baselines3"}
RETAIL = ("steady", "real")
MODES = {
    name: ("cover", "quantity", "residual") if name in RETAIL else ("quantity",)
    for name in PROBLEMS
} | {
    "placement": ("cover", "class_cover", "shares", "quantity", "residual", "cover_split"),
    "restock": (
        "hybrid",
        "rule",
        "caps",
        "auction",
        "price",
        "class_price",
        "residual",
        "quantity",
    ),
    "trucks": ("threshold", "trucks", "residual", "quantity"),
}
EVERY = [
    pytest.param(name, mode, marks=pytest.mark.wheel if (name, mode) == ("steady", "cover") else ())
    for name, modes in MODES.items()
    for mode in modes
]
THREE = ("steady", "real", "lost_sales")
MORE = (
    *(*THREE, "serial", "stores", "dispatch", "placement", "restock", "trucks", "network"),
    "real_network",
)


def info_of(info: dict[str, Any]) -> dict[str, Any]:
    """Info with the lazily computed metrics computed."""
    return {k: dict(v) if k in ("metrics", "ledger") else v for k, v in info.items()}


@pytest.mark.parametrize(("name", "mode"), EVERY)
def test_gymnasiums_checker_accepts_it(name: str, mode: str) -> None:
    """Wrappers and libraries rely on the letter of the interface."""
    env = make(name, action=mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_by_gymnasium(env.unwrapped, skip_render_check=True)
    told = {str(w.message) for w in caught}
    # Raw units cannot span [-1, 1]; the checker advises to normalise, and the other modes do.
    advice = "rescal|symmetric|normalize|infinity"
    assert all(mode == "quantity" and re.search(advice, text) for text in told), told


@pytest.mark.parametrize(("name", "mode"), EVERY)
def test_sb3s_checker_accepts_it(name: str, mode: str) -> None:
    """It has nothing to say; of raw units only that they might be normalised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_by_sb3(make(name, action=mode).unwrapped)
    told = {str(w.message) for w in caught}
    if mode == "quantity":
        told = {text for text in told if "symmetric and normalized" not in text}
    assert not told


@pytest.mark.parametrize("name", MORE)
def test_a_single_environment_is_a_row_of_a_batch(name: str) -> None:
    """One code path: what holds for 256 replicas holds for one, bit for bit, to the end."""
    batch = make_batch(name, 3)
    ones = [make(name) for _ in range(3)]
    observation, info = batch.reset(seed=[5, 1, 5])
    rows = [env.reset(seed=seed) for env, seed in zip(ones, (5, 1, 5), strict=True)]
    batch.action_space.seed(0)
    done = np.zeros(3, dtype=bool)
    steps = 0
    while True:
        for i, (seen, told) in enumerate(rows):
            same_tree({k: v[i] for k, v in observation.items()}, seen)
            assert {"ledger", "metrics"} & info.keys() == {"ledger", "metrics"} & told.keys()
            for part in {"ledger", "metrics"} & info.keys():
                same_tree({k: v[i] for k, v in info[part].items()}, dict(told[part]))
            for part in info.keys() - {"ledger", "metrics"}:
                assert info[part][i] == told[part]
        if done.all():
            break
        actions = batch.action_space.sample()
        observation, reward, terminated, done, info = batch.step(actions)
        rows = []
        for i, env in enumerate(ones):
            seen, one_reward, ended, cut, told = env.step(actions[i])
            assert one_reward == reward[i] and ended == terminated[i] and cut == done[i]
            rows.append((seen, told))
        steps += 1
    assert steps == batch.unwrapped.steps_per_episode


@pytest.mark.parametrize("name", MORE)
def test_equal_seeds_give_equal_episodes(name: str) -> None:
    """A result that cannot be repeated is none."""
    one, two = make_batch(name, 2), make_batch(name, 2)
    same_tree(one.reset(seed=3)[0], two.reset(seed=3)[0])
    one.action_space.seed(1)
    for _ in range(5):
        actions = one.action_space.sample()
        left, right = one.step(actions), two.step(actions)
        same_tree(left[0], right[0])
        np.testing.assert_array_equal(left[1], right[1])


@pytest.mark.parametrize("name", MORE)
def test_a_pickle_taken_mid_episode_goes_on_alike(name: str) -> None:
    """The carried state travels, not only the construction."""
    env = make_batch(name, 2)
    env.reset(seed=3)
    env.action_space.seed(1)
    for _ in range(3):
        info = env.step(env.action_space.sample())[-1]
    pickle.loads(pickle.dumps(info))
    others = [pickle.loads(pickle.dumps(env.unwrapped)), copy.deepcopy(env.unwrapped)]
    for _ in range(4):
        actions = env.action_space.sample()
        expected = env.step(actions)
        for other in others:
            same_tree(expected[0], other.step(actions)[0])
    expected = env.reset()  # the next episode of the same seeds
    for other in others:
        same_tree(expected[0], other.reset()[0])


@pytest.mark.parametrize("name", THREE)
def test_every_episode_is_new_until_seeded_again(name: str) -> None:
    """Reset without a seed goes on to other tapes, with one it comes back."""
    env = make(name)
    first, hashes = env.reset(seed=3), []
    for _ in range(3):
        hashes.append(env.reset()[1]["tape_hash"])
    again = env.reset(seed=3)
    same_tree(first[0], again[0])
    assert len({*hashes, first[1]["tape_hash"]}) == 4
    assert first[1]["tape_hash"] == again[1]["tape_hash"]


@pytest.mark.parametrize("name", list(PROBLEMS))
@pytest.mark.parametrize("mode", sorted({mode for modes in MODES.values() for mode in modes}))
def test_observations_stay_inside_their_space(name: str, mode: str) -> None:
    """Over a whole episode of random actions; bounds are finite, values float32."""
    if mode not in MODES[name]:
        with pytest.raises(ValueError, match="^action: unknown mode"):
            make(name, action=mode)
        return
    env = make(name, action=mode)
    for space in env.observation_space.values():
        assert space.is_bounded() and space.dtype == np.float32
    observation, _ = env.reset(seed=4)
    env.action_space.seed(4)
    done, steps = False, 0
    while not done:
        for field, value in observation.items():
            assert env.observation_space[field].contains(value), field
        observation, reward, terminated, done, info = env.step(env.action_space.sample())
        assert isinstance(reward, float) and np.isfinite(reward)
        assert not terminated, "a time limit is no end of the world (trap E18)"
        same = sum(float(amount) for amount in info["ledger"].values())
        assert reward == pytest.approx(same, rel=1e-9, abs=1e-9)
        steps += 1
    assert env.observation_space.contains(observation)
    assert steps * env.unwrapped.periods_per_step == env.unwrapped.horizon
    with pytest.raises(RuntimeError, match="reset"):
        env.step(env.action_space.sample())


def test_a_textbook_reward_is_minus_the_cost() -> None:
    """Average rewards compare with published costs without any conversion."""
    env = make("lost_sales")
    env.reset(seed=1)
    for _ in range(20):
        _, reward, _, _, info = env.step(np.array([5.0]))
        assert set(info["ledger"]) <= {"holding", "shortage", "fixed_order"}
        assert reward <= 0


def test_a_step_simulates_its_periods() -> None:
    """A retail step is a review period of a week, a textbook step one period."""
    for name, periods, horizon in (("steady", 7, 182), ("real", 7, 182), ("lost_sales", 1, 20)):
        batch = make_batch(name, 2).unwrapped
        assert batch.periods_per_step == periods and batch.horizon == horizon
        assert batch.steps_per_episode == horizon // periods
        assert batch.reward_scale > 0
        assert make(name).unwrapped.periods_per_step == periods


def test_metrics_cost_nothing_until_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training never looks at them."""
    calls = []
    summarise = stockyard.envs.vector_env.summarise

    def counted(*given: Any) -> Any:
        calls.append(1)
        return summarise(*given)

    monkeypatch.setattr(stockyard.envs.vector_env, "summarise", counted)
    env = make_batch("steady", 2)
    env.reset(seed=1)
    env.action_space.seed(1)
    metrics = env.step(env.action_space.sample())[-1]["metrics"]
    assert not calls
    assert {
        "in_stock_rate",
        "fill_rate",
        "days_of_cover",
        "speed_share_1_day",
        "utilisation_storage",
        "utilisation_receiving",
        "utilisation_outbound",
        "surplus_retailer",
        "surplus_customers",
        "lost_not_bought",
    } <= set(metrics)
    for figure, values in metrics.items():
        assert values.shape == (2,) and np.isfinite(values).all(), figure
        if figure.endswith("_rate") or figure.startswith("speed_share"):
            assert ((values >= -1e-9) & (values <= 1.0 + 1e-9)).all(), figure
    shares = sum(values for figure, values in metrics.items() if figure.startswith("speed_share"))
    np.testing.assert_allclose(shares, 1.0)
    assert len(calls) == 1, "computed once, however often it is read"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_an_observation_belongs_to_who_got_it(backend: str, dtype: str) -> None:
    """Writing into an observation must not reach the simulator (trap E7)."""
    env, other = (make_batch("steady", 2, backend=backend, dtype=dtype) for _ in range(2))
    seen, _ = env.reset(seed=2)
    kept = {k: np.array(v) for k, v in seen.items()}
    other.reset(seed=2)
    env.action_space.seed(2)
    for _ in range(3):
        for values in seen.values():
            values.fill(1e6)
        actions = env.action_space.sample()
        seen, reward, *_ = env.step(actions)
        theirs, their_reward, *_ = other.step(actions)
        same_tree(seen, theirs)
        np.testing.assert_array_equal(reward, their_reward)
    same_tree(env.reset(seed=2)[0], kept)


@pytest.mark.parametrize("name", MORE)
def test_backends_play_the_same_episode(name: str) -> None:
    """NumPy and torch agree to 1e-9 over an episode, and environments return NumPy."""
    ours, theirs = make_batch(name, 2), make_batch(name, 2, backend="torch")
    left, right = ours.reset(seed=6)[0], theirs.reset(seed=6)[0]
    ours.action_space.seed(6)
    for _ in range(ours.unwrapped.steps_per_episode):
        for field in left:
            assert type(right[field]) is np.ndarray
            np.testing.assert_allclose(left[field], right[field], rtol=1e-6, atol=1e-6)
        actions = ours.action_space.sample()
        left, reward, *_ = ours.step(actions)
        right, other_reward, *_ = theirs.step(actions)
        size = 1.0 + np.abs(reward)
        assert (np.abs(reward - other_reward) <= 1e-9 * size * 1e3).all()


# autoreset


def play_to_the_end(env: Any, seed: int = 9) -> tuple[Any, ...]:
    """The results of the last step of an episode of constant actions."""
    env.reset(seed=seed)
    for _ in range(env.unwrapped.steps_per_episode):
        result = env.step(np.full(env.action_space.shape, 3.0))
    assert result[3].all()
    return result


def test_autoreset_on_the_next_step() -> None:
    """Gymnasium's default: the step after the last ignores its action and resets."""
    env = make_batch("lost_sales", 2)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    last = play_to_the_end(env)
    assert "final_obs" not in last[4]
    observation, reward, terminated, truncated, info = env.step(np.full((2, 1), 3.0))
    assert not reward.any() and not terminated.any() and not truncated.any()
    other = make_batch("lost_sales", 2)
    other.reset(seed=9)
    expected, told = other.reset()
    same_tree(observation, expected)
    np.testing.assert_array_equal(info["tape_hash"], told["tape_hash"])


def test_autoreset_in_the_same_step() -> None:
    """The last observation is in `final_obs`, the returned one begins the next episode."""
    env = make_batch("lost_sales", 2, autoreset_mode="same_step")
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, reward, _, truncated, info = play_to_the_end(env)
    plain = make_batch("lost_sales", 2, autoreset_mode="disabled")
    last = play_to_the_end(plain)
    np.testing.assert_array_equal(reward, last[1])
    assert info["_final_obs"].all() and info["_final_info"].all()
    for i in range(2):
        same_tree(info["final_obs"][i], {k: v[i] for k, v in last[0].items()})
    same_tree(info["final_info"]["ledger"], last[4]["ledger"])
    same_tree(observation, plain.reset()[0])


def test_autoreset_can_be_disabled() -> None:
    """Then the caller resets, all replicas together, for they share a clock."""
    env = make_batch("lost_sales", 2, autoreset_mode="disabled")
    play_to_the_end(env)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros((2, 1)))
    with pytest.raises(ValueError, match="^reset_mask: "):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={"reset_mask": np.array([True, True])})
    env.step(np.zeros((2, 1)))


# sizes and imports


@pytest.mark.parametrize(("size", "changes"), [("medium", {}), ("large", {"horizon": 7})])
@pytest.mark.slow
def test_large_networks_reset_and_step(size: str, changes: dict[str, Any]) -> None:
    """Every size that is named can be built."""
    env = make_batch("steady", 1, size=size, **changes)
    env.reset(seed=1)
    env.action_space.seed(1)
    observation, reward, *_ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation) and np.isfinite(reward).all()


def test_importing_is_quick_and_pulls_in_no_trainer() -> None:
    """Registering ids must not cost half a second, nor load torch, pandas or Hydra."""
    code = (
        "import sys, time, gymnasium, numpy\n"
        "start = time.process_time()\n"
        "import stockyard.envs\n"
        "took = time.process_time() - start\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert took < 0.5, took\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_numpy_environment_loads_no_trainer() -> None:
    """Workers that only simulate stay small."""
    code = (
        "import sys, gymnasium, stockyard.envs\n"
        "env = gymnasium.make('stockyard/Replenishment-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
