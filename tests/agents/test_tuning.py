"""The tuner finds known optima, and only ever sees training tapes."""

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


def test_a_rule_without_parameters_cannot_be_tuned():
    """The message lists the rules that can."""
    with pytest.raises(ValueError, match="nothing to tune"):
        agents.tune("naive", NEWSVENDOR, tapes=2)
