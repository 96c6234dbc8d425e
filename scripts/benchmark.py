"""Measures periods of the network per second on one core, under a random policy.

`stockyard-benchmark [--output FILE] [--seconds S] [--peers] [--learner]` prints a table and writes
JSON. Run it on a quiet machine; medians over repeats are quoted, the best beside them.
"""

import argparse
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPEATS = 9


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    must: float  # in the unit of `unit`
    aim: float
    unit: str  # "periods/s" or "product-nodes/s" or "frames/s"


@dataclass(frozen=True)
class Figure:
    """What was measured."""

    name: str
    unit: str
    median: float
    best: float
    must: float
    aim: float


def main() -> None:
    """Runs all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark.json"))
    parser.add_argument("--seconds", type=float, default=1.0, help="per repeat and case")
    parser.add_argument("--peers", action="store_true", help="run installed peers beside it")
    parser.add_argument("--learner", action="store_true", help="PPO frames per second too")
    arguments = parser.parse_args()
    if arguments.seconds <= 0:
        parser.error("--seconds must be positive")
    from stockyard.agents.evaluation import write_json_atomic

    figures = measure(arguments.seconds)
    if arguments.learner:
        figures.append(_ppo())
    if arguments.peers:
        figures += _peers(arguments.seconds)
    print_table(figures)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "seconds": arguments.seconds,
        "figures": [asdict(figure) for figure in figures],
    }
    write_json_atomic(arguments.output, record)
    print(f"written: {arguments.output}")


def measure(seconds: float) -> list[Figure]:
    """Measures every case of our own for about `seconds` a repeat."""
    import gymnasium as gym

    import stockyard.envs  # noqa: F401  (registers the ids)
    from stockyard.envs import textbook

    lost_sales = textbook.lost_sales(
        demand=textbook.Poisson(5), lead_time=4, holding_cost=1, penalty_cost=9
    )
    retail: dict[str, Any] = {"id": "stockyard/Replenishment-v0"}
    return [
        _stepping(
            Case("single, textbook, 1 product x 1 node", 5e3, 18e3, "periods/s"),
            gym.make(**lost_sales),
            seconds,
        ),
        _stepping(
            Case("single, 1 product x 3 nodes", 5e3, 18e3, "periods/s"),
            gym.make("stockyard/Replenishment-v0", scenario=Star(3)),
            seconds,
        ),
        _stepping(
            Case("single, 1 product x 6 nodes", 5e3, 7e3, "periods/s"),
            gym.make("stockyard/Replenishment-v0", scenario=Star(6)),
            seconds,
        ),
        _stepping(Case("single, small retail", 2e3, 4e3, "periods/s"), gym.make(**retail), seconds),
        _stepping(
            Case("batch of 8192, textbook lost sales", 10e6, 20e6, "periods/s"),
            gym.make_vec(num_envs=8192, **{**lost_sales, "horizon": 100}),
            seconds,
        ),
        _stepping(
            Case("batch of 256, small retail", 15e6, 50e6, "product-nodes/s"),
            gym.make_vec(num_envs=256, **retail),
            seconds,
        ),
        _episodes(
            Case("batch of 256, small retail, tapes drawn", 2e6, 10e6, "product-nodes/s"),
            gym.make_vec(num_envs=256, **retail),
        ),
    ]


@dataclass(frozen=True)
class Star:
    """One warehouse and its stores, one product; stores are filled up to a level each period."""

    num_nodes: int  # the warehouse included

    def build(self, size: str, task: str) -> Any:
        """Builds the world."""
        import numpy as np

        from stockyard.envs.network.distributions import Poisson
        from stockyard.envs.network.economics import Economics
        from stockyard.envs.network.processes import IidDemand
        from stockyard.envs.network.standing_rules import BaseStock
        from stockyard.envs.network.tapes import TapeSource
        from stockyard.envs.network.topology import (
            InboundLanes,
            Network,
            OutboundLanes,
            Products,
            TransferLanes,
        )
        from stockyard.envs.network.world import Opening, World

        stores = range(1, self.num_nodes)
        network = Network(
            nodes=("warehouse", *(f"store-{k}" for k in stores)),
            regions=tuple(f"region-{k}" for k in stores),
            products=Products(("product",)),
            inbound=InboundLanes(head=[0], lead_time=2),
            transfers=TransferLanes(tail=[0] * len(stores), head=list(stores)),
            outbound=OutboundLanes(node=list(stores), region=list(range(len(stores)))),
        )
        economics = Economics.textbook(holding_per_unit=1.0, shortage_per_unit=9.0)
        return World(
            network=network,
            economics=economics,
            source=TapeSource(network, IidDemand(tuple(Poisson(5) for _ in stores))),
            opening=Opening(np.full((self.num_nodes, 1), 10.0)),
            rules={"replenish": BaseStock(40.0), "place": _fill_up},
            periods_per_step=1,
            horizon=1000,
            max_order=np.array([50.0]),
            shows_history=False,
        )


def _fill_up(params: Any, state: Any, revealed: Any) -> Any:
    """Brings every store up to ten units."""
    from stockyard.envs.network.arrays import at_least
    from stockyard.envs.network.place import position_at_nodes

    return at_least(10.0 - position_at_nodes(params, state)[:, 1:], 0.0)


def _stepping(case: Case, env: Any, seconds: float) -> Figure:
    """Steps with random actions drawn beforehand; episodes begin outside the clock.

    Ours and the peers' are measured here alike; a step of a peer is one period.
    """
    base = env.unwrapped
    per_step = (
        getattr(base, "periods_per_step", 1) * getattr(base, "num_envs", 1) * _nodes(case, base)
    )
    actions = _actions(env)
    env.reset(seed=0)
    is_over = _is_over(env.step(actions[0]))
    rates = []
    for _ in range(REPEATS):
        count, spent = 0, 0.0
        while spent < seconds / REPEATS:
            if is_over:
                env.reset(seed=0)
                is_over = False
            start = time.perf_counter()
            for action in actions * 4:
                is_over = _is_over(env.step(action))
                count += 1
                if is_over:
                    break
            spent += time.perf_counter() - start
        rates.append(count * per_step / spent)
    env.close()
    return _figure(case, rates)


def _episodes(case: Case, env: Any, repeats: int = 3) -> Figure:
    """Whole episodes, each on fresh tapes, the burn-in's time counted and its periods not."""
    base = env.unwrapped
    actions = _actions(env)
    rates = []
    for repeat in range(repeats):
        start = time.perf_counter()
        env.reset(seed=1000 * repeat)
        for k in range(base.steps_per_episode):
            env.step(actions[k % len(actions)])
        spent = time.perf_counter() - start
        rates.append(base.horizon * base.num_envs * _nodes(case, base) / spent)
    env.close()
    return _figure(case, rates)


def _actions(env: Any) -> list[Any]:
    """The random actions that every case cycles through."""
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(16)]


def _is_over(result: Any) -> bool:
    """Whether a step ended an episode, of a single environment or of any row."""
    ended = result[2] | result[3]
    return bool(ended.any() if hasattr(ended, "any") else ended)


def _nodes(case: Case, base: Any) -> int:
    if case.unit != "product-nodes/s":
        return 1
    network = base.world.network
    return int(network.num_products * network.num_nodes)


def _figure(case: Case, rates: list[float]) -> Figure:
    import statistics

    return Figure(case.name, case.unit, statistics.median(rates), max(rates), case.must, case.aim)


def _ppo() -> Figure:
    """PPO with the shipped configuration on textbook lost sales, evaluations left out."""
    import tempfile

    from hydra import compose, initialize_config_module
    from hydra.utils import instantiate

    import stockyard.conf  # noqa: F401  (registers the schemas)

    case = Case("PPO, shipped configuration, lost sales", 20e3, 20e3, "frames/s")
    with initialize_config_module("stockyard.conf", version_base="1.3"):
        config = compose("config", overrides=["experiment=lost_sales_ppo"])
    steps, rates = 200_000, []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            learner = instantiate(config.agent)
            specification = instantiate(config.env)
            result = learner.train(
                specification, Path(folder) / "run", total_steps=steps, eval_tapes=0
            )
            rates.append(result.steps / result.seconds)
    return _figure(case, rates)


PEERS = {
    "or_gym_inventory": "or_gym_inventory/InvManagementLostSales-v0",  # 1 product x 3 stages
    "gym_invmgmt": "GymInvMgmt/MultiEchelon-v0",  # 1 product x 6 nodes
}
"""Peers by module, and the id that is nearest to a case of ours; a step of theirs is one period."""


def _peers(seconds: float) -> list[Figure]:
    """Peers that happen to be installed, under a random policy."""
    import importlib
    import warnings

    import gymnasium as gym

    figures = []
    for module, identifier in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"peer {module} is not installed")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env = gym.make(identifier, disable_env_checker=True)
            figures.append(
                _stepping(Case(f"peer {identifier}", 0.0, 0.0, "periods/s"), env, seconds)
            )
    return figures


def print_table(figures: list[Figure]) -> None:
    """Prints the figures with their must and aim."""
    print(f"{'case':46s} {'median':>10s} {'best':>10s} {'must':>8s} {'aim':>8s}")
    for f in figures:
        mark = "" if not f.must else "met" if f.median >= f.must else "MISSED"
        print(
            f"{f.name:46s} {_short(f.median):>10s} {_short(f.best):>10s} {_short(f.must):>8s} "
            f"{_short(f.aim):>8s} {f.unit} {mark}"
        )


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
