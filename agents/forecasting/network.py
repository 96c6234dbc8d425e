"""The forecasting network in torch, for training; `envs.tasks.learned_forecast` runs it by NumPy.

After MQ-CNN (Wen, Torkkola, Narayanaswamy & Madeka 2017, arXiv 1711.11053): an encoder of dilated
causal convolutions, a global decoder of one context per horizon and one for all, a local decoder
for each horizon. Forking sequences are left out: simulated tapes give as many rows as we like.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.tasks.learned_forecast import LOG_RATIO_LIMITS, WEEKS, Inputs

CHANNELS, STATIC, AHEAD = 4, 11, 10
"""Width of `Inputs.weeks`, `Inputs.static` and `Inputs.horizons`."""


@dataclass(frozen=True)
class Widths:
    """Sizes of the hidden layers."""

    encoder: int = 32
    hidden: int = 48
    context: int = 12
    local: int = 32


class ForecastNetwork(nn.Module):
    """Weeks past, attributes and what is known of the horizons to log ratios (N, H, 4)."""

    def __init__(self, widths: Widths | None = None) -> None:
        """Builds the layers with torch's default initialisation."""
        super().__init__()
        w = Widths() if widths is None else widths
        levels = WEEKS.bit_length() - 1
        sizes = [CHANNELS] + [w.encoder] * levels
        horizons = len(HORIZONS_DAYS)
        self.encoder = nn.ModuleList(
            nn.Linear(2 * before, after) for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.decoder = nn.ModuleList(
            [
                nn.Linear(w.encoder + STATIC, w.hidden),
                nn.Linear(w.hidden, w.context * (horizons + 1)),
            ]
        )
        self.local = nn.ModuleList(
            [nn.Linear(2 * w.context + AHEAD, w.local), nn.Linear(w.local, 4)]
        )

    def forward(
        self, weeks: torch.Tensor, static: torch.Tensor, ahead: torch.Tensor
    ) -> torch.Tensor:
        """Logarithms of mean, P10, P50, P90 over the product's level; see `log_ratios`."""
        x = weeks
        for layer in self.encoder:
            out = torch.relu(layer(x.reshape(len(x), x.shape[1] // 2, -1)))
            x = out + x[:, 1::2] if out.shape[2] == x.shape[2] else out
        hidden = torch.relu(self.decoder[0](torch.cat((x[:, 0], static), 1)))
        contexts = torch.relu(self.decoder[1](hidden))
        contexts = contexts.reshape(len(x), ahead.shape[1] + 1, -1)
        shared = contexts[:, :1].expand_as(contexts[:, 1:])
        local = torch.relu(self.local[0](torch.cat((shared, contexts[:, 1:], ahead), 2)))
        raw = self.local[1](local)
        median = raw[..., 1]
        below, above = functional.softplus(raw[..., 2]), functional.softplus(raw[..., 3])
        logs = torch.stack((raw[..., 0], median - below, median, median + above), -1)
        return logs.clamp(*LOG_RATIO_LIMITS)

    def arrays(self, prior: float) -> dict[str, np.ndarray[Any, Any]]:
        """The weights as `learned_forecast.log_ratios` reads them: float32, inputs first."""
        names = {"encoder": self.encoder, "global": self.decoder, "local": self.local}
        found: dict[str, np.ndarray[Any, Any]] = {"prior": np.asarray(prior, np.float32)}
        for name, layers in names.items():
            for k, layer in enumerate(layers):
                linear = cast(nn.Linear, layer)
                found[f"{name}.{k}.weight"] = linear.weight.detach().numpy().T.copy()
                found[f"{name}.{k}.bias"] = linear.bias.detach().numpy().copy()
        return found


def tensors_of(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `ForecastNetwork.forward` takes, float32."""
    parts = (inputs.weeks, inputs.static, inputs.horizons)
    weeks, static, ahead = (torch.from_numpy(np.asarray(part, np.float32)) for part in parts)
    return weeks, static, ahead


def save_weights(path: str | Path, arrays: dict[str, Any]) -> None:
    """Writes weights, whole or not at all."""
    from stockyard.agents.evaluation.files import atomic_path

    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
