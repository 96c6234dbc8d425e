"""A submission to start from, and how one is tried."""

from __future__ import annotations

from pathlib import Path

from stockyard.agents.evaluation.files import write_text_atomic
from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Entry, Track
from stockyard.agents.evaluation.leaderboard.cells import do
from stockyard.agents.evaluation.leaderboard.plan import plan
from stockyard.agents.evaluation.leaderboard.submission import FILE, Submission

_YAML = """\
name: {name}
kind: other  # heuristic, optimiser, learner, other
about: does nothing at all, until you write what it does
authors: [you]
link: ""  # where to read more
command: ""  # what makes the policy again; a trained one: the training
training: {{steps: 0, cpu_hours: 0.0}}  # of the environment; of all seeds together
seeds: [0]  # training seeds; a learner brings at least three
tracks: [{track}]  # of the benchmark
policy: policy:make_policy  # module:function in this folder. Or instead of it
# run: runs/replenishment/ppo/..._s{{seed}}  # a folder of stockyard-train
# torchscript: model_{{seed}}.pt  # a scripted module: dictionary of fields -> action
# action: quantity  # the action mode of a scripted module
"""

_POLICY = '''\
"""A policy for the leaderboard; the observation's fields are those of the environment's page."""

import numpy as np


class MyPolicy:
    """Decides for a batch of episodes at once."""

    action_mode = "quantity"

    def __init__(self, task):
        """Reads what anybody may know: sizes, here."""
        env = task.env(action=self.action_mode)  # one of your own, on training tapes
        self.shape = env.single_action_space.shape
        env.close()

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        """Decides; the first axis of every field is that of the episodes."""
        episodes = len(next(iter(observation.values())))
        return np.zeros((episodes, *self.shape)), state


def make_policy(task):
    """Makes the policy: task.specification, task.seed, task.folder, task.env(...) are there."""
    return MyPolicy(task)
'''


def write_template(folder: Path, track: Track) -> list[Path]:
    """Writes a submission that works as it is.

    Raises:
        ValueError: if there is one already.
    """
    if (folder / FILE).exists():
        raise ValueError(f"folder: {folder} holds a submission already")
    name = "".join(
        letter if letter.isalnum() or letter in "_.+-" else "_" for letter in folder.name
    )
    files = {FILE: _YAML.format(name=name, track=track.name), "policy.py": _POLICY}
    for file, text in files.items():
        write_text_atomic(folder / file, text)
    return [folder / file for file in files]


def try_out(submission: Submission, benchmark: Benchmark) -> tuple[list[str], bool]:
    """Plays the first entry of every track of a submission, with its first seed.

    Returns:
        What happened, line by line, and whether every episode was decided.
    """
    planned = plan(benchmark, [submission])
    lines, is_fine = (
        [f"{submission.name}: {submission.kind}, {len(submission.seeds)} seed(s)"],
        True,
    )
    if submission.kind == "learner" and len(submission.seeds) < 3:
        lines.append("  a learner should bring at least three training seeds: one may be luck")
    for entry in _first_entries(submission, benchmark):
        cell = planned.policies[submission.name, entry.key, submission.seeds[0]]
        done = do(cell)
        result, measured = done["result"], done["measured"]
        naive = do(planned.naive[entry.key])["result"]["returns"]
        told = [
            f"  {entry.key}, {entry.specification['id']}: {len(result['returns'])} episodes, "
            f"made in {measured['making_seconds'] or 0.0:.1f} s"
        ]
        for tape, value in enumerate(result["returns"]):
            if value is not None:
                told.append(f"    tape {tape}: {value:,.2f} a period; naive {naive[tape]:,.2f}")
        for failure in result["failures"]:
            is_fine = False
            told.append(f"    tape {failure['tape']}: {failure['kind']}: {failure['message']}")
        if any(value is not None for value in result["returns"]):
            told.append(
                f"    {measured['milliseconds_median']:.2f} ms a decision (95th percentile "
                f"{measured['milliseconds_95']:.2f}), {measured['memory_mb'] or 0.0:,.0f} MB"
            )
        if measured["printed"]:
            shown = measured["printed"].rstrip().splitlines()[-8:]
            told += ["    it printed:", *(f"      {line}" for line in shown)]
        lines += told
    return lines, is_fine


def _first_entries(submission: Submission, benchmark: Benchmark) -> list[Entry]:
    first: dict[str, Entry] = {}
    for entry in submission.entries(benchmark):
        first.setdefault(entry.track, entry)
    return list(first.values())
