"""Placement rules allocate as their sources say, on instances with a known answer."""

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts, search_of
from stockyard.agents.heuristics.centres import Centres
from stockyard.agents.heuristics.placement_lp import BUCKETS_DAYS, Fluid
from stockyard.agents.heuristics.placement_margin import marginal_allocation
from stockyard.agents.oracles.locations import OnePeriod, fixed_lot_split
from stockyard.envs import textbook
from stockyard.envs.tasks.task import shaped

PLACEMENT = {"id": "stockyard/Placement-v0", "size": "small"}
PARAMETERS = {
    "hub_only": {},
    "forecast_share_push": {"local_days": 9.0, "regional_days": 4.0, "reserve_days": 4.0},
    "cover_equalisation": {"most_days": 8.0, "dock_fill": 0.5},
    "local_first_with_reserve": {"local_days": 8.0, "regional_days": 6.0, "dock_fill": 0.5},
    "marginal_profit_greedy": {"horizon_days": 2.4, "dock_fill": 0.6},
    "spillover_aware": {"horizon_days": 2.4, "dock_fill": 0.6},
    "lp_dual_prices": {"horizon_days": 2.4, "dock_fill": 0.6, "price_factor": 1.0},
    "dlp_resolve": {"dock_fill": 0.5, "demand_factor": 1.3},
    "pooled_reserve": {"local_days": 5.5},
}
FAST = [name for name in PARAMETERS if name not in ("lp_dual_prices", "dlp_resolve")]


@pytest.fixture(scope="module")
def env():
    """A small placement world in mode `quantity`, three replicas."""
    built = gym.make_vec(**PLACEMENT, num_envs=3, action="quantity")
    yield built
    built.close()


@pytest.fixture(scope="module")
def observation(env):
    """An observation of it."""
    return env.reset(seed=0)[0]


def fields(env, observation):
    """The observation in its shapes, float64."""
    shapes = env.unwrapped.field_shapes
    return {k: np.asarray(v, float) for k, v in shaped(observation, shapes).items()}


def with_stock(env, observation, dock, centres, daily):
    """The observation with this stock at the dock, at every centre, and this daily forecast."""
    found = fields(env, observation)
    rule = agents.make("hub_only", env)
    where = rule.centres
    found["on_hand"][:] = 0.0
    found["on_hand"][:, np.arange(where.num_products), where.dock] = dock
    found["on_hand"][:, :, where.nodes] = centres
    found["yard"][:], found["in_transit"][:], found["inbound_quoted"][:] = 0.0, 0.0, 0.0
    found["forecast_by_region"][:] = daily
    return {k: v.reshape(len(v), -1) for k, v in found.items()}, where


def decided(rule, observation):
    """Units to move, (B, P, F)."""
    action, _ = rule.predict(observation)
    return action.reshape(len(action), rule.centres.num_products, rule.centres.count)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_rule_never_sends_what_the_dock_has_not(env, observation, name):
    """Every rule plays, in units at hand, whatever is asked of it."""
    rule = agents.make(name, env, **PARAMETERS[name])
    moved = decided(rule, observation)
    found = fields(env, observation)
    stock = found["on_hand"][:, np.arange(rule.centres.num_products), rule.centres.dock]
    assert np.isfinite(moved).all() and (moved >= 0).all() and moved.sum() > 0
    assert (moved.sum(axis=-1) <= stock * (1 + 1e-6) + 1e-6).all()
    single = {k: v[1] for k, v in observation.items()}
    assert rule.predict(single)[0] == pytest.approx(moved[1].ravel())


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"hub_only"}))
def test_a_rule_says_how_it_is_tuned(env, name):
    """What is not tuned is no rival; the search must make the rule it scores."""
    factory = agents.registered()[name].resolve()
    search = search_of(factory)
    space = search.space(Facts(env))
    middle = {p.name: (p.low + p.high) / 2.0 for p in space}
    assert factory(env, **search.parameters(Facts(env), middle)).action_mode == "quantity"
    assert all(p.least <= p.low < p.high <= p.most for p in space)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_rule_is_refused_where_nothing_is_placed(name):
    """Rules fail when they are built, by name."""
    with pytest.raises(ValueError, match=name):
        agents.make(name, textbook.newsvendor(textbook.Poisson(4), 1, 9), **PARAMETERS[name])


def test_what_an_observation_lacks_is_named():
    """It asks for placing, but shows too little to place by."""
    spec = {"id": "stockyard/Network-v0", "size": "small", "slots": ("place",)}
    with pytest.raises(ValueError, match="hub_only: needs .*Placement-v0; .* lacks .*inbound_quot"):
        agents.make("hub_only", spec)


def test_local_placement_earns_more_than_the_hub_alone():
    """The stake of the task: paired, on eight tapes and four weeks."""

    def play(name):
        rule = agents.make(name, PLACEMENT, **PARAMETERS[name])
        return agents.evaluate(rule, PLACEMENT, num_tapes=8, periods=28, seed=7)

    hub = play("hub_only")
    for name in ("local_first_with_reserve", "marginal_profit_greedy", "pooled_reserve"):
        assert play(name).mean > hub.mean


def test_hub_only_sends_all_to_the_regional_centres(env, observation):
    """The zero of the scores, by definition."""
    rule = agents.make("hub_only", env)
    moved = decided(rule, observation)
    found = fields(env, observation)
    stock = found["on_hand"][:, np.arange(rule.centres.num_products), rule.centres.dock]
    assert moved[..., ~rule.centres.regional] == pytest.approx(0.0)
    assert moved.sum(axis=-1) == pytest.approx(stock)


def test_hub_only_shares_by_the_forecast_of_what_each_regional_centre_catches():
    """With several regional centres, medium size: units are in proportion to the demand caught."""
    env = gym.make_vec(**{**PLACEMENT, "size": "medium"}, num_envs=1, action="quantity", horizon=7)
    observation = env.reset(seed=0)[0]
    rule = agents.make("hub_only", env)
    moved = decided(rule, observation)
    caught = fields(env, observation)["forecast_by_region"] @ rule.centres.catchment.T
    env.close()
    assert rule.centres.regional.sum() == 3
    assert rule.centres.catchment.sum(axis=0) == pytest.approx(1.0)
    total = moved.sum(axis=-1, keepdims=True)
    assert moved == pytest.approx(total * caught / caught.sum(axis=-1, keepdims=True))


def test_share_push_fills_every_centre_alike_when_short(env, observation):
    """Needs 5 d at the local centres, 2 (d1 + d2 + d3) at the regional one; half of that there."""
    daily = np.array([3.0, 2.0, 1.0])
    _, where = with_stock(env, observation, 0.0, 0.0, daily)
    nearby = where.home @ daily
    target = np.where(where.regional, 2.0 * daily.sum(), 5.0 * nearby)
    needs, _ = with_stock(env, observation, target.sum() / 2.0, 0.0, daily)
    rule = agents.make("forecast_share_push", env, local_days=5.0, regional_days=2.0)
    assert decided(rule, needs) == pytest.approx(
        np.broadcast_to(target / 2.0, (3, where.num_products, 3))
    )


def test_local_first_fills_local_centres_before_others_and_keeps_the_rest(env, observation):
    """By hand: local 4 d, then regional 1 day of all; a nearly empty dock keeps what is left."""
    daily = np.array([0.3, 0.2, 0.1])
    short, where = with_stock(env, observation, 1.0, 0.0, daily)
    nearby = where.home @ daily
    rule = agents.make(
        "local_first_with_reserve", env, local_days=4.0, regional_days=1.0, dock_fill=0.9
    )
    local = np.where(where.regional, 0.0, 4.0 * nearby)
    assert local.sum() > 1.0
    assert decided(rule, short)[0, 0] == pytest.approx(local / local.sum())
    enough, _ = with_stock(env, observation, 10.0, 0.0, daily)
    wanted = local + np.where(where.regional, daily.sum(), 0.0)
    assert decided(rule, enough)[0, 0] == pytest.approx(wanted)
    empty = agents.make(
        "local_first_with_reserve", env, local_days=4.0, regional_days=1.0, dock_fill=0.0
    )
    all_of_it = decided(empty, enough)[0, 0]
    assert all_of_it.sum() == pytest.approx(10.0)
    assert all_of_it[~where.regional] == pytest.approx(wanted[~where.regional])


def test_cover_equalisation_gives_every_centre_the_same_days(env, observation):
    """The closed form of the fair share: equal run-out times where nothing caps them."""
    daily = np.array([0.3, 0.2, 0.1])
    given, where = with_stock(env, observation, 2.0, 0.1, daily)
    rule = agents.make("cover_equalisation", env, most_days=90.0, dock_fill=0.5)
    moved = decided(rule, given)
    cover = (moved + 0.1) / (where.home @ daily)
    assert cover == pytest.approx(np.full_like(cover, (2.0 + 0.3) / 0.6))


@pytest.mark.parametrize(("lot", "split"), [(16, (6, 10)), (20, (8, 12)), (24, (10, 14))])
def test_spillover_splits_a_lot_between_two_centres_optimally(lot, split):
    """B2 of the known answers: Poisson 8 and 12; 1 to serve at home, 3 across, 9 lost."""
    mean = np.array([8.0, 12.0])
    moved = marginal_allocation(
        lambda p: stats.poisson.isf(p, mean),
        gain=np.full((1, 1, 2), 3.0 - 1.0),
        bonus=np.full((1, 1, 2), (9.0 - 3.0) * stats.poisson.sf(lot, 20.0)),
        position=np.zeros((1, 1, 2)),
        available=np.array([[float(lot)]]),
        volume=np.ones(1),
        room=np.full((1, 2), np.inf),
        halvings=40,
    )
    assert tuple(moved[0, 0]) == split
    laws = [textbook.Poisson(8), textbook.Poisson(12)]
    assert fixed_lot_split(laws, lot, 1.0, 3.0, 9.0)[0] == split


def test_spillover_finds_the_placement_newsvendor():
    """B1: price 10, cost 4, salvage 1, shipping 1 or 3: (8, 13), where a pool sees no use of more.

    A unit at hand is worth 10 - 3 - 1 across, 2 more at home; 4 - 1 is what it costs to be left.
    """
    mean, best = np.array([8.0, 12.0]), None
    for lot in range(15, 27):
        across = 6.0 * stats.poisson.sf(lot - 1, 20.0)  # of the last unit of the lot
        moved = marginal_allocation(
            lambda p: stats.poisson.isf(p, mean),
            gain=np.full((1, 1, 2), 2.0),
            bonus=np.full((1, 1, 2), across),
            position=np.zeros((1, 1, 2)),
            available=np.array([[float(lot)]]),
            volume=np.ones(1),
            room=np.full((1, 2), np.inf),
            halvings=40,
        )[0, 0]
        last = 2.0 * stats.poisson.sf(moved - 1, mean).min() + across
        if last >= 3.0:
            best = tuple(moved)
    assert best == (8, 13)
    cost = OnePeriod([textbook.Poisson(8), textbook.Poisson(12)], 3.0, 6.0, 1.0, 3.0)
    assert cost.best()[0] == best


def test_marginal_allocation_is_the_unit_by_unit_greedy():
    """Against the loop that gives one unit after the other, with Poisson demand."""
    rng = np.random.default_rng(1)
    mean = rng.uniform(2.0, 9.0, (1, 5, 3))
    gain, position = rng.uniform(1.0, 4.0, (1, 5, 3)), np.floor(rng.uniform(0.0, 4.0, (1, 5, 3)))
    available = np.full((1, 5), 9.0)
    moved = marginal_allocation(
        lambda p: stats.poisson.isf(p, mean),
        gain,
        np.zeros((1, 5, 3)),
        position,
        available,
        np.ones(5),
        np.full((1, 3), np.inf),
        halvings=40,
    )
    greedy = np.zeros_like(moved)
    for product in range(5):
        for _ in range(9):
            at = position[0, product] + greedy[0, product]
            earns = gain[0, product] * stats.poisson.sf(at, mean[0, product])
            greedy[0, product, int(np.argmax(earns))] += 1.0
    assert moved == pytest.approx(greedy)


def test_a_full_centre_keeps_what_earns_most_per_cubic_foot():
    """Two products of one gain: the bulky one is cut first."""
    moved = marginal_allocation(
        lambda p: 10.0 * np.exp(-p),  # smooth and falling
        gain=np.ones((1, 2, 1)),
        bonus=np.zeros((1, 2, 1)),
        position=np.zeros((1, 2, 1)),
        available=np.array([[100.0, 100.0]]),
        volume=np.array([1.0, 8.0]),
        room=np.array([[60.0]]),
        halvings=40,
    )
    assert moved[0, 0, 0] + 8.0 * moved[0, 1, 0] == pytest.approx(60.0, rel=1e-3)
    assert moved[0, 0, 0] > moved[0, 1, 0]


def test_gains_are_acceptance_and_tariff_over_the_next_best_centre(env, observation):
    """By hand, from acceptance 1, .93, .80 and the tariffs that the observation shows."""
    centres = Centres(Facts(env), "test")
    found = fields(env, observation)
    stocks = centres.read(shaped(observation, env.unwrapped.field_shapes))
    gain, spill = centres.gains(stocks)
    local = int(np.flatnonzero(~centres.regional)[0])
    hub = int(np.flatnonzero(centres.regional)[0])
    region = int(np.flatnonzero(centres.home[local])[0])
    tariff = found["tariff"][0][centres.nodes]
    for product in range(3):
        net = centres.worth[product] - found["tariff_weight"][0, product] * tariff[:, region]
        expected = net[local] - 0.93 * net[hub]
        assert gain[0, product, local] == pytest.approx(expected, rel=1e-5)
        home = int(np.flatnonzero(centres.home[hub])[0])
        own = centres.worth[product]
        own -= found["tariff_weight"][0, product] * tariff[hub, home]
        assert gain[0, product, hub] == pytest.approx(own, rel=1e-5)
    assert (spill[:, :, hub] > spill[:, :, local])[spill[:, :, hub] > 0].all()


def test_the_fluid_program_serves_everybody_at_home_where_it_can(env, observation):
    """Its optimum is known with two weeks of demand at every home: all is sold at the best tier."""
    daily = np.array([0.02, 0.01, 0.01])
    given, where = with_stock(env, observation, 0.0, 14.0 * np.zeros(3), daily)
    shapes = env.unwrapped.field_shapes
    found = shaped(given, shapes)
    found["on_hand"][:, :, where.nodes] = 14.0 * (where.home @ daily)
    stocks = where.read(found)
    fluid = Fluid(where)
    data = fluid.data(stocks, 1.0, 1.0)
    solved = fluid.solve(fluid.costs(0.0, 0.0), data.equal[0], data.most[0])
    shipped = solved.x[fluid.where["y"]].reshape(where.num_products, -1, len(BUCKETS_DAYS))
    at_home = where.home[fluid.lanes[:, 0], fluid.lanes[:, 1]] > 0
    pays = where.worth > 5.0
    expected = 14.0 * daily[fluid.lanes[at_home, 1]]
    assert shipped[pays][:, at_home].sum(axis=-1) == pytest.approx(
        np.broadcast_to(expected, (int(pays.sum()), int(at_home.sum())))
    )


def test_the_price_of_ample_space_is_zero(env, observation):
    """Complementary slackness: the dual prices of an empty network are zero."""
    given, _ = with_stock(env, observation, 0.1, 0.0, np.array([0.02, 0.01, 0.01]))
    rule = agents.make("lp_dual_prices", env, **PARAMETERS["lp_dual_prices"])
    _, (_, prices) = rule.predict(given)
    assert prices == pytest.approx(0.0)


def test_dual_prices_of_a_batch_are_those_of_its_rows(env, observation):
    """Each row solves its program weekly from its own start, whatever the others do."""
    given, _ = with_stock(env, observation, 400.0, 20.0, np.array([2.0, 1.0, 1.0]))
    rule = agents.make("lp_dual_prices", env, **PARAMETERS["lp_dual_prices"])
    rows = len(given["inventory_position"])
    first, _ = with_stock(env, observation, 30.0, 5.0, np.array([0.5, 1.0, 2.0]))
    _, state = rule.predict(first)
    start = np.zeros(rows, dtype=bool)
    start[0] = True
    together, (days, prices) = rule.predict(given, state, episode_start=start)
    assert days.tolist() == [6] + [5] * (rows - 1)
    np.testing.assert_array_equal(prices[1:], state[1][1:])
    for row in range(rows):
        mine = {name: values[row : row + 1] for name, values in given.items()}
        own_state = (state[0][row : row + 1], state[1][row : row + 1])
        alone, (_, own) = rule.predict(mine, own_state, episode_start=start[row : row + 1])
        np.testing.assert_array_equal(own[0], prices[row])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_a_reserve_makes_room_for_what_arrives(env, observation):
    """The more is quoted to come, the less the dock keeps."""
    calm, where = with_stock(env, observation, 400.0, 20.0, np.array([2.0, 1.0, 1.0]))
    quoted = calm["inbound_quoted"].reshape(3, where.num_products, 7)
    quoted[..., 2] = 1e-3  # all is due again at the same time
    busy = {k: v.copy() for k, v in calm.items()}
    busy["inbound_quoted"].reshape(quoted.shape)[..., 2] = 60.0
    rule = agents.make("pooled_reserve", env, **PARAMETERS["pooled_reserve"])
    assert (decided(rule, busy) >= decided(rule, calm) - 1e-6).all()
    assert decided(rule, busy).sum() > 1.01 * decided(rule, calm).sum()
