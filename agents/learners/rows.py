"""Retail worlds as Stable-Baselines3 sees them here: every decision is a row of its own.

A row is one product (or one product at one centre) in one replica of one world. It sees its own
features, the mean of all rows' and the pooled ones, and earns what its product earned. A joint
reward would bury the effect of one product's order under the luck of all the others; a reward of
its own hides what the order does to docks and shelves, so a part of what the others earn counts
too.

Rewards may be paired: less what the same world earns on the same tape where all actions stay at
their start. Luck with demand and lead times, many times larger than what a decision changes, then
cancels (a baseline that knows the inputs, but no action: Mao, Venkatakrishnan, Schwarzkopf &
Alizadeh, Variance Reduction for Reinforcement Learning in Input-Driven Environments, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from stockyard.agents.learners.networks import Actor, Seen
from stockyard.agents.learners.walk import Track
from stockyard.envs.network.arrays import fill_share
from stockyard.envs.network.economics import PARTIES
from stockyard.envs.network.params import Params
from stockyard.envs.network.world import Stretch, value_of
from stockyard.envs.tasks.task import View

Floats = NDArray[np.float64]
LARGEST_OFFSET = 6.0
"""Bound of a row's action: an offset from where actions start."""


class Rows:
    """One world as rows, in NumPy: R = B x P x K of them, the replica's first."""

    def __init__(
        self,
        base: Any,
        actor: Actor,
        batch: int,
        seed: int,
        others: float,
        unit: float = 1.0,
        paired: bool = False,
    ) -> None:
        """Takes a built environment of NumPy arrays.

        Args:
            base: unwrapped.
            actor: knows the features and the range of actions.
            batch: replicas, B.
            seed: of the training tapes.
            others: weight, 0 to 1, of what the other products earn.
            unit: size of a usual reward as the learner shall see it.
            paired: whether rewards are differences to what actions at their start would earn.
        """
        self.track = Track(base, batch, seed, base.steps_per_episode)
        self.steps = base.steps_per_episode
        self.actor, self.batch, self.others, self.paired = actor, batch, others, paired
        layout = actor.layout
        self.products, self.lanes = layout.num_products, layout.num_lanes
        self.num_rows = batch * self.products * self.lanes
        rate = layout.total_rate
        own = rate * np.asarray(base.world.network.products.price)
        self._part = rate * np.asarray(base.world.network.products.volume)
        self._part = self._part / self._part.sum()
        # a small product's own money must not drown in that of the others
        self._scale = np.sqrt(own * own.mean()) / unit

    def reset(self) -> NDArray[np.float32]:
        """Draws fresh tapes; the first observations (R, O)."""
        self._view = self._other = self.track.opening()
        self._left = self.steps
        return self._observed()

    def step(self, offsets: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, bool]:
        """Takes offsets (R, outputs); returns observations (R, O), rewards (R,), and if it is over.

        What is decided with several outputs is still one decision.
        """
        chosen = torch.from_numpy(np.asarray(offsets, dtype=np.float32))
        self._view, money = self._play(self._view, chosen, self._torch, self._seen)
        if self.paired:
            self._other, usual = self._play(
                self._other, torch.zeros_like(chosen), *self._look(self._other)
            )
            money = money - usual
        self._left -= 1
        rows = np.repeat((money / self._scale).reshape(-1), self.lanes)
        return self._observed(), rows, self._left == 0

    def _play(
        self, view: View, offsets: torch.Tensor, fields: Mapping[str, torch.Tensor], seen: Seen
    ) -> tuple[View, Floats]:
        """The next view, and what each product earned with its part of the others', (B, P)."""
        shape = (self.batch, self.products, self.lanes, -1)
        with torch.inference_mode():
            action = self.actor.placed(offsets.reshape(shape), fields, seen)
        after, stretch = self.track.step(view, action.numpy().astype(np.float64))
        own, total = earned(self.track.params, view, after, stretch, self._part)
        return after, own + self.others * (total[:, None] - own)

    def _look(self, view: View) -> tuple[dict[str, torch.Tensor], Seen]:
        """An observation as the actor takes it, and what it reads of it."""
        fields = {
            name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
            for name, values in self.track.task.observe(self.track.params, view).items()
        }
        with torch.inference_mode():
            return fields, self.actor.seen(fields)

    def _observed(self) -> NDArray[np.float32]:
        self._torch, self._seen = self._look(self._view)
        with torch.inference_mode():
            rows, shared = self._seen.rows, self._seen.shared
            mean = rows.mean(dim=(1, 2), keepdim=True).expand_as(rows)
            parts = [rows, mean]
            if shared is not None:
                parts.append(shared[:, None, None].expand(*rows.shape[:3], -1))
            joined: NDArray[np.float32] = torch.cat(parts, dim=-1).flatten(0, 2).numpy()
        return joined


def earned(
    params: Params, before: View, after: View, stretch: Stretch, part: Floats
) -> tuple[Floats, Floats]:
    """What each product earned in a step, (B, P), and all together, (B,): the reward.

    Sales, orders, transport, stock in the yard, capital and the value of stock are the product's
    own; what is left, refusals above all, is shared by `part` (P,), the products' flow of volume.
    """
    economics, flows = params.economics, stretch.flows
    margin = params.a.price_retail - economics.pick_pack_per_unit - economics.last_mile_per_unit
    capital = economics.capital_rate_per_year / 365.0 * params.days_per_period
    yard_rent = economics.yard_rent_per_ft3_day * params.days_per_period
    own: Any = 0.0
    for flow in flows:
        own = own + flow.sold * margin - flow.end.position * params.a.own_cost * capital
        if flow.lost is not None:
            own = own - flow.lost.sum(1) * economics.goodwill_per_lost_unit
        for rank, units in zip(params.ranks(flow.promise), flow.served, strict=True):
            if rank.tariff is not None:
                own = own - (units * rank.tariff[:, None]).sum(1) * params.a.tariff_weight
        if flow.transferred is not None:
            own = own - (flow.transferred * params.a.transfer_cost[:, None]).sum(1)
        if flow.shipped is not None:
            own = own - (flow.shipped * params.a.order_cost_own).sum(1)
        if flow.end.yard is not None:
            own = own - flow.end.yard.sum(1) * params.a.volume * yard_rent
    total: Any = sum(v for k, v in stretch.ledger.items() if "retailer" in PARTIES[k])
    for view, sign in ((after, 1.0), (before, -1.0)):
        own = own + sign * _values(params, view)
        value: Any = value_of(params, view.state, view.outlook)
        total = total + sign * value
    rest = total - own.sum(axis=1)
    return own + rest[:, None] * part, np.asarray(total)


def _values(params: Params, view: View) -> Any:
    """Value of each product's stock without handling, (B, P) USD."""
    economics, position = params.economics, view.state.position
    share = fill_share(view.outlook[round(economics.value_cover_days)], position)
    share = economics.salvage_fraction + (1.0 - economics.salvage_fraction) * share
    return position * params.a.own_cost * share


class RowsVecEnv(VecEnv):
    """Rows of several worlds side by side, all on one clock; episodes begin anew by themselves.

    Episodes are cut, not over: what the critic expects after the last step is added to its reward.
    """

    def __init__(self, worlds: Mapping[str, Rows], discount: float) -> None:
        """Takes scenario -> rows.

        Raises:
            ValueError: if their features differ, or their episodes are of several lengths.
        """
        self.worlds = dict(worlds)
        first = next(iter(self.worlds.values()))
        if len({rows.steps for rows in self.worlds.values()}) > 1:
            raise ValueError("horizon: all worlds of a mixture must have the same")
        size = 2 * first.actor.num_features + first.actor.layout.num_globals
        self.discount = discount
        self.expected: Callable[[NDArray[np.float32]], Floats] | None = None
        self.figures: dict[str, float] = {}
        super().__init__(
            sum(rows.num_rows for rows in self.worlds.values()),
            spaces.Box(-np.inf, np.inf, (size,), np.float32),
            spaces.Box(-LARGEST_OFFSET, LARGEST_OFFSET, (first.actor.num_outputs,), np.float32),
        )

    def reset(self) -> VecEnvObs:
        """Fresh tapes in every world."""
        return np.concatenate([rows.reset() for rows in self.worlds.values()])

    def step_async(self, actions: NDArray[Any]) -> None:
        """Takes offsets (R, outputs)."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps every world."""
        seen, rewards, start, over = [], [], 0, False
        for name, rows in self.worlds.items():
            stop = start + rows.num_rows
            observation, reward, over = rows.step(self._actions[start:stop])
            if over:
                if self.expected is not None:
                    reward = reward + self.discount * self.expected(observation)
                observation = rows.reset()
            self.figures[name] = float(reward.mean())
            seen.append(observation)
            rewards.append(reward)
            start = stop
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        done = np.full(self.num_envs, over)
        return np.concatenate(seen), np.concatenate(rewards).astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Gives an attribute once for each row."""
        value = None if attr_name == "render_mode" else getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Rows have no attributes of their own."""
        raise ValueError(f"{attr_name!r} belongs to no single row")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Rows have no methods of their own."""
        raise ValueError(f"{method_name!r} belongs to no single row")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Rows are never wrapped."""
        return [False for _ in self._get_indices(indices)]
