"""What the commands share: one clear line for a mistake, and environments from configurations."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import stockyard.conf

SPLITS = ("train", "validation", "test")
"""The families of tapes."""

_FULL_ERROR = "HYDRA_FULL_ERROR"
_tracebacks = {"kept": True}  # until `run` finds that the user did not ask for them


class UserError(Exception):
    """A mistake of the user, told in one line and without a traceback."""


def run(command: Callable[[], Any], keys: type) -> None:
    """Runs a Hydra command; a mistake of the user ends in one line and exit code 1.

    With HYDRA_FULL_ERROR=1 the traceback is kept.

    Args:
        command: What `hydra.main` made.
        keys: The schema of its configuration, to suggest the key that was meant.
    """
    full = os.environ.get(_FULL_ERROR)
    if full == "1":
        command()
        return
    # Hydra prints several lines and exits unless this is set; then it lets the error through.
    os.environ[_FULL_ERROR] = "1"
    _tracebacks["kept"] = False
    try:
        command()
    except (UserError, HydraException, OmegaConfBaseException, NotADirectoryError) as error:
        sys.exit(f"error: {one_line(error, keys)}")
    finally:
        _tracebacks["kept"] = True
        if full is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = full


@contextmanager
def explained() -> Iterator[None]:
    """Takes what goes wrong inside, while a run is set up, as a mistake of the user."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, HydraException) as error:
        raise UserError(one_line(_root_cause(error))) from error


@contextmanager
def single_run_exits() -> Iterator[None]:
    """Ends a single run at a mistake without the line that Hydra would add.

    In a sweep that line says which run it was, so there the error goes on to Hydra.
    """
    try:
        yield
    except UserError as error:
        _remove_if_empty(output_folder())
        if _tracebacks["kept"] or HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {one_line(error)}")


def specification(config: Any) -> dict[str, Any]:
    """Turns the `env` part of a configuration into the keyword arguments of `make_vec`."""
    built = instantiate(config, _convert_="all")
    if not isinstance(built, Mapping):
        raise ValueError(f"env must give a mapping of keyword arguments, not {built!r}")
    chosen = {str(key): value for key, value in built.items() if value is not None}
    scenario = chosen.get("scenario")
    if isinstance(scenario, Mapping) and set(scenario) == {"name"}:  # one that comes with us
        chosen["scenario"] = scenario["name"]
    return chosen


def check(spec: Mapping[str, Any]) -> None:
    """Builds the environment once and closes it, so that a wrong value shows before the work.

    A mixture is checked world by world.
    """
    import gymnasium as gym

    import stockyard.envs  # noqa: F401  (registers the ids)
    from stockyard.agents.learners.mixture import worlds_of

    try:
        for world in worlds_of(spec).values():
            gym.make_vec(**{**world, "num_envs": 1}).close()
    except gym.error.Error as error:
        raise ValueError(str(error)) from error


def check_split(split: str, key: str = "split") -> None:
    """Refuses a family of tapes that is none.

    Args:
        split: The family.
        key: Where it stands in the configuration.
    """
    if split not in SPLITS:
        raise ValueError(f"{key}: unknown split {split!r}; known: {', '.join(SPLITS)}")


def training(config: DictConfig) -> dict[str, Any]:
    """Returns what a learner's `train` takes from the configuration of `stockyard-train`."""
    return {
        "total_steps": config.total_steps,
        "n_envs": config.n_envs,
        "seed": config.seed,
        "eval_tapes": config.eval.tapes,
        "eval_every": config.eval.every,
        "eval_seed": config.eval.seed,
        "eval_split": config.eval.split,
        "checkpoint_every": config.checkpoint.every,
        "checkpoint_keep": config.checkpoint.keep,
        "description": plain(config.env),
    }


def build_policy(entry: Any, env: Mapping[str, Any], which: str = "best") -> tuple[str, Any]:
    """Builds a policy from its line in a configuration.

    Args:
        entry: The name of a heuristic, a mapping of its name and parameters, or the path of a run
            folder.
        env: The specification of the environment.
        which: "best" or "last", of a run folder.

    Returns:
        The name to show, and the policy.
    """
    from stockyard import agents

    if isinstance(entry, Mapping):
        parameters = {str(key): value for key, value in entry.items()}
        name = parameters.pop("name", None)
        if name is None:
            raise ValueError(f"a policy with parameters needs a name: {dict(entry)}")
        label = ", ".join(f"{key}={value}" for key, value in parameters.items())
        return f"{name}({label})" if label else name, agents.make(name, env, **parameters)
    text = str(entry)
    if text in agents.registered():
        return text, agents.make(text, env)
    if Path(text).is_dir() or os.sep in text:
        return text, agents.load(text, which)
    known = ", ".join(agents.registered())
    raise ValueError(f"unknown policy {text!r}; known: {known}; a run folder goes by its path")


OF_SLOTS = {
    ("place", "replenish"): ["echelon_base_stock"],
    ("place",): ["forecast_share_push", "hub_only"],
    ("restock",): ["forecast_need", "no_limit"],
    ("dispatch",): ["due_and_top_up", "all_now"],
}
"""What is decided -> heuristics to compare with, one to tune first, where the user names none."""


def usual_policies(env: Mapping[str, Any], wanted: list[str]) -> list[str]:
    """Names the heuristics to compare with where the user names none.

    Args:
        env: The specification of the environment.
        wanted: Those for an environment in which nothing but orders of one supplier is decided.
    """
    import gymnasium as gym

    import stockyard.envs  # noqa: F401  (registers the ids)

    built = gym.make_vec(**{**env, "num_envs": 1})
    try:
        base: Any = built.unwrapped
        slots = set(getattr(getattr(base, "task", None), "slots", ("replenish",)))
        if _has_two_suppliers(built):
            return ["dual_index", "capped_dual_index"]
        if slots == {"dispatch"} and getattr(base.world.network, "freight", None) is None:
            return ["control_limit"]
    finally:
        built.close()
    return OF_SLOTS.get(tuple(sorted(slots)), wanted)


def _has_two_suppliers(env: Any) -> bool:
    """Tells whether the rules for two suppliers of one product can decide here."""
    from stockyard.agents.heuristics.base import Facts
    from stockyard.agents.heuristics.dual_sourcing import expedited_lead_time

    try:
        expedited_lead_time(Facts(env), "dual_index")
    except ValueError:
        return False
    return True


def plain(config: Any) -> Any:
    """Turns a configuration into plain, resolved Python."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def output_folder() -> Path:
    """Returns the folder that Hydra made for this run."""
    return Path(HydraConfig.get().runtime.output_dir)


def chosen_overrides() -> list[str]:
    """Returns the overrides on the command line of this run."""
    return list(HydraConfig.get().overrides.task)


def resolved_yaml(config: DictConfig) -> str:
    """Writes a configuration out, interpolations resolved."""
    return OmegaConf.to_yaml(config, resolve=True)


def one_line(error: BaseException, keys: type | None = None) -> str:
    """Says in one line what was wrong.

    Args:
        error: What went wrong.
        keys: The schema from which to suggest the key that was meant.
    """
    cause = error.__cause__
    details = f"{error}\n{cause or ''}"
    if re.search(r"Key '\w+' (is )?not in", details):
        key = re.findall(r"full_key: (\S+)", details)[-1:] or re.findall(r"Key '(\w+)'", details)
        near = difflib.get_close_matches(key[0], _keys(keys), n=1, cutoff=0.75)
        return f"there is no key {key[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    head, _, options = str(error).split("Config search path:")[0].partition("Available options in")
    text = " ".join(head.split())
    if options:
        group, _, names = options.partition(":")
        known = sorted({*names.split(), *_installed(group.strip(" '"))})
        return f"{text}; known: {', '.join(known)}"
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {str(cause).splitlines()[0]}"
    return text.split(" See https://")[0] or type(error).__name__


def _keys(schema: type | None, prefix: str = "") -> list[str]:
    """Lists the keys of a schema, those of its parts with their prefix."""
    names = []
    for item in fields(schema) if schema is not None and is_dataclass(schema) else ():
        names.append(prefix + item.name)
        if isinstance(item.type, type) and is_dataclass(item.type):
            names += _keys(item.type, f"{prefix}{item.name}.")
    return names


def _installed(group: str) -> list[str]:
    """Lists the installed files of a group; Hydra's own list leaves out those in subfolders."""
    folder = Path(stockyard.conf.__file__).parent / group
    return [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")]


def _root_cause(error: BaseException) -> BaseException:
    """Finds what a failed instantiation was about."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _remove_if_empty(folder: Path) -> None:
    """Removes the folder that Hydra made for a run that never began."""
    here = Path.cwd()
    while folder != here and folder.is_relative_to(here):
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
        folder = folder.parent
