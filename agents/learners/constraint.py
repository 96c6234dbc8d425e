"""A limit on mean costs while learning: the cost has a price, which rises while it is broken.

Lagrangian relaxation of a constrained Markov decision process, the multiplier by dual ascent
(Altman, Constrained Markov Decision Processes, 1999; Tessler et al., Reward
Constrained Policy Optimization, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from stable_baselines3.common.callbacks import BaseCallback

from stockyard.agents.learners.run_folder import RunFolder


class PricedCost(VectorWrapper[Any, Any, Any, Any, Any]):
    """Rewards less a price for `info["cost"]` above the environment's `cost_limit`."""

    def __init__(self, env: VectorEnv[Any, Any, Any], price: float) -> None:
        """Wraps `env`.

        Args:
            env: whose task has a cost and a limit.
            price: USD for a cost of 1.

        Raises:
            ValueError: if the task has no limit.
        """
        super().__init__(env)
        base: Any = env.unwrapped
        if getattr(base, "cost_limit", None) is None:
            raise ValueError("cost_price: this environment has no cost and no limit of it")
        self.limit = float(base.cost_limit)
        self.price = price
        self.last_cost = 0.0  # mean over rows

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps, and charges for the cost."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        cost = np.asarray(info["cost"])
        self.last_cost = float(cost.mean())
        charged = reward - self.price * (cost - self.limit)
        return observation, charged, terminated, truncated, info


class DualAscent(BaseCallback):
    """Raises the price while the mean cost of a roll-out is above the limit, and lowers it below.

    The worlds of a mixture share one price, of their mean cost. It is kept in run.json, from where
    a resumed run takes it.
    """

    def __init__(self, priced: Sequence[PricedCost], rate: float, folder: RunFolder) -> None:
        """Takes the wrappers, USD by which a cost of 1 over the limit raises it, and a folder."""
        super().__init__()
        self._priced, self._rate, self._folder = priced, rate, folder
        self._costs: list[float] = []

    def _on_step(self) -> bool:
        self._costs += [each.last_cost for each in self._priced]
        return True

    def _on_rollout_end(self) -> None:
        mean = float(np.mean(self._costs))
        self._costs.clear()
        first = self._priced[0]
        price = max(first.price + self._rate * (mean - first.limit), 0.0)
        for each in self._priced:
            each.price = price
        self.logger.record("rollout/cost", mean)
        self.logger.record("rollout/cost_price", price)
        self._folder.update_record(cost_price=price, cost=mean)


def checked_price(given: Mapping[str, float] | None) -> dict[str, float] | None:
    """The settings `initial` and `rate` of a price, USD.

    Raises:
        ValueError: for anything else, or numbers below 0.
    """
    if given is None:
        return None
    settings = {"initial": 0.0, **given}
    if set(settings) != {"initial", "rate"}:
        raise ValueError(f"cost_price: takes initial and rate, got {sorted(settings)}")
    for name, value in settings.items():
        if not value >= 0.0:
            raise ValueError(f"cost_price.{name}: must be >= 0, got {value}")
    return {name: float(value) for name, value in settings.items()}
