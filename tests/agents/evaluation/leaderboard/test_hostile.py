"""Submissions that misbehave: each has its verdict, and nobody else's result changes."""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import submissions

from stockyard.agents.evaluation.leaderboard import Store, board, plan
from stockyard.agents.evaluation.leaderboard.cells import do
from stockyard.agents.evaluation.leaderboard.containment import _processes

# what it does before it decides -> kind of its failures and a part of what is said; None: none
HOSTILE: dict[str, tuple[str, str | None, str]] = {
    "honest": ("pass", None, ""),
    "crashes": ("raise KeyError('demand')", "crash", "KeyError: 'demand'"),
    "sleeps": ("import time; time.sleep(60)", "time-out", "no answer within"),
    "nan": ("return observation['inventory_position'] * np.nan, state", "not finite", "decision 1"),
    "infinite": (
        "return observation['inventory_position'] * 0 + np.inf, state",
        "not finite",
        "decision 1",
    ),
    "wrong_shape": ("return np.zeros((1, 7)), state", "shape", "shape (1, 7) instead of"),
    "no_numbers": ("return np.array(['many']), state", "crash", "must hold real numbers"),
    "eats_memory": ("self.eaten = np.ones(1 << 34)", "memory", "MemoryError"),
    "prints_garbage": ("print('\\x00\\xff' * 100_000)", None, ""),
    "exits": ("import os; os._exit(3)", "exit", "ended with exit code 3"),
    "leaves": ("import sys; sys.exit('bye')", "exit", "ended with exit code 1"),
    "kills_itself": ("import os; os.kill(os.getpid(), 9)", "exit", "was ended by signal 9"),
    "changes_randomness": (
        "import random; random.seed(1); np.random.seed(1); np.random.random = None",
        None,
        "",
    ),
    "closes_pipes": (
        "import os, time; os.closerange(3, 100); time.sleep(60)",
        "pipe",
        "closed its pipe",
    ),
    "writes_to_pipes": (
        "import os, sys; os.write(int(sys.argv[2]), b'x' * 99)",
        "pipe",
        "sent a message of",
    ),
}

FORKS = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        open(os.environ["HOME"] + "/../" + "TOKEN" + str(os.getpid()), "w").close()
        time.sleep(60)
"""

SPY = """
import gc, json, os, sys, glob
found = []
for thing in gc.get_objects():
    name = type(thing).__name__
    if name in ("NetworkVectorEnv", "Tape", "View", "Cell", "Benchmark", "_Evaluation"):
        found.append(name)
secrets = ["SEED", "SECRET"]
def look(label, text):
    found.extend(label for secret in secrets if secret in text)
look("environment", json.dumps(dict(os.environ)))
look("command", json.dumps(sys.argv))
for pid in (os.getpid(), os.getppid()):
    for file in ("cmdline", "environ"):
        try:
            look(f"{file} of {pid}", open(f"/proc/{pid}/{file}", errors="replace").read())
        except OSError:
            pass
look("working folder", " ".join(os.listdir(".")))
pipes = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
for pipe in pipes:
    try:
        kind = os.readlink(f"/proc/self/fd/{pipe}").split(":")[0]
    except OSError:
        continue  # that of the listing
    if kind not in ("pipe", "/dev/null"):
        found.append(kind)
for file in glob.glob("*") + glob.glob(os.environ["TMPDIR"] + "/*"):
    look(file, open(file, errors="replace").read())
frame = sys._getframe()
while frame is not None:
    mine = ("secrets", "look", "frame")
    look("frames", repr({k: v for k, v in frame.f_locals.items() if k not in mine}))
    frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.endswith("policy.py"):
        frame = frame.f_back  # it holds the text of this very code
print("FOUND", json.dumps(found), flush=True)
"""


def test_every_misdeed_has_its_verdict_and_the_board_is_complete(tmp_path: Path) -> None:
    """Who misbehaves scores as the naive rule where it did, and the board says why.

    In one test, for a board is one thing: the honest stand above those that never decide.
    """
    benchmark = submissions.benchmark(tapes=1, slow_tapes=1, tracks=submissions.with_problems("p9"))
    rows = [
        submissions.submission(submissions.write(tmp_path / name, body), benchmark)
        for name, (body, _, _) in HOSTILE.items()
    ]
    results = submissions.evaluated(benchmark, rows, tmp_path / "cells")
    told = board(results)
    ranking = {row["name"]: row for row in told["tracks"][0]["ranking"]}
    assert set(ranking) == set(HOSTILE) == set(told["rows"])
    for name, (_, kind, message) in HOSTILE.items():
        row, money = told["rows"][name], results.returns[f"row/shop/{name}"]
        if kind is None:
            assert (row["failed"], row["verdict"]) == (0, "every episode decided"), name
            assert (money == results.returns["row/shop/honest"]).all(), name
            assert ranking[name]["iqm"] == ranking["honest"]["iqm"] > 0.0
            continue
        (failure,) = row["entries"]["shop/p9"]["failures"]
        assert failure["kind"] == kind and message in failure["message"], (name, failure)
        assert failure["count"] == row["failed"] == row["episodes"] == 1, name
        assert row["verdict"].startswith("1 of 1 episodes without an action, which"), name
        assert (money[0] == results.returns["naive/shop"]).all(), name
        assert ranking[name]["iqm"] == 0.0, name


def test_who_comes_with_whom_changes_no_digit(tmp_path: Path) -> None:
    """An honest one alone has the results that it has in bad company, in whatever order."""
    benchmark = submissions.benchmark(tapes=2, tracks=submissions.with_problems("p9"))
    bodies = {name: HOSTILE[name][0] for name in ("changes_randomness", "honest", "crashes")}
    rows = [
        submissions.submission(submissions.write(tmp_path / name, body), benchmark)
        for name, body in bodies.items()
    ]
    results = submissions.evaluated(benchmark, rows, tmp_path / "forth")
    back = submissions.evaluated(benchmark, rows[::-1], tmp_path / "back")
    alone = submissions.evaluated(benchmark, rows[1:2], tmp_path / "alone")
    assert back.rows == results.rows and json.dumps(board(back)) == json.dumps(board(results))
    assert alone.rows["honest"] == results.rows["honest"]
    key = "row/shop/honest"
    assert (alone.returns[key] == results.returns[key]).all()


def test_a_row_that_fails_does_not_take_others_with_it(tmp_path: Path) -> None:
    """One bad episode of a batch is one bad episode, whether it is not finite or a crash."""
    benchmark = submissions.benchmark()
    bad = "observation['inventory_position'][:, 0] == 12.0"
    rows = [
        submissions.submission(submissions.write(tmp_path / name, body), benchmark)
        for name, body in {
            "honest": "pass",
            "nan": f"bad = {bad}; observation['inventory_position'][bad] = np.nan",
            "crashes": f"assert not ({bad}).any()",
        }.items()
    ]
    results = submissions.evaluated(benchmark, rows, tmp_path / "cells")
    money = {name: results.returns[f"row/shop/{name}"][0] for name in results.rows}
    naive = results.returns["naive/shop"]
    is_naive = money["nan"] == naive
    assert 0 < is_naive.sum() < is_naive.size
    assert (money["nan"] == np.where(is_naive, naive, money["honest"])).all()
    assert (money["crashes"] == money["nan"]).all()
    failed = sum(entry["failed"] for entry in results.rows["crashes"]["entries"].values())
    assert (
        failed
        == sum(e["failed"] for e in results.rows["nan"]["entries"].values())
        == is_naive.sum()
    )


def test_who_never_decides_is_given_up(tmp_path: Path) -> None:
    """Waiting for a limit on every tape would let one submission hold up the board for hours."""
    benchmark = submissions.benchmark(tapes=8, tracks=submissions.with_problems("p9"))
    folder = submissions.write(tmp_path / "crashes", "raise ValueError('no')")
    planned = plan(benchmark, [submissions.submission(folder, benchmark)])
    (cell,) = planned.policies.values()
    failures = do(cell)["result"]["failures"]
    assert [failure["tape"] for failure in failures] == list(range(8))
    told = [failure["message"] for failure in failures]
    assert told == ["ValueError: no"] * 3 + ["not tried after 3 failures in a row"] * 5


def test_what_is_left_running_is_ended(tmp_path: Path) -> None:
    """Children that a submission forks, even into sessions of their own, do not outlive it."""
    benchmark = submissions.benchmark(tapes=1, slow_tapes=1)
    body = FORKS.replace("TOKEN", tmp_path.name)
    folder = submissions.write(tmp_path / "forks", body)
    planned = plan(benchmark, [submissions.submission(folder, benchmark)])
    cell = next(iter(planned.policies.values()))
    from stockyard.agents.evaluation.leaderboard import containment

    containment.protect()
    before = {pid for pid, _, _ in _processes()}
    assert do(cell)["result"]["failures"] == []
    time.sleep(0.1)
    mine = {pid for pid, parent, _ in _processes() if parent == os.getpid()}
    assert not mine - before
    names = list(Path(tmp_path.parent).rglob(f"{tmp_path.name}[0-9]*"))
    names += list(Path("/tmp").glob(f"{tmp_path.name}[0-9]*"))
    forked = [int(name.name.removeprefix(tmp_path.name)) for name in names]
    for name in names:
        name.unlink()
    assert len(forked) >= 3
    assert not {pid for pid, _, _ in _processes()} & set(forked)


def test_no_tape_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither objects, files, pipes, variables, commands nor frames tell a submission its tape."""
    secret = "the secret of this board"
    benchmark = submissions.benchmark(
        seeds="held_out", secret_sha256=hashlib.sha256(secret.encode()).hexdigest(), tapes=2
    )
    monkeypatch.setenv("STOCKYARD_SECRET", secret)
    seeds = benchmark.tape_seeds(benchmark.entries[0], secret)
    code = SPY.replace("SEED", str(seeds[0])).replace('"SECRET"', repr(secret))
    body = f"exec({code!r}, {{}})"
    folder = submissions.write(tmp_path / "spy", body)
    spy = submissions.submission(folder, benchmark)
    planned = plan(benchmark, [spy], secret=secret)
    done = do(planned.policies["spy", "shop/p9", 0])
    assert done["result"]["failures"] == []
    printed = done["measured"]["printed"]
    assert printed.startswith("FOUND ")
    assert json.loads(printed.splitlines()[0].removeprefix("FOUND ")) == []
    store = Store(tmp_path / "cells")
    for cell in planned.cells:
        store.keep(do(cell))
    kept = "".join(path.read_text() for path in (tmp_path / "cells").iterdir())
    assert not any(str(seed) in kept for seed in seeds) and secret not in kept
