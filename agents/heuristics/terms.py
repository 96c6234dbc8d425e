"""What rules for sellers share: what they see, and terms as an action in physical units."""

import abc
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import Facts, Floats, Heuristic, Observation, Starts
from stockyard.envs.network.capacities import WEEKS_AHEAD
from stockyard.envs.tasks.restock_modes import NO_LIMIT

MONTH_DAYS = 28.0


class Seen(NamedTuple):
    """A batch of observations as rules read them; S sellers."""

    stored: Floats  # (B, S) ft3 in buildings
    past: Floats  # (B, S) ft3 sold per day, average of three months
    forecast: Floats  # (B, S, 3) ft3 per day in this month and the two after
    value: Floats  # (B, S) USD per day sold at list prices, last month
    request: Floats  # (B, S) ft3
    inventory_index: Floats  # (B, S) 0 to 1000
    limit: Floats  # (B, S) ft3 in force; `NO_LIMIT`: none
    new: Floats  # (B, S) share of products launched about now
    own: Floats  # (B,) ft3 of the platform's own products in buildings
    own_forecast: Floats  # (B, 3) ft3 per day
    storage: Floats  # (B,) ft3, the least of the coming month as announced
    storage_now: Floats  # (B,) ft3
    crowding: Floats  # (B,) ft3 on shelves and in yards over the storage, mean of last month
    crowding_now: Floats  # (B,)
    price: Floats  # (B,) USD per ft3-month in force, mean of the size classes
    clearing: Floats  # (B,) USD per ft3-month


def read(observation: Observation) -> Seen:
    """Reads a batch of observations in their shapes."""

    def field(name: str) -> Floats:
        return np.asarray(observation[name], dtype=np.float64)

    storage = field("storage_capacity")
    return Seen(
        stored=field("seller_stored_volume"),
        past=field("seller_sales_volume")[:, :, 1],
        forecast=field("seller_forecast_volume"),
        value=field("seller_sales_value"),
        request=field("request"),
        inventory_index=field("seller_index"),
        limit=field("limit"),
        new=field("seller_new_share"),
        own=field("own_volume")[:, 0],
        own_forecast=field("own_forecast_volume"),
        storage=storage[:, :WEEKS_AHEAD].min(axis=1),
        storage_now=storage[:, 0],
        crowding=field("crowding")[:, 1],
        crowding_now=field("crowding")[:, 0],
        price=field("price").mean(axis=1),
        clearing=field("clearing_price")[:, 0],
    )


class Offer(NamedTuple):
    """Terms of a batch; None leaves a part at what stands without terms."""

    limit: Floats | None = None  # (B, S) ft3; None: no limits
    outlook: Floats | None = None  # (B, S, 2) ft3; None: the limits
    earned_days: Floats | None = None  # (B,) days of past sales
    price: Floats | None = None  # (B,) or (B, C) USD per ft3-month; None: the base price
    offered: Floats | None = None  # (B,) ft3
    reserve: Floats | None = None  # (B,) USD per ft3-month

    def outlook_or_limit(self) -> Floats:
        """(B, S, 2) ft3: the outlook, or where none is given the limits, which must be there."""
        if self.outlook is not None:
            return self.outlook
        assert self.limit is not None
        return np.repeat(self.limit[:, :, None], 2, axis=2)


class TermsRule(Heuristic):
    """A rule that announces terms."""

    mechanism: str = "caps"

    def __init__(self, facts: Facts, name: str) -> None:
        """Checks that the environment asks for terms.

        Raises:
            ValueError: if it does not.
        """
        facts.require_slots(name, "restock")
        super().__init__(facts)
        sellers = facts.world.sellers
        if sellers is None:
            raise ValueError(f"{name}: needs an environment with sellers")
        self.num_sellers, self.num_classes = sellers.num_sellers, sellers.num_size_classes
        self._base_price = 30.0 * facts.world.economics.seller_storage_per_ft3_day

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """The terms as an action (B, 3 S + C + 3)."""
        offer = self.offer(read(observation), observation)
        return self._as_action(offer, len(observation["request"])), state

    @abc.abstractmethod
    def offer(self, seen: Seen, observation: Observation) -> Offer:
        """What sellers are offered."""

    def _as_action(self, offer: Offer, batch: int) -> Floats:
        none = np.full((batch, self.num_sellers), NO_LIMIT)
        limit = none if offer.limit is None else np.minimum(offer.limit, NO_LIMIT)
        outlook = offer._replace(limit=limit).outlook_or_limit()
        price = np.full((batch, self.num_classes), self._base_price)
        if offer.price is not None:
            price[:] = offer.price if offer.price.ndim == 2 else offer.price[:, None]

        def column(values: Floats | None) -> Floats:
            return np.zeros((batch, 1)) if values is None else values[:, None]

        parts = (
            limit,
            column(offer.earned_days),
            price,
            column(offer.offered),
            column(offer.reserve),
            np.minimum(outlook, NO_LIMIT).reshape(batch, -1),
        )
        action: Floats = np.concatenate(parts, axis=1)
        return action


def within_total(limit: Floats, outlook: Floats, total: Floats) -> Offer:
    """Limits scaled down in proportion to a total (B,), month by month."""
    share = np.minimum(1.0, total / np.maximum(limit.sum(axis=1), 1e-9))
    ahead = np.minimum(1.0, total[:, None] / np.maximum(outlook.sum(axis=1), 1e-9))
    return Offer(limit=limit * share[:, None], outlook=outlook * ahead[:, None])
