"""What sellers expect of their products' demand: the forecast, seen through their own eyes."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.forecast import Forecaster
from stockyard.envs.network.martingale import PROMOTION_WEEKS
from stockyard.envs.network.processes import DemandPath
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]

HORIZON_DAYS = 7 * PROMOTION_WEEKS
"""Days over which sellers form expectations."""


@dataclasses.dataclass(frozen=True)
class Beliefs:
    """Draws what sellers expect at each review: bias, noise, and what they alone know.

    belief = forecast * exp(bias of the seller + noise of the product and review) * promotions of
    the coming weeks * (true factor of a launch over the expected one)^insight. Bias and noise have
    mean one. A launch's factor is sensed for `insight_days` before it and until all know it.

    Raises:
        ValueError: naming the field that is out of range.
    """

    bias_sd: float = 0.25  # of a seller's log bias
    noise_sd: float = 0.10  # of the log error of a product at a review
    insight: float = 0.5  # 0: sellers know no more of a launch than anybody; 1: everything
    insight_days: int = 56

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for field in ("bias_sd", "noise_sd", "insight_days"):
            if not getattr(self, field) >= 0:
                raise ValueError(f"beliefs.{field}: must be >= 0, got {getattr(self, field)}")
        if not 0.0 <= self.insight <= 1.0:
            raise ValueError(f"beliefs.insight: must lie in [0, 1], got {self.insight}")

    def draw(
        self,
        streams: Streams,
        network: Network,
        path: DemandPath,
        forecaster: Forecaster,
        epochs: npt.NDArray[np.int64],
    ) -> Floats:
        """Draws one replica's beliefs.

        Args:
            streams: of the replica; sellers draw from streams of their own.
            network: whose products.
            path: the replica's demand and its signals.
            forecaster: what everybody expects.
            epochs: (K,) periods of the reviews.

        Returns:
            (K, P) units a day over the coming `HORIZON_DAYS`; 0 for the retailer's products.
        """
        h, products = network.periods_per_day, network.products
        day = epochs // h
        belief = forecaster.expected(path, epochs, [HORIZON_DAYS * h]).units[:, 0] / HORIZON_DAYS
        belief = belief * np.ones((len(epochs), 1))
        log = np.zeros_like(belief)
        for p in np.flatnonzero(products.owner > 0).tolist():
            seller = str(products.owner[p])
            bias = streams.generator("belief bias", seller).standard_normal()
            noise = streams.generator("belief noise", products.names[p]).standard_normal(len(day))
            log[:, p] = self.bias_sd * bias + self.noise_sd * noise
        log -= (self.bias_sd**2 + self.noise_sd**2) / 2.0
        promoted = path.signals.get("promotion")
        if promoted is not None:
            weeks = (day // 7)[:, None] + np.arange(PROMOTION_WEEKS)
            belief = belief * promoted[weeks].mean(axis=1)
        launch: Any = path.signals.get("launch")
        if launch is not None and self.insight:
            begin = launch.begin
            near = (begin >= 0) & (day[:, None] >= begin - self.insight_days)
            known = launch.known[np.minimum(day, len(launch.known) - 1)]
            ratio = launch.factor / np.maximum(known, 1e-9)
            belief = belief * np.where(near, ratio**self.insight, 1.0)
        return np.asarray(belief * np.exp(log) * (products.owner > 0))
