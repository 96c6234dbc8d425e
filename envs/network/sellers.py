"""Phase P2: how third-party sellers answer what the platform offers.

A seller stocks its products like newsvendors that share space. With c_u the margin of a unit, c_o
what a unit left over costs, v its volume and m the price of a ft3 for as long as a unit stays, the
best level y of a product solves

    P(demand <= y) = (c_u - m v) / (c_u + c_o)

(Hadley & Whitin, Analysis of Inventory Systems, 1963). m is what the platform charges, plus the
shadow price at which all that a seller wants just fits its limit, so that the next ft3 goes where
it earns most. Beliefs about demand are Weibull, whose quantiles are a formula in both backends.
"""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    Array,
    anywhere,
    at_least,
    at_most,
    fill_share,
    gather_sum,
    namespace,
    product_sum,
    stack,
    sum_entries,
    take,
)
from stockyard.envs.network.params import Params, SellerPlan
from stockyard.envs.network.state import (
    Exogenous,
    SellerChoices,
    SellerFlows,
    SellerState,
    State,
)

SHADOW_PRICES = (0.0, *(0.02 * 1.6**k for k in range(17)))
"""USD per ft3-day at which sellers know how much space they want; between them they interpolate."""

LARGEST_REQUEST = 3.0
"""Multiple of its need that a seller asks for at most (MODEL section 3.3 of the design notes)."""

LEAST_GRANT = 0.3
"""Share of grants below which requests grow no further; from the same source."""

GRANT_WEIGHT = 0.25
"""Weight of the last review in a seller's memory of what it was granted."""

SALES_DAYS, STOCK_DAYS = 90.0, 30.0
"""Days over which sales and availability are averaged, with exponential weights."""

NOTHING = 1e-9
"""Logarithm of the odds at which a product counts as not stocked; keeps powers differentiable."""


class Wants(NamedTuple):
    """How much stock sellers want at a price of space: what one review does not change."""

    scale: Array  # (B, P) units: Weibull scale of demand over lead time and review
    at_stake: Array  # (B, P) USD: margin of a unit plus what one left over costs
    charged: Array  # (B, P) USD per ft3-day that the platform asks for
    position: Array  # (B, P) units on hand and inbound
    volume: Array  # (P,) ft3
    plan: SellerPlan

    def levels(self, shadow: Array | float) -> Array:
        """Units (B, P) up to which a product is stocked at a shadow price, USD per ft3-day."""
        xp, plan = namespace(self.scale), self.plan
        cost = plan.left_over + plan.rent_days * (self.charged + shadow)
        log = at_least(xp.log(at_least(self.at_stake / cost, NOTHING)), NOTHING)
        power = 1.0 / plan.demand_shape
        return self.scale * (log**power - NOTHING**power)

    def used(self, shadow: Array | float) -> Array:
        """ft3 (B, P) on hand and inbound at a shadow price; what is there is not sent back."""
        xp = namespace(self.position)
        return xp.maximum(self.levels(shadow), self.position) * self.volume


def by_seller(plan: SellerPlan, values: Array) -> Array:
    """Sums over each seller's products, (B, P, ...) to (B, S, ...)."""
    return gather_sum(values, plan.to_seller)


def used_space(params: Params, state: State) -> Array:
    """Volume on hand and inbound of each seller, (B, S) ft3: what limits count."""
    assert params.seller_plan is not None
    return by_seller(params.seller_plan, state.position * params.a.volume)


def wants_of(params: Params, state: State, exogenous: Exogenous, scale: Array | float) -> Wants:
    """What sellers want at a review.

    Args:
        params: the network.
        state: start of the period.
        exogenous: this period of the tape; it must hold beliefs.
        scale: (B, P) multiple of the demand that is believed in.
    """
    plan, sellers = params.seller_plan, state.sellers
    assert plan is not None and sellers is not None and exogenous.beliefs is not None
    quoted = exogenous.revealed.quoted_lead
    if quoted is None:
        days = plan.lead_days + params.review_days
    else:
        days = sum_entries(quoted * plan.first_lane) * params.days_per_period + params.review_days
    mean = exogenous.beliefs * days * scale * (1.0 + plan.cut_elasticity * sellers.cut)
    return Wants(
        scale=mean * plan.scale_of_mean,
        at_stake=at_least(plan.margin - sellers.cut * plan.kept_price, 0.0) + plan.left_over,
        charged=take(sellers.price, plan.size_class),
        position=state.position,
        volume=params.a.volume,
        plan=plan,
    )


def space_wanted(wants: Wants, stretch: Array | float = 1.0) -> Array:
    """Space that sellers want on hand and inbound at each of `SHADOW_PRICES`, (B, S, J) ft3.

    Args:
        wants: of the review.
        stretch: (B, P) multiple of the price that they decide by: who shades a bid acts as if
            space were dearer.
    """
    columns = [wants.used(price * stretch) for price in SHADOW_PRICES]
    return by_seller(wants.plan, stack(columns, axis=2))


def price_where(wanted: Array, room: Array) -> Array:
    """The price at which what is wanted fits, USD per ft3-day; 0 where it fits anyway.

    Args:
        wanted: (B, E, J) ft3 at each of `SHADOW_PRICES`, falling.
        room: (B, E) ft3.

    Returns:
        (B, E), linear between the prices; the largest of them where nothing fits.
    """
    price: Array = room * 0.0
    for j, (low, high) in enumerate(zip(SHADOW_PRICES[:-1], SHADOW_PRICES[1:], strict=True)):
        above, below = wanted[:, :, j], wanted[:, :, j + 1]
        price = price + (high - low) * fill_share(above - room, above - below)
    return price


def respond(
    params: Params,
    state: State,
    orders: Array | None,
    exogenous: Exogenous,
    choices: SellerChoices | None = None,
) -> tuple[State, Array | None]:
    """Sellers review prices, targets and requests, and order what their limits leave room for.

    They act at review epochs, when they hold beliefs; else only the retailer's orders pass. Each
    seller's orders are those of the shadow price at which its products fit the limit, and are cut
    in proportion where they still exceed it: a limit blocks inbound, it removes nothing.

    Args:
        params: the network.
        state: start of the period, terms announced.
        orders: (B, E_in, P) units that the retailer orders; None: none.
        exogenous: this period of the tape.
        choices: of sellers who are agents, instead of their habits: multiples of what they would
            aim at without hoarding, of the need that they report, and price cuts.

    Returns:
        The state with requests and price cuts renewed, and all orders. Gradients pass but for
        price cuts, which are made or not.
    """
    plan, sellers = params.seller_plan, state.sellers
    assert plan is not None and sellers is not None
    own = None if orders is None else orders * params.a.own
    if exogenous.beliefs is None:
        return state, own
    room = sellers.limit + sellers.won
    held_back = 1.0 - sellers.granted
    scale = 1.0 + take(plan.hoarding * held_back, plan.of_product)
    if choices is not None:
        scale = take(at_least(choices.stock, 0.0), plan.of_product)
        cut = at_most(at_least(choices.cut, 0.0), plan.most_cut)
        sellers = sellers._replace(cut=take(cut, plan.of_product) * plan.third_party)
    elif anywhere(sellers.earned_days > 0.0):
        wants = wants_of(params, state._replace(sellers=_uncut(sellers)), exogenous, scale)
        shadow = price_where(space_wanted(wants), room)
        cut = _cuts(params, sellers, take(shadow, plan.of_product))
        sellers = sellers._replace(cut=cut)
    elif anywhere(sellers.cut > 0.0):
        sellers = _uncut(sellers)
    state = state._replace(sellers=sellers)
    wants = wants_of(params, state, exogenous, scale)
    need = by_seller(plan, wants.used(0.0))
    short = 1.0 - fill_share(sellers.outlook[:, :, 0], need)
    wants = wants._replace(
        scale=wants.scale * (1.0 + plan.anticipation * take(short, plan.of_product))
    )
    shadow = price_where(space_wanted(wants), room)
    units = at_least(wants.levels(take(shadow, plan.of_product)) - state.position, 0.0)
    units = units * plan.third_party
    asked = by_seller(plan, units * params.a.volume)
    share = fill_share(room - used_space(params, state), asked)
    units = units * take(share, plan.of_product)
    granted = fill_share(room, need)
    inflated = _exaggeration(plan, sellers.granted)
    if choices is not None:
        inflated = at_most(at_least(choices.request, 0.0), LARGEST_REQUEST)
    sellers = sellers._replace(
        request=need * inflated,
        granted=sellers.granted + GRANT_WEIGHT * (granted - sellers.granted),
    )
    sent = units[:, None] * plan.first_lane
    return state._replace(sellers=sellers), sent if own is None else own + sent


def _uncut(sellers: SellerState) -> SellerState:
    return sellers._replace(cut=sellers.cut * 0.0)


def _cuts(params: Params, sellers: SellerState, shadow: Array) -> Array:
    """Price cuts (B, P) by which sellers who play the system earn space.

    A sale raises the average of past sales, and so later limits, by `earned_days` ft3-days for each
    ft3 of its volume; a cut pays where what the further sales earn, this space included, exceeds
    what all sales lose. Truthful sellers leave their prices alone.
    """
    plan = params.seller_plan
    assert plan is not None
    worth = sellers.earned_days * params.a.volume * shadow
    gained = plan.cut_elasticity * plan.most_cut
    gain = (plan.margin + worth) * gained - plan.kept_price * plan.most_cut * (1.0 + gained)
    # the list price stands where no space is earned, whatever a cut would bring
    pays = namespace(gain).asarray((gain > 0.0) & (worth > 0.0), dtype=gain.dtype)
    return pays * plan.plays * plan.most_cut


def _exaggeration(plan: SellerPlan, granted: Array) -> Array:
    """Multiple of its need that a seller asks for, (B, S): more, the less it was granted before."""
    refused = 1.0 / at_least(granted, LEAST_GRANT) - 1.0
    return at_most(1.0 + plan.inflation * refused, LARGEST_REQUEST)


def billed(
    params: Params, state: State, merchant: Array | None, exogenous: Exogenous
) -> SellerFlows:
    """What sellers are charged for in a period.

    Args:
        params: the network.
        state: after fulfilment and dispatch.
        merchant: (B, P) units that sellers sent to customers themselves.
        exogenous: this period of the tape (storage).
    """
    plan, sellers = params.seller_plan, state.sellers
    assert plan is not None and sellers is not None
    units = sum_entries(state.on_hand if state.yard is None else state.on_hand + state.yard)
    if state.staged is not None:
        units = units + sum_entries(state.staged)
    volume = units * params.a.volume
    stored = volume * plan.third_party
    space = exogenous.revealed.storage_capacity
    crowding = product_sum(volume)[:, None]
    crowding = crowding * 0.0 if space is None else crowding / at_least(_total(space), 1e-6)
    return SellerFlows(
        cut=sellers.cut,
        merchant=merchant,
        stored=stored,
        price=take(sellers.price, plan.size_class),
        over=at_least(by_seller(plan, stored) - sellers.limit - sellers.won, 0.0),
        crowding=crowding,
        won=sellers.won,
        fee=sellers.fee,
        broken=None,
    )


def _total(space: Array) -> Array:
    """Storage of all nodes, (B or 1, 1) ft3."""
    return product_sum(space)[:, None]


def remember(params: Params, state: State, sold: Array, missed: Array, demand: Array) -> State:
    """Rolls averages of sales and availability forward by a period.

    Args:
        params: the network.
        state: at the end of the period.
        sold: (B, P) units.
        missed: (B, R, P) units of demand that met an empty shelf.
        demand: (B, R, P) units.
    """
    sellers = state.sellers
    assert sellers is not None
    days = params.days_per_period
    available = 1.0 - fill_share(sum_entries(missed), sum_entries(demand))
    return state._replace(
        sellers=sellers._replace(
            sales=sellers.sales + (sold / days - sellers.sales) * (days / SALES_DAYS),
            in_stock=sellers.in_stock + (available - sellers.in_stock) * (days / STOCK_DAYS),
        )
    )
