"""A trajectory that moves needs a new version: results of before compare with none of after."""

import golden
import pytest

CASES = golden.cases()
RECORDED = golden.recorded()


def test_every_environment_of_a_board_is_recorded() -> None:
    """`python tests/support/golden.py` adds what is missing; entries of old versions may go."""
    assert sorted(RECORDED) == sorted(CASES)


@pytest.mark.parametrize("name", sorted(set(CASES) & set(RECORDED)))
def test_no_trajectory_moves_without_a_new_version(name: str) -> None:
    """Rewards and sums of observations; solvers and machines may differ in the last digits."""
    found, was = golden.played(CASES[name]), RECORDED[name]
    hint = f"{name}: a trajectory moved; give the environment id a new version"
    assert found["seen"].keys() == was["seen"].keys(), hint
    for step, (now, before) in enumerate(zip(found["rewards"], was["rewards"], strict=True)):
        assert now == pytest.approx(before, rel=1e-6, abs=1e-6), f"{hint}; reward of step {step}"
    for field, value in found["seen"].items():
        assert value == pytest.approx(was["seen"][field], rel=1e-5, abs=1e-5), f"{hint}; {field}"
