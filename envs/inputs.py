"""What an environment refuses of what it is given: episodes of no length, actions that are none."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space

from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.world import World


def checked_horizon(horizon: int | None, world: World) -> int:
    """Returns the length of an episode in periods; None takes the world's.

    Raises:
        ValueError: for what is no positive number of whole steps, or reaches beyond what is known.
    """
    if horizon is None:
        return world.horizon
    is_whole = isinstance(horizon, int | float | np.integer | np.floating) and not isinstance(
        horizon, bool
    )
    if not is_whole or not horizon >= 1 or not horizon % world.periods_per_step == 0:
        raise ValueError(
            f"horizon: must be a positive multiple of {world.periods_per_step} periods, "
            f"got {horizon!r}"
        )
    longest = _longest_horizon(world)
    if longest is not None and horizon > longest:
        raise ValueError(f"horizon: must be at most {longest} periods here, got {horizon!r}")
    return int(horizon)


def _longest_horizon(world: World) -> int | None:
    """Periods up to which demand is described and forecast in full; None: without end."""
    known = getattr(world.source.demand, "num_periods", None)
    if known is None:
        return None
    ahead = max(*HORIZONS_DAYS, round(world.economics.value_cover_days))
    left = known - world.burn_in - ahead * world.network.periods_per_day
    return int(left // world.periods_per_step * world.periods_per_step)


def check_action(actions: Any, space: Space[Any]) -> npt.NDArray[np.float64]:
    """Returns actions as float64 after refusing what is no action at all.

    Raises:
        ValueError: naming the entry that is NaN or infinite, or the wrong shape or type.
    """
    shape = space.shape
    if isinstance(actions, np.ndarray) and actions.dtype.kind not in "fiu":
        raise ValueError(f"action: must hold real numbers, got dtype {actions.dtype}")
    try:
        array = np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"action: must hold real numbers, got {type(actions).__name__}") from None
    if array.shape != shape:
        raise ValueError(f"action: must have shape {shape}, got {array.shape}")
    finite = np.isfinite(array)
    if np.count_nonzero(finite) < array.size:
        entry = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"action: entry {list(entry)} is {array[entry]}")
    return array
