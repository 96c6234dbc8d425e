"""Trains an agent: `stockyard-train env=replenishment scenario=real agent=ppo seed=3`.

Everything about the run is in one folder, which `stockyard.agents.load` turns into a policy. Ctrl-C
leaves a checkpoint; `stockyard-train resume=FOLDER` goes on from it. `-m agent=ppo,sac seed=0,1`
runs a sweep, with `launcher=joblib` side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import TrainSchema
from stockyard.scripts import command_line

if TYPE_CHECKING:
    from stockyard.agents.learners.run_folder import RunFolder

RESUMABLE = ("total_steps", "eval.every", "checkpoint.every", "checkpoint.keep", "progress")
"""What a resumed run may have otherwise than before."""


def main() -> None:
    """Runs the command."""
    command_line.run(_command, TrainSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="config")
def _command(config: DictConfig) -> float | None:
    with command_line.single_run_exits():
        return train(config)


def train(config: DictConfig) -> float | None:
    """Trains as configured and returns the best validation result, money per period."""
    from stockyard.agents.evaluation.files import write_text_atomic
    from stockyard.agents.learners.run_folder import RunFolder

    with command_line.explained():
        if config.resume is not None:
            folder = RunFolder(config.resume)
            config = resumed(config, folder)
        else:
            folder = RunFolder(command_line.output_folder())
            if folder.record.exists():
                raise FileExistsError(f"{folder.path} already holds a run")
        command_line.check_split(config.eval.split, "eval.split")
        spec = command_line.specification(config.env)
        from stockyard.agents.learners.mixture import worlds_of

        command_line.check(spec)
        worlds = worlds_of(spec)
        # torch and Stable-Baselines3 are imported here, so that --help and --cfg stay fast
        learner = hydra.utils.instantiate(config.agent, _convert_="all")
        if hasattr(learner, "check"):
            learner.check(spec)
        from stockyard.agents.learners.course import use_one_thread

        use_one_thread()
        resuming = config.resume is not None
        against = folder.read_record().get("against", {}) if resuming else rivals(config, worlds)
    if not resuming:
        write_text_atomic(folder.config, command_line.resolved_yaml(config))

    result = learner.train(
        spec,
        folder,
        **command_line.training(config),
        against=against,
        resume=resuming,
        progress=config.progress,
    )
    report(result.best_validation, against, result.folder)
    if result.interrupted:
        print(
            f"stopped after {result.steps:,} of {config.total_steps:,} steps; go on with: "
            f"stockyard-train resume={result.folder}"
        )
        sys.exit(130)
    best = result.best_validation
    return None if best is None else float(best["mean_per_period"])


def resumed(config: DictConfig, folder: RunFolder) -> DictConfig:
    """Returns the configuration of an earlier run, with what the command line may change."""
    folder.read_record()
    folder.latest_checkpoint()
    changed = [item for item in command_line.chosen_overrides() if not item.startswith("resume=")]
    for item in changed:
        if item.lstrip("+~").partition("=")[0] not in RESUMABLE:
            raise ValueError(f"a resumed run cannot change {item!r}; only {', '.join(RESUMABLE)}")
    saved = OmegaConf.load(folder.config)
    assert isinstance(saved, DictConfig)
    saved.merge_with_dotlist(changed)
    saved.resume = config.resume
    return saved


def rivals(config: DictConfig, worlds: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Builds the heuristics to beat and returns what they earn on the validation tapes.

    Each is built, and tunes itself, in every world anew.
    """
    from stockyard.agents.learners.mixture import evaluate_in

    if config.eval.tapes <= 0:
        return {}
    earned = {}
    entries = command_line.plain(config.against)
    if entries is None:
        first = next(iter(worlds.values()))
        entries = command_line.usual_policies(first, ["base_stock"])
    for entry in entries:
        policies = {}
        for scenario, spec in worlds.items():
            name, policies[scenario] = command_line.build_policy(entry, {**spec, "split": "train"})
        evaluation = evaluate_in(
            worlds,
            policies,
            seed=config.eval.seed,
            num_tapes=config.eval.tapes,
            split=config.eval.split,
        )
        earned[name] = evaluation.mean
        print(f"{name}: {evaluation.mean:,.5g} per period on the {config.eval.split} tapes")
    return earned


def report(best: Mapping[str, Any] | None, against: Mapping[str, float], folder: Path) -> None:
    """Prints how the run ended."""
    if best is not None:
        line = f"best after {best['steps']:,} steps: {best['mean_per_period']:,.5g} per period"
        if against:
            rival = max(against, key=lambda name: against[name])
            line += f" ({best['mean_per_period'] - against[rival]:+,.4g} to {rival})"
        print(f"{line} on the {best['split']} tapes")
    print(f"run folder: {folder}")


if __name__ == "__main__":
    main()
