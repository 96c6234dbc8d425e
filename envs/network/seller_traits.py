"""Who the third-party sellers of a network are: what never changes of them."""

import dataclasses
import functools
import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.topology import Network, Values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RANGES: dict[str, tuple[float, float]] = {
    "inflation": (0.0, math.inf),
    "hoarding": (0.0, math.inf),
    "shading": (0.0, 1.0),
    "merchant_share": (0.0, 1.0),
    "num_size_classes": (1, math.inf),
    "demand_shape": (0.2, 20.0),
    "holding_days": (0.0, math.inf),
    "obsolescence": (0.0, 1.0),
    "anticipation": (0.0, 1.0),
    "most_cut": (0.0, 0.5),
    "cut_elasticity": (0.0, math.inf),
    "pay_as_bid_shading": (0.0, 0.9),
}
"""Field -> the range of its numbers."""

_BY_SELLER = ("inflation", "hoarding", "shading", "merchant_share")


@dataclasses.dataclass(frozen=True, eq=False)
class Sellers:
    """What the sellers of a network are like.

    Sellers 1 to S own the products that `Products.owner` gives them; arrays by seller have the
    entry s - 1. How they act is in `stockyard.envs.network.sellers`.

    Raises:
        ValueError: naming the field that is out of range.
    """

    network: Network
    inflation: Values = 0.0  # (S,) how a request grows with what was refused; 0: truthful
    hoarding: Values = 0.0  # (S,) share by which targets grow with what was refused
    shading: Values = 0.0  # (S,) how far bids fall short of values, times the seller's share
    merchant_share: Values = 0.35  # (S,) of customers before an empty shelf whom a seller serves
    num_size_classes: int = 3  # of products, by volume: storage may be priced by class
    demand_shape: float = 1.8  # Weibull shape of beliefs; 1 exponential, 2 a deviation of half
    holding_days: float = 28.0  # for which a unit is taken to stay
    obsolescence: float = 0.02  # share of its cost that a unit left over loses
    anticipation: float = 0.25  # share of next month's announced shortage stocked up on
    most_cut: float = 0.10  # price cut by which space is earned
    cut_elasticity: float = 2.5  # share of demand gained per share of price
    payment: Literal["uniform", "pay_as_bid"] = "uniform"  # of auctions of space
    pay_as_bid_shading: float = 0.2  # share by which bids fall short where they are paid

    def __post_init__(self) -> None:
        """Checks and broadcasts the fields."""
        if self.num_sellers < 1:
            raise ValueError("products.owner: sellers need products of their own")
        for field in _BY_SELLER:
            values = np.asarray(getattr(self, field), dtype=np.float64)
            if values.ndim > 1 or values.size not in (1, self.num_sellers):
                raise ValueError(
                    f"sellers.{field}: must be a number or {self.num_sellers} of them, one a seller"
                )
            object.__setattr__(self, field, np.broadcast_to(values, (self.num_sellers,)).copy())
        for field, (low, high) in _RANGES.items():
            values = np.asarray(getattr(self, field), dtype=np.float64)
            if not ((values >= low) & (values <= high)).all():
                raise ValueError(
                    f"sellers.{field}: must lie in [{low:g}, {high:g}], got {values.tolist()}"
                )
        if self.payment not in ("uniform", "pay_as_bid"):
            raise ValueError(
                f"sellers.payment: unknown {self.payment!r}; known: uniform, pay_as_bid"
            )

    @property
    def num_sellers(self) -> int:
        """Number of sellers, S."""
        return self.network.products.num_owners - 1

    @functools.cached_property
    def of_product(self) -> Ints:
        """(P,) index of each product's seller; 0 for the retailer's, which nobody asks for."""
        return np.asarray(np.maximum(self.network.products.owner - 1, 0), dtype=np.int64)

    @functools.cached_property
    def size_class(self) -> Ints:
        """(P,) size class of each product: equal shares of the sellers' products by volume."""
        volume = self.network.products.volume
        shares = np.arange(1, self.num_size_classes) / self.num_size_classes
        edges = np.quantile(volume[self.network.products.owner > 0], shares)
        return np.asarray(np.searchsorted(edges, volume, side="left"), dtype=np.int64)


def of_kinds(shares: tuple[float, float, float], drawn: Floats) -> dict[str, Any]:
    """Traits of truthful, inflating and hoarding sellers (MODEL section 3.3 of the design notes).

    Args:
        shares: of the three kinds; they sum to 1.
        drawn: (S,) numbers in [0, 1) that say who is what.

    Returns:
        Fields of `Sellers`.
    """
    inflates = drawn >= shares[0]
    hoards = drawn >= shares[0] + shares[1]
    return {
        "inflation": np.where(hoards, 2.0, np.where(inflates, 1.0, 0.0)),
        "hoarding": np.where(hoards, 0.5, 0.0),
        "shading": np.where(inflates, 1.0, 0.0),
    }
