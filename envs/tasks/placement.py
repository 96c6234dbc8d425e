"""Placing: which centre holds how much of each product, and how soon stock is pushed there."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    at_most,
    namespace,
    sum_entries,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Decisions, Flows, Ledger
from stockyard.envs.network.world import Stretch, World, as_booked
from stockyard.envs.tasks.centres import SIZES, VELOCITIES, Centres
from stockyard.envs.tasks.placement_books import Memory, PlacerBooks
from stockyard.envs.tasks.placement_fields import PlacementFields
from stockyard.envs.tasks.retail_fields import boxes
from stockyard.envs.tasks.task import Decoded, View, retailers_accounts, share_where

MAX_COVER_DAYS = 30.0
"""Target cover that the action +1 of mode `cover` stands for."""

SHARPNESS = 4.0
"""Factor of the actions in the softmax of mode `shares`: +1 and -1 are 3000 to 1 apart."""

MODES = ("cover", "class_cover", "shares", "quantity", "residual", "cover_split")


@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Placing a retail network's stock: `stockyard/Placement-v0`.

    ## Description

    A retailer's orders reach cross-docks, which have little room; stock must move on, every day, to
    F fulfilment centres. Regional centres are large and deliver within two days; local centres are
    small and deliver within one day, to their own region. Customers in R regions take what the
    fastest stocked centre offers at a speed they accept, or leave. What is pushed to the wrong
    centre cannot be taken back. Buying is fixed: every week the orders of a fixed rule, recorded
    when the episode was drawn, whatever the agent does.

    One `step` is one day. Order of events within a day:

    1. The state is observed; goods received overnight are on the shelf.
    2. Once a week, recorded orders go to suppliers.
    3. Transfers are taken from the stock that stands at the docks; with transit l they can be sold
       in l days.
    4. Demand arrives; centres serve it, rank by rank of each region's list.
    5. Costs fall due on the stock that is left.
    6. Pipelines advance; docks receive what yard, dock and shelf allow.

    ## Action space

    A flat Box, products (or classes) first: entry p * F + f is product p's at centre f, centres in
    the order of the nodes. `shares` and `cover_split` have C = F + 1 columns a product: with C
    columns, entry p * C + c; in `shares` the first column stays, in `cover_split` the last is the
    split.

    | mode | space | meaning |
    |---|---|---|
    | `cover` (default) | Box(-1, 1, (P * F,)) | fill up to (a + 1) * 15 days of served demand |
    | `class_cover` | Box(-1, 1, (6 * F,)) | the same, one target for all products of a class |
    | `shares` | Box(-1, 1, (P * (F + 1),)) | softmax(4 a) of the dock's stock: stay, each centre |
    | `quantity` | Box(0, max order, (P * F,)) | units to send from the dock |
    | `residual` | Box(-1, 1, (P * F,)) | what the standing rule aims at, times 2^a; 0 is the rule |
    | `cover_split` | Box(-1, 1, (P * (F + 1),)) | cover; last, what skips the dock: (a + 1) / 2 |

    Stock leaves from a product's dock, where its supplier delivers, on the lane to the centre. A
    cover is measured in days of `served_demand` (`Centres.served`): the forecast of the regions
    that ask the centre first, and an equal share of those that it may serve second within two days.
    What the centre has, in its yard and on the way included, is subtracted; a cover of 0 moves
    nothing. Classes are thirds by mean demand, the quickest first, and in each the smaller and the
    larger half by volume; they never change. `residual` exists where the standing rule fills up to
    a level: it multiplies that level and what the rule pushes beyond it.
    In `cover_split` the share of a week's orders that skips the dock goes straight from the
    supplier to the centres, in proportion to their served demand, two days slower and 3 % dearer;
    on other days than an order's it means nothing. Minimum orders and case packs, where a scenario
    has them, hold for each part.

    What is out of reach is projected (`info["clip_fraction"]`): a dock that is short shares its
    stock in proportion to what its lanes ask, lanes into one centre share its free space likewise.

    ## Observation space

    A Dict of float32 boxes in physical units. Each field is flat, products first:
    `stockyard.envs.tasks.task.shaped(observation, env.unwrapped.field_shapes)` gives it the shape
    below. N are all nodes, F the centres among them.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `on_hand` | (P, N) | units | 0 | 1e9 |
    | `yard` | (P, N) | units arrived, not received | 0 | 1e9 |
    | `in_transit` | (P, F, 2) | units that reach the centre within a day, and later | 0 | 1e9 |
    | `inventory_position` | (P,) | units on hand and on order | 0 | 1e9 |
    | `on_order` | (P,) | units ordered, neither arrived nor reported short | 0 | 1e9 |
    | `inbound_quoted` | (P, 7) | units quoted to reach docks in k + 1 days | 0 | 1e9 |
    | `forecast_by_region` | (P, R) | mean units per day over the coming week | 0 | 1e9 |
    | `forecast_by_region_quantiles` | (P, R, 3) | P10, P50, P90 of the same | 0 | 1e9 |
    | `forecast_mean` | (P, 5) | units over 7, 14, 28, 56, 91 days | 0 | 1e9 |
    | `forecast_quantiles` | (P, 5, 3) | P10, P50, P90 over the same days | 0 | 1e9 |
    | `sales_by_region` | (P, R) | units of the last 7 days | 0 | 1e9 |
    | `served_demand` | (P, F) | units per day that covers are measured in | 0 | 1e9 |
    | `price`, `unit_cost` | (P,) | USD | 0 | 1e6 |
    | `volume` | (P,) | ft3 | 0 | 1e6 |
    | `tariff_weight` | (P,) | multiple of the tariff that a unit of it pays | 0 | 1e6 |
    | `group` | (P,) | index of the subcategory | 0 | 1e6 |
    | `storage_capacity` | (N, 5) | ft3 now and announced 1 to 4 weeks ahead | 0 | 1e15 |
    | `receiving_capacity` | (N, 5) | ft3 per day, likewise | 0 | 1e15 |
    | `outbound_capacity` | (N, 5) | units per day, likewise | 0 | 1e15 |
    | `tier` | (N, R) | speed of the lane: 0 one day, 1 two, 2 three to five; -1 none | -1 | 2 |
    | `tariff` | (N, R) | USD per parcel of weight 1; 0 where there is no lane | 0 | 1e6 |
    | `acceptance` | (3,) | share of customers content with each tier | 0 | 1 |
    | `offered_tier` | (5,) | fastest tier on offer now and announced, weekly | 0 | 9 |
    | `season` | (2,) | sine and cosine of the day of the year | -1 | 1 |
    | `days_to_event` | (2,) | days to the next two planned events; 365: none | 0 | 365 |
    | `days_to_review` | (1,) | days until the next orders; 0: today | 0 | 365 |

    A centre's stock for the purpose of a cover is its part of `on_hand`, `yard` and `in_transit`.
    Units that are late count in the first entry of `inbound_quoted`; what a supplier will not
    deliver counts as late until the first day on which its last part is due. Arrival times, fill
    rates and intents are not shown; sales are censored by stock-outs. There is no time to the end
    of the episode. Forecasts, and `served_demand` with them, are the tape's own unless `forecast=`
    says `none`, `biased` or `lagged`; standing rules go on to use the tape's own.

    ## Reward

    Accrual profit in USD as in `stockyard/Replenishment-v0`: sales less purchases, handling,
    transfers, tariffs by distance and weight, rent and goodwill, plus the change of the stock's
    value. Speed is worth what it does to acceptance and tariffs, nothing besides.

    ## Starting state

    After 28 days under the standing rules.

    ## Episode end

    Truncated after `horizon` days (84 at size small); never terminated.

    ## Arguments

    See `stockyard.envs.vector_env.NetworkVectorEnv`: scenario, size, horizon, action, rules,
    demand, integer, forecast, split, backend, dtype, render_mode.

    ## Info

    As `stockyard/Replenishment-v0`.

    ## References

    Acimovic & Graves, M&SOM 17, 2015; Lei, Jasin & Sinha, OR 66, 2018; DeValve, Wei, Wu & Yuan,
    2021 (what fulfilment flexibility is worth).

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    world: World

    def __post_init__(self) -> None:
        """Checks that there is something to decide.

        Raises:
            ValueError: for a world without transfer lanes or without a forecast.
        """
        if not len(self.world.network.transfers.tail):
            raise ValueError("task: placement needs a world with transfer lanes")
        if self.world.forecaster is None:
            raise ValueError("task: placement needs a world with a forecast")

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes."""
        return ("place",)

    @property
    def action_modes(self) -> tuple[str, ...]:
        """Modes of this world; the first is the default."""
        left_out = set()
        if not hasattr(self.world.rules.get("place"), "level"):
            left_out.add("residual")
        if (self.centres.direct_of < 0).all() or "replenish" not in self.world.rules:
            left_out.add("cover_split")
        return tuple(mode for mode in MODES if mode not in left_out)

    @functools.cached_property
    def centres(self) -> Centres:
        """The centres, their lanes and whom they serve."""
        return Centres(self.world.network)

    @functools.cached_property
    def product_class(self) -> npt.NDArray[np.int64]:
        """Class of each product in mode `class_cover`, (P,)."""
        return self.centres.classes(self._fields.rate.sum(axis=1))

    @functools.cached_property
    def _largest_order(self) -> npt.NDArray[np.float64]:
        """(P,) units, rounded as the action space holds them."""
        return self.world.max_order.astype(np.float32).astype(np.float64)

    def action_shape(self, mode: str) -> tuple[int, int]:
        """Rows (products or classes) and columns (centres) of an action before it is flattened."""
        columns = self.centres.count + (mode in ("shares", "cover_split"))
        if mode == "class_cover":
            return VELOCITIES * SIZES, columns
        return self.world.network.num_products, columns

    def action_space(self, mode: str) -> spaces.Box:
        """A flat Box, products or classes first; see the table above."""
        rows, columns = self.action_shape(mode)
        if mode == "quantity":
            high = np.repeat(self.world.max_order.astype(np.float32), columns)
            return spaces.Box(np.zeros_like(high), high, dtype=np.float32)
        return spaces.Box(-1.0, 1.0, (rows * columns,), dtype=np.float32)

    @functools.cached_property
    def _books(self) -> PlacerBooks:
        return PlacerBooks(self.world, self.centres)

    @functools.cached_property
    def _fields(self) -> PlacementFields:
        return PlacementFields(self.world, self.centres, self._books)

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened, products first."""
        return {name: shape for name, (shape, _, _) in self._fields.bounds.items()}

    def observation_space(self) -> spaces.Dict:
        """A Dict of flat float32 boxes with finite bounds."""
        return boxes(self._fields.bounds)

    def observation_scale(self) -> dict[str, Any]:
        """Stock by a week's mean demand, rates by a day's, capacities by their own size."""
        return self._fields.scale()

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the books and the week of sales forward by one step; see `PlacerBooks`."""
        return self._books.remember(params, memory, stretch, quoted_lead, batch)

    def unreported(self, memory: Memory) -> Array | None:
        """Units that will not be delivered and that the buyer still counts on, (B, P)."""
        return self._books.unreported(memory)

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field; products first, as people read it."""
        return self._fields.observe(params, view)

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The retailer's accounts: the reward is its profit."""
        return retailers_accounts(ledger)

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Turns an action (B, rows * columns) into transfers (B, E_tr, P), and orders if split."""
        xp = namespace(action)
        rows, columns = self.action_shape(mode)
        given = action.reshape(-1, rows, columns).swapaxes(1, 2)  # (B, columns, rows)
        if mode == "quantity":
            kept = xp.minimum(at_least(given, 0.0), as_like(self._largest_order, given))
        else:
            kept = at_most(at_least(given, -1.0), 1.0)
        outside = share_where(kept != given, given)
        decide: dict[str, Callable[[Params, Array, View], Array]] = {
            "cover": self._by_cover,
            "class_cover": self._by_class,
            "shares": self._by_shares,
            "quantity": lambda params, units, view: units,
            "residual": self._by_residual,
            "cover_split": lambda params, a, view: self._by_cover(params, a[:, :-1], view),
        }
        transfers = self.centres.on_lanes(params, decide[mode](params, kept, view))
        requested = {"transferred": transfers}
        orders = None
        if mode == "cover_split" and view.period % self.world.source.epoch_periods == 0:
            orders = requested["ordered"] = self._split(params, (kept[:, -1] + 1.0) / 2.0, view)
        return Decoded(Decisions(orders=orders, transfers=transfers), requested, outside)

    def _by_cover(self, params: Params, action: Array, view: View) -> Array:
        """Units that fill each centre up to its cover, (B, F, P)."""
        days = (action + 1.0) * (MAX_COVER_DAYS / 2.0)
        target = days * self._fields.served_daily(view)
        return at_least(target - self.centres.position(params, view.state), 0.0)

    def _by_class(self, params: Params, action: Array, view: View) -> Array:
        """The same, where products of a class share a cover."""
        return self._by_cover(params, action[:, :, self.product_class], view)

    def _by_shares(self, params: Params, action: Array, view: View) -> Array:
        """Shares of the stock at the docks, (B, F, P) units; the first column stays."""
        reached = self.centres.reached(params)
        weight = namespace(action).exp(SHARPNESS * action)
        sent = weight[:, 1:] * reached
        total = weight[:, 0] + sum_entries(sent)
        return sent * (self.centres.dock_stock(params, view.state) / total)[:, None]

    def _by_residual(self, params: Params, action: Array, view: View) -> Array:
        """The standing rule with its level, and what it pushes beyond, times 2^a; (B, F, P)."""
        rule: Any = self.world.rules["place"]
        known = view.tape.known(view.period)
        position = self.centres.position(params, view.state)
        level = self.centres.from_lanes(params, rule.level(params, view.state, known))
        sent = self.centres.from_lanes(params, rule(params, view.state, known))
        beyond = at_least(sent - at_least(level - position, 0.0), 0.0)
        factor = 2.0**action
        return at_least(level * factor - position, 0.0) + beyond * factor

    def _split(self, params: Params, share: Array, view: View) -> Array:
        """This week's orders with a share of each (B, P) on the direct lanes, (B, E_in, P)."""
        booked = as_booked(view.state, self.unreported(view.memory))
        known = view.tape.known(view.period)
        orders = self.world.rules["replenish"](params, booked, known)
        weights = self._fields.served_daily(view)
        return self.centres.split_orders(params, sum_entries(orders), share, weights)
