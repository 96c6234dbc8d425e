"""What environments did when their version was given to them: a few steps of each, in golden.json.

    python tests/support/golden.py      adds what is missing; what stands there is never rewritten

An environment whose trajectory or reward moves gets a new version, and with it new entries.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from environments import ID as ORDERS
from environments import NETWORK, PLACEMENT, PROBLEMS, RESTOCK, TRUCKS

from stockyard.agents.evaluation.files import write_json_atomic
from stockyard.agents.evaluation.leaderboard import Benchmark
from stockyard.agents.evaluation.rollout import build
from stockyard.scripts.leaderboard import BENCHMARKS

FILE = Path(__file__).parent / "golden.json"
STEPS, ROWS, SEED = 12, 3, 0
DIGITS = 10


def cases() -> dict[str, dict[str, Any]]:
    """Name, id with its version included -> arguments of `gymnasium.make_vec`.

    All that boards are played on, every way to decide there, and what no board has.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(BENCHMARKS.glob("*.yaml")):
        for entry in Benchmark.from_file(path).entries:
            spec = dict(entry.specification)
            world = entry.world if "problem" in entry.description else spec.get("scenario")
            found.setdefault(f"{spec['id']} {spec.get('size', 'small')} {world}", spec)
    for task in (ORDERS, PLACEMENT, RESTOCK, TRUCKS):
        with contextlib.closing(build({"id": task}, num_envs=1, split="test")) as envs:
            modes = envs.unwrapped.task.action_modes
        found |= {f"{task} small steady {mode}": {"id": task, "action": mode} for mode in modes}
    for name in ("spillover", "dispatch", "serial", "stores", "network", "real_network"):
        spec = dict(PROBLEMS[name])
        found[f"{spec['id']} {name}"] = spec
    for scenario in ("big_parcels", "plain_lanes"):
        found[f"{TRUCKS} small {scenario}"] = {"id": TRUCKS, "scenario": scenario}
    found[f"{NETWORK} capacity_shock"] = {"id": NETWORK, "scenario": "capacity_shock"}
    return found


def played(specification: dict[str, Any]) -> dict[str, Any]:
    """Rewards of a few steps, (STEPS, ROWS), and the sum of each field of what is seen last."""
    envs: Any = build(specification, num_envs=ROWS, split="test")
    try:
        observation, _ = envs.reset(seed=SEED)
        space, rng = envs.single_action_space, np.random.default_rng(SEED)
        rewards = []
        for _ in range(STEPS):
            share = rng.uniform(0.0, 1.0, (ROWS, *space.shape))
            if hasattr(space, "nvec"):
                action = np.floor(share * space.nvec).astype(np.int64)
            else:
                low, high = (np.clip(each, -50.0, 50.0) for each in (space.low, space.high))
                action = (low + share * (high - low)).astype(space.dtype)
            observation, reward, *_ = envs.step(action)
            rewards.append([_rounded(each) for each in reward])
    finally:
        envs.close()
    fields = observation if isinstance(observation, dict) else {"all": observation}
    return {
        "rewards": rewards,
        "seen": {name: _rounded(np.asarray(each).sum()) for name, each in fields.items()},
    }


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def recorded() -> dict[str, Any]:
    """What is in the file."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.is_file() else {}


if __name__ == "__main__":
    known = recorded()
    missing = {name: spec for name, spec in cases().items() if name not in known}
    for name, spec in missing.items():
        known[name] = played(spec)
        print(f"added: {name}", flush=True)
    write_json_atomic(FILE, dict(sorted(known.items())))
