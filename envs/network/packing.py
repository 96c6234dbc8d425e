"""What a loader gets into trucks: items of many sizes, packed one by one, and the table of it.

Parcels of the network are volume without a shape. Where a world says that they are large items, a
truck takes what a loader would reach with them: less than its room, and the less the fewer items
there are to choose from.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, as_like, at_least, at_most, namespace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LOADERS = ("first_fit_decreasing", "best_fit_decreasing", "cp_sat", "best_fit", "sum_of_squares")
"""Known loaders: the first three see all items before they pack, the others pack as items come."""

TABLE_TRUCKS = 4
"""Trucks up to which the table counts; more are as good as these."""

OFFERED = np.linspace(0.25, 2.5, 10)
"""Volume offered over the room of the trucks, at which the table was made."""

DRAWS = 64
"""Loads drawn for an entry of the table."""

EFFORT = 0.02
"""Deterministic time, about seconds, that CP-SAT may take for a load."""

CLOSE = 2e-3
"""Relative gap at which CP-SAT may stop."""


@dataclasses.dataclass(frozen=True)
class Items:
    """Sizes of the items that parcels are, lognormal, and who loads them."""

    mean_ft3: float
    log_sd: float
    loader: str = "first_fit_decreasing"

    def __post_init__(self) -> None:
        """Checks the loader's name and the sizes."""
        if self.loader not in LOADERS:
            raise ValueError(f"loader: unknown {self.loader!r}; known: {', '.join(LOADERS)}")
        if not (self.mean_ft3 > 0.0 and self.log_sd >= 0.0):
            raise ValueError("mean_ft3: must be > 0, and log_sd >= 0")


def pack(sizes: Ints, capacity: int, trucks: int, loader: str) -> Floats:
    """The share of their room that trucks are filled to, by load, (D,).

    Args:
        sizes: (D, I) whole units, in the order in which items come; 0 is no item.
        capacity: of a truck, whole units; items are at most as large.
        trucks: how many there are; an item that fits into none stays behind.
        loader: a name of `LOADERS`. The sum-of-squares rule keeps the sum of the squared numbers of
            trucks by level least (Csirik et al., Journal of the ACM 53, 2006).

    Raises:
        ValueError: for an unknown loader, or an item that is too large.
        ImportError: for `cp_sat` without the extra `or`.
    """
    if loader not in LOADERS:
        raise ValueError(f"loader: unknown {loader!r}; known: {', '.join(LOADERS)}")
    if sizes.max(initial=0) > capacity:
        raise ValueError(f"sizes: {sizes.max()} exceeds the capacity {capacity}")
    if loader == "cp_sat":
        usual = pack(sizes, capacity, trucks, "best_fit_decreasing")
        best = np.minimum(sizes.sum(axis=1) / (capacity * trucks), 1.0)
        open_cases = np.flatnonzero(usual < best - 1e-12)
        for row in open_cases.tolist():
            usual[row] = max(usual[row], _fullest(sizes[row], capacity, trucks))
        return usual
    if loader.endswith("decreasing"):
        sizes = -np.sort(-sizes, axis=1)
    level = np.zeros((len(sizes), trucks), dtype=np.int64)
    rows = np.arange(len(sizes))
    for size in sizes.T:
        after = level + size[:, None]
        fits = after <= capacity
        if loader == "first_fit_decreasing":
            score = np.broadcast_to(np.arange(trucks, dtype=np.float64), level.shape)
        elif loader == "sum_of_squares":
            score = _squares(level, after, capacity)
        else:  # the fullest that has room
            score = -level.astype(np.float64)
        chosen = np.argmin(np.where(fits, score, np.inf), axis=1)
        level[rows, chosen] += size * fits[rows, chosen]
    share: Floats = level.sum(axis=1) / float(capacity * trucks)
    return share


def _fullest(sizes: Ints, capacity: int, trucks: int) -> float:
    """The largest share of their room that trucks can be filled to, by CP-SAT.

    Where its effort, which is counted and not timed, ends before it has proved the optimum, it is
    the best that was found.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise ImportError("loader: 'cp_sat' needs the extra `or`: pip install stockyard[or]") from (
            error
        )
    kinds, counts = np.unique(sizes[sizes > 0], return_counts=True)
    model = cp_model.CpModel()
    loads: list[cp_model.IntVar] = []
    taken: list[list[cp_model.IntVar]] = [[] for _ in kinds]
    for truck in range(trucks):
        load = model.new_int_var(0, capacity, f"load_{truck}")
        for k, count in enumerate(counts.tolist()):
            taken[k].append(model.new_int_var(0, count, f"taken_{k}_{truck}"))
        model.add(sum(int(size) * taken[k][truck] for k, size in enumerate(kinds)) == load)
        if loads:  # trucks are alike: the fuller one comes first
            model.add(loads[-1] >= load)
        loads.append(load)
    for k, count in enumerate(counts.tolist()):
        model.add(sum(taken[k]) <= count)
    model.maximize(sum(loads))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = EFFORT
    solver.parameters.relative_gap_limit = CLOSE
    status = solver.solve(model)
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return solver.objective_value / float(capacity * trucks) if found else 0.0


def _squares(level: Ints, after: Ints, capacity: int) -> Floats:
    """How much the sum of squares rises if an item goes to each truck, (D, trucks).

    Trucks that are empty or full do not count.
    """

    def others(at: Ints) -> Floats:
        return np.asarray((level[:, None, :] == at[:, :, None]).sum(axis=2), dtype=np.float64)

    opened, closed = level == 0, after >= capacity
    rises = np.where(closed, 0.0, 2.0 * others(after) + 1.0)
    falls = np.where(opened, 0.0, 2.0 * others(level) - 1.0)
    return np.asarray(rises - falls)


@functools.lru_cache(maxsize=16)
def reached(items: Items, truck_ft3: int) -> Floats:
    """The share of its room that a loader fills, by trucks and by what is offered, (N, J).

    Entry (n - 1, j) is the mean over loads of items whose volume is OFFERED[j] of the room of n
    trucks. The draws are fixed: the table is a constant of the world.
    """
    rng = np.random.default_rng(20)
    table = np.zeros((TABLE_TRUCKS, len(OFFERED)))
    for n in range(1, TABLE_TRUCKS + 1):
        most = int(4.0 * OFFERED[-1] * n * truck_ft3 / items.mean_ft3) + 1
        spread = rng.standard_normal((DRAWS, most))
        sizes = items.mean_ft3 * np.exp(items.log_sd * spread - items.log_sd**2 / 2.0)
        whole = np.minimum(np.maximum(np.rint(sizes), 1.0), truck_ft3).astype(np.int64)
        total = np.cumsum(whole, axis=1)
        there, filled = np.zeros(len(OFFERED) + 1), np.zeros(len(OFFERED) + 1)
        for j, share in enumerate(OFFERED, start=1):
            offered = np.where(total <= share * n * truck_ft3, whole, 0)
            offered = offered[:, : max(int((offered > 0).sum(axis=1).max()), 1)]
            # a whole number of items comes to a little less than what was to be offered
            there[j] = offered.sum(axis=1).mean() / (n * truck_ft3)
            filled[j] = pack(offered, truck_ft3, n, items.loader).mean()
        table[n - 1] = np.interp(OFFERED, there, filled)
    return np.minimum(np.maximum.accumulate(table, axis=1), np.minimum(OFFERED, 1.0))


def reachable(table: Floats, trucks: Array, room: Array, offered: Array) -> Array:
    """The room that a loader can use, (B, L) ft3, at most what is offered where that is less.

    Between the table's entries it runs along straight lines; below the first it is what is offered.

    Args:
        table: of `reached`.
        trucks: (B, L).
        room: (B, L) ft3 of them.
        offered: (B, L) ft3 that wait.
    """
    xp = namespace(room)
    ratio = at_most(offered / at_least(room, 1e-9), float(OFFERED[-1]))
    number = at_most(at_least(trucks, 1.0), float(TABLE_TRUCKS))
    step = float(OFFERED[1] - OFFERED[0])
    share: Array = 0.0
    for n, row in enumerate(table):
        near = at_least(1.0 - xp.abs(number - (n + 1.0)), 0.0)
        along: Array = at_most(ratio, float(OFFERED[0])) * (row[0] / OFFERED[0])
        for j in range(1, len(OFFERED)):
            part = at_most(at_least((ratio - float(OFFERED[j - 1])) / step, 0.0), 1.0)
            along = along + part * float(row[j] - row[j - 1])
        share = share + near * along
    return room * (share + as_like(0.0, room))
