"""Random small networks in which sellers decide for their products."""

import dataclasses
from typing import Any

import numpy as np
from random_networks import BATCH, Case, draw_case

from stockyard.envs.network.arrays import UNLIMITED
from stockyard.envs.network.capacities import Congestion
from stockyard.envs.network.seller_traits import Sellers
from stockyard.envs.network.state import SellerState, Terms


def draw_seller_case(seed: int, **fixed: Any) -> Case:
    """A case of `draw_case` with lost sales and retail books, in which all of part 2.4 happens.

    Terms change in the first and fourth of its periods, and sellers review in the first, third and
    fourth. Traits, terms and beliefs are drawn from streams of their own.
    """
    case = draw_case(seed, **{"backorder": False, "textbook": False, **fixed})
    rng = np.random.default_rng([seed, 77])
    p = case.network.num_products
    owner = rng.integers(0, 4, p)
    owner[rng.integers(p)] = 1
    products = dataclasses.replace(case.network.products, owner=owner)
    network = dataclasses.replace(case.network, products=products)
    s, c = network.products.num_owners - 1, 2
    sellers = Sellers(
        network,
        inflation=rng.choice([0.0, 1.0, 2.0], s),
        hoarding=rng.choice([0.0, 0.5], s),
        shading=rng.choice([0.0, 1.0], s),
        merchant_share=rng.uniform(0.0, 1.0, s),
        num_size_classes=c,
        payment="pay_as_bid" if rng.random() < 0.4 else "uniform",
    )

    def limits(*shape: int) -> Any:
        drawn = rng.uniform(0.0, 40.0, (BATCH, *shape))
        drawn[rng.random(drawn.shape) < 0.2] = UNLIMITED
        drawn[rng.random(drawn.shape) < 0.1] = 0.0
        return drawn

    nothing, by_product = np.zeros((BATCH, s)), np.zeros((BATCH, p))
    state = SellerState(
        limit=limits(s),
        won=nothing,
        fee=nothing,
        price=rng.uniform(0.0, 0.5, (BATCH, c)),
        outlook=limits(s, 2),
        broken=nothing,
        earned_days=np.zeros((BATCH, 1)),
        clearing=np.zeros((BATCH, 1)),
        request=nothing,
        granted=rng.uniform(0.2, 1.0, (BATCH, s)),
        cut=by_product,
        sales=rng.gamma(2.0, 1.0, (BATCH, p)),
        in_stock=rng.uniform(0.5, 1.0, (BATCH, p)),
    )
    decisions, exogenous = [], []
    for k, (decided, happens) in enumerate(zip(case.decisions, case.exogenous, strict=True)):
        terms = Terms(
            limit=limits(s),
            earned_days=rng.uniform(0.0, 40.0, (BATCH, 1)) * (rng.random() < 0.5),
            price=rng.uniform(0.0, 1.0, (BATCH, c)),
            offered=rng.uniform(0.0, 60.0, (BATCH, 1)) * (rng.random((BATCH, 1)) < 0.7),
            reserve=rng.uniform(0.0, 0.2, (BATCH, 1)),
            outlook=limits(s, 2),
        )
        beliefs = rng.gamma(2.0, 1.5, (BATCH, p)) * (owner > 0)
        decisions.append(decided._replace(terms=terms if k in (0, 3) else None, limits=None))
        exogenous.append(happens._replace(beliefs=beliefs if k in (0, 2, 3) else None))
    flags = {**case.flags, "sellers": sellers}
    if flags["dock_is_limited"] and flags["storage_is_limited"]:
        flags["congestion"] = Congestion()
    return dataclasses.replace(
        case,
        network=network,
        flags=flags,
        state=case.state._replace(sellers=state),
        decisions=tuple(decisions),
        exogenous=tuple(exogenous),
    )
