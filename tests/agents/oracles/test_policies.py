"""Optimal policies play in the environments, and earn there what the oracles say.

Each reads the observation of its world; a field or an axis read wrongly shows in the cost. Seeds
are fixed, and the statistics allow four standard errors.
"""

import subprocess
import sys

import numpy as np
import pytest

from stockyard.agents import evaluate, oracles
from stockyard.agents.oracles import known_answers
from stockyard.agents.policy import Policy
from stockyard.envs import textbook

TABLE = {instance.id: instance for instance in known_answers.load_table()}

PLAYED = {
    **{
        name: TABLE[name].build()
        for name in (
            "A1c",
            "A2_Ex4.7_mu6",
            "A3a",
            "A3a/on-hand",
            "A4_fixed_cost",
            "A4_geometric_L1_p4",
            "A4_poisson_L3_p9",
            "A6_owmr_tiny",
            "A7_serial_p19",
            "B5",
            "B6",
            "C7",
            "C8/6",
            "D2/a",
            "D3",
        )
    },
    "dual-0-3": textbook.dual_sourcing(textbook.Uniform(0, 4), 3, 0, 0, 10, 5, 95),
    "dual-1-4": textbook.dual_sourcing(textbook.Uniform(0, 4), 4, 1, 0, 10, 5, 95),
    "dual-2-2": textbook.dual_sourcing(textbook.Uniform(0, 4), 2, 2, 3, 2, 5, 95),
    "lost-0": textbook.lost_sales(textbook.Poisson(5), 0, 1, 9, 10),
    "lost-2-fixed": textbook.lost_sales(textbook.NegativeBinomial(3, 8), 2, 1, 9, 10),
    "restock-volumes": textbook.restock_limit(
        [textbook.Poisson(2), textbook.Poisson(1)], 12, 1, [10, 6], 1, [2, 1]
    ),
    "batch-two-trucks": textbook.batch_dispatch(textbook.Poisson(9), 8, 30, 1, max_trucks=2),
    "stores-three": textbook.one_warehouse(textbook.Pmf((0.5, 0.5)), 1, 1, 0.5, 1, 9, 3),
    "serial-whole": textbook.serial(textbook.Poisson(4), (1, 2, 1), (3, 2, 1), 20),
    **{
        f"serial-{'-'.join(map(str, leads))}-{charged}": textbook.serial(
            textbook.Poisson(5), leads, costs, 30, charge_in_transit=charged
        )
        for leads, costs in (((0, 0, 3), (5, 3, 1)), ((0, 2, 0), (5, 3, 1)), ((1, 0), (3, 1)))
        for charged in (True, False)
    },
    "spillover-no-limit": textbook.spillover(textbook.Poisson(2), 1, 8, 2, num_locations=2),
}


@pytest.mark.parametrize("name", PLAYED)
def test_optimal_policies_earn_the_optimal_cost(name: str) -> None:
    """The average over 300 tapes of 300 periods, after a warm-up."""
    instance = PLAYED[name]
    solution = oracles.solve(instance)
    assert isinstance(solution.policy, Policy)
    result = evaluate(solution.policy, instance, periods=300, warmup=100, num_tapes=300, seed=11)
    assert result.standard_error <= 0.02 * solution.cost, "proves nothing"
    assert abs(-result.mean - solution.cost) <= 4.0 * result.standard_error


@pytest.mark.parametrize("name", ["B1", "C2", "C3"])
def test_one_period_optima_are_earned(name: str) -> None:
    """Horizon 1: every tape is one draw."""
    instance = TABLE[name].build()
    solution = oracles.solve(instance)
    result = evaluate(solution.policy, instance, periods=1, num_tapes=4000, seed=11)
    assert abs(-result.mean - solution.cost) <= 4.0 * result.standard_error


def test_a_single_observation_gives_a_single_action() -> None:
    """Without the batch axis, as Gymnasium's single environments return it."""
    policy = oracles.solve(textbook.lost_sales(textbook.Poisson(5), 2, 1, 4)).policy
    seen = {"on_hand": np.array([3.0]), "on_order_quoted": np.array([2.0, 0.0])}
    single, _ = policy.predict(seen)
    batch, _ = policy.predict({name: values[None] for name, values in seen.items()})
    assert single.shape == (1,) and batch.shape == (1, 1)
    assert single == batch[0]


def test_states_beyond_the_table_take_its_edge() -> None:
    """More stock than was ever considered orders nothing."""
    policy = oracles.solve(textbook.lost_sales(textbook.Poisson(5), 2, 1, 4)).policy
    seen = {"on_hand": np.array([[900.0]]), "on_order_quoted": np.array([[0.0, 0.0]])}
    assert policy.predict(seen)[0].tolist() == [[0.0]]


def test_oracles_load_no_torch() -> None:
    """Exact answers need NumPy and SciPy only."""
    code = "import sys, stockyard.agents.oracles; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
