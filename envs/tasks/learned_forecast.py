"""The learned forecast: a multi-horizon quantile network on what a buyer sees, run by NumPy.

After MQ-CNN (Wen, Torkkola, Narayanaswamy & Madeka 2017, arXiv 1711.11053): dilated causal
convolutions encode the weeks past; a global decoder makes one context for each horizon and one for
all of them; a local decoder turns these and what is known of the horizon (its season, planned
events) into quantiles. The network forecasts ratios to a product's own recent sales, so that one
set of weights serves any product. `stockyard-forecast` trains it (`stockyard.agents.forecasting`);
here it only runs. What it may read is the observation, and of that the fields `FIELDS`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, as_like, to_numpy
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.world import World
from stockyard.envs.tasks.buyer_books import HISTORY
from stockyard.envs.tasks.shown_forecast import OwnForecast, Shown
from stockyard.envs.tasks.task import View

Floats = npt.NDArray[Any]

WEIGHTS = Path(__file__).parent.parent / "data" / "forecaster.npz"
"""The weights that come with the package."""

FIELDS = (
    "sales_history",
    "in_stock_history",
    "price",
    "unit_cost",
    "volume",
    "season",
    "days_to_event",
)
"""The fields of the observation that the network reads."""

WEEKS = 16
"""Weeks that the encoder takes: the history, padded at its old end to a power of two."""

PRIOR_WEEKS = 0.5
"""Weeks of its own sales that the prior level of a product counts as."""

LOG_RATIO_LIMITS = (-12.0, 5.0)
"""Bounds of the logarithm of a forecast over the product's recent level."""


class Inputs(NamedTuple):
    """What the network takes; N rows, one for each product of each replica."""

    scale: Floats  # (N,) units per week, the product's level; > 0
    # (N, WEEKS, 4) oldest first: log(1 + sales / scale), in-stock share, is known, and the first as
    # the mean of all products less log 2, for a season or a shock is what they have in common
    weeks: Floats
    static: Floats  # (N, 11) attributes, level, date and distance to events
    horizons: Floats  # (N, H, 10) what is known of each horizon


def inputs_of(fields: Mapping[str, Floats], prior: float) -> Inputs:
    """Turns observations into what the network takes.

    Weeks before the first sale that is still shown count as unknown: the observation pads the time
    before the burn-in, and before a launch, with zeros.

    Args:
        fields: `FIELDS`, shapes (B, P, ...), of `season` and `days_to_event` (B, 2).
        prior: units per week of a product of which nothing is known.
    """
    sales = np.asarray(fields["sales_history"], dtype=np.float64)[..., ::-1]
    batch, products, _ = sales.shape
    rows = batch * products
    sales = sales.reshape(rows, HISTORY)
    in_stock = np.asarray(fields["in_stock_history"], dtype=np.float64)[..., ::-1]
    in_stock = in_stock.reshape(rows, HISTORY)
    known = (np.maximum.accumulate(sales, axis=1) > 0.0) * 1.0
    # a day without stock sells little: it counts as a tenth of one with stock
    counted = (known * np.maximum(in_stock, 0.1)).sum(axis=1)
    scale = (sales.sum(axis=1) + PRIOR_WEEKS * prior) / (counted + PRIOR_WEEKS)
    relative = np.log1p(sales / scale[:, None])
    all_known = known.reshape(batch, products, HISTORY).sum(axis=1)
    together = relative.reshape(batch, products, HISTORY).sum(axis=1) / np.maximum(all_known, 1.0)
    # log 2 is what a usual week gives: where nothing is known the mean is that of usual weeks
    together = together - np.log(2.0) * (all_known > 0.0)
    weeks = np.zeros((rows, WEEKS, 4))
    weeks[:, -HISTORY:, 0] = relative
    weeks[:, -HISTORY:, 1] = in_stock
    weeks[:, -HISTORY:, 2] = known
    weeks[:, -HISTORY:, 3] = np.repeat(together, products, axis=0)

    def of_products(name: str) -> Floats:
        return np.asarray(fields[name], dtype=np.float64).reshape(rows)

    def of_all(name: str) -> Floats:
        return np.repeat(np.asarray(fields[name], dtype=np.float64), products, axis=0)

    price, volume = of_products("price"), of_products("volume")
    season, events = of_all("season"), of_all("days_to_event")
    static = np.column_stack(
        [
            np.log(scale / prior),
            known.mean(axis=1),
            np.log(np.maximum(price, 1e-3) / 30.0),
            of_products("unit_cost") / np.maximum(price, 1e-3) - 0.6,
            np.log(np.maximum(volume, 1e-3) / 0.25),
            season,
            np.exp(-events / 10.0),
            np.exp(-events / 60.0),
        ]
    )
    ahead = np.zeros((rows, len(HORIZONS_DAYS), 10))
    for k, days in enumerate(HORIZONS_DAYS):
        turn = np.pi * days / 365.0  # to the middle of the horizon
        ahead[:, k, k] = 1.0
        ahead[:, k, 5] = season[:, 0] * np.cos(turn) + season[:, 1] * np.sin(turn)
        ahead[:, k, 6] = season[:, 1] * np.cos(turn) - season[:, 0] * np.sin(turn)
        # 0 before the horizon reaches the event, 1 from a week later
        ahead[:, k, 7:9] = np.clip((days - events) / 7.0, 0.0, 1.0)
        ahead[:, k, 9] = np.log(days / 28.0)
    return Inputs(scale, weeks, static, ahead)


def log_ratios(weights: Mapping[str, Floats], inputs: Inputs) -> Floats:
    """Logarithms of mean, P10, P50 and P90 over `scale * weeks of the horizon`, (N, H, 4).

    With kernels of two and dilations that double, all that the last week's output depends on is a
    tree of pairs: a convolution of stride two gives the same number and spares the other weeks.
    """
    x, rows, layer = inputs.weeks, len(inputs.weeks), 0
    while x.shape[1] > 1:
        pairs = x.reshape(rows * x.shape[1] // 2, -1)
        out = _relu(_affine(weights, f"encoder.{layer}", pairs)).reshape(rows, x.shape[1] // 2, -1)
        # a residual connection from the later week of the pair, where widths agree
        x = out + x[:, 1::2] if out.shape[2] == x.shape[2] else out
        layer += 1
    hidden = np.concatenate((x[:, 0], inputs.static), axis=1)
    hidden = _relu(_affine(weights, "global.0", hidden))
    horizons = inputs.horizons.shape[1]
    contexts = _relu(_affine(weights, "global.1", hidden)).reshape(rows, horizons + 1, -1)
    shared = np.broadcast_to(contexts[:, :1], contexts[:, 1:].shape)
    local = np.concatenate((shared, contexts[:, 1:], inputs.horizons), axis=2)
    local = _relu(_affine(weights, "local.0", local.reshape(rows * horizons, -1)))
    raw = _affine(weights, "local.1", local).reshape(rows, horizons, 4)
    # P10 and P90 lie at positive distances from P50, so quantiles never cross
    below, above = np.logaddexp(0.0, raw[..., 2]), np.logaddexp(0.0, raw[..., 3])
    median = raw[..., 1]
    logs = np.stack([raw[..., 0], median - below, median, median + above], axis=-1)
    return np.asarray(np.clip(logs, *LOG_RATIO_LIMITS))


def _affine(weights: Mapping[str, Floats], layer: str, x: Floats) -> Floats:
    return np.asarray(x @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"])


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


@functools.lru_cache(maxsize=8)
def load_weights(path: Path) -> dict[str, Floats]:
    """Reads weights, float64, and their `prior` (units per week)."""
    with np.load(path) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


def _try(weights: Mapping[str, Floats]) -> None:
    """Runs the network once, which fails where an array is missing or of another shape."""
    horizons = len(HORIZONS_DAYS)
    empty = Inputs(
        np.ones(1), np.zeros((1, WEEKS, 4)), np.zeros((1, 11)), np.zeros((1, horizons, 10))
    )
    if not (log_ratios(weights, empty).shape == (1, horizons, 4) and float(weights["prior"]) > 0.0):
        raise ValueError("prior: must be > 0")


@dataclasses.dataclass(eq=False)
class LearnedForecast:
    """A trained network as the shown forecast; weekly reviews only.

    A row's numbers may differ by 1e-12 with the size of its batch: they come of matrix products. No
    gradient runs through the forecast.
    """

    weights: str | Path | None = None  # npz that `stockyard-forecast` wrote; None: the shipped

    uses_fields = True

    def __post_init__(self) -> None:
        """Reads the weights.

        Raises:
            ValueError: if there is no such file, or it holds something else.
        """
        if self.weights is not None and not isinstance(self.weights, str | Path):
            raise ValueError(f"forecast.weights: must be a path, got {self.weights!r}")
        path = WEIGHTS if self.weights is None else Path(self.weights)
        if not path.is_file():
            raise ValueError(f"forecast.weights: there is no file {path}")
        try:
            self._arrays = load_weights(path)
            _try(self._arrays)
        # an array alone (.npy) is no context manager: TypeError
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile):
            raise ValueError(
                f"forecast.weights: {path} holds no weights that `stockyard-forecast` wrote"
            ) from None

    def check(self, world: World) -> None:
        """Refuses worlds whose reviews are not weekly.

        Raises:
            ValueError: as said.
        """
        if world.periods_per_step != 7 * world.network.periods_per_day:
            days = world.periods_per_step / world.network.periods_per_day
            raise ValueError(
                "forecast: 'learned' reads sales by week; "
                f"a step of this environment takes {days:g} days"
            )

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """Means and quantiles from the observation alone."""
        like = fields["sales_history"]
        seen = {name: to_numpy(fields[name]) for name in FIELDS}
        means, quantiles = self.forecast(seen)
        return Shown(
            as_like(np.moveaxis(means, 2, 1), like), as_like(np.moveaxis(quantiles, 1, 3), like)
        )

    def forecast(self, fields: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Means (B, P, H) and quantiles (B, P, H, Q), units, from observed fields (B, P, ...)."""
        inputs = inputs_of(fields, float(self._arrays["prior"]))
        batch, products = fields["sales_history"].shape[:2]
        weeks = np.array(HORIZONS_DAYS) / 7.0
        units = np.exp(log_ratios(self._arrays, inputs))
        units *= inputs.scale[:, None, None] * weeks[:, None]
        units = units.reshape(batch, products, len(HORIZONS_DAYS), 4)
        return units[..., 0], units[..., 1:]
