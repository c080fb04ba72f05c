"""study.experiments.ranking on numbers made by hand: ranks, intervals, agreement, sparsity, sign,
crossed methods, where orders turn, and what distance explains."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from lib.attribution import METHODS, crosses
from lib.metrics.statistics import weighted_roc_auc
from study.experiments import ranking
from study.experiments.synthesis import METRICS

pytestmark = pytest.mark.usefixtures("one_thread")

# a metric of which less is better, and one of which more is
LOW, HIGH = "black_deletion", "black_insertion"
SIX = tuple(METHODS)[:6]
A, B, C, D = SIX[:4]  # published methods, whichever


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def flat(values, pictures=8):
    """One seed in which every picture has the same number: resampling changes nothing. Name ->
    value to name -> [1,N]."""
    return {
        name: torch.full((1, pictures), float(v), dtype=torch.float64) for name, v in values.items()
    }


def normal(mean, sd=1.0, pictures=40, seed=0):
    """Numbers [1,N] with exactly this mean and standard deviation."""
    drawn = torch.randn(
        1, pictures, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return mean + sd * (drawn - drawn.mean()) / drawn.std()


# ---- values and ranks


def test_ranks_by_hand():
    values = flat({A: 3, B: 1, C: 3, D: 7, f"shuffled:{A}": 0})
    table = ranking.summary({LOW: values, HIGH: values}, resamples=20)
    assert list(table.columns) == [
        "metric",
        "name",
        "value",
        "low",
        "high",
        "rank",
        "rank_low",
        "rank_high",
        "of",
        "n",
        "label",
        "better",
        "family",
    ]
    assert (
        table["metric"].tolist() == [LOW] * 4 + [HIGH] * 4
        and table["name"].tolist() == [A, B, C, D] * 2
    )  # a shuffled map is no method
    assert table["rank"].tolist() == [
        2.5,
        1,
        2.5,
        4,
        2.5,
        4,
        2.5,
        1,
    ]  # 1 is best; equals share their mean rank
    assert table["rank_low"].tolist() == table["rank_high"].tolist() == table["rank"].tolist()
    assert (
        table["value"].tolist()
        == table["low"].tolist()
        == table["high"].tolist()
        == [3, 1, 3, 7] * 2
        and set(table["of"]) == {4}
        and set(table["n"]) == {8}
    )


def test_others_show_the_rank_that_they_would_take_and_change_nobodys():
    values = flat(
        {"random": 0, A: 1, "rectgrad_active": 2, B: 3, "edges": 3, C: 5, "rectgrad_positive": 9}
    )
    table = ranking.summary({LOW: values, HIGH: values}, resamples=20)
    assert table["rank"].tolist() == [1, 1, 2, 2, 2.5, 3, 4, 4, 3, 3, 2, 2.5, 1, 1]
    assert table["rank_low"].tolist() == table["rank_high"].tolist() == table[
        "rank"
    ].tolist() and set(table["of"]) == {3}


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_is_the_best_under_every_metric(metric):
    table = ranking.summary(
        {
            metric: flat(
                {A: 0.6 + METRICS[metric].better / 10, B: 0.6 - METRICS[metric].better / 10}
            )
        },
        resamples=5,
    ).set_index("name")
    assert table["rank"].to_dict() == {A: 1, B: 2}


def test_metrics_come_in_the_order_of_the_table_and_nothing_else_is_one():
    values = flat({A: 1, B: 2})
    assert ranking.summary(
        {"kar": values, "kept": values, "variation": values, LOW: values}, resamples=5
    )["metric"].drop_duplicates().tolist() == [LOW, "variation", "kar"]


def test_pictures_without_a_number_are_left_out():
    nan = torch.nan
    table = ranking.summary(
        {"attack": {A: f64([[1, nan, 3, nan, 8]]), B: f64([[2, 2, 2, 2, nan]])}}, resamples=200
    ).set_index("name")
    assert (
        table["value"].to_dict() == {A: 4, B: 2}
        and table["n"].to_dict() == {A: 3, B: 4}
        and table["rank"].to_dict() == {A: 1, B: 2}
    )
    assert (
        table.loc[A, "low"] >= 1
        and table.loc[A, "high"] <= 8
        and table.loc[B, ["low", "high"]].tolist() == [2, 2]
    )


def test_a_picture_counts_once_whatever_number_of_seeds_it_has():
    nan = torch.nan
    table = ranking.summary(
        {"sanity": {A: f64([[1, nan, nan, 2], [1, 5, nan, 2], [1, 5, nan, 2]])}}, resamples=20
    )
    assert table["n"].tolist() == [3] and table["value"].tolist() == [
        pytest.approx((1.5 + 8 / 3 + 8 / 3) / 3)
    ]


def test_where_a_resample_has_no_picture_with_a_number_it_says_nothing():
    """One picture of three has a number: eight draws of twenty-seven lack it, and must not pass for
    a mean of 0."""
    table = ranking.summary(
        {"attack": {A: f64([[torch.nan, 5, torch.nan]]), B: f64([[torch.nan, -5, torch.nan]])}},
        resamples=200,
    )
    assert table["value"].tolist() == [5, -5] and table["low"].tolist() == table[
        "high"
    ].tolist() == [5, -5]
    assert (
        table["rank"].tolist()
        == table["rank_low"].tolist()
        == table["rank_high"].tolist()
        == [1, 2]
    )


def test_a_metric_without_a_single_number_is_left_out():
    found = {
        "attack": {A: f64([[torch.nan] * 3]), B: f64([[torch.nan] * 3])},
        LOW: flat({A: 1, B: 2}, 3),
    }
    table = ranking.summary(found, resamples=20)
    assert table["metric"].tolist() == [LOW] * 2 and table["rank"].tolist() == [1, 2]


def test_a_method_without_a_single_number_takes_no_rank():
    """Maps that are zero everywhere have no share: their method is neither the best nor one of
    those that are ranked."""
    table = ranking.summary(
        {"outside": flat({A: 1, B: 2}) | {C: f64([[torch.nan] * 8])}}, resamples=20
    ).set_index("name")
    assert (
        table.loc[[A, B], "rank"].tolist() == [1, 2]
        and set(table.loc[[A, B], "of"]) == {2}
        and table.loc[[A, B], ["low", "high"]].values.tolist() == [[1, 1], [2, 2]]
    )
    assert C not in table.index or np.isnan(table.loc[C, "rank"])


def test_intervals_are_those_of_the_mean():
    table = ranking.summary(
        {"variation": {"narrow": normal(1, 0.1), "wide": normal(1, 1, seed=1)}}, resamples=4000
    ).set_index("name")
    for name, sd in (("narrow", 0.1), ("wide", 1.0)):
        half = 1.96 * sd / 40**0.5
        assert table.loc[name, ["value", "low", "high"]].tolist() == pytest.approx(
            [1, 1 - half, 1 + half], abs=0.12 * half
        )


def test_intervals_against_a_slow_bootstrap_with_gaps():
    values = normal(0, 1, 30)
    values[0, ::4] = torch.nan
    found = ranking.summary({"attack": {A: values}}, resamples=4000).iloc[0]
    rng, kept = np.random.default_rng(1), values[0].numpy()
    again = [np.nanmean(kept[rng.integers(30, size=30)]) for _ in range(4000)]
    assert [found["low"], found["high"]] == pytest.approx(
        np.quantile(again, [0.025, 0.975]), abs=0.03
    )
    assert (
        found["value"] == pytest.approx(np.nanmean(kept))
        and found["low"] < found["value"] < found["high"]
    )


def test_pictures_are_drawn_alike_for_all_methods():
    """The second is worse than the first on every picture, by far less than pictures differ: no
    resample doubts it. The third's pictures come in another order."""
    a = normal(1, 1)
    table = ranking.summary({LOW: {A: a, B: a + 1e-3, C: a.flip(1)}}, resamples=500).set_index(
        "name"
    )
    assert table.loc[A, "rank_high"] < 3 and (table["high"] - table["low"] > 0.5).all()
    pair = ranking.summary({LOW: {A: a, B: a + 1e-3}}, resamples=500).set_index("name")
    assert pair[["rank_low", "rank", "rank_high"]].values.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert table.loc[C, ["rank_low", "rank_high"]].tolist() == [1, 3]
    other = ranking.summary(
        {LOW: {A: a, "rectgrad_active": a - 1e-3, B: a - 1}}, resamples=500
    ).set_index("name")  # one that is not ranked, likewise
    assert other.loc["rectgrad_active", ["rank_low", "rank", "rank_high"]].tolist() == [
        2,
        2,
        2,
    ] and other.loc[A, ["rank_low", "rank_high"]].tolist() == [2, 2]


def test_seeds_are_drawn_again_too():
    far, same = f64([[0.0] * 50, [1.0] * 50]), f64([[0.5] * 50, [0.5] * 50])
    table = ranking.summary({"roar": {A: far, B: same, C: same[:1]}}, resamples=1000).set_index(
        "name"
    )
    assert table["value"].tolist() == [0.5] * 3 and table.loc[A, ["low", "high"]].tolist() == [
        0,
        1,
    ]  # half of the draws take one seed twice
    assert table.loc[[B, C], ["low", "high"]].values.tolist() == [[0.5, 0.5]] * 2 and table.loc[
        A, ["rank_low", "rank_high"]
    ].tolist() == [1, 3]


# ---- agreement


def test_a_metric_agrees_with_itself_whichever_way_is_better():
    values = dict(zip(SIX, (1, 5, 2, 4, 3, 6), strict=True))
    mirrored = {name: 9 - v for name, v in values.items()}
    for second, of, sign in (
        (HIGH, mirrored, 1),
        (HIGH, values, -1),
        ("variation", values, 1),
        ("variation", mirrored, -1),
    ):
        (row,) = ranking.agreement({LOW: flat(values), second: flat(of)}, resamples=100).to_dict(
            "records"
        )
        assert row == {
            "first": LOW,
            "second": second,
            "correlation": pytest.approx(sign),
            "low": pytest.approx(sign),
            "high": pytest.approx(sign),
            "methods": 6,
            "p": pytest.approx(2 / 720),
            "p_corrected": pytest.approx(2 / 720),
        }


def test_agreement_is_spearmans_over_the_methods_that_both_have():
    rng = np.random.default_rng(0)
    first, second = (dict(zip(METHODS, rng.random(len(METHODS)), strict=True)) for _ in range(2))
    second.pop("deeplift")
    first.pop("saliency")
    second["active"] = second["inactive"]  # a tie
    extra = {
        "rectgrad_active": 9.0,
        "random": -9.0,
        "shuffled:positive": 9.0,
    }  # only published methods count
    (row,) = ranking.agreement(
        {LOW: flat(first | extra), "outside": flat(second | extra)}, resamples=300
    ).to_dict("records")
    both = [m for m in METHODS if m in first and m in second]
    assert row["methods"] == len(both) == 12 and row["correlation"] == pytest.approx(
        scipy.stats.spearmanr([first[m] for m in both], [second[m] for m in both]).statistic
    )
    assert row["low"] < row["correlation"] < row["high"]


def test_methods_are_found_by_name_not_by_place():
    values = dict(zip(SIX, (1, 5, 2, 4, 3, 6), strict=True))
    backwards = dict(reversed(values.items()))
    assert ranking.agreement({LOW: flat(values), "outside": flat(backwards)}, resamples=50)[
        "correlation"
    ].tolist() == pytest.approx([1])


def test_every_pair_of_metrics_with_four_methods_in_common_has_a_row():
    four = dict(zip(SIX[:4], (1, 2, 3, 4), strict=True))
    found = {
        LOW: flat(four),
        "roar": flat(dict(zip(SIX[1:5], (1, 2, 3, 4), strict=True))),
        "outside": flat(four),
        "kept": flat(four),
    }
    table = ranking.agreement(found, resamples=20)
    assert table[["first", "second"]].values.tolist() == [
        [LOW, "outside"]
    ]  # with ROAR three are shared
    assert (
        list(ranking.agreement({LOW: flat(four)}, resamples=20).columns)
        == list(table.columns)
        == ["first", "second", "correlation", "low", "high", "methods", "p", "p_corrected"]
    )


def test_agreement_is_corrected_for_its_pairs():
    values = dict(zip(SIX, (1, 5, 2, 4, 3, 6), strict=True))
    table = ranking.agreement(
        {
            LOW: flat(values),
            "outside": flat(values),
            "variation": flat(dict(zip(SIX, (6, 1, 2, 5, 3, 4), strict=True))),
        },
        resamples=20,
    )
    assert table["p_corrected"].tolist() == pytest.approx(
        [3 * table["p"][0], *(min(1, 2 * p) for p in table["p"][1:])]
    )


def test_agreement_without_some_methods_is_that_of_the_others():
    rng = np.random.default_rng(2)
    first, second = (dict(zip(METHODS, rng.random(len(METHODS)), strict=True)) for _ in range(2))
    found, without = (
        {LOW: flat(first), HIGH: flat(second)},
        ("positive", "negative", "active", "inactive"),
    )
    rest = {
        metric: {n: v for n, v in of.items() if n not in without} for metric, of in found.items()
    }
    table = ranking.agreement(found, without=without, resamples=100)
    pd.testing.assert_frame_equal(table, ranking.agreement(rest, resamples=100))
    names = [m for m in METHODS if m not in without]
    assert table["methods"].tolist() == [len(METHODS) - 4] and table["correlation"][
        0
    ] == pytest.approx(
        -scipy.stats.spearmanr([first[m] for m in names], [second[m] for m in names]).statistic
    )
    assert table["correlation"][0] != pytest.approx(
        ranking.agreement(found, resamples=20)["correlation"][0]
    )


def test_without_all_of_its_methods_a_metric_has_no_row():
    values = flat(dict(zip(SIX, (1, 5, 2, 4, 3, 6), strict=True)))
    found = {LOW: values, HIGH: {n: values[n] for n in SIX[:2]}, "outside": values}
    table = ranking.agreement(found, without=SIX[:2], resamples=20)
    assert table[["first", "second", "methods"]].values.tolist() == [[LOW, "outside", 4]]


def test_a_method_without_a_single_number_does_not_agree():
    values, other = (
        dict(zip(SIX, (1, 5, 2, 4, 3, 6), strict=True)),
        dict(zip(SIX, (2, 5, 1, 4, 3, 0), strict=True)),
    )
    found = {LOW: flat(values), "outside": flat(other) | {SIX[5]: f64([[torch.nan] * 8])}}
    (row,) = ranking.agreement(found, resamples=100).to_dict("records")
    assert (
        row["methods"] == 5
        and row["correlation"]
        == pytest.approx(scipy.stats.spearmanr((1, 5, 2, 4, 3), (2, 5, 1, 4, 3)).statistic)
        and row["low"] <= row["correlation"] <= row["high"]
    )


def test_noise_and_few_methods_widen_the_interval():
    exact = {name: normal(k, 1e-6, seed=k) for k, name in enumerate(SIX)}
    noisy = {name: normal(k, 30.0, seed=k) for k, name in enumerate(SIX)}

    def width(first, second):
        table = ranking.agreement({LOW: first, "outside": second}, resamples=300)
        return (table["high"] - table["low"]).item()

    assert width(exact, exact) < 1e-9 and width(noisy, exact) > 0.5
    # one method out of order: which methods are drawn matters
    half = {name: v + 4 * (k == 0) for k, (name, v) in enumerate(exact.items())}
    assert width(exact, half) > 0.5


# ---- sparsity

KEPT = dict(zip(SIX, (0.1, 0.2, 0.3, 0.4, 0.6, 0.9), strict=True))


def shuffled(values):
    return {f"shuffled:{name}": v for name, v in values.items()}


@pytest.mark.parametrize("metric, sign", [(LOW, -1), (HIGH, 1)])
def test_a_metric_that_is_the_share_of_kept_pixels_rewards_sparsity_alone(metric, sign):
    (row,) = ranking.sparsity(
        {metric: flat(KEPT) | flat(shuffled(KEPT)), "kept": flat(KEPT)}, resamples=100
    ).to_dict("records")
    assert [
        row[c]
        for c in ("kept", "kept_low", "kept_high", "explained", "explained_low", "explained_high")
    ] == pytest.approx([sign] * 3 + [1] * 3)
    assert (row["metric"], row["beaten"], row["of"]) == (metric, 6, 6)


def test_kept_and_explained_are_spearmans_of_means():
    rng = np.random.default_rng(0)
    own, random = (dict(zip(SIX, rng.random(6), strict=True)) for _ in range(2))
    row = ranking.sparsity(
        {"patch": flat(own) | flat(shuffled(random)), "kept": flat(KEPT)}, resamples=300
    ).iloc[0]

    def correlation(a, b):
        return scipy.stats.spearmanr(list(a.values()), list(b.values())).statistic

    assert row["kept"] == pytest.approx(-correlation(random, KEPT))
    assert row["explained"] == pytest.approx(correlation(own, random))
    assert (
        row["kept_low"] < row["kept"] < row["kept_high"]
        and row["explained_low"] < row["explained"] < row["explained_high"]
    )


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_methods_that_are_no_better_than_their_shuffled_map_are_counted(metric):
    """Better on every picture; better on average, but not for sure; equal; worse."""
    better, base = METRICS[metric].better, normal(0, 1)
    ahead = (
        torch.full_like(base, 0.5),
        normal(0.5, 1, seed=1),
        normal(0.1, 1, seed=2),
        torch.zeros_like(base),
        normal(-0.5, 1, seed=3),
        torch.full_like(base, 1e-6),
    )
    values = {}
    for k, (name, by) in enumerate(zip(SIX, ahead, strict=True)):
        values[name], values[f"shuffled:{name}"] = base + k + better * by, base + k
    found = {metric: values, "kept": flat(KEPT, 40)}
    row = ranking.sparsity(found, resamples=500).iloc[0]
    assert (row["beaten"], row["of"]) == (3, 6)  # paired by picture, a millionth is enough


def test_sparsity_needs_four_methods_with_a_shuffled_map_and_a_share():
    three, four = (dict(list(KEPT.items())[:count]) for count in (3, 4))
    table = ranking.sparsity(
        {
            LOW: flat(KEPT) | flat(shuffled(four)),
            HIGH: flat(KEPT) | flat(shuffled(three)),
            "sanity": flat(KEPT),
            "kept": flat(KEPT),
        },
        resamples=20,
    )
    assert table["metric"].tolist() == [LOW] and table["of"].tolist() == [4]
    both = flat(KEPT) | flat(shuffled(KEPT))
    assert (
        len(ranking.sparsity({LOW: both, "kept": flat(three)}, resamples=20))
        == len(ranking.sparsity({LOW: both}, resamples=20))
        == 0
    )


# ---- against the same map, shuffled


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_what_a_map_gains_over_its_shuffled_one(metric):
    better = METRICS[metric].better
    values = flat({A: 0.5, B: 0.5, "rectgrad_active": 0.1}) | flat(
        {f"shuffled:{A}": 0.5 - better * 0.2, f"shuffled:{B}": 0.5 + better * 0.3}
    )
    table = ranking.over_shuffled({metric: values}, resamples=20)
    assert table[["metric", "name"]].values.tolist() == [
        [metric, A],
        [metric, B],
    ]  # of the third there is no shuffled map
    for column in ("gain", "low", "high"):
        assert table[column].tolist() == pytest.approx([0.2, -0.3])


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_gains_are_paired_over_pictures(metric):
    base, better = normal(1, 5), METRICS[metric].better
    found = {
        metric: {A: base + better * normal(0.5, 0.01, seed=1), f"shuffled:{A}": base},
        "kept": flat({A: 1, f"shuffled:{A}": 2}, 40),
    }
    (row,) = ranking.over_shuffled(found, resamples=2000).to_dict("records")
    half = 1.96 * 0.01 / 40**0.5
    assert row["gain"] == pytest.approx(0.5) and [row["low"], row["high"]] == pytest.approx(
        [0.5 - half, 0.5 + half], abs=0.15 * half
    )


# ---- the sign


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_blindness_by_hand(metric):
    """A difference of values, whichever is better, in standard deviations over the published
    methods that are not compared."""
    values = {"positive": 0.5, "negative": 0.2, "saliency": 0.3, "rectgrad": 0.8, "deeplift": 0.4}
    (row,) = ranking.blindness(
        {
            metric: flat(
                values | {"random": 50.0, "rectgrad_active": -50.0, "shuffled:saliency": 50.0}
            )
        },
        resamples=50,
    ).to_dict("records")
    spread = np.std([0.3, 0.8, 0.4], ddof=1)
    assert row == {
        "metric": metric,
        "difference": pytest.approx(0.3 / spread),
        "low": pytest.approx(0.3 / spread),
        "high": pytest.approx(0.3 / spread),
        "spread": pytest.approx(spread),
        "verdict": "sees it",
    }
    (turned,) = ranking.blindness(
        {metric: flat(values)}, "negative", "positive", resamples=50
    ).to_dict("records")
    assert turned["difference"] == pytest.approx(-0.3 / spread) and turned["verdict"] == "sees it"
    assert ranking.blindness({metric: flat(values)}, "rectgrad", "saliency", resamples=50)[
        "difference"
    ].item() == pytest.approx(0.5 / np.std([0.5, 0.2, 0.4], ddof=1))


def test_a_metric_that_gives_both_maps_the_same_numbers_is_blind():
    same = normal(1)
    row = ranking.blindness(
        {
            "variation": {
                "positive": same,
                "negative": same.clone(),
                "saliency": same + 1,
                "rectgrad": same + 3,
            }
        },
        resamples=200,
    ).iloc[0]
    assert (
        row["difference"] == row["low"] == row["high"] == 0
        and row["spread"] == pytest.approx(2**0.5)
        and row["verdict"] == "blind"
    )


@pytest.mark.parametrize(
    "mean, sd, expected",
    [
        (0, 0.1, "blind"),
        (0.1, 0.1, "blind"),
        (-0.1, 0.1, "blind"),
        (0.15, 0.6, "unknown"),
        (0, 2, "unknown"),
        (0.3, 2, "unknown"),
        (-0.3, 2, "unknown"),
        (1, 1, "sees it"),
        (-1, 1, "sees it"),
        (0.25, 0.1, "sees it"),
        (-0.25, 0.1, "sees it"),
        (0.19, 0.3, "hardly"),
        (-0.4, 1, "hardly"),
    ],
)
def test_verdicts_on_the_sign(mean, sd, expected):
    """Forty pictures: the interval reaches 0.31 standard deviations to either side. Blind is what
    lies within 0.2 of 0, even where it leaves 0 out; what leaves 0 out and no more is hardly
    seen."""
    others = flat({"saliency": 0, "rectgrad": 2**0.5}, 40)  # which differ by one standard deviation
    found = {LOW: {"positive": normal(mean, sd), "negative": normal(0, 0)} | others}
    row = ranking.blindness(found, resamples=1000).iloc[0]
    low, high = mean - 0.31 * sd, mean + 0.31 * sd
    assert [row["low"], row["high"]] == pytest.approx([low, high], abs=0.06 * sd) and row[
        "verdict"
    ] == expected
    assert ranking.blindness(found, margin=5, resamples=200)["verdict"].item() == "blind"
    assert ranking.blindness(found, margin=1e-6, resamples=200)["verdict"].item() == (
        "sees it" if low > 0 or high < 0 else "unknown"
    )  # nothing between


def test_without_two_other_methods_nothing_is_known_of_the_sign():
    pair = flat({"positive": 1, "negative": 2, "random": 7})
    for others in (
        {},
        {"saliency": 2},
        {"saliency": 2, "rectgrad": 2},
    ):  # none, one, and two that are alike
        row = ranking.blindness({LOW: pair | flat(others)}, resamples=20).iloc[0]
        assert (
            row["verdict"] == "unknown"
            and row[["difference", "low", "high", "spread"]].isna().all()
        )


def test_blindness_is_paired_over_pictures():
    base, others = normal(1, 5), flat({"saliency": 0, "rectgrad": 2}, 40)
    pair = ranking.blindness(
        {LOW: {"positive": base, "negative": base + normal(-0.5, 0.01, seed=1)} | others},
        resamples=1000,
    ).iloc[0]
    assert pair["low"] < pair["difference"] < pair["high"] and pair["difference"] == pytest.approx(
        0.5 / 2**0.5
    )
    assert (pair["high"] - pair["low"]) * pair["spread"] == pytest.approx(
        2 * 1.96 * 0.01 / 40**0.5, rel=0.15
    )


def test_blindness_needs_both_maps():
    values = flat({"positive": 1, "saliency": 2, "rectgrad": 4})
    assert ranking.blindness({LOW: values, HIGH: values | flat({"negative": 3})}, resamples=20)[
        "metric"
    ].tolist() == [HIGH]


# ---- crossed methods

NAME, PAIR = "rectgrad_active", ("rectgrad", "active")


def sets(metric=LOW, name=NAME, first=(-1.0, -1.0), second=(-1.0, -1.0), noise=0.1, pictures=40):
    """Two sets of numbers in which `name` differs from its parents by these means, exactly; its own
    are 0 on average."""
    made = []
    for k, means in enumerate((first, second)):
        base = normal(0, 1, pictures, seed=10 + k)
        parents = {
            parent: base - normal(mean, noise, pictures, seed=20 + 2 * k + j)
            for j, (parent, mean) in enumerate(zip(crosses.PARENTS[name], means, strict=True))
        }
        made.append({metric: {name: base, **parents}})
    return made


def verdict(found, held_out, metric=LOW):
    (row,) = ranking.judged({"net": ranking.tried(found, held_out, (metric,))}).to_dict("records")
    return row


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_each_parent_has_a_row_of_margins_and_a_test(metric):
    better = METRICS[metric].better
    found, held_out = sets(
        metric, first=(better * 0.3, better * 0.4), second=(better * 0.1, -better * 0.02)
    )
    table = ranking.tried(found, held_out, (metric,))
    assert table[["name", "metric", "parent"]].values.tolist() == [
        [NAME, metric, parent] for parent in PAIR
    ]
    assert table["ahead"].tolist() == pytest.approx([0.3, 0.4]) and table[
        "held"
    ].tolist() == pytest.approx([0.1, -0.02])
    for row in table.itertuples():
        mine, theirs = (held_out[metric][n][0].numpy() for n in (NAME, row.parent))
        test = scipy.stats.ttest_rel(
            mine, theirs, alternative="greater" if better > 0 else "less"
        )  # of the held-out pictures alone
        low, high = scipy.stats.ttest_rel(mine, theirs).confidence_interval(0.95)
        assert row.p == pytest.approx(test.pvalue) and [
            row.held_low,
            row.held_high,
        ] == pytest.approx(sorted((better * low, better * high)))
        assert row.held_low < row.held < row.held_high
    assert table["p"][0] < 1e-4 and table["p"][1] > 0.5


@pytest.mark.parametrize("metric", [LOW, HIGH])
def test_a_method_that_is_better_than_both_on_both_sets_beats_them(metric):
    better = METRICS[metric].better
    found, held_out = sets(
        metric, first=(better * 0.3, better * 0.4), second=(better * 0.1, better * 0.2)
    )
    row, table = verdict(found, held_out, metric), ranking.tried(found, held_out, (metric,))
    assert row == {
        "network": "net",
        "name": NAME,
        "metric": metric,
        "ahead": pytest.approx(0.3),
        "held": pytest.approx(0.1),
        "p": table["p"].max(),
        "p_corrected": table["p"].max(),
        "beats": True,
    }
    assert table["p"].nunique() == 2 and 0 < row["p"] < 1e-4
    worse = verdict(
        *sets(metric, first=(-better * 0.3, -better * 0.4), second=(-better * 0.1, -better * 0.2)),
        metric,
    )
    assert (
        worse["p"] > 0.99
        and worse["beats"] is False
        and (worse["ahead"], worse["held"]) == pytest.approx((-0.4, -0.2))
    )


@pytest.mark.parametrize(
    "first, second",
    [
        ((-1, -1), (-1, 1)),
        ((-1, -1), (1, -1)),
        ((-1, -1), (1, 1)),
        ((1, -1), (-1, -1)),
        ((-1, 1), (-1, -1)),
        ((1, 1), (-1, -1)),
    ],
)
def test_ahead_of_one_parent_or_on_one_set_alone_is_not_enough(first, second):
    row = verdict(*sets(first=first, second=second))
    assert row["beats"] is False and (row["ahead"], row["held"]) == (
        pytest.approx(-max(first)),
        pytest.approx(-max(second)),
    )
    assert (row["p"] < 0.01) == (second == (-1, -1))  # p is of the held-out set alone


def test_without_held_out_pictures_one_half_is_held_against_the_other():
    """The halves share no picture, leave none out, and are the same for every method."""
    found, rest = (
        sets("outside", first=(-1.0, -2.0), noise=0.5)[0],
        sets(first=(1, 1), second=(1, 1))[1],
    )
    table = ranking.tried(found, rest, ("outside",)).set_index("parent")
    one, two = ranking.halves(found["outside"])
    assert list(one) == list(two) == [NAME, *PAIR]
    place = {v: k for k, v in enumerate(found["outside"][NAME][0].tolist())}
    halves = [[place[v] for v in half[NAME][0].tolist()] for half in (one, two)]
    assert (
        sorted(halves[0] + halves[1]) == list(range(40))
        and len(halves[0]) == 20
        and halves[0] not in (list(range(20)), list(range(0, 40, 2)))
    )
    for half, places in zip((one, two), halves, strict=True):
        assert places == sorted(places) and all(
            torch.equal(v, found["outside"][n][:, places]) for n, v in half.items()
        )
    for parent in PAIR:
        change = (found["outside"][parent] - found["outside"][NAME])[0].numpy()
        assert table.loc[parent, "ahead"] == pytest.approx(change[halves[0]].mean()) and table.loc[
            parent, "held"
        ] == pytest.approx(change[halves[1]].mean())
        assert table.loc[parent, "p"] == pytest.approx(
            scipy.stats.ttest_1samp(change[halves[1]], 0, alternative="greater").pvalue
        )


def test_halves_of_an_odd_number_of_pictures_and_of_seeds():
    values = {A: torch.arange(14.0).view(2, 7)}
    one, two = (half[A] for half in ranking.halves(values))
    assert (one.shape, two.shape) == ((2, 3), (2, 4)) and torch.equal(
        torch.cat([one, two], 1).sort(1).values, values[A]
    )


def test_p_values_are_corrected_for_all_that_was_tried():
    """By itself the difference counts; among methods, metrics and networks it is one of many."""
    found, held_out = sets(noise=1, first=(-0.4, -0.4), second=(-0.32, -0.32))
    alone = verdict(found, held_out)
    assert 0.01 < alone["p"] < 0.05 and alone["beats"] is True
    for other in crosses.PARENTS:
        if other != NAME:
            for k, part in enumerate((found, held_out)):
                part[LOW] = {
                    other: normal(0, 1, seed=50 + k),
                    **{parent: normal(0, 1, seed=70 + k) for parent in crosses.PARENTS[other]},
                    **part[LOW],
                }
    table = ranking.tried(found, held_out, (LOW,))
    assert table[["name", "parent"]].values.tolist() == [
        [name, parent] for name, pair in crosses.PARENTS.items() for parent in pair
    ]
    twice = {"one": table, "two": table.assign(p=1 - table["p"])}
    judged = ranking.judged(twice)
    assert judged[["network", "name"]].values.tolist() == [
        [network, name] for network in twice for name in crosses.PARENTS
    ] and set(judged["metric"]) == {LOW}
    assert judged["p"].tolist() == [
        max(rows["p"])
        for network in twice.values()
        for _, rows in network.groupby("name", sort=False)
    ]
    ordered = judged["p"].sort_values(kind="stable")
    by_hand = (ordered * np.arange(len(judged), 0, -1)).cummax().clip(upper=1)
    assert (
        judged["p_corrected"].to_dict() == pytest.approx(by_hand.to_dict())
        and not judged["beats"].any()
    )
    mine = judged.set_index(["network", "name"]).loc[("one", NAME)]
    assert mine["p"] == pytest.approx(alone["p"]) and mine["p_corrected"] > 0.05 > mine["p"]


def test_a_metric_more_is_a_trial_more():
    found, held_out = sets(first=(-1.0, -1.0), second=(-0.02, -0.02), noise=0.05)
    table = ranking.tried(
        *({LOW: part[LOW], HIGH: part[LOW]} for part in (found, held_out)), (HIGH, LOW)
    )
    assert table["metric"].tolist() == [HIGH] * 2 + [LOW] * 2  # as they were chosen
    judged = ranking.judged({"net": table})
    alone = verdict(found, held_out)
    assert (
        0.001 < alone["p"] < 0.025
        and judged["metric"].tolist() == [HIGH, LOW]
        and judged["beats"].tolist() == [False, True]
    )
    assert (
        judged["p_corrected"][1] == pytest.approx(2 * alone["p"])
        and judged["p_corrected"][0] == judged["p"][0] > 0.9
    )


def test_a_method_equal_to_a_parent_beats_nobody():
    found, held_out = sets()
    held_out[LOW]["active"] = held_out[LOW][NAME].clone()
    row = ranking.tried(found, held_out, (LOW,)).set_index("parent").loc["active"]
    assert row[["held", "held_low", "held_high", "p"]].tolist() == [0, 0, 0, 1]
    row = verdict(found, held_out)
    assert (row["p"], row["held"], row["beats"]) == (1, 0, False)


def test_what_is_not_in_both_sets_with_both_parents_was_not_tried():
    found, held_out = sets()
    gone = {LOW: {name: v for name, v in held_out[LOW].items() if name != "active"}}
    assert (
        len(ranking.tried(found, gone, (LOW,)))
        == len(ranking.tried(gone, held_out, (LOW,)))
        == len(ranking.tried(found, held_out, (HIGH,)))
        == 0
    )
    assert len(ranking.tried(found, held_out, (LOW, HIGH))) == 2


def test_pictures_without_a_number_are_not_tried():
    """A quarter of the pictures has none; the rest decide as if they were all."""
    (found, held_out), gap = (
        sets("attack", first=(1.0, 1.0), second=(1.0, 1.0)),
        torch.arange(40) % 4 == 0,
    )
    some = [
        {"attack": {name: torch.where(gap, torch.nan, v) for name, v in part["attack"].items()}}
        for part in (found, held_out)
    ]
    rest = [
        {"attack": {name: v[:, ~gap] for name, v in part["attack"].items()}}
        for part in (found, held_out)
    ]
    assert (
        verdict(*some, "attack") == pytest.approx(verdict(*rest, "attack"))
        and verdict(*rest, "attack")["beats"]
    )
    pd.testing.assert_frame_equal(
        ranking.tried(*some, ("attack",)), ranking.tried(*rest, ("attack",))
    )


def test_one_picture_is_no_trial():
    """And of no trial nothing is judged: a table that can be asked which of its rows won."""
    found, held_out = sets("attack", first=(1.0, 1.0), second=(1.0, 1.0))
    few = [
        {
            "attack": {
                name: v.where(torch.arange(40) == 3, torch.nan)
                for name, v in part["attack"].items()
            }
        }
        for part in (found, held_out)
    ]
    table = ranking.tried(*few, ("attack",))
    assert len(table) == 0
    judged = ranking.judged({"one": table})
    assert len(judged[judged["beats"]]["name"]) == 0


def test_all_seeds_are_tried():
    """The second seed undoes what the first one shows."""
    found, held_out = sets()
    both = [
        {LOW: {name: torch.cat([v, v + 4 * (name == NAME)]) for name, v in part[LOW].items()}}
        for part in (found, held_out)
    ]
    assert (
        verdict(found, held_out)["beats"]
        and not verdict(*both)["beats"]
        and verdict(*both)["held"] == pytest.approx(-1)
    )


# ---- where the order turns


def test_a_step_in_which_all_are_alike_turns_nothing():
    steps = {
        "one": flat({A: 3, B: 1, C: 2}),
        "two": flat({A: 1, B: 1, C: 1}),
        "three": flat({A: 1, B: 3, C: 2}),
        "four": flat({A: 3, B: 1, C: 2}),
    }
    with np.errstate(all="raise"):
        _, turns = ranking.rungs(steps, resamples=20)
    assert turns["correlation"].isna().tolist() == [True, True, False] and turns[
        "least"
    ].tolist() == [0, 0, 1]


def test_rungs_by_hand():
    steps = {
        "one": flat({A: 3, B: 1, C: 2, D: 4}),
        "two": flat({D: 40, A: 10, C: 20, B: 10, "random": 5}),
        "three": flat({A: 1, B: 3, C: 2, "edges": 0, D: 0}),
    }
    table, turns = ranking.rungs(steps, resamples=50)
    assert list(table.columns) == ["step", "name", "value", "rank"] and list(turns.columns) == [
        "step",
        "correlation",
        "low",
        "high",
        "least",
    ]
    assert (
        table["step"].tolist() == ["one"] * 4 + ["two"] * 4 + ["three"] * 4
        and table["name"].tolist() == [A, B, C, D] * 3
    )  # those that all steps have
    assert table["value"].tolist() == [3, 1, 2, 4, 10, 10, 20, 40, 1, 3, 2, 0]
    assert table["rank"].tolist() == [3, 1, 2, 4, 1.5, 1.5, 3, 4, 2, 4, 3, 1]  # lower is better
    assert turns["step"].tolist() == ["two", "three"]
    expected = [
        scipy.stats.spearmanr((3, 1, 2, 4), (10, 10, 20, 40)).statistic,
        scipy.stats.spearmanr((10, 10, 20, 40), (1, 3, 2, 0)).statistic,
    ]
    for column in ("correlation", "low", "high"):
        assert turns[column].tolist() == pytest.approx(expected)
    assert turns["least"].tolist() == [0, 1] and expected[1] < expected[0]


def test_pictures_are_drawn_alike_for_both_steps_of_a_turn():
    """Which of the methods is ahead depends on the pictures that are drawn, and in both steps on
    the same ones; in the third on their opposites."""
    base = {name: normal(0, 1, seed=k) for k, name in enumerate(SIX)}
    table, turns = ranking.rungs(
        {
            "one": base,
            "two": {n: 10 + 3 * v for n, v in base.items()},
            "three": {n: -v for n, v in base.items()},
        },
        resamples=200,
    )
    for row, expected in zip(turns.itertuples(), (1, -1), strict=True):
        assert row.low == pytest.approx(expected) and row.high == pytest.approx(expected)
    other = {name: normal(0, 1, seed=10 + k) for k, name in enumerate(SIX)}
    wide = ranking.rungs({"one": base, "two": other}, resamples=200)[1].iloc[0]
    assert wide["low"] < -0.3 and wide["high"] > 0.3


def test_seeds_of_a_rung_are_averaged():
    values = flat({A: 1, B: 2, C: 3})
    table, _ = ranking.rungs(
        {"one": values, "two": values | {A: f64([[0] * 8, [5] * 8])}}, resamples=20
    )
    assert table["value"].tolist()[3:] == [2.5, 2, 3] and table["rank"].tolist() == [
        1,
        2,
        3,
        2,
        1,
        3,
    ]


# ---- distance


def chance_to_be_larger(values, chosen):
    """Of a chosen one of the values than another, by Mann and Whitney's count; a tie is half."""
    values, chosen = np.array(values), np.array(chosen)
    u = scipy.stats.mannwhitneyu(values[chosen], values[~chosen]).statistic
    return u / chosen.sum() / (~chosen).sum()


def shifts(seed=0, methods=3, fractions=2, seeds=2, pictures=30):
    """Random flags and distances as the synthesis gives them."""
    rng, names = np.random.default_rng(seed), ("random", *SIX)[:methods]

    def flags(share, *shape):
        return {n: torch.from_numpy(rng.random(shape) < share) for n in names}

    def distances():
        return {
            n: torch.from_numpy(rng.normal(0, 1, (fractions, pictures)).round(1)) for n in names
        }

    return flags(0.6, fractions, pictures), distances(), flags(0.8, seeds, fractions, pictures)


def shock(right, moved, after, fractions, whole=None, **options):
    """Where every whole picture is right, unless said otherwise."""
    pictures = next(iter(right.values())).shape[-1]
    return ranking.shock(
        right,
        moved,
        after,
        fractions,
        torch.ones(pictures, dtype=torch.bool) if whole is None else whole,
        **options,
    )


def test_pictures_that_were_wrong_before_anything_was_removed_do_not_count():
    right, moved, after = shifts()
    whole = torch.arange(30) % 3 > 0
    found = shock(right, moved, after, (0.1, 0.9), whole, resamples=20)

    def cut(of):
        return {n: v[..., whole] for n, v in of.items()}

    expected = shock(cut(right), cut(moved), cut(after), (0.1, 0.9), resamples=20)
    for column in ("failed", "farther"):
        assert found[column].tolist() == pytest.approx(expected[column].tolist())
    assert (
        found["before"].tolist() != expected["before"].tolist()
    )  # accuracies are over all pictures


def test_shock_against_a_slow_reading():
    right, moved, after = shifts()
    table = shock(right, moved, after, (0.1, 0.9), resamples=50)
    assert (
        list(table.columns)
        == [
            "fraction",
            "methods",
            "before",
            "retrained",
            "moved",
            "failed",
            "farther",
            "low",
            "high",
        ]
        and table["fraction"].tolist() == [0.1, 0.9]
        and table["methods"].tolist() == [3, 3]
    )
    for k, row in table.iterrows():
        before, retrained, failed, farther = [], [], [], []
        for n in right:
            # every retrained network gets these right
            there = [i for i in range(30) if after[n][0, k, i] and after[n][1, k, i]]
            before.append(np.mean(right[n][k].tolist()))
            retrained.append(np.mean(after[n][:, k].tolist()))
            wrong = [not right[n][k, i] for i in there]
            failed.append(np.mean(wrong))
            far = [moved[n][k, i].item() for i in there]
            farther.append(chance_to_be_larger(far, wrong))
        assert row[["before", "retrained", "failed", "farther"]].tolist() == pytest.approx(
            [np.mean(v) for v in (before, retrained, failed, farther)]
        )
        assert row["moved"] == pytest.approx(np.mean([moved[n][k].tolist() for n in right]))
        assert row["low"] < row["farther"] < row["high"]


def test_intervals_of_shock_are_over_pictures_drawn_alike_for_all_methods():
    right, moved, after = shifts(methods=2, fractions=1, pictures=200)
    row = shock(right, moved, after, (0.5,), resamples=300).iloc[0]
    rng, again = np.random.default_rng(5), []
    for _ in range(300):
        drawn = rng.integers(200, size=200)
        farther = [
            weighted_roc_auc(
                moved[n][0].numpy()[drawn],
                ~right[n][0].numpy()[drawn],
                after[n][:, 0].all(0).numpy()[drawn].astype(float),
            )
            for n in right
        ]
        again.append(np.mean(farther))
    assert [row["low"], row["high"]] == pytest.approx(
        np.quantile(again, [0.025, 0.975]), abs=0.025
    ) and row["high"] - row["low"] > 0.1
    mirrored = {
        n: torch.stack([sign * moved["random"][0]]) for n, sign in (("random", 1), (SIX[0], -1))
    }
    right, after = (dict.fromkeys(mirrored, of["random"]) for of in (right, after))
    # what one method gains by a draw the other loses
    opposite = shock(right, mirrored, after, (0.5,), resamples=50).iloc[0]
    assert opposite[["farther", "low", "high"]].tolist() == pytest.approx([0.5] * 3)


def test_distance_that_explains_everything_or_the_opposite():
    right, moved, after = shifts(fractions=1)
    explained = {n: torch.where(right[n], -1.0, 1.0) + moved[n] / 100 for n in moved}
    for sign, expected in ((1, 1), (-1, 0)):
        row = shock(
            right, {n: sign * v for n, v in explained.items()}, after, (0.5,), resamples=20
        ).iloc[0]
        assert row[["farther", "low", "high"]].tolist() == [expected] * 3


def test_pictures_that_a_retrained_network_gets_wrong_do_not_count():
    """Whatever happens to them, whether one seed or all fail."""
    right, moved, after = shifts()
    table = shock(right, moved, after, (0.1, 0.9), resamples=20)
    gone = {n: ~v.all(0) for n, v in after.items()}
    other = {n: torch.where(gone[n], 99.0, v) for n, v in moved.items()}
    columns = ["farther", "low", "high", "failed", "retrained"]
    pd.testing.assert_frame_equal(
        shock({n: v ^ gone[n] for n, v in right.items()}, other, after, (0.1, 0.9), resamples=20)[
            columns
        ],
        table[columns],
    )


def test_a_method_in_which_nobody_fails_says_nothing():
    right, moved, after = shifts(fractions=1)
    sure = {n: torch.ones_like(v) if n == SIX[0] else v for n, v in right.items()}

    def rest(of):
        return {n: v for n, v in of.items() if n != SIX[0]}

    found, expected = (
        shock(*part, (0.5,), resamples=20).iloc[0]
        for part in ((sure, moved, after), (rest(right), rest(moved), rest(after)))
    )
    assert found[["farther", "low", "high"]].tolist() == expected[
        ["farther", "low", "high"]
    ].tolist() and (found["methods"], expected["methods"]) == (3, 2)


def test_where_no_method_fails_shock_says_nothing():
    right, moved, after = shifts(fractions=1)
    row = shock(
        {n: torch.ones_like(v) for n, v in right.items()}, moved, after, (0.5,), resamples=20
    ).iloc[0]
    assert row["failed"] == 0 and row[["farther", "low", "high"]].isna().all()


def test_a_method_of_which_retrained_networks_get_nothing_right_says_nothing():
    right, moved, after = shifts(fractions=1)
    lost = {n: v & (n != SIX[0]) for n, v in after.items()}
    found, expected = (
        shock({n: right[n] for n in names}, moved, lost, (0.5,), resamples=20).iloc[0]
        for names in (right, [n for n in right if n != SIX[0]])
    )
    assert found[["failed", "farther", "low", "high"]].tolist() == expected[
        ["failed", "farther", "low", "high"]
    ].tolist() and found["retrained"] == pytest.approx(expected["retrained"] * 2 / 3)


def test_shock_is_over_the_methods_that_have_everything():
    right, moved, after = shifts(methods=5)
    moved.pop(SIX[0])
    after.pop(SIX[1])
    table = shock(right, moved, after, (0.1, 0.9), resamples=20)
    assert table["methods"].tolist() == [3, 3]
    whole = {n: right[n] for n in right if n in moved and n in after}
    pd.testing.assert_frame_equal(table, shock(whole, moved, after, (0.1, 0.9), resamples=20))


def test_intervals_hold_their_values_on_numbers_like_the_books():
    """All tables at once on random numbers, so that one method or metric cannot be special."""
    rng = np.random.default_rng(0)

    def make(names):
        return {name: torch.from_numpy(rng.normal(k, 4, (1, 50))) for k, name in enumerate(names)}

    found = {
        metric: make((*METHODS, *(f"shuffled:{m}" for m in METHODS)))
        for metric in (LOW, HIGH, "outside")
    } | {"kept": make(METHODS)}
    tables = {
        "summary": (ranking.summary(found, resamples=300), ("",)),
        "agreement": (ranking.agreement(found, resamples=200), ("",)),
        "sparsity": (ranking.sparsity(found, resamples=200), ("kept", "explained")),
        "blindness": (ranking.blindness(found, resamples=300), ("",)),
        "over_shuffled": (ranking.over_shuffled(found, resamples=300), ("",)),
    }
    middle = {
        "summary": "value",
        "agreement": "correlation",
        "blindness": "difference",
        "over_shuffled": "gain",
    }
    for name, (table, columns) in tables.items():
        assert isinstance(table, pd.DataFrame) and len(table) and not table.isna().any().any()
        for column in columns:
            ends = f"{column}_" if column else ""
            low, high = table[f"{ends}low"], table[f"{ends}high"]
            value = table[column] if column else table[middle[name]]
            assert (low <= value).all() and (value <= high).all() and (low < high).all(), name
    assert len(tables["agreement"][0]) == len(list(itertools.combinations(range(3), 2))) and len(
        tables["over_shuffled"][0]
    ) == 3 * len(METHODS)


def test_tables_of_nothing_have_their_columns():
    assert list(ranking.summary({}).columns)[:2] == ["metric", "name"] and list(
        ranking.over_shuffled({}).columns
    ) == ["metric", "name", "gain", "low", "high"]
    assert (
        list(ranking.blindness({}).columns)[-1] == "verdict"
        and list(ranking.sparsity({}).columns)[0] == "metric"
    )
    empty = ranking.tried({}, {}, (LOW,))
    assert list(empty.columns) == [
        "name",
        "metric",
        "parent",
        "ahead",
        "held",
        "held_low",
        "held_high",
        "p",
    ]
    assert (
        list(ranking.judged({"a": empty}).columns)
        == list(ranking.judged({}).columns)
        == ["network", "name", "metric", "ahead", "held", "p", "p_corrected", "beats"]
    )


# ---- what the chapters say of the tables


def test_gains_over_a_control_have_its_direction():
    """Less is better under the first metric, more under the second; crosses are no methods, and a
    metric without the control is left out."""
    values = flat({A: 3, B: 1, "random": 2, "rectgrad_both_tails": 0})
    gains = ranking.over_control({LOW: values, HIGH: values, "patch": flat({A: 1})}, "random")
    assert gains["metric"].tolist() == [LOW, LOW, HIGH, HIGH]
    assert gains["gain"].tolist() == [-1, 1, 1, -1]
    assert gains["low"].tolist() == gains["high"].tolist() == gains["gain"].tolist()


def test_ahead_is_beyond_the_interval():
    gains = pd.DataFrame(
        {
            "metric": ["a"] * 4 + ["b"],
            "low": [0.1, -0.1, -0.3, np.nan, 0.0],
            "high": [0.3, 0.1, -0.1, np.nan, 0.1],
        }
    )
    assert ranking.ahead(gains).to_dict("list") == {
        "metric": ["a", "b"],
        "ahead": [1, 0],
        "behind": [1, 0],
        "open": [2, 1],
        "of": [4, 1],
    }


def test_kinds_of_pairs():
    table = pd.DataFrame({"first": [LOW, LOW], "second": [HIGH, "roar"]})
    assert ranking.kinds(table)["within"].tolist() == [True, False]


def test_median_correlation_between_kinds():
    """Two metrics of different kinds with the opposite order of four methods: -1 in every
    resample that has an order. Pairs of one kind do not count, nor do methods that one lacks."""
    up, down = flat({A: 1, B: 2, C: 3, D: 4}), flat({A: 4, B: 3, C: 2, D: 1, SIX[4]: 9})
    found = ranking.between_kinds({LOW: up, "white_deletion": up, "patch": down}, resamples=50)
    assert found["pairs"] == 2 and found["methods"] == 5
    assert found["median"] == found["low"] == found["high"] == -1
    alone = ranking.between_kinds({LOW: up, HIGH: up}, resamples=5)
    assert alone["pairs"] == 0 and np.isnan(alone["median"])


def test_median_correlation_has_an_interval_over_methods():
    """Methods without a common order: the interval holds zero and is wide."""
    names = tuple(METHODS)[:8]
    first = flat(dict(zip(names, [1, 2, 3, 4, 5, 6, 7, 8], strict=True)))
    second = flat(dict(zip(names, [4, 1, 7, 5, 2, 8, 3, 6], strict=True)))
    found = ranking.between_kinds({LOW: first, "patch": second}, resamples=200)
    value = scipy.stats.spearmanr([1, 2, 3, 4, 5, 6, 7, 8], [4, 1, 7, 5, 2, 8, 3, 6]).statistic
    assert found["median"] == pytest.approx(value)
    assert found["low"] < 0 < found["high"] and found["high"] - found["low"] > 0.5


def test_winners_are_published():
    summary = ranking.summary({LOW: flat({A: 2, B: 1, "random": 0}), HIGH: flat({A: 2, B: 1})})
    assert ranking.winners(summary)["name"].tolist() == [B, A]


CROSS = "rectgrad_both_tails"
PARENT, OTHER = crosses.PARENTS[CROSS]


def test_crosses_that_win_are_clear_if_the_controls_are_behind():
    """Under one metric the cross is better than both parents and both controls, under the other the
    edge detector is better still."""
    values = {PARENT: 5, OTHER: 4, CROSS: 2, "random": 3}
    summaries = {"net": ranking.summary({LOW: flat({**values, "edges": 3}), "patch": flat(values)})}
    summaries["net"].loc[len(summaries["net"])] = {"metric": "patch", "name": "edges", "value": 1.0}
    verdicts = pd.DataFrame(
        {
            "network": "net",
            "name": CROSS,
            "metric": [LOW, "patch", "variation"],
            "beats": [True, True, False],
        }
    )
    assert ranking.won(verdicts, summaries)["clear"].tolist() == [True, False]


def tried_by_hand():
    """One cross, two metrics: behind both parents under the first, behind one under the second."""
    return pd.DataFrame(
        {
            "name": CROSS,
            "metric": [LOW, LOW, "patch", "patch"],
            "parent": [PARENT, OTHER] * 2,
            "ahead": [-0.1, -0.2, -0.3, 0.4],
            "held": [-0.1, -0.3, -0.2, 0.5],
            "held_low": [-0.2, -0.4, -0.3, 0.4],
            "held_high": [-0.05, -0.2, 0.1, 0.6],
            "p": [0.9, 0.95, 0.8, 0.01],
        }
    )


def test_behind_both_parents_is_counted_by_the_interval():
    assert ranking.behind_both({"net": tried_by_hand(), "other": tried_by_hand()}) == 2


def test_the_harder_parent_is_that_of_the_held_out_pictures():
    trials = {"net": tried_by_hand()}
    harder = ranking.harder_parent(trials, ranking.judged(trials)).set_index("metric")
    assert harder["parent"].to_dict() == {LOW: OTHER, "patch": PARENT}
    assert harder.loc[LOW, "held_high"] == -0.2 and harder.loc["patch", "ahead"] == -0.3
    none = ranking.harder_parent({}, ranking.judged({}))
    assert none.empty
