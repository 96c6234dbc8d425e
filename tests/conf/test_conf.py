"""Every configuration file composes, and what it describes can be built."""

import inspect
from dataclasses import fields
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from composing import composed
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, MissingConfigException
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

import stockyard.conf
from stockyard import agents
from stockyard.agents import registered
from stockyard.agents.evaluation.rollout import build
from stockyard.agents.heuristics.base import Facts, search_of
from stockyard.agents.learners.sb3 import Learner
from stockyard.agents.learners.sb3_policy import algorithm_class
from stockyard.envs import textbook
from stockyard.envs.network.distributions import DISTRIBUTIONS
from stockyard.scripts import command_line
from stockyard.scripts.headroom_contest import Contest

CONF = Path(stockyard.conf.__file__).parent
PRIMARIES = (
    "config",
    "evaluate",
    "forecast",
    "headroom",
    "leaderboard",
    "optimality",
    "tune",
    "validate",
    "what_if",
)


def choices(group):
    """Names the files of a group, those in subfolders too."""
    folder = CONF / group
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def test_every_group_is_tested_here():
    """A group that no test knows would be the one that does not compose."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert groups == {
        "agent",
        "env",
        "experiment",
        "headroom",
        "launcher",
        "leaderboard",
        "optimality",
        "scenario",
        "tuned",
        "validate",
        "what_if",
    }
    assert {path.stem for path in CONF.glob("*.yaml")} == set(PRIMARIES)


@pytest.mark.wheel
@pytest.mark.parametrize("name", PRIMARIES)
def test_every_primary_configuration_resolves(name):
    """No interpolation points nowhere."""
    config = composed(name=name)
    assert OmegaConf.missing_keys(config) == set()
    OmegaConf.to_container(config, resolve=True)


@pytest.mark.wheel
@pytest.mark.parametrize("choice", choices("env"))
def test_every_environment_is_built(choice):
    """A file of the group is the constructor's arguments."""
    spec = command_line.specification(composed(f"env={choice}").env)
    command_line.check(spec)
    envs = gym.make_vec(num_envs=2, **spec)
    observation, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observation)
    envs.close()


@pytest.mark.parametrize("choice", choices("scenario"))
def test_every_scenario_reaches_the_environment(choice):
    """The name in the file is one that the environment knows."""
    spec = command_line.specification(composed(f"scenario={choice}").env)
    assert spec["scenario"] == choice
    command_line.check(spec)


def test_every_textbook_problem_has_a_file():
    """A problem without one cannot be trained on from the command line."""
    assert {p.stem for p in (CONF / "env" / "textbook").glob("*.yaml")} == set(textbook.PROBLEMS)


@pytest.mark.parametrize("choice", textbook.PROBLEMS)
def test_a_textbook_file_has_every_parameter_as_a_key(choice):
    """What is documented can be set without a plus."""
    file = OmegaConf.load(CONF / "env" / "textbook" / f"{choice}.yaml")
    named = {p.name for p in inspect.signature(getattr(textbook, choice)).parameters.values()}
    drawn = {f"demand_{f.name}" for kind in DISTRIBUTIONS.values() for f in fields(kind)}
    assert set(file) - {"_target_"} == (named - {"demand_parameters"}) | drawn
    path = CONF / "env" / "textbook" / f"{choice}.yaml"
    for line in path.read_text().splitlines():
        assert line.startswith(("_target_", "#")) or "  # " in line, line


@pytest.mark.parametrize("choice", textbook.PROBLEMS)
@pytest.mark.parametrize(
    "law",
    [
        "poisson demand_mean=3",
        "pmf demand_p=[0.5,0.5]",
        "deterministic demand_values=[1,2]",
        "gamma demand_mean=3 demand_sd=2",
        "uniform demand_low=1 demand_high=3",
    ],
)
def test_any_distribution_is_chosen_on_the_command_line(choice, law):
    """With plain keys: what the file has for its own distribution is not in the way."""
    name, _, given = law.partition(" ")
    overrides = [f"env=textbook/{choice}", f"env.demand={name}"]
    overrides += [f"env.{parameter}" for parameter in given.split()]
    spec = command_line.specification(composed(*overrides).env)
    command_line.check(spec)
    laws = getattr(spec["scenario"], "demand", None) or spec["scenario"].arrivals
    laws = laws if isinstance(laws, tuple) else (laws,)
    assert {type(law) for law in laws} == {DISTRIBUTIONS[name]}
    assert len(set(laws)) == 1


@pytest.mark.parametrize("choice", textbook.PROBLEMS)
def test_the_usual_policies_decide_what_the_environment_asks_for(choice):
    """Naming none must not end in an error about a policy that nobody named."""
    spec = command_line.specification(composed(f"env=textbook/{choice}").env)
    envs = gym.make_vec(num_envs=1, **spec)
    usual = command_line.usual_policies(spec, ["naive", "base_stock"])
    slots = set(envs.unwrapped.task.slots)
    assert usual[0] in registered()
    if choice == "dual_sourcing":
        assert usual == ["dual_index", "capped_dual_index"]
        levels = {"expedited_order_up_to": 4, "regular_order_up_to": 8}
        assert registered()[usual[0]].resolve()(envs, **levels).action_mode == "quantity"
        assert registered()[usual[1]].resolve()(envs, **levels, cap=2).action_mode == "quantity"
    elif slots == {"replenish"}:
        assert usual == ["naive", "base_stock"]
    elif slots == {"dispatch"}:
        assert registered()[usual[0]].resolve()(envs, threshold=3).action_mode == "quantity"
    else:
        levels = np.arange(envs.unwrapped.world.network.num_nodes) + 3.0
        made = registered()[usual[0]].resolve()(envs, order_up_to=levels.tolist())
        assert made.action_mode == "quantity"
    envs.close()


@pytest.mark.parametrize("choice", ["placement", "restock_limits", "truck_fill"])
def test_the_usual_policies_of_retail_tasks_decide_what_is_asked_for(choice):
    """The first can be tuned, and the last is the naive one."""
    spec = command_line.specification(composed(f"env={choice}").env)
    tunable, naive = command_line.usual_policies(spec, ["naive", "base_stock"])
    assert agents.make(naive, spec).action_mode == "quantity"
    rule = registered()[tunable].resolve()
    search = search_of(rule)
    facts = Facts(build(spec, num_envs=1, split="train", action_mode="quantity"))
    middle = {p.name: (p.low + p.high) / 2.0 for p in search.space(facts)}
    assert agents.make(tunable, spec, **search.parameters(facts, middle)).action_mode == "quantity"


@pytest.mark.parametrize(
    "override", ["integer=true", "backend=torch", "dtype=float32", "rules={place:fair_share}"]
)
def test_every_argument_of_the_environment_is_a_key(override):
    """What is documented can be set without a plus."""
    key = override.partition("=")[0]
    spec = command_line.specification(composed(f"env.{override}").env)
    assert key in spec and key not in command_line.specification(composed().env)


@pytest.mark.parametrize("choice", choices("agent"))
def test_every_setting_of_an_agent_differs_from_its_default_and_has_a_comment(choice):
    """Defaults live in Python; a number without a unit can be read in two ways."""
    path = CONF / "agent" / f"{choice}.yaml"
    agent = OmegaConf.to_container(OmegaConf.load(path))
    if agent["_target_"].endswith("sb3.Learner"):
        owners = (algorithm_class(agent["algorithm"]), Learner)
    else:
        owners = (get_class(agent["_target_"]),)
    defaults = {
        name: parameter.default
        for owner in owners
        for name, parameter in inspect.signature(owner).parameters.items()
    }
    for key, value in agent.items():
        given = tuple(value) if isinstance(value, list) else value
        # the settings of a learner of our own are listed to be found
        assert key.startswith("_") or key in defaults, key
        assert key.startswith("_") or owners[-1] is not Learner or defaults[key] != given, key
    words = ("_target_", "algorithm", "policy:", "policy_kwargs", "activation", "#")
    for line in path.read_text().splitlines():
        assert line.startswith(words) or "  # " in line, line


@pytest.mark.parametrize("choice", choices("agent"))
def test_every_agent_is_built(choice):
    """Every setting in the file is one that the algorithm knows."""
    config = composed(f"agent={choice}")
    assert instantiate(config.agent, _convert_="all").n_envs == config.n_envs


@pytest.mark.parametrize("choice", ["hindsight_retail", "ppo_shared"])
@pytest.mark.parametrize("structure", ["around", "steered"])
def test_a_retail_learner_takes_a_rule_without_a_plus(choice, structure):
    """The readme names `agent.structure` and `agent.rule`; each must be a key of the file."""
    rule = {"name": "pooled_reserve", "local_days": 5.0}
    named = "agent.rule={name:pooled_reserve,local_days:5.0}"
    config = composed(f"agent={choice}", f"agent.structure={structure}", named)
    assert instantiate(config.agent, _convert_="all").rule == rule
    assert instantiate(composed(f"agent={choice}").agent, _convert_="all").rule is None


@pytest.mark.parametrize("choice", choices("experiment"))
def test_every_experiment_overrules_the_defaults(choice):
    """What an experiment says is what is run, and it can be built."""
    said = OmegaConf.load(CONF / "experiment" / f"{choice}.yaml")
    config = composed(f"experiment={choice}")
    said["seed"] = config.seed  # which names the weights to start from
    for key, value in said.items():
        if key != "defaults":
            assert OmegaConf.to_container(OmegaConf.masked_copy(config, key)) is not None
            for path, leaf in leaves(value, str(key)):
                assert OmegaConf.select(config, path) == leaf, path
    command_line.check(command_line.specification(config.env))
    instantiate(config.agent, _convert_="all")


def leaves(value, path):
    """Walks over the values of a configuration."""
    if OmegaConf.is_dict(value):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    else:
        yield path, value


@pytest.mark.parametrize("choice", choices("headroom"))
def test_every_contest_names_rules_experiments_and_guests_that_there_are(choice):
    """A name that is wrong would show after hours, or be left out of the page without a word."""
    contest = Contest.from_config(composed(f"task={choice}", name="headroom"))
    rules = {contest.naive, *contest.rules, *contest.slow}
    assert rules <= set(registered()) and set(contest.costly) <= rules
    own = f"{choice}/"
    for name, given in contest.learners.items():
        if given["experiment"] is not None:
            assert given["experiment"] in choices("experiment"), name
            assert given["weights"] == own + name
        else:
            home, _, learner = given["weights"].partition("/")
            assert home != choice and home in choices("headroom"), name
            other = Contest.from_config(composed(f"task={home}", name="headroom")).learners
            assert learner in other and other[learner]["experiment"] is not None, name


@pytest.mark.parametrize("choice", choices("launcher"))
def test_every_launcher_is_hydra_s_of_that_name(choice):
    """The group is a short name for Hydra's own."""
    config = composed(f"launcher={choice}", return_hydra_config=True)
    assert choice in config.hydra.launcher._target_.lower()


@pytest.mark.parametrize(
    "override", ["total_stepss=1", "eval.evry=1", "env.sise=small", "agent.batchsize=1"]
)
def test_a_misspelt_key_is_refused(override):
    """A key that is ignored would be taken for one that was used."""
    with pytest.raises(ConfigCompositionException):
        composed(override)


def test_a_value_of_the_wrong_type_is_refused():
    """The schema knows what is a number."""
    with pytest.raises(ConfigCompositionException):
        composed("seed=abc")


def test_a_user_s_folder_composes_with_ours(monkeypatch, tmp_path):
    """$STOCKYARD_CONF and ./conf add choices, and replace ours of the same name."""
    named, here = tmp_path / "named", tmp_path / "here"
    for folder in (named, here / "conf"):
        (folder / "agent").mkdir(parents=True)
    (named / "agent" / "mine.yaml").write_text("n_envs: 1\n")
    (here / "conf" / "agent" / "local.yaml").write_text("n_envs: 2\n")
    (here / "conf" / "agent" / "a2c.yaml").write_text("n_envs: 3\n")
    (named / "agent" / "a2c.yaml").write_text("n_envs: 4\n")
    monkeypatch.chdir(here)
    with pytest.raises(MissingConfigException):
        composed("agent=mine")
    assert composed("agent=a2c").n_envs == 3
    monkeypatch.setenv("STOCKYARD_CONF", str(named))
    assert composed("agent=mine").n_envs == 1
    assert composed("agent=local").n_envs == 2
    assert composed("agent=a2c").n_envs == 4
    assert composed("agent=ppo").agent.algorithm == "PPO"


def test_other_applications_of_hydra_are_left_alone(monkeypatch, tmp_path):
    """A folder ./conf of someone else's program must not reach into it twice."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "stray.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("hydra.test_utils.configs", version_base="1.3"):
        with pytest.raises(MissingConfigException):
            compose("stray")
