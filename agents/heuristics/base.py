"""What all heuristics share: the environment's facts, the batch axis, and how a rule is tuned."""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.world import World
from stockyard.envs.tasks.task import shaped

Floats = npt.NDArray[np.float64]
Observation = Mapping[str, npt.NDArray[Any]]
Starts = npt.NDArray[np.bool_] | None
Levels = float | npt.ArrayLike


class Facts:
    """What a rule may know of an environment beside its observation: costs, lead times, demand."""

    def __init__(self, env: Any) -> None:
        """Reads the world of a built environment, single or vector, wrapped or not.

        Raises:
            ValueError: if it is not an environment of this project.
        """
        base = env.unwrapped
        slots = getattr(getattr(base, "task", None), "slots", None)
        if slots is None:
            raise ValueError("heuristics need an environment of stockyard.envs")
        self.slots: tuple[str, ...] = tuple(slots)
        self.world: World = base.world
        self.specification: dict[str, Any] = dict(base.specification)
        self.field_shapes: dict[str, tuple[int, ...]] = base.field_shapes
        # slot -> entries of a flat action and their shape; None where the action is the orders
        self.action_parts: dict[str, tuple[slice, tuple[int, ...]]] | None = getattr(
            base.task, "action_parts", None
        )
        network = self.world.network
        self.review_periods = max(self.world.source.epoch_periods, self.world.periods_per_step)
        self.review_days = self.review_periods / network.periods_per_day
        rate = self.world.source.demand.mean_rate(network).sum(axis=0)
        self.mean_per_review: Floats = np.asarray(rate * self.review_periods)  # (P,) units
        # as the action space says, which is float32
        self.largest_order: Floats = self.world.max_order.astype(np.float32).astype(np.float64)

    def require_slots(self, rule: str, *slots: str) -> None:
        """Checks that the agent decides just what the rule does.

        Raises:
            ValueError: naming the rule, what it decides and what the environment asks for.
        """
        if set(self.slots) != set(slots):
            raise ValueError(
                f"{rule}: decides {' and '.join(slots)}, but this environment asks for "
                f"{' and '.join(self.slots)}"
            )

    @property
    def has_forecast(self) -> bool:
        """Whether the observation shows forecasts; textbook problems have none."""
        return self.world.forecaster is not None

    @property
    def has_backlog(self) -> bool:
        """Whether unmet demand is owed, not lost."""
        return self.world.economics.unmet == "backorder"

    @property
    def lead_time(self) -> int:
        """Longest fixed lead time, in periods."""
        return int(self.world.network.inbound.lead_time.max())

    @property
    def holding_costs(self) -> Floats:
        """(N, P) USD per unit and period."""
        return self._table(self.world.economics.holding_per_unit, self.world.network.num_nodes)

    @property
    def penalty_costs(self) -> Floats:
        """(R, P) USD per unit lost, or per unit owed and period."""
        return self._table(self.world.economics.shortage_per_unit, self.world.network.num_regions)

    def _table(self, values: Any, rows: int) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 1:
            array = array[:, None]
        return np.broadcast_to(array, (rows, self.world.network.num_products))

    def law(self, region: int, product: int) -> Distribution:
        """The distribution of a product's demand in a region, units per period.

        Raises:
            ValueError: if demand is not independent over periods.
        """
        process = self.world.source.demand
        if not isinstance(process, IidDemand):
            raise ValueError("this rule needs demand independent over periods, or a forecast")
        return process.law(region, product)

    def demand(self) -> Distribution:
        """The demand distribution of a textbook problem with one product and one region.

        Raises:
            ValueError: if demand is not independent over periods, in one region.
        """
        network = self.world.network
        if not network.num_regions == network.num_products == 1:
            raise ValueError("this rule needs independent demand for one product in one region")
        return self.law(0, 0)


class Aims(NamedTuple):
    """What a rule aims at, for whoever corrects it; it does max(level - position, 0) + beyond.

    K are centres where stock is placed, else 1.
    """

    level: Floats  # (B, P, K) units up to which positions are lifted
    beyond: Floats  # (B, P, K) units that leave however high the position is
    price_share: Floats  # (B, P, K) part of a unit's margin that the rule's shadow prices take


@dataclass(frozen=True)
class Parameter:
    """One coordinate of a search."""

    name: str
    low: float  # where the search begins; it widens when the best lies on an edge
    high: float
    integer: bool = False
    least: float = -np.inf  # no search goes beyond these
    most: float = np.inf
    elsewhere: tuple[float, ...] = ()  # where else to begin, for costs with several valleys


@dataclass(frozen=True)
class Search:
    """How a rule is tuned."""

    space: Callable[[Facts], tuple[Parameter, ...]]  # the coordinates; theory says where to begin
    # the rule's parameters, as `make` takes them, at a point of the search. Coordinates need not be
    # parameters: S_r - S_e is searched where S_e and S_r would have to move together.
    parameters: Callable[[Facts, Mapping[str, float]], dict[str, Any]]
    batches: int = 1  # of tapes in a study: more where a decision takes long for each of them
    # whether coordinates hardly depend on each other, so that searching one after the other does
    # better than trials all over a large space
    is_separable: bool = False


_SEARCHES: dict[Callable[..., Any], Search] = {}

Factory = TypeVar("Factory", bound=Callable[..., Any])


def as_searched(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    """The parameters of a rule whose coordinates are its parameters."""
    return dict(values)


def tuned_by(
    space: Callable[[Facts], tuple[Parameter, ...]],
    parameters: Callable[[Facts, Mapping[str, float]], dict[str, Any]] = as_searched,
    batches: int = 1,
    is_separable: bool = False,
) -> Callable[[Factory], Factory]:
    """Declares how the rule that a factory builds is tuned; see `Search`."""

    def mark(factory: Factory) -> Factory:
        _SEARCHES[factory] = Search(space, parameters, batches, is_separable)
        return factory

    return mark


def search_of(factory: Callable[..., Any]) -> Search | None:
    """How the rule of a factory is tuned; None if it has nothing to tune."""
    return _SEARCHES.get(factory)


def tuned(name: str, facts: Facts, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of a rule, tuned on training tapes of an environment for those `fixed`."""
    from stockyard.agents.tuning import tune

    return tune(name, facts.specification, fixed=fixed).parameters


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in sorted(sizes.items()))


class Heuristic(abc.ABC):
    """A policy in physical units, mode `quantity`."""

    action_mode = "quantity"

    def __init__(self, facts: Facts) -> None:
        """Remembers the shapes of the observation's fields."""
        self._shapes = facts.field_shapes

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: Starts = None,
        deterministic: bool = True,
    ) -> tuple[npt.NDArray[Any], Any]:
        """Decides; see `stockyard.agents.policy.Policy`. Takes a single observation too.

        Raises:
            ValueError: if the observation is not of the kind of environment this was built for.
        """
        given = {name: values.shape[-1:] for name, values in observation.items()}
        expected = {name: (math.prod(shape),) for name, shape in self._shapes.items()}
        if not given or any(expected.get(name) != size for name, size in given.items()):
            raise self._built_for_another(observation)
        try:
            return self._predict(observation, state, episode_start)
        except KeyError as error:  # a field that no rule asks for need not be there
            if error.args[0] in expected and error.args[0] not in given:
                raise self._built_for_another(observation) from None
            raise

    def _predict(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        is_single = next(iter(observation.values())).ndim == 1
        if is_single:
            observation = {name: np.asarray(values)[None] for name, values in observation.items()}
            episode_start = None if episode_start is None else np.atleast_1d(episode_start)
        action, state = self.decide(shaped(observation, self._shapes), state, episode_start)
        return action[0] if is_single else action, state

    def _built_for_another(self, observation: Observation) -> ValueError:
        mine = {name: math.prod(shape) for name, shape in self._shapes.items()}
        given = {name: values.shape[-1] for name, values in observation.items()}
        return ValueError(
            f"{type(self).__name__}: built for an environment that shows {_listed(mine)}; this "
            f"observation has {_listed(given)}"
        )

    @abc.abstractmethod
    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """The action (B, ...), and the next state; the observation is in its shapes."""
