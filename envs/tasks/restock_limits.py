"""Restock limits: how much space third-party sellers get, and what they pay for it."""

import dataclasses
import functools
from typing import Any

import numpy as np
from gymnasium import spaces

from stockyard.envs.network.arrays import Array, as_like, at_least, at_most, product_sum
from stockyard.envs.network.params import Params
from stockyard.envs.network.platform_view import platform_view
from stockyard.envs.network.state import Decisions, Flows, Ledger, Terms
from stockyard.envs.network.world import Stretch, World
from stockyard.envs.tasks.referee import Objective, resolve_objective, weighed
from stockyard.envs.tasks.restock_books import Memory, remember
from stockyard.envs.tasks.restock_fields import RestockFields
from stockyard.envs.tasks.restock_modes import (
    DECODERS,
    MECHANISM_OF,
    NO_LIMIT,
    corrected,
    residual_size,
)
from stockyard.envs.tasks.retail_fields import MOST_MONEY, boxes
from stockyard.envs.tasks.task import Decoded, View, share_where

MODES = ("hybrid", "rule", "caps", "auction", "price", "class_price", "residual", "quantity")

MOST_EARNED_DAYS = 365.0
"""Largest number of days of past sales that limits may grow by, in mode `quantity`."""


@dataclasses.dataclass(frozen=True, eq=False)
class RestockLimits:
    """Limiting and pricing sellers' space: `stockyard/RestockLimits-v0`.

    ## Description

    S third-party sellers sell most units of a platform's network. They share its storage, docks and
    centres with each other and with the platform's own retail, and send in what pays for them: a
    full yard, slow docks and empty shelves of others are not their concern. Every 28 days the
    platform sets terms: how much each seller may have on hand and inbound, what a ft3 costs, or how
    much space is auctioned. Sellers answer with what they alone know: their view of demand, the
    promotions they plan, how a launch will go. Some ask for more than they need, some hoard, some
    cut prices to earn space. A limit removes nothing; it blocks inbound.

    One `step` is 28 days. Order of events within a day:

    1. The state is observed; goods received overnight are on the shelf.
    2. On the first day of a step, terms come into force; an auction clears at the sellers' bids.
    3. Once a week, sellers review targets, requests and prices, and order within their limits; the
       platform's own retail orders by a standing rule.
    4. Stock moves to centres by a standing rule.
    5. Demand arrives; centres serve it. Of the customers that the network loses, sellers serve some
       from stock of their own, slower and dearer.
    6. Costs fall due: rent and yard of what is in the buildings, storage, overage and reservation
       fees of the sellers.
    7. Pipelines advance; docks receive, the slower the fuller their building is.

    ## Action space

    Modes are mechanisms with action sets of their own; policies compete within a mechanism.

    | mode | mechanism | space | meaning |
    |---|---|---|---|
    | `hybrid` (default) | hybrid | Box(-1, 1, (8,)) | `rule`, `price`, then offered and reserve |
    | `rule` | caps | Box(-1, 1, (5,)) | weights of past sales, forecast, index; floor; total |
    | `caps` | caps | Box(-1, 1, (S,)) | months of forecast: .25, 1, 4 at -1, 0, 1 |
    | `auction` | auction | Box(-1, 1, (3,)) | free cover, share of storage booked, reserve price |
    | `price` | price | Box(-1, 1, (1,)) | USD per ft3-month: 0, 10, 40 at -1, 0, 1 |
    | `class_price` | price | Box(-1, 1, (C,)) | the same for each size class |
    | `residual` | the rule's | Box(-1, 1, ...) | what the standing rule says, times 2^a |
    | `quantity` | any | Box(0, ..., (3 S + C + 3,)) | everything in physical units, see below |

    In `rule` the entries are, with u = (a + 1) / 2: months of past sales (3 u^3), months of the
    forecast (.25 * 16^u), the power of the inventory index over its mean (2 u), a floor in months
    of the forecast (u), and the share of the storage that all limits and the platform's own stock
    may come to (2.4 u). What past sales earn is announced as a rate: sellers know that it pays to
    sell. In `auction` the entries are free cover in months of the forecast (u), the booked share
    (2.4 u) and the reserve price, as in `price`. Prices of storage up to 8 USD may be set at any
    time; beyond that they rise by at most a quarter and 1 USD from month to month, for stock cannot
    leave at once.

    `residual` corrects, by mechanism: limits (S); prices (C); free limits, what is offered and the
    reserve price (3); or S, C and the last two. It exists where the standing rule of `restock`
    announces terms (`forecast_need`, `storage_price`, `space_auction`).

    `quantity`, in this order: limits (S) ft3, from 1e9 on none; days of past sales that limits grow
    by (1); prices (C) USD per ft3-month; space offered (1) ft3; reserve price (1) USD per
    ft3-month; outlooks (S * 2) ft3, seller by seller, of the two months after. In other modes they
    follow the same rule on the forecasts of those months.

    ## Observation space

    A Dict of float32 boxes in physical units; each field is flat:
    `stockyard.envs.tasks.task.shaped(observation, env.unwrapped.field_shapes)` gives it the shape
    below. C are size classes by volume; the seven columns of capacities are now and what is
    announced for 1, 2, 3, 4, 8 and 12 weeks ahead.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `seller_stored_volume` | (S,) | ft3 in buildings and between them | 0 | 1e9 |
    | `seller_inbound_volume` | (S,) | ft3 on the way from suppliers | 0 | 1e9 |
    | `seller_sales_volume` | (S, 2) | ft3 a day, last 28 days and average of 90 | 0 | 1e9 |
    | `seller_sales_value` | (S,) | USD a day at list prices, last 28 days | 0 | 1e9 |
    | `seller_forecast_volume` | (S, 3) | ft3 a day expected in three months to come | 0 | 1e9 |
    | `seller_in_stock` | (S,) | share of demand that met a stocked shelf | 0 | 1 |
    | `seller_sell_through` | (S,) | units sold in 90 days over units in buildings | 0 | 9 |
    | `seller_excess` | (S,) | share of units above 90 days of forecast | 0 | 1 |
    | `seller_index` | (S,) | of the last three, by weights | 0 | 1000 |
    | `seller_new_share` | (S,) | share of its products launched within 91 days | 0 | 1 |
    | `limit` | (S,) | ft3 in force, space bought included; 1e9: none | 0 | 1e9 |
    | `outlook` | (S, 2) | ft3 announced for this month and the next | 0 | 1e9 |
    | `request` | (S,) | ft3 asked for at the last weekly review | 0 | 1e9 |
    | `granted_share` | (S,) | share of that request which the limit allows | 0 | 1 |
    | `price` | (C,) | USD per ft3-month in force | 0 | 1e6 |
    | `clearing_price` | (1,) | USD per ft3-month of the last auction; 0: none | 0 | 1e6 |
    | `storage_capacity` | (7,) | ft3, all nodes | 0 | 1e15 |
    | `receiving_capacity` | (7,) | ft3 a day, nodes that suppliers deliver to | 0 | 1e15 |
    | `crowding` | (2,) | ft3 on shelves and in yards over the storage: now, last month | 0 | 1e6 |
    | `yard_volume` | (1,) | ft3 waiting for docks | 0 | 1e9 |
    | `refused_volume` | (1,) | ft3 a day turned away by full yards, last month | 0 | 1e9 |
    | `own_volume` | (1,) | ft3 of the platform's own products in buildings | 0 | 1e9 |
    | `own_forecast_volume` | (3,) | ft3 a day expected of them in three months | 0 | 1e9 |
    | `on_hand` | (P,) | units on shelves | 0 | 1e9 |
    | `inventory_position` | (P,) | units anywhere in the network and on the way | 0 | 1e9 |
    | `forecast_mean` | (P, 5) | units over 7, 14, 28, 56, 91 days | 0 | 1e9 |
    | `sales_daily` | (P,) | units a day, average of 90 days | 0 | 1e9 |
    | `product_price` | (P,) | USD | 0 | 1e6 |
    | `product_volume` | (P,) | ft3 | 0 | 1e6 |
    | `product_seller` | (P,) | number of its seller; 0: the platform | 0 | 1e6 |
    | `season` | (2,) | sine and cosine of the day of the year | -1 | 1 |
    | `days_to_event` | (2,) | days to the next two planned events; 365: none | 0 | 365 |

    Sellers' costs, beliefs and plans are not shown, nor what they remember. There is no time to the
    end of the episode.

    ## Reward

    The `objective`: weights of three surpluses, in USD, less what volatility costs.
    `welfare` (default): 1, 1, 1 and .5 USD per ft3 by which a limit differs from what was announced
    for its month. `platform`: the platform's alone. `triple_win`: welfare, less 2 USD per USD that
    a party has less so far than under the reference rule. A mapping sets weights itself
    (`platform`, `sellers`, `customers`, `volatility`, `worse_off`).

    The platform's surplus is its accrual profit as in `stockyard/Replenishment-v0`, with the fees
    of sellers; the sellers' is theirs, stock valued alike; customers have what goods are worth to
    them (list price and 30, 28 or 24 % by delivery time) less what they pay.

    ## Starting state

    After 28 days under the standing rules.

    ## Episode end

    Truncated after `horizon` days (336 at all sizes); never terminated.

    ## Arguments

    `objective`: see Reward. The others as `stockyard.envs.vector_env.NetworkVectorEnv` says;
    `rules={"restock": ...}` names the reference rule, which also runs the burn-in and is what
    `residual` corrects: a name or `{"name": "space_auction", "overbook": 0.9}`. Where the action is
    `{"residual": rule}`, that rule is corrected and the reference stays.

    ## Info

    `ledger`: accounts as they count in the objective, payments between parties of equal weight
    cancelling; they sum to the reward. `metrics`: besides those of `stockyard/Replenishment-v0`,
    `surplus_*` of the three parties, `is_pareto_better` than the reference so far, `limit_gini` of
    limits over needs, `in_stock_new` of sellers with launches, `bullwhip` (variance of what sellers
    ship over that of what they sell), `crowding`, `broken_outlook`.

    ## References

    Cachon & Lariviere, Management Science 45, 1999 (allocation, turn and earn); Hadley & Whitin,
    1963 (newsvendors under one limit); Liu, 2012; Cho & Tang, 2014.

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    world: World
    objective_given: Any = None

    def __post_init__(self) -> None:
        """Checks that there are sellers, and the objective.

        Raises:
            ValueError: for a world without sellers or forecasts, or an unknown objective.
        """
        if self.world.sellers is None:
            raise ValueError("task: restock_limits needs a world with sellers")
        if self.world.forecaster is None:
            raise ValueError("task: restock_limits needs a world with a forecast")
        _ = self.objective

    @functools.cached_property
    def objective(self) -> Objective:
        """What counts, and how much."""
        return resolve_objective(self.objective_given)

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes."""
        return ("restock",)

    @property
    def _rule(self) -> Any:
        """The standing rule, where it announces terms."""
        rule = self.world.rules.get("restock")
        return rule if getattr(rule, "announces_terms", False) else None

    @property
    def action_modes(self) -> tuple[str, ...]:
        """Modes of this world; the first is the default."""
        return tuple(mode for mode in MODES if mode != "residual" or self._rule is not None)

    def mechanism(self, mode: str) -> str:
        """The mechanism that policies of a mode compete in."""
        if mode == "residual":
            return str(self._rule.mechanism)
        return MECHANISM_OF[mode]

    @property
    def _counts(self) -> tuple[int, int]:
        sellers = self.world.sellers
        assert sellers is not None
        return sellers.num_sellers, sellers.num_size_classes

    def action_space(self, mode: str) -> spaces.Box:
        """A flat Box; see the table above."""
        s, c = self._counts
        if mode == "quantity":
            high = np.concatenate(
                (
                    np.full(s, NO_LIMIT),
                    [MOST_EARNED_DAYS],
                    np.full(c, MOST_MONEY),
                    [NO_LIMIT, MOST_MONEY],
                    np.full(2 * s, NO_LIMIT),
                )
            ).astype(np.float32)
            return spaces.Box(np.zeros_like(high), high, dtype=np.float32)
        sizes = {"hybrid": 8, "rule": 5, "caps": s, "auction": 3, "price": 1, "class_price": c}
        size = sizes[mode] if mode in sizes else residual_size(self._rule.mechanism, s, c)
        return spaces.Box(-1.0, 1.0, (size,), dtype=np.float32)

    @functools.cached_property
    def _fields(self) -> RestockFields:
        return RestockFields(self.world)

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened."""
        return {name: shape for name, (shape, _, _) in self._fields.bounds.items()}

    def observation_space(self) -> spaces.Dict:
        """A Dict of flat float32 boxes with finite bounds."""
        return boxes(self._fields.bounds)

    def observation_scale(self) -> dict[str, Any]:
        """Static typical size of every field, broadcastable to it; never from a tape."""
        return self._fields.scale()

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Figures of the last step; see `restock_books.Memory`."""
        like = as_like(np.zeros((batch, self.world.network.num_products)), params.a.volume)
        return remember(params, stretch, like)

    def unreported(self, memory: Memory) -> Array | None:
        """None: sellers ship what they order, and the retailer's standing rule keeps no books."""
        return None

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field, in physical units."""
        return self._fields.observe(params, view)

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Turns an action (B, entries) into terms."""
        if mode == "quantity":
            high = as_like(self.action_space(mode).high.astype(np.float64), action)
            kept = at_least(action, 0.0)
            kept = kept - at_least(kept - high, 0.0)
        else:
            kept = at_most(at_least(action, -1.0), 1.0)
        outside = share_where(kept != action, action)
        known = view.tape.known(view.period)
        if mode == "residual":
            terms: Terms = self._rule(params, view.state, known)
            terms = corrected(terms, kept, self._rule.mechanism)
        else:
            terms = DECODERS[mode](params, kept, platform_view(params, view.state, known))
        return Decoded(Decisions(terms=terms), {}, outside)

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The accounts that make the reward."""
        accounts = weighed(self.objective, ledger)
        broken = [f.sellers.broken for f in flows if f.sellers is not None]
        told = [b for b in broken if b is not None]
        if told and self.objective.volatility:
            volume = product_sum(sum(told[1:], start=told[0]))
            accounts["volatility"] = -volume * self.objective.volatility
        return accounts
