"""The README's first command and the benchmark run, small."""

import json
import time

import gymnasium as gym
import numpy as np

import stockyard.envs  # noqa: F401  (registers the ids)
from stockyard.scripts import benchmark, demo


def test_demo_leaves_a_table_a_run_and_a_picture(tmp_path, monkeypatch):
    """What `make demo` prints must be where it says, and every batch is closed."""
    made, make = [], gym.make_vec
    monkeypatch.setattr(gym, "make_vec", lambda *a, **k: made.append(make(*a, **k)) or made[-1])
    picture = demo.run(tmp_path, steps=2_000, tapes=8)
    assert picture.stat().st_size > 10_000
    rows = json.loads((tmp_path / "comparison.json").read_text())["comparisons"]
    assert {row["name"] for row in rows} == {"naive", "newsvendor", "base_stock", "ppo"}
    assert (tmp_path / "ppo" / "run.json").is_file()
    assert made and all(envs.closed for envs in made)


def test_demo_says_what_it_runs(monkeypatch):
    """Numbers in a sentence are those of the environment."""
    assert "12 grocery products for 3 regions, 26 decisions" in demo.described()
    monkeypatch.setitem(demo.SPECIFICATION, "horizon", 21)
    assert "3 decisions" in demo.described()


def test_benchmark_measures_every_case():
    """A case that cannot run would drop out of the committed table."""
    figures = benchmark.measure(seconds=0.05)
    assert len(figures) == 7
    assert all(figure.median > 0 for figure in figures)


class Recorder(gym.Env):
    """Someone else's environment: episodes of five steps, slow to reset."""

    action_space = gym.spaces.Box(0.0, 1.0, (2,))

    def __init__(self):
        self.actions, self.resets, self.steps_left = [], 0, 0

    def reset(self, *, seed=None, options=None):
        """Takes a while."""
        time.sleep(0.005)
        self.resets, self.steps_left = self.resets + 1, 5
        return None, {}

    def step(self, action):
        """Refuses to go on after the end."""
        assert self.steps_left > 0
        self.steps_left -= 1
        self.actions.append(action)
        return None, 0.0, False, self.steps_left == 0, {}


def measured(name):
    """Figure and environment of a run of the stepping benchmark."""
    env = Recorder()
    case = benchmark.Case(name, 0.0, 0.0, "periods/s")
    return benchmark._stepping(case, env, seconds=0.0005), env


def test_peers_meet_the_actions_that_we_meet():
    """One list of random actions for all, drawn before the clock starts."""
    (_, one), (_, two) = measured("a"), measured("peer b")
    shared = min(len(one.actions), len(two.actions))
    np.testing.assert_array_equal(one.actions[:shared], two.actions[:shared])
    assert len({action.tobytes() for action in one.actions}) > 1


def test_resets_are_outside_the_clock():
    """Five steps take microseconds here, a reset five milliseconds."""
    figure, env = measured("peer")
    assert env.resets > 1
    assert figure.median > 5 / 0.005


def test_whole_episodes_take_the_same_actions_twice(monkeypatch):
    """A figure that hangs on unseeded actions cannot be measured again."""
    seen = []
    problem = {"id": "stockyard/Replenishment-v0", "num_envs": 1, "horizon": 21}
    for _ in range(2):
        env = gym.make_vec(**problem)
        taken = []
        monkeypatch.setattr(
            env, "step", lambda a, step=env.step, taken=taken: (taken.append(a), step(a))[1]
        )
        benchmark._episodes(benchmark.Case("", 0.0, 0.0, "periods/s"), env, repeats=1)
        seen.append(np.stack(taken))
    np.testing.assert_array_equal(*seen)
    assert (seen[0][0] != seen[0][1]).any()
