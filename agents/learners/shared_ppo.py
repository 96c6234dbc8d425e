"""PPO for retail worlds, in Stable-Baselines3: one network for all products, one row per decision.

What Stable-Baselines3 sees is in `rows`; what is learned is the same network that the hindsight
trainer uses, so a run folder holds plain tensors and plays worlds of any size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from stockyard.agents.evaluation.rollout import Evaluation, Specification
from stockyard.agents.learners import hindsight
from stockyard.agents.learners.callbacks import (
    Checkpoints,
    ProgressBar,
    StopRequest,
    ValidationEvaluator,
)
from stockyard.agents.learners.course import Result, StopSignal, described, mixed
from stockyard.agents.learners.hindsight import TrainedPolicy
from stockyard.agents.learners.journal import save_weights
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.mixture import MixedEvaluation
from stockyard.agents.learners.networks import Actor, DecisionNetwork, check_structure
from stockyard.agents.learners.rows import Rows, RowsVecEnv
from stockyard.agents.learners.run import Run, check_worlds
from stockyard.agents.learners.run_folder import RunFolder

TAKEN = ("quantity", "around", "steered")
"""Names of `networks.STRUCTURES` that rows are made for."""

PAIRED = 0.1
"""Size of usual differences in rewards beside rewards."""

load = hindsight.load
"""Loads the policy of a run folder: plain tensors, nothing is unpickled."""


class _Body(nn.Module):
    """The shared layers of actor and critic: a `DecisionNetwork` each, without its last layer."""

    def __init__(self, num_features: int, num_globals: int, width: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.actor = DecisionNetwork(num_features, num_globals, 1, width, pools="rows")
        self.critic = DecisionNetwork(num_features, num_globals, 1, width, pools="rows")
        self.latent_dim_pi = self.latent_dim_vf = width

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden units of actor and critic."""
        return self.forward_actor(seen), self.forward_critic(seen)

    def forward_actor(self, seen: torch.Tensor) -> torch.Tensor:
        """Hidden units of the actor, (R, width)."""
        row, context = seen[:, : self.num_features], seen[:, self.num_features :]
        return self.actor.hidden(row, context)

    def forward_critic(self, seen: torch.Tensor) -> torch.Tensor:
        """Hidden units of the critic, (R, width)."""
        row, context = seen[:, : self.num_features], seen[:, self.num_features :]
        return self.critic.hidden(row, context)


class SharedPolicy(ActorCriticPolicy):
    """One decision per row: its features, the mean of all rows', and the pooled ones.

    The spread of actions is one learned number; the last layer starts at zero, so that training
    starts at the rule that offsets are measured from.
    """

    def __init__(self, *args: Any, shape: tuple[int, int, int] = (1, 0, 64), **kwargs: Any) -> None:
        """Takes `shape`: features of a row, pooled features, width; the rest is the parent's."""
        self._shape = shape
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = cast(Any, _Body(*self._shape))

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        for head in (self.action_net, self.value_net):
            nn.init.zeros_(cast(nn.Linear, head).weight)

    def export(self, actor: Actor) -> None:
        """Writes the actor's weights into an `Actor`, in place."""
        body = cast(_Body, self.mlp_extractor).actor
        head = cast(nn.Linear, self.action_net)
        weights = body.state_dict()
        weights["last.weight"], weights["last.bias"] = head.weight.detach(), head.bias.detach()
        actor.network.load_state_dict(weights)


@dataclasses.dataclass(frozen=True)
class Learner:
    """PPO with its settings: what conf/agent/ppo_shared.yaml builds.

    Attributes:
        n_envs: replicas of each world.
        n_steps: decisions between two updates.
        batch_size: rows of a gradient, at most: a roll-out is cut into equal parts.
        n_epochs: passes over a roll-out.
        learning_rate: of Adam, at the start; it falls to zero along a line.
        gamma: discount of a decision to the next.
        gae_lambda: weight of longer advantages, 0 to 1.
        others: weight, 0 to 1, of what the other products earn; see `rows`.
        paired: whether rewards are differences to what actions at their start earn on the same
            tape; see `rows`.
        width: units of each of two hidden layers.
        initial_action: where actions start; see `networks.Actor`.
        structure: "quantity", the default: actions of the environment's mode, from `initial_action`
            on; or in mode `quantity` "around" or "steered", with a `rule`: see
            `networks.STRUCTURES`.
        rule: name and parameters of the heuristic; None, the default, for "quantity".
        initial_log_std: of the offset from there, on the scale of a log-odds; around a rule, of
            the factor's logarithm to the base 2.
        clip_range: of PPO.
        ent_coef: weight of the entropy.
        max_grad_norm: longest gradient.
    """

    n_envs: int = 64
    n_steps: int = 13
    batch_size: int = 5000
    n_epochs: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.966
    gae_lambda: float = 0.95
    others: float = 0.5
    paired: bool = True
    width: int = 64
    initial_action: float | Literal["rule"] = "rule"
    structure: str = "quantity"
    rule: Mapping[str, Any] | None = None
    initial_log_std: float = -1.2
    clip_range: float = 0.2
    ent_coef: float = 0.0
    max_grad_norm: float = 0.5

    kind = "shared_ppo"

    def __post_init__(self) -> None:
        """Checks the settings that Stable-Baselines3 does not."""
        for field in ("n_envs", "n_steps", "batch_size", "n_epochs", "width"):
            if int(getattr(self, field)) != getattr(self, field) or getattr(self, field) < 1:
                raise ValueError(f"{field}: must be a whole number >= 1")
        if not 0.0 <= self.others <= 1.0:
            raise ValueError(f"others: must lie in [0, 1], got {self.others}")
        check_structure(self.structure, self.rule)
        if self.structure not in TAKEN:
            raise ValueError(
                f"structure: ppo_shared learns {', '.join(TAKEN)}; for {self.structure!r} take "
                "agent=hindsight"
            )
        if self.rule is not None:  # as JSON can hold it
            object.__setattr__(self, "rule", described(self.rule))

    def check(self, specification: Specification | Sequence[Specification]) -> None:
        """Raises a ValueError if an environment is no retail task that rows are made of."""
        check_worlds(specification, self.structure, self.rule, self._check_layout)

    def train(
        self,
        specification: Specification | Sequence[Specification],
        folder: RunFolder | str | Path,
        *,
        total_steps: int,
        n_envs: int | None = None,
        seed: int = 0,
        eval_tapes: int = 64,
        eval_every: int = 1_000_000,
        eval_seed: int = 0,
        eval_split: str = "validation",
        checkpoint_every: int = 0,
        checkpoint_keep: int = 1,
        against: Mapping[str, float] | None = None,
        resume: bool = False,
        progress: bool = False,
        name: str | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> Result:
        """Trains on the training tapes and leaves everything in a folder.

        Args are those of `hindsight.Learner.train`; steps count the decisions of all rows.
        """
        run = Run(specification, folder, resume, backend="numpy", dtype="float64")
        done_steps, folder = run.steps, run.folder
        batch = n_envs or self.n_envs
        for layout in run.layouts.values():
            self._check_layout(layout)
        rule = run.rule(self.rule, self.structure)
        actor = Actor(run.layout, self.structure, self.width, self.initial_action, "rows", rule)
        rows = {
            world: Rows(
                base,
                actor.twin(run.layouts[world], run.envs[world]),
                batch,
                mixed(seed, done_steps, k),
                self.others,
                # so that returns are of order one
                4.0 * (1.0 - self.gamma) / (PAIRED if self.paired else 1.0),
                self.paired,
            )
            for k, (world, base) in enumerate(run.bases.items())
        }
        vec = RowsVecEnv(rows, self.gamma)
        model = self._model(vec, actor, mixed(seed, done_steps, 2), run.checkpoint)
        model.set_logger(configure(str(folder.tensorboard), ["tensorboard"]))
        policy = cast(SharedPolicy, model.policy)
        vec.expected = lambda seen: _expected(policy, seen)
        run.begin(
            name=name,
            description=description,
            against=against,
            kind=self.kind,
            algorithm="PPO",
            settings={**dataclasses.asdict(self), "pools": "rows"},
            seed=seed,
            n_envs=batch,
            total_steps=total_steps,
        )
        run.open_validation(TrainedPolicy(actor).for_env, eval_tapes, eval_split, eval_seed)

        def evaluated() -> Evaluation | MixedEvaluation:
            policy.export(actor)
            return run.evaluate()

        def save_best() -> None:
            save_weights(folder.best_model, actor)

        evaluator = ValidationEvaluator(folder, evaluated, eval_every, against or {}, save_best)
        checkpoints = Checkpoints(folder, checkpoint_every, checkpoint_keep, run.keep_time)
        stop = StopSignal()
        callbacks: list[BaseCallback] = [_Figures(vec), checkpoints, StopRequest(stop)]
        callbacks += [evaluator] if run.tapes else []
        callbacks += [ProgressBar(total_steps, evaluator.curve if run.tapes else None)] * progress
        try:
            if done_steps < total_steps:
                with stop.listening():
                    model.learn(
                        total_steps - done_steps, callback=callbacks, reset_num_timesteps=False
                    )
        finally:
            model.logger.close()
        if model.num_timesteps > done_steps:
            checkpoints.init_callback(model)
            checkpoints.save()
        policy.export(actor)
        save_weights(folder.model, actor)
        if not folder.best_model.is_file():
            save_best()
        return run.finish(
            model.num_timesteps,
            interrupted=stop.signal is not None and model.num_timesteps < total_steps,
        )

    def _check_layout(self, layout: Layout) -> None:
        """Refuses all but retail tasks in a mode that is no quantity, or where a rule gives those.

        Raises:
            ValueError: for any other.
        """
        if layout.table is None or (layout.mode == "quantity" and self.rule is None):
            raise ValueError(
                "ppo_shared: learns covers and multiples in retail tasks, and quantities around a "
                "`rule`; for others and textbook problems take agent=ppo or agent=hindsight"
            )

    def _model(self, vec: RowsVecEnv, actor: Actor, seed: int, checkpoint: Path | None) -> PPO:
        """Builds the model, or takes it from a checkpoint."""
        if checkpoint is not None:
            model = PPO.load(checkpoint, env=vec, device="cpu")
            model.set_random_seed(seed)
        else:
            model = PPO(
                SharedPolicy,
                vec,
                n_steps=self.n_steps,
                batch_size=vec.num_envs * self.n_steps // self._gradients(vec),
                n_epochs=self.n_epochs,
                learning_rate=LinearSchedule(self.learning_rate, 0.0, 1.0),
                gamma=self.gamma,
                gae_lambda=self.gae_lambda,
                clip_range=self.clip_range,
                ent_coef=self.ent_coef,
                max_grad_norm=self.max_grad_norm,
                seed=seed,
                device="cpu",
                policy_kwargs={
                    "shape": (actor.num_features, actor.layout.num_globals, self.width),
                    "log_std_init": self.initial_log_std,
                },
            )
        return model

    def _gradients(self, vec: RowsVecEnv) -> int:
        """Gradients of a pass: the fewest equal parts that are no larger than `batch_size`."""
        rows = vec.num_envs * self.n_steps
        return next(k for k in range(-(-rows // self.batch_size), rows + 1) if rows % k == 0)


class _Figures(BaseCallback):
    """Logs what rows earned, by world."""

    def __init__(self, vec: RowsVecEnv) -> None:
        super().__init__()
        self._vec = vec

    def _on_step(self) -> bool:
        for name, value in self._vec.figures.items():
            self.logger.record_mean(f"rollout/{name}", value)
        return True


def _expected(policy: SharedPolicy, seen: np.ndarray[Any, Any]) -> Any:
    """What the critic expects from observations (R, O) on, (R,)."""
    with torch.inference_mode():
        return policy.predict_values(torch.from_numpy(seen)).numpy()[:, 0]
