"""What a forecast is worth to a buyer: the same rule, tuned for each of them, on the same tapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

import stockyard.envs  # noqa: F401  (registers the ids)
from stockyard.agents.evaluation.statistics import Interval, bootstrap_interval
from stockyard.agents.forecasting.records import Floats
from stockyard.envs.tasks.replenishment import MAX_COVER_DAYS

COVERS = (12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 34.0, 38.0, 43.0, 50.0)
"""Days of shown forecast that a product may be ordered up to, tried for each forecast."""


class Worth(NamedTuple):
    """Profit of the rule under one forecast."""

    forecast: str
    cover_days: float  # the best on training tapes
    on_edge: bool  # of those tried
    profit: float  # USD per day, mean of the test tapes
    difference: float  # to the first forecast, USD per day
    interval: Interval | None  # 95 % of it, paired by tape; None: of the first itself


def worth(
    scenario: Any,
    forecasts: Mapping[str, Any],
    size: str = "small",
    tuning_tapes: int = 64,
    tapes: int = 256,
    seed: int = 0,
    covers: Sequence[float] = COVERS,
) -> list[Worth]:
    """Tunes the cover for each forecast on training tapes and plays it on test tapes.

    Args:
        scenario: of `stockyard/Replenishment-v0`.
        forecasts: name -> what `forecast=` takes; the first is compared with.
        size: of the network.
        tuning_tapes: training tapes.
        tapes: test tapes.
        seed: of the first tape of either family.
        covers: days that are tried.
    """
    found: list[Worth] = []
    reference: Floats | None = None
    for name, forecast in forecasts.items():
        spec = {"scenario": scenario, "size": size, "forecast": forecast}
        played = _profits({**spec, "split": "train"}, tuning_tapes, seed, covers)
        best = int(np.argmax(played.mean(axis=1)))
        profits = _profits({**spec, "split": "test"}, tapes, seed, covers[best : best + 1])[0]
        is_first = reference is None
        if reference is None:
            reference = profits
        gain = profits - reference
        found.append(
            Worth(
                name,
                covers[best],
                best in (0, len(covers) - 1),
                float(profits.mean()),
                float(gain.mean()),
                None if is_first else bootstrap_interval(gain),
            )
        )
    return found


def _profits(spec: Mapping[str, Any], tapes: int, seed: int, covers: Sequence[float]) -> Floats:
    """Profit of each tape, (covers, B) USD per day, ordering every product up to one cover."""
    env: Any = gym.make_vec(
        "stockyard/Replenishment-v0", num_envs=tapes, action="cover", **spec
    ).unwrapped
    days = env.horizon / env.world.network.periods_per_day
    total = np.zeros((len(covers), tapes))
    for k, cover in enumerate(covers):
        env.reset(seed=seed)  # the tapes are drawn once
        share = cover * 2.0 / MAX_COVER_DAYS - 1.0
        action = np.full(env.action_space.shape, share, dtype=np.float32)
        for _ in range(env.steps_per_episode):
            total[k] += env.step(action)[1]
    env.close()
    return np.asarray(total / days)
