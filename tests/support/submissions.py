"""Small benchmarks and submissions for the tests of the leaderboard."""

from pathlib import Path
from typing import Any

import yaml

from stockyard.agents.evaluation.leaderboard import Benchmark, Results, Store, assemble, plan
from stockyard.agents.evaluation.leaderboard.cells import do
from stockyard.agents.evaluation.leaderboard.submission import Submission, read

PROBLEM = {
    "problem": "lost_sales",
    "demand": "poisson",
    "demand_mean": 5,
    "lead_time": 1,
    "holding_cost": 1,
    "penalty_cost": 9,
    "horizon": 6,
}
DATA: dict[str, Any] = {
    "name": "small",
    "version": 1,
    "title": "Small",
    "tapes": 4,
    "slow_tapes": 2,
    "rows": 3,
    "limits": {"decision_seconds": 2.0, "making_seconds": 60.0, "memory_mb": 1024},
    "tracks": {
        "shop": {
            "title": "One shop",
            "problems": {"p9": PROBLEM, "p19": {**PROBLEM, "penalty_cost": 19}},
            "naive": {"name": "base_stock", "order_up_to": 5},
            "bound": "optimum",
            "metrics": ["fill_rate"],
            "policies": {
                "base_stock": {"order_up_to": 14},
                "capped_base_stock": {"order_up_to": 15, "cap": 8},
            },
        }
    },
}

HONEST = """
import numpy as np

class Policy:
    action_mode = "quantity"

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        {body}
        return np.maximum(14.0 - observation["inventory_position"], 0.0), state

def make_policy(task):
    return Policy()
"""


def benchmark(**changes: Any) -> Benchmark:
    """The small benchmark with other fields."""
    return Benchmark.from_mapping({**DATA, **changes})


def with_problems(*names: str) -> dict[str, Any]:
    """The tracks of the small benchmark with some of its problems."""
    shop = DATA["tracks"]["shop"]
    return {"shop": {**shop, "problems": {name: shop["problems"][name] for name in names}}}


def write(folder: Path, body: str = "pass", code: str | None = None, **fields: Any) -> Path:
    """Writes a submission; `body` is what its policy does before it decides as others do."""
    folder.mkdir(parents=True)
    told = {
        "name": folder.name,
        "kind": "other",
        "tracks": ["shop"],
        "policy": "policy:make_policy",
    }
    text = yaml.safe_dump({key: value for key, value in {**told, **fields}.items() if value != ""})
    (folder / "submission.yaml").write_text(text)
    lines = "\n        ".join(body.splitlines())
    (folder / "policy.py").write_text(HONEST.replace("{body}", lines) if code is None else code)
    return folder


def evaluated(
    played: Benchmark, submissions: list[Submission], store: Path, **options: Any
) -> Results:
    """Evaluates in this process what is not yet in the store."""
    planned, kept = plan(played, submissions, **options), Store(store)
    for cell in kept.missing(planned.cells):
        kept.keep(do(cell))
    return assemble(played, submissions, planned, kept)


def submission(folder: Path, played: Benchmark, **options: Any) -> Submission:
    """Reads a submission."""
    return read(folder, played, **options)
