"""What a submission may be, and what is refused with which reason."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import submissions
import torch

from stockyard.agents.evaluation.leaderboard import plan
from stockyard.agents.evaluation.leaderboard.cells import do
from stockyard.agents.evaluation.leaderboard.template import try_out


def test_a_scripted_module_plays(tmp_path: Path) -> None:
    """Its weights are data: opening them runs no Python."""

    class UpTo(torch.nn.Module):
        def forward(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.clamp(14.0 - observation["inventory_position"], min=0.0)

    benchmark = submissions.benchmark(tracks=submissions.with_problems("p9"))
    told = {"torchscript": "model_{seed}.pt", "policy": "", "action": "quantity", "seeds": [3, 4]}
    folder = submissions.write(tmp_path / "scripted", **told)
    with warnings.catch_warnings():  # torch would rather see its newer export, of another kind
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(UpTo())
    for seed in (3, 4):
        scripted.save(folder / f"model_{seed}.pt")
    honest = submissions.write(tmp_path / "honest")
    rows = [submissions.submission(place, benchmark) for place in (folder, honest)]
    results = submissions.evaluated(benchmark, rows, tmp_path / "cells")
    money = results.returns["row/shop/scripted"]
    assert money.shape == (2, 1, 4)
    assert (money == results.returns["row/shop/honest"]).all()


def test_pickles_are_off_unless_asked_for(tmp_path: Path) -> None:
    """The reason is in the message, for the flag is a decision."""
    benchmark = submissions.benchmark()
    folder = submissions.write(tmp_path / "pickled", policy="", run="run")
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text(json.dumps({"kind": "sb3"}))
    with pytest.raises(ValueError, match="unpickles it, which runs any code .* pickles=true"):
        submissions.submission(folder, benchmark)
    submissions.submission(folder, benchmark, pickles=True)
    (folder / "run" / "run.json").write_text(json.dumps({"kind": "hindsight"}))
    submissions.submission(folder, benchmark)


def test_the_policy_is_made_once_for_each_seed_and_is_told_the_task(tmp_path: Path) -> None:
    """What anybody may know: the specification, the training seed, an environment of its own."""
    code = submissions.HONEST.replace("{body}", "pass") + (
        "\n\ndef make_policy(task):\n"
        "    env = task.env(num_envs=2)\n"
        "    print(task.track, task.name, task.seed, env.num_envs, env.unwrapped.split)\n"
        "    assert task.specification['id'] == 'stockyard/Replenishment-v0'\n"
        "    assert (task.folder / 'policy.py').is_file()\n"
        "    return Policy()\n"
    )
    benchmark = submissions.benchmark(tapes=2, tracks=submissions.with_problems("p9"))
    folder = submissions.write(tmp_path / "curious", code=code, seeds=[5])
    planned = plan(benchmark, [submissions.submission(folder, benchmark)])
    done = do(planned.policies["curious", "shop/p9", 5])
    assert done["result"]["failures"] == []
    assert done["measured"]["printed"].strip() == "shop p9 5 2 train"


def test_check_explains_what_went_wrong(tmp_path: Path) -> None:
    """The kind of the failure, its message, and what the policy printed."""
    benchmark = submissions.benchmark(tapes=2)
    folder = submissions.write(tmp_path / "mine", "print('here'); raise ValueError('too much')")
    lines, is_fine = try_out(submissions.submission(folder, benchmark), benchmark)
    text = "\n".join(lines)
    assert not is_fine
    assert "tape 0: crash: ValueError: too much" in text and "it printed:" in text
    assert "here" in text


def test_another_content_is_another_submission(tmp_path: Path) -> None:
    """What has been evaluated under a name is evaluated again when its files have changed."""
    benchmark = submissions.benchmark()
    folder = submissions.write(tmp_path / "mine")
    before = submissions.submission(folder, benchmark)
    (folder / "policy.py").write_text((folder / "policy.py").read_text() + "\n# other\n")
    after = submissions.submission(folder, benchmark)
    assert before.digest != after.digest
    keys = [{c.key for c in plan(benchmark, [s]).policies.values()} for s in (before, after)]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"title": "x"}, "title: no such field; known: name, kind"),
        ({"name": "two words"}, "name: must be of the row: letters"),
        ({"kind": "magic"}, "kind: unknown 'magic'; known: heuristic"),
        ({"tracks": ["moon"]}, "unknown track 'moon'; known: shop"),
        ({"tracks": []}, "tracks: missing"),
        ({"seeds": [1, 1]}, "seeds: must differ"),
        ({"seeds": "all"}, "seeds: must be a list of whole numbers"),
        ({"policy": "policy"}, "policy: must read module:make_policy"),
        ({"policy": "other:make"}, "policy: mine has no other.py"),
        ({"run": "somewhere"}, "give one of policy, run, torchscript; given: policy, run"),
        ({"policy": "", "run": "gone"}, "run: .*gone is not a run folder"),
        ({"policy": "", "torchscript": "gone.pt"}, "torchscript: there is no file"),
        (
            {"policy": "", "torchscript": "a.pt", "seeds": [0, 1]},
            r"torchscript: needs \{seed\} where there are several seeds",
        ),
        ({"training": {"hours": 3}}, "training: must be"),
    ],
)
def test_a_mistake_names_the_field(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    """Whoever submits is told what is wrong, and in which file."""
    folder = submissions.write(tmp_path / "mine", **fields)
    with pytest.raises(ValueError, match=problem) as caught:
        submissions.submission(folder, submissions.benchmark())
    assert "submission.yaml" in str(caught.value)
