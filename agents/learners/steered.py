"""Learning to steer a rule: the network multiplies what the rule's steps go by.

`pooled_reserve` lifts centres to a base, keeps a reserve at the dock and sends on what the dock
cannot keep. Gradients pass through its steps: they are piecewise rational, and continuous but where
`heuristics.rationing` says. The network says, for every product at every centre and every day, by
how much base, overflow, reserve and the dock's fill differ from what the rule's parameters come to.
At zero the rule decides.

Whatever the network says, the steps hand out what there is: base and local overflow fairly and
within room, the rest to the regional centres, whether they have room or not. What is left to learn
is for whom.
Factors on finished transfers (`around`) are learned much slower: whatever one of them moves,
the rule's next decision takes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import torch

from stockyard.agents.heuristics.centres import Stocks
from stockyard.agents.heuristics.placement_reserve import PooledReserve, Sizes
from stockyard.agents.learners.around import Rule
from stockyard.envs.network.arrays import as_like

OUTPUTS = 4
"""Factors per decision: base, overflow, reserve (mean over centres), fill (mean over all)."""

HINTS = 5
"""Features of a decision that tell what the rule goes by."""

OCTAVES = 2.0
"""Factors lie between 2 to the power of minus this and of this."""

LARGEST = 4.0
"""Logarithms of ratios are cut here: a base may be nothing."""


class Steering(NamedTuple):
    """What the rule sees and goes by, as tensors, for one batch of observations; a `Guide`."""

    policy: PooledReserve
    stocks: Stocks
    sizes: Sizes

    def hints(self, position: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Features (B, P, F, HINTS); see `around.Guide`."""
        stocks, sizes = self.stocks, self.sizes
        daily = stocks.daily.sum(-1)[..., None] + 1e-3
        dock = stocks.dock[..., None] + 0.0 * sizes.base
        needed = sizes.base.sum(-1)[..., None] + 1e-3
        covered = position / sizes.base.clamp(min=1e-3)
        return torch.stack(
            (
                torch.log(sizes.density),
                torch.log1p(sizes.base / daily),
                torch.log1p(covered).clamp(max=LARGEST),
                torch.log1p(dock / daily),
                torch.log1p(dock / needed).clamp(max=LARGEST),
            ),
            dim=-1,
        )

    def times(
        self, out: torch.Tensor, position: torch.Tensor, rate: torch.Tensor, lift: torch.Tensor
    ) -> torch.Tensor:
        """Units (B, P, F) to move, from outputs (B, P, F, OUTPUTS) alone; see `around.Guide`."""
        sizes = self.sizes
        steered = sizes._replace(
            base=sizes.base * _factor(out[..., 0]),
            most=sizes.most * _factor(out[..., 1]),
            reserve=sizes.reserve * _factor(out[..., 2].mean(-1)),
            fill=sizes.fill * _factor(out[..., 3].mean((1, 2))),
        )
        units: torch.Tensor = self.policy.placed(self.stocks, steered)
        return units


def _factor(out: torch.Tensor) -> torch.Tensor:
    return 2.0 ** (OCTAVES * torch.tanh(out / OCTAVES))


@final
class SteeredRule(Rule):
    """A rule whose steps take other sizes."""

    needs = "sizes", "steps to steer"

    def guide(self, observation: Mapping[str, torch.Tensor]) -> Steering:
        """What it goes by."""
        fields = {
            name: np.asarray(values.detach().cpu().numpy(), dtype=np.float64)
            for name, values in observation.items()
        }
        centres = self._policy.centres
        sizes = self._policy.sizes(centres.read(fields))
        like = observation["inventory_position"]
        return Steering(
            self._policy,
            centres.read(observation),
            type(sizes)(*(as_like(values, like) for values in sizes)),
        )
