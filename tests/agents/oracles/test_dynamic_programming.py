"""The engine, against small problems that can be solved by other means."""

import itertools

import numpy as np
import pytest

from stockyard.agents.oracles import demand as laws
from stockyard.agents.oracles.dynamic_programming import (
    NotConverged,
    Process,
    explore,
    value_iteration,
)
from stockyard.envs import textbook


def random_process(seed: int = 3) -> Process:
    """Six states, three actions, four outcomes."""
    generator = np.random.default_rng(seed)
    return Process(
        generator.integers(0, 6, (6, 3, 4)),
        generator.dirichlet(np.ones(4)),
        generator.uniform(0, 10, (6, 3)),
    )


def exact_average(process: Process, actions: np.ndarray) -> float:
    """Stationary cost by linear equations, on the states reached from 0."""
    states = process.chain(actions).states
    n = len(states)
    matrix = process.chain(actions).transition.toarray()
    equations = np.vstack((matrix.T - np.eye(n), np.ones(n)))
    share = np.linalg.lstsq(equations, np.eye(1, n + 1, n)[0], rcond=None)[0]
    return float(share @ process.cost[states, actions[states]])


def test_average_optimum_is_the_least_over_all_policies() -> None:
    """All 3^6 stationary policies are tried."""
    process = random_process()
    costs = []
    for actions in itertools.product(range(3), repeat=6):
        chain = process.chain(np.array(actions))
        # a policy with several recurrent classes has no single average; none is better
        try:
            costs.append(chain.average().cost)
        except NotConverged:
            continue
    found = process.average()
    assert found.lower - 1e-9 <= min(costs) <= found.upper + 1e-8
    assert exact_average(process, process.best(found.values)) == pytest.approx(found.cost)


def test_discounted_values_solve_the_linear_equations() -> None:
    """The values of the best policy are (I - b P)^-1 c."""
    process = random_process()
    found = process.discounted(0.9)
    best = process.best(found.values, 0.9)
    matrix = np.zeros((6, 6))
    for s in range(6):
        np.add.at(matrix[s], process.successor[s, best[s]], process.probability)
    values = np.linalg.solve(np.eye(6) - 0.9 * matrix, process.cost[np.arange(6), best])
    assert found.cost == pytest.approx(values[0], rel=1e-8)


def test_many_periods_cost_the_average_each() -> None:
    """The finite horizon grows by the average cost."""
    process = random_process()
    assert process.over(400)[0] - process.over(399)[0] == pytest.approx(process.average().cost)


def test_a_periodic_chain_converges() -> None:
    """Two states in turn; undamped iteration would swing for ever."""
    turn = Process(np.array([[[1]], [[0]]]), np.ones(1), np.array([[0.0], [2.0]]))
    assert turn.average().cost == pytest.approx(1.0)
    assert turn.chain(np.zeros(2, dtype=int)).average().cost == pytest.approx(1.0)


def test_two_recurrent_classes_are_refused() -> None:
    """An average that depends on the start is no average."""
    with pytest.raises(NotConverged):
        value_iteration(lambda v: v + np.array([0.0, 1.0]), np.zeros(2), max_iterations=50)


def test_a_chain_that_leaves_its_states_is_refused() -> None:
    """Codes outside are an error of the bounds, never silent."""
    with pytest.raises(ValueError, match="leaves the states"):
        explore(
            lambda codes: (codes[:, None] + 1, np.ones((len(codes), 1))),
            lambda codes: np.zeros(len(codes)),
            np.array([0]),
            3,
        )


@pytest.mark.parametrize(
    "law",
    [
        textbook.Poisson(5),
        textbook.Geometric(5),
        textbook.NegativeBinomial(5, 12),
        textbook.Uniform(2, 7),
        textbook.Pmf((0.2, 0.0, 0.5, 0.3)),
    ],
    ids=lambda law: type(law).__name__,
)
@pytest.mark.parametrize("periods", [1, 3])
def test_masses_have_the_moments_of_the_sum(law: textbook.Distribution, periods: int) -> None:
    """Mean, variance and both losses of the demand of several periods."""
    found = laws.masses(law, periods)
    units = np.arange(len(found.p))
    assert found.p.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.p @ units == pytest.approx(periods * law.mean, rel=1e-9)
    variance = found.p @ (units - periods * law.mean) ** 2
    assert variance == pytest.approx(periods * law.sd**2, rel=1e-8)
    y = int(periods * law.mean)
    assert found.leftover(y) == pytest.approx(np.maximum(y - units, 0) @ found.p)
    assert found.shortage(y) == pytest.approx(np.maximum(units - y, 0) @ found.p, rel=1e-8)
    assert laws.expected_leftover(law, periods, y) == pytest.approx(float(found.leftover(y)))


@pytest.mark.parametrize("law", [textbook.Normal(50, 8), textbook.Gamma(5, 3)], ids=str)
def test_closed_losses_are_the_integral(law: textbook.Distribution) -> None:
    """E(y - D)+ is the integral of the distribution function."""
    frozen = laws.frozen_law(law, 2)
    level = 2 * law.mean + law.sd
    grid = np.linspace(min(0.0, 2 * law.mean - 12 * law.sd), level, 200_001)
    integral = np.trapezoid(frozen.cdf(grid), grid)
    assert laws.expected_leftover(law, 2, level) == pytest.approx(integral, rel=1e-6)


def test_demand_that_is_not_whole_is_refused() -> None:
    """The error names the demand."""
    with pytest.raises(ValueError, match="demand: exact recursions need .* whole units.*Normal"):
        laws.masses(textbook.Normal(5, 1))
    with pytest.raises(ValueError, match="demand"):
        laws.masses(textbook.Deterministic((1, 2)))
