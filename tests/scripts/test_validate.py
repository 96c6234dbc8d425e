"""`stockyard-validate`: the table of known answers against oracles and environments."""

import functools
import json
from pathlib import Path

import pytest

from stockyard.agents.oracles import known_answers
from stockyard.envs import textbook
from stockyard.scripts import validate

TABLE = """
instances:
  - id: mine
    problem: lost_sales
    parameters: {demand: poisson, demand_mean: 2, lead_time: 1, holding_cost: 1, penalty_cost: 4}
    answers:
      - optimal
      - {policy: base_stock, parameters: {order_up_to: 6}}
      - {policy: projected_inventory_level, parameters: {level: 3}}
  - id: ours
    problem: newsvendor
    parameters: {demand: normal, demand_mean: 50, demand_sd: 8, holding_cost: 1, penalty_cost: 9}
    answers:
      - {policy: optimal, recorded: 14.03987, published: "14.0399"}
"""


@pytest.fixture
def command(place, command):
    """Runs the command in an empty folder."""
    return functools.partial(command, validate)


def report(name="out.json"):
    """The JSON file."""
    return json.loads(Path(name).read_text())


@pytest.mark.parametrize(
    "problem",
    dict.fromkeys(i.problem for i in known_answers.load_table() if i.short),
)
def test_the_short_form_agrees(command, problem):
    """Every problem has an instance that is simulated, or says why it is not."""
    code, out, err = command("short=true", f"only={problem}", "output=out.json")
    assert code == 0, out + err
    rows = report()["rows"]
    assert {row["verdict"] for row in rows} == {"agrees"}
    if problem in textbook.PROBLEMS:
        assert any(row["tapes"] for row in rows)
        for row in rows:
            assert row["tapes"] or any(note.startswith("not simulated") for note in row["notes"])
            if row["tapes"]:
                assert row["standard_error"] <= 0.005 * row["simulated"]
    else:
        assert all("not simulated" in row["notes"][-1] for row in rows)


def test_every_textbook_problem_has_an_instance_of_the_short_form():
    """A problem without one would not be simulated in the tests."""
    assert set(textbook.PROBLEMS) <= {i.problem for i in known_answers.load_table() if i.short}


def test_a_user_s_table_is_validated(command):
    """Problem, parameters and policies are all that it needs."""
    Path("mine.yaml").write_text(TABLE)
    code, out, err = command("table=mine.yaml", "short=true", "output=out.json")
    assert code == 0, out + err
    first, second, third, fourth = report()["rows"]
    assert first["exact"] <= second["exact"]
    assert third["verdict"] == "simulated only"
    assert third["exact"] is None and third["simulated"] >= first["exact"]
    assert fourth["verdict"] == "agrees"
    page = Path("out.md").read_text()
    assert ": 3 agree, 1 simulated only.**" in page and "base_stock(order_up_to=6)" in page
    assert "no exact figure" in page


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("14.03987", "14.1", "cost of optimal: 14.0"),
        ("order_up_to: 6}", "order_up_to: 6}, recorded: 1.0", "cost of base_stock"),
    ],
)
def test_a_row_that_differs_ends_with_an_error(command, old, new, what):
    """Scripts see it by the exit code, people in the page."""
    Path("mine.yaml").write_text(TABLE.replace(old, new))
    code, out, err = command("table=mine.yaml", "short=true", "output=out.json")
    assert code == 1, err
    assert report()["counts"]["differs"] == 1
    assert "DIFFERS" in out and what in out
    assert f"**differs**; {what}" in Path("out.md").read_text()


def test_a_simulation_that_differs_is_seen(command, monkeypatch):
    """A wrong environment must not pass; here exact costs are 5 % too high instead."""
    from stockyard.agents.oracles.verification import Exact

    Path("mine.yaml").write_text(TABLE)
    cost = Exact.cost
    monkeypatch.setattr(Exact, "cost", lambda self, answer: 1.05 * cost(self, answer))
    code, out, _ = command("table=mine.yaml", "only=mine", "short=true", "output=out.json")
    assert code == 1
    assert report()["counts"] == {"differs": 2, "simulated only": 1}
    assert "standard errors from" in out


def test_an_interrupted_run_goes_on(command, monkeypatch):
    """Rows that are done are kept while version, commit, seed and their entry are the same."""
    Path("mine.yaml").write_text(TABLE)
    arguments = ["table=mine.yaml", "short=true", "output=out.json"]
    add, asked = validate.Report.add, []

    def interrupted(self, row):
        add(self, row)
        asked.append(row["policy"])
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(validate.Report, "add", interrupted)
    code, _, err = command(*arguments)
    assert code == 1 and "the same command" in err
    assert not report()["is_complete"] and len(report()["rows"]) == 2
    assert not Path("out.md").exists()
    code, out, _ = command(*arguments)
    assert code == 0 and "2 rows of the interrupted run" in out
    assert len(asked) == 4 and report()["is_complete"] and len(report()["rows"]) == 4
    # a complete run is not gone on with
    assert command(*arguments, "only=ours")[0] == 0
    assert len(asked) == 5


def test_rows_of_another_entry_or_seed_are_not_taken_over(command, monkeypatch):
    """Numbers of another instance would stand under the wrong name."""
    Path("mine.yaml").write_text(TABLE)
    arguments = ["table=mine.yaml", "short=true", "output=out.json"]
    command(*arguments)

    def interrupt():
        old = report()
        Path("out.json").write_text(json.dumps({**old, "is_complete": False}))

    interrupt()
    Path("mine.yaml").write_text(TABLE.replace("demand_mean: 2", "demand_mean: 2.5"))
    assert "1 rows of the interrupted run" in command(*arguments)[1]
    interrupt()
    assert "of another seed" in command(*arguments, "seed=7")[1]
    interrupt()
    assert "are kept" not in command(*arguments, "seed=7", "resume=false")[1]


def test_workers_find_the_same(command):
    """Seeds belong to rows, not to processes."""
    Path("mine.yaml").write_text(TABLE)
    arguments = ["table=mine.yaml", "short=true"]
    assert command(*arguments, "output=out.json")[0] == 0
    assert command(*arguments, "output=two.json", "workers=2")[0] == 0
    assert report()["rows"] == report("two.json")["rows"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["only=lost_sails"], "only: no instance matches lost_sails; problems: newsvendor, setup"),
        (["table=nowhere.yaml"], "No such file or directory: 'nowhere.yaml'"),
        (["workers=0"], "workers: must be >= 1, got 0"),
        (["tables=x"], "there is no key 'tables'; did you mean 'table'?"),
        (["table=wrong.yaml"], "wrong.yaml: entry 'mine', field lead_time: must be a whole number"),
    ],
)
def test_a_mistake_is_told_in_one_line(command, arguments, message):
    """No traceback."""
    Path("wrong.yaml").write_text(TABLE.replace("lead_time: 1", "lead_time: 1.5"))
    code, _, err = command(*arguments)
    assert code == 1 and message in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_patterns_choose_instances():
    """By name of an instance or problem."""
    table = known_answers.load_table()
    assert {i.problem for i in validate.chosen(table, "lost_sales")} == {"lost_sales"}
    assert {i.id[:3] for i in validate.chosen(table, ["A3*", "D2/?"])} == {"A3a", "A3_", "D2/"}
    assert len(validate.chosen(table)) == len(table)
