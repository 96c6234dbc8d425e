"""The wheel holds every package folder, under one import name, and nothing else."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import gymnasium as gym
import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {"envs", "agents", "conf", "scripts"}
DATA = {"agents/weights", "agents/oracles/bounds"}
"""Folders that hold no Python; they ship as data of the package above them."""


def test_package_list_equals_the_folders():
    """Setuptools is told each folder by name, and one that is forgotten is missing in the wheel."""
    found = {
        "stockyard." + path.relative_to(ROOT).as_posix().replace("/", ".")
        for top in SETUPTOOLS["package-dir"].values()
        for path in [ROOT / top, *(ROOT / top).rglob("*")]
        if path.is_dir()
        and path.name != "__pycache__"
        and any(map(Path.is_file, path.iterdir()))
        and not any(path.is_relative_to(ROOT / data) for data in DATA)
    }
    assert found == set(SETUPTOOLS["packages"])


def test_every_file_of_a_package_is_shipped():
    """A data file whose kind is not listed would be there in a checkout only."""
    patterns = SETUPTOOLS["package-data"]["*"]
    for package in SETUPTOOLS["packages"]:
        folder = ROOT / package.removeprefix("stockyard.").replace(".", "/")
        for path in folder.iterdir():
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                assert any(path.match(pattern) for pattern in patterns), path


def test_weights_and_bounds_are_shipped():
    """Every file of a data folder matches a pattern of the package above."""
    patterns = SETUPTOOLS["package-data"]["stockyard.agents"]
    for folder in DATA:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                inside = path.relative_to(ROOT / "agents")
                assert any(inside.match(pattern) for pattern in patterns), path


def test_static_tools_see_the_same_folders():
    """Mypy follows the symlinks to what is installed as `stockyard`."""
    links = ROOT / ".links" / "stockyard"
    assert {link.name for link in links.iterdir()} == FOLDERS
    for link in links.iterdir():
        assert link.is_symlink() and link.resolve() == ROOT / link.name


@pytest.mark.wheel
def test_folders_are_imported_under_one_name_only():
    """A module that is imported twice has two of every class."""
    code = (
        "import sys, stockyard.envs, stockyard.agents, stockyard.conf, stockyard.scripts;"
        f"assert not {FOLDERS!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not FOLDERS & set(sys.modules)


@pytest.mark.wheel
def test_an_environment_is_made_without_importing_first():
    """The module in the id is all that a configuration of another program can say."""
    env = gym.make("stockyard.envs:stockyard/Replenishment-v0")
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    env.close()


@pytest.mark.wheel
@pytest.mark.parametrize("command", sorted(PROJECT["project"]["scripts"]))
def test_every_console_command_can_be_loaded(command):
    """A command that names a function which is not there fails at the user's."""
    assert callable(entry_points(group="console_scripts")[command].load())


def test_the_changelog_tells_what_is_unreleased():
    """Whoever upgrades looks there first."""
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased = text.split("## Unreleased")[1]
    assert [f"### {kind}" in unreleased for kind in ("Breaking", "New", "Fixed")] == [True] * 3
