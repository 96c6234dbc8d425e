"""Trains by the gradient of the return through the simulator, on tapes drawn afresh.

All that is random is on the tape, so the return of a policy on a tape is a function of its weights
that can be differentiated: the pathwise gradient. Madeka, Torkkola, Eisenach, Luo, Foster & Kakade,
Deep Inventory Management (arXiv 2210.03137, 2022) call it DirectBackprop; Alvo, Russo, Kanoria &
Wang (arXiv 2306.11246, 2023) hindsight differentiable policy optimization.

How tapes are walked is in `walk`. Where the problem has whole units, training begins with real
ones; then they are rounded, and the gradient passes straight through. One set of weights may be
trained on a mixture of worlds: then each update walks another of them, in an order drawn afresh.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stockyard.agents.evaluation.rollout import Specification, build
from stockyard.agents.learners.course import Bar, Result, StopSignal, described, mixed
from stockyard.agents.learners.journal import Journal
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.mixture import worlds_of
from stockyard.agents.learners.networks import Actor, check_structure, rule_of
from stockyard.agents.learners.run import Run, check_worlds
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.walk import Walk
from stockyard.envs.tasks.task import ActionMode, shaped


class TrainedPolicy:
    """A trained network as a policy: raw observations in, actions of the environment out."""

    def __init__(self, actor: Actor) -> None:
        """Takes the network with its layout."""
        self.actor = actor

    @property
    def action_mode(self) -> ActionMode:
        """The action mode that the network speaks."""
        return self.actor.layout.mode

    @property
    def mechanism(self) -> str | None:
        """That of the rule which it is learned around; see `around.Rule`."""
        return None if self.actor.rule is None else self.actor.rule.mechanism

    def for_env(self, env: Any) -> TrainedPolicy:
        """The same weights, not copied, for another environment: other products, lanes and sizes.

        Raises:
            ValueError: if the environment's features are others than those of the weights.
        """
        return TrainedPolicy(self.actor.twin(Layout.of(env), env))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Decides; see `stockyard.agents.policy.Policy`. Takes a single observation too."""
        is_single = np.ndim(next(iter(observation.values()))) == 1
        with torch.inference_mode():
            fields = {
                name: torch.from_numpy(
                    np.array(values[None] if is_single else values, dtype=np.float32)
                )
                for name, values in observation.items()
            }
            action = self.actor(shaped(fields, self.actor.layout.shapes)).numpy()
        return (action[0] if is_single else action), state


@dataclasses.dataclass(frozen=True)
class Learner:
    """The trainer with its settings: what conf/agent/hindsight.yaml builds.

    Attributes:
        n_envs: tapes that are walked side by side, B.
        structure: what the network's outputs mean; see `networks.STRUCTURES`.
        width: units of each of two hidden layers.
        segment_steps: decisions that learn between two updates, S.
        lookahead_steps: decisions after them whose costs count, L.
        burn_in_steps: first decisions of a tape that are left out.
        tape_steps: decisions of a tape before fresh ones are drawn; at most those of an episode
            where the environment's demand is described for no longer.
        learning_rate: of Adam, at the start; it falls to zero along half a cosine.
        max_grad_norm: longest gradient; a longer one is shortened.
        fluid_share: first part of the training, 0 to 1, in which quantities are not rounded where
            the problem has whole units; in the rest they are, and the gradient passes straight
            through. Evaluations always round.
        dither: width of the uniform noise on quantities while they are rounded: their costs are
            kinked at whole units, and with noise the gradient is that of a smooth curve.
        patience: evaluations without a better one after which training stops, once its fluid part
            is over; 0: never.
        initial_action: where in (-1, 1) actions start that are no quantities; "rule": where a plain
            rule stands (see `features.Table.start`), in retail tasks.
        rule: name and parameters of the heuristic that the structures `around` and `steered`
            correct.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
    """

    n_envs: int = 512
    structure: str = "quantity"
    width: int = 64
    segment_steps: int = 40
    lookahead_steps: int = 15
    burn_in_steps: int = 20
    tape_steps: int = 1_000
    learning_rate: float = 1e-2
    max_grad_norm: float = 1.0
    fluid_share: float = 0.6
    dither: float = 1.0
    patience: int = 10
    initial_action: float | Literal["rule"] = 0.0
    rule: Mapping[str, Any] | None = None
    device: str = "auto"

    kind = "hindsight"

    def __post_init__(self) -> None:
        """Checks the settings, naming the one that is out of range."""
        check_structure(self.structure, self.rule)
        if self.rule is not None:  # as JSON can hold it
            object.__setattr__(self, "rule", described(self.rule))
        least = dict.fromkeys(("n_envs", "width", "segment_steps", "tape_steps"), 1)
        least |= dict.fromkeys(("lookahead_steps", "burn_in_steps", "patience"), 0)
        for field, low in least.items():
            value = getattr(self, field)
            if int(value) != value or value < low:
                raise ValueError(f"{field}: must be a whole number >= {low}, got {value}")
        if not self.dither >= 0.0:
            raise ValueError(f"dither: must be >= 0, got {self.dither}")
        for field in ("learning_rate", "max_grad_norm"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field}: must be > 0, got {getattr(self, field)}")
        if not 0.0 <= self.fluid_share <= 1.0:
            raise ValueError(f"fluid_share: must lie in [0, 1], got {self.fluid_share}")
        if self.initial_action != "rule" and not -1.0 < self.initial_action < 1.0:
            raise ValueError(f"initial_action: must lie in (-1, 1), got {self.initial_action}")
        _device(self.device)

    def check(self, specification: Specification | Sequence[Specification]) -> None:
        """Raises a ValueError if an environment hands out what these networks do not decide."""
        check_worlds(specification, self.structure, self.rule)

    def train(
        self,
        specification: Specification | Sequence[Specification],
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
    ) -> Result:
        """Trains on the training tapes and leaves everything in a folder.

        Ctrl-C or SIGTERM ends the training after the update at hand; a checkpoint is saved, from
        which `resume=True` goes on.

        Args:
            specification: The environment: keyword arguments of `gymnasium.make_vec`. Several, or
                one with a list of scenarios as `mixture`: updates take turns among them, and
                validation is on all, each in its own scale.
            folder: Where everything goes.
            total_steps: Decisions that learn, of all tapes together, those before a resume
                included.
            n_envs: Batch size; None for the one the settings were chosen for.
            seed: Of the weights and the training tapes.
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
        """
        run = Run(specification, folder, resume, backend="torch", dtype="float32")
        steps, folder = run.steps, run.folder
        batch, device = n_envs or self.n_envs, _device(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed(seed, 2))
            rule = run.rule(self.rule, self.structure)
            actor = Actor(run.layout, self.structure, self.width, self.initial_action, rule=rule)
            actor = actor.to(device)
        optimizer = torch.optim.Adam(actor.parameters(), lr=self.learning_rate)
        if run.checkpoint is not None:
            saved = torch.load(run.checkpoint, weights_only=True, map_location=device)
            actor.load_state_dict(saved["actor"])
            optimizer.load_state_dict(saved["optimizer"])
        run.begin(
            name=name,
            description=description,
            against=against,
            kind=self.kind,
            algorithm="hindsight",
            settings=dataclasses.asdict(self),
            seed=seed,
            n_envs=batch,
            total_steps=total_steps,
        )
        run.open_validation(TrainedPolicy(actor).for_env, eval_tapes, eval_split, eval_seed)
        evaluated = run.evaluate if run.tapes else None
        journal = Journal(
            folder, actor, optimizer, evaluated, against or {}, steps, checkpoint_keep
        )
        journal.training_seconds = run.before.get("training_seconds", 0.0)
        bar = Bar(total_steps, steps, journal.curve) if progress else None
        # Tapes of a resumed run must not be those of its first part.
        walks = [
            Walk(
                env.unwrapped,
                self,
                actor.twin(run.layouts[world], env),
                batch,
                mixed(seed, steps, 1, *[k][:k]),
                device,
            )
            for k, (world, env) in enumerate(run.envs.items())
        ]
        turns = _turns(len(walks), mixed(seed, steps, 3))
        stop = StopSignal()
        next_evaluation, next_checkpoint = _next(steps, eval_every), _next(steps, checkpoint_every)
        journal.evaluate(steps)
        with stop.listening():
            while steps < total_steps and stop.signal is None:
                clock = time.perf_counter()
                rate = self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * steps / total_steps))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                walk = walks[next(turns)]
                loss = walk.segment(is_fluid=steps < self.fluid_share * total_steps)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = torch.nn.utils.clip_grad_norm_(actor.parameters(), self.max_grad_norm)
                if torch.isfinite(norm):  # one bad batch must not spoil the weights
                    optimizer.step()
                steps += batch * walk.segment_steps
                journal.training_seconds += time.perf_counter() - clock
                journal.log(
                    {"loss": loss.item(), "learning_rate": rate, "norm": float(norm)}, steps
                )
                if bar is not None:
                    bar.move_to(min(steps, total_steps))
                if eval_every > 0 and steps >= next_evaluation:
                    journal.evaluate(steps)
                    next_evaluation = _next(steps, eval_every)
                    if bar is not None:
                        bar.show_latest()
                    has_rounded = steps >= self.fluid_share * total_steps
                    is_late = journal.curve.since_best >= self.patience > 0
                    if has_rounded and is_late:
                        break
                if checkpoint_every > 0 and steps >= next_checkpoint:
                    journal.save_checkpoint(steps)
                    run.keep_time(training_seconds=journal.training_seconds)
                    next_checkpoint = _next(steps, checkpoint_every)
        journal.close(steps)
        if bar is not None:
            bar.close()
        return run.finish(
            steps,
            interrupted=stop.signal is not None and steps < total_steps,
            training_seconds=journal.training_seconds,
        )


def load(folder: str | Path, which: str = "best") -> TrainedPolicy:
    """Loads the policy of a run folder; the weights are plain tensors, nothing is unpickled.

    Args:
        folder: What `Learner.train` wrote.
        which: "best" on the validation tapes, or "last".
    """
    run = RunFolder(folder)
    record = run.read_record()
    archive = run.best_model if which == "best" else run.model
    if not archive.is_file():
        raise FileNotFoundError(f"{run.path} has no {archive.name}")
    settings = record["settings"]
    rule = None
    if settings.get("rule"):
        # as a configuration tells it: what is null is left to the environment
        told = {k: v for k, v in record["environment"].items() if k != "_target_" and v is not None}
        first = next(iter(worlds_of(told).values()))
        env = build({**first, "action": record["action_mode"]}, num_envs=1, split="train")
        rule = rule_of(settings["rule"], settings["structure"], env)
        env.close()
    with torch.random.fork_rng(devices=[]):
        actor = Actor(
            Layout.from_dict(record["layout"]),
            settings["structure"],
            settings["width"],
            settings["initial_action"],
            settings.get("pools", "hidden"),
            rule,
        )
    saved = torch.load(archive, weights_only=True, map_location="cpu")
    actor.load_state_dict(saved["actor"])
    return TrainedPolicy(actor)


def _turns(count: int, seed: int) -> Iterator[int]:
    """Indices of worlds without end, each once in every round."""
    generator = np.random.default_rng(seed)
    while True:
        yield from generator.permutation(count).tolist()


def _next(steps: int, every: int) -> int:
    return (steps // max(1, every) + 1) * every


def _device(name: str) -> str:
    """The device to compute on.

    Raises:
        ValueError: for "cuda" where there is none, and for a device that torch does not know.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ValueError(f"device: unknown {name!r}; known: cpu, cuda, auto") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: no CUDA device here; 'auto' takes the CPU then")
    return name
