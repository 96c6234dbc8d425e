"""The bound where trucks are filled: no policy's freight costs less, on any tape."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import TRUCKS

from stockyard import agents
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.oracles.perfect_information import perfect_information, program
from stockyard.agents.oracles.perfect_information.linear_program import solve, solve_whole

RULES: dict[str, dict[str, Any]] = {
    "all_now": {},
    "full_only": {"hub_slack": 3},
    "due_and_top_up": {"patience": 0.4, "spot_patience": 0.8},
    "truck_hold": {"direct_hold": -0.05, "hub_hold": 0.1, "line_hold": -0.5, "hub_slack": 1},
}
SCENARIOS = ("truck_shortage", "late_returns", "big_parcels")
WAVES = 24


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_dispatcher_beats_the_bound(scenario: str) -> None:
    """L13: rules, chance, and never sending anything, with linehauls, hired trucks and carriers."""
    spec = {"id": TRUCKS, "scenario": scenario, "horizon": WAVES}
    bound = perfect_information(spec, range(2), time_limit=0.5)
    assert bound.is_optimal.all()
    env = build(spec, num_envs=2, split="test", action_mode="quantity")
    for rule, parameters in RULES.items():
        earned = rollout(agents.make(rule, env, **parameters), env, seed=0)
        assert (earned.returns <= bound.total).all(), rule
    wild = build({**spec, "action": "threshold"}, num_envs=2, split="test")
    for spread in (0.0, 1.0):
        wild.reset(seed=0)
        rng, total = np.random.default_rng(0), 0.0
        for _ in range(WAVES):
            action = rng.uniform(-spread, spread, wild.action_space.shape).astype(np.float32)
            total = total + wild.step(action)[1]
        assert (total <= bound.total).all()
    env.reset(seed=0)
    nothing = np.zeros(env.action_space.shape, dtype=np.float32)
    assert (sum(env.step(nothing)[1] for _ in range(WAVES)) <= bound.total).all()


def test_whole_trucks_make_the_bound_tighter() -> None:
    """Branch and bound finds what fractions of trucks hide; the solver's answer is not above it."""
    env: Any = build({"id": TRUCKS, "horizon": 12}, num_envs=1, split="test")
    env.reset(seed=0)
    model = program(env)
    fluid, whole = solve(model), solve_whole(model, 3.0)
    assert whole < fluid.bound
    assert model.whole is not None and model.whole.sum() == 2 * 12 * env.unwrapped.task.sizes["L"]


def test_without_a_time_limit_the_bound_is_that_of_fractions() -> None:
    """A board's bounds may not depend on how fast the machine is."""
    spec = {"id": TRUCKS, "horizon": 12}
    env: Any = build(spec, num_envs=1, split="test")
    env.reset(seed=0)
    assert perfect_information(spec, [0]).total == pytest.approx(solve(program(env)).bound)


def test_who_gives_more_time_gets_more_than_the_cached_fractions(tmp_path: Path) -> None:
    """And who gives no more than was given finds what is there."""
    spec, cache = {"id": TRUCKS, "horizon": 12}, tmp_path / "bounds.jsonl"
    fractions = perfect_information(spec, [0], cache=cache)
    whole = perfect_information(spec, [0], cache=cache, time_limit=3.0)
    assert whole.total < fractions.total
    assert perfect_information(spec, [0], cache=cache, time_limit=2.0).total == whole.total
    assert len(cache.read_text().splitlines()) == 2


@pytest.mark.parametrize("limit", ["fleet_size", "driver_hours", "spot_limit", "carrier_limit"])
def test_more_trucks_never_lower_the_bound(limit: str) -> None:
    """L10: whatever there is more of, on the same tape from the same start."""
    env: Any = build({"id": TRUCKS, "horizon": 16}, num_envs=1, split="test").unwrapped
    env.reset(seed=1)
    found = solve(program(env))
    limits = {**env.tape.limits, limit: env.tape.limits[limit] * 1.5}
    env._view = env._view._replace(tape=dataclasses.replace(env.tape, limits=limits))
    assert solve(program(env)).bound >= found.bound - found.gap
