"""Learning around a rule: the network multiplies what a named heuristic aims at.

An order is max(f * (level + u) - (position + u), 0) with f = 2^tanh(x), between a half and twice;
x is the network's output, and at zero the rule decides. The small lift u lets a product be started
whose level is zero. Residual policies of this kind begin where the rule stands (Silver, Allen,
Tenenbaum & Kaelbling, Residual Policy Learning, arXiv 1812.06298; Johannink et al., Residual
Reinforcement Learning for Robot Control, arXiv 1812.03201, both 2018).

The rule is the NumPy one that everybody else uses, so its aims count as given: gradients pass
through the network and through positions, not through the rule.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, Self, final

import numpy as np
import torch

from stockyard.agents.policy import make, registered

HINTS = 4
"""Features of a decision that tell what the rule aims at."""

LIFT_DAYS = 2.0
"""Mean demand by which levels and positions are lifted, days."""

SHARPNESS = 4.0
"""Of the corner at which an order begins, as its gradient sees it; in reviews of mean demand."""


class Guide(Protocol):
    """What a rule says of one batch of observations: what the network sees, and what it corrects.

    In both methods `position` is (B, P, K) units and `rate` (P, K) the mean demand of a review,
    units.
    """

    def hints(self, position: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Features of decisions, (B, P, K, hints)."""

    def times(
        self, out: torch.Tensor, position: torch.Tensor, rate: torch.Tensor, lift: torch.Tensor
    ) -> torch.Tensor:
        """Units (B, P, K) to order or to move.

        Args:
            out: (B, P, K, outputs) of the network; at 0 the rule decides.
            position: see above.
            rate: see above.
            lift: (P, K) units.
        """


class Aims(NamedTuple):
    """What the rule aims at, (B, P, K) each; see `heuristics.base.Aims`. A `Guide`."""

    level: torch.Tensor  # units
    beyond: torch.Tensor  # units
    price_share: torch.Tensor  # of a unit's margin

    def hints(self, position: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Features (B, P, K, HINTS), in mean demands of a review; see `Guide`."""
        gap = (self.level - position.detach()) / rate
        return torch.stack(
            (
                torch.log1p(self.level / rate),
                torch.sign(gap) * torch.log1p(gap.abs()),
                torch.log1p(self.beyond / rate),
                torch.log1p(self.price_share),
            ),
            dim=-1,
        )

    def times(
        self, out: torch.Tensor, position: torch.Tensor, rate: torch.Tensor, lift: torch.Tensor
    ) -> torch.Tensor:
        """Units (B, P, K) to order or to move; see `Guide`."""
        factor = 2.0 ** torch.tanh(out[..., 0])
        need = self.level * factor - position + lift * (factor - 1.0)
        return _not_negative(need, SHARPNESS / rate) + self.beyond * factor


def _not_negative(need: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
    """max(need, 0) with the gradient of a softplus: what is just not ordered can be learned too."""
    smooth = torch.nn.functional.softplus(need * sharpness) / sharpness
    return smooth + (torch.relu(need) - smooth).detach()


class Rule(abc.ABC):
    """A named heuristic with its parameters, in an environment, that guides a network."""

    needs: ClassVar[tuple[str, str]]
    """Method that the heuristic must have, and what it means not to."""

    def __init__(self, description: Mapping[str, Any], env: Any) -> None:
        """Builds it.

        Args:
            description: `name` of a heuristic, and its parameters.
            env: a built environment.

        Raises:
            ValueError: if there is no such rule, or it has not what it `needs`.
        """
        self.description = dict(description)
        parameters = dict(self.description)
        name = parameters.pop("name", None)
        if name not in registered():
            raise ValueError(f"rule: needs the name of a heuristic, got {name!r}")
        self._policy: Any = make(name, env, **parameters)
        method, meaning = self.needs
        if not hasattr(self._policy, method):
            raise ValueError(f"rule: {name} has no {meaning}")

    @property
    def mechanism(self) -> str | None:
        """By which means it deals with sellers; None where it has nothing to do with them."""
        return getattr(self._policy, "mechanism", None)

    def for_env(self, env: Any) -> Self:
        """The same rule in another environment."""
        return type(self)(self.description, env)

    @abc.abstractmethod
    def guide(self, observation: Mapping[str, torch.Tensor]) -> Guide:
        """What it says of an observation, which is in its shapes."""


@final
class AimingRule(Rule):
    """A rule whose aims are multiplied."""

    needs = "aims", "levels to learn around"

    def guide(self, observation: Mapping[str, torch.Tensor]) -> Aims:
        """What it aims at."""
        fields = {name: values.detach().cpu().numpy() for name, values in observation.items()}
        like = observation["inventory_position"]
        return Aims(
            *(
                torch.from_numpy(np.ascontiguousarray(values)).to(like)
                for values in self._policy.aims(fields)
            )
        )
