"""Trains the forecast that `forecast=learned` shows, and judges it: `stockyard-forecast`.

Rows of training tapes are played and fitted, the weights written, and a page says what the forecast
is worth on held-out tapes beside the tape's own and a seasonal-naive one. `train=false` judges the
weights there are.
"""

from __future__ import annotations

import datetime
import itertools
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import ForecastSchema
from stockyard.scripts import command_line

UNSEEN = ", unseen products"
"""What the page adds to the size for products that were not trained on."""


def main() -> None:
    """Runs the command."""
    command_line.run(_command, ForecastSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="forecast")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        page = forecast(config)
    print(f"written: {page}")


def forecast(config: DictConfig) -> Path:
    """Trains and judges as configured; returns the path of the page."""
    import torch

    from stockyard.agents.forecasting.page import write_page
    from stockyard.agents.learners.run_folder import provenance

    with command_line.explained():
        scenarios = _scenarios(config.scenarios)
        _check_sizes(config)
        for key in ("tapes", "every", "steps", "test_tapes", "trained_products"):
            _check_positive(key, config[key])
    torch.set_num_threads(1)
    folder = command_line.output_folder()
    weights = Path(config.weights or _usual_weights(config.train, folder))
    training = _train(config, scenarios, weights) if config.train else None
    result = {
        "command": " ".join(["stockyard-forecast", *command_line.chosen_overrides()]),
        "version": provenance()["versions"]["stockyard"],
        "commit": provenance()["git_commit"],
        "date": datetime.date.today().isoformat(),
        "training": training,
        "tests": _tests(config, scenarios, weights),
        "worth": [],
    }
    page = Path(config.page or folder / "forecast.md")
    write_page(page, result)  # what has been judged stays, should the rest be interrupted
    write_page(page, {**result, "worth": _worth(config, scenarios, weights)})
    return page


def _scenarios(chosen: Any) -> list[str]:
    """The scenarios, all of the benchmark where none are named."""
    from stockyard.envs.scenarios import BENCHMARK

    names = command_line.plain(chosen)
    if names is None:
        return list(BENCHMARK)
    names = names if isinstance(names, list) else [names]
    for name in names:
        if name not in BENCHMARK:
            raise ValueError(f"scenarios: unknown {name!r}; known: {', '.join(BENCHMARK)}")
    return names


def _check_sizes(config: DictConfig) -> None:
    """Refuses unknown sizes, and those for which a number by size is missing."""
    from stockyard.envs.scenarios.presets import SIZES

    if not config.sizes:
        raise ValueError(f"sizes: must name at least one of {', '.join(SIZES)}")
    for size in config.sizes:
        if size not in SIZES:
            raise ValueError(f"sizes: unknown {size!r}; known: {', '.join(SIZES)}")
        for key in ("tapes", "every", "test_tapes"):
            if size not in config[key]:
                raise ValueError(f"{key}: has no number for the size {size!r}")


def _check_positive(key: str, value: Any) -> None:
    """Refuses what is no count, of each size where it is by size."""
    for number in value.values() if isinstance(value, DictConfig) else [value]:
        if number < 1:
            raise ValueError(f"{key}: must be >= 1, got {number}")


def _usual_weights(trains: bool, folder: Path) -> Path:
    """Where weights are written, or those that come with the package."""
    from stockyard.envs.tasks.learned_forecast import WEIGHTS

    return folder / "forecaster.npz" if trains else WEIGHTS


def _train(config: DictConfig, scenarios: list[str], weights: Path) -> dict[str, Any]:
    """Plays training tapes, fits the network and writes its weights; says what it took."""
    from stockyard.agents.forecasting.network import save_weights
    from stockyard.agents.forecasting.records import gather
    from stockyard.agents.forecasting.training import Training, train

    started = time.monotonic()
    parts = []
    for name in scenarios:
        for size in config.sizes:
            # seeds far from those that policies and rules are tuned on
            tapes, every = config.tapes[size], config.every[size]
            played = gather(name, size, "train", tapes, 500_000 + config.seed, every)
            parts.append((played, slice(config.trained_products)))
        print(f"played: {name} ({time.monotonic() - started:.0f} s)", flush=True)
    seconds_played = time.monotonic() - started
    settings = Training(steps=config.steps, seed=config.seed)
    network, prior = train(
        parts, settings, lambda step, loss: print(f"step {step}: loss {loss:.4f}", flush=True)
    )
    arrays = network.arrays(prior)
    save_weights(weights, arrays)
    print(f"written: {weights}")
    return {
        "settings": asdict(settings),
        "scenarios": scenarios,
        "tapes": len(scenarios) * sum(config.tapes[size] for size in config.sizes),
        "rows": sum(part.demand[:, chosen, 0].size for part, chosen in parts),
        "weights": sum(array.size for array in arrays.values()),
        "seconds_played": seconds_played,
        "seconds_fitted": time.monotonic() - started - seconds_played,
    }


def _tests(config: DictConfig, scenarios: list[str], weights: Path) -> list[dict[str, Any]]:
    """Judges the forecasts on held-out tapes of every scenario and size."""
    from stockyard.agents.forecasting.evaluation import Predicted, SeasonalNaive, judge
    from stockyard.agents.forecasting.records import gather, of_products
    from stockyard.envs.tasks.learned_forecast import LearnedForecast

    learned = LearnedForecast(weights)
    parts = {"": slice(config.trained_products), UNSEEN: slice(config.trained_products, None)}
    found = []
    for size, name in itertools.product(config.sizes, scenarios):
        tapes = config.test_tapes[size]
        past = gather(name, size, "train", tapes, 600_000 + config.seed)
        records = gather(name, size, "test", tapes, config.seed)
        naive = SeasonalNaive.fit(past).predict(records)
        means, quantiles = learned.forecast(records.fields)
        for part, chosen in parts.items():
            rows = of_products(records, chosen)
            forecasts = {
                "learned": Predicted(means[:, chosen], quantiles[:, chosen]),
                "martingale": Predicted(rows.own_mean, rows.own_quantiles),
                "naive": Predicted(naive.means[:, chosen], naive.quantiles[:, chosen]),
            }
            groups = judge(rows, forecasts)
            if groups:
                found.append(
                    {"scenario": name, "size": size + part, "tapes": tapes, "groups": groups}
                )
        print(f"judged: {name}, {size}", flush=True)
    order = list(config.sizes)
    return sorted(found, key=lambda t: (order.index(t["size"].split(",")[0]), UNSEEN in t["size"]))


def _worth(config: DictConfig, scenarios: list[str], weights: Path) -> list[dict[str, Any]]:
    """Profit of a rule under each forecast."""
    from stockyard.agents.forecasting.worth import worth

    if not config.worth_tapes:
        return []
    forecasts: dict[str, Any] = {
        "martingale": "martingale",
        "learned": {"kind": "learned", "weights": str(weights)},
        "lagged": "lagged",
        "biased": "biased",
        "none": "none",
    }
    tuning = max(config.worth_tapes // 8, 1)
    found = []
    for name in scenarios:
        rows = worth(
            name, forecasts, tuning_tapes=tuning, tapes=config.worth_tapes, seed=config.seed
        )
        print(f"played with every forecast: {name}", flush=True)
        found.append(
            {
                "scenario": name,
                "tuning_tapes": tuning,
                "tapes": config.worth_tapes,
                "rows": [row._asdict() for row in rows],
            }
        )
    return found


if __name__ == "__main__":
    main()
