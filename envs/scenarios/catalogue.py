"""The products of the retail worlds, drawn by name."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.economics import Economics
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Products
from stockyard.envs.scenarios.presets import Retail

Floats = npt.NDArray[np.float64]

CATALOGUE = Streams("train", 0)
"""The catalogue is the same in all tapes: drawn per tape it would drown every policy effect.
Of the seeds 0, 1, ... this is the first whose catalogue of 12 passes `check_margins`."""


def draw_each(
    process: str, names: Sequence[str], draw: Callable[[np.random.Generator], float]
) -> Floats:
    """One value per product, from the product's own stream."""
    return np.array([float(draw(CATALOGUE.generator(process, name))) for name in names])


def draw_rates(names: Sequence[str], retail: Retail) -> Floats:
    """(P,) mean demand, units per day."""
    sd = retail.demand_log_sd
    return draw_each(
        "rate",
        names,
        lambda g: retail.demand_mean * np.exp(sd * g.standard_normal() - sd**2 / 2.0),
    )


def between_ranks(kind: str, names: Sequence[str], low: float, high: float) -> Floats:
    """(P,) 1 for the products whose drawn rank lies between two shares of the catalogue.

    Ranks are drawn anew for every kind of change. At least one product is chosen.
    """
    order = np.argsort(np.argsort(draw_each(f"rank {kind}", names, lambda g: g.random())))
    first, last = (
        round(low * len(names)),
        max(round(high * len(names)), round(low * len(names)) + 1),
    )
    return np.asarray((order >= first) & (order < last), dtype=np.float64)


def draw_products(names: tuple[str, ...], retail: Retail) -> Products:
    """Prices, costs and volumes."""

    def lognormal(process: str, median: float, sd: float, limits: tuple[float, float]) -> Floats:
        drawn = draw_each(process, names, lambda g: median * np.exp(sd * g.standard_normal()))
        return np.clip(drawn, *limits)

    price = lognormal("price", retail.price_median, retail.price_log_sd, retail.price_range)
    low, high = retail.cost_ratio
    ratio = draw_each("cost", names, lambda g: low + (high - low) * g.random())
    volume = lognormal("volume", retail.volume_median, retail.volume_log_sd, retail.volume_range)
    groups = tuple(f"group-{k // retail.group_size}" for k in range(len(names)))
    weight = 0.5 + 0.5 * volume / retail.volume_median if retail.tariff_by_volume else 1.0
    return Products(
        names,
        volume=volume,
        price=price,
        unit_cost=price * ratio,
        group=groups,
        tariff_weight=weight,
    )


def check_margins(products: Products, economics: Economics, retail: Retail) -> None:
    """Refuses a catalogue on which ordering nothing would be right (trap E21).

    Raises:
        ValueError: unless the median unit contribution exceeds 4 USD and 95 % are positive.
    """
    handling = (
        economics.pick_pack_per_unit
        + economics.last_mile_per_unit
        + 2.0 * economics.receive_per_unit
        + retail.transfer_cost_per_unit
        + retail.tariff_by_tier[0] * products.tariff_weight
    )
    contribution = products.price - products.unit_cost - handling
    if np.median(contribution) <= 4.0 or (contribution > 0).mean() < 0.95:
        raise ValueError(
            "products.price: contribution per unit is too small "
            f"(median {np.median(contribution):.2f} USD, {np.mean(contribution > 0):.0%} positive)"
        )
