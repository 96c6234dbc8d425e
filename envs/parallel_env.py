"""Sellers as agents: the PettingZoo view of a platform's network (extra `multi-agent`)."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import ParallelEnv

from stockyard.envs.network.accounting import stock_value_by_seller
from stockyard.envs.network.arrays import sum_entries, to_numpy
from stockyard.envs.network.seller_accounts import accounts_by_seller, surplus_by_seller
from stockyard.envs.network.sellers import used_space
from stockyard.envs.network.standing_rules import Rule
from stockyard.envs.network.state import Decisions, SellerChoices, State
from stockyard.envs.network.streams import Streams, check_split
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.world import MONTH_DAYS, World, outlook_at, simulate
from stockyard.envs.scenarios import build_world
from stockyard.envs.tasks.restock_modes import NO_LIMIT

Fields = dict[str, npt.NDArray[np.float32]]


class SellersParallelEnv(ParallelEnv):  # type: ignore[misc]  # PettingZoo has no types
    """The sellers of `stockyard/RestockLimits-v0`, each an agent with knowledge of its own.

    ## Description

    A platform rations its space by a standing rule, month after month. Its sellers decide, week
    after week, how much stock they aim at, how much space they say they need, and whether they cut
    prices. They share storage, docks and centres, and what one sends in another waits behind. Each
    earns its own surplus: a game of general sum.

    One `step` is a week, in the order of events of the network's step; terms come into force on the
    first day of every fourth.

    ## Action space

    Box(-1, 1, (3,)) for every agent; all zeros is a truthful newsvendor with its own beliefs.

    | entry | meaning |
    |---|---|
    | 0 | stock aimed at: 2^a times that of a newsvendor under the limit |
    | 1 | request: 2^a times the need |
    | 2 | price cut: max(a, 0) times the largest cut, 10 % |

    ## Observation space

    A Dict of float32 boxes in physical units, for every agent alike; K is the largest number of
    products of a seller, and who has fewer sees zeros behind them. It shows what is a seller's own
    and what the platform tells it; nothing of others.

    | field | shape | unit | min | max |
    |---|---|---|---|---|
    | `on_hand` | (K,) | units in the network's buildings | 0 | 1e9 |
    | `inventory_position` | (K,) | units there and on the way | 0 | 1e9 |
    | `belief` | (K,) | units a day that the seller expects over four weeks | 0 | 1e9 |
    | `sales_daily` | (K,) | units a day, average of 90 days | 0 | 1e9 |
    | `in_stock` | (K,) | share of demand that met a stocked shelf | 0 | 1 |
    | `price`, `unit_cost` | (K,) | USD | 0 | 1e6 |
    | `volume` | (K,) | ft3 | 0 | 1e6 |
    | `limit` | (1,) | ft3 on hand and inbound, space bought included; 1e9: none | 0 | 1e9 |
    | `used` | (1,) | ft3 of it in use | 0 | 1e9 |
    | `outlook` | (2,) | ft3 announced for the next two months | 0 | 1e9 |
    | `granted_share` | (1,) | average share of needs that limits allowed | 0 | 1 |
    | `storage_price` | (1,) | USD per ft3-month, mean of the size classes | 0 | 1e6 |
    | `weeks_to_terms` | (1,) | weeks until the next terms; 0: now | 0 | 3 |

    ## Reward

    A seller's accrual profit of the week in USD: sales less fees, purchases, storage, capital, with
    what it sends customers itself, and the change of its stock's value.

    ## Starting state

    After 28 days under the standing rules and the sellers' habits.

    ## Episode end

    All agents are truncated together after `horizon` days; none is terminated.

    ## References

    Cachon & Lariviere, Management Science 45, 1999; Terry et al., PettingZoo, NeurIPS 2021.

    ## Version history

    - v0: unstable until the first leaderboard.
    """

    metadata: dict[str, Any] = {"name": "stockyard_sellers_v0", "render_modes": []}

    def __init__(
        self,
        scenario: Any = "steady",
        size: str = "small",
        *,
        horizon: int | None = None,
        rules: Mapping[str, str | Mapping[str, Any] | Rule] | None = None,
        split: str = "train",
    ) -> None:
        """Builds the world; nothing random is drawn before `reset`.

        Args:
            scenario: as `stockyard.envs.vector_env.NetworkVectorEnv` takes it.
            size: "small", "medium" or "large".
            horizon: days of an episode, a multiple of 28; None: a year of 12 months.
            rules: slot -> standing rule; `restock` is how the platform rations space.
            split: "train", "validation" or "test": disjoint families of tapes.

        Raises:
            ValueError: for unknown names and values out of range.
        """
        check_split(split)
        world = build_world(scenario, size, "restock_limits", rules=rules)
        source = dataclasses.replace(world.source, outlook_periods=world.source.epoch_periods)
        self.world: World = dataclasses.replace(world, source=source)
        self.split = split
        month = MONTH_DAYS * world.network.periods_per_day
        self.horizon = world.horizon if horizon is None else horizon
        if not self.horizon >= month or self.horizon % month:
            raise ValueError(f"horizon: must be a positive multiple of {month}, got {horizon!r}")
        assert self.world.sellers is not None
        self.params = self.world.params("numpy", "float64")
        owner = self.world.network.products.owner
        self._products = [
            np.flatnonzero(owner == s + 1) for s in range(self.world.sellers.num_sellers)
        ]
        self._most = max(len(products) for products in self._products)
        self.possible_agents = [f"seller_{s + 1}" for s in range(len(self._products))]
        self.agents: list[str] = []
        self._seed, self._episode = 0, -1
        self._tape: Tape | None = None
        self._state: State | None = None
        self._period = 0
        self._value: Any = None

    @functools.cache  # noqa: B019 - PettingZoo asks for the same object
    def observation_space(self, agent: str) -> spaces.Dict:
        """The observation space of an agent: the same for all."""
        k = self._most

        def box(size: int, high: float) -> spaces.Box:
            return spaces.Box(0.0, high, (size,), dtype=np.float32)

        return spaces.Dict(
            {
                **{name: box(k, 1e9) for name in ("on_hand", "inventory_position", "belief")},
                "sales_daily": box(k, 1e9),
                "in_stock": box(k, 1.0),
                **{name: box(k, 1e6) for name in ("price", "unit_cost", "volume")},
                "limit": box(1, NO_LIMIT),
                "used": box(1, 1e9),
                "outlook": box(2, NO_LIMIT),
                "granted_share": box(1, 1.0),
                "storage_price": box(1, 1e6),
                "weeks_to_terms": box(1, 3.0),
            }
        )

    @functools.cache  # noqa: B019 - PettingZoo asks for the same object
    def action_space(self, agent: str) -> spaces.Box:
        """The action space of an agent."""
        return spaces.Box(-1.0, 1.0, (3,), dtype=np.float32)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Fields], dict[str, dict[str, Any]]]:
        """Draws the tape of a new episode and runs the burn-in.

        Args:
            seed: of the tape; None goes on to the next episode of the seed in force.
            options: none are known.
        """
        if seed is None:
            self._episode += 1
        else:
            self._seed, self._episode = int(seed), 0
        world, params = self.world, self.params
        streams = [Streams(self.split, self._seed, self._episode)]
        tape = world.source.draw(params, streams, world.burn_in + self.horizon + 1)
        state = world.opening_state(params, 1)
        state, _ = simulate(world, params, state, tape, 0, world.burn_in, Decisions())
        self._tape, self._state, self._period = tape, state, world.burn_in
        self._value = self._worth()
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, npt.NDArray[np.float32]]
    ) -> tuple[
        dict[str, Fields],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Takes a week's decisions of all sellers.

        Args:
            actions: agent -> (3,); out-of-range entries are projected.

        Raises:
            RuntimeError: before `reset`, and after the end of an episode.
            ValueError: for a missing agent, a NaN or a wrong shape, naming the agent.
        """
        if not self.agents or self._tape is None or self._state is None:
            raise RuntimeError("call reset() before anything else")
        given = np.stack([self._checked(actions, agent) for agent in self.agents])[None]
        choices = SellerChoices(
            stock=2.0 ** given[..., 0],
            request=2.0 ** given[..., 1],
            cut=np.maximum(given[..., 2], 0.0) * self._largest_cut,
        )
        world, params = self.world, self.params
        week = world.source.epoch_periods
        self._state, stretch = simulate(
            world,
            params,
            self._state,
            self._tape,
            self._period,
            week,
            Decisions(choices=choices),
        )
        self._period += week
        value = self._worth()
        gained = surplus_by_seller(accounts_by_seller(params, stretch.flows)) + value - self._value
        self._value = value
        is_over = self._period >= world.burn_in + self.horizon
        observations = self._observations()
        agents = list(self.agents)
        if is_over:
            self.agents = []
        return (
            observations,
            {agent: float(gained[0, s]) for s, agent in enumerate(agents)},
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, is_over),
            {agent: {} for agent in agents},
        )

    @property
    def _largest_cut(self) -> float:
        return 0.0 if self.world.sellers is None else self.world.sellers.most_cut

    def _checked(self, actions: Mapping[str, Any], agent: str) -> npt.NDArray[np.float64]:
        if agent not in actions:
            raise ValueError(f"actions: {agent} is missing")
        action = np.asarray(actions[agent], dtype=np.float64)
        if action.shape != (3,) or not np.isfinite(action).all():
            raise ValueError(f"actions: {agent} must give 3 finite numbers, got {actions[agent]!r}")
        return np.clip(action, -1.0, 1.0)

    def _worth(self) -> Any:
        """Value of each seller's stock, (1, S) USD."""
        assert self._tape is not None and self._state is not None
        outlook = outlook_at(self.world, self._tape, self._period)
        cover = outlook[round(self.world.economics.value_cover_days)]
        return stock_value_by_seller(self.params, self._state, cover)

    def _observations(self) -> dict[str, Fields]:
        state, tape, world = self._state, self._tape, self.world
        assert state is not None and tape is not None and state.sellers is not None
        sellers, products = state.sellers, world.network.products
        inside = sum_entries(state.on_hand if state.yard is None else state.on_hand + state.yard)
        belief = tape.at(self._period).beliefs
        assert belief is not None
        by_product = {
            "on_hand": inside[0],
            "inventory_position": np.maximum(state.position[0], 0.0),
            "belief": belief[0],
            "sales_daily": sellers.sales[0],
            "in_stock": np.clip(sellers.in_stock[0], 0.0, 1.0),
            "price": products.price,
            "unit_cost": products.unit_cost,
            "volume": products.volume,
        }
        used = used_space(self.params, state)[0]
        limit = np.minimum(sellers.limit + sellers.won, NO_LIMIT)[0]
        outlook = np.minimum(sellers.outlook, NO_LIMIT)[0]
        month = MONTH_DAYS * world.network.periods_per_day
        weeks = (-self._period % month) // world.source.epoch_periods
        shown = {}
        for s, agent in enumerate(self.agents or self.possible_agents):
            own = self._products[s]
            fields: Fields = {}
            for name, values in by_product.items():
                fields[name] = np.zeros(self._most, dtype=np.float32)
                fields[name][: len(own)] = to_numpy(values)[own]
            for name, value in (
                ("limit", limit[s]),
                ("used", used[s]),
                ("granted_share", sellers.granted[0, s]),
                ("storage_price", 30.0 * sellers.price[0].mean()),
                ("weeks_to_terms", weeks),
            ):
                fields[name] = np.array([value], dtype=np.float32)
            fields["outlook"] = outlook[s].astype(np.float32)
            shown[agent] = fields
        return shown
