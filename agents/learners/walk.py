"""The walk along training tapes: the environment without its glue, differentiable.

A batch of tapes is walked in segments. In a segment of S steps the policy decides and learns; in
the L steps of look-ahead after it the policy goes on to react but does not learn, and all costs
count: so what an order at the end of the segment brings about is not cut off. The next segment
begins where the last one ended, in states that the policy itself has led to. The first steps of a
tape, from an unusual opening state, are left out.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import torch

from stockyard.agents.learners.networks import Actor
from stockyard.envs.network.state import Decisions
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.world import Stretch, outlook_at, simulate, stock_values
from stockyard.envs.tasks.task import View

if TYPE_CHECKING:
    from stockyard.agents.learners.hindsight import Learner


class Track:
    """The environment's world without its glue: fresh tapes, and steps from view to view."""

    def __init__(self, base: Any, batch: int, seed: int, steps: int) -> None:
        """Takes a built environment.

        Args:
            base: unwrapped.
            batch: tapes side by side.
            seed: of the training tapes: episode i of the seed is the i-th tape that is drawn.
            steps: of a tape.
        """
        self.world, self.task, self.mode = base.world, base.task, base.action_mode
        self.params = base.params
        self.batch = batch
        self.periods = self.world.burn_in + steps * self.world.periods_per_step + 1
        self._seed, self._drawn = seed, 0

    def opening(self) -> View:
        """Draws fresh tapes and lets the standing rules run the burn-in."""
        episodes = range(self._drawn, self._drawn + self.batch)
        streams = [Streams("train", self._seed, episode) for episode in episodes]
        self._drawn += self.batch
        tape = self.world.source.draw(self.params, streams, self.periods)
        state = self.world.opening_state(self.params, self.batch)
        memory = self.task.remember(self.params, None, None, None, self.batch)
        view = View(state, tape, 0, memory, {})
        while view.period < self.world.burn_in:
            view, _ = self.step(view, None)
        return view._replace(outlook=outlook_at(self.world, tape, view.period))

    def step(self, view: View, action: Any) -> tuple[View, Stretch]:
        """One step: the next view, and what happened; without an action the rules decide."""
        world, params, tape = self.world, self.params, view.tape
        decisions: Any = (
            _NOTHING
            if action is None
            else self.task.decode(params, self.mode, action, view).decisions
        )
        lead = tape.known(view.period).quoted_lead
        state, stretch = simulate(
            world,
            params,
            view.state,
            tape,
            view.period,
            world.periods_per_step,
            decisions,
            self.task.unreported(view.memory),
        )
        memory = self.task.remember(params, view.memory, stretch, lead, self.batch)
        period = view.period + world.periods_per_step
        return View(state, tape, period, memory, outlook_at(world, tape, period)), stretch


class Walk(Track):
    """Walks batches of training tapes, segment after segment."""

    def __init__(
        self, base: Any, settings: Learner, actor: Actor, batch: int, seed: int, device: str
    ) -> None:
        """Takes the environment's world and task, and the policy that is trained."""
        steps = settings.tape_steps
        if getattr(base.world.source.demand, "num_periods", None) is not None:
            steps = min(steps, base.steps_per_episode)  # no demand is described beyond
        super().__init__(base, batch, seed, steps)
        self.whole = dataclasses.replace(base.params, device=device)
        has_trucks = self.whole.network.freight is not None
        self.fluid = dataclasses.replace(
            self.whole, whole_units=False, fluid_trucks=has_trucks or self.whole.fluid_trucks
        )
        self.params = self.whole
        self.actor = actor
        self.tape_steps = steps
        self.segment_steps = min(settings.segment_steps, steps)
        self.lookahead_steps = min(settings.lookahead_steps, steps - self.segment_steps)
        self.burn_in_steps = min(
            settings.burn_in_steps, steps - self.segment_steps - self.lookahead_steps
        )
        self.scale = base.reward_scale
        is_rounded = self.whole.whole_units and self.mode == "quantity"
        self._dither = settings.dither if is_rounded else 0.0
        self._noise = torch.Generator(device).manual_seed(seed)
        self._view: View | None = None
        self._steps_left = 0

    def segment(self, is_fluid: bool) -> torch.Tensor:
        """Walks one segment and its look-ahead; returns the loss per step, in reward scales."""
        params = self.fluid if is_fluid else self.whole
        if params is not self.params:  # stock in real units is no state of whole ones
            self.params, self._view = params, None
        steps, ahead = self.segment_steps, self.lookahead_steps
        if self._view is None or self._steps_left < steps + ahead:
            self._draw()
        assert self._view is not None
        view = self._view
        start = stock_values(self.params, view.state, view.outlook)
        # After the segment the policy goes on to react, but its weights count as constants.
        frozen = {name: weights.detach() for name, weights in self.actor.named_parameters()}
        earned: Any = 0.0
        following = view
        for step in range(steps + ahead):
            action = self._decide(view, frozen=None if step < steps else frozen)
            view, money = self._step(view, action)
            earned = earned + money
            if step == steps - 1:
                following = view
        end = stock_values(self.params, view.state, view.outlook)
        gained = {name: value - start[name] for name, value in end.items()}
        earned = earned + sum(self.task.accounts(self.params, gained, ()).values())
        self._view = _detached(following)
        self._steps_left -= steps
        return cast(torch.Tensor, -earned.mean() / ((steps + ahead) * self.scale))

    def _draw(self) -> None:
        """Draws fresh tapes and walks their first steps without learning."""
        with torch.no_grad():
            view = self.opening()
            for _ in range(self.burn_in_steps):
                view, _ = self._step(view, self._decide(view))
        self._view, self._steps_left = view, self.tape_steps - self.burn_in_steps

    def _decide(self, view: View, frozen: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The policy's action, with other weights than its own if `frozen` is given."""
        observation = self.task.observe(self.params, view)
        action: torch.Tensor
        if frozen is None:
            action = self.actor(observation)
        else:
            action = torch.func.functional_call(self.actor, frozen, (observation,))
        if not self._dither or self.params is self.fluid:
            return action
        noise = torch.rand(action.shape, generator=self._noise, device=action.device)
        return torch.relu(action + (noise - 0.5) * self._dither)

    def _step(self, view: View, action: torch.Tensor | None) -> tuple[View, Any]:
        """One step of the environment without its glue: the next view, and the money (B,)."""
        after, stretch = self.step(view, action)
        accounts = self.task.accounts(self.params, stretch.ledger, tuple(stretch.flows))
        return after, sum(accounts.values())


_NOTHING = Decisions()


def _detached(view: View) -> View:
    """The view without the history of its gradients."""

    def cut(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach()
        if isinstance(value, tuple):
            parts = [cut(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return value

    outlook = {day: cut(units) for day, units in view.outlook.items()}
    return view._replace(state=cut(view.state), memory=cut(view.memory), outlook=outlook)
