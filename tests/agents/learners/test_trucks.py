"""Learners that fill trucks: masks of what is possible, and a limit with a price."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from environments import TRUCKS

from stockyard import agents
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.learners import hindsight, sb3
from stockyard.agents.learners.adapter import VectorEnvAdapter
from stockyard.agents.learners.constraint import DualAscent, PricedCost, checked_price
from stockyard.agents.learners.joined import JoinedVecEnv
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.networks import Actor
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.sb3 import Learner
from stockyard.envs.network.world import simulate
from stockyard.envs.tasks.task import shaped
from stockyard.envs.wrappers import ObservationTransform, TransformObservations

SPEC = {"id": TRUCKS, "horizon": 16, "action": "trucks"}
SETTINGS: dict[str, Any] = {"n_envs": 4, "n_steps": 8, "batch_size": 16, "n_epochs": 1}


def trained(folder: Path, spec: Any, algorithm: str, **settings: Any) -> Path:
    """The folder of a short training."""
    learner = Learner(algorithm, **{**SETTINGS, **settings})
    done = learner.train(spec, folder, total_steps=128, eval_tapes=2, eval_every=64)
    return Path(done.folder)


def test_a_masked_learner_asks_for_no_truck_that_is_not_there(tmp_path: Path) -> None:
    """While it trains and once it is loaded, in a batch and alone."""
    policy = agents.load(trained(tmp_path / "run", SPEC, "MaskablePPO"))
    env = build(SPEC, num_envs=3, split="test")
    observation, _ = env.reset(seed=0)
    lanes = env.unwrapped.task.sizes["L"]
    for _ in range(16):
        action, _ = policy.predict(observation)
        seen = shaped(observation, env.unwrapped.field_shapes)
        assert (action[:, :lanes] <= seen["trucks_at_hand"] + 1e-6).all()
        alone, _ = policy.predict({name: values[0] for name, values in observation.items()})
        np.testing.assert_array_equal(alone, action[0])
        drawn, _ = policy.predict(observation, deterministic=False)
        assert (drawn[:, :lanes] <= seen["trucks_at_hand"] + 1e-6).all()
        observation, *_ = env.step(action)
    assert np.isfinite(rollout(policy, env, seed=0).returns).all()


def test_masks_are_for_tasks_that_have_some(tmp_path: Path) -> None:
    """The error names the setting, before anything is trained."""
    with pytest.raises(ValueError, match="algorithm: MaskablePPO is for tasks that mask"):
        trained(tmp_path / "run", {"id": "stockyard/Replenishment-v0"}, "MaskablePPO")


def test_a_trained_correction_is_judged_around_its_own_rule(tmp_path: Path) -> None:
    """Also where the environment that it is judged in stands on another."""
    rule = {"name": "truck_hold", "hold": -0.3, "patience": 0.4}
    for k, own in enumerate(
        ({"action": "residual", "rules": {"dispatch": rule}}, {"action": {"residual": rule}})
    ):
        folder = trained(tmp_path / str(k), {**SPEC, **own}, "PPO", against_rule=True)
        assert RunFolder(folder).read_record()["action_mode"] == {"residual": rule}
        policy = agents.load(folder)
        assert policy.action_mode == {"residual": rule}
        result = agents.evaluate(policy, {"id": TRUCKS, "horizon": 16}, num_tapes=2)
        standing = {"id": TRUCKS, "horizon": 16, "action": "residual"}
        policy.action_mode = "residual"
        assert (agents.evaluate(policy, standing, num_tapes=2).returns != result.returns).all()


def test_a_shared_network_is_judged_around_the_rule_that_it_corrects(tmp_path: Path) -> None:
    """While it trains, where it has not yet moved, and once it is loaded."""
    rule = {"name": "truck_hold", "hold": -0.3, "patience": 0.4}
    spec = {"id": TRUCKS, "horizon": 16, "action": {"residual": rule}}
    learner = hindsight.Learner(
        n_envs=4, width=8, segment_steps=4, lookahead_steps=2, burn_in_steps=0, tape_steps=16
    )
    done = learner.train(spec, tmp_path / "run", total_steps=32, eval_tapes=2, eval_every=32)
    env = build(spec, num_envs=2, split="validation")
    env.reset(seed=0)
    still = np.zeros(env.action_space.shape, dtype=np.float32)
    standing = sum(env.step(still)[1] for _ in range(16)).mean() / 16.0
    first = RunFolder(done.folder).read_evaluations()[0]
    assert first["steps"] == 0 and first["mean_per_period"] == pytest.approx(standing)
    policy = agents.load(done.folder)
    assert policy.action_mode == {"residual": rule}
    elsewhere = {"id": TRUCKS, "horizon": 16, "scenario": "plain_lanes"}
    assert np.isfinite(agents.evaluate(policy, elsewhere, num_tapes=2).returns).all()


def test_one_model_learns_several_worlds_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every world has rows of its own, seen through the transform that the model is kept with."""
    mixture = {**SPEC, "mixture": ["steady", "late_returns"]}  # whose static scales differ
    used = []
    wrap = sb3._wrapped
    monkeypatch.setattr(sb3, "_wrapped", lambda *parts: used.append(parts[1]) or wrap(*parts))
    folder = trained(tmp_path / "run", mixture, "MaskablePPO")
    assert len(used) == 2
    kept = RunFolder(folder).read_record()["transform"]
    assert [json.loads(json.dumps(transform.to_dict())) for transform in used] == [kept, kept]
    entry = RunFolder(folder).read_evaluations()[-1]
    assert entry["scenarios"].keys() == {"steady", "late_returns"}
    policy = agents.load(folder)
    for scenario in ("steady", "late_returns", "peak_days"):
        spec = {**SPEC, "scenario": scenario}
        assert np.isfinite(agents.evaluate(policy, spec, num_tapes=2).returns).all()


def test_joined_batches_are_those_of_their_worlds() -> None:
    """Rows come in order, each with the tapes, masks and rewards of its own batch."""

    def adapter(scenario: str, num_envs: int) -> VectorEnvAdapter:
        spec = {**SPEC, "scenario": scenario}
        envs = build(spec, num_envs=num_envs, split="train")
        transform = ObservationTransform.for_env(envs, scale=True, flatten=True)
        return VectorEnvAdapter(TransformObservations(envs, transform), 10.0)

    joined = JoinedVecEnv({name: adapter(name, k + 1) for k, name in enumerate(("steady", "q4"))})
    seeds = joined.seed(5)
    alone = adapter("q4", 2)
    alone._seeds = seeds[1:]  # type: ignore[assignment]
    seen, own = joined.reset(), alone.reset()
    assert joined.num_envs == 3 and len(set(seeds)) == 3
    np.testing.assert_array_equal(seen[1:], own)
    for _ in range(17):  # over the end of an episode
        action = np.stack([joined.action_space.sample() for _ in range(3)])
        seen, rewards, done, infos = joined.step(action)
        own, reward, ended, _ = alone.step(action[1:])
        np.testing.assert_array_equal(seen[1:], own)
        np.testing.assert_array_equal(rewards[1:], reward)
        np.testing.assert_array_equal(done[1:], ended)
        assert len(infos) == 3
        masks = joined.env_method("action_masks")
        np.testing.assert_array_equal(masks[1:], alone.env_method("action_masks"))
    assert joined.get_attr("num_envs") == [1, 2, 2]
    with pytest.raises(ValueError, match="mixture: actions of medium"):
        other = build({**SPEC, "size": "medium"}, num_envs=1, split="train")
        wrong = SimpleNamespace(
            observation_space=joined.observation_space, action_space=other.single_action_space
        )
        JoinedVecEnv({"steady": adapter("steady", 1), "medium": wrong})  # type: ignore[dict-item]


def test_a_limit_that_is_broken_becomes_dear(tmp_path: Path) -> None:
    """The price rises with the mean cost above the limit, falls below it, and is kept."""
    env = build({**SPEC, "action": "threshold"}, num_envs=2, split="train")
    priced, folder = PricedCost(env, 10.0), RunFolder(tmp_path / "run")
    ascent = DualAscent([priced], 100.0, folder)
    ascent.model = SimpleNamespace(logger=SimpleNamespace(record=lambda *_: None))  # type: ignore
    priced.reset(seed=0)
    plain = build({**SPEC, "action": "threshold"}, num_envs=2, split="train")
    plain.reset(seed=0)
    action = np.ones(env.action_space.shape, dtype=np.float32)  # the most patient
    costs = []
    for _ in range(8):
        charged, (_, reward, _, _, info) = priced.step(action)[1], plain.step(action)
        np.testing.assert_allclose(charged, reward - 10.0 * (info["cost"] - 0.01))
        costs.append(info["cost"].mean())
        ascent._on_step()
    ascent._on_rollout_end()
    assert priced.price == pytest.approx(10.0 + 100.0 * (np.mean(costs) - 0.01))
    assert folder.read_record()["cost_price"] == pytest.approx(priced.price)
    priced.last_cost, priced.price = 0.0, 0.5
    ascent._on_step()
    ascent._on_rollout_end()
    assert priced.price == 0.0


def test_worlds_of_a_mixture_share_one_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of their mean cost."""
    given = []
    monkeypatch.setattr(
        sb3, "DualAscent", lambda priced, *rest: given.append(priced) or DualAscent(priced, *rest)
    )
    settings = {"cost_price": {"initial": 500.0, "rate": 1e4}}
    mixture = {**SPEC, "action": "threshold", "mixture": ["steady", "late_returns"]}
    record = RunFolder(trained(tmp_path / "run", mixture, "PPO", **settings)).read_record()
    ((first, second),) = given
    assert first is not second and first.price == second.price == record["cost_price"] != 500.0
    joint = [SimpleNamespace(last_cost=cost, price=7.0, limit=0.01) for cost in (0.02, 0.06)]
    ascent = DualAscent(joint, 100.0, RunFolder(tmp_path / "both"))  # type: ignore[arg-type]
    ascent.model = SimpleNamespace(logger=SimpleNamespace(record=lambda *_: None))  # type: ignore
    ascent._on_step()
    ascent._on_rollout_end()
    assert [each.price for each in joint] == [pytest.approx(10.0)] * 2


def test_a_constrained_training_goes_on_at_its_price(tmp_path: Path) -> None:
    """run.json has the price, from which a resumed run goes on."""
    settings = {"cost_price": {"initial": 500.0, "rate": 10.0}}
    folder = trained(tmp_path / "run", {**SPEC, "action": "threshold"}, "PPO", **settings)
    assert RunFolder(folder).read_record()["cost_price"] == pytest.approx(500.0, abs=20.0)


def test_wrong_prices_are_named() -> None:
    """A limit that is not there, or a number that makes no sense."""
    with pytest.raises(ValueError, match="takes initial and rate"):
        checked_price({"price": 1.0})
    with pytest.raises(ValueError, match=r"cost_price\.rate"):
        checked_price({"rate": -1.0})
    with pytest.raises(ValueError, match="no cost and no limit"):
        PricedCost(build({"id": "stockyard/Placement-v0"}, num_envs=1, split="train"), 1.0)


def test_a_shared_network_begins_at_the_rule_and_learns(tmp_path: Path) -> None:
    """By gradients through trucks in fractions; weights are loaded, and fit other worlds."""
    rule = {"name": "truck_hold", "hold": -0.1, "patience": 0.6, "spot_patience": 0.5}
    spec = {"id": TRUCKS, "horizon": 16, "action": "residual", "rules": {"dispatch": rule}}
    learner = hindsight.Learner(
        n_envs=4, width=8, segment_steps=4, lookahead_steps=2, burn_in_steps=0, tape_steps=16
    )
    done = learner.train(
        spec, tmp_path / "run", total_steps=64, eval_tapes=2, eval_every=32, eval_seed=1
    )
    env = build(spec, num_envs=2, split="validation")
    fresh = hindsight.TrainedPolicy(Actor(Layout.of(env), "quantity", 8))
    env.reset(seed=1)
    still = np.zeros(env.action_space.shape, dtype=np.float32)
    standing = sum(env.step(still)[1] for _ in range(16))
    np.testing.assert_allclose(rollout(fresh, env, seed=1).returns, standing)
    policy = agents.load(done.folder)
    assert (rollout(policy, env, seed=1).returns != standing).any()
    other = build({**spec, "scenario": "plain_lanes"}, num_envs=2, split="validation")
    moved = policy.for_env(other)
    assert np.isfinite(rollout(moved, other, seed=1).returns).all()
    with pytest.raises(ValueError, match="'threshold' and 'residual'"):
        Layout.of(build(SPEC, num_envs=1, split="train"))


def test_gradients_of_the_fluid_relaxation_are_those_of_its_costs() -> None:
    """Trucks in fractions: what an action changes is what a small step of it changes."""
    spec = {"id": TRUCKS, "horizon": 8, "backend": "torch", "dtype": "float64"}
    base: Any = build({**spec, "action": "threshold"}, num_envs=2, split="train").unwrapped
    base.reset(seed=0)
    params = dataclasses.replace(base.params, fluid_trucks=True)
    view = base._current

    def money(action: Any) -> Any:
        decided = base.task.decode(params, "threshold", action, view).decisions
        _, stretch = simulate(
            base.world, params, view.state, view.tape, view.period, 1, decided, None
        )
        return sum(stretch.ledger.values()).sum()

    rng = np.random.default_rng(0)
    action = torch.tensor(rng.uniform(-0.5, 0.5, base.action_space.shape), requires_grad=True)
    (slope,) = torch.autograd.grad(money(action), action)
    assert torch.isfinite(slope).all() and (slope != 0.0).any()
    agree = 0
    for entry in range(20):
        bump = torch.zeros_like(action)
        bump[0, entry] = 1e-6
        change = (money(action + bump) - money(action - bump)) / 2e-6
        agree += bool(torch.isclose(change, slope[0, entry], rtol=1e-4, atol=1e-4))
    assert agree >= 16  # the others stand on a kink
