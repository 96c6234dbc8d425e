"""Filling trucks: how many leave on each lane, when, and which way."""

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
    namespace,
    product_sum,
    take,
    to_numpy,
)
from stockyard.envs.network.fleet import fleet_plan
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Decisions, Flows, Ledger, TruckPlan
from stockyard.envs.network.truck_rules import (
    HoldRule,
    Thresholds,
    plan_by,
    staged_volume,
)
from stockyard.envs.network.world import Stretch, World
from stockyard.envs.tasks.retail_fields import boxes
from stockyard.envs.tasks.task import Decoded, View, retailers_accounts, share_where
from stockyard.envs.tasks.truck_fields import (
    MOST_TRUCKS,
    Memory,
    TruckBooks,
    TruckFields,
    truck_masks,
)

MODES = ("threshold", "trucks", "residual", "quantity")

COST_LIMIT = 0.01
"""Late parcels as a share of all that the constrained variant allows."""

PATIENCE_POWER = 2.0
"""An action of +1 is four times the patience of 0, -1 a quarter of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class TruckFill:
    """Filling the trucks of a fulfilment network: `stockyard/TruckFill-v0`.

    ## Description

    Four times a day, trucks may leave fulfilment centres for customers' regions. Parcels wait in
    bins by slack, the waves that are left until their last on-time dispatch: customers who want
    their goods at once leave little, those in no rush much. A truck costs the same full or empty,
    so it pays to wait until it fills, but what is late costs dearly, and what fills less of a truck
    than pays for one can go by common carrier. Lanes are coupled:

    - The trucks of a centre are few, and gone for the round trip of their lane, which may take
      longer; their drivers have so many hours a day. Hired trucks cost twice as much and are few.
    - The same trucks fetch pallets and the network's own products from the cross-dock.
    - What direct trucks leave behind may take a linehaul to a sort hub, where parcels of several
      centres and regions meet, and go on from there with trucks of the hub.

    Most of the load is the rest of the assortment, whose volume varies from day to day and is
    forecast bit by bit; the products that the network sells ride along. Buying and placing follow
    standing rules.

    One `step` is one wave, a quarter of a day. Order of events within a wave:

    1. The state is observed; the trucks due back are there.
    2. Products are ordered and moved by the standing rules; moved ones wait for a truck.
    3. Customers order.
    4. Trucks leave with what stood at step 1: pallets and parcels, earliest due first; linehauls
       take what direct trucks left. Of the parcels with slack 0 that are still there carriers take
       as many as they can, the others are late.
    5. Costs fall due.
    6. Slack falls by one; what reaches a hub, and what came in during the wave, joins the bins.

    ## Action space

    Lanes are numbered transfer lanes, outbound lanes, hub lanes, linehauls: L truck lanes, of which
    E outbound lanes come after the transfer lanes. F parcel lanes have bins: outbound lanes, hub
    lanes, transfer lanes. G pools have trucks.

    | mode | space | meaning |
    |---|---|---|
    | `threshold` (default) | Box(-1, 1, (2 * L + E + G,)) | when trucks leave, see below |
    | `trucks` | MultiDiscrete | trucks of each lane 0 to 4, and flags, see below |
    | `residual` | Box(-1, 1, (2 * L + E + G,)) | `threshold` around the standing rule |
    | `quantity` | Box(0, most, (2 * L + E + F,)) | the plan itself, see below |

    `threshold`: on a lane leave max(ceil(due - patience), floor(waiting - hold)) trucks, in
    truckloads of what waits and of what cannot wait for the next wave. The first L entries are
    holds: a truckloads, so that 0 sends full trucks and -.3 those that are seven tenths full. The
    next L are patience: the truckload that a carrier would take for the price of a truck, times
    4^a. The next E are routes: above 0, the lane's parcels may take the linehaul. The last G are
    patience with hired trucks: twice the lane's price, times 4^a; they are only hired for what is
    due. Carriers take all that is due and left. With zeros this is the rule due and top-up.

    `residual`: around the standing rule, a hold rule whose numbers by kind of lane are about what
    tuning finds in `steady`; `{"residual": {"name": "truck_hold", "hold": -0.1}}` corrects that
    one instead, and the standing rule still runs the burn-in. Holds are added to those of the
    rule, patience multiplies its patience, and a route above .5 is the other than the rule's.

    `trucks`: L entries 0 to 4, trucks; then G flags, 1 to hire what the pool lacks; E flags, 1 for
    the linehaul; F flags, 1 to give what is due and left to carriers. `action_masks` says which
    entries are possible: no more trucks than the lane's pool can send, hired ones included.

    `quantity`: L trucks; L trucks up to which hired ones make up for missing own ones; E shares
    that may take the linehaul; F shares of what is due and left that carriers take. Trucks are
    rounded.

    What is out of reach is projected (`info["clip_fraction"]`): a pool that is short gives its
    trucks one by one to the lane whose next truck takes most of what is due.

    ## Observation space

    A Dict of float32 boxes in physical units. Each field is flat:
    `stockyard.envs.tasks.task.shaped(observation, env.unwrapped.field_shapes)` gives it the shape
    below. K is the longest slack; bins are late, slack 0 to K, no deadline.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `parcels` | (F, K + 3) | parcels by bin | 0 | 1e9 |
    | `volume` | (F, K + 3) | ft3 of them | 0 | 1e9 |
    | `staged_volume` | (E_tr,) | ft3 of own products that wait to be fetched | 0 | 1e9 |
    | `to_hub_volume` | (E_hub, K + 3) | ft3 on linehauls, by the bin they will join | 0 | 1e9 |
    | `own_trucks` | (G,) | trucks at hand | 0 | 1e9 |
    | `due_back` | (G, 8) | trucks that should be back in k + 1 waves, last: or later | 0 | 1e9 |
    | `overdue` | (G,) | trucks that should be back | 0 | 1e9 |
    | `spot_trucks` | (G,) | trucks for hire | 0 | 1e9 |
    | `carrier_parcels` | (G,) | parcels that carriers take in this wave | 0 | 1e9 |
    | `driver_hours` | (G,) | hours that drivers have left today (where limited) | 0 | 1e9 |
    | `trucks_at_hand` | (L,) | trucks that can be sent on the lane, at most 4 | 0 | 1e9 |
    | `fleet_size` | (G, 5) | trucks in service now and announced 1 to 4 days ahead | 0 | 1e9 |
    | `forecast` | (F, 12) | ft3 expected to join in this wave and the next 11 | 0 | 1e9 |
    | `truck_volume`, `round_trip` | (L,) | ft3; waves | 0 | 1e9 |
    | `duty_hours`, `lane_pool` | (L,) | hours of a driver; pool of the lane | 0 | 1e9 |
    | `truck_cost`, `spot_cost` | (L,) | USD | 0 | 1e6 |
    | `via_line`, `via_lane` | (E,) | linehaul and hub lane of the way through the hub | -1 | 1e9 |
    | `via_slack` | (E,) | waves of slack that it costs | -1 | 1e9 |
    | `wave`, `weekday` | (4,), (7,) | 1 for the wave of the day and the day of the week | 0 | 1 |

    Fields of hubs are missing where there are none. The forecast is that of the rest of the
    assortment; what joins in this wave can leave in the next. There is no time to the end of the
    episode.

    ## Reward

    Minus what freight costs in USD: own and hired trucks, carriers, late parcels (5 USD once and
    1 USD a day each), and 10 USD for a sale lost on an empty shelf; plus the change of what it will
    cost to move what waits, charged by volume when it joins and released when it leaves, so that
    holding back at the end earns nothing. A scenario may keep the books of the whole retailer.

    The constrained variant: `info["cost"]` is the late parcels of the step over the mean number of
    parcels that join in one; over an episode its mean must stay at or below
    `env.unwrapped.cost_limit`, .01.

    ## Starting state

    After 28 days under the standing rules.

    ## Episode end

    Truncated after `horizon` waves (112); never terminated.

    ## Arguments

    See `stockyard.envs.vector_env.NetworkVectorEnv`: scenario, size, horizon, action, rules,
    demand, integer, split, backend, dtype, render_mode.

    ## Info

    As `stockyard/Replenishment-v0`, and `cost`. Metrics besides: the shares of own and hired
    trucks, of parcels by carrier and through the hub.

    ## References

    Higginson & Bookbinder, Journal of Business Logistics 15, 1994; Cetinkaya & Bookbinder,
    Transportation Research B 37, 2003 (consolidation); Greening, Dahan & Erera, Transportation
    Research B 174, 2023 (middle-mile consolidation with waiting).

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    world: World

    def __post_init__(self) -> None:
        """Checks that there are trucks to fill.

        Raises:
            ValueError: for a world without `Freight`, or whose trucks carry nothing else.
        """
        if self.world.network.freight is None or self.world.source.background is None:
            raise ValueError("task: truck_fill needs a world with freight and a background volume")

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes."""
        return ("dispatch",)

    @property
    def action_modes(self) -> tuple[str, ...]:
        """Modes of this world; the first is the default."""
        has_thresholds = hasattr(self.world.rules.get("dispatch"), "thresholds")
        return tuple(mode for mode in MODES if mode != "residual" or has_thresholds)

    @property
    def cost_limit(self) -> float:
        """The largest mean of `info["cost"]` that the constrained variant allows."""
        return COST_LIMIT

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """Numbers of truck lanes L, outbound lanes E, parcel lanes F and pools G."""
        network = self.world.network
        assert network.freight is not None
        return {
            "L": len(network.truck_volume),
            "E": len(network.outbound.node),
            "F": network.num_parcel_lanes,
            "G": len(network.freight.pools),
        }

    @functools.cached_property
    def parts(self) -> dict[str, dict[str, slice]]:
        """Mode -> part of an action -> its entries."""
        lanes, outs, bins, pools = (self.sizes[k] for k in "LEFG")
        layouts = {
            "threshold": {"hold": lanes, "patience": lanes, "via": outs, "spot": pools},
            "trucks": {"trucks": lanes, "spot": pools, "via": outs, "expedite": bins},
            "quantity": {"trucks": lanes, "spot": lanes, "via": outs, "expedite": bins},
        }
        layouts["residual"] = layouts["threshold"]
        found = {}
        for mode, layout in layouts.items():
            ends = np.cumsum(list(layout.values())).tolist()
            found[mode] = {
                name: slice(end - size, end)
                for (name, size), end in zip(layout.items(), ends, strict=True)
            }
        return found

    def action_space(self, mode: str) -> spaces.Space[Any]:
        """The space of a mode; see the table above."""
        lanes, outs, bins, pools = (self.sizes[k] for k in "LEFG")
        if mode == "trucks":
            return spaces.MultiDiscrete([MOST_TRUCKS + 1] * lanes + [2] * (pools + outs + bins))
        if mode == "quantity":
            high = np.array([MOST_TRUCKS] * (2 * lanes) + [1] * (outs + bins), dtype=np.float32)
            return spaces.Box(np.zeros_like(high), high, dtype=np.float32)
        return spaces.Box(-1.0, 1.0, (2 * lanes + outs + pools,), dtype=np.float32)

    def action_masks(self, observation: dict[str, Array]) -> npt.NDArray[np.bool_]:
        """Which values of the entries of mode `trucks` are possible, (B, sum of their numbers).

        Args:
            observation: batched, shaped or flat.
        """
        space: Any = self.action_space("trucks")
        return truck_masks(observation["trucks_at_hand"], space.nvec)

    @functools.cached_property
    def _books(self) -> TruckBooks:
        return TruckBooks(self.world)

    @functools.cached_property
    def _fields(self) -> TruckFields:
        return TruckFields(self.world)

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened."""
        return self._fields.shapes

    def observation_space(self) -> spaces.Dict:
        """A Dict of flat float32 boxes with finite bounds."""
        return boxes(self._fields.bounds)

    def observation_scale(self) -> dict[str, Any]:
        """Volumes by the truck of the lane, trucks by the fleet; see `TruckFields.scale`."""
        return self._fields.scale()

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the schedule of returns forward by one step."""
        return self._books.remember(params, memory, stretch, batch)

    def unreported(self, memory: Memory) -> Array | None:
        """None: the buyer's books are not kept here."""
        return None

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field."""
        return self._fields.observe(params, view)

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Turns an action (B, entries) into a plan of trucks."""
        xp = namespace(action)
        low, high = self._limits(mode, action)
        kept = xp.minimum(xp.maximum(action, low), high)
        outside = share_where(kept != action, action)
        decide: dict[str, Callable[[Params, Array, View], TruckPlan]] = {
            "threshold": self._by_threshold,
            "trucks": self._by_trucks,
            "residual": self._by_residual,
            "quantity": self._by_quantity,
        }
        plan = decide[mode](params, kept, view)
        requested = {"trucks": plan.trucks} if mode in ("trucks", "quantity") else {}
        return Decoded(
            Decisions(
                trucks=plan.trucks, expedite=plan.expedite, spot=plan.spot, via_hub=plan.via_hub
            ),
            requested,
            outside,
        )

    def _limits(self, mode: str, action: Array) -> tuple[Array, Array]:
        space: Any = self.action_space(mode)
        if mode == "trucks":
            return as_like(0.0, action), as_like(space.nvec - 1.0, action)
        return as_like(space.low, action), as_like(space.high, action)

    def _by_threshold(self, params: Params, action: Array, view: View) -> TruckPlan:
        return self._around(params, action, view, HoldRule(), 0.0)

    def _by_residual(self, params: Params, action: Array, view: View) -> TruckPlan:
        return self._around(params, action, view, self.world.rules["dispatch"], 0.5)

    def _around(
        self, params: Params, action: Array, view: View, rule: Any, flip: float
    ) -> TruckPlan:
        """The plan of a rule's thresholds with an action's changes."""
        given = {name: action[:, part] for name, part in self.parts["threshold"].items()}
        base = rule.thresholds(params, view.state, view.tape.known(view.period))
        factor = (PATIENCE_POWER**2) ** given["patience"]
        hired = take((PATIENCE_POWER**2) ** given["spot"], fleet_plan(params).pool_of)
        via = None
        if params.network.freight is not None and params.network.freight.hubs is not None:
            turned = as_like(0.0, action) + (given["via"] > flip)
            via = turned
            if base.via_hub is not None:
                via = turned + base.via_hub - 2.0 * turned * base.via_hub
        return plan_by(
            params,
            view.state.parcel_volume,
            staged_volume(params, view.state),
            Thresholds(
                hold=base.hold + given["hold"],
                patience=base.patience * factor,
                spot_patience=base.spot_patience * hired,
                via_hub=via,
            ),
        )

    def _by_trucks(self, params: Params, action: Array, view: View) -> TruckPlan:
        given = {name: action[:, part] for name, part in self.parts["trucks"].items()}
        hires = take(given["spot"], fleet_plan(params).pool_of)
        return TruckPlan(
            trucks=given["trucks"],
            expedite=given["expedite"],
            spot=given["trucks"] * hires,
            via_hub=given["via"],
        )

    def _by_quantity(self, params: Params, action: Array, view: View) -> TruckPlan:
        return TruckPlan(
            **{
                {"via": "via_hub"}.get(name, name): action[:, part]
                for name, part in self.parts["quantity"].items()
            }
        )

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The retailer's accounts: the reward is minus what freight costs."""
        return retailers_accounts(ledger)

    def cost(self, params: Params, stretch: Stretch) -> npt.NDArray[np.float64]:
        """Late parcels of a step over the mean number that joins in one, (B,)."""
        assert self.world.source.background is not None
        customers = self._customers
        late: Any = 0.0
        for flows in stretch.flows:
            assert flows.newly_late is not None
            late = late + product_sum(flows.newly_late[:, : customers.stop])
        return np.asarray(to_numpy(late), dtype=np.float64) / self._mean_parcels

    @functools.cached_property
    def _customers(self) -> slice:
        """The parcel lanes of customers' parcels: all but those of pallets."""
        assert self.world.network.freight is not None
        return slice(0, self.sizes["E"] + self.world.network.freight.num_hub_lanes)

    @functools.cached_property
    def _mean_parcels(self) -> float:
        """Customers' parcels that join in a step, mean over time."""
        world = self.world
        assert world.source.background is not None
        background = world.source.background
        ft3 = background.mean.mean(axis=0)[self._customers]
        parcels = float((ft3 / background.parcel_volume[self._customers]).sum())
        sold = float(world.source.demand.mean_rate(world.network).sum())
        return max((parcels + sold) * world.periods_per_step, 1e-9)
