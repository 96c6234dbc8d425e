"""What customers accept: nested delivery tiers, and one substitute each."""

import numpy as np

from stockyard.agents.oracles.perfect_information.facts import Facts
from stockyard.agents.oracles.perfect_information.linear_program import Builder, Floats, Ints
from stockyard.envs.network.topology import Network, Promise


def blocks(network: Network) -> Ints:
    """(P,) products that share customers have one number."""
    if not network.substitutions:
        return np.arange(network.num_products)
    groups: dict[str, int] = {}
    return np.array([groups.setdefault(name, len(groups)) for name in network.products.group])


def add(builder: Builder, facts: Facts, sold: Ints, block: Ints, drawn: Ints | None = None) -> None:
    """Limits sales to the customers who accept the speed.

    Of the customers of a region, only a share accepts tier k or slower, so all sales at tier k or
    slower are within that share of the demand. Those not served ask for a substitute once, and
    again only that share of them accepts tier k.

    Args:
        builder: takes rows, and columns for what is served in the first pass.
        facts: the tape.
        sold: (T, E_out, P) columns.
        block: (P,) blocks of products.
        drawn: (T, R, P) columns of customers beyond the demand, whom price cuts draw; None: none.
    """
    network = facts.world.network
    into = _substitution(network)
    for promise in dict.fromkeys(facts.promises):
        periods = np.array([k for k, other in enumerate(facts.promises) if other == promise])
        for region in range(network.num_regions):
            lanes = np.flatnonzero(network.outbound.region == region)
            tier = _tiers(network, promise)[lanes]
            demand = facts.demand[periods, region]
            columns = sold[np.ix_(periods, lanes)]
            accepted = _accepted(facts, promise)
            ease = _ease(facts, tier, accepted, into)
            if into is None:
                more = None if drawn is None else drawn[periods, region]
                _without_substitutes(builder, columns, tier, accepted, demand, ease, block, more)
            else:
                _with_substitutes(builder, columns, tier, accepted, demand, ease, block, into)


def _accepted(facts: Facts, promise: Promise) -> Floats:
    return np.asarray(promise.acceptance_by_tier, dtype=np.float64)


def _tiers(network: Network, promise: Promise) -> Ints:
    """(E_out,) tiers at which lanes deliver; a lane faster than the promise keeps to it."""
    slowest = len(promise.acceptance_by_tier) - 1
    fastest = np.maximum(network.outbound.tier, promise.min_offered_tier)
    return np.asarray(np.minimum(fastest, slowest))


def _substitution(network: Network) -> Floats | None:
    """(P, P) share of the unserved customers of the first product that ask for the second."""
    if not network.substitutions:
        return None
    products = np.arange(network.num_products)
    into = np.zeros((len(products), len(products)))
    for neighbour in network.substitutions:
        source = np.asarray(neighbour.source)
        np.add.at(into, (source, products), np.asarray(neighbour.weight)[source])
    np.fill_diagonal(into, 0.0)
    return into


def _ease(facts: Facts, tier: Ints, accepted: Floats, into: Floats | None) -> float:
    """Units by which rounding may pass a share: one for each fall in acceptance, and each pass."""
    if not facts.params.whole_units:
        return 0.0
    falls = len(np.unique(accepted[tier]))
    return float(falls if into is None else 2 * falls + len(facts.world.network.substitutions))


def _suffixes(tier: Ints, accepted: Floats) -> list[tuple[Ints, float]]:
    """Lanes at a tier or slower, and who accepts them, where acceptance falls; fastest first."""
    found: list[tuple[Ints, float]] = []
    for k in np.unique(tier):
        if not found or accepted[k] < found[-1][1]:
            found.append((np.flatnonzero(tier >= k), float(accepted[k])))
    return found


def _without_substitutes(
    builder: Builder,
    columns: Ints,
    tier: Ints,
    accepted: Floats,
    demand: Floats,
    ease: float,
    block: Ints,
    drawn: Ints | None,
) -> None:
    every = np.ones(demand.shape, dtype=np.bool_)
    for lanes, share in _suffixes(tier, accepted):
        limit = np.minimum(share * demand + ease, demand)
        if drawn is None:
            builder.at_most(columns[:, lanes], limit[:, None])
        if len(lanes) > 1 or drawn is not None:
            rows = builder.rows(every, limit, block=block)
            builder.add(rows[:, None], columns[:, lanes], 1.0)
            if drawn is not None:
                builder.add(rows, drawn, -share)


def _with_substitutes(
    builder: Builder,
    columns: Ints,
    tier: Ints,
    accepted: Floats,
    demand: Floats,
    ease: float,
    block: Ints,
    into: Floats,
) -> None:
    every = np.ones(demand.shape, dtype=np.bool_)
    asking = demand @ into  # if nobody were served in the first pass
    best = float(accepted[tier].max())
    limit = np.minimum(best * demand + ease, demand)
    first = builder.columns(every, demand, upper=limit, block=block)
    rows = builder.rows(every, 0.0, block=block)  # what is served first is served
    builder.add(rows, first, 1.0)
    builder.add(rows[:, None], columns, -1.0)
    rows = builder.rows(every, best * asking + ease, block=block)
    builder.add(rows[:, None], columns, 1.0)
    builder.add(rows, first, -1.0)
    builder.add(rows[:, None, :], first[:, :, None], best * into)
    if ease:  # a group sells no more than is asked for, whatever is rounded
        members = block == np.arange(block.max() + 1)[:, None]  # (groups, P)
        rows = builder.rows(
            np.ones((len(demand), len(members)), dtype=np.bool_),
            demand @ members.T,
            block=np.arange(len(members)),
        )
        builder.add(rows[:, block][:, None, :], columns, 1.0)
    for lanes, share in _suffixes(tier, accepted):
        limit = share * (demand + asking) + ease
        builder.at_most(columns[:, lanes], limit[:, None])
        if share < best:
            rows = builder.rows(every, limit, block=block)
            builder.add(rows[:, None], columns[:, lanes], 1.0)
            builder.add(rows[:, None, :], first[:, :, None], share * into)
