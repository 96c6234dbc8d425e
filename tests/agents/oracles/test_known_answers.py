"""The oracles reproduce every figure of the table of known answers.

Facts, tolerances and sources stand in `conf/validate/known_answers.yaml`.
"""

import dataclasses
import pathlib

import pytest

from stockyard.agents import oracles
from stockyard.agents.oracles import known_answers
from stockyard.agents.oracles.known_answers import Answer, Instance
from stockyard.agents.oracles.verification import Comparison, Exact, compare

TABLE = {instance.id: instance for instance in known_answers.load_table()}
SLOW = {"A4_geometric_L4_p19", "A4_geometric_L4_p39"}  # the largest tables
BEST = [
    (instance, answer)
    for instance in TABLE.values()
    for answer in instance.answers
    if answer.is_best
]


@pytest.mark.parametrize(
    "instance",
    [pytest.param(i, marks=pytest.mark.slow) if i.id in SLOW else i for i in TABLE.values()],
    ids=lambda instance: instance.id,
)
def test_oracles_reproduce(instance: Instance) -> None:
    """Optimal costs, costs of rules, best parameters, gaps, orders in named states."""
    compared = list(compare(instance))
    assert compared or instance.problem == "online_packing"
    for comparison in compared:
        assert comparison.agrees, comparison


@pytest.mark.parametrize(
    ("instance", "answer"),
    [pytest.param(i, a, marks=pytest.mark.slow) if i.id in SLOW else (i, a) for i, a in BEST],
    ids=[f"{instance.id}-{answer.policy}" for instance, answer in BEST],
)
def test_no_neighbour_of_the_best_parameters_costs_less(instance: Instance, answer: Answer) -> None:
    """One unit each way, in every parameter."""
    exact = Exact(instance)
    assert exact.least_around(answer) >= exact.cost(answer) * (1.0 - 1e-8)


@pytest.mark.parametrize(
    "instance",
    [i for i in TABLE.values() if i.id.startswith("A5_lr")],
    ids=lambda instance: instance.id,
)
def test_dual_sourcing_gaps_are_the_published_ones(instance: Instance) -> None:
    """Only gaps to the optimum are printed; ours agree to 0.01 points, the last digit printed."""
    exact = Exact(instance)
    rules = [answer for answer in instance.answers if answer.policy != "optimal"]
    assert len(rules) == 4
    for answer in rules:
        assert answer.published_gap is not None
        assert exact.gap(answer) == pytest.approx(float(answer.published_gap), abs=0.01)
        assert exact.gap(answer) == pytest.approx(answer.recorded_gap, abs=0.001)


@pytest.mark.parametrize(
    "instance",
    [i for i in TABLE.values() if i.id.startswith("A4_")],
    ids=lambda instance: instance.id,
)
def test_zipkins_table_is_met_where_ours_differs_by_rounding(instance: Instance) -> None:
    """Recorded optima round to the two decimals printed by Zipkin 2008 and Bijvank et al. 2015."""
    optimum = instance.answers[0]
    assert optimum.policy == "optimal" and optimum.published is not None
    assert abs(optimum.recorded - float(optimum.published)) <= 0.005 + 1e-9


def test_a_wrong_figure_is_reported() -> None:
    """A comparison that agrees with anything would prove nothing."""
    wrong = dataclasses.replace(TABLE["A1a"], answers=(Answer("optimal", recorded=2.0),))
    assert not next(compare(wrong)).agrees
    assert not Comparison("x", "y", [1.0], [1.0, 2.0], 1.0, None, 0.0).agrees
    named = Answer("optimal", {"order_up_to": 57.0}, level_error=0.1)
    assert not next(Exact(TABLE["A1a"]).compare(named)).agrees


def test_parameters_that_are_not_best_are_reported() -> None:
    """The search around best parameters must be able to fail."""
    exact = Exact(TABLE["A4_poisson_L1_p4"])
    answer = Answer("base_stock", {"order_up_to": 13})
    cost = oracles.policy_cost(exact.spec, "base_stock", order_up_to=13)
    assert exact.cost(answer) == cost
    assert exact.least_around(answer) < cost


# the format of a table

GOOD = """
instances:
  - id: mine
    problem: lost_sales
    parameters:
      {demand: poisson, demand_mean: 5, lead_time: 1, holding_cost: 1, penalty_cost: 4}
    tolerance: 1e-5
    answers:
      - optimal
      - {policy: base_stock, parameters: {order_up_to: 12}, published: "4.10", recorded: 4.1628}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("instances:", "instance:", "must hold a list of instances"),
        ("id: mine", "id: [", ": line "),
        ("lost_sales", "lost_sails", "entry 'mine', field problem: unknown 'lost_sails'; known: n"),
        ("    tolerance: 1e-5", "    exactness: 1", "entry 'mine', field exactness: unknown"),
        ("tolerance: 1e-5", "tolerance: soon", "entry 'mine', field tolerance: must be a number"),
        ("lead_time: 1", "lead_time: 1.5", "entry 'mine', field lead_time: must be a whole"),
        ("lead_time: 1, ", "", "entry 'mine', field lead_time: lost_sales needs it"),
        ("lead_time: 1", "lead_tyme: 1, lead_time: 1", "field lead_tyme: lost_sales has none; it"),
        ("demand: poisson", "demand: fish", "entry 'mine', field demand: unknown 'fish'; known"),
        ("demand_mean: 5", "demand_mean: -5", "entry 'mine', field demand_mean: must be finite"),
        ("      - optimal", "      - best", "entry 'mine', answer 1, field policy: unknown 'best'"),
        ("order_up_to: 12", "level: 12", "answer 2, field level: base_stock has none; it takes"),
        ("4.1628", "much", "answer 2, field recorded: must be a number"),
        ('"4.10"', "about 4", "answer 2, field published: must be a number"),
        ("policy: base_stock, ", "", "answer 2, field policy: must name a policy"),
    ],
)
def test_a_wrong_table_names_entry_and_field(
    tmp_path: pathlib.Path, old: str, new: str, message: str
) -> None:
    """One line that says where to look."""
    assert GOOD.count(old) == 1
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError) as caught:
        known_answers.load_table(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_instances_are_unique_and_may_be_left_out(tmp_path: pathlib.Path) -> None:
    """Rows are told apart by them."""
    file = tmp_path / "mine.yaml"
    entry = GOOD.split("instances:\n")[1]
    file.write_text(GOOD + entry)
    with pytest.raises(ValueError, match="entry 'mine', field id: occurs twice"):
        known_answers.load_table(file)
    file.write_text(GOOD + entry.replace("id: mine\n    ", ""))
    assert [instance.id for instance in known_answers.load_table(file)] == ["mine", "instance-2"]
    first = known_answers.load_table(file)[0]
    assert first.answers[1].published == "4.10"
    assert first.tolerance == 1e-5
