"""Networks shared by all products and lanes: one row of features per decision, one set of weights.

What depends on an environment is in its `Layout`, not in the weights, so that a policy trained on
12 products runs on 2,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from stockyard.agents.learners import around, offered, steered
from stockyard.agents.learners.around import LIFT_DAYS, AimingRule, Guide, Rule
from stockyard.agents.learners.layout import GLOBAL_FIELDS, POSITION, Layout
from stockyard.agents.learners.offered import OfferedRule
from stockyard.agents.learners.steered import SteeredRule

STRUCTURES = {
    "quantity": 1,
    "order_up_to": 1,
    "capped": 2,
    "around": 1,
    "steered": steered.OUTPUTS,
    "offered": offered.OUTPUTS,
}
"""What the outputs mean where actions are quantities, and how many there are for a decision.

quantity: units, as multiples of the mean demand. order_up_to: a level, of which the lane's echelon
position falls short. capped: the same, and a largest order (Xin 2021; Sun & Van Mieghem 2019).
around: a factor on what a named rule aims at, in retail tasks; see `around`. steered: factors on
what a rule for placement goes by; see `steered`. offered: factors on what a rule offers sellers;
see `offered`.
"""

HINTS_OF = {"around": around.HINTS, "steered": steered.HINTS, "offered": offered.HINTS}
"""Structures with a rule -> how many features tell what it says."""


def check_structure(
    structure: str, rule: Mapping[str, Any] | Rule | None, *, may_lack_rule: bool = False
) -> None:
    """Refuses an unknown structure, and one with a rule too many or too few.

    Args:
        structure: a name of `STRUCTURES`.
        rule: described or built.
        may_lack_rule: whether it may follow later.

    Raises:
        ValueError: naming the setting.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"structure: unknown {structure!r}; known: {', '.join(STRUCTURES)}")
    is_missing = rule is None and structure in HINTS_OF and not may_lack_rule
    if is_missing or (rule is not None and structure not in HINTS_OF):
        raise ValueError(
            f"rule: must be given for the structures {' and '.join(HINTS_OF)}, and for no other"
        )


def rule_of(description: Mapping[str, Any] | None, structure: str, env: Any) -> Rule | None:
    """The rule of a structure, built for an environment; None: there is none.

    Raises:
        ValueError: if there is no such rule, or none that can be learned in this way.
    """
    if description is None:
        return None
    kinds: dict[str, Callable[..., Rule]] = {
        "around": AimingRule,
        "steered": SteeredRule,
        "offered": OfferedRule,
    }
    return kinds[structure](description, env)


class Seen(NamedTuple):
    """What an actor reads of an observation."""

    rows: torch.Tensor  # (B, P, K, F) features of decisions
    shared: torch.Tensor | None  # (B, G) features of no decision
    position: torch.Tensor  # (B, P, K) units that levels are compared with
    guide: Guide | None  # what the structure's rule says, if it has one


class DecisionNetwork(nn.Module):
    """A multilayer perceptron over decisions, with a pooled context of all of them."""

    def __init__(
        self, num_features: int, num_globals: int, num_outputs: int, width: int, pools: str | None
    ) -> None:
        """Builds the layers; the last one starts at zero, so that the first policy is plain.

        Args:
            num_features: of a decision.
            num_globals: that all decisions share.
            num_outputs: per decision.
            width: units of each of two hidden layers.
            pools: what of all decisions each one sees the mean of: "hidden" units, "rows" of
                features, or None.
        """
        super().__init__()
        self.pools = pools
        self.first = nn.Linear(num_features, width)
        pooled = {"hidden": width, "rows": num_features, None: 0}[pools]
        self.second = nn.Linear(width + pooled + num_globals, width)
        self.last = nn.Linear(width, num_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, rows: torch.Tensor, shared: torch.Tensor | None) -> torch.Tensor:
        """Decides.

        Args:
            rows: (B, P, K, F) features.
            shared: (B, G) features of no decision; None: there are none.

        Returns:
            (B, P, K, outputs).
        """
        hidden = nn.functional.silu(self.first(rows))
        parts = [hidden]
        if self.pools:
            mean = (hidden if self.pools == "hidden" else rows).mean(dim=(1, 2), keepdim=True)
            parts.append(mean.expand(*hidden.shape[:3], -1))
        if shared is not None:
            parts.append(shared[:, None, None].expand(*hidden.shape[:3], -1))
        joined = torch.cat(parts, dim=-1) if len(parts) > 1 else hidden
        out: torch.Tensor = self.last(nn.functional.silu(self.second(joined)))
        return out

    def hidden(self, rows: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Last hidden units where the context is given: pooled rows, then shared features.

        Args:
            rows: (R, F) features.
            context: (R, F + G).
        """
        hidden = nn.functional.silu(self.first(rows))
        joined = torch.cat((hidden, context), dim=-1)
        return nn.functional.silu(self.second(joined))


class Actor(nn.Module):
    """Turns observations into actions: features by the layout, outputs by the structure."""

    # constants of the layout, buffers so that they move to a GPU with the weights
    _own: torch.Tensor
    _common: torch.Tensor
    _static: torch.Tensor
    _share: torch.Tensor
    _rate: torch.Tensor
    _total_rate: torch.Tensor
    _base: torch.Tensor
    _first_order: torch.Tensor
    _first_cap: torch.Tensor
    _low: torch.Tensor
    _span: torch.Tensor
    _lift: torch.Tensor

    def __init__(
        self,
        layout: Layout,
        structure: str,
        width: int,
        initial_action: float | Literal["rule"] = 0.0,
        pools: Literal["hidden", "rows"] = "hidden",
        rule: Rule | None = None,
    ) -> None:
        """Builds the network for a layout.

        Args:
            layout: of the environment.
            structure: a name of `STRUCTURES`, where actions are quantities.
            width: units of each of two hidden layers.
            initial_action: where in (-1, 1) actions start that are no quantities; "rule": where a
                plain rule stands at each decision (`Table.start`), in retail tasks.
            pools: what of the others a decision sees, where there are several.
            rule: in the structures `around` and `steered`.

        Raises:
            ValueError: for an unknown structure, or a rule where there can be none.
        """
        super().__init__()
        check_structure(structure, rule, may_lack_rule=True)
        if initial_action == "rule" and layout.table is None:
            raise ValueError("initial_action: 'rule' is for retail tasks")
        if structure in HINTS_OF and (layout.table is None or layout.mode != "quantity"):
            raise ValueError(f"structure: {structure!r} is for retail tasks in mode 'quantity'")
        self.rule = rule
        self.structure = structure
        self.initial_action = initial_action
        self.pools = pools
        self._features = {**layout.features, **layout.global_features}
        self.num_features = layout.num_features + HINTS_OF.get(structure, 0)
        self.num_outputs = STRUCTURES[structure] if layout.mode == "quantity" else 1
        self.network = DecisionNetwork(
            self.num_features,
            layout.num_globals,
            self.num_outputs,
            width,
            pools=pools if layout.num_products * layout.num_lanes > 1 else None,
        )
        self.set_layout(layout)

    def twin(self, layout: Layout, env: Any = None) -> Actor:
        """An actor for another environment that shares these weights.

        Args:
            layout: of the other environment.
            env: itself, built, where the structure has a rule; None: the same rule.

        Raises:
            ValueError: if its features are others than those of the weights.
        """
        with torch.random.fork_rng(devices=[]):
            other = Actor(
                self.layout,
                self.structure,
                self.network.first.out_features,
                self.initial_action,
                self.pools,
            )
        if self.rule is not None:
            other.rule = self.rule if env is None else self.rule.for_env(env)
        other.network = self.network
        other.set_layout(layout)
        return other

    def set_layout(self, layout: Layout) -> None:
        """Takes another environment: other products, lanes and sizes, the same features.

        Raises:
            ValueError: if its features are others than those of the weights.
        """
        known, here = self._features, {**layout.features, **layout.global_features}
        other = [
            f"{name} {here.get(name, 0)} instead of {known.get(name, 0)}"
            for name in {**known, **here}
            if here.get(name, 0) != known.get(name, 0)
        ]
        if other:
            raise ValueError(
                "the policy was trained on other features than this environment has: "
                + ", ".join(other)
            )
        self.layout = layout
        total = layout.total_rate[:, None]
        # Lanes of one product share its demand at first; the fastest may order most of it at once.
        share = np.where(layout.faster.any(axis=1), 1.0 / layout.num_lanes, 1.0)
        roomy = np.where(layout.faster.any(axis=1), share, 1.7)
        constants: dict[str, Any] = {
            "_rate": layout.rate,
            "_total_rate": total,
            "_base": layout.rate * layout.cover,
            "_first_order": np.log(np.expm1(share)),
            "_first_cap": roomy,
            "_low": layout.low,
            "_span": layout.high - layout.low,
        }
        if layout.table is not None:
            constants["_lift"] = layout.table.served * LIFT_DAYS
        if layout.table is None:
            constants |= self._functionals(layout)
        device = self.network.first.weight.device
        for name, value in constants.items():
            tensor = torch.tensor(np.asarray(value), dtype=torch.float32, device=device)
            self.register_buffer(name, tensor, persistent=False)

    def _functionals(self, layout: Layout) -> dict[str, Any]:
        """Constants that turn an observation into rows where the layout has no table."""
        entries = {n: int(np.prod(layout.shapes[n][1:], dtype=int)) for n in layout.fields}
        own_width = next(iter(layout.own.values())).shape[2]
        own = [
            layout.own.get(name, np.zeros((size, layout.num_lanes, own_width)))
            for name, size in entries.items()
        ]
        common_width = sum(weights.shape[1] for weights in layout.common.values())
        common, start = [], 0
        for name, size in entries.items():
            columns = np.zeros((size, common_width))
            if name in layout.common:
                end = start + layout.common[name].shape[1]
                columns[:, start:end] = layout.common[name]
                start = end
            common.append(columns)
        total = layout.total_rate[:, None]
        constants: dict[str, Any] = {
            "_own": np.concatenate(own).reshape(-1, layout.num_lanes * own_width),
            "_common": np.concatenate(common),
            "_static": layout.static,
            "_share": (total / layout.rate)[:, :, None],
        }
        for name in (*layout.fields, *(n for n in layout.shapes if n in GLOBAL_FIELDS)):
            constants[f"_scale_{name}"] = np.broadcast_to(layout.scales[name], layout.shapes[name])
        return constants

    def forward(self, observation: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Actions (B, *action_shape), differentiable; the observation's fields are (B, *shape)."""
        seen = self.seen(observation)
        out = self.network(seen.rows, seen.shared)
        if self.layout.mode != "quantity" or seen.guide is not None:
            return self.placed(out, observation, seen)
        if self.structure == "quantity":
            multiple = nn.functional.softplus(out[..., 0] + self._first_order)
            return self._action(multiple * self._rate)
        level = self._base + self._rate * out[..., 0]
        return self._action(self._order_up_to(level, seen.position, out))

    def placed(
        self, out: torch.Tensor, observation: Mapping[str, torch.Tensor], seen: Seen
    ) -> torch.Tensor:
        """Actions at outputs (B, P, K, outputs), which say how far from their start they are.

        They are on the scale of a log-odds, or with a rule as its `times` takes them.
        """
        if seen.guide is not None:
            return self._action(seen.guide.times(out, seen.position, self._rate, self._lift))
        place = torch.sigmoid(out[..., 0] + self._start(observation))
        return self._action(self._low + self._span * place)

    def _start(self, observation: Mapping[str, torch.Tensor]) -> Any:
        """Where actions start, as the argument of the sigmoid that maps to their range."""
        if self.initial_action == "rule":
            assert self.layout.table is not None
            return torch.logit(self.layout.table.start(observation))
        return math.log((1.0 + self.initial_action) / (1.0 - self.initial_action))

    def seen(self, observation: Mapping[str, torch.Tensor]) -> Seen:
        """Reads an observation.

        Raises:
            ValueError: if the structure has a rule that is not built for an environment.
        """
        layout = self.layout
        if layout.table is not None:
            rows, shared = layout.table(observation)
            position = layout.table.position(observation)
            if self.structure not in HINTS_OF:
                return Seen(rows, shared, position, None)
            if self.rule is None:
                raise ValueError("rule: not built; take `policy.for_env(env)`")
            guide = self.rule.guide(observation)
            hints = guide.hints(position, self._rate)
            return Seen(torch.cat((rows, hints), dim=-1), shared, position, guide)
        p, k = layout.num_products, layout.num_lanes
        batch = observation["inventory_position"].shape[0]
        stock = torch.cat(
            [
                (observation[name] / getattr(self, f"_scale_{name}")).reshape(batch, p, -1)
                for name in layout.fields
            ],
            dim=-1,
        )
        own = (stock @ self._own).reshape(batch, p, k, -1)
        common = (stock @ self._common)[:, :, None].expand(batch, p, k, -1)
        rows = torch.cat((own * self._share, common, self._static.expand(batch, p, k, -1)), dim=-1)
        position = own[..., POSITION] * self._total_rate
        return Seen(rows, self._globals(observation), position, None)

    def _order_up_to(
        self, level: torch.Tensor, position: torch.Tensor, out: torch.Tensor
    ) -> torch.Tensor:
        """Orders up to levels (B, P, K); what a faster lane brings counts for the slower ones."""
        cap = None
        if self.structure == "capped":
            cap = _not_negative(out[..., 1] + self._first_cap) * self._rate
        faster = self.layout.faster
        if not faster.any():
            units = torch.relu(level - position)
            return units if cap is None else torch.minimum(units, cap)
        columns: dict[int, torch.Tensor] = {}
        for lane in np.argsort(faster.sum(axis=1), kind="stable").tolist():
            short = level[..., lane] - position[..., lane]
            for other in np.flatnonzero(faster[lane]).tolist():
                short = short - columns[other]
            units = torch.relu(short)
            columns[lane] = units if cap is None else torch.minimum(units, cap[..., lane])
        return torch.stack([columns[lane] for lane in sorted(columns)], dim=-1)

    def _globals(self, observation: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Features of no decision, (B, G); capacities are averaged over nodes."""
        parts = []
        for name in self.layout.shapes:
            if name in GLOBAL_FIELDS:
                values = observation[name] / getattr(self, f"_scale_{name}")
                parts.append(values.mean(dim=1) if name.endswith("_capacity") else values)
        return torch.cat(parts, dim=-1) if parts else None

    def _action(self, decisions: torch.Tensor) -> torch.Tensor:
        """Decisions (B, P, K) as the environment takes them."""
        batch = decisions.shape[0]
        parts, start = [], 0
        for lanes in self.layout.lanes_by_slot:
            parts.append(decisions[:, :, start : start + lanes].reshape(batch, -1))
            start += lanes
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return joined.reshape(batch, *self.layout.action_shape)


def _not_negative(values: torch.Tensor) -> torch.Tensor:
    """Values below zero become zero, and their gradient passes: a cap that fell to zero may rise.

    A softplus would hold it there, for its gradient dies out with the cap.
    """
    return values + (torch.relu(values) - values).detach()
