"""Tunes a heuristic on training tapes: `stockyard-tune policy=base_stock env=replenishment`."""

from __future__ import annotations

from pathlib import Path

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
        tune_policy(config)


def tune_policy(config: DictConfig) -> Path:
    """Tunes as configured, prints what was found and returns the path of the JSON file."""
    from stockyard.agents import registered, tune
    from stockyard.agents.evaluation import write_json_atomic

    with command_line.explained():
        spec = command_line.specification(config.env)
        command_line.check(spec)
        name = config.policy or command_line.usual_policies(spec, ["base_stock"])[0]
        if name not in registered():
            known = ", ".join(registered())
            raise ValueError(f"unknown heuristic {name!r}; known: {known}")
        result = tune(name, spec, tapes=config.tapes, seed=config.seed)

    for name, value in result.parameters.items():
        print(f"{name} = {value}")
    print(f"score: {result.score:,.5g} per period on {config.tapes} training tapes")
    if result.on_edge:
        print("warning: the best lies on the edge of what was searched; better may lie beyond")
    if not result.converged:
        print("warning: the search ended before it converged")
    output = config.output or command_line.output_folder() / "tuning.json"
    write_json_atomic(
        output,
        {
            "policy": name,
            "environment": command_line.plain(config.env),
            "tapes": config.tapes,
            "seed": config.seed,
            "parameters": result.parameters,
            "score": result.score,
            "on_edge": result.on_edge,
            "converged": result.converged,
            "history": result.history,
        },
    )
    print(f"written: {output}")
    return Path(output)


if __name__ == "__main__":
    main()
