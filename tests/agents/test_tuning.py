"""The tuner finds known optima, and only ever sees training tapes."""

import json

import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents import tuning
from stockyard.agents.heuristics.base import Parameter, Search, as_searched
from stockyard.agents.tuning import _search_line
from stockyard.envs import textbook

NEWSVENDOR = textbook.newsvendor(
    textbook.Poisson(50), holding_cost=0.18, penalty_cost=0.7, horizon=200
)


@pytest.mark.wheel
def test_tuned_base_stock_finds_the_newsvendor_level():
    """Poisson(50), h = .18, p = .7: the optimum is 56 (stockpyl, exact enumeration)."""
    result = agents.tune("base_stock", NEWSVENDOR, tapes=64)
    assert abs(result.parameters["order_up_to"] - 56) <= 1
    assert result.converged and not result.on_edge
    assert result.score == max(point["score"] for point in result.history)


def test_tuning_is_deterministic():
    """Same seed, same tapes, same parameters."""
    runs = [agents.tune("base_stock", NEWSVENDOR, tapes=8, seed=3) for _ in range(2)]
    assert runs[0] == runs[1]


def test_search_moves_past_the_edge_of_its_grid():
    """A tuned rule may not sit on the edge of its grid."""
    parameter = Parameter("x", 0.0, 1.0)
    best, bracket = (0.5,), (0.0, 1.0)
    for _ in range(40):
        best, bracket, _ = _search_line(parameter, bracket, best, 0, lambda v: -((v[0] - 7.3) ** 2))
    assert best[0] == pytest.approx(7.3, abs=0.01)


def test_search_stops_at_a_limit():
    """A cap on orders cannot be negative, however good the score looks there."""
    parameter = Parameter("x", 0.0, 1.0, least=0.0)
    best, bracket = (0.5,), (0.0, 1.0)
    for _ in range(20):
        best, bracket, _ = _search_line(parameter, bracket, best, 0, lambda v: -v[0])
    assert best == (0.0,)


def test_a_polished_search_stays_where_a_parameter_does_nothing():
    """Scores that are all the same would else lead it away for ever."""
    parameter = Parameter("x", 0.0, 1.0)
    flat = _search_line(parameter, (0.0, 1.0), (0.5,), 0, lambda v: 1.0, polishes=True)
    assert flat == ((0.5,), (0.25, 0.75), False)
    rising = _search_line(parameter, (0.0, 1.0), (0.5,), 0, lambda v: v[0], polishes=True)
    assert rising[0] == (1.0,) and rising[2]


def test_polishing_does_not_end_on_an_edge():
    """One line may be fine already when the other still leads away."""
    space = (Parameter("x", -0.1, 0.1), Parameter("y", -0.1, 0.1))
    best, _, edges = tuning._by_coordinates(
        space,
        lambda v: -((v[0] - 0.25) ** 2) - 0.1 * (v[1] - v[0]) ** 2,
        lambda stage, best: None,
        tuning.POLISH_ROUNDS,
        tuning.POLISH_FINEST,
        polishes=True,
    )
    assert not any(edges) and best[0] > 0.1


def test_a_search_that_runs_out_of_rounds_says_so(monkeypatch):
    """Parameters of an unfinished search must not pass for tuned ones."""
    monkeypatch.setattr(tuning, "ROUNDS", 1)
    result = agents.tune("base_stock", NEWSVENDOR, tapes=2)
    assert not result.converged


def test_a_best_on_the_edge_of_the_last_grid_is_told(monkeypatch):
    """Better may lie beyond, although nothing forbids to go there."""
    space = (Parameter("order_up_to", 10.0, 14.0, integer=True),)
    search = Search(lambda facts: space, as_searched)
    monkeypatch.setattr(tuning, "search_of", lambda factory: search)
    monkeypatch.setattr(tuning, "ROUNDS", 2)
    result = agents.tune("base_stock", NEWSVENDOR, tapes=2)
    assert result.on_edge and not result.converged


def test_a_best_at_a_limit_is_no_edge(monkeypatch):
    """Nothing lies beyond a limit, and whoever reads the result sees which one it is."""
    space = (Parameter("order_up_to", 40.0, 48.0, integer=True, most=48.0),)
    monkeypatch.setattr(
        tuning, "search_of", lambda factory: Search(lambda facts: space, as_searched)
    )
    result = agents.tune("base_stock", NEWSVENDOR, tapes=4)
    assert result.at_limit == ("order_up_to",) and not result.on_edge and result.converged


def test_a_study_finds_the_newsvendor_level_too():
    """Trials first, neighbours of the best then; the same again by the same seed."""
    results = [agents.tune("base_stock", NEWSVENDOR, method="tpe", trials=12) for _ in range(2)]
    assert results[0] == results[1] and results[0].method == "tpe"
    assert abs(results[0].parameters["order_up_to"] - 56) <= 1
    assert results[0].converged and not results[0].on_edge
    assert results[0].score == pytest.approx(agents.tune("base_stock", NEWSVENDOR).score, rel=1e-3)


def test_a_study_that_goes_on_tries_nothing_twice(tmp_path, monkeypatch):
    """The same file and more trials: what was scored is known."""
    file, calls = tmp_path / "study.db", []
    given = {"tapes": 4, "method": "tpe", "storage": file}
    first = agents.tune("base_stock", NEWSVENDOR, trials=10, **given)
    score = tuning._Scorer.__call__

    def counted(self, values, report=None):
        calls.append(values not in self.tried)
        return score(self, values, report)

    monkeypatch.setattr(tuning._Scorer, "__call__", counted)
    again = agents.tune("base_stock", NEWSVENDOR, trials=10, **given)
    assert again.parameters == first.parameters and again.score == first.score
    with pytest.raises(ValueError, match="something else"):
        agents.tune("base_stock", NEWSVENDOR, trials=10, **{**given, "tapes": 5})


def test_batches_of_tapes_make_the_same_score():
    """A study that can end trials early scores the others as if it could not."""
    whole = agents.tune("base_stock", NEWSVENDOR, tapes=10, method="tpe", trials=9, batches=1)
    parts = agents.tune("base_stock", NEWSVENDOR, tapes=10, method="tpe", trials=9, batches=3)
    known = {point["order_up_to"]: point["score"] for point in whole.history}
    common = [point for point in parts.history if point["order_up_to"] in known]
    assert common
    for point in common:
        assert point["score"] == pytest.approx(known[point["order_up_to"]])


def test_an_unknown_method_is_named():
    """Before any tape is drawn."""
    with pytest.raises(ValueError, match="known: coordinate, tpe"):
        agents.tune("base_stock", NEWSVENDOR, method="grid")


def test_a_rule_without_parameters_cannot_be_tuned():
    """The message lists the rules that can."""
    with pytest.raises(ValueError, match="nothing to tune"):
        agents.tune("naive", NEWSVENDOR, tapes=2)


SHORT = {"horizon": 40}
POISSON = textbook.Poisson(4)
IN_RETAIL = (
    *("dual_balancing", "priced_newsvendor", "space_priced_newsvendor", "smoothed_base_stock"),
    *("capacity_priced_newsvendor", "prebuilding_newsvendor", "forecast_mpc"),
)
"""Rules that have something to tune in retail worlds only."""

TUNABLE = {
    "constant_order": textbook.lost_sales(POISSON, 1, 1, 9, **SHORT),
    "base_stock": textbook.shared_capacity([POISSON] * 2, 9, 1, [9, 4], **SHORT),
    "capped_base_stock": textbook.spillover(POISSON, 1, 9, 2, num_locations=2, **SHORT),
    "s_S": textbook.setup_cost(POISSON, 1, 9, 30, **SHORT),
    "modified_s_S": textbook.lost_sales(POISSON, 1, 1, 9, 5, **SHORT),
    "r_Q": textbook.setup_cost(textbook.Normal(4, 1), 1, 9, 30, **SHORT),
    "projected_inventory_level": textbook.lost_sales(POISSON, 1, 1, 9, **SHORT),
    "single_index": textbook.dual_sourcing(POISSON, 2, 0, 1, 2, 1, 9, **SHORT),
    "dual_index": textbook.dual_sourcing(textbook.Normal(4, 1), 2, 0, 1, 2, 1, 9, **SHORT),
    "capped_dual_index": textbook.dual_sourcing(POISSON, 2, 1, 1, 2, 1, 9, **SHORT),
    "tailored_base_surge": textbook.dual_sourcing(POISSON, 2, 0, 1, 2, 1, 9, **SHORT),
    "echelon_base_stock": textbook.one_warehouse([POISSON] * 3, 1, 1, 1, 2, 9, **SHORT),
    "control_limit": textbook.batch_dispatch(POISSON, 10, 20, 1, **SHORT),
    **dict.fromkeys(IN_RETAIL, {"id": "stockyard/Replenishment-v0", "horizon": 14}),
}

CONTINUOUS = ("constant_order", "projected_inventory_level", "r_Q", "dual_index", *IN_RETAIL)
"""Tuned where demand is Normal, or by a parameter that is no number of units."""


def test_every_rule_with_a_search_is_tried_below():
    """A new rule must tune itself somewhere."""
    have = {
        name
        for name, entry in agents.registered().items()
        if tuning.search_of(entry.resolve())
        and not any(
            p in entry.factory_path for p in ("placement", "restock", "commitment", "truck")
        )
    }  # rules that place stock, limit sellers or fill trucks are tuned by tests of their own
    assert set(TUNABLE) <= have and have - set(TUNABLE) <= {"steady_five"}


@pytest.mark.parametrize("name", TUNABLE)
def test_tuned_parameters_are_those_that_make_takes(name, monkeypatch):
    """A search may run in other coordinates; what it returns may be printed, kept and given."""
    problem = TUNABLE[name]
    if name in IN_RETAIL:  # a candidate takes longer there
        monkeypatch.setattr(tuning, "ROUNDS", 1)
    result = agents.tune(name, problem, tapes=4)
    assert json.loads(json.dumps(result.parameters)) == result.parameters
    run = agents.evaluate(
        agents.make(name, problem, **result.parameters), problem, num_tapes=4, split="train"
    )
    assert run.mean == pytest.approx(result.score)
    flat = np.hstack(list(result.parameters.values()))
    assert np.issubdtype(flat.dtype, np.integer) or name in CONTINUOUS  # whole units, whole numbers
    assert len(result.history) < 250  # a minute is 500 candidates of a thousand periods


def test_a_rule_without_its_parameters_tunes_itself():
    """`make` needs no numbers that nobody knows."""
    problem = TUNABLE["control_limit"]
    rule = agents.make("control_limit", problem)
    given = agents.make(
        "control_limit", problem, **agents.tune("control_limit", problem).parameters
    )
    seen = {"parcels": np.array([[0.0, 0.0, float(n)] for n in range(12)])}
    seen |= {"inventory_position": np.zeros((12, 1)), "on_hand": np.zeros((12, 1))}
    assert (rule.predict(seen)[0] == given.predict(seen)[0]).all()


@pytest.mark.parametrize(
    ("name", "problem", "optimal"),
    [
        (  # two valleys: one order a period, or one in two (Zheng & Federgruen 1991)
            "s_S",
            textbook.setup_cost(textbook.Poisson(65), 1, 9, 64, horizon=300),
            {"reorder_point": 56, "order_up_to": 75},
        ),
        (  # a ridge along the pipeline (Gijsbrechts et al. 2022)
            "single_index",
            textbook.dual_sourcing(textbook.Uniform(0, 4), 4, 0, 100, 110, 5, 495, horizon=300),
            {"order_up_to": 8, "expedited_order_up_to": 7},
        ),
        (
            "capped_dual_index",
            textbook.dual_sourcing(textbook.Uniform(0, 4), 2, 0, 100, 110, 5, 495, horizon=300),
            {"expedited_order_up_to": 4, "regular_order_up_to": 8, "cap": 2},
        ),
        (  # units of one product are had by giving up another's
            "base_stock",
            textbook.shared_capacity(
                [textbook.Poisson(4), textbook.Poisson(6), textbook.Poisson(9)],
                18,
                1,
                [5, 3, 4],
                horizon=300,
            ),
            {"order_up_to": [4, 5, 9]},
        ),
        (
            "echelon_base_stock",
            textbook.serial(textbook.Normal(5, 1), [0, 1, 2], [7, 4, 2], 37.12, horizon=300),
            {"order_up_to": [6.49, 12.02, 22.71]},
        ),
    ],
    ids=["s_S", "single_index", "capped_dual_index", "products", "serial"],
)
def test_tuned_rules_come_close_to_the_known_optimum(name, problem, optimal):
    """On other tapes within half a per cent of the exact parameters, all tapes in common."""

    def cost(parameters):
        rule = agents.make(name, problem, **parameters)
        return -agents.evaluate(rule, problem, num_tapes=200, warmup=50).mean

    result = agents.tune(name, problem, tapes=32)
    assert result.converged
    assert cost(result.parameters) <= 1.005 * cost(optimal)
