"""Trains the forecasting network on rows of training tapes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stockyard.agents.forecasting.network import ForecastNetwork, tensors_of
from stockyard.agents.forecasting.records import Floats, Records
from stockyard.envs.network.forecast import HORIZONS_DAYS, QUANTILES
from stockyard.envs.tasks.learned_forecast import inputs_of

ATTRIBUTES = slice(2, 5)
"""Price, cost and volume in `Inputs.static`."""

POOLED = 3
"""What all products have in common in `Inputs.weeks`."""


@dataclass(frozen=True)
class Training:
    """How the network is fitted."""

    steps: int = 8000
    batch: int = 1024  # rows
    learning_rate: float = 3e-3  # falls to nothing along a cosine
    weight_decay: float = 1e-4
    gradient_norm: float = 1.0
    # Noise on the logarithms of attributes: a small catalogue would else be learned by heart, and
    # the forecasts of another one be those of whichever product costs as much.
    attribute_noise: float = 0.1
    # Share of rows that are not told the mean sales of all products, for in a world of few products
    # it says little, and in one of new products nothing.
    alone: float = 0.1
    seed: int = 0


def prior_of(parts: Sequence[tuple[Records, slice]]) -> float:
    """Units per week of a product of which nothing is known: geometric mean of training demand."""
    weekly = np.concatenate([part.demand[:, chosen, 0].ravel() for part, chosen in parts])
    weekly = weekly[np.isfinite(weekly) & (weekly > 0.0)]
    return float(np.exp(np.log(weekly).mean()))


def loss_of(logs: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean Poisson deviance of the mean plus pinball loss of the quantiles, per known target.

    Both are in units of the product's own level. The deviance exp(m) - y m is least at the mean,
    as the squared error is, but grows with the first power of a surprise only.

    Args:
        logs: (N, H, 4) of the network.
        target: (N, H) demand over level and weeks of the horizon.
        known: (N, H) 1 where the tape reaches as far.
    """
    mean = torch.exp(logs[..., 0]) - target * logs[..., 0]
    levels = torch.tensor(QUANTILES)
    gap = target[..., None] - torch.exp(logs[..., 1:])
    pinball = torch.maximum(levels * gap, (levels - 1.0) * gap).sum(-1)
    return ((mean + 2.0 * pinball) * known).sum() / known.sum()


def train(
    parts: Sequence[tuple[Records, slice]],
    settings: Training,
    report: Callable[[int, float], None] | None = None,
) -> tuple[ForecastNetwork, float]:
    """Fits a network; every part has the same say, whatever its number of rows.

    Parts in which the same is demanded, where scenarios differ in supply alone, share one say.

    Args:
        parts: rows by scenario and size, and the products of each that are trained on; the others
            tell no more than the mean sales of all products.
        settings: how.
        report: called with the step and the mean loss since the last call, now and then.

    Returns:
        The network, and the prior it goes with.
    """
    prior = prior_of(parts)
    rows = [_tensors(part, chosen, prior) for part, chosen in parts]
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ForecastNetwork()
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    shares = shares_of([part for part, _ in parts], settings.batch)
    total, count, last = 0.0, 0, time.monotonic()
    for step in range(settings.steps):
        picked = []
        for tensors, share in zip(rows, shares, strict=True):
            index = torch.randint(len(tensors[0]), (share,), generator=generator)
            picked.append([tensor[index] for tensor in tensors])
        weeks, static, ahead, target, known = (
            torch.cat(same) for same in zip(*picked, strict=True)
        )
        noise = torch.randn((len(static), 3), generator=generator) * settings.attribute_noise
        noise[:, 1] *= 0.2  # the ratio of cost to price varies little
        static[:, ATTRIBUTES] += noise
        told = torch.rand(len(weeks), generator=generator) >= settings.alone
        weeks[:, :, POOLED] *= told[:, None]
        loss = loss_of(network(weeks, static, ahead), target, known)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        optimiser.step()
        schedule.step()
        total, count = total + float(loss.detach()), count + 1
        if report is not None and (time.monotonic() - last > 5.0 or step == settings.steps - 1):
            report(step + 1, total / count)
            total, count, last = 0.0, 0, time.monotonic()
    return network, prior


def shares_of(parts: Sequence[Records], batch: int) -> list[int]:
    """Rows of each part in a batch."""
    demanded = [zlib.crc32(np.ascontiguousarray(part.demand).tobytes()) for part in parts]
    alike = np.array([demanded.count(one) for one in demanded])
    weights = 1.0 / alike
    return [max(round(batch * share), 1) for share in (weights / weights.sum()).tolist()]


def _tensors(part: Records, chosen: slice, prior: float) -> list[torch.Tensor]:
    """Inputs, targets (N, H) as ratios to the level, and where they are known."""
    inputs = inputs_of(part.fields, prior)
    weeks = np.array(HORIZONS_DAYS) / 7.0
    ratio = part.demand.reshape(-1, len(HORIZONS_DAYS)) / (inputs.scale[:, None] * weeks)
    known = np.isfinite(ratio)
    targets: list[Floats] = [np.where(known, ratio, 0.0), known * 1.0]
    trained = np.zeros(part.is_sold.shape, dtype=bool)
    trained[:, chosen] = True
    kept = known.any(axis=1) & trained.ravel()
    tensors = [*tensors_of(inputs), *(torch.from_numpy(t.astype(np.float32)) for t in targets)]
    return [tensor[torch.from_numpy(kept)] for tensor in tensors]
