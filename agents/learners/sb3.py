"""Stable-Baselines3 on the network: settings and training; what is learned is in `sb3_policy`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule

from stockyard.agents.evaluation.rollout import Evaluation, Specification, build, rollout
from stockyard.agents.learners.adapter import VectorEnvAdapter
from stockyard.agents.learners.callbacks import (
    Checkpoints,
    ProgressBar,
    RolloutFigures,
    StopRequest,
    ValidationEvaluator,
    save,
)
from stockyard.agents.learners.constraint import DualAscent, PricedCost, checked_price
from stockyard.agents.learners.course import Result, StopSignal, described, mixed
from stockyard.agents.learners.joined import JoinedVecEnv
from stockyard.agents.learners.mixture import MixedEvaluation, together, worlds_of
from stockyard.agents.learners.run_folder import SHIPPED, RunFolder, provenance
from stockyard.agents.learners.sb3_policy import (
    ALGORITHMS,
    TrainedPolicy,
    algorithm_class,
    load,
)
from stockyard.envs.wrappers import (
    AgainstStandingRule,
    ObservationTransform,
    RescaleActions,
    TransformObservations,
)

GAUSSIAN = ("A2C", "PPO", "RecurrentPPO")
"""Algorithms whose policy is a mean and a spread, not squashed."""

ACTIVATIONS = {"elu": torch.nn.ELU, "relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}


@dataclass(frozen=True)
class _Batch:
    """The training batch of one world."""

    base: Any  # the environment itself
    transform: ObservationTransform
    bounds: tuple[NDArray[Any], NDArray[Any]] | None
    priced: PricedCost | None
    adapter: VectorEnvAdapter


class Learner:
    """A Stable-Baselines3 algorithm with its settings: what conf/agent/*.yaml builds."""

    kind = "sb3"

    def __init__(
        self,
        algorithm: str,
        policy: str = "MlpPolicy",
        *,
        n_envs: int = 1,
        scale: bool = True,
        net_arch: Any = (64, 64),
        activation: str = "tanh",
        learning_rate: float = 3e-4,
        schedule: str = "constant",
        initial_action: float | None = None,
        against_rule: bool = False,
        cost_price: Mapping[str, float] | None = None,
        start_from: str | None = None,
        policy_kwargs: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Names an algorithm and its settings.

        Args:
            algorithm: A key of `ALGORITHMS`.
            policy: "MlpPolicy" or "MlpLstmPolicy".
            n_envs: The batch for which the other settings were chosen.
            scale: Whether observations are divided by the environment's static scales.
            net_arch: Widths of the hidden layers.
            activation: A key of `ACTIVATIONS`.
            learning_rate: At the start.
            schedule: "constant", or "linear": down to zero at the last step.
            initial_action: Where in [-1, 1] the mean of a Gaussian policy starts; None for the
                middle, which is far from any sensible order where the bounds are wide.
            against_rule: Whether rewards are differences to what the standing rule earns on the
                same tapes, where the task has the action mode `residual`: far less noise, at twice
                the simulation.
            cost_price: Where the task limits a cost, the price of it at first and the rate at
                which it follows the limit, `initial` and `rate`; None: the reward as it is.
            start_from: Run folder whose best policy training starts from: that of a generalist,
                say, or one of `agents/weights` ("truck_fill/generalist_ppo_s0"). Opening it runs
                pickle: name only what you trust. None: fresh weights.
            policy_kwargs: More of the policy's arguments.
            **settings: The algorithm's own, by Stable-Baselines3's names.
        """
        if algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"unknown algorithm {algorithm!r}; known: {known}")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"unknown activation {activation!r}; known: {known}")
        if schedule not in ("constant", "linear"):
            raise ValueError(f"schedule must be 'constant' or 'linear', not {schedule!r}")
        if initial_action is not None and not -1.0 <= initial_action <= 1.0:
            raise ValueError(f"initial_action must lie in [-1, 1], not {initial_action}")
        if initial_action is not None and algorithm not in GAUSSIAN:
            raise ValueError(f"initial_action is for {', '.join(GAUSSIAN)}, not for {algorithm}")
        self.algorithm = algorithm
        self.initial_action = initial_action
        self.against_rule = against_rule
        self.cost_price = checked_price(cost_price)
        self.start_from = None if start_from is None else _run_folder(start_from)
        self.policy = policy
        self.n_envs = n_envs
        self.scale = scale
        self.settings: dict[str, Any] = {
            "learning_rate": learning_rate
            if schedule == "constant"
            else LinearSchedule(learning_rate, 0.0, 1.0),
            "policy_kwargs": {
                "net_arch": _plain(net_arch),
                "activation_fn": ACTIVATIONS[activation],
                **(policy_kwargs or {}),
            },
            "device": "cpu",  # small networks: a GPU would wait for the batch more than compute
            **settings,
        }
        _require(algorithm_class(algorithm), self.settings)

    def train(
        self,
        specification: Specification,
        folder: RunFolder | str | Path,
        *,
        total_steps: int,
        n_envs: int | None = None,
        seed: int = 0,
        eval_tapes: int = 64,
        eval_every: int = 50_000,
        eval_seed: int = 0,
        eval_split: str = "validation",
        checkpoint_every: int = 100_000,
        checkpoint_keep: int = 2,
        against: Mapping[str, float] | None = None,
        resume: bool = False,
        progress: bool = False,
        name: str | None = None,
        description: Mapping[str, Any] | None = None,
        callbacks: tuple[BaseCallback, ...] = (),
    ) -> Result:
        """Trains on the training tapes and leaves everything in a folder.

        Ctrl-C or SIGTERM ends the training after the step at hand; a checkpoint is saved, from
        which `resume=True` goes on.

        Args:
            specification: The environment: keyword arguments of `gymnasium.make_vec`; a list of
                scenarios as `mixture` for one model in all of them, each with `n_envs` rows.
            folder: Where everything goes.
            total_steps: Steps of all rows together, those before a resume included.
            n_envs: Batch size; None for the one the settings were chosen for.
            seed: Of the weights, the exploration and the training tapes.
            eval_tapes: Number of validation tapes; 0 for no evaluation.
            eval_every: Steps between evaluations.
            eval_seed: Of the validation tapes.
            eval_split: "validation", unless you know why not.
            checkpoint_every: Steps between checkpoints.
            checkpoint_keep: How many to keep.
            against: Heuristic -> its money per period on the same validation tapes.
            resume: Go on from the newest checkpoint in the folder.
            progress: Show a bar.
            name: For run.json and the model card; None for the folder's.
            description: The environment as run.json shall tell it; None for the specification.
            callbacks: More of Stable-Baselines3's callbacks.
        """
        folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
        started = time.perf_counter()
        done_steps, checkpoint = folder.latest_checkpoint() if resume else (0, None)
        worlds = worlds_of(specification)
        price = None
        if self.cost_price is not None:
            price = self.cost_price["initial"]
            if resume:
                price = folder.read_record().get("cost_price", price)
        batches: dict[str, _Batch] = {}
        for world, spec in worlds.items():
            # one policy sees every world through the transform that it is kept with
            seen = next(iter(batches.values())).transform if batches else None
            batches[world] = self._batch(spec, n_envs or self.n_envs, price, seen)
        first = next(iter(batches.values()))
        base, transform, bounds = first.base, first.transform, first.bounds
        adapter: VectorEnvAdapter | JoinedVecEnv = first.adapter
        if len(batches) > 1:
            adapter = JoinedVecEnv({world: batch.adapter for world, batch in batches.items()})
        model = self._model(adapter, folder, seed, done_steps, checkpoint)
        policy = TrainedPolicy(model, transform, base.policy_mode, bounds)
        before = folder.read_record() if resume else {}
        folder.update_record(
            name=name or folder.path.name,
            kind=self.kind,
            algorithm=self.algorithm,
            seed=seed,
            n_envs=adapter.num_envs,
            total_steps=total_steps,
            environment=described(description or specification),
            action_mode=described(base.policy_mode),
            action_bounds=None if bounds is None else [_compact(bound) for bound in bounds],
            transform=transform.to_dict(),
            reward_scale=float(base.reward_scale),
            against=dict(against or {}),
            **provenance(),
        )

        evaluator = None
        validation: dict[str, VectorEnv[Any, Any, Any]] = {}
        if eval_tapes > 0:
            validation = {
                world: build(batch.base.specification, num_envs=eval_tapes, split=eval_split)
                for world, batch in batches.items()
            }
            bases = {world: batch.base for world, batch in batches.items()}

            def evaluated() -> Evaluation | MixedEvaluation:
                return together(
                    {w: rollout(policy, envs, seed=eval_seed) for w, envs in validation.items()},
                    bases,
                )

            evaluator = ValidationEvaluator(folder, evaluated, eval_every, against or {})
        checkpoints = Checkpoints(folder, checkpoint_every, checkpoint_keep)
        stop = StopSignal()
        figures = RolloutFigures(base.periods_per_step)
        every: list[BaseCallback] = [figures, checkpoints, StopRequest(stop)]
        every += [evaluator] if evaluator else []
        priced = [batch.priced for batch in batches.values() if batch.priced is not None]
        if self.cost_price is not None:
            every += [DualAscent(priced, self.cost_price["rate"], folder)]
        curve = evaluator.curve if evaluator else None
        every += [ProgressBar(total_steps, curve)] if progress else []
        interrupted = False
        try:
            if done_steps < total_steps:
                with stop.listening():
                    model.learn(
                        total_steps - done_steps,
                        callback=[*every, *callbacks],
                        reset_num_timesteps=False,
                        log_interval=_log_interval(model),
                    )
            interrupted = stop.signal is not None and model.num_timesteps < total_steps
        except KeyboardInterrupt:
            interrupted = True
        finally:
            model.logger.close()
        if model.num_timesteps > done_steps:
            checkpoints.init_callback(model)
            checkpoints.save()
        save(model, folder.model)
        if not folder.best_model.is_file():
            save(model, folder.best_model)
        seconds = time.perf_counter() - started
        folder.update_record(
            steps=model.num_timesteps,
            seconds=seconds + before.get("seconds", 0.0),
            interrupted=interrupted,
        )
        folder.write_model_card()
        adapter.close()
        for envs in validation.values():
            envs.close()
        return Result(
            folder=folder.path,
            steps=model.num_timesteps,
            seconds=seconds,
            interrupted=interrupted,
            best_validation=folder.read_record().get("best_validation"),
        )

    def _batch(
        self,
        specification: Specification,
        n_envs: int,
        price: float | None,
        transform: ObservationTransform | None,
    ) -> _Batch:
        """Builds the training batch of one world, and what is around it."""
        envs = build(specification, num_envs=n_envs, split="train")
        base: Any = envs.unwrapped
        if self.algorithm == "MaskablePPO" and not hasattr(base.task, "action_masks"):
            raise ValueError("algorithm: MaskablePPO is for tasks that mask actions (TruckFill-v0)")
        if transform is None and self.start_from is not None:
            transform = load(self.start_from).transform
        if transform is None:
            transform = ObservationTransform.for_env(envs, scale=self.scale, flatten=True)
        bounds = action_bounds(envs)
        played = envs
        if self.against_rule:
            twin = build(
                specification,
                num_envs=envs.num_envs,
                split="train",
                action_mode=base.policy_mode if base.action_mode == "residual" else "residual",
            )
            played = AgainstStandingRule(envs, twin)
        priced = None
        if price is not None:
            played = priced = PricedCost(played, price)
        adapter = VectorEnvAdapter(
            _wrapped(played, transform, bounds), reward_scale=float(base.reward_scale)
        )
        return _Batch(base, transform, bounds, priced, adapter)

    def _model(
        self,
        adapter: VectorEnvAdapter | JoinedVecEnv,
        folder: RunFolder,
        seed: int,
        done_steps: int,
        checkpoint: Path | None,
    ) -> BaseAlgorithm:
        """Builds the model, or takes it from a checkpoint."""
        algorithm = algorithm_class(self.algorithm)
        if checkpoint is None:
            model = algorithm(self.policy, adapter, seed=seed, **self.settings)
            if self.initial_action is not None:
                head = model.policy.action_net
                assert isinstance(head, torch.nn.Linear)
                torch.nn.init.constant_(head.bias, self.initial_action)
            if self.start_from is not None:
                self._take(model)
        else:
            model = algorithm.load(checkpoint, env=adapter, device=self.settings["device"])
            buffer = folder.replay_buffer(done_steps)
            if isinstance(model, OffPolicyAlgorithm) and buffer.is_file():
                model.load_replay_buffer(buffer)
            # The exploration of the first part must not come again.
            model.set_random_seed(mixed(seed, done_steps))
        # Row i runs the tapes of this number + i, so runs of neighbouring seeds would share most
        # of theirs, and a resumed run would see those of its first part.
        adapter.seed(mixed(seed, done_steps, 1))
        model.set_logger(configure(str(folder.tensorboard), ["tensorboard"]))
        return model

    def _take(self, model: BaseAlgorithm) -> None:
        """Gives a fresh model the weights of `start_from`.

        Raises:
            ValueError: if they are of another network, or of other observations or actions.
        """
        given = load(str(self.start_from)).model
        same = (
            given.observation_space.shape == model.observation_space.shape
            and given.action_space == model.action_space
        )
        try:
            if not same:
                raise RuntimeError("it sees or decides something else")
            # with the optimiser's moments: without them its first steps would undo what was learned
            parameters: Any = given.get_parameters()
            model.set_parameters(parameters, device=model.device)
        except RuntimeError as error:
            raise ValueError(f"start_from: {self.start_from} does not fit: {error}") from error


def _run_folder(name: str) -> Path:
    """A run folder, or one of `agents/weights`."""
    for folder in (Path(name), SHIPPED / name):
        if (folder / "run.json").is_file():
            return folder
    raise ValueError(f"start_from: neither {name} nor {SHIPPED / name} is a run folder")


def action_bounds(
    envs: VectorEnv[Any, Any, Any],
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Returns lowest and highest action of one row; None if actions are discrete."""
    space = envs.single_action_space
    if not isinstance(space, spaces.Box):
        return None
    return space.low, space.high


def _wrapped(
    envs: VectorEnv[Any, Any, Any],
    transform: ObservationTransform,
    bounds: tuple[NDArray[Any], NDArray[Any]] | None,
) -> VectorEnv[Any, Any, Any]:
    wrapped: VectorEnv[Any, Any, Any] = TransformObservations(envs, transform)
    return wrapped if bounds is None else RescaleActions(wrapped)


def _require(algorithm: type[BaseAlgorithm], settings: Mapping[str, Any]) -> None:
    """Refuses a setting that the algorithm does not know, by name."""
    ours = {"policy", "env", "seed", "tensorboard_log", "_init_setup_model"}
    known = set(inspect.signature(algorithm).parameters) - ours
    for setting in settings:
        if setting not in known:
            listed = ", ".join(sorted(known))
            raise ValueError(f"{algorithm.__name__} has no setting {setting!r}; it takes: {listed}")


def _log_interval(model: BaseAlgorithm) -> int:
    """On-policy algorithms count roll-outs, the others episodes, which end a batch at a time."""
    return model.n_envs if isinstance(model, OffPolicyAlgorithm) else 1


def _compact(bound: NDArray[Any]) -> Any:
    """Returns one number for an array of equal numbers."""
    first = bound.flat[0]
    return float(first) if (bound == first).all() else bound.tolist()


def _plain(value: Any) -> Any:
    """Turns tuples and configuration nodes into plain lists and dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
