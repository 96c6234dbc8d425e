"""The learned forecast: its rows, its network in torch and NumPy, its training, its judges."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stockyard.agents.forecasting import evaluation
from stockyard.agents.forecasting.evaluation import Predicted, SeasonalNaive, judge, score
from stockyard.agents.forecasting.network import ForecastNetwork, save_weights, tensors_of
from stockyard.agents.forecasting.records import Records, gather, weeks_known
from stockyard.agents.forecasting.training import Training, loss_of, shares_of, train
from stockyard.agents.forecasting.worth import worth
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.tasks.learned_forecast import (
    FIELDS,
    WEIGHTS,
    LearnedForecast,
    inputs_of,
    log_ratios,
)
from stockyard.scripts import forecast


@pytest.fixture(scope="module")
def records() -> Records:
    """Rows of a few held-out tapes."""
    return gather("steady", "small", "test", 16, 0)


def test_rows_hold_the_demand_that_came(records: Records) -> None:
    """Over the horizons of the tape, and NaN where it ends before they do."""
    assert set(records.fields) == set(FIELDS)
    demand = records.demand
    assert (np.diff(demand, axis=2)[np.isfinite(demand).all(axis=2)] >= 0.0).all()
    first, last = demand[:16], demand[-16:]
    assert np.isfinite(first).all()
    assert np.isfinite(last[..., 0]).all() and np.isnan(last[..., 4]).all()
    # a week's demand at one decision is the first week of the fortnight at the one before
    np.testing.assert_allclose(demand[:16, :, 0] + demand[16:32, :, 0], first[..., 1])


def test_sales_are_censored_now_little_now_much(records: Records) -> None:
    """Else a network would learn that what is sold is what is wanted."""
    share = records.fields["in_stock_history"][-16:].mean(axis=2)
    assert share.min() < 0.5 and share.max() > 0.95


def test_weeks_known_counts_from_the_first_sale_shown(records: Records) -> None:
    """The burn-in has four weeks; then one more at every decision."""
    weeks = weeks_known(records)
    assert weeks[:16].max() == 4
    assert (weeks[-16:] == 13).mean() > 0.95


def test_numpy_runs_the_network_as_torch_does(records: Records, tmp_path: Path) -> None:
    """To 1e-5, weights that nobody has trained too."""
    torch.manual_seed(1)
    network = ForecastNetwork()
    save_weights(tmp_path / "some.npz", network.arrays(70.0))
    inputs = inputs_of(records.fields, 70.0)
    with torch.no_grad():
        expected = network(*tensors_of(inputs)).numpy()
    with np.load(tmp_path / "some.npz") as arrays:
        found = log_ratios(dict(arrays), inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_convolutions_are_causal_and_dilated() -> None:
    """A tree of pairs gives the last output of kernels of two with dilations 1, 2, 4 and 8."""
    torch.manual_seed(2)
    network = ForecastNetwork()
    weeks = torch.randn(3, 16, 4)
    x = weeks
    for k, layer in enumerate(network.encoder):
        earlier = torch.cat((torch.zeros_like(x[:, : 2**k]), x[:, : -(2**k)]), 1)
        out = torch.relu(layer(torch.cat((earlier, x), 2)))
        x = out + x if out.shape[2] == x.shape[2] else out
    tree = weeks
    for layer in network.encoder:
        out = torch.relu(layer(tree.reshape(3, tree.shape[1] // 2, -1)))
        tree = out + tree[:, 1::2] if out.shape[2] == tree.shape[2] else out
    torch.testing.assert_close(tree[:, 0], x[:, -1])


def test_the_loss_is_least_at_mean_and_quantiles() -> None:
    """Of a sample, by trying: both parts are proper scores."""
    sample = torch.distributions.Gamma(2.0, 2.0).sample((20_000, 1))
    known = torch.ones_like(sample)
    quantiles = torch.quantile(sample, torch.tensor([0.1, 0.5, 0.9]))
    best = torch.log(torch.cat((sample.mean()[None], quantiles)))

    def loss(shift: torch.Tensor) -> float:
        return float(loss_of((best + shift).expand(len(sample), 1, 4), sample, known))

    least = loss(torch.zeros(4))
    for entry in range(4):
        for step in (-0.05, 0.05):
            assert loss(torch.eye(4)[entry] * step) > least


def test_training_learns(records: Records, tmp_path: Path) -> None:
    """A hundred steps beat none, at the longest horizon too."""
    losses = []
    for steps in (1, 100):
        network, prior = train([(records, slice(None))], Training(steps=steps, batch=256))
        save_weights(tmp_path / f"{steps}.npz", network.arrays(prior))
        predicted = Predicted(*LearnedForecast(tmp_path / f"{steps}.npz").forecast(records.fields))
        judged = judge(records, {"learned": predicted})["established"]["learned"]
        losses.append([row["loss"] for row in judged])
    assert (np.array(losses[1]) < 0.9 * np.array(losses[0])).all()


def test_training_again_gives_the_same_weights(records: Records) -> None:
    """The seed is all that chance has."""
    first, _ = train([(records, slice(None))], Training(steps=3, batch=64, seed=5))
    second, _ = train([(records, slice(None))], Training(steps=3, batch=64, seed=5))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)


def test_scenarios_that_differ_in_supply_alone_share_one_say() -> None:
    """Five of the benchmark's have the demand of `steady`: they would drown the others."""
    parts = [gather(name, "small", "train", 1, 0, 13) for name in ("steady", "port_delay", "real")]
    assert shares_of(parts, 100) == [25, 25, 50]


def of_one(demand: float, quantiles: list[float]) -> tuple[Records, Predicted]:
    """One row whose horizons are all alike."""
    fields = {name: np.ones((1, 1)) for name in FIELDS}
    fields["sales_history"] = np.ones((1, 1, 13))
    wanted = np.full((1, 1, len(HORIZONS_DAYS)), demand)
    shown = np.broadcast_to(np.array(quantiles), (1, 1, len(HORIZONS_DAYS), 3))
    rows = Records(fields, wanted, wanted, shown, np.ones((1, 1), bool), np.zeros(1, int))
    return rows, Predicted(wanted * 1.5, shown)


def test_quantile_loss_by_hand() -> None:
    """Demand 10 and 8, 9, 14: pinball .1 x 2, .5 x 1 and .1 x 4, twice their mean over 10."""
    rows, predicted = of_one(10.0, [8.0, 9.0, 14.0])
    found = score(rows, predicted, 0, np.ones((1, 1), bool))
    assert found is not None
    assert found.loss == pytest.approx(2.0 * (0.2 + 0.5 + 0.4) / 3.0 / 10.0)
    assert found.coverage == (0.0, 0.0, 1.0)
    assert found.bias == pytest.approx(0.5)


def test_every_row_is_in_one_group(records: Records) -> None:
    """Established, new and not launched are all there is."""
    together = np.stack(list(evaluation.groups(records).values()))
    assert (together.sum(axis=0) == 1).all()


def test_the_seasonal_naive_fits_its_own_rows(records: Records) -> None:
    """In sample its quantiles cover what they say, and its mean has no bias."""
    naive = SeasonalNaive.fit(records)
    judged = judge(records, {"naive": naive.predict(records)})["established"]["naive"]
    for row in judged:
        np.testing.assert_allclose(row["coverage"], (0.1, 0.5, 0.9), atol=0.03)
        assert abs(row["bias"]) < 0.03


def test_the_shipped_weights_beat_the_seasonal_naive(records: Records) -> None:
    """On tapes that nobody trained on, at every horizon; and the tape's own beats both."""
    past = gather("steady", "small", "train", 16, 600_000)
    judged = judge(
        records,
        {
            "learned": Predicted(*LearnedForecast().forecast(records.fields)),
            "naive": SeasonalNaive.fit(past).predict(records),
            "own": Predicted(records.own_mean, records.own_quantiles),
        },
    )["established"]
    for learned, naive, own in zip(judged["learned"], judged["naive"], judged["own"], strict=True):
        assert own["loss"] < learned["loss"] < naive["loss"]
        below, median, above = learned["coverage"]
        assert below < 0.2 and 0.35 < median < 0.65 and above > 0.8


def test_the_shipped_weights_are_small() -> None:
    """They live in the repository."""
    assert WEIGHTS.stat().st_size < 200_000


def test_worth_compares_on_the_same_tapes() -> None:
    """A forecast that is the first one by another name earns the same, to the cent."""
    same = {"kind": "biased", "bias": 0.0}
    rows = worth("steady", {"martingale": None, "same": same}, "small", 2, 4, covers=(24.0, 30.0))
    assert rows[0].interval is None
    assert rows[1].difference == pytest.approx(0.0, abs=1e-6)


def test_the_command_trains_judges_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A short run, and another that judges what the first wrote."""
    monkeypatch.chdir(tmp_path)
    few = ["scenarios=steady", "sizes=[small]", "tapes.small=4", "test_tapes.small=8"]
    few += ["steps=20", "worth_tapes=0", "trained_products=9", "weights=mine.npz", "page=page.md"]
    for extra in ([], ["train=false"]):
        monkeypatch.setattr(sys, "argv", ["stockyard-forecast", *few, *extra])
        forecast.main()
        page = Path("page.md").read_text()
        assert "| steady | small | " in page
        assert "| steady | small, unseen products | " in page
        result = json.loads(Path("page.json").read_text())
        assert (result["training"] is None) == bool(extra)
    assert Path("mine.npz").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("scenarios=teady", "error: scenarios: unknown 'teady'; known: steady, "),
        ("steps=0", "error: steps: must be >= 1, got 0"),
        ("sizes=[tiny]", "error: sizes: unknown 'tiny'; known: small, medium, large"),
        ("sizes=[]", "error: sizes: must name at least one of small, medium, large"),
        ("step=5", "error: there is no key 'step'; did you mean 'steps'?"),
    ],
)
def test_a_mistake_ends_in_one_line(
    argument: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before any tape is played."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stockyard-forecast", argument])
    with pytest.raises(SystemExit) as stop:
        forecast.main()
    assert str(stop.value.code).startswith(message)
