"""Phase P1: the platform announces terms: limits, prices of storage, and space by auction.

All mechanisms are one form of terms, `state.Terms`: limits alone, prices alone, an auction of space
beyond a limit, and any mixture. An auction takes bids that are sellers' own marginal values of
space, shaded as their traits say; the highest are served first.
"""

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    anywhere,
    at_least,
    at_most,
    fill_share,
    namespace,
    sum_entries,
    take,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.sellers import (
    SHADOW_PRICES,
    by_seller,
    price_where,
    space_wanted,
    wants_of,
)
from stockyard.envs.network.state import Exogenous, SellerState, State, Terms

USUAL_PRICE = 8.0 / 30.0
"""USD per ft3-day up to which any price may be set at any time: about what public tariffs ask."""

LARGEST_RISE, LARGEST_STEP = 0.25, 1.0 / 30.0
"""Share, and USD per ft3-day on top, by which a price may rise above that from month to month: what
is stored cannot leave at once, and a platform that may ask anything of it would farm fees."""


def announce(params: Params, state: State, terms: Terms | None, exogenous: Exogenous) -> State:
    """Puts terms into force: limits, prices, and the outcome of the auction.

    Args:
        params: the network.
        state: start of the period.
        terms: None leaves what was agreed before.
        exogenous: this period of the tape; where terms are announced it must hold beliefs.

    Returns:
        The state with what platform and sellers have agreed. Gradients pass, one-sided where an
        auction begins to clear.

    Raises:
        ValueError: for terms outside a review epoch, at which nobody could answer.
    """
    before = state.sellers
    if terms is None or before is None:
        return state
    if exogenous.beliefs is None:
        raise ValueError("terms: can be announced at review epochs only")
    plan = params.seller_plan
    assert plan is not None
    past = by_seller(plan, before.sales * params.a.volume)
    limit = at_most(at_least(terms.limit, 0.0) + terms.earned_days * past, UNLIMITED)
    told = before.outlook[:, :, 0]
    # Who has no limit, or had none in prospect, was promised nothing.
    promised = namespace(told).asarray(
        (told < UNLIMITED / 2.0) & (limit < UNLIMITED / 2.0), dtype=told.dtype
    )
    sellers = before._replace(
        limit=limit,
        won=limit * 0.0,
        fee=limit * 0.0,
        clearing=before.clearing * 0.0,
        price=_within_notice(terms.price, before.price),
        outlook=at_least(terms.outlook, 0.0) + before.outlook * 0.0,
        broken=abs(limit - told) * promised,
        earned_days=at_least(terms.earned_days, 0.0) + before.earned_days * 0.0,
    )
    state = state._replace(sellers=sellers)
    if anywhere(terms.offered > 0.0):
        sellers = _auction(params, state, sellers, terms, exogenous)
    return state._replace(sellers=sellers)


def _within_notice(price: Array, before: Array) -> Array:
    """Prices (B, C) cut to what may be asked after those of the month before."""
    xp = namespace(before)
    ceiling = at_least(before, USUAL_PRICE) * (1.0 + LARGEST_RISE) + LARGEST_STEP
    return xp.minimum(at_least(price, 0.0) + before * 0.0, ceiling)


def _auction(
    params: Params, state: State, sellers: SellerState, terms: Terms, exogenous: Exogenous
) -> SellerState:
    """Sells further space to the highest bids at or above the reserve price.

    Under `uniform` all winners pay the lowest winning bid, as in the pilot of the large retailer
    that this project started from; bidders with market power bid less (demand reduction; Ausubel &
    Cramton, Demand Reduction and Inefficiency in Multi-Unit Auctions, 2002). Under `pay_as_bid`
    each pays its own bids, all of them shaded.
    """
    plan = params.seller_plan
    assert plan is not None
    wants = wants_of(params, state, exogenous, 1.0)
    beyond = at_least(space_wanted(wants) - sellers.limit[:, :, None], 0.0)
    if plan.pays_as_bid:
        shade = sellers.limit * 0.0 + plan.pay_as_bid_shading
    else:
        wanted = beyond[:, :, 0]
        power = wanted / at_least(sum_entries(wanted), 1e-9)[:, None]
        shade = plan.shading * power
    stretch = take(1.0 / (1.0 - at_most(shade, 0.9)), plan.of_product)
    bids = at_least(space_wanted(wants, stretch) - sellers.limit[:, :, None], 0.0)
    offered = at_least(terms.offered, 0.0) + sellers.clearing * 0.0
    price = price_where(sum_entries(bids)[:, None], offered)
    price = namespace(price).maximum(price, at_least(terms.reserve, 0.0) + price * 0.0)
    held = namespace(price).asarray(offered > 0.0, dtype=price.dtype)  # elsewhere none is held
    used = by_seller(plan, wants.used(take(price, plan.one_price) * stretch))
    won = at_least(used - sellers.limit, 0.0)
    won = won * fill_share(offered, sum_entries(won)[:, None])
    sold = namespace(won).asarray(won > 0.0, dtype=won.dtype)
    fee = price * sold
    if plan.pays_as_bid:
        fee = fee + _above(bids, price) / at_least(won, 1e-9) * sold
    return sellers._replace(won=won, fee=fee, clearing=price * held)


def _above(bids: Array, price: Array) -> Array:
    """What winners bid above the clearing price, (B, S) USD a day: the area under their bids."""
    xp = namespace(bids)
    total: Array = bids[:, :, 0] * 0.0
    for j, (low, high) in enumerate(zip(SHADOW_PRICES[:-1], SHADOW_PRICES[1:], strict=True)):
        width = at_least(high - xp.maximum(price, price * 0.0 + low), 0.0)
        total = total + width * (bids[:, :, j] + bids[:, :, j + 1]) / 2.0
    return total
