"""Pictures show something, and the environment runs without them."""

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401  (registers the ids)
from stockyard.envs import textbook
from stockyard.envs.rendering_map import _spread_out

LOST = textbook.lost_sales(textbook.Poisson(5), 2, 1, 9, horizon=20)
SERIAL = textbook.serial(textbook.Poisson(5), (0, 1, 2), (7, 4, 2), 37, horizon=20)
EVERY: list[dict[str, Any]] = [
    {"id": "stockyard/Replenishment-v0", "scenario": "steady"},
    {"id": "stockyard/Placement-v0", "scenario": "steady"},
    {"id": "stockyard/Placement-v0", "scenario": "one_day_rollout", "size": "medium"},
    LOST,
    SERIAL,
]


@functools.cache
def played(number: int) -> Any:
    """An environment of `EVERY` some steps into an episode; tests only look at it."""
    env = gym.make(**EVERY[number], render_mode="rgb_array")
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(8):
        env.step(env.action_space.sample())
    return env.unwrapped


@pytest.mark.parametrize("number", range(len(EVERY)))
def test_render_returns_a_picture_of_the_episode(number: int) -> None:
    """An rgb_array (H, W, 3) that is not blank, whatever the network."""
    picture = played(number).render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_a_network_can_be_drawn_before_anything_happened() -> None:
    """After reset there are no frames yet."""
    env = gym.make("stockyard/Placement-v0", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().std() > 5


def test_render_mode_none_draws_nothing() -> None:
    """Training never pays for pictures."""
    env = gym.make("stockyard/Replenishment-v0")
    env.reset(seed=0)
    env.step(np.zeros(12, np.float32))
    assert env.unwrapped.frames == []
    assert env.render() is None
    with pytest.raises(RuntimeError, match="^render_mode: must be 'rgb_array'"):
        env.unwrapped.save_figure("figure.png")


def test_a_figure_can_be_saved(tmp_path: Any) -> None:
    """The ending names the format."""
    played(3).save_figure(tmp_path / "episode.svg")
    assert (tmp_path / "episode.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_frames_tell_what_happened() -> None:
    """One per day, even where a step is a week; what they sum up agrees with the metrics."""
    env = gym.make("stockyard/Replenishment-v0", render_mode="rgb_array")
    env.reset(seed=0)
    info = env.step(np.zeros(12, np.float32))[-1]
    frames = env.unwrapped.frames
    assert len(frames) == 7
    sold = sum(f.served.sum() for f in frames)
    assert sold == pytest.approx(sum(f.speed.sum() for f in frames))
    fast = sum(f.speed[:, 0].sum() for f in frames) / sold
    assert fast == pytest.approx(float(info["metrics"]["speed_share_1_day"]))
    demand = np.array([f.demand.sum() for f in frames])
    rate = (np.array([f.in_stock for f in frames]) * demand).sum() / demand.sum()
    assert rate == pytest.approx(float(info["metrics"]["in_stock_rate"]))
    used = sum(f.stock_volume.sum() for f in frames) / sum(f.capacity.sum() for f in frames)
    assert used == pytest.approx(float(info["metrics"]["utilisation_storage"]), rel=0.2)


@pytest.mark.parametrize("number", range(len(EVERY)))
def test_no_labels_overlap(number: int) -> None:
    """Neither on the map nor between titles, legends and ticks of the panels."""
    figure = played(number).figure()
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = []
    for axes in figure.axes:
        texts = [*axes.texts, axes.title, axes._left_title, axes.xaxis.label]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()  # those out of view are not drawn
            texts += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
        legend = axes.get_legend()
        texts += legend.get_texts() if legend else []
        boxes += [(t.get_text(), t.get_window_extent(renderer)) for t in texts if shown(t)]
    for k, (name, box) in enumerate(boxes):
        for other, there in boxes[:k]:
            apart = box.x1 <= there.x0 + 1 or there.x1 <= box.x0 + 1
            apart = apart or box.y1 <= there.y0 + 1 or there.y1 <= box.y0 + 1
            assert apart, (name, other)
        assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, name


def shown(text: Any) -> bool:
    """Whether anything is written."""
    return bool(text.get_text().strip()) and text.get_visible()


def test_symbols_of_one_place_stand_beside_each_other() -> None:
    """A cross-dock, a centre and a region may share a city."""
    rng = np.random.default_rng(0)
    places = np.repeat(rng.uniform(0, 500, (6, 2)), 3, axis=0)
    radii = rng.uniform(6, 20, 18)
    at = _spread_out(places, radii)
    gap = np.sqrt(((at[:, None] - at[None]) ** 2).sum(axis=2))
    np.fill_diagonal(gap, np.inf)
    assert (gap > 0.95 * (radii[:, None] + radii[None])).all()
