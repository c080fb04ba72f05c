"""study.account.summaries.cleanliness: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import cleanliness as summaries

from .words import proper

LEAST = pd.DataFrame(
    {
        "network": ["a", "a", "b"],
        "treatment": ["released", "matched", "matched"],
        "n": 199,
        "rectgrad": [0.1, 0.22, 0.9],
        "rectgrad_prr": 0.21,
        "edges": 0.44,
        "baseline": 0.42,
        "which": "deeplift",
    }
)


def quantities(**columns):
    table = pd.DataFrame({"method": ["rectgrad_prr", "deeplift", "edges"]}).assign(
        background=[0.2, 0.4, 0.3], patch_mean=0.02, patch_median=0.01, variation=9.0, scaled=2.0
    )
    return table.assign(**columns)


def amounts(**kept):
    """Two treatments of two methods; what `tail` and `sparsity` read."""
    rows = []
    for method in ("rectgrad", "rectgrad_prr", "deeplift", "saliency", "edges"):
        for treatment in ("none", "released", "matched"):
            for share in (False, True):
                rows.append((method, treatment, share, kept.get(f"{method}_{treatment}", 0.5)))
    frame = pd.DataFrame(rows, columns=["method", "treatment", "share", "kept"])
    return frame.assign(median=0.005, low=0.004, high=0.006, mean=0.029, p95=0.2)


def test_in_short_takes_the_first_network_at_equal_sparsity():
    first = proper(summaries.in_short(LEAST, 0.59, quantities(), 10_000))[0]
    assert "holds 22% of RectGrad's attribution (best older method 42%" in first
    assert "edge detector 44%, even map 59%; means, n = 199)" in first


@pytest.mark.parametrize(
    "medians, says",
    [
        ([0.02, 0.005, 0.0], "DeepLIFT has least by means (1.00%) and by medians (0.50%"),
        ([0.005, 0.02, 0.0], "DeepLIFT has least by means (1.00%), but RectGrad PRR by medians"),
    ],
)
def test_means_and_medians_may_name_different_winners(medians, says):
    table = quantities(patch_mean=[0.03, 0.01, 0.0], patch_median=medians)
    assert says in proper(summaries.in_short(LEAST, 0.59, table, 10_000))[1]


@pytest.mark.parametrize(
    "variation, scaled, says",
    [
        (
            [1, 2, 3],
            [1, 2, 3],
            ["RectGrad PRR has the least total variation, as a sum and divided"],
        ),
        ([1, 2, 3], [2, 1, 3], ["RectGrad PRR has", "as a sum, DeepLIFT over the map's total"]),
        (
            [31.3, 200, 180],
            [2.2, 2.6, 1.4],
            ["RectGrad PRR has", "edge detector has less still: 1.40 against 2.20 over the total."],
        ),
        (
            [3, 2, 1],
            [3, 2, 1],
            ["DeepLIFT has", "still: 1 against 2 as a sum and 1.00 against 2.00 over the total."],
        ),
    ],
)
def test_the_least_total_variation_of_methods_and_what_the_edge_detector_has(
    variation, scaled, says
):
    table = quantities(variation=variation, scaled=scaled)
    (found,) = proper(summaries.in_short(LEAST, 0, table, 9)[2:])
    assert found.startswith(f"Of the methods, {says[0]}")
    assert all(part in found for part in says)
    assert ("edge detector" in found) == (scaled[2] < min(scaled[:2]))


def test_sparsity_leaves_the_edge_detector_out():
    found = summaries.sparsity(
        amounts(
            rectgrad_released=0.33,
            rectgrad_prr_released=0.3,
            deeplift_released=0.05,
            saliency_released=0.06,
            edges_released=0.9,
        )
    )
    assert "keeps 33% of the pixels, its variant PRR 30%" in found[0]
    assert "an older method 5% to 6%" in proper(found)[0]
    assert summaries.sparsity(amounts())[0].endswith("leaves an older method 50%.")


def test_the_tail_is_read_at_equal_sparsity_as_a_share():
    table = amounts()
    other = (table["treatment"] != "matched") | ~table["share"]
    table.loc[other, ["median", "p95", "mean"]] = 9.0
    table.loc[table["method"] == "deeplift", "mean"] = 0.02
    ours, deeplift = proper(summaries.tail(table))
    assert "at most 0.5% of it in the patch, one in twenty more than 20%; mean 2.9%" in ours
    assert deeplift.startswith("DeepLIFT") and "mean 2.0%" in deeplift


def test_layouts_have_at_most_six_columns_and_the_values():
    table = amounts(deeplift_none=1.0)
    table.loc[(table["method"] == "edges") & (table["treatment"] == "released"), "mean"] = 0.001
    spread = summaries.spread_table(table, True)
    assert spread["method"].iloc[0] == "Edge detector"  # the least released mean
    tables = [
        (summaries.side_by_side_table(quantities()), "20.0%", "2.00%", "1.00%", "9", "2.00"),
        (summaries.kept_table(table), "100.0%", "50.0%"),
        (spread, "0.50% (0.40% to 0.60%); mean 2.90%", "0.50% (0.40% to 0.60%); mean 0.10%"),
        (summaries.spread_table(table, False), "0.005 (0.004 to 0.006); mean 0.029"),
        (summaries.least_table(LEAST), "22.0%", "42.0% (DeepLIFT)", "44.0%", "equal sparsity"),
    ]
    for shown, *values in tables:
        assert len(shown.columns) <= 6
        assert set(values) <= set(shown.astype(str).to_numpy().ravel())
    train = table[table["method"] != "edges"].assign(median=7.0)
    both = summaries.both_splits_table(table, train)
    assert list(both["method"]) == ["RectGrad", "RectGrad PRR", "DeepLIFT", "Saliency map"]
    assert both["train, sum"].iloc[0].startswith("7 ") and both["test, sum"].iloc[0][0] == "0"
