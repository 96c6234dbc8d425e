"""The registry of policies."""

import subprocess
import sys

import pytest
import tiny_network

from stockyard.agents import policy as policies


@pytest.fixture
def registry(monkeypatch):
    """A registry of one heuristic."""
    monkeypatch.setattr(policies, "_REGISTRY", {})
    policies.register("constant", "tiny_network:constant", summary="always the same")
    return policies


def test_a_policy_is_made_by_name_with_its_parameters(registry):
    """A name and parameters are all that a configuration can say."""
    made = registry.make("constant", {"id": tiny_network.ID}, quantity=7.0)
    assert made.quantity == 7.0
    assert isinstance(made, policies.Policy)


def test_an_unknown_name_lists_the_known_ones(registry):
    """Whoever misspells a name wants to see the right one."""
    with pytest.raises(ValueError, match="unknown heuristic 'konstant'; known: constant"):
        registry.make("konstant", {"id": tiny_network.ID})


def test_an_unknown_parameter_is_named_with_the_known_ones(registry):
    """A parameter that is ignored would be taken for one that was used."""
    with pytest.raises(ValueError, match="no parameter 'amount'; it takes: quantity"):
        registry.make("constant", {"id": tiny_network.ID}, amount=7.0)


def test_a_name_cannot_be_taken_twice(registry):
    """The second would silently replace the first in every table."""
    registry.register("constant", "tiny_network:constant")
    with pytest.raises(ValueError, match="already registered"):
        registry.register("constant", "tiny_network:Constant")


def test_a_folder_without_a_record_is_refused_in_one_line(tmp_path):
    """A wrong path is the commonest mistake of all."""
    with pytest.raises(FileNotFoundError, match="is not a run folder: it has no run") as caught:
        policies.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_record_of_unknown_kind_is_refused(tmp_path):
    """A run of a learner that is not installed cannot be loaded, and should say so."""
    (tmp_path / "run.json").write_text('{"kind": "crystal_ball"}')
    with pytest.raises(ValueError, match="unknown kind 'crystal_ball'; known: sb3"):
        policies.load(tmp_path)


@pytest.mark.wheel
def test_importing_the_agents_imports_no_trainer():
    """Heuristics and tables must not wait for torch."""
    code = (
        "import sys, stockyard.agents as a; "
        "assert not {'torch', 'stable_baselines3', 'scipy.stats'} & set(sys.modules); "
        "a.evaluate; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
