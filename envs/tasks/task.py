"""What an agent sees, does and earns: the seam between the network and an environment."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gymnasium import spaces

from stockyard.envs.network.arrays import Array, all_sum, namespace
from stockyard.envs.network.economics import PARTIES
from stockyard.envs.network.params import Params
from stockyard.envs.network.standing_rules import resolve_rule
from stockyard.envs.network.state import Decisions, Flows, Ledger, State
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.world import Stretch, World


class View(NamedTuple):
    """What the decision maker has at a decision epoch."""

    state: State
    tape: Tape  # only its revealed part may be read: known, outlook_at, announced_limit
    period: int
    memory: Any  # what the task chose to remember of the past
    outlook: Mapping[int, Array]  # days -> (B or 1, P) units that the forecast expects over them


class Decoded(NamedTuple):
    """An action in the network's terms."""

    decisions: Decisions
    requested: Mapping[str, Array]  # field of `Flows` -> what the action asked for, same shape
    outside: Array  # (B,) share of the action's entries outside its space


class Task(Protocol):
    """One file per task implements this; arrays carry the batch axis first."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The decision slots that the agent takes."""

    @property
    def action_modes(self) -> tuple[str, ...]:
        """The modes of this world; the first is the default."""

    def action_space(self, mode: str) -> spaces.Space[Any]:
        """The action space of one environment in an action mode."""

    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape of what `observe` returns, without the batch axis."""

    def observation_space(self) -> spaces.Dict:
        """The observation space of one environment: the same fields, each flattened."""

    def observation_scale(self) -> dict[str, Any]:
        """Static typical size of every field, broadcastable to it; never from a tape."""

    def remember(
        self,
        params: Params,
        memory: Any,
        stretch: Stretch | None,
        quoted_lead: Array | None,
        batch: int,
    ) -> Any:
        """What to remember after a stretch, given the lead quoted at its start.

        `memory` and `stretch` are None before the first.
        """

    def unreported(self, memory: Any) -> Array | None:
        """Units ordered that will not come and that nobody knows of yet, (B, P); None: none."""

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """The observation in its shapes, batched, in physical units; pure and differentiable."""

    def decode(self, params: Params, mode: str, action: Array, view: View) -> Decoded:
        """Turns a batched action into decisions; pure and differentiable."""

    def accounts(self, params: Params, ledger: Ledger, flows: tuple[Flows, ...]) -> Ledger:
        """The accounts whose sum is the reward of a step, from those of everybody."""


def shaped(
    observation: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    """Gives the flat fields of an observation their shapes back.

    Args:
        observation: fields (size,) or, batched, (B, size).
        shapes: field -> shape, as an environment's `field_shapes` says.

    Returns:
        Fields of these shapes, with the batch axis first if there was one.
    """
    return {
        name: values.reshape(*values.shape[:-1], *shapes[name])
        for name, values in observation.items()
    }


ActionMode = str | Mapping[str, Any]
"""A mode of a task, or `{"residual": rule}`: corrections of that rule."""


def split_mode(given: ActionMode | None) -> tuple[str | None, Any]:
    """Returns an action mode and the rule that it corrects; None for the standing one.

    Raises:
        ValueError: for a mapping of anything else.
    """
    if not isinstance(given, Mapping):
        return given, None
    if list(given) != ["residual"]:
        raise ValueError(f'action: only {{"residual": rule}} takes a rule, got {dict(given)!r}')
    return "residual", given["residual"]


def ruled(world: World, task: Task, rule: Any) -> World:
    """The world as a task sees it that corrects a rule of its own.

    Raises:
        ValueError: for an unknown rule, or a task that takes several decisions.
    """
    if len(task.slots) != 1:
        raise ValueError(f"action: residual is for one decision, not for {', '.join(task.slots)}")
    slot = task.slots[0]
    return dataclasses.replace(world, rules={**world.rules, slot: resolve_rule(slot, rule)})


def check_mode(mode: str | None, modes: tuple[str, ...]) -> str:
    """Returns the mode, or the first where None; a ValueError lists the known ones."""
    if mode is None:
        return modes[0]
    if mode not in modes:
        raise ValueError(f"action: unknown mode {mode!r}; known: {', '.join(modes)}")
    return mode


def retailers_accounts(ledger: Ledger) -> Ledger:
    """The accounts of a ledger that the retailer pays or is paid: its profit."""
    return {name: amount for name, amount in ledger.items() if "retailer" in PARTIES[name]}


def share_where(condition: Array, like: Array) -> Array:
    """Share of entries per replica for which the condition holds, (B,)."""
    ones = namespace(like).asarray(condition, dtype=like.dtype)
    return all_sum(ones) / math.prod(condition.shape[1:])


TASKS = ("replenishment", "placement", "restock_limits", "truck_fill", "network")
"""Known tasks."""


def check_task(name: str) -> None:
    """Raises a ValueError that lists the known tasks if `name` is none of them."""
    if name not in TASKS:
        raise ValueError(f"task: unknown {name!r}; known: {', '.join(TASKS)}")


def make_task(
    name: str, world: World, slots: Sequence[str] | None = None, objective: Any = None
) -> Task:
    """Builds the task of an environment id.

    Args:
        name: a name of `TASKS`.
        world: the world.
        slots: the decisions that the agent takes, where the task leaves a choice.
        objective: what counts as reward, where the task leaves a choice.
    """
    from stockyard.envs.tasks.joint import Joint
    from stockyard.envs.tasks.placement import Placement
    from stockyard.envs.tasks.replenishment import Replenishment
    from stockyard.envs.tasks.restock_limits import RestockLimits
    from stockyard.envs.tasks.truck_fill import TruckFill

    check_task(name)
    if objective is not None and name != "restock_limits":
        raise ValueError("objective: only stockyard/RestockLimits-v0 leaves the choice of one")
    if name == "network":
        # a string would fall into letters; the task says what is wrong with it
        return Joint(world, slots if slots is None or isinstance(slots, str) else tuple(slots))
    if slots is not None:
        raise ValueError("slots: only stockyard/Network-v0 leaves the choice of slots")
    if name == "restock_limits":
        return RestockLimits(world, objective)
    if name == "truck_fill":
        return TruckFill(world)
    return Placement(world) if name == "placement" else Replenishment(world)
