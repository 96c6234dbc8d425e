"""Learning around a rule that sets terms: the network multiplies what sellers are offered.

For every seller the network says by how much its limit differs from the rule's, and together they
say it of the prices, of what is auctioned and of the reserve price: the mean of the rows decides.
At zero the rule stands. Only the means of the rule's own mechanism are touched, so that a learner
competes where its rule does. The rule is the NumPy one that everybody else uses; its terms count as
given, and gradients pass through the factors, the auction and the sellers' answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import torch

from stockyard.agents.learners.around import Rule
from stockyard.envs.tasks.restock_modes import NO_LIMIT

OUTPUTS = 4
"""Factors of a seller: its limit; and (mean over sellers) prices, space offered, reserve price."""

HINTS = 5
"""Features of a seller that tell what the rule offers."""

OCTAVES = 2.0
"""Factors lie between 2 to the power of minus this and of this."""

MEANS = {
    "caps": (True, False, False),
    "price": (False, True, False),
    "auction": (True, False, True),
    "hybrid": (True, True, True),
}
"""Mechanism -> whether it acts by limits, by prices, by an auction."""


class Offering(NamedTuple):
    """What the rule offers, as tensors, for one batch of observations; a `Guide`."""

    limit: torch.Tensor  # (B, S) ft3
    earned: torch.Tensor  # (B, 1) days
    price: torch.Tensor  # (B, C) USD per ft3-month
    offered: torch.Tensor  # (B, 1) ft3
    reserve: torch.Tensor  # (B, 1) USD per ft3-month
    outlook: torch.Tensor  # (B, S, 2) ft3
    storage: torch.Tensor  # (B, 1) ft3
    mechanism: str

    def hints(self, position: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Features (B, S, 1, HINTS); see `around.Guide`. `rate` is ft3 of a month."""
        month = rate[:, 0]
        limit = torch.log(self.limit / month + 0.05).clamp(max=3.0)
        left = (self.limit - position[:, :, 0].detach()) / month
        common = [
            self.price.mean(1, keepdim=True) / 10.0,
            self.offered / self.storage,
            self.reserve / 10.0,
        ]
        parts = [limit, torch.sign(left) * torch.log1p(left.abs()).clamp(max=3.0)]
        parts += [part.expand_as(limit) for part in common]
        return torch.stack(parts, dim=-1)[:, :, None]

    def times(
        self, out: torch.Tensor, position: torch.Tensor, rate: torch.Tensor, lift: torch.Tensor
    ) -> torch.Tensor:
        """The action (B, 3 S + C + 3, 1) at outputs (B, S, 1, OUTPUTS); see `around.Guide`."""
        limits, prices, auctions = MEANS[self.mechanism]
        factor = 2.0 ** (OCTAVES * torch.tanh(out[:, :, 0] / OCTAVES))  # (B, S, OUTPUTS)
        mean = 2.0 ** (OCTAVES * torch.tanh(out[:, :, 0].mean(1) / OCTAVES))  # (B, OUTPUTS)
        limit, outlook, price = self.limit, self.outlook, self.price
        offered, reserve = self.offered, self.reserve
        if limits:
            limit = self._scaled(limit, factor[..., 0])
            outlook = self._scaled(outlook, factor[..., 0:1])
        if prices:
            price = price * mean[:, 1:2]
        if auctions:
            offered, reserve = offered * mean[:, 2:3], reserve * mean[:, 3:4]
        parts = (limit, self.earned, price, offered, reserve, outlook.flatten(1))
        return torch.cat(parts, dim=1)[:, :, None]

    def _scaled(self, limit: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Limits times a factor; no limit stays none."""
        return torch.where(limit >= NO_LIMIT, limit, limit * factor)


@final
class OfferedRule(Rule):
    """A rule whose terms are multiplied."""

    needs = "offer", "terms to learn around"

    def guide(self, observation: Mapping[str, torch.Tensor]) -> Offering:
        """What it offers."""
        policy = self._policy
        fields = {
            name: values.detach().cpu().numpy().reshape(len(values), -1)
            for name, values in observation.items()
        }
        action, _ = policy.predict(fields)
        like = observation["request"]
        values = torch.from_numpy(np.ascontiguousarray(action)).to(like)
        s, c = policy.num_sellers, policy.num_classes
        limit, earned, price, offered, reserve, outlook = torch.split(
            values, [s, 1, c, 1, 1, 2 * s], dim=1
        )
        return Offering(
            limit,
            earned,
            price,
            offered,
            reserve,
            outlook.reshape(len(values), s, 2),
            observation["storage_capacity"][:, :1].clamp(min=1e-6),
            policy.mechanism,
        )
