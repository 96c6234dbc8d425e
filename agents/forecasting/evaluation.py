"""Judges forecasts on rows of held-out tapes: quantile loss, coverage and bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.agents.forecasting.records import Floats, Records, weeks_known
from stockyard.envs.network.forecast import HORIZONS_DAYS, QUANTILES
from stockyard.envs.tasks.buyer_books import HISTORY

HORIZONS = len(HORIZONS_DAYS)

FEW_WEEKS = 4
"""A product counts as new until it has been sold for so many weeks."""

BLOCK_DAYS = 14.0
"""Days of the year whose training rows give one seasonal index."""


class Predicted(NamedTuple):
    """A forecast of every row."""

    means: Floats  # (K * B, P, H) units
    quantiles: Floats  # (K * B, P, H, Q) units


class Score(NamedTuple):
    """What a forecast is worth over one horizon."""

    loss: float  # quantile loss: twice the pinball loss, mean over the levels, per unit of demand
    coverage: tuple[float, ...]  # share of demand below each quantile, by level
    bias: float  # mean forecast over mean demand, less 1
    rows: int  # products times decisions


def score(
    records: Records, predicted: Predicted, horizon: int, chosen: npt.NDArray[np.bool_]
) -> Score | None:
    """Scores one horizon on the chosen rows (K * B, P); None where there are none with demand."""
    demand = records.demand[..., horizon]
    chosen = chosen & np.isfinite(demand)
    total = float(demand[chosen].sum())
    if not total > 0.0:
        return None
    wanted = demand[chosen][:, None]
    quantiles = predicted.quantiles[:, :, horizon][chosen]
    levels = np.array(QUANTILES)
    gap = wanted - quantiles
    pinball = np.maximum(levels * gap, (levels - 1.0) * gap)
    # where demand equals a quantile, as nothing does in continuous demand but zero in zero, half
    # of it counts as below
    below = (gap < 0.0).mean(axis=0) + 0.5 * (gap == 0.0).mean(axis=0)
    return Score(
        loss=float(2.0 * pinball.mean(axis=1).sum() / total),
        coverage=tuple(below.tolist()),
        bias=float(predicted.means[..., horizon][chosen].sum() / total - 1.0),
        rows=int(chosen.sum()),
    )


def groups(records: Records) -> dict[str, npt.NDArray[np.bool_]]:
    """Rows (K * B, P) by how much of a product has been seen.

    `established`: first sold at least `FEW_WEEKS` weeks ago; `new`: later than that, or wanted but
    not sold yet; `before launch`: nobody has wanted it yet.
    """
    few = weeks_known(records) < FEW_WEEKS
    return {
        "established": ~few,
        "new": few & records.is_sold,
        "before launch": few & ~records.is_sold,
    }


@dataclass(frozen=True, eq=False)
class SeasonalNaive:
    """Own sales of the weeks past, times what the season of the year brought on training tapes.

    The rate is that of the last 13 weeks as far as the product was sold. The index of a fortnight
    of the year and a horizon is the demand over the horizon over that rate, all products and
    training tapes of the scenario together: it holds the course of the season and the sales that
    stock-outs lose on average. Quantiles are ratios to that on the training tapes. A product
    without sales gets the mean of all such rows in training. It is judged on other tapes.
    """

    index: Floats  # (blocks, H)
    factors: Floats  # (H, Q)
    unseen: Floats  # (H,) units of a product without sales
    unseen_quantiles: Floats  # (H, Q) units

    @classmethod
    def fit(cls, records: Records) -> SeasonalNaive:
        """Fits the indices to rows of training tapes."""
        rate, block = _rate(records), _block(records)
        base = rate[..., None] * np.array(HORIZONS_DAYS)
        seen = (rate > 0.0)[..., None] & np.isfinite(records.demand)
        blocks = int(np.ceil(365.0 / BLOCK_DAYS))
        overall = _share(records.demand, base, seen)
        index = np.tile(overall, (blocks, 1))
        for k in range(blocks):
            here = seen & (block == k)[:, None, None]
            for i in range(HORIZONS):
                if here[..., i].sum() >= 50:
                    index[k, i] = _share(records.demand, base, here)[i]
        ratio = records.demand / np.maximum(base * index[block][:, None], 1e-9)
        unseen = ~(rate > 0.0)[..., None] & np.isfinite(records.demand)
        factors, means = np.ones((HORIZONS, len(QUANTILES))), np.zeros(HORIZONS)
        apart = np.zeros((HORIZONS, len(QUANTILES)))
        for i in range(HORIZONS):
            factors[i] = np.quantile(ratio[..., i][seen[..., i]], QUANTILES)
            values = records.demand[..., i][unseen[..., i]]
            if len(values):
                means[i], apart[i] = values.mean(), np.quantile(values, QUANTILES)
        return cls(index, factors, means, apart)

    def predict(self, records: Records) -> Predicted:
        """Forecasts other tapes' rows."""
        rate = _rate(records)
        days = np.array(HORIZONS_DAYS)
        means = rate[..., None] * days * self.index[_block(records)][:, None]
        quantiles = means[..., None] * self.factors
        is_unseen = ~(rate > 0.0)
        means[is_unseen], quantiles[is_unseen] = self.unseen, self.unseen_quantiles
        return Predicted(means, quantiles)


def _share(demand: Floats, base: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """Demand over base by horizon."""
    wanted = np.where(chosen, demand, 0.0).sum(axis=(0, 1))
    return np.asarray(wanted / np.maximum(np.where(chosen, base, 0.0).sum(axis=(0, 1)), 1e-9))


def _rate(records: Records) -> Floats:
    """Sales per day since the first that is shown, (K * B, P)."""
    weeks = np.clip(weeks_known(records), 1, HISTORY)
    return np.asarray(records.fields["sales_history"].sum(axis=2) / (7.0 * weeks))


def _block(records: Records) -> npt.NDArray[np.int64]:
    """The block of the year of each decision, (K * B,)."""
    season = records.fields["season"]
    day = np.arctan2(season[:, 0], season[:, 1]) / (2.0 * np.pi) * 365.0 % 365.0
    return np.asarray(day // BLOCK_DAYS, dtype=np.int64)


def judge(
    records: Records, forecasts: Mapping[str, Predicted]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Group -> forecast -> a score per horizon, for groups that have rows."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for group, chosen in groups(records).items():
        for name, predicted in forecasts.items():
            scores = [score(records, predicted, i, chosen) for i in range(HORIZONS)]
            rows = [
                {"horizon_days": days, **one._asdict()}
                for days, one in zip(HORIZONS_DAYS, scores, strict=True)
                if one is not None
            ]
            if rows:
                found.setdefault(group, {})[name] = rows
    return found
