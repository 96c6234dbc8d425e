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


def owners(num_products: int, num_sellers: int, retail: Retail) -> npt.NDArray[np.int64]:
    """(P,) who owns each product: first the retailer's, then the sellers' in turn."""
    if not num_sellers:
        return np.zeros(num_products, dtype=np.int64)
    own = min(round(retail.own_products * num_products), num_products - num_sellers)
    if own < 0:
        raise ValueError(f"num_sellers: at most {num_products}, one for each product")
    turn = np.arange(num_products - own) % num_sellers + 1
    return np.concatenate((np.zeros(own, dtype=np.int64), turn))


def share_rates(rate: Floats, owner: npt.NDArray[np.int64], retail: Retail) -> Floats:
    """(P,) mean demand, scaled so that sellers have their share of all units."""
    third = owner > 0
    if third.all() or not third.any():
        return rate
    share = retail.third_party_share * rate.sum()
    scale = np.where(third, share / rate[third].sum(), (rate.sum() - share) / rate[~third].sum())
    return np.asarray(rate * scale)


def draw_products(
    names: tuple[str, ...], retail: Retail, owner: npt.NDArray[np.int64] | None = None
) -> Products:
    """Prices, costs and volumes; `owner` (P,) says whose the products are, None: the retailer's."""

    def lognormal(process: str, median: float, sd: float, limits: tuple[float, float]) -> Floats:
        drawn = draw_each(process, names, lambda g: median * np.exp(sd * g.standard_normal()))
        return np.clip(drawn, *limits)

    price = lognormal("price", retail.price_median, retail.price_log_sd, retail.price_range)
    low, high = retail.cost_ratio
    ratio = draw_each("cost", names, lambda g: low + (high - low) * g.random())
    if owner is not None:
        low, high = retail.third_party_cost_ratio
        third = draw_each("cost", names, lambda g: low + (high - low) * g.random())
        ratio = np.where(owner > 0, third, ratio)
    volume = lognormal("volume", retail.volume_median, retail.volume_log_sd, retail.volume_range)
    groups = tuple(f"group-{k // retail.group_size}" for k in range(len(names)))
    weight = 0.5 + 0.5 * volume / retail.volume_median if retail.tariff_by_volume else 1.0
    return Products(
        names,
        volume=volume,
        price=price,
        unit_cost=price * ratio,
        owner=0 if owner is None else owner,
        group=groups,
        tariff_weight=weight,
    )


def check_margins(products: Products, economics: Economics, retail: Retail) -> None:
    """Refuses a catalogue on which ordering nothing would be right (trap E21).

    Raises:
        ValueError: unless the median unit contribution exceeds 4 USD and 95 % are positive; a
            seller's counts what it pays the platform.
    """
    handling = (
        economics.pick_pack_per_unit
        + economics.last_mile_per_unit
        + 2.0 * economics.receive_per_unit
        + retail.transfer_cost_per_unit
        + retail.tariff_by_tier[0] * products.tariff_weight
    )
    kept = products.price * (1.0 - economics.seller_referral_fraction)
    own = products.price - products.unit_cost - handling
    theirs = kept - products.unit_cost - economics.seller_fee_per_unit
    contribution = np.where(products.owner > 0, theirs, own)
    if np.median(contribution) <= 4.0 or (contribution > 0).mean() < 0.95:
        raise ValueError(
            "products.price: contribution per unit is too small "
            f"(median {np.median(contribution):.2f} USD, {np.mean(contribution > 0):.0%} positive)"
        )
