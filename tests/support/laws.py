"""How laws are asserted: the same examples every time, and equality up to rounding."""

from typing import Any

import numpy as np
from hypothesis import settings

TOLERANCE = 1e-9  # of a quantity, and of a unit
ROUNDING = 1e-6  # units that rounding down to whole units forgives


def law(examples: int = 25) -> Any:
    """Settings of a law: the same examples each time, no time limit."""
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


def same(left: Any, right: Any) -> None:
    """Asserts equality up to rounding."""
    np.testing.assert_allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def at_most(used: Any, limit: Any, slack: float = 0.0) -> None:
    """Asserts that `used` stays within `limit` up to rounding."""
    bound = np.asarray(limit) * (1.0 + TOLERANCE) + TOLERANCE + slack
    excess = np.max(np.asarray(used) - bound, initial=-np.inf)
    assert excess <= 0.0, f"exceeds its limit by {excess}"
