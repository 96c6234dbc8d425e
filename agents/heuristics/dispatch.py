"""When trucks leave: control limits, and rules for parcels with a deadline."""

import abc
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Heuristic,
    Levels,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)

LATE, SLACK_0 = 0, 1
"""Bins of `parcels`: late, then by slack 0, 1, ..., and last those without a deadline."""


def parcel_lanes(facts: Facts, rule: str) -> npt.NDArray[np.int64]:
    """The lanes whose trucks an agent sends, where these take parcels of one size.

    Raises:
        ValueError: if the environment asks for more than trucks, or they take anything else.
    """
    facts.require_slots(rule, "dispatch")
    network = facts.world.network
    if facts.has_forecast or network.has_transfer_trucks or network.num_products != 1:
        raise ValueError(
            f"{rule}: needs trucks that take parcels of one size, as in textbook.batch_dispatch "
            "and textbook.deadline_dispatch"
        )
    return np.flatnonzero(np.isfinite(network.outbound.truck_volume))


class DispatchRule(Heuristic):
    """A rule that decides trucks by the parcels that wait on each lane."""

    def __init__(self, facts: Facts, name: str) -> None:
        """Finds the lanes and what their trucks take.

        Args:
            facts: the environment.
            name: of the rule, for errors.
        """
        super().__init__(facts)
        self._lanes = parcel_lanes(facts, name)
        network = facts.world.network
        parcel = float(
            network.parcel_volume_fixed + network.parcel_volume_factor * network.products.volume[0]
        )
        volume = np.asarray(network.outbound.truck_volume)[self._lanes]
        self._capacity: Floats = np.floor(volume / parcel + 1e-9)  # (lanes,) parcels
        trucks = facts.world.source.capacities.trucks
        self._most: Floats = np.full(len(self._lanes), np.inf)
        if trucks is not None:
            limits = np.atleast_2d(np.asarray(trucks, dtype=np.float64)).max(axis=0)
            self._most = limits[len(network.transfers.tail) + self._lanes]

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """Sends trucks, as many as there are at most."""
        parcels = np.asarray(observation["parcels"], dtype=np.float64)[:, self._lanes]
        trucks = self.trucks(parcels.sum(axis=2), parcels[..., [LATE, SLACK_0]].sum(axis=2))
        return np.minimum(trucks, self._most), state

    @abc.abstractmethod
    def trucks(self, waiting: Floats, due: Floats) -> Floats:
        """Trucks (B, lanes), from the parcels that wait and those due now, (B, lanes) each."""


class ControlLimit(DispatchRule):
    """Sends trucks while at least a threshold of parcels waits."""

    def __init__(self, facts: Facts, threshold: Levels) -> None:
        """Takes the threshold, parcels; scalar or one for each lane."""
        super().__init__(facts, "control_limit")
        limits = np.asarray(threshold, dtype=np.float64)
        lanes = len(self._lanes)
        if limits.shape not in ((), (1,), (lanes,)) or not (limits > 0).all():
            raise ValueError(f"threshold: must be > 0, a number or one for each of {lanes} lanes")
        self._threshold = limits

    def trucks(self, waiting: Floats, due: Floats) -> Floats:
        """As many as leave fewer parcels than the threshold."""
        beyond = waiting - self._threshold
        return np.where(beyond >= 0, np.floor(beyond / self._capacity) + 1.0, 0.0)


class DueDates(DispatchRule):
    """Sends all that waits when a parcel is due; or also when a truck is full."""

    def __init__(self, facts: Facts, name: str, *, when_full: bool) -> None:
        """Takes whether full trucks leave before anything is due."""
        super().__init__(facts, name)
        if facts.world.network.undated_share > 0:
            raise ValueError(f"{name}: needs parcels with deadlines, as textbook.deadline_dispatch")
        self._when_full = when_full

    def trucks(self, waiting: Floats, due: Floats) -> Floats:
        """As many as the parcels that are due need, full ones besides."""
        needed = np.ceil(due / self._capacity)
        if self._when_full:
            needed = np.maximum(needed, np.floor(waiting / self._capacity))
        return needed


def _threshold_space(facts: Facts) -> tuple[Parameter, ...]:
    lanes = parcel_lanes(facts, "control_limit")
    capacity = float(np.max(facts.world.network.outbound.truck_volume[lanes]))
    return (Parameter("threshold", 1.0, max(capacity, 3.0), True, 1.0),)


@tuned_by(_threshold_space)
def control_limit(env: Any, threshold: Levels | None = None) -> ControlLimit:
    """Control limit: a truck leaves when at least `threshold` parcels wait.

    Optimal for one vehicle and parcels without deadlines (Deb & Serfozo, Advances in Applied
    Probability 5, 1973). With more vehicles, as many leave as it takes to have fewer than the
    threshold stay.

    Args:
        env: a built environment in which trucks are decided.
        threshold: parcels; a number, or one for each lane.
    """
    facts = Facts(env)
    if threshold is None:
        parcel_lanes(facts, "control_limit")
        return control_limit(env, **tuned("control_limit", facts))
    return ControlLimit(facts, threshold)


def dispatch_when_due(env: Any) -> DueDates:
    """Sends trucks when parcels are due, as many as these need; others ride along.

    The time policy of shipment consolidation, kept by the parcels themselves (Higginson &
    Bookbinder, Journal of Business Logistics 15, 1994).

    Args:
        env: a built environment in which trucks for parcels with deadlines are decided.
    """
    return DueDates(Facts(env), "dispatch_when_due", when_full=False)


def dispatch_when_full_or_due(env: Any) -> DueDates:
    """Sends trucks when parcels are due, and every truck that is full.

    The time-and-quantity policy of shipment consolidation (Higginson & Bookbinder, Journal of
    Business Logistics 15, 1994).

    Args:
        env: a built environment in which trucks for parcels with deadlines are decided.
    """
    return DueDates(Facts(env), "dispatch_when_full_or_due", when_full=True)
