"""Tunes a heuristic or a learner on training tapes.

`stockyard-tune policy=capacity_priced_newsvendor method=tpe` tunes a rule.
`stockyard-tune "train=['agent=hindsight','total_steps=200000']"
"space={agent.learning_rate: {low: 1e-4, high: 1e-2, log: true}}"` tunes settings of
`stockyard-train` by the best validation score of a short training.

Studies (method=tpe, train=) are kept beside the result; an interrupted one goes on by the same
command.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import TuneSchema
from stockyard.scripts import command_line


def main() -> None:
    """Runs the command."""
    command_line.run(_command, TuneSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="tune")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        try:
            tune_policy(config) if config.train is None else tune_learner(config)
        except KeyboardInterrupt:
            sys.exit("\ninterrupted; a study (method=tpe, train=) goes on by the same command")


def tune_policy(config: DictConfig) -> Path:
    """Tunes as configured, prints what was found and returns the path of the JSON file."""
    from stockyard.agents import registered, tune

    with command_line.explained():
        spec = command_line.specification(config.env)
        command_line.check(spec)
        name = config.policy or command_line.usual_policies(spec, ["base_stock"])[0]
        if name not in registered():
            known = ", ".join(registered())
            raise ValueError(f"unknown heuristic {name!r}; known: {known}")
        if config.space is not None:
            raise ValueError("space: belongs to train; a heuristic declares its own")
        about = {"policy": name, "environment": command_line.plain(config.env)}
        about |= {"tapes": config.tapes, "seed": config.seed}
        if config.method == "coordinate":
            output = Path(config.output or command_line.output_folder() / "tuning.json")
            further: dict[str, Any] = {}
        else:
            output = _output(config, name, about | {"batches": config.batches})
            further = {
                "method": config.method,
                "trials": config.trials,
                "batches": config.batches,
                "storage": output.with_suffix(".db"),
                "progress": print,
            }
        result = tune(name, spec, tapes=config.tapes, seed=config.seed, **further)

    for parameter, value in result.parameters.items():
        print(f"{parameter} = {value}")
    print(f"score: {result.score:,.5g} per period on {config.tapes} training tapes")
    if result.at_limit:
        print(f"at a limit of theirs: {', '.join(result.at_limit)}")
    if result.on_edge:
        print("warning: the best lies on the edge of what was searched; better may lie beyond")
    if not result.converged:
        print("warning: the search ended before it converged")
    return _write(
        output,
        {
            **about,
            "method": config.method,
            "parameters": result.parameters,
            "score": result.score,
            "on_edge": result.on_edge,
            "at_limit": list(result.at_limit),
            "converged": result.converged,
            "trials": result.trials,
            "seconds": result.seconds,
            "history": result.history,
        },
    )


def tune_learner(config: DictConfig) -> Path:
    """Trains shortly with many settings and returns the path of the JSON file."""
    import time

    from stockyard.agents import studies

    started = time.perf_counter()
    with command_line.explained():
        if config.policy is not None:
            raise ValueError("policy: a heuristic is tuned without train")
        ranges = _ranges(command_line.plain(config.space))
        base = [
            item
            for item in command_line.chosen_overrides()
            if item.partition("=")[0].partition(".")[0] in ("env", "scenario")
        ]
        base += [str(item) for item in config.train]
        composed = command_line.plain(_composed([*base, *_overrides(_middles(ranges))]))
        about = {"train": composed, "space": command_line.plain(config.space), "seed": config.seed}
        output = _output(config, "learner", about)
        about["train"] = base

        def objective(values: Mapping[str, float], report: studies.Report) -> float:
            return _trained([*base, *_overrides(values)], output.parent)

        found = studies.search(
            objective,
            ranges,
            trials=config.trials,
            seed=config.seed,
            storage=output.with_suffix(".db"),
            about=about,
            progress=print,
        )
    for key, value in found.values.items():
        print(f"{key}={value:.6g}")
    print(f"score: {found.score:,.5g} per period on the validation tapes")
    if found.near_edge:
        print(f"warning: near an edge of what was searched: {', '.join(found.near_edge)}")
    return _write(
        output,
        {
            **about,
            "parameters": found.values,
            "score": found.score,
            "on_edge": bool(found.near_edge),
            "near_edge": list(found.near_edge),
            "trials": len(found.trials),
            "seconds": time.perf_counter() - started,
            "history": [{**trial.values, "score": trial.score} for trial in found.trials],
        },
    )


def _ranges(space: Any) -> dict[str, Any]:
    """Ranges of a learner's settings from the configuration; they are not widened."""
    from stockyard.agents.studies import Range

    if not isinstance(space, Mapping) or not space:
        raise ValueError("space: train needs settings, as {agent.learning_rate: {low: , high: }}")
    ranges = {}
    for key, given in space.items():
        known = ("low", "high", "log", "integer")
        if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= set(known):
            raise ValueError(f"space.{key}: takes {', '.join(known)}, and needs the first two")
        low, high = float(given["low"]), float(given["high"])
        flags = {flag: bool(given.get(flag, False)) for flag in ("log", "integer")}
        try:
            ranges[str(key)] = Range(low, high, **flags)
        except ValueError as error:
            raise ValueError(f"space.{key}: {error}") from None
    return ranges


def _middles(ranges: Mapping[str, Any]) -> dict[str, float]:
    return {name: one.middle for name, one in ranges.items()}


def _overrides(values: Mapping[str, float]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _composed(overrides: list[str]) -> DictConfig:
    """The configuration of `stockyard-train` under these overrides."""
    from hydra import compose

    return compose("config", overrides)


def _trained(overrides: list[str], folder: Path) -> float:
    """The best validation score of a training in a folder of its own, which is removed after it."""
    from stockyard.agents.learners.course import use_one_thread
    from stockyard.agents.learners.run_folder import RunFolder

    config = _composed(overrides)
    digest = hashlib.sha1(json.dumps(overrides).encode(), usedforsecurity=False).hexdigest()[:8]
    place = folder / f"trial-{digest}"
    shutil.rmtree(place, ignore_errors=True)  # of an interrupted study
    use_one_thread()
    learner = hydra.utils.instantiate(config.agent, _convert_="all")
    result = learner.train(
        command_line.specification(config.env),
        RunFolder(place),
        **command_line.training(config),
        against={},
        resume=False,
        progress=False,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    if result.best_validation is None:
        raise ValueError("train: needs evaluations, eval.tapes > 0 and eval.every <= total_steps")
    shutil.rmtree(place)
    return float(result.best_validation["mean_per_period"])


def _output(config: DictConfig, name: str, about: Mapping[str, Any]) -> Path:
    """Where the JSON file of a study goes: the same command gives the same folder."""
    if config.output is not None:
        return Path(config.output)
    text = json.dumps(about, sort_keys=True, default=str)
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
    own = command_line.output_folder()
    if own.is_dir() and not any(own.iterdir()):
        own.rmdir()
    return own.parent / f"{name}-{digest}" / "tuning.json"


def _write(output: Path, found: Mapping[str, Any]) -> Path:
    from stockyard.agents.evaluation import write_json_atomic

    write_json_atomic(output, found)
    print(f"written: {output}")
    return output


if __name__ == "__main__":
    main()
