"""Any subset of the decision slots at once: the whole network in one agent's hands."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    concat,
    namespace,
    stack,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Decisions, Flows, Ledger
from stockyard.envs.network.world import Stretch, World
from stockyard.envs.tasks.buyer_books import Memory
from stockyard.envs.tasks.replenishment import Replenishment
from stockyard.envs.tasks.retail_fields import MOST_UNITS, Bounds, boxes
from stockyard.envs.tasks.task import Decoded, View, retailers_accounts, share_where

SLOTS = ("replenish", "place", "dispatch")
"""The slots that an agent can take, in the order of their entries in an action."""

MOST_TRUCKS = 10.0
"""Bound of the trucks on a lane where nothing limits them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """Any subset of the network's decisions: `stockyard/Network-v0`.

    ## Description

    One agent takes the slots that it is given (`slots=("replenish", "place")`): what to order from
    suppliers, what to move between nodes, how many trucks to send. Standing rules decide the rest.
    Serial systems, one warehouse with many stores, spillover, transshipment and dispatch problems
    of `stockyard.envs.textbook` are worlds of this environment. The slot restock, and other action
    modes, come with later versions.

    One `step` is one period (a day in retail worlds). Order of events within a period:

    1. The state is observed; goods received overnight are on the shelf.
    2. Orders are placed, at review epochs only (each period in textbook problems, each week in
       retail worlds); an order with lead time l can be sold in l periods.
    3. Transfers are taken from start-of-period stock; with transit l they can be sold in l periods.
    4. Demand arrives; nodes serve it, rank by rank of each region's list.
    5. Trucks leave with the parcels and transfers that stood at step 1.
    6. Costs fall due on the stock that is left.
    7. Pipelines advance; docks receive; parcels sold today join the bins.

    ## Action space

    Mode `quantity`, the only one: a flat Box from 0 to finite bounds, the parts of the slots taken
    one after the other.

    | slot | entries | unit | max |
    |---|---|---|---|
    | `replenish` | P x E_in, the lanes of a product together | units | the world's largest order |
    | `place` | P x E_tr, the lanes of a product together | units | the world's largest order |
    | `dispatch` | lanes with trucks, transfer lanes first | trucks | the limit, or 10 |

    Lanes that do not carry a product have the bound 0. What is out of reach is projected
    (`info["clip_fraction"]`): a node that is short shares its stock among transfers in proportion,
    and orders outside a review epoch are void.

    ## Observation space

    A Dict of float32 boxes in physical units; each field is flat, products first:
    `stockyard.envs.tasks.task.shaped(observation, env.unwrapped.field_shapes)` gives it the shape
    below. L are the periods that orders, or transfers, can be under way at a decision.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `on_hand` | (P, N) | units | 0 | 1e9 |
    | `inventory_position` | (P,) | units anywhere and on order, less backlog | 0 or -1e9 | 1e9 |
    | `backlog` (backorders only) | (P,) | units owed | 0 | 1e9 |
    | `backlog_by_region` (backorders only) | (P, R) | units owed | 0 | 1e9 |
    | `inbound` (fixed lead times) | (P, E_in, L) | units that arrive in k + 1 periods | 0 | 1e9 |
    | `in_transit` | (P, E_tr, L) | units that arrive in k + 1 periods | 0 | 1e9 |
    | `staged` (transfer trucks only) | (P, E_tr) | units waiting for a truck | 0 | 1e9 |
    | `parcels` (parcel trucks only) | (E_out, K + 3) | late, slack 0 to K, no deadline | 0 | 1e9 |
    | `periods_to_review` (retail only) | (1,) | periods; 0: orders count now | 0 | 365 |

    Retail worlds show the fields of `stockyard/Replenishment-v0` besides, with a day for a review
    period.

    ## Reward

    As `stockyard/Replenishment-v0`: accrual profit in retail worlds, minus the textbook cost of the
    period in textbook problems.

    ## Starting state

    Retail: after 28 days under the standing rules. Textbook: empty.

    ## Episode end

    Truncated after `horizon` periods; never terminated.

    ## Arguments

    `slots`: a sequence of "replenish", "place" and "dispatch"; None takes all that the world has
    lanes for. The others as `stockyard.envs.vector_env.NetworkVectorEnv` says.

    ## Info

    As `stockyard/Replenishment-v0`.

    ## References

    Clark & Scarf, Management Science 6, 1960; Federgruen & Zipkin, Management Science 30, 1984.

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    world: World
    chosen: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Checks the slots.

        Raises:
            ValueError: for an unknown slot, one that occurs twice, or one without lanes.
        """
        if self.chosen is None:
            return
        if isinstance(self.chosen, str) or not len(self.chosen):
            raise ValueError(
                f"slots: must be a sequence of {', '.join(SLOTS)}, got {self.chosen!r}"
            )
        for slot in self.chosen:
            if slot not in SLOTS:
                raise ValueError(f"slots: unknown {slot!r}; known: {', '.join(SLOTS)}")
            if slot not in self._available:
                raise ValueError(f"slots: this world has no lanes for {slot!r}")
        if len(set(self.chosen)) < len(self.chosen):
            raise ValueError(f"slots: each may be named once, got {tuple(self.chosen)}")

    @property
    def _available(self) -> tuple[str, ...]:
        network = self.world.network
        has = {
            "replenish": True,
            "place": len(network.transfers.tail) > 0,
            "dispatch": network.has_parcels or network.has_transfer_trucks,
        }
        return tuple(slot for slot in SLOTS if has[slot])

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes, in the order of their entries."""
        chosen = self._available if self.chosen is None else self.chosen
        return tuple(slot for slot in SLOTS if slot in chosen)

    @property
    def action_modes(self) -> tuple[str, ...]:
        """Only quantities."""
        return ("quantity",)

    @functools.cached_property
    def _buying(self) -> Replenishment:
        """Keeps the buyer's books and shows what a buyer sees."""
        return Replenishment(self.world)

    @functools.cached_property
    def _truck_lanes(self) -> npt.NDArray[np.int64]:
        """Lanes with trucks, transfer lanes first."""
        network = self.world.network
        sizes = np.concatenate((network.transfers.truck_volume, network.outbound.truck_volume))
        return np.flatnonzero(np.isfinite(sizes))

    @functools.cached_property
    def action_parts(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Slot -> its entries of an action, and their shape: (P, E_in), (P, E_tr) or (lanes,)."""
        network = self.world.network
        p = network.num_products
        shapes: dict[str, tuple[int, ...]] = {
            "replenish": (p, len(network.inbound.head)),
            "place": (p, len(network.transfers.tail)),
            "dispatch": (len(self._truck_lanes),),
        }
        parts, start = {}, 0
        for slot in self.slots:
            size = int(np.prod(shapes[slot]))
            parts[slot] = (slice(start, start + size), shapes[slot])
            start += size
        return parts

    @functools.cached_property
    def _bounds(self) -> npt.NDArray[np.float32]:
        """Largest value of each entry of an action."""
        network = self.world.network
        largest = self.world.max_order[:, None]
        trucks = self.world.source.capacities.trucks
        most = MOST_TRUCKS * np.ones(len(network.transfers.tail) + len(network.outbound.node))
        if trucks is not None:
            most = np.atleast_2d(np.asarray(trucks, dtype=np.float64)).max(axis=0)
        bounds = {
            "replenish": largest * network.carries.T,
            "place": largest * np.ones(len(network.transfers.tail)),
            "dispatch": most[self._truck_lanes],
        }
        return np.concatenate([bounds[slot].ravel() for slot in self.slots]).astype(np.float32)

    def action_space(self, mode: str) -> spaces.Box:
        """A flat Box; see the table above."""
        return spaces.Box(np.zeros_like(self._bounds), self._bounds, dtype=np.float32)

    @functools.cached_property
    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the fields that the buyer does not see."""
        world, network = self.world, self.world.network
        p = network.num_products
        shapes: dict[str, tuple[int, ...]] = {}
        if world.economics.unmet == "backorder":
            shapes["backlog_by_region"] = (p, network.num_regions)
        lead = int(network.inbound.lead_time[network.carries].max())
        if world.source.arrivals is None and lead > 1:
            shapes["inbound"] = (p, len(network.inbound.head), lead - 1)
        lanes = network.transfers
        if len(lanes.tail) and lanes.transit.max() > 1:
            shapes["in_transit"] = (p, len(lanes.tail), int(lanes.transit.max()) - 1)
        if network.has_transfer_trucks:
            shapes["staged"] = (p, len(lanes.tail))
        if network.has_parcels:
            shapes["parcels"] = (len(network.outbound.node), len(network.slack_mix) + 2)
        if world.source.epoch_periods > 1:
            shapes["periods_to_review"] = (1,)
        return shapes

    def _is_shown(self, field: str) -> bool:
        """Whether a field of the buyer is shown: quotes are not where `inbound` says more."""
        return field != "on_order_quoted" or self.world.source.arrivals is not None

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened, products first."""
        shapes = self._buying.field_shapes().items()
        return {name: shape for name, shape in shapes if self._is_shown(name)} | self._own_shapes

    def observation_space(self) -> spaces.Dict:
        """A Dict of flat float32 boxes with finite bounds."""
        shown = self._buying.observation_space().spaces.items()
        own: Bounds = {
            name: (shape, 0.0, 365.0 if name == "periods_to_review" else MOST_UNITS)
            for name, shape in self._own_shapes.items()
        }
        fields = {name: space for name, space in shown if self._is_shown(name)}
        return spaces.Dict({**fields, **boxes(own)})

    def observation_scale(self) -> dict[str, Any]:
        """Units by mean demand of a period; see `Replenishment.observation_scale`."""
        scale = {k: v for k, v in self._buying.observation_scale().items() if self._is_shown(k)}
        rate = self.world.source.demand.mean_rate(self.world.network).sum(axis=0)
        units = np.maximum(rate * self.world.periods_per_step, 1e-3)
        for name, shape in self._own_shapes.items():
            if name == "periods_to_review":
                scale[name] = float(self.world.source.epoch_periods)
            elif name == "parcels":
                scale[name] = max(float(rate.sum()), 1e-3)
            else:
                scale[name] = units.reshape((-1,) + (1,) * (len(shape) - 1))
        return scale

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the buyer's books forward by one step."""
        return self._buying.remember(params, memory, stretch, quoted_lead, batch)

    def unreported(self, memory: Memory) -> Array | None:
        """Units that will not be delivered and that the buyer still counts on, (B, P)."""
        return self._buying.unreported(memory)

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field; products first, as people read it."""
        seen = self._buying.observe(params, view)
        fields = {name: values for name, values in seen.items() if self._is_shown(name)}
        state = view.state
        if "backlog_by_region" in self._own_shapes:
            assert state.backlog is not None
            fields["backlog_by_region"] = state.backlog.swapaxes(1, 2)
        for name, slots in (("inbound", state.inbound), ("in_transit", state.transfers)):
            if name in self._own_shapes:
                fields[name] = self._by_slot(slots, self._own_shapes[name], state.on_hand)
        if state.staged is not None:
            fields["staged"] = state.staged.swapaxes(1, 2)
        if state.parcels is not None:
            fields["parcels"] = state.parcels
        if "periods_to_review" in self._own_shapes:
            left = -view.period % self.world.source.epoch_periods
            fields["periods_to_review"] = state.position[:, :1] * 0.0 + float(left)
        return fields

    def _by_slot(self, slots: tuple[Array, ...], shape: tuple[int, ...], like: Array) -> Array:
        """A pipeline as (B, P, E, L), padded where nothing has been sent as far ahead."""
        nothing = like[:, :1] * 0.0 + as_like(np.zeros((shape[1], 1)), like)
        filled = [*slots[: shape[2]], *[nothing] * (shape[2] - len(slots))]
        return stack([slot.swapaxes(1, 2) for slot in filled], axis=3)

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The retailer's accounts: the reward is its profit."""
        return retailers_accounts(ledger)

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Splits an action (B, entries) into orders, transfers and trucks."""
        xp = namespace(action)
        kept = xp.minimum(at_least(action, 0.0), as_like(self._bounds.astype(np.float64), action))
        outside = share_where(kept != action, action)
        given: dict[str, Array] = {}
        for slot, (entries, shape) in self.action_parts.items():
            given[slot] = kept[:, entries].reshape(-1, *shape)
        orders, transfers = given.get("replenish"), given.get("place")
        requested: dict[str, Array] = {}
        if orders is not None:
            orders = requested["ordered"] = orders.swapaxes(1, 2)
            if view.period % self.world.source.epoch_periods:
                orders = None
        if transfers is not None:
            transfers = requested["transferred"] = transfers.swapaxes(1, 2)
        trucks = given.get("dispatch")
        if trucks is not None:
            trucks = requested["trucks"] = self._by_lane(trucks)
        return Decoded(Decisions(orders, transfers, None, trucks), requested, outside)

    def _by_lane(self, trucks: Array) -> Array:
        """Trucks of the lanes that run some, (B, lanes), among all lanes, (B, E_tr + E_out)."""
        network = self.world.network
        lanes = range(len(network.transfers.tail) + len(network.outbound.node))
        column = {int(lane): k for k, lane in enumerate(self._truck_lanes)}
        none = trucks[:, :1] * 0.0
        return concat(
            [trucks[:, column[e] : column[e] + 1] if e in column else none for e in lanes], axis=1
        )
