"""The cells of `stockyard-headroom`, each done by one process on one thread."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stockyard.scripts.headroom_contest import Contest

KEPT = ("run.json", "config.yaml", "evaluations.json", "best_model.zip")
"""Files of a run folder that are kept beside the code."""

COSTLY = 8
"""A costly rule is tuned on one of so many training tapes; on half of those if it is slow too."""

MANY = 4
"""Parameters from which on a search begins with trials all over the space."""


def tune_cell(contest: Contest, scenario: str, rule: str, tapes: int) -> dict[str, Any]:
    """Tunes one rule in one scenario."""
    from stockyard import agents
    from stockyard.agents.evaluation.rollout import build
    from stockyard.agents.heuristics.base import Facts, search_of
    from stockyard.agents.policy import registered

    begun = time.perf_counter()
    search = search_of(registered()[rule].resolve())
    probe = build(contest.spec(scenario), num_envs=1, split="train", action_mode="quantity")
    many = search is not None and len(search.space(Facts(probe))) >= MANY
    probe.close()
    is_costly = rule in contest.costly
    part = COSTLY * (2 if rule in contest.slow else 1)
    fewer = max(tapes // part, 1) if is_costly else tapes
    before = contest.tuned(scenario).get(rule)
    attempts = 0 if before is None else int(before.get("attempts", 1))
    trials = (12 if is_costly else 60) * 2**attempts
    many = (many or attempts > 0) and not (search is not None and search.is_separable)
    chosen: dict[str, Any] = {"tapes": fewer, "trials": trials}
    result = agents.tune(
        rule, contest.spec(scenario), method="tpe" if many else "coordinate", **chosen
    )
    if result.on_edge and not many and not is_costly:
        # a ridge: trials all over the space, then polishing
        other = agents.tune(rule, contest.spec(scenario), method="tpe", **chosen)
        if not other.on_edge or other.score > result.score:
            result = other
    # scores found on different numbers of tapes do not compare
    is_comparable = before is not None and before.get("tapes") == fewer
    if before is not None and is_comparable and before["score"] > result.score:
        entry = {**before, "attempts": attempts + 1}
        return {"scenario": scenario, "rule": rule, "entry": entry}
    entry = {
        "attempts": attempts + 1,
        "parameters": _plain(result.parameters),
        "score": round(result.score, 3),
        "on_edge": bool(result.on_edge),
        "at_limit": list(result.at_limit),
        "method": result.method,
        "candidates": len(result.history),
        "tapes": fewer,
        "seconds": round(time.perf_counter() - begun, 1),
        "date": time.strftime("%Y-%m-%d"),
    }
    return {"scenario": scenario, "rule": rule, "entry": entry}


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as YAML keeps them, six figures each."""

    def short(value: Any) -> Any:
        if isinstance(value, list | tuple | np.ndarray):
            return [short(one) for one in value]
        if isinstance(value, bool | np.bool_):
            return bool(value)
        if isinstance(value, int | np.integer):
            return int(value)
        return float(f"{float(value):.6g}") if isinstance(value, float | np.floating) else value

    return {name: short(value) for name, value in parameters.items()}


def train_cell(contest: Contest, name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Trains one learner and keeps what loading it needs."""
    import hydra
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    from stockyard.agents.evaluation.files import write_text_atomic
    from stockyard.agents.learners.course import use_one_thread
    from stockyard.agents.learners.run_folder import RunFolder
    from stockyard.scripts import command_line

    use_one_thread()
    given = contest.learners[name]
    chosen = [f"experiment={given['experiment']}", f"seed={given['seed']}", *overrides]
    if GlobalHydra.instance().is_initialized():
        config = compose("config", chosen)
    else:
        with initialize_config_module("stockyard.conf", version_base="1.3"):
            config = compose("config", chosen)
    folder = RunFolder(contest.folder / "training" / name)
    spec = command_line.specification(config.env)
    learner = hydra.utils.instantiate(config.agent, _convert_="all")
    if not folder.config.is_file():
        write_text_atomic(folder.config, command_line.resolved_yaml(config))
    result = learner.train(
        spec,
        folder,
        **command_line.training(config),
        name=name,
        resume=bool(folder.checkpoint_steps()),
    )
    if result.interrupted:  # half-trained weights must not be taken for the result
        raise KeyboardInterrupt
    target = contest.weights(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        for file in KEPT:
            shutil.copy2(folder.path / file, temporary / file)
        temporary.chmod(0o755)
        temporary.rename(target)  # there whole, or not at all
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    record = folder.read_record()
    return {"name": name, "steps": record["steps"], "seconds": record["seconds"]}


def bound_cell(contest: Contest, scenario: str, seeds: range) -> dict[str, Any]:
    """Bounds some test tapes of a scenario."""
    from stockyard.agents.oracles.perfect_information import perfect_information

    begun = time.perf_counter()
    perfect_information(
        contest.spec(scenario),
        list(seeds),
        cache=contest.bounds_file(),
        time_limit=contest.bound_seconds,
    )
    seconds = time.perf_counter() - begun
    return {"scenario": scenario, "seeds": f"{seeds[0]} to {seeds[-1]}", "seconds": seconds}


def evaluate_cell(
    contest: Contest,
    scenario: str,
    chosen: Sequence[str],
    validation_tapes: int,
    tapes: int,
    slow_tapes: int,
) -> dict[str, Any]:
    """Evaluates policies in one scenario; what is known already is not done again.

    Returns:
        The results of the chosen, and of others that are known from before.
    """
    from stockyard import agents
    from stockyard.agents.evaluation.files import write_json_atomic
    from stockyard.agents.evaluation.rollout import build, rollout
    from stockyard.agents.learners.run_folder import provenance

    begun = time.perf_counter()
    spec = contest.spec(scenario)
    path = contest.result_file(scenario)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept: dict[str, Any] = dict(known.get("policies", {}))
    entries: dict[str, Any] = {}
    commit = provenance().get("git_commit")
    built: dict[tuple[str, str], Any] = {}
    try:
        for name in contest.policies():
            is_slow = name in contest.slow
            numbers = {
                "validation": slow_tapes if is_slow else validation_tapes,
                "test": slow_tapes if is_slow else tapes,
            }
            key = contest.fingerprint(scenario, name)
            entry = kept.get(name, {})
            is_whole = contest.guarded is None or "guarded" in entry.get("test", {})
            if entry.get("fingerprint") == key and entry.get("numbers") == numbers and is_whole:
                entries[name] = entry
                continue
            if name not in chosen:
                continue
            if name in contest.learners:
                policy = agents.load(contest.weights(name))
            else:
                policy = agents.make(name, spec, **contest.parameters(scenario, name))
            entry = {"fingerprint": key, "numbers": numbers, "commit": commit}
            for split, number in numbers.items():
                mode = getattr(policy, "action_mode", None)
                where = (repr(mode), f"{split} {number}")
                if where not in built:
                    built[where] = build(spec, num_envs=number, split=split, action_mode=mode)
                envs = built[where]
                fitted = policy.for_env(envs) if hasattr(policy, "for_env") else policy
                result = rollout(fitted, envs, seed=0)
                entry[split] = {
                    "returns": [round(float(one), 4) for one in result.per_period_mean],
                    "milliseconds": result.milliseconds_per_decision,
                    "metrics": result.summary()["metrics"],
                }
                if contest.guarded is not None:
                    if contest.guarded not in result.metrics:
                        raise ValueError(f"guarded: {contest.task} has no metric {contest.guarded}")
                    entry[split]["guarded"] = [float(x) for x in result.metrics[contest.guarded]]
            kept[name] = entries[name] = entry
            write_json_atomic(path, {**known, "scenario": scenario, "policies": kept})
    finally:
        for envs in built.values():
            envs.close()
    bound = _bound(contest, scenario, slow_tapes)
    write_json_atomic(path, {"scenario": scenario, "policies": kept, "bound": bound})
    seconds = time.perf_counter() - begun
    return {"scenario": scenario, "policies": entries, "bound": bound, "seconds": seconds}


def _bound(contest: Contest, scenario: str, tapes: int) -> dict[str, Any] | None:
    """The bounds of the first test tapes, as far as they are solved."""
    from stockyard.agents.oracles.perfect_information import perfect_information

    if not contest.bounds_file().is_file():
        return None
    found = perfect_information(
        contest.spec(scenario), range(tapes), cache=contest.bounds_file(), only_cached=True
    )
    solved = np.isfinite(found.per_period)
    if not solved.any():
        return None
    count = int(np.argmin(solved)) if not solved.all() else tapes
    return {
        "per_period": [round(float(one), 4) for one in found.per_period[:count]],
        "seconds": float(np.median(found.seconds[:count])) if count else None,
        "optimal": int(found.is_optimal[:count].sum()),
    }
