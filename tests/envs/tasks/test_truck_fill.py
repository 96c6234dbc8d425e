"""Filling trucks: what the dispatcher sees, what its actions mean, and what they earn."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import TRUCKS

from stockyard.envs.network.freight import parcel_lane_names
from stockyard.envs.network.truck_rules import HoldRule
from stockyard.envs.network.world import World
from stockyard.envs.scenarios import build_world, names
from stockyard.envs.tasks.task import shaped
from stockyard.envs.tasks.truck_fill import MODES, TruckFill

SCENARIOS = (
    *("steady", "plain_lanes", "peak_days", "truck_shortage", "late_returns", "big_parcels"),
    "own_windows",
)
WAVES = 24


def batch(num_envs: int = 3, **changes: Any) -> Any:
    """A batch environment, unwrapped."""
    spec = {"id": TRUCKS, "horizon": WAVES, **changes}
    return gym.make_vec(num_envs=num_envs, **spec).unwrapped


def zeros(env: Any) -> Any:
    """The action in the middle."""
    return np.zeros(env.action_space.shape, dtype=np.float32)


def played(env: Any, action: Any, steps: int = WAVES, seed: int = 3) -> tuple[Any, list[Any]]:
    """Total reward of an action repeated, and the infos."""
    env.reset(seed=seed)
    total, infos = np.zeros(env.num_envs), []
    for _ in range(steps):
        _, reward, _, _, info = env.step(action)
        total += reward
        infos.append(info)
    return total, infos


@pytest.fixture(scope="module")
def world() -> World:
    """The small world."""
    return build_world("steady", "small", "truck_fill")


def test_lanes_share_the_trucks_of_a_centre(world: World) -> None:
    """Two centres, three regions, a hub: fetching, delivering, linehauls take the same trucks."""
    freight = world.network.freight
    assert freight is not None and freight.hubs is not None and freight.has_pallets
    assert len(world.network.outbound.node) == 6 and len(freight.pools) == 3
    assert set(freight.pool[:2]) == {0, 1} == set(freight.pool[2:8])
    assert world.periods_per_step == 1 and world.horizon == 112
    assert len(parcel_lane_names(world.network)) == 6 + freight.num_hub_lanes + 2


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_ledger_is_the_reward_and_freight_its_accounts(scenario: str) -> None:
    """What trucks, carriers, lateness and lost sales cost, and what is set aside; no more."""
    env = batch(scenario=scenario)
    total, infos = played(env, zeros(env))
    booked = sum(sum(info["ledger"].values()) for info in infos)
    np.testing.assert_allclose(total, booked)
    accounts = {"trucks", "spot", "expedite", "late", "goodwill", "inventory_value"}
    assert set(infos[0]["ledger"]) == accounts
    figures = infos[-1]["metrics"]
    assert 0.0 <= figures["utilisation_trucks"].max() <= 1.0 + 1e-9
    assert (figures["trucks"] >= figures["truckloads"] - 1e-9).all()


def test_a_threshold_of_zero_is_due_and_top_up() -> None:
    """The middle of the default mode is a sensible rule, by name as well."""
    rules = {"dispatch": "due_and_top_up"}
    env, other = batch(rules=rules), batch(rules=rules, action="residual")
    np.testing.assert_array_equal(played(env, zeros(env))[0], played(other, zeros(other))[0])


def test_a_residual_of_zero_is_the_standing_rule() -> None:
    """The agent begins where the rule stands, by name and numbers."""
    rule = {"name": "truck_hold", "hold": -0.3, "patience": 0.4, "via_hub": 1.0}
    env = batch(rules={"dispatch": rule}, action="residual")
    total, _ = played(env, zeros(env))
    same = batch(rules={"dispatch": HoldRule(hold=-0.3, patience=0.4, via_hub=1.0)})
    env_rule = same.world.rules["dispatch"]
    assert env.world.rules["dispatch"] == env_rule
    assert (played(batch(), zeros(batch()))[0] != total).all()
    moved, _ = played(env, zeros(env) + 0.3)
    assert (moved != total).all()


def test_a_residual_corrects_the_rule_that_the_action_mode_names() -> None:
    """The rule decides from the first wave of the episode; before it the standing rule does."""
    rule = {"name": "truck_hold", "hold": -0.3, "patience": 0.4, "via_hub": 1.0}
    env, standing = batch(action={"residual": rule}), batch()
    ruled = batch(rules={"dispatch": rule}, action="residual")
    assert env.action_mode == "residual" and env.policy_mode == {"residual": rule}
    assert ruled.policy_mode == {"residual": rule} and standing.policy_mode == "threshold"
    assert env.world.rules["dispatch"] == standing.world.rules["dispatch"]
    opening = [one.reset(seed=4)[0]["volume"] for one in (env, standing, ruled)]
    np.testing.assert_array_equal(opening[0], opening[1])
    assert (opening[0] != opening[2]).any()
    view, params = env._view, env.params
    plan = env.task.decode(params, "residual", zeros(env).astype(np.float64), view).decisions
    own = HoldRule(hold=-0.3, patience=0.4, via_hub=1.0)
    wanted = own(params, view.state, view.tape.known(view.period))
    np.testing.assert_allclose(plan.trucks, wanted.trucks)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"residual": "nobody"}, "rules: unknown dispatch rule 'nobody'"),
        ({"threshold": "full_only"}, "action: only .*residual.* takes a rule"),
        ({"residual": {"name": "truck_hold", "holds": 1}}, "truck_hold has no parameter 'holds'"),
    ],
)
def test_a_wrong_rule_of_the_action_mode_is_named(action: Any, message: str) -> None:
    """Before anything is simulated."""
    with pytest.raises(ValueError, match=message):
        batch(action=action)


@pytest.mark.parametrize("mode", ["threshold", "trucks", "residual"])
def test_a_mode_is_the_same_plan_in_quantities(mode: str) -> None:
    """What a mode decodes to, given as quantities, leads to the same episode."""
    env, raw = batch(action=mode), batch(action="quantity")
    env.reset(seed=3)
    raw.reset(seed=3)
    env.action_space.seed(1)
    for _ in range(6):
        action = env.action_space.sample()
        plan = env.task.decode(env.params, mode, np.asarray(action, float), env._current).decisions
        parts = [np.minimum(plan.trucks, 4), np.minimum(plan.spot, 4), plan.via_hub, plan.expedite]
        rows = [np.broadcast_to(part, (3, np.shape(part)[-1])) for part in parts]
        if (plan.trucks > 4).any() or (plan.spot > 4).any():
            continue
        given = np.concatenate(rows, axis=1).astype(np.float32)
        np.testing.assert_allclose(env.step(action)[1], raw.step(given)[1], rtol=1e-5)


def test_masks_leave_what_the_pool_can_send() -> None:
    """No truck that is away, and none beyond those at hand and for hire, can be asked for."""
    env = batch(action="trucks")
    env.reset(seed=0)
    lanes = env.task.sizes["L"]
    sizes = env.single_action_space.nvec
    rng = np.random.default_rng(0)
    for _ in range(8):
        masks = env.action_masks()
        assert masks.shape == (3, sizes.sum())
        parts = np.split(masks, np.cumsum(sizes)[:-1], axis=1)
        seen = shaped(env._observation(env._current), env.field_shapes)
        for lane, part in enumerate(parts[:lanes]):
            most = np.minimum(seen["trucks_at_hand"][:, lane], 4)
            np.testing.assert_array_equal(part.sum(axis=1) - 1, np.floor(most + 1e-6))
        assert all(part.all() for part in parts[lanes:])
        drawn = [[rng.choice(np.flatnonzero(row)) for row in part] for part in parts]
        env.step(np.array(drawn).T)
    single = gym.make(TRUCKS, action="trucks", horizon=8)
    single.reset(seed=0)
    assert single.unwrapped.action_masks().shape == (sizes.sum(),)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_has_not_happened_is_not_seen(scenario: str) -> None:
    """L12: an observation is the same whatever the tape holds from its moment on."""
    env = batch(scenario=scenario)
    env.reset(seed=5)
    for _ in range(5):
        env.step(zeros(env))
    view = env._current
    tape, now = view.tape, view.period
    day = now // 4
    freight = tape.freight
    expected = freight.expected.copy()
    expected[:, day + 1 :] *= 3.0
    delay = None
    if freight.return_delay is not None:  # those of trucks under way are not known either
        delay = freight.return_delay * 0.0 + 1.0
    volume, parcels = freight.volume.copy(), freight.parcels.copy()
    volume[now:] *= 2.0
    parcels[now:] *= 2.0
    limits = {name: values.copy() for name, values in tape.limits.items()}
    for field, values in limits.items():
        if len(values) > 1 and field in tape.announced:
            values[now + 1 :] *= 0.3
    changed = dataclasses.replace(
        tape,
        demand=np.concatenate((tape.demand[:now], tape.demand[now:] * 3.0)),
        limits=limits,
        freight=freight._replace(
            expected=expected, volume=volume, parcels=parcels, return_delay=delay
        ),
    )
    before = env.task.observe(env.params, view)
    after = env.task.observe(env.params, view._replace(tape=changed))
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)


def test_forecasts_of_volume_do_not_err_on_average() -> None:
    """What is expected two days ahead is what joins, over many tapes; near waves are surer."""
    env = batch(256, horizon=16)
    env.reset(seed=0)
    tape = env.tape.freight
    start, ahead = env._current.period, 9
    seen = tape.forecast(start, ahead + 1)
    joined = np.asarray(tape.volume)[start + ahead]
    error = (joined - seen[:, :, ahead])[:, joined.mean(axis=0) > 0.0]
    assert (np.abs(error.mean(axis=0)) < 4.0 * error.std(axis=0) / np.sqrt(256)).all()
    near = np.asarray(tape.volume)[start] - seen[:, :, 0]
    assert near.std() < 0.8 * error.std()


def test_trucks_that_are_late_are_overdue() -> None:
    """A truck that does not return when it should is seen as such, and not before."""
    env = batch(scenario="late_returns")
    env.reset(seed=1)
    late = 0.0
    for _ in range(12):
        seen = shaped(env.step(zeros(env))[0], env.field_shapes)
        fleet = env.tape.known(env._current.period).fleet_size
        away = env.state.freight.away.sum(axis=1)
        told = seen["overdue"] + seen["due_back"].sum(axis=2)
        np.testing.assert_allclose(told, away, atol=1e-4)
        np.testing.assert_allclose(seen["own_trucks"], np.maximum(fleet - away, 0.0), atol=1e-4)
        late += seen["overdue"].sum()
    assert late > 0.0


def test_late_parcels_are_the_cost() -> None:
    """Nothing leaves: what was due is late, of customers' parcels, and pallets do not count."""
    env = batch(action="trucks")
    _, infos = played(env, np.zeros(env.action_space.shape, dtype=np.int64), steps=16)
    cost = np.mean([info["cost"] for info in infos], axis=0)
    assert (cost > 0.5).all() and env.cost_limit == 0.01
    calm = batch()
    _, infos = played(calm, zeros(calm), steps=16)
    assert (np.mean([info["cost"] for info in infos], axis=0) < cost / 20.0).all()


def test_the_page_names_every_field_and_mode(world: World) -> None:
    """The docstring is the documentation."""
    task, page = TruckFill(world), TruckFill.__doc__ or ""
    for name in (*task.field_shapes(), *MODES, "driver_hours", "to_hub_volume"):
        assert f"`{name}`" in page, name


def test_a_world_without_trucks_has_nothing_to_fill() -> None:
    """The error says what is missing."""
    with pytest.raises(ValueError, match="needs a world with freight"):
        TruckFill(build_world("steady", "small", "placement"))


def test_every_scenario_of_trucks_is_named() -> None:
    """Scenarios of this task are files like the others."""
    assert set(SCENARIOS) <= set(names())


def test_both_backends_fill_the_same_trucks() -> None:
    """One source: NumPy and torch send the same trucks for the same money."""
    totals = [played(env, zeros(env), 8)[0] for env in (batch(), batch(backend="torch"))]
    np.testing.assert_allclose(*totals)


def test_larger_sizes_have_so_many_lanes() -> None:
    """40 and 384 lanes to customers, two hubs and twelve."""
    env = gym.make(TRUCKS, size="medium", horizon=4)
    observation, _ = env.reset(seed=0)
    assert env.unwrapped.task.sizes["E"] == 40
    assert observation["via_line"].shape == (40,)
    assert np.isfinite(env.step(np.zeros(env.action_space.shape, dtype=np.float32))[1])
    large = TruckFill(build_world("steady", "large", "truck_fill"))
    assert large.sizes == {"L": 651, "E": 384, "F": 580, "G": 52}
