"""What a decision about sellers is worth: the surpluses of three parties, weighed and compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from stockyard.envs.network.arrays import Array, at_least, stack, to_numpy
from stockyard.envs.network.economics import PARTIES, party_balances
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Decisions, Ledger
from stockyard.envs.network.world import World, outlook_at, simulate, stock_values
from stockyard.envs.tasks.task import View

WORSE_OFF = 2.0
"""USD that a USD less than under the reference costs in the objective `triple_win`: more than
anybody else can gain by it."""


@dataclass(frozen=True)
class Objective:
    """Weights of what a step brings about.

    Raises:
        ValueError: naming the weight that is negative or no number.
    """

    platform: float = 1.0
    sellers: float = 1.0
    customers: float = 1.0
    volatility: float = 0.5  # USD per ft3 by which a limit differs from what was announced for it
    worse_off: float = 0.0  # USD per USD that a party has less than under the reference rule

    def __post_init__(self) -> None:
        """Checks the weights."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"objective.{field.name}: must be a number >= 0, got {value!r}")


OBJECTIVES = {
    "welfare": Objective(),
    "platform": Objective(sellers=0.0, customers=0.0),
    "triple_win": Objective(worse_off=WORSE_OFF),
}
"""Named objectives; the first is the default."""


def resolve_objective(objective: Any) -> Objective:
    """An objective by name, as a mapping of weights, or itself; None is `welfare`.

    Raises:
        ValueError: for an unknown name or weight; the known ones are listed.
    """
    if objective is None:
        return OBJECTIVES["welfare"]
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, Mapping):
        known = [field.name for field in fields(Objective)]
        for name in objective:
            if name not in known:
                raise ValueError(f"objective: unknown {name!r}; known: {', '.join(known)}")
        return Objective(**objective)
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: unknown {objective!r}; known: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[objective]


def surpluses(ledger: Ledger) -> Array:
    """What platform, sellers and customers gained, (B, 3) USD.

    The platform's is the retailer's accrual profit; the sellers' is theirs; customers have what
    goods are worth to them less what they paid.
    """
    balances = party_balances(ledger)
    return stack([balances[party] for party in ("retailer", "sellers", "customers")], axis=1)


def weighed(objective: Objective, ledger: Ledger) -> Ledger:
    """Accounts of a ledger as they count in an objective; payments between equals cancel."""
    weight = {
        "retailer": objective.platform,
        "sellers": objective.sellers,
        "customers": objective.customers,
    }
    accounts: Ledger = {}
    for account, amount in ledger.items():
        payer, payee = PARTIES[account]
        received = -amount if payer == "retailer" else amount
        factor = weight.get(payee, 0.0) - weight.get(payer, 0.0)
        if payer in weight or payee in weight:
            accounts[account] = received * factor
    return accounts


class Referee:
    """Compares an episode with what the reference rule would have made of it, on its tapes.

    The reference is simulated when it is first asked for: who never asks does not pay.
    """

    def __init__(self, world: World, params: Params, opened: View, objective: Objective) -> None:
        """Takes the beginning of an episode, after the burn-in."""
        self._world, self._params, self._objective = world, params, objective
        self._reference: list[Array] = []
        self._view = opened
        self._own: Array | None = None
        self._behind: Array | None = None
        self._steps = 0

    def judge(self, ledger: Ledger) -> tuple[Callable[[], Any], Ledger]:
        """Takes a step of the episode into account.

        Args:
            ledger: of the step, everybody's.

        Returns:
            Who asks whether no party is worse off than under the reference so far, (B,); and the
            account of what being worse off costs, empty where it costs nothing.
        """
        gained = surpluses(ledger)
        self._own = gained if self._own is None else self._own + gained
        self._steps += 1
        own, steps = self._own, self._steps

        def verdict() -> Any:
            return np.all(to_numpy(own) >= to_numpy(self.reference(steps)), axis=1)

        if not self._objective.worse_off:
            return verdict, {}
        behind = shortfall(own, self.reference(steps))
        more = behind if self._behind is None else behind - self._behind
        self._behind = behind
        return verdict, {"worse_off": -self._objective.worse_off * more}

    def reference(self, steps: int) -> Array:
        """Surpluses (B, 3) USD of the reference rule over the first steps of the episode."""
        while len(self._reference) < steps:
            self._advance()
        return sum(self._reference[1:steps], start=self._reference[0])

    def _advance(self) -> None:
        world, params, view = self._world, self._params, self._view
        state, stretch = simulate(
            world, params, view.state, view.tape, view.period, world.periods_per_step, Decisions()
        )
        period = view.period + world.periods_per_step
        outlook = outlook_at(world, view.tape, period)
        then = stock_values(params, view.state, view.outlook)
        now = stock_values(params, state, outlook)
        ledger = stretch.ledger | {name: now[name] - then[name] for name in now}
        self._reference.append(surpluses(ledger))
        self._view = view._replace(state=state, period=period, outlook=outlook)


def shortfall(own: Array, reference: Array) -> Array:
    """USD by which parties have less than under the reference, summed, (B,)."""
    less = at_least(reference - own, 0.0)
    return less[:, 0] + less[:, 1] + less[:, 2]
