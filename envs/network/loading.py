"""What trucks take: the bins of parcels, earliest due first, and staged transfers.

Parcel bins, in loading order: late, slack 0 .. K periods to the last on-time dispatch, and last
the parcels without a deadline.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stockyard.envs.network.arrays import (
    Array,
    at_least,
    at_most,
    fill_share,
    floor_straight_through,
    namespace,
    stack,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import depart
from stockyard.envs.network.state import State


class Dispatch(NamedTuple):
    """What left; shapes as in `Flows`."""

    trucks: Array | None = None
    dispatched: Array | None = None
    dispatched_volume: Array | None = None
    expedited: Array | None = None
    expedited_volume: Array | None = None
    newly_late: Array | None = None


class Bins(NamedTuple):
    """Parcels by bin, in loading order; arrays (B, E) each."""

    parcels: Sequence[Array]
    volume: Sequence[Array]  # ft3


class Loaded(NamedTuple):
    """What was loaded, what was left behind, and the room that was left, (B, E) ft3."""

    gone: Bins
    left: Bins
    room: Array


def bins_of(parcels: Array, volume: Array) -> Bins:
    """The bins of arrays (B, E, K+3)."""
    count = range(parcels.shape[2])
    return Bins([parcels[:, :, k] for k in count], [volume[:, :, k] for k in count])


def load_bins(bins: Bins, room: Array) -> Loaded:
    """Loads bins in their order until the room (B, E) ft3 is used."""
    left, left_volume, gone, gone_volume = [], [], [], []
    for parcels, volume in zip(*bins, strict=True):
        share = fill_share(room, volume)
        out = parcels * share
        out_volume = volume * share
        rest = room - out_volume
        room = at_least(rest, 0.0)
        gone.append(out)
        gone_volume.append(out_volume)
        left.append(parcels - out)
        left_volume.append(volume - out_volume)
    return Loaded(Bins(gone, gone_volume), Bins(left, left_volume), room)


def nearer(left: Sequence[Array], late: Array) -> Array:
    """Bins one period closer, (B, E, K+3): slack 0 becomes late, K empties, no deadline stays.

    Args:
        left: what stays, by bin.
        late: (B, E) of the bin with slack 0, what becomes late.
    """
    nothing = late * 0.0
    return stack([left[0] + late, *left[2:-1], nothing, left[-1]], axis=2)


def load_transfers(params: Params, state: State, staged: Array, room: Array) -> tuple[State, Array]:
    """Loads each lane's staged units in proportion to its room.

    Returns:
        The state with them under way, and what was loaded, (B, E_tr) ft3.
    """
    share = fill_share(room, weighted_sum(staged, params.a.volume))
    loaded = staged * share[:, :, None]
    if params.whole_units:
        loaded = floor_straight_through(loaded)
    assert state.staged is not None
    transfers, _ = depart(params, state.transfers, loaded)
    state = state._replace(staged=state.staged - loaded, transfers=transfers)
    return state, weighted_sum(loaded, params.a.volume)


def leave_behind(
    params: Params, state: State, loaded: Loaded, expedite: Array | None
) -> tuple[State, Dispatch]:
    """Hands due parcels left behind to a carrier, or lets them become late.

    Args:
        params: the network.
        state: before its bins change.
        loaded: what trucks took and left.
        expedite: (B, F) as in `Decisions`.

    Returns:
        The state with bins one period closer to their deadline, and what left but for the trucks.
    """
    left, left_volume = loaded.left
    due, due_volume = left[1], left_volume[1]
    xp = namespace(due)
    if params.economics.expedite_left_behind:
        taken = xp.ones_like(due)
    elif expedite is None:
        taken = xp.zeros_like(due)
    else:
        taken = at_most(at_least(expedite, 0.0), 1.0)
    sent, sent_volume = due * taken, due_volume * taken
    late, late_volume = due - sent, due_volume - sent_volume
    moved, moved_volume = nearer(left, late), nearer(left_volume, late_volume)
    return state._replace(parcels=moved, parcel_volume=moved_volume), Dispatch(
        trucks=None,
        dispatched=stack(loaded.gone.parcels, axis=2),
        dispatched_volume=stack(loaded.gone.volume, axis=2),
        expedited=sent,
        expedited_volume=sent_volume,
        newly_late=late,
    )
