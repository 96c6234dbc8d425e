"""The evaluator on a problem whose rewards are known."""

import gymnasium as gym
import numpy as np
import pytest
import tiny_network
from tiny_network import Constant, Perfect

from stockyard import agents
from stockyard.agents import evaluate
from stockyard.envs import textbook

SPEC = {"id": tiny_network.ID, "horizon": 16}


def test_the_best_policy_earns_what_it_must():
    """A policy that hits every target loses nothing."""
    evaluation = evaluate(Perfect(), SPEC, num_tapes=5)
    assert evaluation.num_tapes == 5
    assert evaluation.periods == 16
    np.testing.assert_allclose(evaluation.returns, 0.0, atol=1e-10)


def test_the_accounts_sum_to_the_returns():
    """Money that is in no account cannot be explained."""
    evaluation = evaluate(Constant(), SPEC, num_tapes=5)
    np.testing.assert_allclose(sum(evaluation.ledger.values()), evaluation.returns)
    np.testing.assert_allclose(evaluation.per_period_mean * 16, evaluation.returns)


def test_warmup_is_left_out_and_the_rest_is_the_same():
    """With the same tape, the whole is the warm-up and the rest."""
    whole = evaluate(Constant(), SPEC, num_tapes=3)
    late = evaluate(Constant(), SPEC, num_tapes=3, warmup=4)
    assert (late.periods, late.warmup) == (12, 4)
    assert (late.returns > whole.returns).all()
    longer = evaluate(Constant(), SPEC, num_tapes=3, warmup=4, periods=12)
    np.testing.assert_array_equal(longer.returns, late.returns)


@pytest.mark.parametrize("warmup", [3, -2])
def test_a_warmup_of_half_a_step_is_refused(warmup):
    """The rewards of a step cannot be divided."""
    with pytest.raises(ValueError, match="multiple of periods_per_step"):
        evaluate(Constant(), SPEC, num_tapes=3, warmup=warmup)


def test_a_warmup_without_end_is_refused():
    """Nothing would be left to count."""
    with pytest.raises(ValueError, match="leaves none of 16"):
        evaluate(Constant(), SPEC, num_tapes=3, warmup=16)


def test_periods_are_rounded_up_to_whole_steps():
    """Half a step cannot be run."""
    assert evaluate(Constant(), SPEC, num_tapes=1, periods=5).periods == 6


def test_a_built_environment_gives_its_size_and_is_left_alone():
    """Whoever evaluates in the middle of an episode goes on where it was."""
    envs = gym.make_vec(num_envs=4, **SPEC)
    before, _ = envs.reset(seed=1)
    evaluation = evaluate(Constant(), envs)
    assert evaluation.num_tapes == 4
    np.testing.assert_array_equal(
        evaluation.returns, evaluate(Constant(), SPEC, num_tapes=4).returns
    )
    after, *_ = envs.step(envs.action_space.sample())
    assert after["elapsed"][0] == before["elapsed"][0] + 2


def test_splits_and_seeds_choose_the_tapes():
    """Held-out tapes are worth something only if they are others."""
    test = evaluate(Constant(), SPEC, num_tapes=4)
    assert test.split == "test"
    assert (evaluate(Constant(), SPEC, num_tapes=4, split="train").returns != test.returns).all()
    np.testing.assert_array_equal(
        evaluate(Constant(), SPEC, num_tapes=3, seed=1).returns, test.returns[1:]
    )


def test_the_policy_chooses_the_action_mode():
    """A policy in units runs where the environment would take another mode."""
    spec = {**SPEC, "action": "unit"}
    np.testing.assert_allclose(evaluate(Perfect(), spec, num_tapes=2).returns, 0.0, atol=1e-10)


def test_a_metric_that_is_not_defined_in_a_step_is_left_out():
    """A fill rate of nothing is no number, and must not make the mean none."""
    evaluation = evaluate(Constant(), SPEC, num_tapes=64)
    assert np.isfinite(evaluation.metrics["fill_rate"]).all()
    assert (evaluation.metrics["fill_rate"] <= 1.0).all()


def test_a_specification_without_an_id_is_refused():
    """The error names what is missing."""
    with pytest.raises(ValueError, match="needs an 'id'"):
        evaluate(Constant(), {"horizon": 4})


def test_a_policy_with_memory_gets_its_state_back():
    """The state of one call is the argument of the next, and the first begins an episode."""
    seen = []

    class Counting(Constant):
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            seen.append((state, episode_start.all(), episode_start.any()))
            return super().predict(observation)[0], (state or 0) + 1

    evaluate(Counting(), SPEC, num_tapes=2)
    assert [state for state, _, _ in seen] == [None, *range(1, 8)]
    assert [begins for _, begins, _ in seen] == [True] + [False] * 7


def test_only_a_built_batch_sets_the_number_of_tapes():
    """One tape has no standard error; a single environment is not a wish for one tape."""
    problem = textbook.newsvendor(textbook.Poisson(5), holding_cost=1, penalty_cost=9, horizon=3)
    single = gym.make(**problem)
    evaluation = evaluate(agents.make("naive", single), single)
    assert evaluation.num_tapes == 256 and evaluation.standard_error > 0
    assert evaluate(agents.make("naive", single), problem).num_tapes == 256
    batch = gym.make_vec(num_envs=2, **problem)
    assert evaluate(agents.make("naive", batch), batch).num_tapes == 2
