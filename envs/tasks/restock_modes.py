"""Action modes of restock limits: how an action becomes terms for the sellers."""

import math
from collections.abc import Callable

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    at_least,
    at_most,
    concat,
    fill_share,
    namespace,
    product_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.platform_view import PlatformView
from stockyard.envs.network.standing_terms import MONTH_PRICE_DAYS, open_terms, within
from stockyard.envs.network.state import Terms
from stockyard.envs.network.world import MONTH_DAYS

LEAST_MONTHS, MOST_MONTHS = 0.25, 4.0
"""Months of forecast demand that the actions -1 and +1 of mode `caps` limit a seller to."""

MOST_PRICE = 40.0
"""USD per ft3-month that the action +1 stands for; prices go with the square of the action."""

MOST_BOOKED = 2.4
"""Largest share of the storage that rules and auctions give away: limits count goods on the way."""

MOST_EARNED_MONTHS = 3.0
"""Months of past sales that the action +1 of mode `rule` lets limits grow by."""

NO_LIMIT = 1e9
"""ft3 from which on a limit of mode `quantity` is none."""

Decoder = Callable[[Params, Array, PlatformView], Terms]


def unit(action: Array) -> Array:
    """Entries from [-1, 1] on [0, 1]."""
    return (action + 1.0) / 2.0


def price_of(action: Array) -> Array:
    """USD per ft3-day: 0 to `MOST_PRICE` a month, 10 at an action of 0."""
    return MOST_PRICE / MONTH_PRICE_DAYS * unit(action) ** 2.0


def months_of(action: Array) -> Array:
    """Months of the forecast, from `LEAST_MONTHS` to `MOST_MONTHS` by equal factors; 1 at 0."""
    ratio = math.log(MOST_MONTHS / LEAST_MONTHS)
    return LEAST_MONTHS * namespace(action).exp(ratio * unit(action))


def caps(params: Params, action: Array, view: PlatformView) -> Terms:
    """Limits in months of the forecast, (B, S): one month at an action of 0."""
    days = MONTH_DAYS * months_of(action)[:, :, None] * view.forecast
    return open_terms(params, view)._replace(limit=days[:, :, 0], outlook=days[:, :, 1:])


def price(params: Params, action: Array, view: PlatformView) -> Terms:
    """One price of storage (B, 1), or one for each size class (B, C)."""
    terms = open_terms(params, view)
    return terms._replace(price=price_of(action) + terms.price * 0.0)


def auction(params: Params, action: Array, view: PlatformView) -> Terms:
    """Free cover, share of the storage booked, reserve price: (B, 3)."""
    free = unit(action[:, 0:1])[:, :, None] * MONTH_DAYS * view.forecast
    return _with_auction(
        open_terms(params, view)._replace(limit=free[:, :, 0], outlook=free[:, :, 1:]),
        action[:, 1:3],
        view,
    )


def _with_auction(terms: Terms, action: Array, view: PlatformView) -> Terms:
    """Offers what is left of a booked share of the storage, at a reserve price: (B, 2)."""
    past = terms.earned_days * view.past
    given = product_sum(terms.limit + past)[:, None]
    left = MOST_BOOKED * unit(action[:, 0:1]) * view.capacity - view.own - given
    return terms._replace(offered=at_least(left, 0.0), reserve=price_of(action[:, 1:2]))


def rule(params: Params, action: Array, view: PlatformView) -> Terms:
    """Limits by a rule of five numbers, (B, 5).

    Weights of past sales and of the forecast in months (the first by the cube of its entry, since
    limits by past sales spiral down where shelves were empty), the power of the inventory index
    over its mean, a floor in months of the forecast, and the share of the storage that all limits
    and the retailer's stock may come to.
    """
    share = unit(action)[:, :, None]
    index = (view.index + 1.0) / (product_sum(view.index)[:, None] / view.index.shape[1] + 1.0)
    favour = (index ** (2.0 * share[:, 2]))[:, :, None]  # 1 on average
    wanted = MONTH_DAYS * months_of(action[:, 1:2])[:, :, None] * view.forecast * favour
    least = MONTH_DAYS * share[:, 3:4] * view.forecast
    days = namespace(wanted).maximum(wanted, least)
    earned = MOST_EARNED_MONTHS * MONTH_DAYS * share[:, 0] ** 3.0
    total = at_least(MOST_BOOKED * share[:, 4] * view.capacity - view.own, 0.0)
    past = earned * view.past
    # what sales earn comes first, for it is announced as a rate
    fits = fill_share(total, product_sum(past)[:, None])
    left = at_least(total - product_sum(past)[:, None], 0.0)
    limit, outlook = within(left, days[:, :, 0], days[:, :, 1:])
    outlook = outlook + (fits * past)[:, :, None]
    return open_terms(params, view)._replace(
        limit=limit, earned_days=earned * fits, outlook=outlook
    )


def hybrid(params: Params, action: Array, view: PlatformView) -> Terms:
    """A rule (5), a price of storage (1), and an auction of what is left (2): (B, 8)."""
    terms = rule(params, action[:, :5], view)
    terms = terms._replace(price=price_of(action[:, 5:6]) + terms.price * 0.0)
    return _with_auction(terms, action[:, 6:8], view)


def terms_of(params: Params, action: Array, view: PlatformView) -> Terms:
    """Everything itself, (B, 3 S + C + 3); the order stands in the task's docstring."""
    s, c = view.stored.shape[1], 0 if params.sellers is None else params.sellers.num_size_classes
    given = at_least(action, 0.0)
    ends = [s, s + 1, s + 1 + c, s + 2 + c, s + 3 + c]

    def free(limits: Array) -> Array:
        xp = namespace(limits)
        return xp.where(limits >= NO_LIMIT, limits * 0.0 + UNLIMITED, limits)

    return Terms(
        limit=free(given[:, :s]),
        earned_days=given[:, ends[0] : ends[1]],
        price=given[:, ends[1] : ends[2]] / MONTH_PRICE_DAYS,
        offered=given[:, ends[2] : ends[3]],
        reserve=given[:, ends[3] : ends[4]] / MONTH_PRICE_DAYS,
        outlook=free(given[:, ends[4] :].reshape(-1, s, 2)),
    )


def corrected(terms: Terms, action: Array, mechanism: str) -> Terms:
    """A rule's terms times 2 to the power of the action, by the means of its mechanism.

    `caps`: limits (S), their outlooks with them; `price`: prices (C); `auction`: free limits
    together, what is offered, and the reserve price (3); `hybrid`: S, C, and offered and reserve.
    """
    factor = 2.0**action
    s, c = terms.limit.shape[1], terms.price.shape[1]
    limits, prices = factor * 0.0 + 1.0, None
    if mechanism == "caps":
        limits = factor
    elif mechanism == "price":
        return terms._replace(price=terms.price * factor)
    elif mechanism == "auction":
        limits = factor[:, 0:1]
        terms = terms._replace(
            offered=terms.offered * factor[:, 1:2], reserve=terms.reserve * factor[:, 2:3]
        )
    else:
        limits, prices = factor[:, :s], factor[:, s : s + c]
        terms = terms._replace(
            price=terms.price * prices,
            offered=terms.offered * factor[:, s + c : s + c + 1],
            reserve=terms.reserve * factor[:, s + c + 1 :],
        )
    return terms._replace(
        limit=at_most(terms.limit * limits, UNLIMITED),
        outlook=at_most(terms.outlook * limits[:, :, None], UNLIMITED),
    )


def residual_size(mechanism: str, num_sellers: int, num_classes: int) -> int:
    """Entries of an action of mode `residual`; see `corrected`."""
    sizes = {"caps": num_sellers, "price": num_classes, "auction": 3}
    return sizes.get(mechanism, num_sellers + num_classes + 2)


DECODERS: dict[str, Decoder] = {
    "caps": caps,
    "rule": rule,
    "price": price,
    "class_price": price,
    "auction": auction,
    "hybrid": hybrid,
    "quantity": terms_of,
}
"""Mode -> its decoder; `residual` goes by the standing rule."""

MECHANISM_OF = {
    "caps": "caps",
    "rule": "caps",
    "price": "price",
    "class_price": "price",
    "auction": "auction",
    "hybrid": "hybrid",
    "quantity": "hybrid",
}
"""Mode -> the mechanism that its policies compete in."""


def as_terms_action(terms: Terms) -> Array:
    """Terms as an action of mode `quantity`, (B, 3 S + C + 3)."""
    limit = at_most(terms.limit, NO_LIMIT)
    outlook = at_most(terms.outlook, NO_LIMIT).reshape(len(limit), -1)
    parts = (
        limit,
        terms.earned_days,
        terms.price * MONTH_PRICE_DAYS,
        terms.offered,
        terms.reserve * MONTH_PRICE_DAYS,
        outlook,
    )
    return concat(parts)
