"""Who competes: what a submission says of itself, and how its policies are made.

A submission from outside is a folder with a `submission.yaml`; the rules and trained agents of the
house are made into the same thing from their configurations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Entry
from stockyard.agents.evaluation.leaderboard.digests import digest, file_digest

FILE = "submission.yaml"

KINDS = ("heuristic", "optimiser", "learner", "other")
"""Kinds of policies, which the page tells apart."""

SAFE_RUNS = ("hindsight", "shared_ppo")
"""Kinds of run folders whose weights are plain tensors."""

PICKLES = (
    "its weights are a Stable-Baselines3 archive, and opening one unpickles it, which runs any "
    "code that whoever made it has put there; if you trust them, allow it with pickles=true"
)

FORMS = ("policy", "run", "torchscript")
"""The ways in which a submission may bring its policy."""

_FIELDS = {
    "name": "of the row: letters, digits, _ . + and -",
    "kind": "heuristic, optimiser, learner or other",
    "about": "one line",
    "authors": "a list of names",
    "link": "where to read more; may be empty",
    "command": "what makes the policy again",
    "training": "{steps: of the environment, cpu_hours: of all seeds together}",
    "seeds": "training seeds, at least three for a learner; the policy is made once for each",
    "tracks": "of the benchmark in which it takes part",
    "policy": "module:make_policy in this folder",
    "run": "folder of stockyard-train, with {seed} where there are several",
    "torchscript": "file of a scripted module, with {seed} where there are several",
    "action": "action mode of a scripted module",
}

Recipe = dict[str, Any]


@dataclass(frozen=True)
class Submission:
    """One row of a board."""

    name: str
    kind: str
    about: str = ""  # one line
    authors: tuple[str, ...] = ()
    link: str = ""
    command: str = ""
    steps: int = 0  # of the environment, in training, of all seeds together
    cpu_hours: float = 0.0  # of training or tuning
    seeds: tuple[int, ...] = (0,)
    # (entry, seed) -> how the policy is made there, JSON; see `child.make`
    recipes: dict[tuple[str, int], Recipe] = field(default_factory=dict)
    digests: dict[tuple[str, int], str] = field(default_factory=dict)  # of what it is made from
    folder: str = "."
    slow: bool = False  # plays on `slow_tapes`
    is_house: bool = False

    @property
    def digest(self) -> str:
        """Changes with anything that it is made from, in any entry."""
        return digest({f"{entry} {seed}": text for (entry, seed), text in self.digests.items()})

    def entries(self, benchmark: Benchmark) -> list[Entry]:
        """The entries of a benchmark in which it takes part."""
        known = {entry for entry, _ in self.recipes}
        return [entry for entry in benchmark.entries if entry.key in known]

    def told(self) -> dict[str, Any]:
        """What a board says of it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "authors": list(self.authors),
            "link": self.link,
            "command": self.command,
            "steps": self.steps,
            "cpu_hours": self.cpu_hours,
            "seeds": list(self.seeds),
            "slow": self.slow,
            "is_house": self.is_house,
            "digest": self.digest,
        }


def read(folder: str | Path, benchmark: Benchmark, *, pickles: bool = False) -> Submission:
    """Reads the submission in a folder.

    Args:
        folder: with a `submission.yaml`.
        benchmark: for which it is read.
        pickles: whether weights may be opened by unpickling, which runs code.

    Raises:
        ValueError: naming the field that is wrong, and what it may be.
    """
    place = Path(folder).resolve()
    if not (place / FILE).is_file():
        raise ValueError(f"{folder}: has no {FILE}; `stockyard-leaderboard new` writes one")
    data = yaml.safe_load((place / FILE).read_text(encoding="utf-8"))
    try:
        return _submission(place, data, benchmark, pickles)
    except ValueError as error:
        raise ValueError(f"{Path(folder) / FILE}: {error}") from None


def _submission(place: Path, data: Any, benchmark: Benchmark, pickles: bool) -> Submission:
    if not isinstance(data, Mapping):
        raise ValueError("must be a mapping of fields")
    for key in data:
        if key not in _FIELDS:
            raise ValueError(f"{key}: no such field; known: {', '.join(_FIELDS)}")
    given = {str(key): value for key, value in data.items() if value is not None}
    for key in ("name", "kind", "tracks"):
        if not given.get(key):
            raise ValueError(f"{key}: missing ({_FIELDS[key]})")
    if not re.fullmatch(r"[\w.+-]{1,60}", str(given["name"])):
        raise ValueError(f"name: must be {_FIELDS['name']}; got {given['name']!r}")
    if given["kind"] not in KINDS:
        raise ValueError(f"kind: unknown {given['kind']!r}; known: {', '.join(KINDS)}")
    forms = [form for form in FORMS if form in given]
    if len(forms) != 1:
        raise ValueError(f"give one of {', '.join(FORMS)}; given: {', '.join(forms) or 'none'}")
    seeds = given.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"seeds: must be a list of whole numbers; got {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: must differ; got {seeds}")
    tracks = given["tracks"]
    if not isinstance(tracks, list):
        raise ValueError(f"tracks: must be a list; got {tracks!r}")
    entries = [entry for name in tracks for entry in benchmark.track(str(name)).entries]
    training = given.get("training") or {}
    if not isinstance(training, Mapping) or set(training) - {"steps", "cpu_hours"}:
        raise ValueError(f"training: must be {_FIELDS['training']}; got {training!r}")
    by_seed = {seed: _recipe(place, forms[0], given, seed, pickles) for seed in seeds}
    own = file_digest(place)
    digests = {seed: _digest(recipe, own) for seed, recipe in by_seed.items()}
    return Submission(
        name=str(given["name"]),
        kind=str(given["kind"]),
        about=str(given.get("about", "")),
        authors=tuple(str(author) for author in given.get("authors", ())),
        link=str(given.get("link", "")),
        command=str(given.get("command", "")),
        steps=int(training.get("steps", 0)),
        cpu_hours=float(training.get("cpu_hours", 0.0)),
        seeds=tuple(seeds),
        recipes={(entry.key, seed): by_seed[seed] for entry in entries for seed in seeds},
        digests={(entry.key, seed): digests[seed] for entry in entries for seed in seeds},
        folder=str(place),
    )


def _recipe(place: Path, form: str, given: Mapping[str, Any], seed: int, pickles: bool) -> Recipe:
    """How the policy of a training seed is made.

    Raises:
        ValueError: for what is not there or may not be opened.
    """
    text = str(given[form])
    if form == "policy":
        module, _, attribute = text.partition(":")
        if not module or not attribute:
            raise ValueError(f"policy: must read module:make_policy; got {text!r}")
        if not any((place / f"{module.replace('.', '/')}{end}").exists() for end in (".py", "")):
            raise ValueError(f"policy: {place.name} has no {module.replace('.', '/')}.py")
        return {"kind": "python", "entry": text}
    path = place / text.replace("{seed}", str(seed))
    if len(given.get("seeds", [0])) > 1 and "{seed}" not in text:
        raise ValueError(f"{form}: needs {{seed}} where there are several seeds; got {text!r}")
    if form == "torchscript":
        if not path.is_file():
            raise ValueError(f"torchscript: there is no file {path}")
        action = given.get("action")
        return {"kind": "torchscript", "file": str(path), "action": action}
    return run_recipe(path, pickles=pickles)


def run_recipe(path: Path, *, pickles: bool) -> Recipe:
    """How the policy of a run folder is made.

    Raises:
        ValueError: if it is none, or its weights are a pickle and may not be opened.
    """
    record = path / "run.json"
    if not record.is_file():
        raise ValueError(f"run: {path} is not a run folder: it has no run.json")
    kind = json.loads(record.read_text(encoding="utf-8")).get("kind")
    if kind not in SAFE_RUNS and not pickles:
        raise ValueError(f"run: {path.name}: {PICKLES}")
    return {"kind": "run", "folder": str(path)}


def rule_recipe(name: str, parameters: Mapping[str, Any]) -> Recipe:
    """How a rule of the house is made."""
    return {"kind": "rule", "name": name, "parameters": dict(parameters)}


def _digest(recipe: Recipe, own: str) -> str:
    """Names what a policy is made from, wherever it lies."""
    told = {key: value for key, value in recipe.items() if key not in ("folder", "file")}
    for key in ("folder", "file"):
        if key in recipe:
            told[key] = file_digest(Path(recipe[key]))
    return digest({"recipe": told, "own": own, "stockyard": metadata.version("stockyard")})


def house_digest(recipe: Recipe) -> str:
    """Names what a policy of the house is made from: its parameters or weights, and the version.

    A change of the code does not show in it; results say the commit that they were found at.
    """
    return _digest(recipe, "")


def check_names(submissions: Sequence[Submission]) -> None:
    """Refuses two rows of one name.

    Raises:
        ValueError: naming it.
    """
    names = [submission.name for submission in submissions]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"name: {name!r} is taken already; give the submission another")
