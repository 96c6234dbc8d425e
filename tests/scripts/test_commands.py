"""The commands, as a user calls them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_network

from stockyard import agents
from stockyard.scripts import evaluate, train, tune

SUPPORT = Path(tiny_network.__file__).parent
QUICK = [
    "env=tiny",
    "agent.n_steps=16",
    "n_envs=128",
    "total_steps=4096",
    "eval.tapes=8",
    "eval.every=2048",
    "checkpoint.every=2048",
    "progress=false",
    "against=[]",
]


@pytest.fixture(autouse=True)
def place(place, monkeypatch):
    """An empty folder to run in, where the tiny network is one more environment."""
    monkeypatch.setenv("STOCKYARD_CONF", str(SUPPORT / "user_conf"))
    monkeypatch.setattr(agents.policy, "_REGISTRY", dict(agents.policy._REGISTRY))
    agents.register("steady_five", "tiny_network:constant")
    return place


def run_folders():
    """Finds the run folders below the current one."""
    return sorted(path.parent for path in Path("runs").rglob("run.json"))


def test_a_run_is_trained_compared_and_resumed(command):
    """The main job: train, compare with a heuristic on held-out tapes, go on."""
    code, out, err = command(train, *QUICK, "against=[steady_five,{name:steady_five,quantity:4}]")
    assert code == 0, err
    (folder,) = run_folders()
    assert str(folder).startswith(os.path.join("runs", "tiny", "ppo"))
    assert f"{folder}" in out and "steady_five(quantity=4)" in out
    record = json.loads((folder / "run.json").read_text())
    assert set(record["against"]) == {"steady_five", "steady_five(quantity=4)"}
    assert record["command"].startswith("stockyard-train env=tiny")
    assert {path.name for path in folder.iterdir()} == {
        "best_model.zip",
        "checkpoints",
        "config.yaml",
        "evaluations.json",
        "model.zip",
        "model_card.md",
        "run.json",
        "tensorboard",
    }

    code, out, err = command(
        evaluate, "env=tiny", f"policies=[steady_five,{folder}]", "tapes=16", "output=result.json"
    )
    assert code == 0, err
    assert "steady_five" in out and "95 % interval" in out
    result = json.loads(Path("result.json").read_text())
    assert result["split"] == "test" and result["tapes"] == 16
    assert len(result["policies"][str(folder)]["returns"]) == 16
    assert {row["name"] for row in result["comparisons"]} == {"steady_five", str(folder)}

    code, out, err = command(train, f"resume={folder}", "total_steps=6144")
    assert code == 0, err
    assert json.loads((folder / "run.json").read_text())["steps"] == 6144
    assert run_folders() == [folder]
    code, _, err = command(train, f"resume={folder}", "seed=9")
    assert code == 1 and "a resumed run cannot change 'seed=9'" in err


def test_a_hindsight_run_is_trained_evaluated_and_resumed(command):
    """The second kind of learner goes by the same commands."""
    small = ["segment_steps=10", "lookahead_steps=4", "burn_in_steps=4", "width=8"]
    problem = ["env=textbook/lost_sales", "env.lead_time=1", "env.horizon=60"]
    code, out, err = command(
        train,
        *problem,
        "agent=hindsight",
        *(f"agent.{setting}" for setting in small),
        "n_envs=16",
        "total_steps=320",
        "eval.tapes=8",
        "eval.every=160",
        "progress=false",
        "against=[{name:base_stock,order_up_to:14}]",
    )
    assert code == 0, err
    assert "base_stock(order_up_to=14)" in out
    (folder,) = run_folders()
    assert str(folder).startswith(os.path.join("runs", "textbook", "lost_sales", "hindsight"))
    assert {path.name for path in folder.iterdir()} == {
        "best_model.zip",
        "checkpoints",
        "config.yaml",
        "evaluations.json",
        "model.zip",
        "model_card.md",
        "run.json",
        "tensorboard",
    }
    record = json.loads((folder / "run.json").read_text())
    assert (record["kind"], record["n_envs"], record["steps"]) == ("hindsight", 16, 320)

    arguments = [*problem, f"policies=[{folder},{{name:base_stock,order_up_to:14}}]", "tapes=8"]
    code, out, err = command(evaluate, *arguments, "output=result.json")
    assert code == 0, err
    result = json.loads(Path("result.json").read_text())
    assert len(result["policies"][str(folder)]["returns"]) == 8

    code, out, err = command(train, f"resume={folder}", "total_steps=480")
    assert code == 0, err
    assert json.loads((folder / "run.json").read_text())["steps"] == 480
    code, _, err = command(evaluate, *problem, f"policies=[{folder}]", "env.lead_time=4", "tapes=8")
    assert code == 1 and "trained on other features" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["total_stepss=5"], "there is no key 'total_stepss'; did you mean 'total_steps'?"),
        (["eval.evry=5"], "there is no key 'eval.evry'; did you mean 'eval.every'?"),
        (
            ["agent=nobody"],
            "Could not find 'agent/nobody'; known: a2c, hindsight, hindsight_retail",
        ),
        (["env=nowhere"], "known: placement, replenishment, restock_limits, textbook"),
        (["scenario=doom"], "Could not find 'scenario/doom'; known: big_parcels, capacity_shock"),
        (["seed=abc"], "Value 'abc' of type 'str' could not be converted to Integer"),
        (["resume=nowhere"], "nowhere is not a run folder: it has no run.json"),
        (["env=tiny", "env.action=telepathy"], "unknown action mode 'telepathy'; known: unit"),
        (["env=tiny", "env.id=tests/Nothing-v0"], "Nothing"),
        (["env=tiny", "+agent.train_freq=4"], "PPO has no setting 'train_freq'"),
        (["env=tiny", "against=[]", "eval.split=exam"], "eval.split: unknown split 'exam'; known"),
        (["agent=hindsight", "agent.structure=tree"], "structure: unknown 'tree'; known: quantity"),
        (["agent=hindsight", "agent.segment_steps=0"], "segment_steps: must be a whole number"),
        (["env=tiny", "against=[nobody]"], "unknown policy 'nobody'; known: naive"),
    ],
)
def test_a_mistake_is_told_in_one_line(command, arguments, message):
    """No traceback, no folder left behind, and an exit code that scripts can see."""
    code, _, err = command(train, *arguments)
    assert code == 1
    assert message in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["policies=[runs/nowhere]"], "runs/nowhere is not a run folder"),
        (["policies=[steady_five]", "against=naive"], "against=naive is not among the policies"),
        (["policies=[]"], "policies is empty"),
        (["policies=[steady_five]", "split=exam"], "unknown split 'exam'; known: train"),
        (["policies=[steady_five]", "warmup=1"], "multiple of periods_per_step"),
        (["policies=[{name:steady_five,amount:1}]"], "no parameter 'amount'; it takes: quantity"),
    ],
)
def test_a_mistake_in_a_comparison_is_told_in_one_line(command, arguments, message):
    """The same manners for the second command."""
    code, _, err = command(evaluate, "env=tiny", *arguments)
    assert code == 1 and message in err and err.count("\n") == 1


def test_the_traceback_is_there_for_whom_asks(command, monkeypatch):
    """HYDRA_FULL_ERROR=1 is Hydra's own switch."""
    from stockyard.scripts.command_line import UserError

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError) as caught:
        command(train, "resume=nowhere")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_runs_every_combination(command, launcher):
    """Agents times seeds, one after the other or side by side."""
    code, _, err = command(
        train,
        "-m",
        *QUICK,
        f"launcher={launcher}",
        *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []),
        "agent=ppo,a2c",
        "seed=0,1",
    )
    assert code == 0, err
    records = [json.loads((folder / "run.json").read_text()) for folder in run_folders()]
    assert {(r["algorithm"], r["seed"]) for r in records} == {
        ("PPO", 0),
        ("PPO", 1),
        ("A2C", 0),
        ("A2C", 1),
    }


def test_a_terminated_command_says_how_to_go_on():
    """A batch system sends SIGTERM; the run must be there the next day."""
    with subprocess.Popen(
        [sys.executable, "-m", "stockyard.scripts.train", *QUICK, "total_steps=100_000_000"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while not list(Path("runs").rglob("steps_*.zip")):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    (folder,) = run_folders()
    assert process.returncode == 130, err
    assert "stopped after" in out and "stockyard-train resume=" in out
    assert folder.name in out


@pytest.mark.wheel
@pytest.mark.parametrize("name", ["train", "evaluate", "tune", "validate"])
def test_the_configuration_is_shown_without_importing_torch(name):
    """Help must come at once."""
    code = (
        f"import sys; sys.argv = ['{name}', '--cfg', 'job'];"
        f"from stockyard.scripts.{name} import main; main();"
        "assert not {'torch', 'stable_baselines3', 'gymnasium'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "seed:" in done.stdout


def test_a_tuned_heuristic_is_printed_and_written(command, monkeypatch):
    """What was found goes into the next command by hand or by program."""
    asked = {}

    def fake(name, spec, *, tapes, seed):
        asked.update(name=name, id=spec["id"], tapes=tapes, seed=seed)
        return SimpleNamespace(
            parameters={"quantity": 5.5},
            score=-4.2,
            history=[{"quantity": 5.5}],
            on_edge=True,
            at_limit=("quantity",),
            converged=False,
            trials=1,
            seconds=0.1,
        )

    monkeypatch.setattr(agents, "tune", fake, raising=False)
    arguments = ["env=tiny", "policy=steady_five", "tapes=8", "seed=2", "output=tuned.json"]
    code, out, err = command(tune, *arguments)
    assert code == 0, err
    assert asked == {
        "name": "steady_five",
        "id": "tiny_network:tests/Tiny-v0",
        "tapes": 8,
        "seed": 2,
    }
    assert "quantity = 5.5" in out and "edge" in out and "before it converged" in out
    assert json.loads(Path("tuned.json").read_text())["converged"] is False
    assert json.loads(Path("tuned.json").read_text())["parameters"] == {"quantity": 5.5}


def test_an_unknown_heuristic_cannot_be_tuned(command):
    """The message lists the known ones."""
    code, _, err = command(tune, "env=tiny", "policy=nobody")
    assert code == 1 and "unknown heuristic 'nobody'; known: naive" in err
