"""Aggregates by their published definitions, intervals by their coverage, ranks by certainty."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from stockyard.agents.evaluation.statistics import (
    INDISTINGUISHABLE,
    Field,
    Resamples,
    Spread,
    aggregate,
    headroom,
    holm,
    interquartile_mean,
    mean_score,
    median_score,
    normalise,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    ranks,
)
from stockyard.agents.evaluation.statistics.resampling import acceleration, influence

# runs x tasks, as rliable lays scores out; here one training seed, and runs are tapes
MATRIX = np.array(
    [
        [0.10, 0.42, 1.30],
        [0.35, 0.47, 0.95],
        [-0.20, 0.66, 1.05],
        [0.15, 0.31, 0.80],
    ]
)
OTHER = np.array(
    [
        [0.20, 0.40, 1.00],
        [0.25, 0.47, 1.10],
        [0.05, 0.50, 0.90],
        [0.15, 0.35, 1.20],
    ]
)


def scores_of(matrix: np.ndarray) -> np.ndarray:
    """(runs, tasks) as (seeds, entries, tapes)."""
    return matrix.T[None]


def test_aggregates_are_the_published_ones_on_a_fixed_matrix() -> None:
    """Agarwal et al. (2021), by hand: sums and sorted lists, no code of ours or theirs."""
    scores = scores_of(MATRIX)
    assert mean_score(scores) == pytest.approx((0.40 + 1.86 + 4.10) / 12)
    # means by task: .10, .465, 1.025
    assert median_score(scores) == pytest.approx(0.465)
    # in order: -.20 .10 .15 | .31 .35 .42 .47 .66 .80 | .95 1.05 1.30
    middle = (0.31, 0.35, 0.42, 0.47, 0.66, 0.80)
    assert interquartile_mean(scores) == pytest.approx(sum(middle) / 6)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(MATRIX, 0.25, axis=None))
    # gamma = 1: two scores above 1 count as 1
    assert optimality_gap(scores) == pytest.approx(1.0 - (6.36 - 0.30 - 0.05) / 12)
    levels = np.array([-0.5, 0.42, 1.0, 1.3])
    assert performance_profile(scores, levels) == pytest.approx([1.0, 6 / 12, 2 / 12, 0.0])


def test_the_probability_of_improvement_is_the_published_one() -> None:
    """The mean over tasks of the Mann-Whitney statistic over the pairs of runs."""
    ours, theirs = scores_of(MATRIX), scores_of(OTHER)
    expected = np.mean(
        [stats.mannwhitneyu(MATRIX[:, task], OTHER[:, task]).statistic / 16 for task in range(3)]
    )
    assert probability_of_improvement(ours, theirs) == pytest.approx(expected)
    assert probability_of_improvement(ours, ours) == 0.5
    # run by run: .10<.20 .35>.25 -.20<.05 .15=.15 | .42>.40 .47=.47 .66>.50 .31<.35 | > < > <
    assert probability_of_improvement(ours, theirs, paired=True) == pytest.approx(
        np.mean([1.5 / 4, 2.5 / 4, 2 / 4])
    )


@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_the_interquartile_mean_cuts_whole_scores(size: int) -> None:
    """As scipy's trimmed mean does, which the published definition names."""
    values = np.random.default_rng(size).normal(size=(1, 1, size))
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values.ravel(), 0.25))


def test_resamples_draw_tapes_within_entries_alone() -> None:
    """Stratified: every entry keeps its number of tapes, and all draws are equally likely."""
    drawn = Resamples(2, 2, resamples=4000, seed=3)
    assert (drawn.counts.sum(axis=2) == 2).all()
    scores = np.array([[[0.0, 1.0], [10.0, 14.0]]])
    exact = sorted(
        np.mean([*first, *second])
        for first in itertools.product([0.0, 1.0], repeat=2)
        for second in itertools.product([10.0, 14.0], repeat=2)
    )
    means = drawn.means(scores[0])
    for value in set(exact):
        share = np.isclose(means, value).mean()
        assert share == pytest.approx(exact.count(value) / 16, abs=0.03)


def test_resampled_interquartile_means_are_those_of_the_drawn_scores() -> None:
    """Counting instead of copying is quicker and must say the same."""
    scores = np.random.default_rng(5).normal(size=(3, 2, 6))
    drawn = Resamples(2, 6, resamples=20, seed=1)
    for counts, found in zip(drawn.counts, drawn.interquartile_means(scores), strict=True):
        copies = [
            np.repeat(scores[seed, entry], counts[entry]) for seed in range(3) for entry in range(2)
        ]
        assert found == pytest.approx(stats.trim_mean(np.concatenate(copies), 0.25))


def test_the_influence_is_that_of_leaving_a_tape_out() -> None:
    """BCa's acceleration is defined by the jackknife; the closed form must come to the same."""
    scores = np.random.default_rng(2).gamma(2.0, 1.0, size=(1, 1, 400))
    without = np.array([interquartile_mean(np.delete(scores, tape, axis=2)) for tape in range(400)])
    jackknife = acceleration((without.mean() - without)[None])
    assert acceleration(influence(scores)) == pytest.approx(jackknife, abs=0.01)


def draw(rng: np.random.Generator, seeds: int, by_seed: float) -> np.ndarray:
    """Scores of a policy on 5 entries with 16 tapes: skewed over tapes, and trained with luck."""
    level = np.linspace(0.3, 0.7, 5)[None, :, None]
    luck = by_seed * rng.normal(size=(seeds, 1, 1))
    tapes = 0.05 * (rng.gamma(4.0, 1.0, (1, 5, 16)) - 4.0)
    return level + luck + tapes + 0.05 * rng.normal(size=(seeds, 5, 16))


@pytest.mark.parametrize(("seeds", "by_seed"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.02)], ids=str)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int, by_seed: float) -> None:
    """95 % intervals on synthetic scores of known truth cover it in 93 to 97 % of 800 trials."""
    population = np.random.default_rng(0)
    many = draw(population, 1, 0.0)[:, :, :1] * 0.0 + np.linspace(0.3, 0.7, 5)[None, :, None]
    noise = 0.05 * (population.gamma(4.0, 1.0, (5, 200_000)) - 4.0)
    noise += math.hypot(0.05, by_seed) * population.normal(size=noise.shape)
    truth = {"iqm": interquartile_mean(many + noise), "mean": 0.5}
    rng, trials = np.random.default_rng(1), 800
    covered = dict.fromkeys(truth, 0)
    for trial in range(trials):
        found = aggregate(draw(rng, seeds, by_seed), Resamples(5, 16, resamples=300, seed=trial))
        for name, value in truth.items():
            interval = found[name].interval()
            covered[name] += interval.low <= value <= interval.high
    for name, count in covered.items():
        assert 0.93 <= count / trials <= 0.97, (name, count / trials)


@pytest.mark.parametrize("seeds", [1, 3])
def test_paired_intervals_cover_the_difference(seeds: int) -> None:
    """Of a learner, trained with luck, and a rule on the same tapes, which differ by nothing."""
    rng, trials, covered = np.random.default_rng(4), 800, 0
    luck = 0.02 if seeds > 1 else 0.0
    for trial in range(trials):
        rule = draw(rng, 1, 0.0)
        learner = rule + luck * rng.normal(size=(seeds, 1, 1))
        learner = learner + 0.05 * rng.normal(size=(seeds, 5, 16))
        other = rule + 0.05 * rng.normal(size=rule.shape)
        field = Field({"learner": learner, "rule": other}, resamples=300, seed=trial)
        interval = field.difference("learner", "rule").interval()
        assert interval.method == "BCa"
        covered += interval.low <= 0.0 <= interval.high
    assert 0.93 <= covered / trials <= 0.97


def test_resampling_three_seeds_alone_would_not_cover() -> None:
    """Why seeds have Student's t: drawing three values anew leaves the truth out too often."""
    rng, trials, covered = np.random.default_rng(7), 800, 0
    for trial in range(trials):
        means = rng.normal(size=3)
        drawn = np.random.default_rng(trial).choice(means, (400, 3)).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= 0.0 <= high
    assert covered / trials < 0.85


def test_holm_multiplies_the_least_by_their_number_and_keeps_the_order() -> None:
    """By hand: .01 x 4, .03 x 3, .035 x 2 held at .09, .5."""
    corrected, factors = holm([0.03, 0.5, 0.01, 0.035])
    assert corrected == pytest.approx([0.09, 0.5, 0.04, 0.09])
    assert factors == [3, 1, 4, 3]
    assert holm([]) == ([], [])


def test_a_p_value_and_its_interval_say_the_same() -> None:
    """The interval of the confidence 1 - p just touches zero."""
    values = np.sort(np.random.default_rng(0).normal(0.3, 0.15, 4999))
    for error in (0.0, 0.1):
        spread = Spread(0.3, values, 0.1, corrected=True, seed_error=error, seed_freedom=2.0)
        p = spread.p_value()
        assert 0.001 < p < 0.5
        assert spread.interval(1.0 - 0.98 * p).low < 0.0 < spread.interval(1.0 - 1.02 * p).low
    # beyond what resamples resolve, the tail goes on as that of a normal distribution
    far = Spread(0.9, values + 0.6, corrected=True)
    assert 1e-10 < far.p_value() < 1e-7


def test_a_policy_compared_with_itself_is_indistinguishable() -> None:
    """Under another name it takes the same rank."""
    scores = draw(np.random.default_rng(0), 3, 0.02)
    field = Field({"itself": scores, "again": scores.copy(), "worse": scores - 0.5}, resamples=500)
    pairs = field.pairs()
    (same,) = [pair for pair in pairs if {pair.name, pair.rival} == {"itself", "again"}]
    assert same.verdict == INDISTINGUISHABLE
    assert same.difference == 0.0 and same.probability == 0.5 and same.p_value == 1.0
    assert ranks(["itself", "again", "worse"], pairs) == {"itself": 1, "again": 1, "worse": 3}


def test_nothing_depends_on_the_order_of_policies() -> None:
    """Who comes first has no part in any digit."""
    rng = np.random.default_rng(3)
    scores = {name: draw(rng, 1, 0.0)[..., :tapes] for name, tapes in (("a", 16), ("b", 8))}
    scores["c"] = draw(rng, 3, 0.01)
    forth = Field(scores, resamples=300).pairs()
    back = Field(dict(reversed(scores.items())), resamples=300).pairs()
    assert forth == back
    assert [pair.tapes for pair in forth] == [8, 16, 8]


def test_who_is_not_ranked_changes_no_rank() -> None:
    """Otherwise whoever reports a hundred rows of his own would make all others alike."""
    rng = np.random.default_rng(6)
    scores = {name: draw(rng, 1, 0.0) for name in ("a", "b")}
    scores["c"] = scores["a"] + 0.01 + 0.02 * rng.normal(size=scores["a"].shape)
    alone = Field(scores, resamples=300).pairs()
    more = {**scores, **{f"more {i}": draw(rng, 1, 0.0) for i in range(8)}}
    together = Field(more, resamples=300).pairs(ranked=list(scores))
    assert [pair for pair in together if {pair.name, pair.rival} <= set(scores)] == alone
    assert len(together) == 11 * 10 // 2


def test_many_equal_policies_share_the_first_rank() -> None:
    """Without a correction some of 120 pairs would be set apart by luck alone."""
    rng = np.random.default_rng(11)
    tapes = draw(rng, 1, 0.0)
    scores = {str(i): tapes + 0.05 * rng.normal(size=tapes.shape) for i in range(16)}
    pairs = Field(scores, resamples=1000).pairs()
    assert any(pair.p_value < 0.05 for pair in pairs)
    assert set(ranks(list(scores), pairs).values()) == {1}


def test_scores_are_zero_for_naive_and_one_for_the_bound() -> None:
    """Tape by tape; a tape of hardly any stake counts with a tenth of the mean stake."""
    naive = np.array([10.0, 20.0, 30.0, 40.0])
    bound = naive + np.array([10.0, 10.0, 19.96, 0.04])
    assert normalise(naive, naive, bound).tolist() == [0.0] * 4
    assert normalise(bound, naive, bound) == pytest.approx([1.0, 1.0, 1.0, 0.04])
    assert normalise(naive[None] + 5.0, naive, bound)[0, 3] == pytest.approx(5.0)
    with pytest.raises(ValueError, match="bound: must exceed the naive rule in the mean"):
        normalise(naive, naive, naive)


def test_an_entry_without_headroom_is_degenerate() -> None:
    """Nothing is ranked where nothing can be gained, or where a rule has gained it already."""
    naive = np.linspace(90.0, 110.0, 32)
    assert headroom(naive, naive * 1.5, 0.6, solved=0.95).verdict == ""
    assert "1.0 % more than the naive rule" in headroom(naive, naive * 1.01).verdict
    assert "with certainty" in headroom(naive, naive + np.resize([9.0, -9.0], 32)).verdict
    solved = headroom(naive, naive * 1.5, 0.97, solved=0.95)
    assert solved.verdict == "degenerate: a rule closes 97.0 % of the gap to the bound"
    assert headroom(naive, naive * 1.5, 0.97).verdict == ""


def test_scores_that_do_not_match_are_refused() -> None:
    """A NaN would pass through every mean, and other entries are another competition."""
    with pytest.raises(ValueError, match="policies have met \\[2, 3\\] entries"):
        Field({"a": np.zeros((1, 2, 4)), "b": np.zeros((1, 3, 4))})
    with pytest.raises(ValueError, match="b has one that is not finite"):
        Field({"a": np.zeros((1, 2, 4)), "b": np.full((1, 2, 4), np.nan)})
