"""study.account.variants: how much each setting moves an accuracy, beside luck.

And the trainings that are stored.
"""

from __future__ import annotations

import pandas as pd
import pytest
from scipy.stats import t, ttest_ind

from study.account import variants
from study.account.variants import COPY, GLOROT, ONE, ORIGINAL, TORCH
from study.subjects import networks


def made(accuracies: dict, model: str = "rectgrad_cnn") -> pd.DataFrame:
    """Trainings of one network: (pixels, initial weights, precision) -> accuracies, one a seed."""
    rows = [
        {
            "model": model,
            "pixels": pixels,
            "initial_weights": start,
            "order": ONE,
            "precision": precision,
            "epochs": 20,
            "seed": k,
            "run": "CPU",
            "test_accuracy": value,
        }
        for (pixels, start, precision), values in accuracies.items()
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_luck_is_the_spread_where_nothing_differs():
    trainings = made(
        {
            (ORIGINAL, GLOROT, "float32"): [0.70, 0.72],
            (COPY, GLOROT, "float32"): [0.50, 0.52, 0.54],
            (ORIGINAL, TORCH, "float32"): [0.9],
        }
    )
    spread, degrees = variants.luck(trainings)
    assert degrees == 3 and spread == pytest.approx(((0.0002 + 0.0008) / 3) ** 0.5)


def test_a_contrast_of_two_settings_is_a_t_test():
    before, after = [0.700, 0.712, 0.707], [0.731, 0.725, 0.740, 0.736]
    trainings = made({(ORIGINAL, TORCH, "float32"): before, (ORIGINAL, GLOROT, "float32"): after})
    (row,) = variants.effects(trainings).to_dict("records")
    expected = ttest_ind(after, before).confidence_interval(0.95)
    assert row["what"].startswith("initial weights") and (row["n_before"], row["n_after"]) == (3, 4)
    assert row["settings"] == 1
    assert row["change"] == pytest.approx(sum(after) / 4 - sum(before) / 3)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected))
    assert not row["within_luck"]


def test_what_is_no_larger_than_luck_is_said_to_be():
    trainings = made(
        {(ORIGINAL, GLOROT, "float32"): [0.70, 0.74], (ORIGINAL, GLOROT, "bfloat16"): [0.71]}
    )
    (row,) = variants.effects(trainings).to_dict("records")
    reach = t.ppf(0.975, 1) * 0.04 / 2**0.5 * (1 / 2 + 1) ** 0.5
    assert row["within_luck"] and row["change"] == pytest.approx(0.01)
    assert row["high"] - row["change"] == pytest.approx(reach)


def test_other_networks_do_not_count_as_luck():
    wild = made({(ORIGINAL, GLOROT, "float32"): [0.1, 0.9]}, model="basic_cnn")
    calm = made(
        {(ORIGINAL, GLOROT, "float32"): [0.70, 0.71], (ORIGINAL, TORCH, "float32"): [0.6, 0.61]}
    )
    (row,) = variants.effects(pd.concat([wild, calm])).to_dict("records")
    assert row["model"] == "rectgrad_cnn" and not row["within_luck"]


def test_the_same_seed_twice():
    first = made({(ORIGINAL, GLOROT, "float32"): [0.70, 0.71]})
    second = made({(ORIGINAL, GLOROT, "float32"): [0.72]})
    twice = variants.twice(pd.concat([first, second]))
    assert twice[["seed", "first", "second"]].values.tolist() == [[0, 0.70, 0.72]]
    assert twice["apart"].tolist() == pytest.approx([0.02])


def test_the_stored_trainings_have_every_setting_of_every_contrast():
    trainings = variants.trainings()
    accuracies = trainings["test_accuracy"]
    assert not trainings.isna().any(axis=None) and accuracies.between(0.5, 0.9).all()
    there = {weights for weights in variants.MADE_HERE if networks.card("rectgrad_cnn", weights)}
    waiting = len(variants.MADE_HERE) - len(there)  # each is one side of one contrast
    assert len(variants.effects(trainings)) == len(variants.CONTRASTS) - waiting
    for weights in there:  # those that are committed are in it, with the accuracy of their cards
        card = networks.card("rectgrad_cnn", weights)
        precision = "bfloat16" if card["protocol"]["bfloat16"] else "float32"
        pixels = trainings["pixels"] == variants.MADE_HERE[weights]
        mine = trainings[pixels & (trainings["precision"] == precision)]
        assert card["test_accuracy"] in mine["test_accuracy"].tolist()
    kept = {
        tag: networks.card(name, tag)["test_accuracy"]
        for name, tag in (("rectgrad_cnn", "cifar10"), ("basic_cnn", "cifar10-seed1"))
    }
    assert all(abs(accuracies - value).min() < 1e-4 for value in kept.values())
