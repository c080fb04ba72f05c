"""Intervals, drawing data again, rank correlations and tests: against scipy where it has them, by
simulated coverage where it has not, and by hand.
"""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from lib import metrics
from lib.metrics import statistics
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(mean, sd=1.0, pictures=40, seed=0):
    """Numbers [1,N] with exactly this mean and standard deviation."""
    drawn = torch.randn(1, pictures, dtype=torch.float64, generator=generator(seed))
    return mean + sd * (drawn - drawn.mean()) / drawn.std()


def half_width(interval):
    low, high = interval
    return (high - low) / 2


def covered(intervals, truth):
    """The share of the intervals that hold the truth."""
    return np.mean([low <= truth <= high for low, high in intervals])


def test_the_examples_are_true():
    found = doctest.testmod(statistics)
    assert found.failed == 0
    public = [n for n, f in vars(statistics).items() if callable(f) and n[0] != "_"]
    own = [n for n in public if getattr(statistics, n).__module__ == statistics.__name__]
    assert len(own) > 15
    for name in own:
        assert ">>> " in getattr(statistics, name).__doc__, name


X = torch.arange(5.0)
REFUSED = [
    (lambda: metrics.wilson(3, 0), ("3 of 0", "at least 1")),
    (lambda: metrics.wilson(11, 10), ("11 of 10", "between 0 and n")),
    (lambda: metrics.wilson(-1, 10), ("-1 of 10", "between 0 and n")),
    (lambda: metrics.bootstrap(X[:0]), ("no values", "at least one")),
    (lambda: metrics.median_interval(X[:0]), ("no values", "at least one")),
    (lambda: metrics.median_interval([1.0, math.nan, 2.0]), ("NaN", "no rank")),
    (lambda: metrics.bootstrap_of(np.mean, X[:0]), ("no images", "at least one")),
    (
        lambda: metrics.bootstrap_of(lambda a, b: a.mean() - b.mean(), X, X[:3]),
        ("images", "5", "3", "group of their own"),
    ),
    (
        lambda: statistics.resample(np.mean, X, axes=[]),
        ("axes", "0 for 1 arrays"),
    ),
    (
        lambda: statistics.resample(np.mean, X, axes=[{"pictures": 0}], counted=("seeds",)),
        ("'seeds'", "pictures"),
    ),
    (
        lambda: statistics.resampled_means([X[None], X[None, :3]]),
        ("pictures", "5", "3", "group of their own"),
    ),
    (
        lambda: statistics.resampled_means([torch.ones(2, 5), torch.ones(3, 5)]),
        ("seeds", "2", "3", "group of their own"),
    ),
    (lambda: statistics.spearman_interval(X, X[:3]), ("(5,)", "(3,)", "one length")),
    (lambda: metrics.spearman([1, 2], [1, 2, 3]), ("(2,)", "(3,)", "one length")),
    (lambda: metrics.spearman(np.ones((2, 2)), np.ones((2, 2))), ("(2, 2)", "two rows")),
]


@pytest.mark.parametrize("call, words", REFUSED)
def test_what_has_no_answer_is_refused(call, words):
    refused(call, *words)


# ---- shares


@pytest.mark.parametrize("successes, n", [(0, 10), (7, 10), (10, 10), (6307, 10000), (1, 1)])
def test_wilson_is_scipys(successes, n):
    interval = scipy.stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert metrics.wilson(successes, n) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_another_level_of_wilsons_interval():
    interval = scipy.stats.binomtest(7, 10).proportion_ci(0.99, method="wilson")
    z = scipy.stats.norm.ppf(0.995)
    assert metrics.wilson(7, 10, z) == pytest.approx((interval.low, interval.high))


def test_an_interval_of_a_share_is_never_below_0_or_above_1():
    for n in range(1, 400):
        assert metrics.wilson(0, n)[0] >= 0
        assert metrics.wilson(n, n)[1] <= 1


# ---- means


def test_bootstrap_of_many_values_is_the_normal_interval():
    values = torch.rand(400, dtype=torch.float64, generator=generator())
    half = 1.96 * values.std().item() / 400**0.5
    low, high = metrics.bootstrap(values)
    assert low == pytest.approx(values.mean().item() - half, abs=half / 8)
    assert high == pytest.approx(values.mean().item() + half, abs=half / 8)
    assert metrics.bootstrap(values) == (low, high)
    assert metrics.bootstrap(values, generator=generator(0)) == (low, high)
    assert metrics.bootstrap(values, generator=generator(1)) != (low, high)
    assert metrics.bootstrap(torch.full((9,), 0.25)) == (0.25, 0.25)


def test_bootstrap_of_a_few_booleans_is_the_binomial():
    """4 of 10 true: the resampled share is Binomial(10, .4) / 10, whose 2.5 and 97.5 percentiles
    are .1 and .7.
    """
    low, high = metrics.bootstrap(torch.arange(10) < 4, resamples=20000)
    assert (low, high) == pytest.approx((0.1, 0.7), abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_both_bootstraps_of_a_mean_are_scipys(ties):
    """To the error of so many resamples, an eighth of the half-width at 2,000."""
    values = torch.randn(60, generator=generator(3), dtype=torch.float64)
    values = values.round() if ties else values
    interval = scipy.stats.bootstrap(
        (values.numpy(),),
        np.mean,
        n_resamples=4000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    # ends of means of 60 whole numbers lie on a grid of 1/60
    error = half_width(interval) / 8 + (1 / 60 if ties else 0)
    for ours in (metrics.bootstrap(values), metrics.bootstrap_of(np.mean, values)[1:]):
        assert ours == pytest.approx(tuple(interval), abs=error)


@pytest.mark.parametrize("paired", [True, False])
def test_groups_say_what_scipy_calls_paired(paired):
    first = torch.randn(80, generator=generator(4), dtype=torch.float64)
    second = first + torch.randn(80, generator=generator(5), dtype=torch.float64) / 4
    interval = scipy.stats.bootstrap(
        (first.numpy(), second.numpy()),
        lambda a, b: a.mean() - b.mean(),
        paired=paired,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    _, *ours = metrics.bootstrap_of(
        lambda a, b: a.mean() - b.mean(), first, second, groups=None if paired else ("a", "b")
    )
    assert ours == pytest.approx(list(interval), abs=half_width(interval) / 6)


def test_the_bootstrap_of_a_mean_is_that_of_its_statistic():
    values = torch.rand(300, dtype=torch.float64, generator=generator())
    value, low, high = metrics.bootstrap_of(np.mean, values)
    assert value == pytest.approx(values.mean().item(), abs=1e-12)
    assert (low, high) == pytest.approx(metrics.bootstrap(values), abs=0.003)
    assert metrics.bootstrap_of(np.mean, values) == (value, low, high)
    assert metrics.bootstrap_of(np.mean, values, seed=1) != (value, low, high)
    assert all(isinstance(v, float) for v in (value, low, high))


def test_intervals_of_a_mean_cover():
    rows = torch.randn(500, 40, generator=generator(), dtype=torch.float64)
    by_counts = [metrics.bootstrap(row, resamples=400) for row in rows]
    by_places = [metrics.bootstrap_of(np.mean, row, resamples=200)[1:] for row in rows[:250]]
    assert 0.91 < covered(by_counts, 0) < 0.97
    assert 0.90 < covered(by_places, 0) < 0.98


# ---- the median


@pytest.mark.parametrize(
    "n, low, high", [(10, 2, 9), (20, 6, 15), (100, 40, 61)]
)  # ranks from 1, as tables of the sign test have them
def test_the_medians_interval_is_two_order_statistics(n, low, high):
    values = torch.randperm(n, generator=generator()) + 1.0
    assert metrics.median_interval(values) == (low, high)
    assert metrics.median_interval(10 * values - 3) == (10 * low - 3, 10 * high - 3)
    # exactly: between `low` and `high` - 1 of the values lie below
    reached = sum(math.comb(n, k) for k in range(low, high)) / 2**n
    assert 0.95 <= reached < 0.98


@pytest.mark.parametrize("n", [1, 2, 5])
def test_of_a_few_values_the_medians_interval_is_all_of_them(n):
    assert metrics.median_interval(torch.arange(n)) == (0, n - 1)


def test_the_medians_interval_covers():
    values = torch.randn(400, 25, generator=generator(), dtype=torch.float64)
    assert 0.92 < covered(map(metrics.median_interval, values), 0) < 0.99


# ---- any statistic


def test_a_percentile_interval_by_hand():
    low, high = statistics.percentile_interval(np.arange(201.0))
    assert (low, high) == (5, 195)
    two = np.stack([np.arange(201.0), 2 * np.arange(201.0)], 1)
    low, high = statistics.percentile_interval(two)
    assert low.tolist() == [5, 10]
    assert high.tolist() == [195, 390]


def test_resamples_without_a_value_are_left_out_of_an_interval():
    drawn = np.full((300, 2), np.nan)
    drawn[:201, 0] = np.arange(201)
    low, high = statistics.percentile_interval(drawn)
    assert (low[0], high[0]) == (5, 195)
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    assert all(np.isnan(end) for end in statistics.percentile_interval(drawn[:, 1]))


def test_a_resample_without_a_value_is_left_out():
    value, low, high = metrics.bootstrap_of(
        lambda a: a.mean() if a.any() else np.nan, torch.tensor([0.0, 1.0]), resamples=400
    )
    assert (value, low, high) == (0.5, 0.5, 1)


def test_a_bootstrap_by_hand():
    """Of two images, a resample is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4."""
    drawn = []

    def noted_mean(a):
        drawn.append(a.mean())
        return drawn[-1]

    metrics.bootstrap_of(noted_mean, torch.tensor([0.0, 1.0]), resamples=2000)
    shares = [np.mean(np.array(drawn[:-1]) == v) for v in (0, 0.5, 1)]
    assert len(drawn) == 2001
    assert drawn[-1] == 0.5
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.04)
    assert metrics.bootstrap_of(np.mean, torch.tensor([0.0, 1.0]))[1:] == (0, 1)


def test_draws_are_those_that_were_published():
    """One set of places a group and resample, from one stream, in the order of the columns."""
    first, second = np.random.default_rng(7).random((2, 3, 20)), np.random.default_rng(8).random(9)

    def statistic(a, b):
        return a.mean(1).max() - b.mean()

    rng, drawn = np.random.default_rng(0), []
    for _ in range(100):
        at, at_second = rng.integers(20, size=20), rng.integers(9, size=9)
        drawn.append(statistic(first[..., at], second[at_second]))
    expected = np.quantile(drawn, [0.025, 0.975])
    value, *ends = metrics.bootstrap_of(
        statistic, first, second, groups=("first", "second"), resamples=100
    )
    assert ends == expected.tolist()
    assert value == statistic(first, second)


def test_columns_are_resampled_together():
    first = torch.randn(50, generator=generator(), dtype=torch.float64)
    stacked = torch.stack([first, first + 2])
    apart = metrics.bootstrap_of(lambda a, b: (a - b).mean(), first, first + 2, resamples=50)
    together = metrics.bootstrap_of(lambda a: (a[0] - a[1]).mean(), stacked, resamples=50)
    assert apart == pytest.approx((-2, -2, -2), abs=1e-12)
    assert together == pytest.approx((-2, -2, -2), abs=1e-12)


@pytest.mark.parametrize("count", [100, 400])
def test_columns_of_two_sets_of_images_are_resampled_apart(count):
    """The variance of a difference of independent means is the sum of theirs, whether or not there
    happen to be as many; within a set, images stay paired.
    """
    rng = generator()
    first = torch.rand(count, generator=rng, dtype=torch.float64)
    second = torch.rand(400, generator=rng, dtype=torch.float64)
    groups = ("here", "there", "there")
    value, low, high = metrics.bootstrap_of(
        lambda a, b, c: a.mean() - b.mean() + (b - c).mean(),
        *(first, second, second + 1),
        groups=groups,
        resamples=4000,
    )
    variance = first.var(correction=0) / count + second.var(correction=0) / 400
    assert value == pytest.approx((first.mean() - second.mean() - 1).item())
    assert (high - low) / 2 == pytest.approx(1.96 * variance.item() ** 0.5, rel=0.05)


def test_a_minimum_is_taken_within_each_resample():
    """The smaller of two means that are equal lies below both of them more often than not."""
    pair = torch.randn(2, 200, generator=generator(1), dtype=torch.float64)
    pair -= pair.mean(1, keepdim=True)
    value, low, high = metrics.bootstrap_of(lambda a: a.mean(1).min(), pair)
    _, first_low, first_high = metrics.bootstrap_of(np.mean, pair[0])
    assert value == pytest.approx(0, abs=1e-12)
    assert high < first_high * 0.75
    assert low < first_low


# ---- groups


def test_every_array_says_which_of_its_axes_is_which_group():
    """Numbers that name their picture and seed: a resample holds whole rows and whole columns, and
    the same ones in both arrays, whichever axis they lie on.
    """
    by_seed = 100 * np.arange(3)[:, None] + np.arange(7)  # [seeds,pictures]
    seen = []

    def noted(a, b, c):
        assert a.shape == (3, 7)
        assert np.array_equal(a, b.T)
        assert np.array_equal(a[0] % 100, c)
        assert len(np.unique(a // 100, axis=1).T) == 1  # one seed a row
        seen.append((tuple(a[:, 0] // 100), tuple(c)))
        return 0.0

    axes = [{"seeds": 0, "pictures": 1}, {"pictures": 0, "seeds": 1}, {"pictures": -1}]
    drawn = statistics.resample(noted, by_seed, by_seed.T, np.arange(7), axes=axes, resamples=200)
    assert drawn.tolist() == [0.0] * 200
    seeds, pictures = map(set, zip(*seen, strict=True))
    assert len(seeds) == 27  # all that three seeds allow
    assert len(pictures) > 190
    assert len(set(seen)) > 195  # drawn independently of each other


def test_what_is_in_no_group_is_not_drawn():
    kept = np.arange(6.0)
    drawn = statistics.resample(
        lambda a, b: np.array_equal(b, kept), kept, kept, axes=[{"pictures": 0}, {}], resamples=20
    )
    assert drawn.all()


def test_arrays_of_one_length_are_paired_by_their_group_alone():
    x = np.arange(30.0)
    names = [("here", "here"), ("here", "there")]
    equal = [
        statistics.resample(
            np.array_equal, x, x, axes=[{first: 0}, {second: 0}], resamples=20
        ).tolist()
        for first, second in names
    ]
    assert equal == [[True] * 20, [False] * 20]


def test_counting_is_drawing():
    """A mean weighted by how often each picture is drawn has the distribution of the mean of what
    is drawn, and the counts are those of as many pictures as there are.
    """
    x, totals = np.random.default_rng(0).normal(size=(2, 50)), set()

    def weighted(a, pictures):
        totals.add(int(pictures.sum()))
        return (a @ pictures / pictures.sum()).max()

    counted, drawn = (
        statistics.percentile_interval(
            statistics.resample(statistic, x, axes=[{"pictures": 1}], counted=names, resamples=4000)
        )
        for statistic, names in ((weighted, ("pictures",)), (lambda a: a.mean(1).max(), ()))
    )
    assert totals == {50}
    assert counted == pytest.approx(drawn, abs=half_width(drawn) / 8)


def test_a_generator_goes_on_where_it_is():
    x, rng = np.arange(20.0), np.random.default_rng(0)

    def draw(seed):
        return statistics.resample(np.mean, x, axes=[{"pictures": 0}], resamples=10, seed=seed)

    first, second = draw(rng), draw(rng)
    assert np.array_equal(first, draw(0))
    assert not np.array_equal(first, second)
    whole = statistics.resample(np.mean, x, axes=[{"pictures": 0}], resamples=20)
    assert np.array_equal(np.concatenate([first, second]), whole)


@pytest.mark.parametrize("scale, shift", [(3.0, 0.0), (1.0, -5.0), (-2.0, 7.0)])
def test_intervals_move_with_the_numbers(scale, shift):
    """Of a * x + b it is a times that of x, plus b, with its ends turned where a is below 0."""
    x = torch.rand(60, generator=generator(2), dtype=torch.float64)
    seeds = torch.rand(3, 60, generator=generator(2), dtype=torch.float64)

    def of_sets(values):
        return statistics.percentile_interval(statistics.resampled_means([values], 300)[:, 0])

    for interval, values in (
        (lambda v: metrics.bootstrap_of(np.mean, v, resamples=300)[1:], x),
        (lambda v: metrics.bootstrap_of(np.median, v, resamples=300)[1:], x),
        (metrics.median_interval, x),
        (of_sets, seeds),
    ):
        expected = sorted(scale * end + shift for end in interval(values))
        assert list(interval(scale * values + shift)) == pytest.approx(expected, rel=1e-9)


def test_the_order_of_pictures_and_of_rows_does_not_matter_to_what_is_measured():
    x = torch.rand(3, 80, generator=generator(2), dtype=torch.float64)

    def of_rows(values):
        return metrics.bootstrap_of(lambda a: a.mean(1).max(), values)

    value, low, high = of_rows(x)
    assert of_rows(x.flip(0)) == (value, low, high)  # methods are not drawn
    mixed = of_rows(x[:, torch.randperm(80, generator=generator())])
    assert mixed[0] == pytest.approx(value)
    assert mixed[1:] == pytest.approx((low, high), abs=(high - low) / 16)


# ---- means over seeds and pictures


def test_seeds_weigh_alike_whatever_number_they_have():
    values = f64([[0, 0, 0, 8], [6, torch.nan, torch.nan, torch.nan]])
    assert statistics.plain_means([values]).tolist() == [4]


def test_seeds_are_drawn_again_too():
    far = f64([[0.0] * 50, [1.0] * 50])
    drawn = statistics.resampled_means([far], 1000)[:, 0]
    assert set(drawn) == {0, 0.5, 1}  # half of the draws take one seed twice
    assert abs((drawn == 0.5).mean() - 0.5) < 0.06


def test_seeds_are_drawn_alike_for_sets_of_the_same_seeds_alone():
    """Two methods that differ by as much in either seed differ by as much in every draw, unless
    they are said to be of other seeds."""
    first = f64([[0.0] * 50, [1.0] * 50])
    drawn = statistics.resampled_means([first, first + 2], 200)
    assert np.ptp(drawn[:, 0]) == 1
    assert np.ptp(drawn[:, 1] - drawn[:, 0]) < 1e-12
    apart = statistics.resampled_means([first, first + 2], 200, seeds_of=("these", "others"))
    assert set((apart[:, 1] - apart[:, 0]).round(9)) == {1, 1.5, 2, 2.5, 3}


def test_pictures_are_drawn_alike_for_sets_of_other_seeds():
    x = torch.rand(1, 40, generator=generator(), dtype=torch.float64)
    sets = [x.expand(2, -1), x.expand(3, -1) + 1]
    drawn = statistics.resampled_means(sets, 50, seeds_of=("two", "three"))
    assert np.ptp(drawn[:, 1] - drawn[:, 0]) < 1e-12
    assert np.ptp(drawn[:, 0]) > 0.05


def test_the_order_of_the_sets_does_not_matter():
    """Not even where their seeds are drawn apart."""
    two, three = (torch.rand(n, 40, generator=generator(n), dtype=torch.float64) for n in (2, 3))
    drawn = statistics.resampled_means([two, three], 50, seeds_of=(2, 3))
    turned = statistics.resampled_means([three, two], 50, seeds_of=(3, 2))
    assert np.array_equal(drawn, turned[:, ::-1])


def test_resampling_repeats_by_its_seed():
    once, again, other = (
        statistics.resampled_means([normal(0), normal(1, seed=1)], 50, seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_all_resamples_at_once_are_those_one_by_one():
    """The same interval as the general resampler finds, gaps and seeds included."""
    values = torch.rand(4, 60, generator=generator(6), dtype=torch.float64)
    values[:, ::5] = torch.nan
    slow = statistics.resample(
        lambda a: np.nanmean(a, 1).mean(),
        values,
        axes=[{"seeds": 0, "pictures": 1}],
        resamples=4000,
    )
    fast = statistics.resampled_means([values], 4000)[:, 0]
    expected = statistics.percentile_interval(slow)
    assert statistics.percentile_interval(fast) == pytest.approx(
        expected, abs=half_width(expected) / 8
    )


def test_a_resample_in_which_a_set_has_no_number_is_replaced_by_another():
    """One picture of three has a number: eight draws of twenty-seven lack it."""
    gaps, whole = f64([[torch.nan, 5, torch.nan]]), f64([[1, 2, 3]])
    drawn = statistics.resampled_means([gaps, whole], 300)
    assert set(drawn[:, 0]) == {5}
    assert len(set(drawn[:, 1])) > 4
    assert np.isnan(statistics.resampled_means([f64([[torch.nan] * 3]), whole], 20)[:, 0]).all()


def test_intervals_over_pictures_and_seeds_cover():
    """Every seed and every picture moves the numbers: an interval over pictures alone would be
    sure of too much."""
    rng, both, pictures_alone = np.random.default_rng(0), [], []
    for _ in range(250):
        values = rng.normal(size=(10, 1)) / 2 + rng.normal(size=(1, 40)) + rng.normal(size=(10, 40))
        both.append(statistics.percentile_interval(statistics.resampled_means([values], 300)[:, 0]))
        pictures_alone.append(metrics.bootstrap(values.mean(0), 300))
    assert 0.89 < covered(both, 0) < 0.98
    assert covered(pictures_alone, 0) < covered(both, 0) - 0.02


# ---- ranks


def test_spearman_of_two_rows_is_scipys_and_nothing_where_one_is_constant():
    a, b = np.array([0.3, 0.1, 0.1, 0.9, 0.5]), np.array([2.0, 1.0, 4.0, 8.0, 8.0])
    expected = scipy.stats.spearmanr(a, b).statistic
    assert metrics.spearman(a, b) == pytest.approx(expected)
    assert metrics.spearman(a.tolist(), torch.from_numpy(b)) == pytest.approx(expected)
    assert metrics.spearman(a, -a) == -1
    assert isinstance(metrics.spearman(a, b), float)
    with np.errstate(all="raise"):
        assert np.isnan(metrics.spearman(a, np.ones(5)))
    assert np.isnan(metrics.spearman(a, np.array([1, 2, np.nan, 3, 4])))


def test_correlations_of_rows_are_those_of_each_row():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (50, 6)).astype(float), rng.random((50, 6))  # with ties
    first[0] = 2.0  # and a row that says nothing
    found = statistics.spearman_rows(first, second)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx(
        [scipy.stats.spearmanr(*pair).statistic for pair in zip(first[1:], second[1:], strict=True)]
    )


@pytest.mark.parametrize("count", [3, 7, 13])
def test_the_interval_of_a_correlation_is_that_of_the_general_bootstrap(count):
    """To the last digit, with resamples in which all of a row are equal left out."""
    first, second = np.random.default_rng(count).integers(6, size=(2, count)).astype(float)
    expected = metrics.bootstrap_of(metrics.spearman, first, second, resamples=300)
    assert statistics.spearman_interval(first, second, 300) == expected
    other = metrics.bootstrap_of(metrics.spearman, first, second, resamples=300, seed=1)
    assert statistics.spearman_interval(first, second, 300, seed=1) == other
    assert all(isinstance(v, float) for v in expected)


def slow_place(merit, k, among):
    """1, plus those others that are ahead, and half of those that are level."""
    others = [merit[j] for j in among if j != k]
    return 1 + sum(v > merit[k] for v in others) + 0.5 * sum(v == merit[k] for v in others)


@pytest.mark.parametrize("among", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [1, 4, 5, 8], [7], []])
def test_places_against_a_slow_count(among):
    merit = np.random.default_rng(0).integers(6, size=(3, 20, 9)).astype(float)  # many ties
    found = statistics.places(merit, among)
    assert found.shape == merit.shape
    for i, j in itertools.product(range(3), range(20)):
        assert found[i, j].tolist() == [slow_place(merit[i, j], k, among) for k in range(9)]


def test_places_among_all_are_scipys_ranks():
    merit = np.random.default_rng(1).integers(6, size=(50, 8)).astype(float)
    assert np.array_equal(statistics.places(merit, range(8)), scipy.stats.rankdata(-merit, axis=-1))


def slow_roc_auc(scores, positive, weights):
    """Every pair of a positive and a negative, weighted by both; a tie is half of a pair."""
    won = whole = 0.0
    for i, j in itertools.product(range(len(scores)), repeat=2):
        if positive[i] and not positive[j]:
            weight = weights[i] * weights[j]
            whole += weight
            if scores[i] > scores[j]:
                won += weight
            elif scores[i] == scores[j]:
                won += weight / 2
    return won / whole if whole else np.nan


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("values", [4, 1000])
def test_the_roc_curves_area_against_every_pair(seed, values):
    rng = np.random.default_rng(seed)
    scores = rng.integers(values, size=30) / 7 - 3  # with four values nearly all are ties
    positive = rng.random(30) < 0.4
    for weights in (
        np.ones(30),
        rng.multinomial(30, np.full(30, 1 / 30)).astype(float),
        (rng.random(30) < 0.5) * rng.random(30),
    ):
        area = statistics.weighted_roc_auc(scores, positive, weights)
        turned = statistics.weighted_roc_auc(-scores, positive, weights)
        swapped = statistics.weighted_roc_auc(scores, ~positive, weights)
        assert area == pytest.approx(slow_roc_auc(scores, positive, weights))
        assert turned == pytest.approx(1 - area)
        assert swapped == pytest.approx(1 - area)
        assert 0 < area < 1


@pytest.mark.parametrize("values", [5, 1000])
def test_the_roc_curves_area_without_weights_is_mann_and_whitneys(values):
    rng = np.random.default_rng(values)
    scores, positive = rng.integers(values, size=40), rng.random(40) < 0.3
    u = scipy.stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    pairs = positive.sum() * (~positive).sum()
    assert statistics.weighted_roc_auc(scores, positive, np.ones(40)) == pytest.approx(u / pairs)


def test_the_roc_curves_area_by_hand():
    scores = np.array([1.0, 2, 3, 3])

    def area(*positive, weights=(1.0, 1, 1, 1)):
        flags = np.isin(np.arange(4), positive)
        return statistics.weighted_roc_auc(scores, flags, np.array(weights))

    assert area(3) == pytest.approx(2.5 / 3)
    assert (area(0), area(2, 3)) == (0, 1)
    assert area(1, 3, weights=(3, 1, 1, 2)) == pytest.approx((3 + 2 * (3 + 0.5)) / (3 * 4))
    # no positive, or nothing else, is left
    for nothing in (
        area(),
        area(0, 1, 2, 3),
        area(0, weights=(0, 1, 1, 1)),
        area(0, weights=(1, 0, 0, 0)),
    ):
        assert np.isnan(nothing)


# ---- tests


def test_permutations_of_few_methods_are_counted_one_by_one():
    a, b = np.array([1.0, 2, 3, 4, 4]), np.array([2.0, 1, 3, 5, 4])
    seen = abs(scipy.stats.spearmanr(a, b).statistic)
    expected = np.mean(
        [
            abs(scipy.stats.spearmanr(order, b).statistic) >= seen - 1e-12
            for order in itertools.permutations(a)
        ]
    )
    assert statistics.permutation_p(a, b) == pytest.approx(expected)
    assert statistics.permutation_p(-a, b) == pytest.approx(expected)
    assert statistics.permutation_p(b, a) == pytest.approx(expected)
    assert statistics.permutation_p(np.arange(4.0), np.arange(4.0)) == 2 / 24
    assert statistics.permutation_p(np.ones(5), b) == 1


def test_permutations_of_many_methods_are_drawn():
    rng = np.random.default_rng(0)
    a, b = rng.random(12), rng.random(12)
    b += 0.8 * a
    p = statistics.permutation_p(a, b)
    assert p == pytest.approx(scipy.stats.spearmanr(a, b).pvalue, abs=0.01)
    assert p == statistics.permutation_p(a, b)
    assert statistics.permutation_p(a, a) == 1 / 20_000  # the given order is one of those drawn


def test_what_is_not_a_number_has_no_p():
    assert np.isnan(statistics.permutation_p([1, 2, np.nan, 4], [1, 2, 3, 4]))
    assert np.isnan(statistics.permutation_p([1, 2, 3, 4], [1, 2, np.nan, 4]))


def test_chance_is_rarely_significant():
    rng = np.random.default_rng(0)
    p = np.array([statistics.permutation_p(*rng.random((2, 6))) for _ in range(600)])
    for level in (0.05, 0.2):
        assert (p <= level).mean() < level + 2.5 * (level * (1 - level) / 600) ** 0.5
    assert 0.4 < p.mean() < 0.65


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == [1, 1]
    assert statistics.holm([]) == []
    assert statistics.holm([0.03]) == [0.03]


def test_a_test_that_was_not_made_does_not_count():
    nan = float("nan")
    assert statistics.holm([0.01, nan, 0.04]) == pytest.approx([0.02, nan, 0.04], nan_ok=True)
    assert np.isnan(statistics.holm([nan, nan])).all()


def test_holm_keeps_the_order_and_lies_between_nothing_and_bonferroni():
    for seed in range(20):
        p = np.random.default_rng(seed).random(9) ** 3
        corrected = np.array(statistics.holm(p))
        assert (corrected >= p).all()
        assert (corrected <= np.minimum(9 * p, 1) + 1e-15).all()
        assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
        turned = statistics.holm(p[::-1])
        assert turned[::-1] == corrected.tolist()


def test_any_false_finding_among_many_is_as_rare_as_holm_says():
    """Eight tests that are all of nothing, and correlated as those of one table are."""
    rng, false = np.random.default_rng(0), 0
    for _ in range(2000):
        z = 0.6 * rng.normal() + 0.8 * rng.normal(size=8)
        false += min(statistics.holm(2 * scipy.stats.norm.sf(np.abs(z)))) < 0.05
    assert 0.02 < false / 2000 < 0.06


def test_the_smallest_correlation_that_could_be_shown():
    """One test of fourteen pairs needs 0.53 (tables of Spearman's correlation: 0.54); of 78 tests
    the first needs about 0.8. Four have 24 orders: never below 1/12."""
    assert statistics.smallest_significant(14, 1) == pytest.approx(0.53, abs=0.01)
    assert statistics.smallest_significant(14, 78) == pytest.approx(0.80, abs=0.01)
    assert statistics.smallest_significant(14, 10) < statistics.smallest_significant(8, 10)
    assert np.isnan(statistics.smallest_significant(4, 1)) and np.isnan(
        statistics.smallest_significant(2, 1)
    )


def test_the_smallest_significant_correlation_is_where_its_p_reaches_the_level():
    for n, tests in ((14, 1), (14, 78), (30, 10)):
        bound = statistics.smallest_significant(n, tests)
        strength = bound * ((n - 2) / (1 - bound**2)) ** 0.5
        assert 2 * scipy.stats.t.sf(strength, n - 2) == pytest.approx(0.05 / tests)


def test_the_test_of_a_mean_is_scipys():
    values = np.random.default_rng(4).normal(0.5, 1, size=9)
    low, high, p = statistics.mean_test(values)
    found = scipy.stats.ttest_1samp(values, 0)
    assert (low, high) == pytest.approx(tuple(found.confidence_interval(0.95)))
    assert p == pytest.approx(found.pvalue / 2 if values.mean() > 0 else 1 - found.pvalue / 2)
    assert statistics.mean_test(-values)[2] == pytest.approx(1 - p)
    assert statistics.mean_test(np.zeros(5)) == (0, 0, 1)


# ---- seeds


def test_the_t_interval_of_one_row_is_scipys():
    values = np.random.default_rng(0).normal(3, 2, size=5)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    means, half = statistics.t_interval([values])
    assert means == pytest.approx([values.mean()])
    assert (means[0] - half, means[0] + half) == pytest.approx(tuple(expected))


def test_half_the_width_of_a_difference_is_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 6), rng.normal(1, 1, 4)
    expected = scipy.stats.ttest_ind(first, second).confidence_interval(0.95)
    variance = (5 * first.var(ddof=1) + 3 * second.var(ddof=1)) / 8
    half = statistics.t_half_width(variance, 8, 6, 4)
    assert half == pytest.approx(half_width(expected))


def test_the_variance_over_seeds_is_pooled_over_rows():
    values = np.random.default_rng(2).normal(size=(4, 3)) + np.arange(4)[:, None]
    means, half = statistics.t_interval(values)
    pooled = values.var(axis=1, ddof=1).mean() ** 0.5
    assert means == pytest.approx(values.mean(1))
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 8) * pooled / 3**0.5)


def test_of_one_seed_there_is_no_interval():
    means, half = statistics.t_interval([[2.0], [3.0]])
    assert means.tolist() == [2, 3]
    assert np.isnan(half)
    assert np.isnan(statistics.two_way_residual([[2.0], [3.0]])[0])
    assert np.isnan(statistics.t_half_width(1.0, 0, 3))


@pytest.mark.parametrize("seeds", [2, 3])
def test_t_intervals_cover_however_few_the_seeds(seeds):
    rng, intervals = np.random.default_rng(seeds), []
    for _ in range(2000):
        means, half = statistics.t_interval(rng.normal(size=(3, seeds)))
        intervals.append((means[0] - half, means[0] + half))
    assert 0.935 < covered(intervals, 0) < 0.965


def test_a_residual_by_the_slow_sum():
    x = np.random.default_rng(3).random((3, 4, 2))
    squares = 0.0
    for m, s, f in itertools.product(range(3), range(4), range(2)):
        of_row, of_seed, of_all = x[m, :, f].mean(), x[:, s, f].mean(), x[:, :, f].mean()
        squares += (x[m, s, f] - of_row - of_seed + of_all) ** 2
    variance, degrees = statistics.two_way_residual(x)
    assert degrees == 2 * 3 * 2
    assert variance == pytest.approx(squares / degrees)
    # what moves whole rows or whole seeds leaves no trace
    moved = x + np.arange(3)[:, None, None] + 10 * np.arange(4)[:, None]
    assert statistics.two_way_residual(moved)[0] == pytest.approx(variance)


def test_differences_paired_by_seed_cover():
    """Seeds that lift all rows alike do not widen the interval of a difference of two rows."""
    rng, intervals = np.random.default_rng(0), []
    for _ in range(2000):
        values = rng.normal(size=(3, 2)) + 20 * rng.normal(size=2)
        half = statistics.t_half_width(*statistics.two_way_residual(values), 2, 2)
        change = values[0].mean() - values[1].mean()
        intervals.append((change - half, change + half))
    assert 0.935 < covered(intervals, 0) < 0.965


def test_the_pooled_variance_is_that_of_the_t_test_of_two_groups():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=6), rng.normal(3, 1, size=4)
    variance, degrees = statistics.pooled_variance([first, [7.0], second])
    assert degrees == 8
    assert variance == pytest.approx((5 * first.var(ddof=1) + 3 * second.var(ddof=1)) / 8)
    nothing, none = statistics.pooled_variance([[1.0], [2.0]])
    assert np.isnan(nothing) and none == 0


def test_the_p_of_a_difference_is_scipys():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=6), rng.normal(0.8, 1, size=4)
    change = first.mean() - second.mean()
    p = statistics.t_test(change, *statistics.pooled_variance([first, second]), 6, 4)
    assert p == pytest.approx(scipy.stats.ttest_ind(first, second).pvalue)
    # the half-width of the interval is where p is 0.05
    half = statistics.t_half_width(2.0, 7, 3, 5)
    assert statistics.t_test(half, 2.0, 7, 3, 5) == pytest.approx(0.05)
    assert np.isnan(statistics.t_test(1.0, 2.0, 0, 3))
    assert statistics.t_test(0.1, 0.0, 4, 3) == 0
    assert statistics.t_test(0.0, 0.0, 4, 3) == 1


def test_an_analysis_of_variance_of_two_groups_is_a_t_test():
    rng = np.random.default_rng(7)
    groups = [rng.normal(size=5), rng.normal(1, 1, size=5)]
    between, within, p = statistics.one_way(groups)
    assert between == pytest.approx(abs(groups[0].mean() - groups[1].mean()) / 2**0.5)
    assert within == pytest.approx(statistics.pooled_variance(groups)[0] ** 0.5)
    assert p == pytest.approx(scipy.stats.ttest_ind(*groups).pvalue)
