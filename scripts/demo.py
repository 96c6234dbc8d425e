"""The main job on real demand, in minutes: tune, train, compare, draw.

`make demo` or `python -m stockyard.scripts.demo [--folder FOLDER] [--steps N]`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

SPECIFICATION = {"id": "stockyard/Replenishment-v0", "scenario": "real", "size": "small"}
RULES = ("naive", "newsvendor", "base_stock")
TAPES = 256


def main() -> None:
    """Runs the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="where files go")
    parser.add_argument("--steps", type=int, default=300_000, help="training steps of the agent")
    parser.add_argument("--tapes", type=int, default=TAPES, help="held-out tapes to compare on")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.tapes < 2:
        parser.error("--steps must be at least 1 and --tapes at least 2")
    run(arguments.folder, arguments.steps, arguments.tapes)


def run(folder: Path, steps: int, tapes: int) -> Path:
    """Runs the demo; returns the path of the picture.

    Args:
        folder: where the run folder, the table and the picture go; an earlier demo is replaced.
        steps: training steps of the agent.
        tapes: held-out tapes on which all are compared.
    """
    import shutil

    import stockyard.agents as agents
    from stockyard.agents.evaluation import compare, render, write_json_atomic
    from stockyard.agents.evaluation.report import console

    started = time.perf_counter()

    def say(line: str) -> None:
        print(f"[{time.perf_counter() - started:5.0f} s] {line}", flush=True)

    say(f"environment: {described()}")
    policies: dict[str, Any] = {}
    for rule in RULES[:-1]:
        policies[rule] = agents.make(rule, SPECIFICATION)
    say("tuning base_stock on training tapes")
    tuned = agents.tune("base_stock", SPECIFICATION, progress=say)
    policies["base_stock"] = agents.make("base_stock", SPECIFICATION, **tuned.parameters)

    say(f"training PPO for {steps:,} steps")
    against = {
        name: agents.evaluate(policy, SPECIFICATION, num_tapes=64, split="validation").mean
        for name, policy in policies.items()
    }
    run_folder = folder / "ppo"
    shutil.rmtree(run_folder, ignore_errors=True)
    _train(run_folder, steps, against)
    policies["ppo"] = agents.load(run_folder)

    say(f"comparing on {tapes} held-out tapes")
    evaluations = {
        name: agents.evaluate(policy, SPECIFICATION, num_tapes=tapes)
        for name, policy in policies.items()
    }
    rows = compare(evaluations, against="base_stock")
    days = evaluations["base_stock"].periods
    title = f"profit in USD per day, {tapes} held-out tapes of {days} days (paired differences)"
    console().print(render(rows, title=title))
    write_json_atomic(folder / "comparison.json", {"comparisons": rows, "tuned": tuned.parameters})
    picture = _draw(folder, run_folder, policies["ppo"], against)
    say(f"table: {folder / 'comparison.json'}")
    say(f"agent: {run_folder} (load it with stockyard.agents.load)")
    say(f"picture: {picture}")
    return picture


def described() -> str:
    """Tells the environment in one line."""
    from stockyard.agents.evaluation.rollout import build

    envs = build(SPECIFICATION, num_envs=1, split="train")
    base: Any = envs.unwrapped
    network = base.world.network
    line = (
        f"buying {network.num_products} grocery products for {len(network.regions)} regions, "
        f"{base.steps_per_episode} decisions, one in {base.periods_per_step} days"
    )
    envs.close()
    return line


def _train(folder: Path, steps: int, against: dict[str, float]) -> None:
    """Trains what conf/experiment/real_demand.yaml describes, for `steps`."""
    from hydra import compose, initialize_config_module
    from hydra.utils import instantiate

    import stockyard.conf  # noqa: F401  (registers the schemas)

    with initialize_config_module("stockyard.conf", version_base="1.3"):
        config = compose("config", overrides=["experiment=real_demand", "scenario=real"])
    learner = instantiate(config.agent)
    learner.train(
        SPECIFICATION,
        folder,
        total_steps=steps,
        seed=0,
        eval_tapes=64,
        eval_every=max(steps // 10, 1),
        checkpoint_every=max(steps // 2, 1),
        against=against,
        progress=True,
    )


def _draw(folder: Path, run_folder: Path, policy: Any, against: dict[str, float]) -> Path:
    """Draws one held-out tape and the learning curve; returns the path."""
    import json

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from stockyard.envs.rendering import draw_series

    frames, days = _one_tape(policy)
    curve = json.loads((run_folder / "evaluations.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(11.0, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    draw_series(frames, left, days)
    left.set_title("one held-out tape under the trained agent")
    steps = [point["steps"] / 1000.0 for point in curve]
    right.plot(steps, [point["mean_per_period"] for point in curve], marker="o", label="ppo")
    for k, (name, value) in enumerate(against.items()):
        right.axhline(value, linestyle="--", linewidth=1.0, color=f"C{k + 1}", label=name)
    right.set(xlabel="thousand training steps", ylabel="USD per day on validation tapes")
    right.set_title("learning curve")
    right.legend(fontsize=8, frameon=False, loc="center right")
    path = folder / "demo.png"
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _one_tape(policy: Any) -> tuple[list[Any], float]:
    """Frames of the first held-out tape, and the days between them."""
    from stockyard.agents.evaluation.rollout import build

    envs = build(
        {**SPECIFICATION, "render_mode": "rgb_array"},
        num_envs=1,
        split="test",
        action_mode=policy.action_mode,
    )
    base: Any = envs.unwrapped
    observation, _ = envs.reset(seed=0)
    state = None
    for _ in range(base.steps_per_episode):
        action, state = policy.predict(observation, state=state, deterministic=True)
        observation, *_ = envs.step(action)
    frames, days = base.frames, 1.0 / base.world.network.periods_per_day
    envs.close()
    return frames, days


if __name__ == "__main__":
    main()
