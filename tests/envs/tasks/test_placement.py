"""`stockyard/Placement-v0`: what each action mode moves, and what is observed.

What it shares with every environment is tested in `tests/envs/test_contract.py`.
"""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import stockyard.envs  # noqa: F401
from stockyard.envs.network.arrays import Array
from stockyard.envs.network.params import array_maker
from stockyard.envs.network.place import position_at_nodes
from stockyard.envs.network.state import Decisions
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.world import World, outlook_at, simulate, value_of
from stockyard.envs.scenarios import build_world
from stockyard.envs.tasks.centres import Centres
from stockyard.envs.tasks.placement import MAX_COVER_DAYS, Placement
from stockyard.envs.tasks.task import View, make_task, shaped

ID = "stockyard/Placement-v0"


def make(num_envs: int = 2, **changes: Any) -> Any:
    """A batch, without wrappers."""
    spec = {"id": ID, "scenario": "steady", "horizon": 28, **changes}
    return gym.make_vec(num_envs=num_envs, **spec).unwrapped


@pytest.fixture(scope="module")
def world() -> World:
    """The steady world at size small."""
    return build_world("steady", "small", "placement")


@pytest.fixture(scope="module")
def medium() -> World:
    """A world with two docks."""
    return build_world("steady", "medium", "placement")


def start(world: World, batch: int = 2, backend: str = "numpy", days: int = 30) -> Any:
    """Task, params and the view at the start of an episode of the world."""
    task = make_task("placement", world)
    params = world.params(backend, "float64")  # type: ignore[arg-type]
    streams = [Streams("train", seed) for seed in range(batch)]
    tape = world.source.draw(params, streams, world.burn_in + days + 1)
    state = world.opening_state(params, batch)
    view = View(state, tape, 0, task.remember(params, None, None, None, batch), {})
    while view.period < world.burn_in:
        view = advance(world, task, params, view, Decisions())[0]
    return task, params, view._replace(outlook=outlook_at(world, tape, view.period))


def advance(world: World, task: Any, params: Any, view: View, decisions: Decisions) -> Any:
    """The next view, and what happened."""
    lead = view.tape.known(view.period).quoted_lead
    unreported = task.unreported(view.memory)
    state, stretch = simulate(
        world, params, view.state, view.tape, view.period, 1, decisions, unreported
    )
    batch = view.state.position.shape[0]
    memory = task.remember(params, view.memory, stretch, lead, batch)
    outlook = outlook_at(world, view.tape, view.period + 1)
    return View(state, view.tape, view.period + 1, memory, outlook), stretch


def entries(envs: Any, values: Any) -> Array:
    """An action of one value per column (centre), alike for all rows."""
    rows, columns = envs.task.action_shape(envs.action_mode)
    row = np.broadcast_to(np.asarray(values, dtype=np.float64), (columns,))
    return np.tile(row, (envs.num_envs, rows))


# centres


def test_every_centre_has_demand_of_its_own(world: World, medium: World) -> None:
    """A cover of a centre that nobody asks first would fill nothing."""
    for each in (world, medium):
        served = Centres(each.network).served
        assert (served.sum(axis=1) > 0).all()
        assert (served <= 1).all()


def test_a_local_centre_covers_its_own_region_and_a_regional_one_all(world: World) -> None:
    """Small: Los Angeles and New York have a local centre, Chicago's serves everywhere."""
    centres = Centres(world.network)
    names = [world.network.nodes[n] for n in centres.nodes]
    regions = list(world.network.regions)
    for name, served in zip(names, centres.served, strict=True):
        own = [r for r in range(3) if served[r] == 1.0]
        if "local" in name:
            assert [regions[r] for r in own] == [name.split(" ", 1)[1]]
            assert served.sum() == 1.0
        else:
            assert len(own) == 3


def test_a_product_leaves_from_the_dock_that_its_supplier_delivers_to(medium: World) -> None:
    """Lanes from the other dock stay empty."""
    centres = Centres(medium.network)
    lanes = medium.network.transfers
    assert len(set(centres.dock_of.tolist())) == 2
    for product, dock in enumerate(centres.dock_of):
        assert (lanes.tail[centres.lane_of[product]] == dock).all()
        assert (lanes.head[centres.lane_of[product]] == centres.nodes).all()
    envs = make(1, size="medium", horizon=7)
    envs.reset(seed=0)
    decoded = envs.task.decode(envs.params, "cover", entries(envs, 1.0), envs._view)
    sent = decoded.decisions.transfers[0]
    assert (sent[lanes.tail[:, None] != centres.dock_of] == 0).all()
    assert (sent[lanes.tail[:, None] == centres.dock_of] > 0).any()


def test_classes_are_thirds_by_demand_and_halves_by_volume(world: World) -> None:
    """The quickest small ones are class 0."""
    task = Placement(world)
    rate = world.source.demand.mean_rate(world.network).sum(axis=0)
    volume = world.network.products.volume
    of = task.product_class
    assert np.bincount(of, minlength=6).min() >= len(of) // 6
    for third in range(2):
        assert rate[of // 2 == third].min() >= rate[of // 2 == third + 1].max()
    for third in range(3):
        assert volume[of == 2 * third].max() <= volume[of == 2 * third + 1].min()


# what the modes move


def moved(envs: Any, action: Array) -> Array:
    """Units that an action moves on the first day, (B, E_tr, P)."""
    envs.reset(seed=3)
    view = envs._view
    decoded = envs.task.decode(envs.params, envs.action_mode, action, view)
    _, stretch = simulate(
        envs.world, envs.params, view.state, view.tape, view.period, 1, decoded.decisions
    )
    return stretch.flows[0].transferred


@pytest.mark.parametrize("mode", ["cover", "class_cover"])
def test_a_cover_of_no_days_moves_nothing(mode: str) -> None:
    """The standing rule does not step in."""
    envs = make(action=mode)
    assert (moved(envs, entries(envs, -1.0)) == 0).all()


def test_a_cover_fills_up_to_its_days_of_served_demand() -> None:
    """Where dock and centre have room for it, what is there and on the way counts."""
    envs = make()
    envs.reset(seed=1)
    task, view = envs.task, envs._view
    seen = {k: np.array(v) for k, v in task.observe(envs.params, view).items()}
    at = envs.task.centres.nodes
    here = seen["on_hand"][:, :, at] + seen["yard"][:, :, at] + seen["in_transit"].sum(axis=3)
    position = position_at_nodes(envs.params, view.state)[:, at].swapaxes(1, 2)
    np.testing.assert_allclose(here, position, atol=1e-9)
    for days in (2.0, 7.0):
        action = entries(envs, 2.0 * days / MAX_COVER_DAYS - 1.0)
        decoded = task.decode(envs.params, "cover", action, view)
        units = task.centres.from_lanes(envs.params, decoded.decisions.transfers).swapaxes(1, 2)
        expected = np.maximum(days * seen["served_demand"] - here, 0.0)
        np.testing.assert_allclose(units, expected, atol=1e-9)


def test_classes_with_one_cover_are_products_with_that_cover() -> None:
    """Six numbers a centre instead of one a product."""
    one, many = make(action="cover"), make(action="class_cover")
    rng = np.random.default_rng(0)
    by_class = rng.uniform(-1, 1, (2, 6, one.task.centres.count))
    by_product = by_class[:, many.task.product_class]
    np.testing.assert_array_equal(
        moved(one, by_product.reshape(2, -1)), moved(many, by_class.reshape(2, -1))
    )


def test_hub_only_leaves_local_centres_alone() -> None:
    """The naive rule of the scores: everything to the regional centre."""
    envs = make()
    nodes = [envs.world.network.nodes[n] for n in envs.task.centres.nodes]
    local = np.array(["local" in name for name in nodes])
    units = moved(envs, entries(envs, np.where(local, -1.0, 1.0)))
    by_centre = envs.task.centres.from_lanes(envs.params, units)
    assert (by_centre[:, local] == 0).all() and by_centre[:, ~local].sum() > 0


def test_shares_push_what_they_say() -> None:
    """softmax(4 a) over staying and the centres, of what stands at the dock."""
    envs = make(action="shares")
    envs.reset(seed=3)
    rng = np.random.default_rng(1)
    rows, columns = envs.task.action_shape("shares")
    action = rng.uniform(-1, 1, (2, rows, columns))
    decoded = envs.task.decode(envs.params, "shares", action.reshape(2, -1), envs._view)
    weight = np.exp(4.0 * action)
    share = weight / weight.sum(axis=2, keepdims=True)
    stock = envs.state.on_hand[:, 0]
    units = envs.task.centres.from_lanes(envs.params, decoded.decisions.transfers)
    np.testing.assert_allclose(units.swapaxes(1, 2), share[:, :, 1:] * stock[:, :, None])
    assert units.sum() < stock.sum()


def test_quantities_are_sent_as_they_are_asked() -> None:
    """As far as the dock has them."""
    envs = make(action="quantity")
    envs.reset(seed=3)
    view = envs._view
    asked = np.minimum(view.state.on_hand[:, 0] * 0.1, 1.0)
    action = np.repeat(asked[:, :, None], envs.task.centres.count, axis=2).reshape(2, -1)
    sent = moved(envs, action).sum(axis=1)
    np.testing.assert_allclose(sent, asked * envs.task.centres.count, atol=1e-9)


def test_a_residual_of_zero_is_the_standing_rule() -> None:
    """Learning starts at the rule; more is more and less is less."""
    envs = make(action="residual")
    envs.reset(seed=3)
    view = envs._view
    rule = envs.world.rules["place"](envs.params, view.state, view.tape.known(view.period))
    amounts = []
    for a in (-1.0, 0.0, 1.0):
        decoded = envs.task.decode(envs.params, "residual", entries(envs, a), view)
        amounts.append(decoded.decisions.transfers)
    np.testing.assert_allclose(amounts[1], rule, atol=1e-9)
    assert rule.sum() > 0
    assert (amounts[0] <= rule + 1e-9).all() and (amounts[2] >= rule - 1e-9).all()
    assert amounts[0].sum() < rule.sum() < amounts[2].sum()


def test_a_split_sends_its_share_past_the_dock() -> None:
    """In proportion to the demand that centres serve; together the recorded order."""
    envs = make(action="cover_split")
    envs.reset(seed=3)
    task, view, network = envs.task, envs._view, envs.world.network
    known = view.tape.known(view.period)
    recorded = envs.world.rules["replenish"](envs.params, view.state, known).sum(axis=1)
    assert view.period % envs.world.source.epoch_periods == 0 and recorded.sum() > 0
    rows, columns = task.action_shape("cover_split")
    action = np.zeros((2, rows, columns))
    action[:, :, -1] = 2.0 * 0.25 - 1.0
    decoded = task.decode(envs.params, "cover_split", action.reshape(2, -1), view)
    orders = decoded.decisions.orders
    np.testing.assert_allclose(orders.sum(axis=1), recorded)
    direct = np.isin(network.inbound.head, task.centres.nodes)
    np.testing.assert_allclose(orders[:, direct].sum(axis=1), 0.25 * recorded)
    served = task.observe(envs.params, view)["served_demand"]
    share = served / served.sum(axis=2, keepdims=True)
    by_centre = np.stack(
        [orders[:, network.inbound.head == node].sum(axis=1) for node in task.centres.nodes], 2
    )
    np.testing.assert_allclose(by_centre, 0.25 * recorded[:, :, None] * share, atol=1e-9)
    later = view._replace(period=view.period + 1)
    decoded = task.decode(envs.params, "cover_split", action.reshape(2, -1), later)
    assert decoded.decisions.orders is None


def test_a_split_of_nothing_is_a_cover() -> None:
    """The two modes play the same episode then."""
    split, plain = make(action="cover_split"), make(action="cover")
    split.reset(seed=5)
    plain.reset(seed=5)
    cover = entries(plain, -0.5)
    rows, columns = split.task.action_shape("cover_split")
    action = np.full((2, rows, columns), -1.0)
    action[:, :, :-1] = cover.reshape(2, rows, columns - 1)
    for _ in range(9):
        left, right = split.step(action.reshape(2, -1)), plain.step(cover)
        np.testing.assert_allclose(left[1], right[1])
        for field in left[0]:
            np.testing.assert_allclose(left[0][field], right[0][field], rtol=1e-6, atol=1e-6)


def test_buying_does_not_depend_on_placing() -> None:
    """Orders are those that were recorded, whatever is moved."""
    bought = []
    for a in (-1.0, 1.0):
        envs = make()
        envs.reset(seed=2)
        orders = []
        for _ in range(15):
            view = envs._view
            _, stretch = simulate(
                envs.world, envs.params, view.state, view.tape, view.period, 1, Decisions()
            )
            ordered = stretch.flows[0].ordered
            orders.append(0.0 if ordered is None else ordered.sum(axis=1))
            envs.step(entries(envs, a))
        bought.append(sum(orders))
    np.testing.assert_allclose(bought[0], bought[1])
    assert (bought[0].sum(axis=1) > 0).all()


@pytest.mark.parametrize("mode", ["cover", "shares", "quantity", "residual", "cover_split"])
def test_units_are_conserved(mode: str) -> None:
    """L1: what is there is what was there and came, less what was sold; nothing is negative."""
    envs = make(action=mode)
    envs.reset(seed=4)
    envs.action_space.seed(4)
    for _ in range(envs.steps_per_episode):
        view = envs._view
        action = envs.action_space.sample()
        decoded = envs.task.decode(envs.params, mode, action.astype(float), view)
        state, stretch = simulate(
            envs.world, envs.params, view.state, view.tape, view.period, 1, decoded.decisions
        )
        flows = stretch.flows[0]
        came = 0.0 if flows.shipped is None else flows.shipped.sum(axis=1)
        np.testing.assert_allclose(
            everywhere(state), everywhere(view.state) + came - flows.sold, rtol=1e-9, atol=1e-7
        )
        np.testing.assert_allclose(state.position, everywhere(state), rtol=1e-9, atol=1e-6)
        assert (state.on_hand >= 0).all() and (state.yard >= 0).all()
        envs.step(action)


def everywhere(state: Any) -> Array:
    """Units anywhere, (B, P)."""
    parts = [state.on_hand, state.yard, *state.inbound, *state.transfers]
    return sum(part.sum(axis=1) for part in parts)


# what is seen


def test_quoted_arrivals_add_up_to_what_is_open() -> None:
    """Early parts leave the schedule, late ones stay at its head, none is lost."""
    envs = make(4, horizon=84)
    observation = envs.reset(seed=7)[0]
    late = 0.0
    for _ in range(84):
        seen = shaped(observation, envs.field_shapes)
        soon = seen["inbound_quoted"].sum(axis=2)
        open_units = seen["on_order"]
        assert (seen["inbound_quoted"] >= 0).all()
        assert (soon <= open_units * (1 + 1e-5) + 1e-3).all()
        later = sum(envs._view.memory.docks.quoted[7:], np.zeros_like(soon))
        np.testing.assert_allclose(soon, np.maximum(open_units - later, 0.0), rtol=1e-4, atol=1e-2)
        late += float(np.maximum(seen["inbound_quoted"][:, :, 0] - later, 0).sum())
        observation = envs.step(entries(envs, 0.0))[0]
    assert late > 0


def test_a_quoted_order_comes_closer_day_by_day() -> None:
    """Slot k of one day is slot k - 1 of the next while nothing arrives early."""
    envs = make(1)
    before = shaped(envs.reset(seed=1)[0], envs.field_shapes)
    checked = 0
    for _ in range(14):
        arrived = envs.state.inbound[0].sum(axis=1)[0]
        after = shaped(envs.step(entries(envs, -1.0))[0], envs.field_shapes)
        quiet = (arrived == 0) & (before["inbound_quoted"][0, :, 0] == 0)
        np.testing.assert_allclose(
            after["inbound_quoted"][0, quiet, :-1],
            before["inbound_quoted"][0, quiet, 1:],
            rtol=1e-5,
            atol=1e-3,
        )
        checked += int(quiet.sum())
        before = after
    assert checked > 0


def test_sales_are_those_of_the_last_week() -> None:
    """By region, censored: no more than was there."""
    envs = make()
    envs.reset(seed=1)
    sold: list[Array] = []
    for _ in range(10):
        view = envs._view
        action = entries(envs, 0.2)
        decoded = envs.task.decode(envs.params, "cover", action, view)
        _, stretch = simulate(
            envs.world, envs.params, view.state, view.tape, view.period, 1, decoded.decisions
        )
        sold.append(sum(stretch.flows[0].served))
        observation = envs.step(action)[0]
    seen = shaped(observation, envs.field_shapes)["sales_by_region"]
    np.testing.assert_allclose(seen, sum(sold[-7:]).swapaxes(1, 2), rtol=1e-5, atol=1e-4)


def test_days_to_review_count_down_to_the_orders() -> None:
    """0 on the day of an order."""
    envs = make()
    observation = envs.reset(seed=1)[0]
    shown = []
    for _ in range(8):
        shown.append(float(observation["days_to_review"][0, 0]))
        observation = envs.step(entries(envs, 0.0))[0]
    assert shown == [0, 6, 5, 4, 3, 2, 1, 0]


def test_tiers_and_tariffs_are_those_of_the_lanes(world: World) -> None:
    """-1 where a node does not serve a region."""
    envs = make()
    seen = shaped(envs.reset(seed=1)[0], envs.field_shapes)
    lanes = world.network.outbound
    served = np.zeros((world.network.num_nodes, world.network.num_regions), dtype=bool)
    served[lanes.node, lanes.region] = True
    assert ((seen["tier"][0] >= 0) == served).all()
    np.testing.assert_allclose(seen["tariff"][0][lanes.node, lanes.region], lanes.tariff, rtol=1e-6)


@pytest.mark.parametrize("scenario", ["steady", "fc_outage", "cold_start"])
def test_what_has_not_happened_is_not_seen(scenario: str) -> None:
    """L12: nothing of today's observation rests on what the tape holds from now on.

    Other demand, deliveries, limits and later forecasts change nothing; what is announced stays.
    """
    world = build_world(scenario, "small", "placement")
    task, params, view = start(world)
    for _ in range(5):
        view = advance(world, task, params, view, Decisions())[0]
    rng = np.random.default_rng(0)
    now, tape = view.period, view.tape

    def other(values: Array, first: int) -> Array:
        changed = np.array(values)
        changed[first:] *= rng.uniform(0.2, 0.8, changed[first:].shape)
        return changed

    epoch = -(-now // tape.epoch_periods)
    changes: dict[str, Any] = {"demand": other(tape.demand, now)}
    for field in ("fraction", "quoted", "lead"):
        changed = other(getattr(tape, field), epoch)
        changes[field] = changed if field == "fraction" else np.ceil(changed)
    for field in ("forecast_daily", "outlook"):
        changes[field] = other(getattr(tape, field), now + 1)
    changes["recorded"] = other(tape.recorded, epoch)
    changes["limits"] = {
        name: other(limit, now) if name in tape.announced else limit
        for name, limit in tape.limits.items()
    }
    changes["announced"] = {
        name: np.concatenate((ahead[:, : now + 1], other(ahead[:, now + 1 :], 0)), axis=1)
        for name, ahead in tape.announced.items()
    }
    if scenario == "fc_outage":
        assert changes["announced"]
    changed = dataclasses.replace(tape, **changes)
    seen = task.observe(params, view)
    again = task.observe(params, view._replace(tape=changed))
    for field, values in seen.items():
        np.testing.assert_array_equal(values, again[field], err_msg=field)


def test_the_page_names_every_field_and_mode(world: World) -> None:
    """The class docstring is the documentation page."""
    page = Placement.__doc__ or ""
    task = Placement(world)
    for name in (*task.observation_space().spaces, *task.action_modes):
        assert f"`{name}`" in page


# gradients


def test_the_gradient_of_the_return_is_that_of_finite_differences(world: World) -> None:
    """L14: through decode and eight days, where the return is smooth on both sides."""
    task, params, first = start(world, batch=2, backend="torch")
    make_tensor = array_maker("torch", "float64")
    size = task.action_space("cover").shape[0]
    base = make_tensor(np.random.default_rng(2).uniform(-0.9, 0.0, (2, 8, size)))

    def value(action: torch.Tensor) -> torch.Tensor:
        view, total = first, -value_of(params, first.state, first.outlook)
        for k in range(8):
            decoded = task.decode(params, "cover", action[:, k], view)
            view, stretch = advance(world, task, params, view, decoded.decisions)
            total = total + sum(stretch.ledger.values())
        return total + value_of(params, view.state, view.outlook)

    free = base.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(free).sum(), free)
    assert torch.isfinite(slope).all() and (slope != 0).sum() > 20
    plain, step, smooth_ones = value(base), 1e-6, 0
    largest = slope.abs().amax(0).flatten().argsort(descending=True)[:6]
    for entry in largest.tolist():
        day, column = divmod(entry, size)
        bump = torch.zeros_like(base)
        bump[:, day, column] = step
        right, left = (value(base + bump) - plain) / step, (plain - value(base - bump)) / step
        smooth = (right - left).abs() < 1e-3 * (1.0 + right.abs())
        central, exact = (right + left) / 2.0, slope[:, day, column]
        gap = (central - exact).abs() / (1.0 + central.abs())
        assert (gap[smooth] < 1e-4).all(), (central, exact)
        smooth_ones += int(smooth.sum())
    assert smooth_ones > 0


def test_observations_carry_gradients(world: World) -> None:
    """A learner that differentiates through the simulator sees what its actions do."""
    task, params, view = start(world, batch=1, backend="torch")
    action = torch.full((1, task.action_space("cover").shape[0]), -0.3, dtype=torch.float64)
    action.requires_grad_(True)
    decoded = task.decode(params, "cover", action, view)
    view = advance(world, task, params, view, decoded.decisions)[0]
    seen = task.observe(params, view)
    last = task.centres.nodes[-1]
    stock = seen["on_hand"][:, :, last] + seen["yard"][:, :, last]
    (slope,) = torch.autograd.grad(stock.sum(), action)
    own = slope.reshape(task.action_shape("cover"))[:, -1]
    assert (own > 0).any()


def test_a_world_without_centres_cannot_be_placed() -> None:
    """The error says what is missing."""
    from stockyard.envs import textbook

    with pytest.raises(ValueError, match="^task: placement needs a world with transfer lanes"):
        gym.make(**{**textbook.lost_sales(textbook.Poisson(5), 2, 1, 9), "id": ID})
