"""What the documents show must run."""

import doctest
import re
from pathlib import Path

from stockyard.envs import textbook

ROOT = Path(__file__).parent.parent


def test_the_readmes_example_runs(capsys):
    """The first code that a newcomer pastes must work as printed."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "(12,) 7" in capsys.readouterr().out


def test_docstring_examples_run():
    """An example that no longer runs misleads more than none."""
    result = doctest.testmod(textbook)
    assert result.attempted > 0
    assert result.failed == 0


def test_every_task_page_has_its_headings():
    """The class docstring is the documentation page."""
    from stockyard.envs.tasks.replenishment import Replenishment

    page = Replenishment.__doc__ or ""
    for heading in (
        "Description",
        "Action space",
        "Observation space",
        "Reward",
        "Starting state",
        "Episode end",
        "Arguments",
        "Info",
        "References",
        "Version history",
    ):
        assert f"## {heading}" in page


def test_the_page_names_every_field_of_the_observation():
    """A table that forgets a field is worse than code."""
    from stockyard.envs.scenarios import build_world
    from stockyard.envs.tasks.replenishment import Replenishment

    page = Replenishment.__doc__ or ""
    for name in Replenishment(build_world("steady")).observation_space().spaces:
        assert f"`{name}`" in page


def test_no_placeholder_is_left_in_the_documents():
    """A table that was to be filled in later tells a newcomer that nobody looked."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search(r"[A-Z]+_TABLE|PROFILE\b", path.read_text(encoding="utf-8")), path
