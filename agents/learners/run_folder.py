"""The folder of a training run: what is in it, and how it is written."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from stockyard.agents.evaluation.files import write_json_atomic, write_text_atomic

SHIPPED = Path(__file__).parent.parent / "weights"
"""Run folders that come with the code, by contest."""

_VERSIONED = (
    "stockyard",
    "gymnasium",
    "numpy",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "hydra-core",
)


class RunFolder:
    """Names the files of a run; every one of them is written whole or not at all.

    config.yaml        the resolved configuration
    run.json           what made the run: versions, seed, commit, command, environment, transform
    model.zip          the last weights; best_model.zip: the best on the validation tapes
    checkpoints/       from which an interrupted run goes on
    evaluations.json   the learning curve on the validation tapes
    tensorboard/       the same and more, for TensorBoard
    model_card.md      for a reader
    """

    def __init__(self, path: str | Path) -> None:
        """Names a folder, which need not exist yet."""
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.record = self.path / "run.json"
        self.model = self.path / "model.zip"
        self.best_model = self.path / "best_model.zip"
        self.checkpoints = self.path / "checkpoints"
        self.evaluations = self.path / "evaluations.json"
        self.tensorboard = self.path / "tensorboard"
        self.model_card = self.path / "model_card.md"

    def read_record(self) -> dict[str, Any]:
        """Reads run.json; an error names what is missing."""
        if not self.record.is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no run.json")
        return dict(json.loads(self.record.read_text(encoding="utf-8")))

    def update_record(self, **entries: Any) -> None:
        """Adds to run.json, or changes what is there."""
        known = self.read_record() if self.record.is_file() else {}
        write_json_atomic(self.record, {**known, **entries})

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Reads the learning curve; empty before the first evaluation."""
        if not self.evaluations.is_file():
            return []
        return list(json.loads(self.evaluations.read_text(encoding="utf-8")))

    def checkpoint_steps(self) -> list[int]:
        """Returns the steps of which there are checkpoints, in order."""
        stems = (path.stem.removeprefix("steps_") for path in self.checkpoints.glob("steps_*.zip"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def checkpoint(self, steps: int) -> Path:
        """Names the checkpoint of a step."""
        return self.checkpoints / f"steps_{steps}.zip"

    def replay_buffer(self, steps: int) -> Path:
        """Names the replay buffer that belongs to a checkpoint."""
        return self.checkpoints / f"steps_{steps}_replay_buffer.pkl"

    def latest_checkpoint(self) -> tuple[int, Path]:
        """Returns the newest checkpoint; an error says when there is none."""
        steps = self.checkpoint_steps()
        if not steps:
            raise FileNotFoundError(f"{self.path} has no checkpoint to resume from")
        return steps[-1], self.checkpoint(steps[-1])

    def prune_checkpoints(self, keep: int) -> None:
        """Removes all but the newest checkpoints."""
        for steps in self.checkpoint_steps()[: -max(1, keep)]:
            self.checkpoint(steps).unlink(missing_ok=True)
            self.replay_buffer(steps).unlink(missing_ok=True)

    def write_model_card(self) -> None:
        """Writes, from the records of the run, what a reader of the model should know."""
        record, evaluations = self.read_record(), self.read_evaluations()
        write_text_atomic(self.model_card, model_card(record, evaluations))


def provenance() -> dict[str, Any]:
    """Returns what it takes to make a run again: versions, commit and command."""
    versions: dict[str, str | None] = {}
    for name in _VERSIONED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": {"python": platform.python_version(), **versions},
        "git_commit": git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def git_commit() -> str | None:
    """Returns the commit of the source, "-dirty" if it was changed; None outside a checkout."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here.parent), *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed package may lie inside a repository that is not ours.
    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def model_card(record: Mapping[str, Any], evaluations: list[dict[str, Any]]) -> str:
    """Writes the model card from the records of a run."""
    specification = record.get("environment", {})
    subject = specification.get("id") or specification.get("_target_")
    best = record.get("best_validation")
    lines = [
        f"# {record.get('name', 'model')}",
        "",
        f"{record.get('algorithm')} for `{subject}`, trained with stockyard "
        f"{record.get('versions', {}).get('stockyard')}.",
        "",
        "## Environment",
        "",
        *(f"- {name}: `{value}`" for name, value in specification.items()),
        "",
        "## Training",
        "",
        f"- steps: {record.get('steps', 0):,}",
        f"- wall time: {record.get('seconds', 0.0):,.0f} s",
        f"- seed: {record.get('seed')}",
        f"- commit: {record.get('git_commit') or 'not from a checkout'}",
        f"- command: `{record.get('command')}`",
        "",
        "## Validation",
        "",
    ]
    if best is None:
        lines.append("Not evaluated.")
    else:
        lines += [
            f"Best after {best['steps']:,} steps: {best['mean_per_period']:,.4g} per period "
            f"(standard error {_shown(best.get('standard_error'))}, {best['num_tapes']} tapes of "
            f"the split `{best['split']}`).",
            "",
            f"{len(evaluations)} evaluations are in `evaluations.json`. The best was picked on "
            "these tapes, so judge it on others: `stockyard-evaluate` uses the test split.",
        ]
        rivals = record.get("against") or {}
        if rivals:
            lines += ["", "| policy on the same tapes | per period |", "|---|---|"]
            lines += [f"| {name} | {value:,.4g} |" for name, value in rivals.items()]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "import stockyard.agents",
        "",
        'policy = stockyard.agents.load("<this folder>")',
        "```",
        "",
        "The archive holds plain tensors; opening it runs no code."
        if record.get("kind") in ("hindsight", "shared_ppo")
        else "The archive is opened with pickle: load only what you trust.",
        "",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2g}"
