"""What the placer remembers: orders under way to docks and centres, and a week of sales."""

from typing import NamedTuple

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    namespace,
    stack,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Flows, State
from stockyard.envs.network.world import Stretch, World
from stockyard.envs.tasks.buyer_books import BuyerBooks
from stockyard.envs.tasks.buyer_books import Memory as Books
from stockyard.envs.tasks.centres import Centres

QUOTED_DAYS = 7
"""Days ahead that quoted arrivals are shown for."""

SALES_DAYS = 7
"""Days of sales that are remembered."""


class Memory(NamedTuple):
    """What the placer knows of the past."""

    docks: Books  # of the orders that go to docks
    direct: Books | None  # of the orders that go straight to centres; None: no such lanes
    sales: tuple[Array, ...]  # of (B, R, P) units sold in each of the last days, latest first


class PlacerBooks:
    """Keeps a `Memory` of one world, step by step; pure."""

    def __init__(self, world: World, centres: Centres) -> None:
        """Takes the world and its centres."""
        self.world = world
        heads = world.network.inbound.head
        to_centre = np.isin(heads, centres.nodes)
        self.dock_lanes: tuple[int, ...] = tuple(np.flatnonzero(~to_centre).tolist())
        self.direct_lanes: tuple[int, ...] = tuple(np.flatnonzero(to_centre).tolist())
        self._docks = BuyerBooks(world, lanes=self.dock_lanes, keeps_history=False)
        self._direct = BuyerBooks(world, lanes=self.direct_lanes, keeps_history=False)

    def remember(
        self,
        params: Params,
        memory: Memory | None,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Memory:
        """Rolls the books and the week of sales forward by one step."""
        docks = self._docks.remember(
            params, None if memory is None else memory.docks, stretch, quoted_lead, batch
        )
        direct = None
        if self.direct_lanes:
            had = None if memory is None else memory.direct
            direct = self._direct.remember(params, had, stretch, quoted_lead, batch)
        network = self.world.network
        if memory is None or stretch is None:
            zero = as_like(
                np.zeros((batch, network.num_regions, network.num_products)), params.a.volume
            )
            sales = (zero,) * (SALES_DAYS * network.periods_per_day)
        else:
            latest = [_sold_by_region(flows) for flows in reversed(stretch.flows)]
            sales = (*latest, *memory.sales)[: len(memory.sales)]
        return Memory(docks, direct, sales)

    def unreported(self, memory: Memory) -> Array | None:
        """Units that will not be delivered and that the buyer still counts on, (B, P)."""
        parts = [
            b.unfilled[0] for b in (memory.docks, memory.direct) if b is not None and b.unfilled
        ]
        return sum(parts[1:], start=parts[0]) if parts else None

    def inbound_quoted(self, state: State, memory: Memory) -> Array:
        """Units that docks expect by day, (B, P, 7), from the quotes of all open orders.

        What is open is taken to be what was quoted last: an order that came early leaves the
        schedule, one that is late stays, and is expected from one day to the next.
        """
        books = memory.docks
        h = self.world.network.periods_per_day
        nothing = state.position * 0.0
        left: Array = nothing
        for lane in self.dock_lanes:
            left = sum((slot[:, lane] for slot in state.inbound), left)
        if books.unfilled:
            left = left + books.unfilled[0]
        days = [sum(books.quoted[k : k + h], nothing) for k in range(0, QUOTED_DAYS * h, h)]
        xp = namespace(left)
        left = at_least(left - sum(books.quoted[QUOTED_DAYS * h :], nothing), 0.0)
        shown = []
        for quoted in reversed(days[1:]):
            shown.append(xp.minimum(quoted, left))
            left = at_least(left - quoted, 0.0)
        return stack([left, *reversed(shown)], axis=2)


def _sold_by_region(flows: Flows) -> Array:
    """Units sold by region, (B, R, P)."""
    total: Array = sum(flows.served[1:], start=flows.served[0])
    return total
