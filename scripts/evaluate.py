"""Compares policies on the same held-out tapes.

`stockyard-evaluate policies=[naive,newsvendor,base_stock,runs/x] env=replenishment scenario=real`
prints a table with paired differences and writes the same as JSON.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import EvaluateSchema
from stockyard.scripts import command_line


def main() -> None:
    """Runs the command."""
    command_line.run(_command, EvaluateSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="evaluate")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        compare_policies(config)


def compare_policies(config: DictConfig) -> Path:
    """Evaluates as configured, prints the table and returns the path of the JSON file."""
    from stockyard.agents.evaluation import Evaluation, compare, evaluate, render, write_json_atomic
    from stockyard.agents.evaluation.report import console
    from stockyard.agents.evaluation.statistics import Comparison

    evaluations: dict[str, Evaluation] = {}
    with command_line.explained():
        command_line.check_split(config.split)
        spec = command_line.specification(config.env)
        command_line.check(spec)
        entries = command_line.plain(config.policies)
        if entries is None:
            entries = command_line.usual_policies(spec, ["naive", "newsvendor", "base_stock"])
        if not entries:
            raise ValueError("policies is empty")
        built = [
            command_line.build_policy(entry, {**spec, "split": "train"}, config.which)
            for entry in entries
        ]
        names = [name for name, _ in built]
        if config.against is not None and config.against not in names:
            raise ValueError(f"against={config.against} is not among the policies: {names}")
        for name, policy in built:
            evaluations[name] = evaluate(
                policy,
                spec,
                periods=config.periods,
                warmup=config.warmup,
                seed=config.seed,
                num_tapes=config.tapes,
                split=config.split,
            )
        rows: list[Comparison] = compare(evaluations, config.against)

    first = next(iter(evaluations.values()))
    title = (
        f"{spec['id']} · {first.num_tapes} tapes of the split {first.split}, seed {first.seed}, "
        f"{first.periods} periods"
    )
    console().print(render(rows, title=title))
    output = config.output or command_line.output_folder() / "evaluation.json"
    write_json_atomic(
        output,
        {
            "environment": command_line.plain(config.env),
            "tapes": first.num_tapes,
            "split": first.split,
            "seed": first.seed,
            "periods": first.periods,
            "warmup": first.warmup,
            "comparisons": rows,
            "policies": {
                name: {
                    **evaluation.summary(),
                    "returns": evaluation.returns,
                    "per_period_mean": evaluation.per_period_mean,
                }
                for name, evaluation in evaluations.items()
            },
        },
    )
    print(f"written: {output}")
    return Path(output)


if __name__ == "__main__":
    main()
