"""study.account.summaries.rectgrad: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import rectgrad as summaries

from .words import proper

SHARES = {"PR1": 0.82, "PR4": 0.64, "saliency": 0.47}
ON_OBJECT = pd.DataFrame({"map": SHARES.keys(), "median": SHARES.values()}).assign(
    n=199, covered=0.41, low=0.1, high=0.9, gap=0.1, gap_low=-0.1, gap_high=0.3
)
QS = (0, 20, 40, 80, 98)


def thresholds(*values, network="SqueezeNet 1.1, ImageNet pictures"):
    frame = pd.DataFrame({"q": QS, "like20": values, "like20_low": 0.1, "like20_high": 0.9})
    return frame.assign(network=network, n=200, top20=0.5, roughness=2.4)


def checked(**output):
    rows = []
    for method, value in output.items():
        for mode, depth in (("cascading", 1), ("cascading", 2), ("independent", 2)):
            rank = value if depth == 1 else 0.01
            rows.append((method, mode, depth, rank, rank - 0.1, rank + 0.1))
    columns = ["method", "mode", "depth", "rank", "rank_low", "rank_high"]
    return pd.DataFrame(rows, columns=columns).assign(ssim=0.7, empty=0.25, n=200)


def attacked(changed, kept, **methods):
    """`methods`: mean and median of changed, mean and median of kept."""
    rows = [
        (m, state, n, mean, median)
        for m, values in methods.items()
        for state, n, (mean, median) in ((True, changed, values[:2]), (False, kept, values[2:]))
    ]
    columns = ["method", "changed", "n", "mean", "median"]
    return pd.DataFrame(rows, columns=columns).assign(low=0.1, high=0.2)


def test_in_short_says_the_numbers():
    weights = checked(rectgrad=0.81, saliency=0.28)
    table = thresholds(0, 1, 0.8, 0.71, 0.3)
    found = proper(summaries.in_short(ON_OBJECT, table, weights, "net_1, masks", show=str.upper))
    assert "puts 82% of its attribution on the object, saliency 47%" in found[0]
    assert "(medians); the object covers 41% on average (NET_1, MASKS, n = 199)" in found[0]
    assert "0.71; at 98, 0.30 (SQUEEZENET 1.1, IMAGENET PICTURES, n = 200)" in found[1]
    assert "correlation of 0.81 with the intact one, saliency's 0.28 (n = 200)" in found[2]


def test_the_threshold_of_each_network():
    table = pd.concat([thresholds(0, 1, 0.8, 0.7, 0.3, network=name) for name in ("a", "b")])
    silent = pd.DataFrame({"layer": [1, 2, 1, 2], "silent": [0.1, 0.9, 0.3, 0.9]})
    silent = silent.assign(q=[0, 0, 20, 20], tau=[-1, -1, -1, 0])
    first, second = summaries.threshold(table, {"a": silent, "b": silent * 0}, str.upper)
    assert "A: " in first and "0.80 at 40, 0.70 at 80, 0.30 at 98" in first
    assert "20% to 90% of units are 0" in first and "0% to 0%" in second
    assert "at q = 20 they pass in 1 of 2, where τ is below 0 (means)." in proper([first])[0]


OPEN = {"gain": -0.02, "gain_low": -0.04, "gain_high": 0.01}


def bias(**changes):
    rows = {
        "none": (0.7, 0.9, 1.8, 1.0, 0.52),
        "picture": (0.9, 0.46, 2.1, 0.78, 0.5),
        "from black": (0.3, 1.0, 2.6, 0.7, 0.63),
    }
    frame = pd.DataFrame.from_dict(
        rows, orient="index", columns=["dark", "middle", "bright", "overlap", "on_object"]
    ).assign(on_object_low=0.4, on_object_high=0.7, n=199, **{**OPEN, **changes})
    return frame.rename_axis(index="product").reset_index()


def test_the_product_by_brightness():
    middle, black, left = proper(summaries.product(bias()))
    assert "hold 0.46 times their fair share with the product and 0.90 times without" in middle
    assert "dark pixels hold 0.30 times and bright ones 2.60 times" in black
    assert "without a product 0.70 times and 1.80 times" in black
    assert "78% stay" in left and "50% of the attribution with it and 52% without" in left
    assert left.endswith("What the product adds stays open: -2.0 points (-4.0 to +1.0).")
    without = summaries.product(bias(bright=float("nan")))[1]
    assert "bright ones no part of their fair share" in without


@pytest.mark.parametrize(
    "gain, says",
    [
        (0.08, "the product adds 8.0 points (7.0 to 9.0)"),
        (-0.04, "the product takes 4.0 points (3.0 to 5.0)"),
    ],
)
def test_a_product_that_matters_is_told_from_the_rule(gain, says):
    table = bias(gain=gain, gain_low=gain - 0.01, gain_high=gain + 0.01)
    assert says in proper(summaries.product(table))[2]


@pytest.mark.parametrize("changed, kept, group", [(193, 7, "7 kept"), (4, 100, "4 changed")])
def test_no_winner_among_too_few(changed, kept, group):
    table = attacked(changed, kept, rectgrad=(0.1, 0.1, 0.9, 0.9))
    (found,) = proper(summaries.attack({"A": table}))
    told = f"A: the attack changed {changed} of {changed + kept} predictions; {group} ones are too"
    assert found.startswith(told)
    assert "widest" not in found


def test_a_winner_among_enough_by_means_and_by_medians():
    ours = {"rectgrad": (0.5, 0.5, 0.6, 0.6)}
    one = attacked(30, 30, **ours, saliency=(0.1, 0.1, 0.9, 0.9))
    two = attacked(30, 30, **ours, saliency=(0.1, 0.5, 0.9, 0.6), deeplift=(0.5, 0.2, 0.6, 0.9))
    found, other = summaries.attack({"A": one, "B": two})
    assert "changed is that of Saliency map (0.80); RectGrad's is 0.10" in found
    assert found.startswith("A: ") and other.startswith("B: ")
    assert "that of Saliency map by means and of DeepLIFT by medians" in other


def test_the_second_class_is_ordered_from_the_most_different():
    table = pd.DataFrame({"method": ["guided_backprop", "rectgrad", "deeplift"]}).assign(
        second=[0.99, 0.75, None], second_n=[200, 200, None]
    )
    (found,) = summaries.second(table)
    assert "n = 200): RectGrad 0.75, Guided backpropagation 0.99." in found


def test_sanity_names_both_ends():
    table = checked(rectgrad=0.81, guided_backprop=0.88, active=0.03, saliency=0.28)
    ends, empty = summaries.sanity(table)
    assert "Guided backpropagation 0.88, RectGrad 0.81, Saliency map 0.28" in ends
    assert "the most moved is Active (0.03)" in ends and "Up to 25% of RectGrad's" in empty
    assert len(summaries.sanity(table.assign(empty=0.0))) == 1


def test_accumulation_counts_what_is_sure():
    table = pd.DataFrame(
        [
            ("rectgrad", 0, 1.42, 1.23, 1.74),
            ("rectgrad", 1, 0.5, 0.4, 0.6),
            ("rectgrad", 2, 1, 0.9, 2),
        ],
        columns=["method", "layer", "factor", "low", "high"],
    )
    (found,) = summaries.accumulation(table)
    assert "of 3 steps" in found and "surely grows in 1 and falls in 1" in found
    assert "1.42 (layer 1 to the input)" in found
    assert list(summaries.factors_table(table)["step"])[1:] == ["layer 2 to 1", "layer 3 to 2"]


def test_identities_name_the_largest_difference_beside_the_values():
    compared = pd.DataFrame({"largest": [2.8, 0.36, 4.3], "difference": [0.0, 2e-15, 1e-16]})
    (sentence,) = proper(summaries.identities(compared))
    assert "at most 2e-15" in sentence and "0.36 to 4.3" in sentence
    (sentence,) = proper(summaries.identities(compared.assign(difference=0.0)))
    assert "equal in every value" in sentence


def test_layouts_have_at_most_six_columns_and_the_values():
    listening = (
        pd.DataFrame({"method": ["rectgrad", "deeplift"]})
        .assign(second=[0.75, None], second_n=[200, None], changed=0.46, changed_n=193)
        .assign(unchanged=0.66, unchanged_n=7, redrawn=0.81, redrawn_n=200)
    )
    identities = pd.DataFrame({"claim": ["2: Guided backpropagation"], "network": "n"}).assign(
        n=8, largest=2.8, difference=0.0
    )
    rings = pd.DataFrame({"network": ["n"], "setting": "released", "n": 9, "ring": 0.26}).assign(
        ring_low=0.2, ring_high=0.33
    )
    smooth = pd.DataFrame({"network": ["n"], "n": 9, "median": 0.743, "share": 1.0}).assign(
        low=0.731, high=0.754
    )
    after = attacked(3, 0, rectgrad=(0.5, 0.4, None, None))
    tables = [
        (summaries.identities_table(identities), "2: Guided backpropagation", "2.8", "0"),
        (summaries.listening_table(listening), "0.75", "0.46", "0.66", "0.81", ""),
        (summaries.thresholds_table(thresholds(0, 1, 0.8, 0.71, 0.3)), "0.71", "50%", "2.40"),
        (summaries.borders_table(rings), "as released: 1×1 kernels, too", "0.20 to 0.33"),
        (summaries.smoothness_table(smooth), "0.743", "0.731 to 0.754", "100%"),
        (summaries.on_object_table(ON_OBJECT), "0.820", "+0.100", "-0.100 to 0.300"),
        (summaries.product_table(bias()), "× picture, grey at 0", "0.46", "50% (40% to 70%)"),
        (summaries.attacked_table(after), "changed", "0.50", "0.40", ""),
        (summaries.sanity_table(checked(rectgrad=0.8)), "0.80 ± 0.10", "0.01 ± 0.10", "25%"),
    ]
    for table, *values in tables:
        assert len(table.columns) <= 6
        assert set(values) <= set(table.astype(str).to_numpy().ravel())
    heads = summaries.listening_table(listening).columns
    assert "attacked, prediction kept (n = 7)" in heads
