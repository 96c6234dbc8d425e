"""Rules that price sellers' space: the mechanisms `price`, `auction` and `hybrid`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.restock_limits import month_need, usual_storage
from stockyard.agents.heuristics.terms import Offer, Seen, TermsRule

PRICE = Parameter("price", 2.0, 14.0, least=0.0, most=300.0)

Terms = Callable[[Seen, Observation], Offer]


class PriceRule(TermsRule):
    """A rule from a function; its mechanism is `price`."""

    mechanism = "price"

    def __init__(self, facts: Facts, name: str, terms: Terms) -> None:
        """Takes the function."""
        super().__init__(facts, name)
        self._terms = terms

    def offer(self, seen: Seen, observation: Observation) -> Offer:
        """What sellers are offered."""
        return self._terms(seen, observation)


class AuctionRule(PriceRule):
    """The same for the mechanism `auction`."""

    mechanism = "auction"


class HybridRule(PriceRule):
    """The same for the mechanism `hybrid`."""

    mechanism = "hybrid"


def _nothing(seen: Seen, observation: Observation) -> Offer:
    return Offer()


@tuned_by(lambda facts: (PRICE,))
def constant_price(env: Any, price: float | None = None) -> PriceRule:
    """Charges everybody the same for storage, month after month.

    Args:
        env: a built environment in which terms are decided.
        price: USD per ft3-month.
    """
    facts = Facts(env)
    if price is None:
        PriceRule(facts, "constant_price", _nothing)
        return constant_price(env, **tuned("constant_price", facts))
    return PriceRule(
        facts,
        "constant_price",
        lambda seen, observation: Offer(price=np.full(len(seen.own), price)),
    )


@tuned_by(
    lambda facts: (
        Parameter("small", 2.0, 14.0, least=0.0, most=300.0),
        Parameter("middle", 2.0, 14.0, least=0.0, most=300.0),
        Parameter("large", 2.0, 14.0, least=0.0, most=300.0),
    )
)
def class_prices(
    env: Any, small: float | None = None, middle: float = 8.0, large: float = 8.0
) -> PriceRule:
    """Charges by size class, month after month, as public tariffs do.

    Args:
        env: a built environment in which terms are decided, with three size classes.
        small: USD per ft3-month of the smallest products.
        middle: of those between.
        large: of the largest.
    """
    facts = Facts(env)
    if small is None:
        PriceRule(facts, "class_prices", _nothing)
        return class_prices(env, **tuned("class_prices", facts))
    rule = PriceRule(facts, "class_prices", _nothing)
    if rule.num_classes != 3:
        raise ValueError(f"class_prices: needs 3 size classes, got {rule.num_classes}")
    prices = np.array([small, middle, large])
    return PriceRule(
        facts,
        "class_prices",
        lambda seen, observation: Offer(price=np.tile(prices, (len(seen.own), 1))),
    )


@tuned_by(
    lambda facts: (
        PRICE,
        Parameter("target", 0.4, 0.7, least=0.0, most=5.0),
        Parameter("step", 0.0, 20.0, least=0.0, most=500.0),
        Parameter("forget", 0.0, 0.8, least=0.0, most=1.0),
    )
)
def congestion_price(
    env: Any,
    price: float | None = None,
    target: float = 0.55,
    step: float = 5.0,
    forget: float = 0.3,
) -> PriceRule:
    """A dual price of storage and yard: it rises while buildings are fuller than a target.

    Price adjustment by excess demand is the subgradient method on the dual of the shared capacity
    (Kelly, Maulloo & Tan, Journal of the Operational Research Society 49, 1998).

    Args:
        env: a built environment in which terms are decided.
        price: USD per ft3-month to which the price returns.
        target: ft3 on shelves and in yards over the storage.
        step: USD per ft3-month that full buildings add in a month.
        forget: share of the way back to `price` in a month.
    """
    facts = Facts(env)
    if price is None:
        PriceRule(facts, "congestion_price", _nothing)
        return congestion_price(env, **tuned("congestion_price", facts))

    def terms(seen: Seen, observation: Observation) -> Offer:
        crowding = 0.5 * (seen.crowding + seen.crowding_now)
        moved = seen.price + forget * (price - seen.price) + step * (crowding - target)
        return Offer(price=np.clip(moved, 0.0, 300.0))

    return PriceRule(facts, "congestion_price", terms)


@tuned_by(
    lambda facts: (
        PRICE,
        Parameter("need", 0.0, 2.0, least=-3.0, most=8.0),
        Parameter("crowding", 0.0, 1.0, least=-3.0, most=8.0),
    )
)
def scarcity_price(
    env: Any, price: float | None = None, need: float = 1.0, crowding: float = 0.3
) -> PriceRule:
    """A price that follows forecast need over announced storage, and how crowded it is.

    price * (need / usual need * usual storage / storage)^need * (crowding / .55)^crowding: constant
    elasticities, as in peak-load pricing (Steiner, Quarterly Journal of Economics 71, 1957).

    Args:
        env: a built environment in which terms are decided.
        price: USD per ft3-month in a usual month.
        need: power of the forecast over the announced storage, relative to the usual.
        crowding: power of what is on shelves and in yards over the storage.
    """
    facts = Facts(env)
    if price is None:
        PriceRule(facts, "scarcity_price", _nothing)
        return scarcity_price(env, **tuned("scarcity_price", facts))
    scarcity = _scarcity(facts)

    def terms(seen: Seen, observation: Observation) -> Offer:
        return Offer(price=np.minimum(price * scarcity(seen, need, crowding), 300.0))

    return PriceRule(facts, "scarcity_price", terms)


def _scarcity(facts: Facts) -> Callable[[Seen, float, float], Floats]:
    """How scarce space is, 1 in a usual month: a function of what is seen and two powers."""
    usual = usual_storage(facts)
    products = facts.world.network.products
    daily = facts.mean_per_review / facts.review_days
    usual_need = 28.0 * float(daily @ products.volume)

    def scarcity(seen: Seen, need: float, crowding: float) -> Floats:
        wanted = np.maximum(month_need(seen), 1e-6) / usual_need
        there = np.maximum(seen.storage, 1e-6) / usual
        full = np.maximum(0.5 * (seen.crowding + seen.crowding_now), 0.05) / 0.55
        return np.asarray((wanted / there) ** need * full**crowding)

    return scarcity


@tuned_by(
    lambda facts: (
        Parameter("overbook", 0.5, 1.5, least=0.0, most=20.0),
        Parameter("floor", 0.5, 8.0, least=0.0, most=300.0),
        Parameter("markup", 0.0, 0.8, least=0.0, most=3.0),
        Parameter("free_days", 2.0, 14.0, least=0.0, most=200.0),
    )
)
def auction(
    env: Any,
    overbook: float | None = None,
    floor: float = 3.0,
    markup: float = 0.3,
    free_days: float = 7.0,
) -> AuctionRule:
    """Auctions space beyond a small limit for all, at a reserve price.

    The reserve is the larger of a floor and a share of the price at which the last auction cleared
    (reserve prices by the optimal auction of Myerson, Mathematics of Operations Research 6, 1981).

    Args:
        env: a built environment in which terms are decided.
        overbook: what is given away over the storage of the month, own stock in buildings included.
        floor: USD per ft3-month, the lowest reserve price.
        markup: share of the last clearing price, as a reserve.
        free_days: days of forecast that need no bid.
    """
    facts = Facts(env)
    if overbook is None:
        AuctionRule(facts, "auction", _nothing)
        return auction(env, **tuned("auction", facts))

    def terms(seen: Seen, observation: Observation) -> Offer:
        return _auctioned(seen, np.full(len(seen.own), overbook), floor, markup, free_days)

    return AuctionRule(facts, "auction", terms)


def _auctioned(
    seen: Seen, overbook: Floats, floor: float | Floats, markup: float, free_days: float
) -> Offer:
    free = free_days * seen.forecast
    left = overbook * seen.storage - seen.own - free[:, :, 0].sum(axis=1)
    return Offer(
        limit=free[:, :, 0],
        outlook=free[:, :, 1:],
        offered=np.maximum(left, 0.0),
        reserve=np.minimum(np.maximum(floor, markup * seen.clearing), 300.0),
    )


@tuned_by(
    lambda facts: (
        Parameter("overbook", 0.5, 1.5, least=0.0, most=20.0),
        Parameter("floor", 0.5, 8.0, least=0.0, most=300.0),
        Parameter("need", 0.0, 1.5, least=-3.0, most=8.0),
        Parameter("reaction", 0.0, 1.0, least=-3.0, most=8.0),
        Parameter("free_days", 2.0, 14.0, least=0.0, most=200.0),
    )
)
def adaptive_auction(
    env: Any,
    overbook: float | None = None,
    floor: float = 3.0,
    need: float = 0.5,
    reaction: float = 0.3,
    free_days: float = 7.0,
) -> AuctionRule:
    """An auction that sells less where buildings are crowded, and asks more where need is high.

    Args:
        env: a built environment in which terms are decided.
        overbook: what is given away over the storage in a usual month, own stock included.
        floor: USD per ft3-month, reserve price of a usual month.
        need: power of the forecast over the announced storage in the reserve price.
        reaction: power of usual over present crowding in what is given away.
        free_days: days of forecast that need no bid.
    """
    facts = Facts(env)
    if overbook is None:
        AuctionRule(facts, "adaptive_auction", _nothing)
        return adaptive_auction(env, **tuned("adaptive_auction", facts))
    scarcity = _scarcity(facts)

    def terms(seen: Seen, observation: Observation) -> Offer:
        share = overbook / scarcity(seen, 0.0, reaction)
        return _auctioned(seen, share, floor * scarcity(seen, need, 0.0), 0.0, free_days)

    return AuctionRule(facts, "adaptive_auction", terms)


@tuned_by(
    lambda facts: (
        Parameter("days", 20.0, 45.0, least=0.0, most=400.0),
        Parameter("price", 0.5, 9.0, least=0.0, most=300.0),
        Parameter("need", 0.0, 2.0, least=-3.0, most=8.0),
        Parameter("crowding", 0.0, 1.0, least=-3.0, most=8.0),
        Parameter("reaction", 0.0, 1.0, least=-3.0, most=8.0),
    )
)
def priced_need(
    env: Any,
    days: float | None = None,
    price: float = 4.0,
    need: float = 1.0,
    crowding: float = 0.3,
    reaction: float = 0.3,
) -> HybridRule:
    """Limits by forecast against hoarding, and a price of scarcity for what is within them.

    Two instruments for two ends, quantities and prices (Weitzman, Review of Economic Studies 41,
    1974): limits stop what sellers misjudge, the price sorts out what is worth little.

    Args:
        env: a built environment in which terms are decided.
        days: limits in a usual month, days of forecast.
        price: USD per ft3-month in a usual month.
        need: power of the forecast over the announced storage in the price.
        crowding: power of present over usual crowding in the price.
        reaction: power of usual over present crowding in the limits.
    """
    facts = Facts(env)
    if days is None:
        HybridRule(facts, "priced_need", _nothing)
        return priced_need(env, **tuned("priced_need", facts))
    scarcity = _scarcity(facts)

    def terms(seen: Seen, observation: Observation) -> Offer:
        cover = days / scarcity(seen, 0.0, reaction)
        wanted = cover[:, None, None] * seen.forecast
        asked = np.minimum(price * scarcity(seen, need, crowding), 300.0)
        return Offer(limit=wanted[:, :, 0], outlook=wanted[:, :, 1:], price=asked)

    return HybridRule(facts, "priced_need", terms)


@tuned_by(
    lambda facts: (
        Parameter("days", 10.0, 35.0, least=0.0, most=400.0),
        Parameter("price", 0.5, 8.0, least=0.0, most=300.0),
        Parameter("overbook", 0.5, 1.5, least=0.0, most=20.0),
        Parameter("floor", 0.5, 8.0, least=0.0, most=300.0),
        Parameter("reaction", 0.0, 1.0, least=-3.0, most=8.0),
    )
)
def priced_auction(
    env: Any,
    days: float | None = None,
    price: float = 4.0,
    overbook: float = 1.0,
    floor: float = 2.0,
    reaction: float = 0.3,
) -> HybridRule:
    """Limits by forecast, a price of storage, and an auction of what is left.

    Args:
        env: a built environment in which terms are decided.
        days: limits, days of forecast.
        price: USD per ft3-month of storage.
        overbook: what is given away over the storage in a usual month, own stock included.
        floor: USD per ft3-month, reserve price on top.
        reaction: power of usual over present crowding in what is given away.
    """
    facts = Facts(env)
    if days is None:
        HybridRule(facts, "priced_auction", _nothing)
        return priced_auction(env, **tuned("priced_auction", facts))
    scarcity = _scarcity(facts)

    def terms(seen: Seen, observation: Observation) -> Offer:
        share = overbook / scarcity(seen, 0.0, reaction)
        offer = _auctioned(seen, share, floor, 0.0, days)
        return offer._replace(price=np.full(len(seen.own), price))

    return HybridRule(facts, "priced_auction", terms)
