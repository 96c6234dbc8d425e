"""Wrappers for the native batch: scaling, flattening, other action spaces, one row per product.

Scaling is static: fields are divided by the environment's typical sizes, never by statistics of a
tape, so a policy meets the same numbers in training, validation and use.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

Floats = npt.NDArray[np.float32]

CLIP = 1e4
"""Scaled observations are cut at this size, so that flattened spaces stay finite in float32."""


class ObservationTransform:
    """Scales and flattens observations; a run folder keeps it as JSON."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        scales: Mapping[str, npt.NDArray[np.float64]] | None,
        flatten: bool,
    ) -> None:
        """Takes the fields in their order.

        Args:
            shapes: field -> shape without the batch axis.
            scales: field -> typical size, broadcastable to the shape; None leaves the units.
            flatten: whether to return one vector per row instead of named fields.
        """
        self.shapes = {name: tuple(int(n) for n in shape) for name, shape in shapes.items()}
        self.scales = None
        if scales is not None:
            self.scales = {
                name: np.ascontiguousarray(np.broadcast_to(scales[name], shape), dtype=np.float32)
                for name, shape in self.shapes.items()
            }
        self.flatten = flatten

    @classmethod
    def for_env(
        cls, envs: Any, *, scale: bool = True, flatten: bool = True
    ) -> "ObservationTransform":
        """The transform for an environment, single or vector, wrapped or not."""
        base = envs.unwrapped
        space = getattr(base, "single_observation_space", base.observation_space)
        flat = {name: box.shape for name, box in space.spaces.items()}
        shapes = getattr(base, "field_shapes", flat)
        known = getattr(base, "observation_scale", {}) if scale else {}
        scales = {name: known.get(name, np.ones(())) for name in shapes}
        return cls(shapes, scales if scale else None, flatten)

    @property
    def space(self) -> spaces.Space[Any]:
        """The space of one transformed observation."""
        if self.flatten:
            size = sum(int(np.prod(shape)) for shape in self.shapes.values())
            return spaces.Box(-CLIP, CLIP, (size,), dtype=np.float32)
        return spaces.Dict(
            {
                name: spaces.Box(-CLIP, CLIP, shape, dtype=np.float32)
                for name, shape in self.shapes.items()
            }
        )

    def __call__(self, observation: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Transforms a batch of flat fields to shaped fields (B, ...), or to one array (B, D)."""
        fields = {}
        for name, shape in self.shapes.items():
            values = np.asarray(observation[name], dtype=np.float32)
            values = values.reshape(-1, *shape)
            if self.scales is not None:
                values = values / self.scales[name]
            values = np.minimum(np.maximum(values, -CLIP), CLIP)
            fields[name] = values.reshape(len(values), -1) if self.flatten else values
        return np.concatenate(list(fields.values()), axis=1) if self.flatten else fields

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` reads it."""
        return {
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "scales": None
            if self.scales is None
            else {name: values.ravel().tolist() for name, values in self.scales.items()},
            "flatten": self.flatten,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ObservationTransform":
        """Builds the transform that `to_dict` described."""
        shapes = {name: tuple(shape) for name, shape in record["shapes"].items()}
        scales = record["scales"]
        if scales is not None:
            scales = {name: np.asarray(scales[name]).reshape(shapes[name]) for name in shapes}
        return cls(shapes, scales, bool(record["flatten"]))


class TransformObservations(VectorWrapper[Any, Any, Any, Any, Any]):
    """Applies an `ObservationTransform` to a batch."""

    def __init__(self, env: VectorEnv[Any, Any, Any], transform: ObservationTransform) -> None:
        """Wraps `env`."""
        super().__init__(env)
        self.transform = transform
        self.single_observation_space = transform.space
        self.observation_space = batch_space(transform.space, env.num_envs)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets; the observation is transformed."""
        observation, info = self.env.reset(**kwargs)
        return self.transform(observation), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps; the observation, and any final one, is transformed."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            final = np.empty(self.num_envs, dtype=object)
            for i, row in enumerate(info["final_obs"]):
                one = self.transform({name: value[None] for name, value in row.items()})
                final[i] = one[0] if self.transform.flatten else {k: v[0] for k, v in one.items()}
            info = {**info, "final_obs": final}
        return self.transform(observation), reward, terminated, truncated, info


def rescale_action(
    action: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Stretches an action from [-1, 1] onto [low, high], elementwise."""
    return np.asarray(low + (action + 1.0) * 0.5 * (high - low))


class RescaleActions(VectorWrapper[Any, Any, Any, Any, Any]):
    """Offers [-1, 1] per entry instead of a bounded Box; a Box of [-1, 1] is left as it is."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Wraps `env`.

        Raises:
            ValueError: unless the action space is a Box with finite bounds.
        """
        super().__init__(env)
        space = env.single_action_space
        if not isinstance(space, spaces.Box) or not space.is_bounded():
            raise ValueError(f"action_space: must be a Box with finite bounds, got {space}")
        self._low, self._high = space.low, space.high
        self.single_action_space = spaces.Box(-1.0, 1.0, space.shape, dtype=np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps with the stretched action."""
        return self.env.step(rescale_action(np.asarray(actions), self._low, self._high))


class AgainstStandingRule(VectorWrapper[Any, Any, Any, Any, Any]):
    """Rewards as differences to what the standing rule earns on the same tapes, step by step.

    What a tape brings whoever decides is then no noise for a learner: a control variate. The rule's
    state runs apart from the agent's, in a twin that is reset together with it.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], twin: VectorEnv[Any, Any, Any]) -> None:
        """Wraps `env`.

        Args:
            env: the agent's.
            twin: of the same specification in the action mode `residual`.

        Raises:
            ValueError: if the twin has another size or mode.
        """
        super().__init__(env)
        base: Any = twin.unwrapped
        if twin.num_envs != env.num_envs or base.action_mode != "residual":
            raise ValueError("twin: must have as many rows, in the action mode 'residual'")
        self._twin = twin
        self._still = np.zeros(twin.action_space.shape or (), dtype=np.float32)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets both, to the same tapes."""
        self._twin.reset(**kwargs)
        return self.env.reset(**kwargs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps both; the reward is the difference."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        return observation, reward - self._twin.step(self._still)[1], terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Closes both."""
        self._twin.close(**kwargs)
        super().close(**kwargs)


class OrderUpTo(VectorWrapper[Any, Any, Any, Any, Any]):
    """Actions are order-up-to levels in units; wraps a replenishment batch in mode `quantity`.

    The order is the level less the inventory position, or nothing where the position is higher.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Wraps `env`.

        Raises:
            ValueError: unless actions are quantities, one per product.
        """
        super().__init__(env)
        self._high = _quantities(env)
        self.single_action_space = spaces.Box(np.zeros_like(self._high), self._high)
        self.action_space = batch_space(self.single_action_space, env.num_envs)
        self._position: Floats = np.zeros((env.num_envs, *self._high.shape), np.float32)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets and notes the inventory position."""
        observation, info = self.env.reset(**kwargs)
        self._position = observation["inventory_position"]
        return observation, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Orders up to `actions`, (B, P) units."""
        orders = np.maximum(np.asarray(actions) - self._position, 0.0)
        result = self.env.step(orders)
        self._position = result[0]["inventory_position"]
        return result


class QuantityPolicy(Protocol):
    """What `Residual` asks of a rule: Stable-Baselines3's `predict` in mode `quantity`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None
    ) -> tuple[Any, Any]:
        """Orders (B, P) in units, and the rule's state."""


class Residual(VectorWrapper[Any, Any, Any, Any, Any]):
    """Actions correct a rule: 0 is the rule's order, 1 adds `reach` typical review demands.

    Wraps a replenishment batch in mode `quantity`. The mode `action="residual"` of an environment
    does the like around its standing rule; this wrapper takes any policy.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], rule: QuantityPolicy, reach: float = 1.0
    ) -> None:
        """Wraps `env` around `rule`.

        Args:
            env: a batch whose actions are quantities, one per product.
            rule: a policy that speaks quantities.
            reach: how far an action of 1 goes, in mean demands of a review period.

        Raises:
            ValueError: for another action space, or a reach that is not positive.
        """
        super().__init__(env)
        high = _quantities(env)
        if not reach > 0:
            raise ValueError(f"reach: must be > 0, got {reach!r}")
        base: Any = env.unwrapped
        rate = base.world.source.demand.mean_rate(base.world.network).sum(axis=0)
        self._unit = (reach * rate * base.periods_per_step).astype(np.float32)
        self._rule = rule
        self._state: Any = None
        self._last: tuple[Any, Any] = ({}, None)
        self._resets_next = env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP
        self._is_done = False  # rows share a clock: all of them, or none
        self.single_action_space = spaces.Box(-1.0, 1.0, high.shape, dtype=np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets the batch and the rule."""
        observation, info = self.env.reset(**kwargs)
        self._begin(observation)
        return observation, info

    def _begin(self, observation: Any) -> None:
        """Notes the first observation of an episode."""
        self._state, self._is_done = None, False
        self._last = (observation, np.ones(self.num_envs, dtype=bool))

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Adds the correction to the rule's order.

        In the mode NEXT_STEP the step after the end of an episode only resets: the rule is not
        asked, and the correction is passed over.
        """
        if self._is_done and self._resets_next:
            result = self.env.step(np.zeros(self.action_space.shape or (), np.float32))
            self._begin(result[0])
            return result
        observation, start = self._last
        orders, self._state = self._rule.predict(observation, self._state, start)
        result = self.env.step(np.maximum(orders + np.asarray(actions) * self._unit, 0.0))
        done = result[2] | result[3]
        self._last, self._is_done = (result[0], done), bool(done.any())
        return result


def _quantities(env: VectorEnv[Any, Any, Any]) -> Floats:
    """Largest orders (P,) of a batch in mode `quantity`; a ValueError for any other."""
    space: Any = env.single_action_space
    mode = getattr(env.unwrapped, "action_mode", None)
    if mode != "quantity" or len(space.shape) != 1:
        raise ValueError(
            f"action: this wrapper needs quantities, one per product; got mode {mode!r} of shape "
            f"{space.shape}"
        )
    return np.asarray(space.high, dtype=np.float32)


class PerProduct(VectorEnv[Any, Any, Any]):
    """One row per product: a batch of B replicas of P products becomes B * P rows.

    A policy for one product then serves any assortment (Madeka et al. 2022). A row sees its
    product's fields, and the fields of the whole network beside them; its reward is an equal share
    of the replica's, so the sum over rows is the replica's reward. Row `b * P + p` is product p of
    replica b. Of the info only `final_obs` is split into rows; the rest stays per replica.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], shared: Collection[str] | None = None
    ) -> None:
        """Wraps a batch whose actions are one number per product.

        Args:
            env: the batch, which shows named fields.
            shared: fields of the whole network, which every row sees in full; None takes those
                whose first axis is not as long as there are products. Name them where another
                axis, of nodes for one, happens to be of that length.

        Raises:
            ValueError: for other actions, or a shared field that is not shown.
        """
        self.env = env
        shape = env.single_action_space.shape
        if shape is None or len(shape) != 1:
            raise ValueError(f"action: must be one number per product, got shape {shape}")
        self._products = shape[0]
        self.num_envs = env.num_envs * self._products
        self.metadata, self.render_mode = env.metadata, env.render_mode
        base: Any = env.unwrapped
        shapes: dict[str, tuple[int, ...]] = base.field_shapes
        unknown = sorted(set(shared or ()) - set(shapes))
        if unknown:
            raise ValueError(f"shared: unknown {unknown[0]!r}; known: {', '.join(shapes)}")
        self._own = [
            name
            for name, field in shapes.items()
            if (name not in shared if shared is not None else field[:1] == (self._products,))
        ]
        self.field_shapes = {
            name: (field[1:] or (1,)) if name in self._own else field
            for name, field in shapes.items()
        }
        self.observation_scale = {
            name: self._row_scale(name, scale, shapes[name])
            for name, scale in base.observation_scale.items()
        }
        space: Any = env.single_observation_space
        boxes: dict[str, spaces.Space[Any]] = {}
        for name, box in space.spaces.items():
            size = box.shape[0] // (self._products if name in self._own else 1)
            low, high = float(box.low.min()), float(box.high.max())
            boxes[name] = spaces.Box(low, high, (size,), dtype=np.float32)
        self.single_observation_space = spaces.Dict(boxes)
        action: Any = env.single_action_space
        self.single_action_space = spaces.Box(
            float(action.low.min()), float(action.high.max()), (1,), dtype=np.float32
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _row_scale(self, name: str, scale: Any, shape: tuple[int, ...]) -> Any:
        """Typical size of a row's field: the mean over products, for a row is any of them."""
        if name not in self._own:
            return scale
        return np.broadcast_to(scale, shape).mean(axis=0).reshape(self.field_shapes[name])

    def _rows(self, observation: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Rows of a batch of any number of replicas."""
        rows = {}
        for name, values in observation.items():
            if name in self._own:  # products come first, so a row is a run
                rows[name] = values.reshape(len(values) * self._products, -1)
            else:
                rows[name] = np.repeat(values, self._products, axis=0)
        return rows

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Resets all replicas.

        Args:
            seed: an int s gives replica b the seed s + b; a sequence has one seed per replica, or
                one per row, of which replica b takes that of its first.
            options: a `reset_mask` has one entry per replica, or one per row.
        """
        if isinstance(seed, Sequence | np.ndarray) and len(seed) == self.num_envs:
            seed = list(seed[:: self._products])
        mask = None if options is None else options.get("reset_mask")
        if mask is not None and len(mask) == self.num_envs:
            per_row = np.asarray(mask, dtype=bool).reshape(-1, self._products)
            options = {**options, "reset_mask": per_row.all(axis=1)}
        observation, info = self.env.reset(seed=seed, options=options)
        return self._rows(observation), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps all replicas; `actions` has shape (B * P, 1)."""
        joint = np.asarray(actions).reshape(self.env.num_envs, self._products)
        observation, reward, terminated, truncated, info = self.env.step(joint)
        p = self._products
        if "final_obs" in info:
            final = np.empty(self.num_envs, dtype=object)
            for b, replica in enumerate(info["final_obs"]):
                if replica is None:  # where rows end at different times
                    continue
                rows = self._rows({name: values[None] for name, values in replica.items()})
                for k in range(p):
                    final[b * p + k] = {name: values[k] for name, values in rows.items()}
            info = {**info, "final_obs": final, "_final_obs": np.repeat(info["_final_obs"], p)}
        return (
            self._rows(observation),
            np.repeat(reward / p, p),
            np.repeat(terminated, p),
            np.repeat(truncated, p),
            info,
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the wrapped batch."""
        self.env.close()
