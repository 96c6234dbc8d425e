"""What shared networks see of retail worlds, mixtures of them, and PPO with a row per decision."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stockyard import agents
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.learners import hindsight, shared_ppo
from stockyard.agents.learners.hindsight import TrainedPolicy
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.mixture import MixedEvaluation, worlds_of
from stockyard.agents.learners.networks import Actor
from stockyard.agents.learners.rows import Rows, RowsVecEnv, earned
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.walk import Track
from stockyard.envs.tasks.task import shaped

BUY = {"id": "stockyard/Replenishment-v0", "scenario": "steady", "horizon": 28}
PLACE = {"id": "stockyard/Placement-v0", "scenario": "steady", "horizon": 10, "action": "residual"}
MIXTURE = {**BUY, "mixture": ["steady", "peak_event"]}
TASKS = {"buying": BUY, "placing": PLACE}
QUICK = {
    "n_envs": 2,
    "width": 8,
    "segment_steps": 2,
    "lookahead_steps": 1,
    "burn_in_steps": 0,
    "tape_steps": 4,
    "device": "cpu",
}


def seen(spec, num_envs=2, steps=0):
    """A layout, and an observation in its shapes after some steps of the middle action."""
    env = build(spec, num_envs=num_envs, split="test")
    observation, _ = env.reset(seed=0)
    for _ in range(steps):
        observation = env.step(env.action_space.sample() * 0.0)[0]
    layout = Layout.of(env)
    return layout, shaped(observation, layout.shapes)


@pytest.mark.parametrize("task", TASKS)
def test_features_are_the_same_in_both_backends(task):
    """One source: what PPO and the hindsight trainer see must not drift apart."""
    layout, fields = seen(TASKS[task], steps=3)
    rows, shared = layout.table(fields)
    assert rows.shape == (2, layout.num_products, layout.num_lanes, layout.num_features)
    assert shared.shape == (2, layout.num_globals)
    tensors = {name: torch.from_numpy(values) for name, values in fields.items()}
    for mine, theirs in zip(layout.table(tensors), (rows, shared), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scenario", ["fc_outage", "peak_event"])
@pytest.mark.parametrize("task", TASKS)
def test_features_stay_of_order_one(task, scenario):
    """A capacity of zero, an event or an outage must not blow a feature up."""
    spec = {**TASKS[task], "scenario": scenario, "horizon": None}
    env = build({k: v for k, v in spec.items() if v is not None}, num_envs=4, split="test")
    layout = Layout.of(env)
    observation, _ = env.reset(seed=0)
    for _ in range(min(env.unwrapped.steps_per_episode, 40)):
        for features in layout.table(shaped(observation, layout.shapes)):
            assert np.isfinite(features).all()
            assert np.abs(features).max() < 12.0
        observation = env.step(env.action_space.sample() * 0.0)[0]


@pytest.mark.parametrize("task", TASKS)
def test_features_are_the_same_at_every_size(task):
    """Weights of a small network must fit a medium one."""
    small, medium = (
        Layout.of(build({**TASKS[task], "size": size}, num_envs=1, split="test"))
        for size in ("small", "medium")
    )
    assert small.features == medium.features
    assert small.global_features == medium.global_features


def test_a_fuller_dock_is_seen_by_every_product():
    """Products share docks: the stock of one is congestion to all."""
    layout, fields = seen(BUY)
    more = {**fields, "yard": fields["yard"].copy()}
    more["yard"][:, 0] += 1000.0  # one product's
    assert not np.allclose(layout.table(more)[1], layout.table(fields)[1])
    np.testing.assert_array_equal(layout.table(more)[0][:, 1:], layout.table(fields)[0][:, 1:])


@pytest.mark.parametrize("task", TASKS)
def test_a_layout_survives_its_record(task):
    """run.json brings the same features back, and stays small."""
    layout, fields = seen(TASKS[task])
    text = json.dumps(layout.to_dict())
    assert len(text) < 100_000
    again = Layout.from_dict(json.loads(text))
    for mine, theirs in zip(again.table(fields), layout.table(fields), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_buying_starts_at_a_cover_of_lead_time_and_review():
    """By "rule": quoted lead time, the review and a week, of at most 90 days."""
    layout, fields = seen(BUY)
    actor = Actor(layout, "quantity", 8, "rule")
    action = actor({name: torch.from_numpy(values) for name, values in fields.items()})
    cover = (action.detach().numpy() + 1.0) * 45.0
    np.testing.assert_allclose(cover, fields["quoted_lead_time"] + 14.0, rtol=1e-4)


def test_placing_starts_at_the_standing_rule():
    """In the mode `residual` an untrained network earns what the rule earns."""
    env = build(PLACE, num_envs=3, split="test")
    network = TrainedPolicy(Actor(Layout.of(env), "quantity", 8, 0.0))
    rule = SimpleNamespace(predict=lambda *_, **__: (np.zeros(env.action_space.shape), None))
    mine, theirs = (rollout(policy, env, seed=0).returns for policy in (network, rule))
    np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_a_plain_rule_is_for_retail_tasks():
    """The message says where "rule" means something."""
    from stockyard.envs import textbook
    from stockyard.envs.textbook import Poisson

    spec = textbook.lost_sales(
        demand=Poisson(5), lead_time=1, holding_cost=1, penalty_cost=4, horizon=8
    )
    env = build(spec, num_envs=1, split="test")
    with pytest.raises(ValueError, match="initial_action: 'rule' is for retail tasks"):
        Actor(Layout.of(env), "quantity", 8, "rule")


def test_placing_in_shares_is_refused():
    """A share of the stock that stays is no decision about a centre."""
    with pytest.raises(ValueError, match="not in mode 'shares'"):
        Layout.of(build({**PLACE, "action": "shares"}, num_envs=1, split="test"))


def test_a_mixture_names_its_worlds():
    """One specification with a list, or a list of specifications."""
    worlds = worlds_of(MIXTURE)
    assert {name: spec["scenario"] for name, spec in worlds.items()} == {
        "steady": "steady",
        "peak_event": "peak_event",
    }
    assert worlds_of([BUY, BUY]) == {"steady": BUY, "steady-1": BUY}
    assert worlds_of({**BUY, "scenario": {"name": "mine"}}).keys() == {"mine"}
    for wrong in ([], "steady"):
        with pytest.raises(ValueError, match="mixture: must"):
            worlds_of({**BUY, "mixture": wrong})


def test_every_world_of_a_mixture_counts_alike():
    """Each score in the scale of its world, by hand."""
    parts = {"a": SimpleNamespace(mean=50.0), "b": SimpleNamespace(mean=300.0)}
    mixed = MixedEvaluation(parts, {"a": 100.0, "b": 1000.0})
    assert mixed.mean == pytest.approx((0.5 + 0.3) / 2 * 550.0)


def test_a_generalist_is_trained_on_all_worlds(tmp_path):
    """Updates take turns; the curve tells every scenario; the weights play any of them."""
    learner = hindsight.Learner(**QUICK, initial_action="rule")
    learner.train(MIXTURE, tmp_path, total_steps=16, eval_tapes=2, eval_every=8)
    entry = RunFolder(tmp_path).read_evaluations()[-1]
    assert entry["scenarios"].keys() == {"steady", "peak_event"}
    record = RunFolder(tmp_path).read_record()
    assert record["environment"]["mixture"] == ["steady", "peak_event"]
    policy = agents.load(tmp_path)
    for spec in (BUY, {**BUY, "scenario": "real"}, {**BUY, "size": "medium", "horizon": 7}):
        assert np.isfinite(agents.evaluate(policy, spec, num_tapes=2).returns).all()


@pytest.mark.parametrize("task", TASKS)
def test_what_products_earn_sums_to_the_reward(task):
    """A row's own money is a part of the environment's reward, nothing else."""
    env = build({**TASKS[task], "horizon": 28}, num_envs=1, split="train").unwrapped
    track = Track(env, 3, 0, 4)
    part = np.full(env.world.network.num_products, 1.0 / env.world.network.num_products)
    view = track.opening()
    env.reset(seed=0)  # row 0 of the track is the first tape of seed 0
    for _ in range(4):
        action = np.zeros((3, *env.single_action_space.shape))
        after, stretch = track.step(view, action)
        own, total = earned(track.params, view, after, stretch, part)
        np.testing.assert_allclose(own.sum(axis=1), total, rtol=1e-9)
        assert total[0] == pytest.approx(env.step(action[:1])[1][0], rel=1e-9)
        view = after


def test_rows_decide_as_the_network_does():
    """The network that is saved decides as the policy that was trained."""
    env = build(BUY, num_envs=1, split="train")
    layout = Layout.of(env)
    actor = Actor(layout, "quantity", 8, "rule", "rows")
    rows = Rows(env.unwrapped, actor, 2, 0, 0.5)
    vec = RowsVecEnv({"steady": rows}, 0.9)
    learner = shared_ppo.Learner(n_envs=2, n_steps=2, batch_size=8, width=8)
    model = learner._model(vec, actor, 0, None)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.policy.action_net.weight, std=0.3)
    observed = rows.reset()
    offsets, _ = model.predict(observed, deterministic=True)
    model.policy.export(actor)
    with torch.inference_mode():
        expected = actor.placed(
            torch.from_numpy(offsets.reshape(2, -1, 1, 1)), rows._torch, rows._seen
        )
        np.testing.assert_allclose(actor(rows._torch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [MIXTURE, PLACE], ids=["buying", "placing"])
def test_ppo_leaves_plain_tensors_and_goes_on(spec, tmp_path):
    """The best model opens without pickle and plays; a second part goes on from the first."""
    learner = shared_ppo.Learner(n_envs=2, n_steps=2, batch_size=64, n_epochs=1, width=8)
    result = learner.train(spec, tmp_path, total_steps=300, eval_tapes=2, eval_every=200)
    saved = torch.load(tmp_path / "best_model.zip", weights_only=True)
    assert set(saved) == {"actor"}
    again = learner.train(spec, tmp_path, total_steps=900, eval_tapes=2, resume=True)
    assert again.steps >= 900 > result.steps
    for file in ("model.zip", "evaluations.json", "model_card.md"):
        (tmp_path / file).unlink()  # run.json, the best model and the configuration are kept
    policy = agents.load(tmp_path)
    one = {k: v for k, v in spec.items() if k != "mixture"}
    assert np.isfinite(agents.evaluate(policy, one, num_tapes=2).returns).all()


def test_a_killed_run_keeps_the_time_it_took(tmp_path, monkeypatch):
    """Every checkpoint notes it: without a proper end it would be lost."""

    def killed(self):
        if RunFolder(tmp_path).checkpoint_steps():
            raise MemoryError
        return True

    monkeypatch.setattr(shared_ppo._Figures, "_on_step", killed)
    learner = shared_ppo.Learner(n_envs=2, n_steps=2, batch_size=64, n_epochs=1, width=8)
    with pytest.raises(MemoryError):
        learner.train(BUY, tmp_path, total_steps=300, eval_tapes=0, checkpoint_every=24)
    assert RunFolder(tmp_path).read_record()["seconds"] > 0.0


def test_ppo_with_shared_rows_refuses_quantities():
    """The message says which learner to take."""
    with pytest.raises(ValueError, match="take agent=ppo or agent=hindsight"):
        shared_ppo.Learner().check({**BUY, "action": "quantity"})


@pytest.mark.parametrize("structure", ["order_up_to", "capped"])
def test_ppo_with_shared_rows_refuses_structures_of_textbook_problems(structure):
    """They would be taken for plain offsets without a word."""
    with pytest.raises(ValueError, match=f"structure: ppo_shared learns .*; for '{structure}'"):
        shared_ppo.Learner(structure=structure)
