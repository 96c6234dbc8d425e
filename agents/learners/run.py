"""A run of a trainer of shared networks: its worlds, its record, its validation and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stockyard.agents.evaluation.rollout import Evaluation, Specification, build, rollout
from stockyard.agents.learners.around import Rule
from stockyard.agents.learners.course import Result, described
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.mixture import MixedEvaluation, as_one, together, worlds_of
from stockyard.agents.learners.networks import Actor, rule_of
from stockyard.agents.learners.run_folder import RunFolder, provenance
from stockyard.agents.policy import Policy


class Run:
    """What comes before and after the learning, on one world or several.

    First `begin`, when the settings are known; then `open_validation`; then, while it learns,
    `evaluate` and, at every checkpoint, `keep_time`; last `finish`, which closes the environments.

    Attributes:
        folder: where everything goes.
        steps: of training before this part of the run.
        checkpoint: from which it goes on; None for a new run.
        before: run.json of the part before; empty for a new run.
        envs: scenario -> environment of the training tapes; `bases`: the same, unwrapped.
        layouts: scenario -> layout.
        tapes: scenario -> environment of the validation tapes; empty before `open_validation`.
    """

    def __init__(
        self,
        specification: Specification | Sequence[Specification],
        folder: RunFolder | str | Path,
        resume: bool,
        **arrays: str,
    ) -> None:
        """Builds the environments of the training tapes.

        Args:
            specification: as `hindsight.Learner.train` takes it.
            folder: where everything goes.
            resume: go on from the newest checkpoint in the folder.
            **arrays: `backend` and `dtype` of training.
        """
        self._started = time.perf_counter()
        self._specification = specification
        self.folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
        self.steps = 0
        self.checkpoint: Path | None = None
        self.before: dict[str, Any] = {}
        if resume:
            self.steps, self.checkpoint = self.folder.latest_checkpoint()
            self.before = self.folder.read_record()
        self._worlds = worlds_of(specification)
        self.envs = {
            name: build({**spec, **arrays}, num_envs=1, split="train")
            for name, spec in self._worlds.items()
        }
        self.bases: dict[str, Any] = {name: env.unwrapped for name, env in self.envs.items()}
        self.layouts = {name: Layout.of(env) for name, env in self.envs.items()}
        self.tapes: dict[str, Any] = {}
        self._players: dict[str, Policy] = {}
        self._seed = 0

    @property
    def layout(self) -> Layout:
        """The layout of the first world, by which weights are made."""
        return next(iter(self.layouts.values()))

    def rule(self, rule: Mapping[str, Any] | None, structure: str) -> Rule | None:
        """The rule of the first world; see `networks.rule_of`."""
        return rule_of(rule, structure, next(iter(self.envs.values())))

    def begin(
        self,
        *,
        name: str | None,
        description: Mapping[str, Any] | None,
        against: Mapping[str, float] | None,
        **entries: Any,
    ) -> None:
        """Writes what makes the run into run.json.

        Args:
            name: of the run; None for the folder's.
            description: the environment as run.json shall tell it; None for the specification.
            against: heuristic -> its money per period on the validation tapes.
            **entries: what the learner has to say.
        """
        first = next(iter(self.bases.values()))
        self.folder.update_record(
            name=name or self.folder.path.name,
            **entries,
            environment=described(description or as_one(self._specification)),
            action_mode=described(first.policy_mode),
            layout=self.layout.to_dict(),
            reward_scale=float(first.reward_scale),
            against=dict(against or {}),
            **provenance(),
        )

    def open_validation(
        self, player: Callable[[Any], Policy], num_tapes: int, split: str, seed: int
    ) -> None:
        """Builds the environments of the validation tapes, if there shall be any.

        Args:
            player: environment -> policy that plays it.
            num_tapes: of each world; 0 for none.
            split: of the tapes.
            seed: of the tapes.
        """
        if num_tapes > 0:
            mode = next(iter(self.bases.values())).policy_mode
            self.tapes = {
                name: build({**spec, "action": mode}, num_envs=num_tapes, split=split)
                for name, spec in self._worlds.items()
            }
        self._players = {name: player(env) for name, env in self.tapes.items()}
        self._seed = seed

    def evaluate(self) -> Evaluation | MixedEvaluation:
        """Plays the validation tapes of every world."""
        parts = {
            name: rollout(self._players[name], env, seed=self._seed)
            for name, env in self.tapes.items()
        }
        return together(parts, self.bases)

    def keep_time(self, **entries: Any) -> None:
        """Notes the time so far in run.json: what is killed afterwards goes on from here."""
        self.folder.update_record(seconds=self._seconds(), **entries)

    def _seconds(self) -> float:
        """Of all parts of the run."""
        return time.perf_counter() - self._started + float(self.before.get("seconds", 0.0))

    def finish(self, steps: int, interrupted: bool, **entries: Any) -> Result:
        """Completes run.json with `entries`, writes the model card and closes the environments."""
        seconds = time.perf_counter() - self._started
        self.folder.update_record(
            steps=steps,
            seconds=self._seconds(),
            **entries,
            interrupted=interrupted,
        )
        self.folder.write_model_card()
        for built in (*self.envs.values(), *self.tapes.values()):
            built.close()
        return Result(
            folder=self.folder.path,
            steps=steps,
            seconds=seconds,
            interrupted=interrupted,
            best_validation=self.folder.read_record().get("best_validation"),
        )


def check_worlds(
    specification: Specification | Sequence[Specification],
    structure: str,
    rule: Mapping[str, Any] | None,
    check_layout: Callable[[Layout], None] = lambda layout: None,
) -> None:
    """Raises a ValueError if there is a world that an actor of this structure cannot play.

    Args:
        specification: as `hindsight.Learner.train` takes it.
        structure: what the network's outputs mean; see `networks.STRUCTURES`.
        rule: name and parameters of the heuristic of the structures that have one.
        check_layout: raises a ValueError for what the learner does not take.
    """
    for spec in worlds_of(specification).values():
        env = build(spec, num_envs=1, split="train")
        try:
            layout = Layout.of(env)
            check_layout(layout)
            Actor(layout, structure, 1, rule=rule_of(rule, structure, env))
        finally:
            env.close()
