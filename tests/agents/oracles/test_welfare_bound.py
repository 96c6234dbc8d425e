"""The planner's bound: no terms bring more to all parties together, on any tape."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from environments import RESTOCK

from stockyard import agents
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.oracles.perfect_information import perfect_information, program
from stockyard.agents.oracles.perfect_information.facts import read
from stockyard.agents.oracles.perfect_information.linear_program import solve
from stockyard.agents.oracles.perfect_information.model import program_of

RULES: dict[str, dict[str, Any]] = {
    "no_limit": {},
    "adaptive_need": {"days": 30.0, "power": 0.5},
    "turn_and_earn": {"earned_days": 40.0, "least_days": 10.0},
    "constant_price": {"price": 8.0},
    "auction": {"overbook": 1.2, "floor": 3.0, "markup": 0.3, "free_days": 10.0},
}
PLAYFUL = {"like": "steady", "name": "playful", "sellers": {"kinds": [0.0, 0.5, 0.5]}}


def made(**changes: Any) -> Any:
    """One environment just reset, unwrapped."""
    spec = {"id": RESTOCK, "horizon": 56, "action": "quantity", **changes}
    env: Any = build(spec, num_envs=2, split="test")
    env.reset(seed=0)
    return env.unwrapped


@pytest.mark.parametrize("scenario", ["q4", "space_shock", "seller_launches", PLAYFUL])
def test_no_terms_beat_the_planner(scenario: Any) -> None:
    """L13, with congestion, sellers who send units themselves, and price cuts that draw customers.

    Volatility costs nothing here: the bound does not count it.
    """
    spec = {"id": RESTOCK, "scenario": scenario, "horizon": 56, "objective": {"volatility": 0}}
    bound = perfect_information(spec, range(2))
    assert bound.is_optimal.all()
    env = build(spec, num_envs=2, split="test", action_mode="quantity")
    for rule, parameters in RULES.items():
        earned = rollout(agents.make(rule, env, **parameters), env, seed=0)
        assert (earned.returns <= bound.total).all(), rule
    wild = build({**spec, "action": "hybrid"}, num_envs=2, split="test")
    wild.reset(seed=0)
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(2):
        action = rng.uniform(-1.0, 1.0, wild.action_space.shape).astype(np.float32)
        total = total + wild.step(action)[1]
    assert (total <= bound.total).all()


def test_price_cuts_that_draw_customers_are_in_the_bound() -> None:
    """Limits that past sales earn make sellers cut prices; without `drawn` columns this fails."""
    spec = {"id": RESTOCK, "scenario": PLAYFUL, "horizon": 56, "action": "quantity"}
    env = build(spec, num_envs=2, split="test")
    rule = agents.make("turn_and_earn", env, earned_days=40.0, least_days=5.0)
    observation, _ = env.reset(seed=0)
    info = env.step(rule.predict(observation)[0])[-1]
    assert (info["metrics"]["price_cut"] > 0.0).all()


def test_more_space_and_labour_never_lower_the_bound() -> None:
    """L10, through the majorant of congested docks too."""
    facts = read(made(horizon=28), 0)
    found = solve(program_of(facts))
    before = found.bound - found.gap
    for field in ("storage_capacity", "receiving_capacity", "yard_capacity"):
        limits = {**facts.limits, field: facts.limits[field] * 1.3}
        assert solve(program_of(dataclasses.replace(facts, limits=limits))).bound >= before, field


def test_the_bound_is_for_all_parties_together() -> None:
    """Where payments between parties count, a planner's surplus bounds nothing."""
    with pytest.raises(ValueError, match="weights 1"):
        program(made(objective="platform"))
