"""What a buyer remembers: sales, availability, receipts, and what open orders still promise."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from stockyard.envs.network.arrays import Array, as_like, batch_fastest, namespace, sum_entries
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Flows
from stockyard.envs.network.world import Stretch, World

HISTORY = 13
"""Review periods of own sales and availability that the buyer sees."""


class Memory(NamedTuple):
    """What the buyer knows of the past; tuples run from the most recent review period."""

    sales: tuple[Array, ...]  # HISTORY arrays (B, P), units per review period
    in_stock: tuple[Array, ...]  # HISTORY arrays (B, P), share of days without a stock-out
    received: tuple[Array, ...]  # HISTORY arrays (B, P), units received from suppliers
    quoted: tuple[Array, ...]  # [k] (B, P): units quoted to arrive in k + 1 review periods
    # [k] (B, P): units of open orders that will never come and that the buyer still counts on k
    # reviews from now, for it learns of them when the last part is due; () where all orders come
    unfilled: tuple[Array, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class BuyerBooks:
    """Keeps a `Memory` of one world, review period by review period; pure."""

    world: World
    lanes: tuple[int, ...] | None = None  # inbound lanes whose orders count; None: all
    keeps_history: bool = True  # of sales, availability and receipts, where the world shows one

    @functools.cached_property
    def quoted_slots(self) -> int:
        """Review periods that an order can be under way, seen after the next review."""
        arrivals = self.world.source.arrivals
        longest = float(self.world.network.inbound.lead_time.max())
        if arrivals is not None:
            longest = arrivals.longest_days * self.world.network.periods_per_day
        return max(int(np.ceil(longest / self.world.periods_per_step)) - 1, 0)

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the history forward by one review period."""
        if memory is None or stretch is None:
            zero = self._nothing(params, batch)
            history = (zero,) * HISTORY if self._has_history else ()
            quoted = self._opening_quotes(params, batch)
            short_of = (zero,) * self.quoted_slots if self.world.source.arrivals else ()
            available = (zero + 1.0,) * len(history)
            return Memory(history, available, history, quoted, short_of)
        flows = stretch.flows
        ordered = self._counted(params, flows[0].ordered)
        quoted = self._roll(params, memory.quoted, ordered, quoted_lead)
        unfilled = memory.unfilled
        if unfilled:
            shortfall = self._counted(params, flows[0].shortfall)
            unfilled = self._roll_unfilled(unfilled, shortfall, flows[0].last_lead)
        if not self._has_history:
            return memory._replace(quoted=quoted, unfilled=unfilled)
        nothing = flows[0].sold * 0.0
        sales = sum((f.sold for f in flows[1:]), start=flows[0].sold)
        short = sum(((sum_entries(f.out_of_stock) > 1e-9) * 1.0 for f in flows), start=nothing)
        received = sum((units for f in flows for units in self._supplied(f)), start=nothing)
        return Memory(
            (sales, *memory.sales[:-1]),
            (1.0 - short / len(flows), *memory.in_stock[:-1]),
            (received, *memory.received[:-1]),
            quoted,
            unfilled,
        )

    @property
    def _has_history(self) -> bool:
        return self.keeps_history and self.world.shows_history

    def _counted(self, params: Params, units: Array | None) -> Array | None:
        """Units by lane (B, E_in, P) without those of lanes that do not count here."""
        if units is None or self.lanes is None:
            return units
        mask = params.mask(np.isin(np.arange(units.shape[1]), self.lanes))
        return units if mask is None else units * mask

    def _supplied(self, flows: Flows) -> list[Array]:
        """Units that suppliers' lanes brought in a period, parts (B, P)."""
        if flows.supplied is not None:
            return [flows.supplied]
        if flows.received is None:
            return []
        heads = sorted(set(self.world.network.inbound.head.tolist()))
        return [flows.received[:, node] for node in heads]

    def _roll(
        self, params: Params, slots: tuple[Array, ...], units: Array | None, lead: Array | None
    ) -> tuple[Array, ...]:
        """Moves what is due one review period closer and books the last order's among it.

        Args:
            params: the network.
            slots: [k] (B, P) units due in k + 1 review periods, as of the last review.
            units: (B, E_in, P) of the order placed then, or None.
            lead: (B, E_in, P) periods from then until they are due; None: the lanes' lead times.
        """
        if not slots:
            return slots
        moved = [*slots[1:], slots[-1] * 0.0]
        if units is None:
            return tuple(moved)
        if lead is None:
            for k, mask in self._quoted_masks(params):
                moved[k] = moved[k] + sum_entries(units if mask is None else units * mask)
            return tuple(moved)
        slot = self._slot(lead)
        first, last = max(int(slot.min()), 0), min(int(slot.max()), len(moved) - 1)
        for k in range(first, last + 1):
            moved[k] = moved[k] + sum_entries(units * (slot == k))
        return tuple(moved)

    def _roll_unfilled(
        self, unfilled: tuple[Array, ...], shortfall: Array | None, last_lead: Array | None
    ) -> tuple[Array, ...]:
        """Forgets what has been reported by now and books the last order's shortfall."""
        moved = [*unfilled[1:], unfilled[-1] * 0.0]
        if shortfall is None or last_lead is None:
            return tuple(moved)
        slot = self._slot(last_lead)
        for k in range(min(int(slot.max()) + 1, len(moved))):
            moved[k] = moved[k] + sum_entries(shortfall * (slot >= k))
        return tuple(moved)

    def _slot(self, lead: Array) -> Array:
        """Slot of an order that has just been placed: slot k is due in k + 1 more reviews."""
        return namespace(lead).ceil(lead / self.world.periods_per_step) - 2.0

    @functools.lru_cache(maxsize=64)  # noqa: B019 - few tasks, small entries
    def _quoted_masks(self, params: Params) -> tuple[tuple[int, Array | None], ...]:
        """Slots that orders at the lanes' fixed lead times are booked in, and their (E_in, P)."""
        slot = self._slot(params.network.inbound.lead_time)
        used = sorted({int(k) for k in slot[params.network.carries]} - {-2, -1})
        return tuple((k, params.mask(slot == k)) for k in used)

    def _nothing(self, params: Params, batch: int) -> Array:
        like = params.a.volume
        return as_like(batch_fastest(np.zeros((batch, like.shape[0])), np.float64), like)

    def _opening_quotes(self, params: Params, batch: int) -> tuple[Array, ...]:
        """The opening pipeline by review period of arrival."""
        quoted = [self._nothing(params, batch) for _ in range(self.quoted_slots)]
        for k, units in enumerate(self.world.opening.inbound):
            slot = -(-(k + 1) // self.world.periods_per_step) - 1
            if 0 <= slot < len(quoted):
                counted = units if self.lanes is None else units[list(self.lanes)]
                quoted[slot] = quoted[slot] + as_like(counted.sum(axis=0), quoted[slot])
        return tuple(quoted)
