"""What all textbook problems share: demand by name, checks, and the world's plain parts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stockyard.envs.network.capacities import Capacities
from stockyard.envs.network.distributions import Distribution, named, parameters_of
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import Rule
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import Network
from stockyard.envs.network.world import Opening, World

DEFAULT_HORIZON = 1_000
"""Periods of an episode unless `horizon` says otherwise."""

Demand = Distribution | str
"""A distribution, or its name with `demand_*` parameters."""


def distribution(demand: Demand, parameters: Mapping[str, Any]) -> Distribution:
    """Takes a distribution, or a name with `demand_*` parameters as Hydra passes them.

    A name needs all parameters of its distribution. Those that only other distributions take are
    left aside: `env=textbook/dual_sourcing env.demand=poisson env.demand_mean=2` works although the
    file has `demand_low` and `demand_high` for the uniform distribution.

    Raises:
        TypeError: for a parameter that does not begin with `demand_`.
        ValueError: for an unknown name, a missing parameter or one that no distribution takes, or
            parameters beside a distribution.
    """
    given = {}
    for key, value in parameters.items():
        if not key.startswith("demand_"):
            raise TypeError(f"unknown parameter {key!r}; distributions take demand_* parameters")
        given[key.removeprefix("demand_")] = plain(value)
    if isinstance(demand, str):
        return named(demand, **given)
    if any(value is not None for value in given.values()):
        raise ValueError("demand: give demand_* parameters only with a distribution's name")
    if not hasattr(demand, "sample"):
        raise ValueError(f"demand: must be a distribution or the name of one, got {demand!r}")
    return demand


def distributions(
    demand: Demand | Sequence[Demand],
    parameters: Mapping[str, Any],
    count: int | None,
    field: str,
    *others: Any,
) -> tuple[Distribution, ...]:
    """One distribution for each of several entities.

    Args:
        demand: a sequence, one per entity, or one for all. Parameters given as sequences differ
            by entity: `demand_mean=[4, 6]`. Those that the distributions named do not take count
            for nothing, as in `distribution`.
        parameters: `demand_*`.
        count: how many are needed; None: as many as the sequences say.
        field: what `count` is called, for errors.
        others: what else may be a sequence with one entry for each, as costs are.

    Raises:
        ValueError: if the lengths of sequences differ, or nothing says how many there are.
    """
    given, parameters = plain(demand), {key: plain(value) for key, value in parameters.items()}
    many = [*given] if _is_list(given) else None
    names = [law for law in ([given] if many is None else many) if isinstance(law, str)]
    taken = {f"demand_{parameter}" for name in names for parameter in parameters_of(name)}
    lists = {
        key: [*value]
        for key, value in parameters.items()
        if (key in taken or not names)
        and _is_list(value)
        # the parameters that are sequences of one distribution
        and (key not in ("demand_p", "demand_values") or (len(value) and _is_list(value[0])))
    }
    lengths = {len(values) for values in lists.values()}
    if many is not None:
        lengths.add(len(many))
    if count is not None:
        lengths.add(check_whole(count, field, 1))
    if not lengths:
        # the first will do: where another has a different length, its own check names it
        lengths.update([len(value) for value in map(plain, others) if _is_list(value)][:1])
    if not lengths:
        raise ValueError(
            f"demand: nothing says how many there are; give {field}, or a sequence with one entry "
            "for each"
        )
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"demand: {field} and the sequences given must agree on one number, got "
            f"{sorted(lengths)}"
        )
    (size,) = lengths
    return tuple(
        distribution(
            given if many is None else many[k],
            {key: lists[key][k] if key in lists else value for key, value in parameters.items()},
        )
        for k in range(size)
    )


def plain(value: Any) -> Any:
    """Numbers and lists of Python for those of NumPy; everything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def entries(value: Any, field: str) -> tuple[Any, ...]:
    """The entries of a sequence, of Python or NumPy.

    Raises:
        ValueError: naming the field, if it is none.
    """
    value = plain(value)
    if not _is_list(value):
        raise ValueError(f"{field}: must be a sequence of numbers, got {value!r}")
    return tuple(value)


def per_entity(value: Any, count: int, field: str) -> tuple[float, ...]:
    """A number, or one for each of `count` entities, as a tuple.

    Raises:
        ValueError: naming the field, if it is neither, or a number is negative or not finite.
    """
    value = plain(value)
    numbers = [plain(number) for number in value] if _is_list(value) else [value] * count
    if len(numbers) != count or not all(map(_is_number, numbers)):
        raise ValueError(f"{field}: must be a number or {count} of them, got {value!r}")
    return tuple(float(check_amount(number, field)) for number in numbers)


def check_amount(value: Any, field: str, least: float = 0.0) -> float:
    """Returns the value as a number of Python.

    Raises:
        ValueError: naming the field, unless the value is finite and at least `least`.
    """
    number = plain(value)
    if not _is_number(number) or not (math.isfinite(number) and number >= least):
        raise ValueError(f"{field}: must be finite and >= {least:g}, got {value!r}")
    return number  # type: ignore[no-any-return]


def check_whole(value: Any, field: str, least: int = 0) -> int:
    """Returns the value as an int.

    Raises:
        ValueError: naming the field, unless the value is a whole number >= `least`.
    """
    number = plain(value)
    is_whole = _is_number(number) and math.isfinite(number) and int(number) == number
    if not is_whole or number < least:
        raise ValueError(f"{field}: must be a whole number >= {least}, got {value!r}")
    return int(number)


def keep(scenario: Any, fields: Sequence[str], check: Callable[[Any, str], Any]) -> None:
    """Checks fields of a frozen scenario, and keeps what the check makes of them."""
    for field in fields:
        object.__setattr__(scenario, field, check(getattr(scenario, field), field))


def largest_order(demand: Distribution, cover: float, fixed: float = 0.0) -> float:
    """A bound of one order: from nothing to eight deviations above the mean over `cover` periods.

    Args:
        demand: of one period.
        cover: periods, lead time and review.
        fixed: units on top, where a fixed cost makes orders large.
    """
    spread = 8.0 * demand.sd * math.sqrt(cover)
    return float(max(math.ceil(cover * demand.mean + spread + fixed), 1))


def world(
    network: Network,
    economics: Economics,
    demand: IidDemand,
    *,
    rules: Mapping[str, Rule],
    max_order: Sequence[float],
    reward_scale: float,
    opening: Any = None,
    capacities: Capacities | None = None,
) -> World:
    """A textbook world: reviewed every period, empty at first, its step one period.

    Args:
        network: nodes, lanes, products.
        economics: textbook costs.
        demand: independent over periods.
        rules: slot -> standing rule.
        max_order: (P,) units, bound of one order or transfer.
        reward_scale: USD, a typical cost of a period.
        opening: (N, P) units; None: nothing.
        capacities: limits of the network; None: none.
    """
    empty = np.zeros((network.num_nodes, network.num_products))
    return World(
        network=network,
        economics=economics,
        source=TapeSource(network, demand, capacities=capacities or Capacities()),
        opening=Opening(empty if opening is None else opening),
        rules=rules,
        periods_per_step=1,
        horizon=DEFAULT_HORIZON,
        max_order=np.asarray(max_order, dtype=np.float64),
        whole_units=demand.is_integer,
        shows_history=False,
        reward_scale=max(float(reward_scale), 1e-3),
    )


def replenishment_env(scenario: Any, horizon: int) -> dict[str, Any]:
    """Keyword arguments of `stockyard/Replenishment-v0`."""
    return {
        "id": "stockyard/Replenishment-v0",
        "scenario": scenario,
        "horizon": horizon,
        "action": "quantity",
    }


def network_env(scenario: Any, horizon: int, *slots: str) -> dict[str, Any]:
    """Keyword arguments of `stockyard/Network-v0` for the slots that the problem decides."""
    return {
        "id": "stockyard/Network-v0",
        "slots": slots,
        "scenario": scenario,
        "horizon": horizon,
        "action": "quantity",
    }
