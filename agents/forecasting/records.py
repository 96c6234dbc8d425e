"""What a buyer saw on tapes and what customers wanted next: rows to train and judge forecasts by.

A retailer does not see demand, it sees sales. The inputs of a learned forecast are therefore
sales, censored by stock-outs and by customers who would not wait, from episodes under order-up-to
levels that vary by replica and product, so that some products are always there and others hardly
ever. What it is trained towards is the demand of the horizon itself, as the tape's own forecast is:
on training tapes it is known, and a retailer in business estimates it from visits to the pages of
products that it cannot sell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

import stockyard.envs  # noqa: F401  (registers the ids)
from stockyard.envs.network.arrays import to_numpy
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.tasks.learned_forecast import FIELDS
from stockyard.envs.tasks.replenishment import MAX_COVER_DAYS
from stockyard.envs.tasks.task import shaped

Floats = npt.NDArray[np.float64]

COVER_DAYS = 27.0
"""Median cover of the orders: a fortnight under way, a review, and some days more."""

COVER_LOG_SD = (0.35, 0.35)
"""Log deviation of the cover from replica to replica, and from product to product."""


@dataclass(frozen=True)
class Records:
    """Rows of K decisions, B replicas and P products; horizons past the tape's end are NaN."""

    fields: Mapping[str, Floats]  # `FIELDS`, (K * B, P, ...); without P where all share them
    demand: Floats  # (K * B, P, H) units wanted over each horizon
    own_mean: Floats  # (K * B, P, H) the tape's own forecast
    own_quantiles: Floats  # (K * B, P, H, Q)
    is_sold: npt.NDArray[np.bool_]  # (K * B, P) the product has had demand by now
    day: npt.NDArray[np.int64]  # (K * B,) of the tape


def gather(scenario: Any, size: str, split: str, tapes: int, seed: int, every: int = 1) -> Records:
    """Plays episodes and keeps what the forecasts need.

    Args:
        scenario: of `stockyard/Replenishment-v0`.
        size: of the network.
        split: family of tapes.
        tapes: replicas.
        seed: of the first tape, and of the policy.
        every: keeps one decision in so many.
    """
    env: Any = gym.make_vec(
        "stockyard/Replenishment-v0",
        num_envs=tapes,
        scenario=scenario,
        size=size,
        split=split,
        action="cover",
    ).unwrapped
    generator = np.random.default_rng([seed, tapes])
    rows = env.single_action_space.shape
    sd_replica, sd_product = COVER_LOG_SD
    log_cover = np.log(COVER_DAYS) + sd_replica * generator.standard_normal((tapes, 1))
    log_cover = log_cover + sd_product * generator.standard_normal((tapes, *rows))
    action = np.clip(np.exp(log_cover) * 2.0 / MAX_COVER_DAYS - 1.0, -1.0, 1.0).astype(np.float32)
    observation, _ = env.reset(seed=seed)
    h = env.world.network.periods_per_day
    demand = to_numpy(env.tape.demand).sum(axis=2)  # (T, B, P)
    sums = np.concatenate((np.zeros((1, *demand.shape[1:])), np.cumsum(demand, axis=0)))
    kept: dict[str, list[Any]] = {name: [] for name in (*FIELDS, "mean", "quantiles")}
    wanted, sold, days = [], [], []
    for step in range(env.steps_per_episode):
        period = env.world.burn_in + step * env.periods_per_step
        if step % every == 0:
            seen = shaped(observation, env.field_shapes)
            for name in FIELDS:
                kept[name].append(seen[name])
            kept["mean"].append(seen["forecast_mean"])
            kept["quantiles"].append(seen["forecast_quantiles"])
            wanted.append(_over(sums, period, h))
            sold.append(sums[period] > 0.0)
            days.append(np.full(tapes, period // h))
        observation = env.step(action)[0]
    env.close()
    joined = {name: np.concatenate(parts).astype(np.float64) for name, parts in kept.items()}
    return Records(
        fields={name: joined[name] for name in FIELDS},
        demand=np.concatenate(wanted),
        own_mean=joined["mean"],
        own_quantiles=joined["quantiles"],
        is_sold=np.concatenate(sold),
        day=np.concatenate(days),
    )


def _over(sums: Floats, period: int, h: int) -> Floats:
    """Demand over each horizon from a period, (B, P, H); NaN past the end."""
    over = np.full((*sums.shape[1:], len(HORIZONS_DAYS)), np.nan)
    for k, days in enumerate(HORIZONS_DAYS):
        if period + days * h < len(sums):
            over[..., k] = sums[period + days * h] - sums[period]
    return over


def of_products(records: Records, chosen: slice) -> Records:
    """The rows of some products."""
    shared = ("season", "days_to_event")
    return Records(
        fields={k: v if k in shared else v[:, chosen] for k, v in records.fields.items()},
        demand=records.demand[:, chosen],
        own_mean=records.own_mean[:, chosen],
        own_quantiles=records.own_quantiles[:, chosen],
        is_sold=records.is_sold[:, chosen],
        day=records.day,
    )


def weeks_known(records: Records) -> npt.NDArray[np.int64]:
    """Weeks from the first sale that is shown, (K * B, P); 0: none is shown."""
    sold = records.fields["sales_history"] > 0.0
    oldest = sold.shape[2] - np.argmax(sold[..., ::-1], axis=2)
    return np.where(sold.any(axis=2), oldest, 0)
