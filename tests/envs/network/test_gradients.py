"""Gradients through the step equal finite differences away from kinks."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import law
from random_networks import BATCH, Case, change, draw_case

from stockyard.envs.network.accounting import cash_flows, stock_value
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.params import array_maker
from stockyard.envs.network.replenish import place_orders

H = 1e-5

fluid = st.integers(0, 10**6).map(
    lambda seed: draw_case(seed, whole_units=False, fluid_trucks=True, textbook=False, lots=False)
)


def total_return(case: Case, scale: Any) -> Any:
    """Return (B,) when the orders of the case are multiplied by `scale` (B, periods, E_in, P)."""
    params = case.params("torch")
    make = array_maker("torch", "float64")
    state, total = change(case.state, make), torch.zeros(BATCH, dtype=torch.float64)
    for k, (decisions, exogenous) in enumerate(zip(case.decisions, case.exogenous, strict=True)):
        decided = change(decisions, make)
        if decided.orders is not None:
            decided = decided._replace(orders=decided.orders + scale[:, k])
        state, flows = step(params, state, decided, change(exogenous, make))
        total = total + sum(cash_flows(params, [flows]).values())
    cover = torch.full((BATCH, case.network.num_products), 20.0, dtype=torch.float64)
    return total + stock_value(params, state, cover)


@law(12)
@given(case=fluid)
def test_autograd_equals_finite_differences(case: Case) -> None:
    """L14: d return / d order, where the return is smooth on both sides."""
    lanes, products = case.network.carries.shape
    shape = (BATCH, len(case.decisions), lanes, products)
    free = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    value = total_return(case, free)
    plain = total_return(case, torch.zeros(shape, dtype=torch.float64))
    assert torch.equal(value.detach(), plain), "asking for gradients changed a value"
    if not value.requires_grad:
        assert all(decisions.orders is None for decisions in case.decisions)
        return
    (slope,) = torch.autograd.grad(value.sum(), free)
    assert torch.isfinite(slope).all()
    rng = np.random.default_rng(case.seed)
    for _ in range(4):  # directions that move all replicas at once; they do not touch each other
        entry = tuple(int(rng.integers(n)) for n in shape[1:])
        bump = torch.zeros(shape, dtype=torch.float64)
        bump[(slice(None), *entry)] = H
        ahead, behind = total_return(case, bump), total_return(case, -bump)
        right, left = (ahead - plain) / H, (plain - behind) / H
        smooth = (right - left).abs() < 1e-4 * (1.0 + right.abs())
        central = (right + left) / 2.0
        gap = (central - slope[(slice(None), *entry)]).abs() / (1.0 + central.abs())
        assert (gap[smooth] < 1e-4).all(), (entry, central, slope[(slice(None), *entry)])


def test_an_order_that_is_sold_has_a_gradient() -> None:
    """L14: the law above is not kept by gradients that are zero everywhere."""
    case = draw_case(5, whole_units=False, fluid_trucks=True, textbook=False, lots=False)
    shape = (BATCH, len(case.decisions), *case.network.carries.shape)
    free = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total_return(case, free).sum(), free)
    assert (slope != 0).any()


def test_lots_pass_the_gradient_straight_through() -> None:
    """An order made up to cases has the gradient of the order, also where it is cut to nothing."""
    case = draw_case(8, whole_units=False, lots=True, supplier=False)
    params, make = case.params("torch"), array_maker("torch", "float64")
    wanted = np.maximum(case.decisions[0].orders, 0.1)
    free = torch.tensor(wanted, requires_grad=True)
    exogenous = change(case.exogenous[0], make)
    _, ordered = place_orders(params, change(case.state, make), free, None, exogenous)
    assert ordered is not None
    made_up = ordered.ordered.detach().numpy()
    assert (np.abs(made_up - wanted * case.network.carries) > 0.01).any()
    (slope,) = torch.autograd.grad(ordered.ordered.sum(), free)
    np.testing.assert_array_equal(slope.numpy(), np.broadcast_to(case.network.carries, slope.shape))
