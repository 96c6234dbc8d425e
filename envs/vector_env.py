"""The one environment class: a native batch of replicas of one world under one task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from stockyard.envs.inputs import check_action, checked_horizon
from stockyard.envs.metrics import LazyFigures, summarise
from stockyard.envs.network.arrays import Array, all_sum, batch_fastest, to_numpy
from stockyard.envs.network.params import Backend, array_maker
from stockyard.envs.network.standing_rules import Rule
from stockyard.envs.network.state import Decisions, Flows, Ledger
from stockyard.envs.network.streams import Streams, check_split
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.world import Stretch, World, outlook_at, simulate, stock_values
from stockyard.envs.scenarios import build_world
from stockyard.envs.tasks.referee import Referee
from stockyard.envs.tasks.task import (
    ActionMode,
    Decoded,
    View,
    check_mode,
    check_task,
    make_task,
    ruled,
    split_mode,
)

AUTORESET = {mode.name.lower(): mode for mode in AutoresetMode}


class NetworkVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of independent replicas that share a world, a task and a clock.

    What an agent sees, does and earns stands in the docstring of the id's task:
    `stockyard.envs.tasks.replenishment.Replenishment` for `stockyard/Replenishment-v0`,
    `stockyard.envs.tasks.placement.Placement` for `stockyard/Placement-v0`,
    `stockyard.envs.tasks.restock_limits.RestockLimits` for `stockyard/RestockLimits-v0`,
    `stockyard.envs.tasks.truck_fill.TruckFill` for `stockyard/TruckFill-v0`,
    `stockyard.envs.tasks.joint.Joint` for `stockyard/Network-v0`.

    Args:
        task: name of the task; the id sets it.
        num_envs: replicas, B.
        slots: the decisions that the agent takes, for `stockyard/Network-v0`; None: all.
        scenario: name of a scenario, its YAML file or its data as a mapping, or an object that
            builds a world (textbook problems are such objects).
        size: "small", "medium" or "large".
        horizon: length of an episode in periods of the network, a multiple of `periods_per_step`;
            None takes the scenario's.
        action: the task's action mode; None takes the first in its docstring.
            `{"residual": rule}` corrects another rule than the standing one, which goes on to run
            the burn-in: rules are given as in `rules`.
        rules: slot -> standing rule (a name, a mapping of `name` and its parameters, or a callable)
            for the slots the agent does not take.
        objective: what counts as reward, for `stockyard/RestockLimits-v0`; None: welfare.
        demand: a demand process or a `DemandPanel` instead of the scenario's.
        integer: whole units; None takes the scenario's choice.
        forecast: what observations show: "martingale" (None; the tape's own), "none", "biased",
            "lagged", "learned", a mapping of `kind` and its parameters, or a
            `stockyard.envs.tasks.shown_forecast.ShownForecast`.
        split: "train", "validation" or "test": disjoint families of tapes.
        backend: "numpy" or "torch": what the simulator computes with; observations are NumPy.
        dtype: "float64" or "float32": precision of the simulator.
        autoreset_mode: "next_step", "same_step" or "disabled".
        render_mode: None or "rgb_array".

    Raises:
        ValueError: for an unknown name (the known ones are listed) or a value out of range.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        task: str = "replenishment",
        num_envs: int = 1,
        *,
        slots: Sequence[str] | None = None,
        scenario: Any = "steady",
        size: str = "small",
        horizon: int | None = None,
        action: ActionMode | None = None,
        rules: Mapping[str, str | Mapping[str, Any] | Rule] | None = None,
        objective: Any = None,
        demand: Any = None,
        integer: bool | None = None,
        forecast: Any = None,
        split: str = "train",
        backend: Backend = "numpy",
        dtype: str = "float64",
        autoreset_mode: str = "next_step",
        render_mode: str | None = None,
    ) -> None:
        """Builds the world and its spaces; nothing random is drawn before `reset`."""
        if int(num_envs) != num_envs or num_envs < 1:
            raise ValueError(f"num_envs: must be a whole number >= 1, got {num_envs!r}")
        if autoreset_mode not in AUTORESET:
            raise ValueError(
                f"autoreset_mode: unknown {autoreset_mode!r}; known: {', '.join(AUTORESET)}"
            )
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: unknown {render_mode!r}; known: rgb_array")
        check_split(split)
        check_task(task)
        self.world: World = build_world(
            scenario, size, task, demand=demand, rules=rules, integer=integer, forecast=forecast
        )
        self.num_envs = int(num_envs)
        self.split = split
        self.render_mode = render_mode
        self.specification: dict[str, Any] = {
            "id": f"stockyard/{task.title().replace('_', '')}-v0",
            **({} if slots is None else {"slots": slots}),
            **({} if objective is None else {"objective": objective}),
            "scenario": scenario,
            "size": size,
            "horizon": horizon,
            "action": action,
            "rules": dict(rules) if rules else None,
            "demand": demand,
            "integer": integer,
            "forecast": forecast,
            "backend": backend,
            "dtype": dtype,
        }
        self.horizon = checked_horizon(horizon, self.world)
        self.params = self.world.params(backend, dtype)
        mode, corrected = split_mode(action)
        self.task = make_task(task, self.world, slots, objective)
        if corrected is not None:
            self.task = make_task(task, ruled(self.world, self.task, corrected), slots, objective)
        self.action_mode = check_mode(mode, self.task.action_modes)
        self.metadata = {**self.metadata, "autoreset_mode": AUTORESET[autoreset_mode]}
        self._autoreset = AUTORESET[autoreset_mode]
        self.single_observation_space = self.task.observation_space()
        self.single_action_space = self.task.action_space(self.action_mode)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space: Space[Any] = batch_space(self.single_action_space, self.num_envs)
        self._make = array_maker(backend, dtype)
        self._seeds: list[int] = []
        self._episode = 0
        self._tape: tuple[tuple[Any, ...], Tape] | None = None
        self._view: View | None = None
        self._opened: View | None = None
        self._values: Ledger = {}
        self._referee: Referee | None = None
        self._is_done = False
        self.frames: list[Any] = []  # of `rendering.Frame`, one per period

    @property
    def policy_mode(self) -> ActionMode:
        """The action mode as policies for this environment name it, wherever they are played.

        `residual` says which rule it corrects where that is not the one of the scenario.
        """
        given = self.specification["action"]
        if isinstance(given, Mapping):
            return dict(given)
        rules = self.specification["rules"] or {}
        if self.action_mode == "residual" and self.task.slots[0] in rules:
            return {"residual": rules[self.task.slots[0]]}
        return self.action_mode

    @property
    def periods_per_step(self) -> int:
        """Periods of the network that one `step` simulates."""
        return self.world.periods_per_step

    @property
    def steps_per_episode(self) -> int:
        """Decisions of an episode."""
        return self.horizon // self.world.periods_per_step

    @property
    def reward_scale(self) -> float:
        """A fixed amount of USD that training divides rewards by."""
        return self.world.reward_scale

    @property
    def field_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field of the observation -> its shape before it was flattened."""
        return self.task.field_shapes()

    @property
    def observation_scale(self) -> dict[str, Any]:
        """Static typical size of every field of the observation; never from a tape."""
        return self.task.observation_scale()

    @property
    def cost_limit(self) -> float | None:
        """The largest mean of `info["cost"]` that the task's constrained variant allows."""
        limit: float | None = getattr(self.task, "cost_limit", None)
        return limit

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which values of the entries of a discrete action are possible now, (B, their number).

        Raises:
            AttributeError: if the task has no such mode.
        """
        task: Any = self.task
        masks: npt.NDArray[np.bool_] = task.action_masks(self._observation(self._current))
        return masks

    @property
    def state(self) -> Any:
        """The network's state at the last observation, for inspection."""
        return self._current.state

    @property
    def tape(self) -> Tape:
        """The episode's tapes. For bounds and analysis; a policy must not look."""
        return self._current.tape

    @property
    def _current(self) -> View:
        if self._view is None:
            raise RuntimeError("call reset() before anything else")
        return self._view

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Draws the tapes of a new episode and runs the burn-in.

        Args:
            seed: an int s seeds replica i with s + i; a sequence seeds each; None goes on to the
                next episode of the seeds in force (drawn from the system where there are none).
            options: `{"reset_mask": (B,) bool}` must select all replicas: they share a clock.

        Returns:
            The first observation, batched, and info with `tape_hash` (B,).
        """
        mask = None if options is None else options.get("reset_mask")
        if mask is not None and not np.asarray(mask, dtype=bool).all():
            raise ValueError("reset_mask: replicas share one clock; all must be reset together")
        self._seed(seed)
        tape = self._draw()
        world, params = self.world, self.params
        state = world.opening_state(params, self.num_envs)
        memory = self.task.remember(params, None, None, None, self.num_envs)
        view = View(state, tape, 0, memory, {})
        if self._opened is not None and self._opened.tape is tape:
            view = self._opened  # no action reaches the burn-in: on the same tapes it is the same
        else:
            while view.period < world.burn_in:
                view = self._advance(view, Decisions())[0]
            view = view._replace(outlook=outlook_at(world, tape, view.period))
            self._opened = view
        self._view = view
        self._values = stock_values(params, view.state, view.outlook)
        weighs = getattr(self.task, "objective", None)
        self._referee = None if weighs is None else Referee(world, params, view, weighs)
        self._is_done = False
        self.frames = []
        info = {"tape_hash": tape.digests()}
        return self._observation(view), info

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        if seed is None and self._seeds:
            self._episode += 1
            return
        self._episode = 0
        if seed is None:
            entropy = np.random.SeedSequence().generate_state(1, np.uint64)[0]
            seed = int(entropy) >> 1
        if isinstance(seed, int | np.integer):
            seeds: list[Any] = [int(seed) + i for i in range(self.num_envs)]
        elif isinstance(seed, Sequence | np.ndarray):
            seeds = list(seed)
        else:
            raise ValueError(f"seed: must be a whole number or a sequence of them, got {seed!r}")
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: must be one number or {self.num_envs}, got {len(seeds)}")
        if any(not isinstance(s, int | np.integer) or s < 0 for s in seeds):
            raise ValueError(f"seed: must hold whole numbers >= 0, got {seeds}")
        self._seeds = [int(s) for s in seeds]

    def _draw(self) -> Tape:
        """Draws the episode's tapes, or takes the last ones if they are the same."""
        key = (self._episode, *self._seeds)
        if self._tape is None or self._tape[0] != key:
            replicas = [Streams(self.split, seed, self._episode) for seed in self._seeds]
            periods = self.world.burn_in + self.horizon + 1
            self._tape = (key, self.world.source.draw(self.params, replicas, periods))
        return self._tape[1]

    def _advance(self, view: View, decisions: Decisions) -> tuple[View, Stretch]:
        """One step of the network under `decisions`, remembered."""
        known = view.tape.known(view.period)
        state, stretch = simulate(
            self.world,
            self.params,
            view.state,
            view.tape,
            view.period,
            self.periods_per_step,
            decisions,
            self.task.unreported(view.memory),
        )
        memory = self.task.remember(
            self.params, view.memory, stretch, known.quoted_lead, self.num_envs
        )
        period = view.period + self.periods_per_step
        return View(state, view.tape, period, memory, {}), stretch

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Takes one decision per replica and simulates `periods_per_step` periods.

        Args:
            actions: (B, ...) as `action_space` says; out-of-range entries are projected.

        Returns:
            Observation, reward (B,) float64, terminated (B,) all False, truncated (B,), info.

        Raises:
            ValueError: for a NaN, an infinity, a wrong shape or type, naming the entry.
        """
        if self._is_done:
            if self._autoreset is AutoresetMode.NEXT_STEP:
                observation, started = self.reset()
                flags = np.zeros(self.num_envs, dtype=bool)
                return observation, np.zeros(self.num_envs), flags, flags.copy(), started
            raise RuntimeError("the episode is over; call reset()")
        view, params = self._current, self.params
        action = self._make(batch_fastest(check_action(actions, self.action_space), np.float64))
        decoded = self.task.decode(params, self.action_mode, action, view)
        after, stretch = self._advance(view, decoded.decisions)
        after = after._replace(outlook=outlook_at(self.world, after.tape, after.period))
        ledger = dict(stretch.ledger)
        values = stock_values(params, after.state, after.outlook)
        ledger |= {name: value - self._values[name] for name, value in values.items()}
        accounts = self.task.accounts(params, ledger, tuple(stretch.flows))
        verdict = None
        if self._referee is not None:
            verdict, penalty = self._referee.judge(ledger)
            accounts |= penalty
        own = {k: to_numpy(v) for k, v in accounts.items()}
        reward = np.zeros(self.num_envs) + sum(own.values())
        self._view, self._values = after, values
        self._is_done = after.period >= self.world.burn_in + self.horizon
        truncated = np.full(self.num_envs, self._is_done)
        info: dict[str, Any] = {
            "ledger": own,
            "metrics": LazyFigures(
                lambda: summarise(params, after, stretch, ledger, self.world.shows_history, verdict)
            ),
            "clip_fraction": _clip_fraction(decoded, stretch.flows[0]),
        }
        if hasattr(self.task, "cost"):
            info["cost"] = self.task.cost(params, stretch)
        if self.render_mode is not None:
            self._note_frames(after, stretch)
        observation = self._observation(after)
        if self._is_done and self._autoreset is AutoresetMode.SAME_STEP:
            final, final_info = observation, info
            observation, info = self.reset()
            rows = np.empty(self.num_envs, dtype=object)
            for i in range(self.num_envs):
                rows[i] = {name: values[i] for name, values in final.items()}
            info |= {"final_obs": rows, "final_info": final_info}
            info |= {"_final_obs": truncated, "_final_info": truncated}
        return observation, reward, np.zeros(self.num_envs, dtype=bool), truncated, info

    def _observation(self, view: View) -> dict[str, npt.NDArray[np.float32]]:
        fields = self.task.observe(self.params, view)
        return {name: _shown(values) for name, values in fields.items()}

    def _note_frames(self, view: View, stretch: Stretch) -> None:
        """Keeps what pictures of replica 0 need of the periods of a step."""
        from stockyard.envs.rendering import frame_of

        start = view.period - len(stretch.flows)
        for k, flows in enumerate(stretch.flows):
            self.frames.append(frame_of(self.params, view.tape, start + k, flows))

    def render(self) -> Any:
        """An RGB picture (H, W, 3) of replica 0: the network on a map, and the episode so far."""
        if self.render_mode is None:
            return None
        from stockyard.envs.rendering import pixels

        return pixels(self.figure())

    def save_figure(self, path: str | Path) -> None:
        """Saves the picture that `render` returns; the path's ending names the format.

        Raises:
            RuntimeError: if the environment was made without `render_mode`, which keeps frames.
        """
        self.figure().savefig(path, dpi=150, facecolor="white")

    def figure(self) -> Any:
        """The picture that `render` returns as a matplotlib figure.

        Raises:
            RuntimeError: if the environment was made without `render_mode`, which keeps frames.
        """
        if self.render_mode is None:
            raise RuntimeError("render_mode: must be 'rgb_array' from the start to draw a figure")
        from stockyard.envs.rendering import episode_figure

        h = self.world.network.periods_per_day
        scenario = self.specification["scenario"]
        is_named = isinstance(scenario, str | Path)
        parts = [
            self.specification["id"].split("/")[-1],
            Path(scenario).stem if is_named else type(scenario).__name__,
            self.specification["size"] if is_named else "",
            f"day {len(self.frames) // h} of {self.horizon // h}",
        ]
        title = "  ·  ".join(part for part in parts if part)
        return episode_figure(self.world.network, self.frames, h, title)

    def close_extras(self, **kwargs: Any) -> None:
        """Lets go of the tapes."""
        self._tape, self._view, self._opened = None, None, None


def _shown(values: Array) -> npt.NDArray[np.float32]:
    """A fresh float32 copy, every replica's field flattened."""
    copy = np.array(to_numpy(values), dtype=np.float32, order="C")
    return copy.reshape(len(copy), -1)


def _clip_fraction(decoded: Decoded, flows: Flows) -> npt.NDArray[np.float64]:
    """How much of the action was projected away, (B,): entries outside, or units cut."""
    clipped: npt.NDArray[np.float64] = to_numpy(decoded.outside)
    for field, wanted in decoded.requested.items():
        asked, moved = to_numpy(wanted), getattr(flows, field)
        got = np.zeros_like(asked) if moved is None else to_numpy(moved)
        if not np.count_nonzero(asked != got):  # nothing was cut, as in most steps
            continue
        cut, total = all_sum(np.abs(asked - got)), all_sum(np.abs(asked))
        clipped = np.maximum(clipped, np.minimum(cut / np.maximum(total, 1e-9), 1.0))
    return clipped
