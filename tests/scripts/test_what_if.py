"""`stockyard-what-if`: a lever is changed on held tapes, and only what it moves differs."""

import functools
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from composing import composed

import stockyard.conf
from stockyard import agents
from stockyard.agents.evaluation import evaluate
from stockyard.agents.evaluation.what_if import (
    Case,
    checksums,
    differences,
    kind_of,
    measure,
)
from stockyard.envs import textbook
from stockyard.envs.scenarios.scenario import merged, scenario_data
from stockyard.scripts import what_if, what_if_page

SPEC = {"id": "stockyard/Replenishment-v0", "scenario": "steady", "size": "small", "horizon": 28}
RULE = {"safety_factor": 0.5}
TWO_DAYS = {"promise_changes": [{"start": 0.0, "min_offered_tier": 1}]}
OF_SELLERS = ("predictable_limits", "storage_shock", "strategic_sellers")
OF_TRUCKS = ("dispatch_rules",)
SHIPPED = sorted(p.stem for p in (Path(stockyard.conf.__file__).parent / "what_if").glob("*.yaml"))
MINE = {
    "name": "mine",
    "title": "What if days were shorter?",
    "base": {"scenario": TWO_DAYS},
    "cases": {
        "one_day": {"about": "sooner", "scenario": {"promise_changes": []}},
        "more_room": {"about": "larger", "times": {"local_space_days": 1.5}},
    },
}
QUICK = [
    "what_if=mine",
    "policy={name: base_stock, safety_factor: 0.5}",
    "env.horizon=14",
    "tapes=3",
    "tuning_tapes=2",
    "progress=false",
]


def measured(spec, tapes=6, **rollout):
    """What a base-stock rule does there."""
    rule = agents.make("base_stock", {**spec, "split": "train"}, **RULE)
    return measure(rule, spec, num_tapes=tapes, **rollout)


@pytest.fixture(scope="module")
def two_days():
    """The base of the one-day experiment."""
    spec = Case.of("base", {"scenario": TWO_DAYS}).changed(SPEC)
    return spec, measured(spec)


def test_a_case_that_changes_nothing_differs_in_nothing(two_days):
    """The tapes are held, so nothing but the lever may move a figure."""
    spec, base = two_days
    same = measured(Case.of("nothing", {"about": "nothing"}).changed(spec))
    assert same.tapes == base.tapes
    for name, found in differences(base.values, same.values).items():
        assert found.difference == 0.0 and found.interval[:2] == (0.0, 0.0), name


def test_a_promise_changes_service_and_not_demand(two_days):
    """One day on offer: the same customers, more of them served, and most the next day."""
    spec, base = two_days
    case = measured(Case.of("one_day", {"scenario": {"promise_changes": []}}).changed(spec))
    assert {part for part in base.tapes if base.tapes[part] != case.tapes[part]} == {"promise"}
    assert (base.values["speed_share_1_day"] == 0.0).all()
    assert (case.values["speed_share_1_day"] > 50.0).all()
    assert (case.values["lost:slow_promise"] < base.values["lost:slow_promise"]).all()
    assert (case.values["sold"] > base.values["sold"]).all()
    assert (case.values["profit"] > base.values["profit"]).all()


def test_stock_is_counted_once_and_everywhere(two_days):
    """By place it sums to the whole; with the goods on order it is the network's position."""
    spec, base = two_days
    noted = []
    rule = agents.make("base_stock", {**spec, "split": "train"}, **RULE)
    evaluate(rule, spec, num_tapes=6, observer=lambda env: noted.append(env.state.position))
    for unit in ("units", "usd", "ft3"):
        places = [f"stock_{unit}:{p}" for p in (*base.places, "in transit")]
        total = np.sum([base.values[place] for place in places], axis=0)
        np.testing.assert_allclose(base.values[f"stock_{unit}:all"], total)
    owned = base.values["stock_units:all"] + base.values["stock_units:on order"]
    np.testing.assert_allclose(owned, np.mean([p.sum(axis=1) for p in noted], axis=0))
    assert base.places == ("cross-dock", "regional", "local")


def test_an_observer_sees_the_counted_steps_alone():
    """What is measured and what is paid must be of the same periods."""
    seen = []
    rule = agents.make("naive", SPEC)
    evaluate(rule, SPEC, num_tapes=2, warmup=14, observer=seen.append)
    assert len(seen) == 2


def test_freight_per_unit_times_units_is_what_was_paid(two_days):
    """The accounts are the ledger's."""
    spec, base = two_days
    rule = agents.make("base_stock", {**spec, "split": "train"}, **RULE)
    ledger = evaluate(rule, spec, num_tapes=6).ledger
    paid = base.values["freight:all"] * base.values["sold"] * SPEC["horizon"]
    booked = -(ledger["tariff"] + ledger["transfer"] + ledger["last_mile"])
    np.testing.assert_allclose(paid, booked)
    parts = [v for name, v in base.values.items() if name.startswith("freight:")]
    np.testing.assert_allclose(parts[0], np.sum(parts[1:], axis=0))


def test_causes_of_loss_add_up_to_what_was_not_sold(two_days):
    """Demand is sold or lost, whatever the lever."""
    spec, base = two_days
    envs = gym.make_vec(**spec, num_envs=6, split="test")
    envs.reset(seed=0)
    counted = slice(envs.unwrapped.world.burn_in, envs.unwrapped.world.burn_in + SPEC["horizon"])
    wanted = envs.unwrapped.tape.demand[counted].sum(axis=(0, 2, 3)) / SPEC["horizon"]
    envs.close()
    np.testing.assert_allclose(base.values["sold"] + base.values["lost:all"], wanted)


def test_a_textbook_problem_has_its_own_levers():
    """Any environment will do: what a case does not know is a keyword of the environment."""
    problem = {"demand": "poisson", "demand_mean": 5, "holding_cost": 1, "penalty_cost": 9}
    spec = textbook.lost_sales(**problem, lead_time=2, horizon=50)
    later = Case.of("later", {"scenario": {"lead_time": 4}}).changed(spec)
    assert later == textbook.lost_sales(**problem, lead_time=4, horizon=50)
    base, case = (
        measure(agents.make("constant_order", given, quantity=4.0), given, num_tapes=4)
        for given in (spec, later)
    )
    found = differences(base.values, case.values)
    assert found["profit"].difference != 0.0
    assert base.tapes["demand"] == case.tapes["demand"]
    with pytest.raises(ValueError, match="scenario: only a name, a file or data can be changed"):
        Case.of("room", {"times": {"local_space_days": 2.0}}).changed(spec)


@pytest.mark.parametrize("task, days", [("Replenishment", 8.0), ("Placement", 5.0)])
def test_factors_act_on_the_parameters_of_the_task(task, days):
    """Ten percent more local space is of the space that the task's worlds have."""
    spec = {"id": f"stockyard/{task}-v0", "scenario": "peak_event"}
    case = Case.of("x", {"times": {"local_space_days": 1.1}, "add": {"lead_days": -3}})
    data = case.changed(spec)["scenario"]
    assert data["retail"]["local_space_days"] == pytest.approx(1.1 * days)
    assert data["retail"]["lead_days"] == 10.0
    assert data["demand_changes"] == scenario_data("peak_event")["demand_changes"]


def test_fields_are_merged_and_lists_replaced():
    """A case says what it changes; the rest of the base's scenario stays."""
    base = {"like": "one_day_rollout", "retail": {"lead_days": 9.0}}
    case = Case.of("x", {"scenario": {"retail": {"local_space_days": 4.0}, "promise_changes": []}})
    data = case.changed({**SPEC, "scenario": base})["scenario"]
    assert data["retail"] == {"lead_days": 9.0, "local_space_days": 4.0}
    assert data["promise_changes"] == [] and data["name"] == "one_day_rollout"
    other = Case.of("x", {"scenario": {"like": "steady"}}).changed({**SPEC, "scenario": base})
    assert other["scenario"] == scenario_data("steady"), "with `like` nothing of the base is left"
    assert merged({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": []}) == {
        "a": {"b": 1, "d": 2},
        "c": [],
    }


def test_differences_are_paired():
    """What both cases share falls out; the ratio says how much."""
    rng = np.random.default_rng(0)
    luck, noise = rng.normal(0.0, 10.0, 400), rng.normal(0.0, 1.0, 400)
    found = differences({"profit": luck}, {"profit": luck + 2.0 + noise})["profit"]
    assert found.difference == pytest.approx(2.0 + noise.mean())
    assert found.interval.low < 2.0 < found.interval.high
    assert found.variance_ratio == pytest.approx(1.0 / 201.0, rel=0.2)
    assert found.share_higher > 0.9
    apart = differences({"profit": luck}, {"profit": rng.permutation(luck)})["profit"]
    assert apart.variance_ratio == pytest.approx(1.0, abs=0.2)


def test_undefined_tapes_and_rounding_are_left_out():
    """A tape without a sale has no cost per sale; the last digit of a sum is no difference."""
    old = np.array([1.0, np.nan, 3.0, 0.1 + 0.2])
    new = np.array([2.0, 5.0, np.nan, 0.3])
    found = differences({"x": old}, {"x": new})["x"]
    assert (found.base, found.case) == (pytest.approx(0.65), pytest.approx(1.15))
    assert found.share_higher == 0.5
    assert differences({"x": old[3:]}, {"x": new[3:]})["x"].difference == 0.0
    with pytest.raises(ValueError, match="x: 4 tapes"):
        differences({"x": old}, {"x": new[:2]})


def test_a_longer_lead_time_is_told_from_demand():
    """Checksums say which part of the tapes a lever moved."""
    parts = []
    for case in ({}, {"times": {"lead_days": 1.5}}, {"times": {"demand_mean": 1.5}}):
        spec = Case.of("x", case).changed(SPEC)
        envs = gym.make_vec(**spec, num_envs=2, split="test")
        envs.reset(seed=0)
        parts.append(checksums(envs.unwrapped.tape))
        envs.close()
    moved = [{k for k in parts[0] if parts[0][k] != other[k]} for other in parts[1:]]
    assert moved[0] == {"lead times and fill", "quoted lead times"}
    assert "demand" in moved[1]


def test_places_are_known_by_their_kind():
    """Any other network's nodes stand for themselves."""
    names = ("IXD Dallas", "FC New York", "FC-local-0 Chicago", "stage 2")
    assert [kind_of(name) for name in names] == ["cross-dock", "regional", "local", "stage 2"]


def of_task(name):
    """The environments that a shipped experiment is for."""
    if name in OF_SELLERS:
        return ["restock_limits"]
    return ["truck_fill"] if name in OF_TRUCKS else ["replenishment", "placement"]


@pytest.mark.parametrize(
    ("name", "env"),
    [(name, env) for name in SHIPPED for env in of_task(name)],
)
def test_every_shipped_experiment_can_be_run(name, env):
    """All its cases build in the environments it is for; the file's name is the experiment's."""
    config = composed(f"what_if={name}", f"env={env}", name="what_if")
    described = what_if.command_line.plain(config.what_if)
    assert described["name"] == name
    tasks = what_if.tasks_of(described, config)
    assert tasks[0].name == "base" and len(tasks) >= 3
    assert all(task.about for task in tasks)
    keys = {task.key for task in tasks}
    assert len(keys) == len(tasks), "two cases are the same"


@pytest.fixture
def place(place):
    """A folder with an experiment of the user's own."""
    (place / "conf" / "what_if").mkdir(parents=True)
    (place / "conf" / "what_if" / "mine.yaml").write_text(yaml.safe_dump(MINE, sort_keys=False))
    return place


@pytest.fixture
def command(place, command):
    """Runs the command in that folder."""
    return functools.partial(command, what_if)


def test_the_command_writes_table_page_numbers_and_picture(command):
    """All that a reader needs, and every case with its intervals."""
    code, out, err = command(*QUICK, "page=page.md")
    assert code == 0, err
    assert "What if days were shorter?" in out and "written: page.md" in out
    page = Path("page.md").read_text()
    assert "Made by `stockyard-what-if what_if=mine" in page and "](page.png)" in page
    assert "What customers want is the same in all cases" in page
    assert "## one_day" in page and "## more_room" in page
    assert Path("page.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads(Path("page.json").read_text())
    one_day, more_room = data["cases"]
    assert one_day["tapes_that_differ"] == ["promise"]
    assert more_room["tapes_that_differ"] == ["limits"]
    speed = one_day["differences"]["speed_share_1_day"]
    assert speed["base"] == 0.0 < speed["interval"]["low"] <= speed["difference"]


def test_finished_cases_are_not_run_again(command, monkeypatch):
    """Nor are those of an interrupted command; another number of tapes is another case."""
    ran = []
    run_case = what_if.run_case

    def counted(task, tell=None):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(task.name)
        return run_case(task, tell)

    with monkeypatch.context() as patch:
        patch.setattr(what_if, "run_case", counted)
        code, _, err = command(*QUICK)
    assert code == 1 and "interrupted" in err
    assert ran == ["base", "one_day"]
    finished = Path("runs/what_if/mine/cases/one_day.json").stat().st_mtime_ns

    ran.clear()
    with monkeypatch.context() as patch:
        patch.setattr(what_if, "run_case", counted)
        assert command(*QUICK)[0] == 0
        assert ran == ["more_room"]
        assert Path("runs/what_if/mine/cases/one_day.json").stat().st_mtime_ns == finished
        ran.clear()
        assert command(*QUICK, "tapes=2")[0] == 1 and ran == ["base", "one_day"]
    assert Path("runs/what_if/mine/page.md").is_file()


def test_a_case_takes_the_rule_that_the_base_was_tuned_to(command, monkeypatch):
    """Only so is the lever the one thing that differs; and a case may be tuned for itself."""
    tuned, scores = [], [0.0, np.inf, 0.0, -np.inf]

    def tune(name, spec, **_):
        tuned.append(spec["scenario"].get("retail"))
        assert name == "base_stock"
        return agents.TuningResult({"safety_factor": float(len(tuned))}, scores.pop(0), False, True)

    monkeypatch.setattr(agents, "tune", tune, raising=False)
    again = "++what_if.cases.more_room.retune=true"
    code, _, err = command(*QUICK, "++what_if.base.retune=true", again, "page=page.md")
    assert code == 0, err
    data = json.loads(Path("page.json").read_text())
    base, one_day, more_room = data["base"], *data["cases"]
    assert base["policy"] == one_day["policy"] == {"name": "base_stock", "safety_factor": 1.0}
    assert more_room["policy"]["safety_factor"] == 2.0
    assert tuned == [None, {"local_space_days": 12.0}]
    assert "tuned on training tapes for base, more_room" in Path("page.md").read_text()

    fresh = ["++what_if.base.retune=true", again, "page=page.md", "resume=false"]
    assert command(*QUICK, *fresh)[0] == 0
    data = json.loads(Path("page.json").read_text())
    base, more_room = data["base"], data["cases"][1]
    assert more_room["policy"] == base["policy"], "a rule that is worse in tuning is not taken"


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["++what_if.cases.x={scenario: {retail: {space: 2}}}"], "cases.x: retail: unknown field"),
        (["++what_if.cases.x={scenario: {colour: red}}"], "cases.x: scenario: unknown field"),
        (["++what_if.cases.x={times: {space: 2}}"], "cases.x: times: retail has no number 'space'"),
        (["++what_if.cases.x={times: {lead_days: long}}"], "x.times.lead_days: must be a number"),
        (["++what_if.cases.x={size: large}"], "cases.x.size: must be the same in all cases"),
        (["++what_if.cases.x={colour: red}"], "'colour'"),
        (["++what_if.cases.x={policy: clever}"], "cases.x: policy: unknown 'clever'"),
        (["++what_if.cases.x={retune: 3}"], "cases.x.retune: must be true or false"),
        (["++what_if.cases.x={rules: {place: none_such}}"], "cases.x: "),
        (["++what_if.cases.base={}"], "'base' is the name of the case to compare with"),
        (["what_if.cases=null"], "what_if.cases: must map names to cases"),
        (["++what_if.colour=red"], "what_if: unknown field 'colour'"),
        (
            ["policy=null", "++policies={stockyard/Replenishment-v0: null}"],
            "policy: none is set for stockyard/Replenishment-v0",
        ),
        (["tapes=0"], "tapes: must be >= 1"),
        (["split=holdout"], "split: unknown split"),
        (["tape=3"], "did you mean 'tapes'?"),
    ],
)
def test_mistakes_are_named_before_anything_runs(command, monkeypatch, overrides, message):
    """One line that names the field, and no traceback."""

    def refuse(task, tell=None):
        raise AssertionError("nothing may run")

    monkeypatch.setattr(what_if, "run_case", refuse)
    code, _, err = command(*QUICK, *overrides)
    assert code == 1
    assert message in err and "Traceback" not in err


def test_labels_are_found_for_all_that_is_measured(two_days):
    """A reader meets no name of the code."""
    for name in two_days[1].values:
        assert "_" not in what_if_page.label(name) and ":" not in what_if_page.label(name)


def test_terms_for_sellers_are_judged_by_an_objective():
    """Three surpluses stand beside it; promises kept by the rule are broken by nobody."""
    config = composed("what_if=predictable_limits", "env=restock_limits", "tapes=3", name="what_if")
    config.env.horizon = 84
    tasks = what_if.tasks_of(what_if.command_line.plain(config.what_if), config)
    free, kept = (what_if.run_case(task)["values"] for task in (tasks[0], tasks[-1]))
    assert "profit" not in free

    def surpluses(values):
        return sum(np.array(values[f"surplus:{p}"]) for p in ("retailer", "sellers", "customers"))

    assert (np.array(free["objective"]) < surpluses(free)).all()  # it breaks what it announced
    np.testing.assert_allclose(kept["broken_outlook"], 0.0, atol=1e-3)
    np.testing.assert_allclose(kept["objective"], surpluses(kept))
