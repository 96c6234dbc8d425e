"""Buying: how much of each product to order from its suppliers."""

import dataclasses
import functools
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
    stack,
    sum_entries,
)
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.params import Params
from stockyard.envs.network.standing_rules import inventory_position, on_first_lane
from stockyard.envs.network.state import Decisions, Flows, Ledger, State
from stockyard.envs.network.world import Stretch, World, as_booked
from stockyard.envs.tasks.buyer_books import HISTORY, BuyerBooks, Memory
from stockyard.envs.tasks.retail_fields import (
    MOST_UNITS,
    Bounds,
    RetailFields,
    boxes,
    expected_over,
    in_transfer,
)
from stockyard.envs.tasks.task import Decoded, View, retailers_accounts, share_where

MAX_COVER_DAYS = 90.0
"""Order-up-to cover that the action +1 of mode `cover` stands for."""


@dataclasses.dataclass(frozen=True, eq=False)
class Replenishment:
    """Buying for a retail network: `stockyard/Replenishment-v0`.

    ## Description

    A retailer buys P products from suppliers. Orders arrive at cross-docks in two parts, late and
    not quite complete; a standing rule pushes stock on to fulfilment centres; customers in R
    regions take what their nearest stocked centre offers at a speed they accept, or leave. Docks
    and shelves are shared by all products and sized to the mean, so what is bought too early of one
    product delays another. Textbook problems (`stockyard.envs.textbook`) are worlds of the same
    environment with one node.

    One `step` is one order: it simulates `periods_per_step` periods (a week in retail worlds, one
    period in textbook problems). Order of events within a period:

    1. The state is observed; goods received overnight are on the shelf.
    2. Orders are placed (first period of a step only); an order with lead time l can be sold in l
       periods.
    3. The placement rule moves start-of-period stock between nodes.
    4. Demand arrives; nodes serve it, rank by rank of each region's list.
    5. Costs fall due on the stock that is left.
    6. Pipelines advance; docks receive what yard, dock and shelf allow.

    ## Action space

    | mode | space | meaning |
    |---|---|---|
    | `cover` (retail default) | Box(-1, 1, (P,)) | level: the forecast of (a + 1) * 45 days |
    | `quantity` (textbook: the only one) | Box(0, max order, (P,)) | units to order |
    | `residual` | Box(-1, 1, (P,)) | level of the standing rule times 2^a; 0 is the rule |

    An order is the level less the inventory position, never negative, on the first lane that
    carries the product. Where a product has several inbound lanes,
    quantities are (P, E_in). What is out of reach is projected (`info["clip_fraction"]`).

    ## Observation space

    A Dict of float32 boxes in physical units. Each field is flat, products first:
    `stockyard.envs.tasks.task.shaped(observation, env.unwrapped.field_shapes)` gives it the shape
    below. L is the number of review periods that an order can be under way; fields marked * appear
    in retail worlds only.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `on_hand` | (P, N) | units | 0 | 1e9 |
    | `inventory_position` | (P,) | units on hand and on order, less backlog | 0 or -1e9 | 1e9 |
    | `backlog` (backorders only) | (P,) | units owed | 0 | 1e9 |
    | `on_order_quoted` | (P, L) | units quoted to arrive in k + 1 review periods | 0 | 1e9 |
    | `on_order` * | (P,) | units ordered, neither arrived nor reported short | 0 | 1e9 |
    | `in_transfer` * | (P,) | units between nodes | 0 | 1e9 |
    | `yard` * | (P, N) | units arrived, not received | 0 | 1e9 |
    | `sales_history` * | (P, 13) | units per review period, latest first | 0 | 1e9 |
    | `in_stock_history` * | (P, 13) | share of days without a stock-out | 0 | 1 |
    | `received_history` * | (P, 13) | units received from suppliers | 0 | 1e9 |
    | `forecast_mean` * | (P, 5) | units over 7, 14, 28, 56, 91 days | 0 | 1e9 |
    | `forecast_quantiles` * | (P, 5, 3) | P10, P50, P90 over the same days | 0 | 1e9 |
    | `quoted_lead_time` * | (P,) | periods | 0 | 1e4 |
    | `price`, `unit_cost` * | (P,) | USD | 0 | 1e6 |
    | `volume` * | (P,) | ft3 | 0 | 1e6 |
    | `storage_capacity` * | (N, 5) | ft3 now and announced 1 to 4 weeks ahead | 0 | 1e15 |
    | `receiving_capacity` * | (N, 5) | ft3 per period, likewise | 0 | 1e15 |
    | `supplier_capacity` * | (P, 5) | units per day of its supplier, likewise | 0 | 1e15 |
    | `offered_tier` * | (5,) | fastest delivery tier on offer, likewise; 0: one day | 0 | 9 |
    | `season` * | (2,) | sine and cosine of the day of the year | -1 | 1 |
    | `days_to_event` * | (2,) | days to the next two planned events; 365: none | 0 | 365 |

    `season` is the date that demand depends on; where demand knows no calendar (`steady`, `real`),
    episodes begin in a random week and it says nothing. Before the burn-in, history shows no sales,
    no receipts and full availability. `received_history` leaves transfers out.

    Forecasts are the tape's own martingale unless `forecast=` names another (`none`, `biased`,
    `lagged`, `learned`, or a callable; `stockyard.envs.tasks.shown_forecast`). What is shown is
    what mode `cover` measures in; valuation and standing rules go on to use the tape's own.

    Sales are censored by stock-outs; intents, arrival times and fill rates are not shown. What a
    supplier will not deliver counts as on order until the first review at or after the order's last
    part is due, and orders are measured against the same position that is shown. There is no time
    to the end of the episode.

    ## Reward

    Retail: accrual profit in USD, cash plus the change of the stock's value (cost and handling paid
    so far, in full up to 54 days of forecast, 35 % beyond), less 2 USD goodwill per lost unit.
    Textbook: minus the textbook cost of the period.

    ## Starting state

    Retail: stock near the standing rule's long-run mean, after 28 days under that rule; the opening
    stock is not a gift, for its value is subtracted. Textbook: empty.

    ## Episode end

    Truncated after `horizon` periods (retail: 182, 364, 546 by size); never terminated.

    ## Arguments

    See `stockyard.envs.vector_env.NetworkVectorEnv`: scenario, size, horizon, action, rules,
    demand, integer, forecast, split, backend, dtype, render_mode.

    ## Info

    `ledger`: account -> USD, summing to the reward. `metrics`: key figures of
    `stockyard.envs.metrics.summarise`, computed when first read. `clip_fraction`: share of the
    action that was projected away. On reset: `tape_hash`.

    ## References

    Madeka et al., Deep Inventory Management, 2022 (arXiv 2210.03137); Andaz et al., Learning an
    Inventory Control Policy with General Inventory Arrival Dynamics, 2023 (arXiv 2310.17168);
    Heath & Jackson, IIE Transactions 26, 1994 (martingale forecasts).

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    world: World

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes."""
        return ("replenish",)

    @property
    def action_modes(self) -> tuple[str, ...]:
        """Modes of this world; the first is the default."""
        if self.world.forecaster is None:
            return ("quantity",)
        orders_up_to = hasattr(self.world.rules.get("replenish"), "level")
        return ("cover", "quantity", "residual") if orders_up_to else ("cover", "quantity")

    @property
    def _lanes(self) -> int:
        """Lanes a product may choose among: 1 where no product has more than one."""
        lanes = self.world.network.carries
        return len(lanes) if (lanes.sum(axis=0) > 1).any() else 1

    @functools.cached_property
    def _books(self) -> BuyerBooks:
        return BuyerBooks(self.world)

    @functools.cached_property
    def _shared(self) -> RetailFields:
        return RetailFields(self.world, shows_supply=True)

    @functools.cached_property
    def _largest_order(self) -> npt.NDArray[np.float64]:
        """(P,) units, rounded as the action space holds them."""
        return self.world.max_order.astype(np.float32).astype(np.float64)

    def action_space(self, mode: str) -> spaces.Box:
        """`quantity`: units to order; other modes: [-1, 1] per product."""
        products = self.world.network.num_products
        if mode == "quantity":
            high = self.world.max_order.astype(np.float32)
            if self._lanes > 1:
                high = np.repeat(high[:, None], self._lanes, axis=1)
            return spaces.Box(np.zeros_like(high), high, dtype=np.float32)
        return spaces.Box(-1.0, 1.0, (products,), dtype=np.float32)

    def _fields(self) -> Bounds:
        """Field -> (shape, low, high)."""
        world, network = self.world, self.world.network
        p, n = network.num_products, network.num_nodes
        most = MOST_UNITS
        signed = -most if world.economics.unmet == "backorder" else 0.0
        fields: Bounds = {
            "on_hand": ((p, n), 0.0, most),
            "inventory_position": ((p,), signed, most),
        }
        if world.economics.unmet == "backorder":
            fields["backlog"] = ((p,), 0.0, most)
        if self._books.quoted_slots:
            fields["on_order_quoted"] = ((p, self._books.quoted_slots), 0.0, most)
        if not world.shows_history:
            return fields
        return fields | {
            "in_transfer": ((p,), 0.0, most),
            "sales_history": ((p, HISTORY), 0.0, most),
            "in_stock_history": ((p, HISTORY), 0.0, 1.0),
            "received_history": ((p, HISTORY), 0.0, most),
            "quoted_lead_time": ((p,), 0.0, 1e4),
            **self._shared.bounds(),
        }

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened, products first."""
        return {name: shape for name, (shape, _, _) in self._fields().items()}

    def observation_space(self) -> spaces.Dict:
        """A Dict of flat float32 boxes with finite bounds."""
        return boxes(self._fields())

    def observation_scale(self) -> dict[str, Any]:
        """Units by mean demand of a review period, money by its own size, capacities by theirs."""
        world = self.world
        rate = world.source.demand.mean_rate(world.network).sum(axis=0)
        units = np.maximum(rate * world.periods_per_step, 1e-3)
        scale: dict[str, Any] = {
            "in_stock_history": 1.0,
            "quoted_lead_time": 14.0 * world.network.periods_per_day,
            **self._shared.scale(),
        }
        fields = self._fields()
        for name, (shape, _, _) in fields.items():
            if name not in scale:
                scale[name] = units.reshape((-1,) + (1,) * (len(shape) - 1))
        return {name: scale[name] for name in fields}

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the buyer's books forward by one review period; see `BuyerBooks`."""
        return self._books.remember(params, memory, stretch, quoted_lead, batch)

    def unreported(self, memory: Memory) -> Array | None:
        """Units that will not be delivered and that the buyer still counts on, (B, P)."""
        return memory.unfilled[0] if memory.unfilled else None

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field; products first, as people read it."""
        state = as_booked(view.state, self.unreported(view.memory))
        fields = self._fields_but_forecasts(params, view, state)
        if self.world.shows_history:
            fields |= self._shared.forecasts(view, fields)
        return fields

    def _fields_but_forecasts(self, params: Params, view: View, state: State) -> dict[str, Array]:
        """What a forecast that is not the tape's own may read; `state` is that of the books."""
        memory = view.memory
        fields: dict[str, Array] = {"on_hand": state.on_hand.swapaxes(1, 2)}
        if state.backlog is not None:
            fields["backlog"] = sum_entries(state.backlog)
        position = inventory_position(state)
        # carried from period to period, so that nothing may come out as a rounding error below
        is_owed = state.backlog is not None
        fields["inventory_position"] = position if is_owed else at_least(position, 0.0)
        if self._books.quoted_slots:
            fields["on_order_quoted"] = stack(memory.quoted, axis=2)
        if self.world.shows_history:
            fields |= self._rich_fields(params, view, state)
        return fields

    def _rich_fields(self, params: Params, view: View, state: State) -> dict[str, Array]:
        like = state.position
        memory = view.memory
        lead = view.tape.known(view.period).quoted_lead
        if lead is None:
            lead = as_like(self.world.network.inbound.lead_time[None], like)
        lead = lead * params.a.carries
        return {
            "in_transfer": in_transfer(state),
            "sales_history": stack(memory.sales, axis=2),
            "in_stock_history": stack(memory.in_stock, axis=2),
            "received_history": stack(memory.received, axis=2),
            "quoted_lead_time": namespace(like).max(lead, axis=1) + like * 0.0,
            **self._shared.observe(params, view, state),
        }

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The retailer's accounts: the reward is its profit."""
        return retailers_accounts(ledger)

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Turns an action (B, P) or (B, P, E_in) into orders (B, E_in, P)."""
        xp = namespace(view.state.on_hand)
        if mode == "quantity":
            high = as_like(self._largest_order, action)
            if action.ndim == 3:
                high = high[:, None]
            units = xp.minimum(at_least(action, 0.0), high)
            outside = share_where(units != action, action)
            if action.ndim == 3:
                orders, asked = units.swapaxes(1, 2), action.swapaxes(1, 2)
            else:
                orders, asked = on_first_lane(params, units), on_first_lane(params, action)
            return Decoded(Decisions(orders=orders), {"ordered": asked}, outside)
        given, action = action, at_most(at_least(action, -1.0), 1.0)
        outside = share_where(given != action, action)
        state = as_booked(view.state, self.unreported(view.memory))
        if mode == "cover":
            days = (action + 1.0) * (MAX_COVER_DAYS / 2.0)
            shown = self._shared.shown(
                view, lambda: self._fields_but_forecasts(params, view, state)
            )
            means = [shown.means[:, k] for k in range(len(HORIZONS_DAYS))]
            target = expected_over(means, days)
        else:
            rule: Any = self.world.rules["replenish"]
            known = view.tape.known(view.period)
            target = rule.level(params, state, known) * 2.0**action
        need = target - inventory_position(state)
        orders = on_first_lane(params, at_least(need, 0.0))
        return Decoded(Decisions(orders=orders), {"ordered": orders}, outside)
