"""Placement by linear programs on forecasts: dual prices of space, and a program solved anew daily.

One program covers all products of a replica, for they share the centres' space. HiGHS solves it;
its size grows with products times centres times regions, so these rules are for small networks.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.centres import Centres, PlacementRule, Stocks
from stockyard.agents.heuristics.placement_margin import MarginalProfit

BUCKETS_DAYS = (1, 2, 4, 7)
"""The fluid program's days ahead, fine near and coarse far."""

END_VALUE = 0.0
"""Share of what a sale is worth that a program sees in stock after its days: buying is fixed, and
local space holds less than they need."""

OVERFLOW_PER_FT3_DAY = 0.25
"""USD that a program pays for space beyond a limit: the rent of the yard."""


REVIEW_DAYS = 7
"""Days between the programs of `lp_dual_prices`."""


class Data(NamedTuple):
    """The right-hand sides of a batch of programs."""

    equal: Floats  # (B, equations)
    most: Floats  # (B, limits)


class Fluid:
    """The deterministic program over `BUCKETS_DAYS`: transfers, stocks and shipments in means.

    Variables per product: q (F, K) units leaving the dock at the start of a bucket, s (K) left at
    the dock, x (F, K) left at a centre, y (L, K) shipped on each outbound lane; and space beyond
    the limits of centres and docks. What leaves in the first two buckets arrives in the next, later
    in its own. Customers of a region who accept tier j or slower cap what comes that slow (the
    waterfall of the network obeys the same caps).
    """

    def __init__(self, centres: Centres) -> None:
        """Builds the matrix; it never changes."""
        self.centres = centres
        p, f, k = centres.num_products, centres.count, len(BUCKETS_DAYS)
        d = len(centres.docks)
        self.lanes = np.argwhere(centres.tier >= 0)  # (L, 2) centre, region
        lanes = len(self.lanes)
        sizes = {"q": p * f * k, "s": p * k, "x": p * f * k, "y": p * lanes * k}
        sizes |= {"over": f * k, "dock_over": d * k}
        starts = np.cumsum([0, *sizes.values()])
        self.where = {name: slice(starts[i], starts[i + 1]) for i, name in enumerate(sizes)}
        self.num_variables = int(starts[-1])
        index = np.arange(self.num_variables)
        q = index[self.where["q"]].reshape(p, f, k)
        s = index[self.where["s"]].reshape(p, k)
        x = index[self.where["x"]].reshape(p, f, k)
        y = index[self.where["y"]].reshape(p, lanes, k)
        over = index[self.where["over"]].reshape(f, k)
        dock_over = index[self.where["dock_over"]].reshape(d, k)
        entries: list[tuple[Any, Any, Any]] = []

        def put(rows: Any, columns: Any, value: Any) -> None:
            rows, columns, value = np.broadcast_arrays(rows, columns, value)
            entries.append((rows.ravel(), columns.ravel(), value.ravel()))

        m = 0
        row: Any
        # dock: s_k - s_{k-1} + sum_f q_k = arrivals
        row = np.arange(p * k).reshape(p, k)
        put(row, s, 1.0)
        put(row[:, 1:], s[:, :-1], -1.0)
        put(row[:, None], q, 1.0)
        m += row.size
        # centre: x_k - x_{k-1} - arriving q + sum y_k = stock and what was under way
        row = m + np.arange(p * f * k).reshape(p, f, k)
        put(row, x, 1.0)
        put(row[..., 1:], x[..., :-1], -1.0)
        for sent in range(k):
            lands = sent + 1 if sent < 2 else sent
            put(row[..., lands], q[..., sent], -1.0)
        put(row[:, self.lanes[:, 0]], y, 1.0)
        m += row.size
        self.equalities = m
        # demand: shipments at tier j or slower within what accepts j, for each tier of a region
        self.caps: list[tuple[int, int]] = []  # (region, lane tier)
        for region in range(centres.tier.shape[1]):
            own = np.flatnonzero(self.lanes[:, 1] == region)
            tiers = centres.tier[self.lanes[own, 0], region]
            for tier in sorted(set(tiers.tolist())):
                row = m + np.arange(p * k).reshape(p, 1, k)
                put(row, y[:, own[tiers >= tier]], 1.0)
                self.caps.append((region, tier))
                m += p * k
        # space: stock at the start of a bucket and what leaves for it
        row = m + np.arange(f * k).reshape(f, k)
        volume = centres.volume[:, None, None]
        put(row[None, :, 1:], x[:, :, :-1], volume)
        put(row[None], q, volume)
        put(row, over, -1.0)
        self.space_rows = slice(m - self.equalities, m - self.equalities + f * k)
        m += f * k
        row = m + np.arange(d * k).reshape(d, k)
        dock_of = np.searchsorted(centres.docks, centres.dock)
        put(row[dock_of], s, centres.volume[:, None])
        put(row, dock_over, -1.0)
        m += d * k
        # picking: units of a centre in a bucket
        row = m + np.arange(f * k).reshape(f, k)
        put(row[self.lanes[:, 0]][None], y, 1.0)
        m += f * k
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        matrix = sparse.csr_array((values, (rows, columns)), shape=(m, self.num_variables))
        self.equations = matrix[: self.equalities].tocsc()
        self.limits = matrix[self.equalities :].tocsc()

    def data(self, stocks: Stocks, dock_fill: float, demand_factor: float) -> Data:
        """What a day's observation puts on the right-hand sides.

        Args:
            stocks: the observation.
            dock_fill: share of the docks' shelf that may be filled.
            demand_factor: times the forecast mean.
        """
        centres, observation = self.centres, stocks.observation
        days = np.array(BUCKETS_DAYS, dtype=np.float64)
        k, batch = len(days), len(stocks.dock)

        def field(name: str) -> Floats:
            return np.asarray(observation[name], dtype=np.float64)

        coming = field("inbound_quoted")
        ends = np.cumsum(days).astype(int)
        arrivals = np.zeros((batch, centres.num_products, k))
        arrivals[..., 0] = stocks.dock
        arrivals[..., 1] = stocks.dock_yard + coming[..., : ends[1]].sum(axis=-1)
        for b in range(2, k):
            arrivals[..., b] = coming[..., ends[b - 1] : ends[b]].sum(axis=-1)
            unquoted = max(ends[b] - max(ends[b - 1], coming.shape[-1]), 0)
            arrivals[..., b] += unquoted * stocks.daily.sum(axis=-1)  # buying follows demand
        on_hand = field("on_hand")[:, :, centres.nodes]
        centre = np.zeros((*on_hand.shape, k))
        centre[..., 0] = on_hand
        centre[..., 1] = stocks.position - on_hand
        demand = stocks.daily[..., None] * days * demand_factor  # (B, P, R, K)
        accepted = field("acceptance")
        offered = np.rint(field("offered_tier")[:, 0]).astype(int)
        caps = []
        for region, tier in self.caps:
            served = np.clip(np.maximum(tier, offered), 0, accepted.shape[1] - 1)
            share = np.take_along_axis(accepted, served[:, None], axis=1)
            caps.append((share[..., None] * demand[:, :, region]).reshape(batch, -1))
        capacity = field("storage_capacity")[..., 0]
        space = np.repeat(capacity[:, centres.nodes, None], k, axis=2)
        space[:, :, 0] = stocks.room  # what is on the way counts from the start
        dock = np.repeat(dock_fill * capacity[:, centres.docks, None], k, axis=2)
        picks = field("outbound_capacity")[:, centres.nodes, :1] * days
        limits = (space, dock, picks)
        return Data(
            equal=np.concatenate((arrivals.reshape(batch, -1), centre.reshape(batch, -1)), axis=1),
            most=np.concatenate((*caps, *(limit.reshape(batch, -1) for limit in limits)), axis=1),
        )

    def costs(self, end_value: float, reserve: float) -> Floats:
        """USD of each variable, minus what it earns, (V,).

        Args:
            end_value: share of what a sale is worth that stock is worth after the last bucket.
            reserve: USD per unit and day by which stock at a dock is worth more.
        """
        centres = self.centres
        days = np.array(BUCKETS_DAYS, dtype=np.float64)
        tariff = centres.tariff[self.lanes[:, 0], self.lanes[:, 1]]
        net = centres.worth[:, None] - centres.tariff_weight[:, None] * tariff  # (P, L)
        net = np.maximum(net, 0.01)
        later = np.cumsum(days) - days
        cost = np.zeros(self.num_variables)
        earned = net[..., None] * (1.0 - 0.001 * later)  # sooner rather than later
        cost[self.where["y"]] = -earned.ravel()
        worth = np.maximum(centres.worth, 0.01)
        end = np.zeros((centres.num_products, len(days)))
        end[:, -1] = end_value * worth
        end += reserve * days
        cost[self.where["s"]] = -end.ravel()
        at_centre = np.zeros((centres.num_products, centres.count, len(days)))
        at_centre[..., -1] = end_value * worth[:, None]
        cost[self.where["x"]] = -at_centre.ravel()
        for name in ("over", "dock_over"):
            size = self.where[name].stop - self.where[name].start
            cost[self.where[name]] = np.tile(OVERFLOW_PER_FT3_DAY * days, size // len(days))
        return cost

    def solve(self, cost: Floats, equal: Floats, most: Floats) -> Any:
        """The solution of one replica, as scipy returns it.

        Raises:
            RuntimeError: if HiGHS finds none.
        """
        found = linprog(
            cost, A_ub=self.limits, b_ub=most, A_eq=self.equations, b_eq=equal, method="highs-ds"
        )
        if found.x is None:
            raise RuntimeError(f"placement program: {found.message}")
        return found


class FluidResolve(PlacementRule):
    """Solves the fluid program every day and sends what it sends first."""

    def __init__(
        self, facts: Facts, dock_fill: float, demand_factor: float, reserve: float
    ) -> None:
        """Takes the hedges of the program.

        Args:
            facts: the environment.
            dock_fill: share of the dock's shelf that the program may plan to fill.
            demand_factor: times the forecast mean, in the program.
            reserve: USD per unit and day by which stock at the dock is worth more.
        """
        super().__init__(facts, "dlp_resolve")
        self._fluid = Fluid(self.centres)
        self._fill, self._factor = dock_fill, demand_factor
        self._cost = self._fluid.costs(END_VALUE, reserve)

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """One program for each replica."""
        fluid = self._fluid
        data = fluid.data(stocks, self._fill, self._factor)
        shape = (*stocks.position.shape[1:], len(BUCKETS_DAYS))
        moved = [
            fluid.solve(self._cost, equal, most).x[fluid.where["q"]].reshape(shape)[..., 0]
            for equal, most in zip(data.equal, data.most, strict=True)
        ]
        return np.stack(moved), state


class DualPrices(MarginalProfit):
    """Prices space by the duals of the fluid program, and gives units by marginal profit."""

    def __init__(
        self, facts: Facts, horizon_days: float, dock_fill: float, price_factor: float
    ) -> None:
        """Takes the horizon.

        Args:
            facts: the environment.
            horizon_days: of demand that stock at a centre is meant for.
            dock_fill: share of the dock's shelf below which what is left stays there.
            price_factor: times the program's price of space.
        """
        super().__init__(facts, "lp_dual_prices", horizon_days, dock_fill)
        self._fluid = Fluid(self.centres)
        self._factor = price_factor
        self._cost = self._fluid.costs(END_VALUE, 0.0)

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """The state is the days until the next program (B,), and the prices (B, F) of the last.

        Each row keeps its own days, so that a batch decides as its rows would alone.
        """
        batch = len(stocks.dock)
        if state is None:
            days, prices = np.zeros(batch, dtype=np.int64), np.zeros((batch, self.centres.count))
        else:
            days, prices = state
        due = days <= 0
        if episode_start is not None:
            due = due | np.asarray(episode_start, dtype=np.bool_)
        if due.any():
            prices = prices.copy()
            prices[due] = self._prices(stocks, due)
        days = np.where(due, REVIEW_DAYS, days) - 1
        return self.allocate(stocks, self._factor * prices), (days, prices)

    def _prices(self, stocks: Stocks, due: npt.NDArray[np.bool_]) -> Floats:
        """USD that a ft3 for the days of the horizon is worth at each centre, (rows due, F)."""
        fluid = self._fluid
        data = fluid.data(stocks, 1.0, 1.0)
        share = min(self._horizon / sum(BUCKETS_DAYS), 1.0)
        found = [
            -fluid.solve(self._cost, equal, most).ineqlin.marginals[fluid.space_rows]
            for equal, most in zip(data.equal[due], data.most[due], strict=True)
        ]
        duals = np.stack(found).reshape(len(found), self.centres.count, len(BUCKETS_DAYS))
        return np.asarray(np.maximum(duals, 0.0).sum(axis=-1) * share)


def _dual_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("horizon_days", 1.0, 5.0, least=0.1, most=90.0),
        Parameter("dock_fill", 0.3, 1.1, least=0.0, most=2.0),
        Parameter("price_factor", 0.0, 1.0, least=-1.0, most=20.0),
    )


@tuned_by(_dual_space)
def lp_dual_prices(
    env: Any,
    horizon_days: float | None = None,
    dock_fill: float = 0.6,
    price_factor: float = 0.3,
) -> DualPrices:
    """Duals of a transportation program price what centres are short of, anew every week.

    Acimovic & Graves (Making better fulfillment decisions on the fly in an online retail
    environment, Manufacturing & Service Operations Management 17, 2015) value a unit of stock by
    the duals of a transportation program from centres to regions on the forecast. Here the same
    program, with transfers and space, prices a ft3 of each centre; the next unit goes where its
    expected earnings exceed the price of its space most.

    Args:
        env: a built environment in which transfers are decided.
        horizon_days: days of demand that stock at a centre is meant for.
        dock_fill: share of the dock's shelf below which what is left stays there.
        price_factor: times the program's price of space.
    """
    facts = Facts(env)
    if horizon_days is None:
        DualPrices(facts, 1.0, dock_fill, price_factor)
        return lp_dual_prices(env, **tuned("lp_dual_prices", facts))
    return DualPrices(facts, horizon_days, dock_fill, price_factor)


def _resolve_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("dock_fill", 0.2, 0.8, least=0.0, most=2.0),
        Parameter("demand_factor", 1.2, 2.0, least=0.1, most=10.0),
        Parameter("reserve", -0.04, 0.04, least=-1.0, most=1.0),
    )


@tuned_by(_resolve_space)
def dlp_resolve(
    env: Any,
    dock_fill: float | None = None,
    demand_factor: float = 1.6,
    reserve: float = 0.0,
) -> FluidResolve:
    """The deterministic linear program on forecasts, solved again every day.

    Jasin & Sinha (An LP-based correlated rounding scheme for multi-item ecommerce order
    fulfillment, Operations Research 63, 2015) follow the program on mean demand, whose value bounds
    what any policy can expect; Lei, Jasin & Sinha (Joint dynamic pricing and order fulfillment for
    e-commerce retailers, Manufacturing & Service Operations Management 20, 2018) solve it again as
    demand is seen. Here over two weeks ahead; the transfers of the first day are made.

    Args:
        env: a built environment in which transfers are decided.
        dock_fill: share of the dock's shelf that the program may plan to fill.
        demand_factor: times the forecast mean, a hedge against its being a mean.
        reserve: USD per unit and day by which stock at the dock is worth more.
    """
    facts = Facts(env)
    if dock_fill is None:
        FluidResolve(facts, 0.5, demand_factor, reserve)
        return dlp_resolve(env, **tuned("dlp_resolve", facts))
    return FluidResolve(facts, dock_fill, demand_factor, reserve)
