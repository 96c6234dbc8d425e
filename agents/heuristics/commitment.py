"""A platform that keeps its word: limits near those announced, whatever has happened since.

What is announced one and two months before is a moving average of what the rule would set, so to
keep a part of it smooths limits as well; both spare sellers surprises, and the platform the lots
that follow surprises.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Observation,
    Parameter,
    search_of,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.restock_limits import adaptive_need, density_caps
from stockyard.agents.heuristics.restock_prices import priced_need
from stockyard.agents.heuristics.terms import Offer, Seen, TermsRule
from stockyard.envs.tasks.restock_modes import NO_LIMIT


class KeptOutlook(TermsRule):
    """Offers what another rule offers, but for limits that were announced before."""

    def __init__(self, facts: Facts, rule: TermsRule, share: float) -> None:
        """Takes the rule, and how much of its word counts."""
        super().__init__(facts, "kept_outlook")
        self._rule, self._share = rule, share
        self.mechanism = rule.mechanism

    def offer(self, seen: Seen, observation: Observation) -> Offer:
        """What sellers are offered."""
        offer = self._rule.offer(seen, observation)
        if offer.limit is None:
            return offer
        months = [offer.limit, *np.moveaxis(offer.outlook_or_limit(), 2, 0)]
        announced = np.asarray(observation["outlook"], dtype=np.float64)
        for month in range(2):
            told = announced[:, :, month]
            kept = self._share * told + (1.0 - self._share) * months[month]
            # before the first announcement nothing is promised
            months[month] = np.where(told < NO_LIMIT, kept, months[month])
        return offer._replace(limit=months[0], outlook=np.stack(months[1:], axis=2))


def kept_outlook(
    env: Any, rule: str | Mapping[str, Any] = "density_caps", share: float = 1.0
) -> KeptOutlook:
    """Limits as announced one and two months before; another rule announces the next.

    What predictability costs is what this rule earns less than the one it is made of; sellers are
    never surprised by it.

    Args:
        env: a built environment in which terms are decided.
        rule: that sets limits: its name, or a mapping of `name` and its parameters.
        share: of the way from what the rule would set now to what was announced; 1 keeps it all.

    Raises:
        ValueError: if the share is not in [0, 1], or the rule sets no terms for sellers.
    """
    from stockyard.agents.policy import make

    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share: must lie in [0, 1], got {share}")
    given = {"name": rule} if isinstance(rule, str) else dict(rule)
    inner = make(given.pop("name"), env, **given)
    if not isinstance(inner, TermsRule):
        raise ValueError(f"rule: must set terms for sellers, got {rule!r}")
    return KeptOutlook(Facts(env), inner, share)


def _kept(name: str, factory: Callable[..., TermsRule]) -> Callable[..., TermsRule]:
    """The rule `factory` makes, with the share of its announcements that is kept tuned beside it.

    It takes the parameters of that rule, and `share` of `kept_outlook`.
    """
    search = search_of(factory)
    assert search is not None

    def space(facts: Facts) -> tuple[Parameter, ...]:
        return (*search.space(facts), Parameter("share", 0.1, 0.7, least=0.0, most=1.0))

    def rule(env: Any, share: float | None = None, **parameters: float) -> TermsRule:
        facts = Facts(env)
        if share is None:
            factory(env, days=1.0)  # refuses where it does not apply, before the search
            return rule(env, **tuned(name, facts))
        return kept_outlook(env, {"name": factory.__name__, **parameters}, share)

    rule.__name__, rule.__doc__ = name, _kept.__doc__
    return tuned_by(space)(rule)


kept_density_caps = _kept("kept_density_caps", density_caps)
kept_adaptive_need = _kept("kept_adaptive_need", adaptive_need)
kept_priced_need = _kept("kept_priced_need", priced_need)
