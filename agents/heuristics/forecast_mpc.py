"""Model-predictive buying: a linear program on the forecast, solved anew at each review.

The network is one stock, one dock and weeks. The plan chooses orders for the weeks to come; only
the first week's are placed. What a week sells is a concave function of the stock it begins with:
the expected smaller of stock and demand, whose uncertainty is that of all demand up to then, cut
into pieces at a few quantiles. On means alone (spread 0) the plan holds no safety stock.

Sources: sections 3.1 and 6 of the design notes' model (forecast MPC as the strongest classical
anchor); rolling-horizon control, Bertsekas, Dynamic Programming and Optimal Control I, 2017,
chapter 6; linear programs on pieces of expected sales, Van Mieghem & Rudi, Newsvendor networks,
Manufacturing & Service Operations Management 4, 2002.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.capacity_priced import EXPECTED_FILL
from stockyard.agents.heuristics.demand import expected_left, forecast_over
from stockyard.agents.heuristics.margins import Margins
from stockyard.agents.heuristics.stocking_points import OrderingRule, StockingPoints
from stockyard.envs.network.forecast import HORIZONS_DAYS

Integers = npt.NDArray[np.int64]

WEEKS = 7
"""Weeks planned [A]: two or three until an order arrives, and four to sell it."""

PIECES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
"""Quantiles at which expected sales are cut into pieces [A]."""

EXCESS_COST = 5.0
"""USD per ft3 and week above the space, or waiting at the docks [A]: soft, so plans exist."""


PRESOLVED_FROM = 5_000
"""Variables from which on presolving a plan pays; it takes a quarter of the time of a small one."""


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What one plan is made from: P products, W weeks, K pieces."""

    margin: Floats  # (P,) USD per unit sold
    holding: Floats  # (P,) USD per unit left over a week
    volume: Floats  # (P,) ft3
    pieces: Floats  # (P, W, K) units of stock, filled in order
    sold: Floats  # (P, W, K) expected share of a piece that is sold
    due: Floats  # (P, W) units that join the stock at the start of the week
    arriving: Floats  # (P, W) share of an order that joins [l] weeks after it
    space: Floats  # (W,) ft3
    receiving: Floats  # (W,) ft3 that docks can take of orders to come; < 0: they are behind
    shipping: Floats  # (V, W) units that suppliers ship of the orders of a week
    made_by: Floats  # (P, V) 1 where a product comes from a supplier


class Planner:
    """The linear program of one size; only its numbers change between decisions.

    Maximises margins less holding and excess over orders q, stocks x, pieces y, overflow and work
    left waiting. x[w] = x[w-1] - sum_k sold y[w-1, k] + due + arrivals of q; sum_k y[w] <= x[w];
    volume of x[w] <= space + overflow; waiting[w] >= waiting[w-1] + arriving volume - receiving;
    orders of a supplier's products <= what it ships.
    """

    def __init__(self, products: int, weeks: int, pieces: int, suppliers: int) -> None:
        """Lays out variables and constraints."""
        p, w, k, v = products, weeks, pieces, suppliers
        self.shape = (p, w, k)
        place = np.arange(p * w).reshape(p, w)
        self._order, self._stock = place, p * w + place
        self._piece = 2 * p * w + np.arange(p * w * k).reshape(p, w, k)
        self._overflow = 2 * p * w + p * w * k + np.arange(w)
        self._waiting = self._overflow + w
        self.variables = int(self._waiting[-1]) + 1
        # an order of week j joins in week j + l
        ordered, later = np.triu_indices(w)
        self._delay = later - ordered
        arrivals = (place[:, later], self._order[:, ordered])
        self._equal = _Pattern(
            p * w,
            self.variables,
            (place, self._stock),
            (place[:, 1:], self._stock[:, :-1]),
            (np.broadcast_to(place[:, 1:, None], (p, w - 1, k)), self._piece[:, :-1]),
            arrivals,
        )
        space = p * w + np.broadcast_to(np.arange(w), (p, w))
        dock = p * w + w + np.arange(w)
        makers = p * w + 2 * w + np.arange(v * w).reshape(v, w)
        self._most = _Pattern(
            p * w + 2 * w + v * w,
            self.variables,
            (np.broadcast_to(place[:, :, None], (p, w, k)), self._piece),
            (place, self._stock),
            (space, self._stock),
            (space[0], self._overflow),
            (np.broadcast_to(dock[later], arrivals[1].shape), arrivals[1]),
            (dock, self._waiting),
            (dock[1:], self._waiting[:-1]),
            (np.broadcast_to(makers, (p, v, w)), np.broadcast_to(place[:, None], (p, v, w))),
        )

    def plan(self, outlook: Outlook) -> Floats:
        """Orders (P, W) in units, those of the first week first."""
        p, w, _ = self.shape
        joins = outlook.arriving[:, self._delay]
        ones = np.ones((p, w))
        equal = self._equal.matrix(ones, -ones[:, 1:], outlook.sold[:, :-1], -joins)
        volume = outlook.volume[:, None]
        most = self._most.matrix(
            np.ones(self.shape),
            -ones,
            volume * ones,
            -np.ones(w),
            volume * joins,
            -np.ones(w),
            np.ones(w - 1),
            np.broadcast_to(outlook.made_by[:, :, None], (p, outlook.made_by.shape[1], w)),
        )
        cost = np.zeros(self.variables)
        cost[self._stock] = outlook.holding[:, None]
        # what is sold within the week is held for half of it
        earned = outlook.margin + 0.5 * outlook.holding
        cost[self._piece] = -earned[:, None, None] * outlook.sold
        cost[self._overflow] = cost[self._waiting] = EXCESS_COST
        upper = np.full(self.variables, np.inf)
        upper[self._piece] = outlook.pieces
        found = optimize.linprog(
            cost,
            A_ub=most,
            b_ub=np.concatenate(
                (np.zeros(p * w), outlook.space, outlook.receiving, outlook.shipping.ravel())
            ),
            A_eq=equal,
            b_eq=outlook.due.ravel(),
            bounds=np.stack((np.zeros(self.variables), upper), axis=1),
            method="highs",
            options={"presolve": self.variables > PRESOLVED_FROM},
        )
        if found.status != 0:
            raise RuntimeError(f"forecast_mpc: no plan was found: {found.message}")
        return np.asarray(np.maximum(found.x[self._order], 0.0))


class _Pattern:
    """A sparse matrix whose entries stay where they are while their values change."""

    def __init__(self, rows: int, columns: int, *entries: tuple[Integers, Integers]) -> None:
        row = np.concatenate([r.ravel() for r, _ in entries])
        column = np.concatenate([c.ravel() for _, c in entries])
        numbered = sparse.csr_matrix(
            (np.arange(1.0, len(row) + 1.0), (row, column)), shape=(rows, columns)
        )
        self._shape = (rows, columns)
        self._from = numbered.data.astype(np.intp) - 1
        self._indices, self._starts = numbered.indices, numbered.indptr

    def matrix(self, *values: Floats) -> Any:
        """The matrix with these values, in the order of the entries."""
        data = np.concatenate([v.ravel() for v in values])[self._from]
        return sparse.csr_matrix((data, self._indices, self._starts), shape=self._shape)


class ForecastMPC(OrderingRule):
    """Places the first week's orders of a plan on the forecast."""

    def __init__(
        self,
        facts: Facts,
        *,
        spread: float,
        delay_days: float,
        space_use: float,
        receiving_use: float,
        weeks: int = WEEKS,
    ) -> None:
        """Takes the plan's parameters; see `forecast_mpc`."""
        super().__init__(facts, "forecast_mpc")
        for label, value in (("space_use", space_use), ("receiving_use", receiving_use)):
            if not value > 0:
                raise ValueError(f"{label}: must be > 0, got {value!r}")
        if not spread >= 0:
            raise ValueError(f"spread: must be >= 0, got {spread!r}")
        self._margins = Margins(facts, self.points)
        self._periods_per_day = facts.world.network.periods_per_day
        self._spread, self._delay = spread, delay_days
        self._space_use, self._receiving_use = space_use, receiving_use
        self._weeks = weeks
        pieces = len(PIECES) if spread > 0 else 1
        suppliers = len(self._margins.suppliers)
        self._planner = functools.partial(_planner, self.points.count, weeks, pieces, suppliers)

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Plans for one replica after another."""
        now = {name: np.asarray(values, dtype=np.float64) for name, values in observation.items()}
        planner = self._planner()
        return np.stack([planner.plan(one)[:, 0] for one in self.outlooks(now)]), state

    def outlooks(self, now: Mapping[str, Floats]) -> list[Outlook]:
        """What each replica's plan is made from."""
        margin, holding = self._margins.short(now), 7.0 * self._margins.over_per_day(now)
        pieces, sold = self._sales(now)
        due, arriving = self._due(now), self._arriving(now)
        space = self._space_use * self._by_week(now["storage_capacity"].sum(axis=1))
        docks = self._margins.receiving_capacity(now).sum(axis=1)
        receiving = 7.0 * self._receiving_use * self._by_week(docks)
        receiving -= (due * now["volume"][:, :, None]).sum(axis=1)
        # what is due in the first week includes the stock, which is in; its yard is not
        stock = now["on_hand"].sum(axis=-1) + now["in_transfer"]
        receiving[:, 0] += (stock * now["volume"]).sum(axis=1)
        shipping = 7.0 * self._by_week(self._margins.supplier_capacity(now))
        return [
            Outlook(
                margin=margin[b],
                holding=holding[b],
                volume=now["volume"][b],
                pieces=pieces[b],
                sold=sold[b],
                due=due[b],
                arriving=arriving[b],
                space=space[b],
                receiving=receiving[b],
                shipping=shipping[b],
                made_by=self._margins.at_supplier,
            )
            for b in range(len(margin))
        ]

    def _by_week(self, announced: Floats) -> Floats:
        """What is announced (..., 5) for every week of the plan, (..., W); it stays afterwards."""
        week = np.minimum(np.arange(self._weeks), announced.shape[-1] - 1)
        return announced[..., week]

    def _sales(self, now: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Pieces of stock and the share of each that sells, (B, P, W, K)."""
        batch, products = now["volume"].shape
        before: Floats = np.zeros((batch, products))
        pieces, sold = [], []
        for week in range(1, self._weeks + 1):
            days = np.full((batch, products), min(7.0 * week, float(HORIZONS_DAYS[-1])))
            total, deviation = forecast_over(now, days)
            demand = np.maximum(total - before, 1e-6)
            before = total
            if self._spread <= 0:
                pieces.append(demand[..., None])
                sold.append(np.ones_like(demand)[..., None])
                continue
            # All demand so far is uncertain, and the stock that meets this week's with it.
            variation = self._spread * np.sqrt(np.expm1(deviation**2)) * total / demand
            deviation = np.maximum(np.sqrt(np.log1p(variation**2)), 1e-3)[..., None]
            mean = demand[..., None]
            ends = mean * np.exp(ndtri(np.array(PIECES)) * deviation - deviation**2 / 2.0)
            ends = np.concatenate((np.zeros_like(mean), ends), axis=-1)
            sales = ends - expected_left(ends, mean, deviation)
            size = np.diff(ends, axis=-1)
            pieces.append(size)
            sold.append(np.clip(np.diff(sales, axis=-1) / np.maximum(size, 1e-12), 0.0, 1.0))
        return np.stack(pieces, axis=2), np.stack(sold, axis=2)

    def _due(self, now: Mapping[str, Floats]) -> Floats:
        """Units that join the stock in each week without any order, (B, P, W)."""
        quoted = EXPECTED_FILL * now["on_order_quoted"]
        due = np.zeros((*quoted.shape[:2], self._weeks + 1))
        for slot in range(quoted.shape[-1]):
            # quoted for a day of the week, on average its middle
            week, part = divmod(slot + 0.5 + self._delay / 7.0, 1.0)
            for k, share in ((int(week), 1.0 - part), (int(week) + 1, part)):
                due[..., min(max(k, 0), self._weeks)] += share * quoted[..., slot]
        overdue = EXPECTED_FILL * np.maximum(
            now["on_order"] - now["on_order_quoted"].sum(axis=-1), 0.0
        )
        due[..., 0] += now["on_hand"].sum(axis=-1) + now["in_transfer"]
        due[..., 0] += now["yard"].sum(axis=-1) + 0.5 * overdue
        due[..., 1] += 0.5 * overdue
        return due[..., : self._weeks]

    def _arriving(self, now: Mapping[str, Floats]) -> Floats:
        """Share of an order that joins the stock [l] weeks later, (B, P, W)."""
        weeks = (now["quoted_lead_time"] / self._periods_per_day + self._delay) / 7.0
        weeks = np.maximum(weeks, 0.0)
        ahead = np.arange(self._weeks)
        return EXPECTED_FILL * np.maximum(1.0 - np.abs(ahead - weeks[..., None]), 0.0)


@functools.lru_cache(maxsize=8)
def _planner(products: int, weeks: int, pieces: int, suppliers: int) -> Planner:
    return Planner(products, weeks, pieces, suppliers)


def _mpc_space(facts: Facts) -> tuple[Parameter, ...]:
    _check(facts)
    return (
        Parameter("spread", 0.0, 1.6, least=0.0),
        Parameter("delay_days", 0.0, 8.0, least=-7.0, most=28.0),
        Parameter("space_use", 0.7, 1.3, least=0.05),
        Parameter("receiving_use", 0.8, 1.6, least=0.05),
    )


def _check(facts: Facts) -> None:
    StockingPoints(facts, "forecast_mpc")
    if not facts.has_forecast:
        raise ValueError("forecast_mpc: needs a retail world, which shows forecasts and capacities")


@tuned_by(_mpc_space, batches=4)
def forecast_mpc(
    env: Any,
    spread: float | None = None,
    delay_days: float = 3.0,
    space_use: float = 1.0,
    receiving_use: float = 1.0,
) -> ForecastMPC:
    """Model-predictive control: the first week's orders of a linear program on the forecast.

    Args:
        env: a built retail environment in which orders are decided.
        spread: of demand around its mean, in forecast deviations; 0: means alone.
        delay_days: days from the quoted arrival until goods are on sale.
        space_use: part of the announced space that the plan may fill.
        receiving_use: part of the announced receiving that the plan may use.
    """
    facts = Facts(env)
    _check(facts)
    if spread is None:
        return forecast_mpc(env, **tuned("forecast_mpc", facts))
    return ForecastMPC(
        facts,
        spread=spread,
        delay_days=delay_days,
        space_use=space_use,
        receiving_use=receiving_use,
    )
