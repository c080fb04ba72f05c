"""study.account.published: the 60 printed numbers as the papers have them, and the rule.

The rule was fixed before any of them was computed.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest

from study.account import published
from study.account.published import TOLERANCE, Number, numbers, tolerance, verdict

SIGN_COLUMNS = [
    "CIFAR-10 CNN",
    "CIFAR-10 ResNet-18",
    "Imagenette CNN",
    "Imagenette ResNet-18",
    "Imagenette ResNet-18 pretrained",
    "Imagenette ConvNeXt pretrained",
]


def of(paper, table, row, column):
    (value,) = (n.published for n in numbers() if n[:4] == (paper, table, row, column))
    return value


def test_sixty_numbers_each_in_a_cell_of_its_own():
    assert Counter(
        (n.paper, "accuracy" if n.row == "Accuracy" else "other") for n in numbers()
    ) == {
        ("Sign", "accuracy"): 6,
        ("Sign", "other"): 36,
        ("Noise", "accuracy"): 2,
        ("Noise", "other"): 16,
    }
    assert len({n[:4] for n in numbers()}) == len(numbers()) == 60
    assert all(0 < n.published < 1 for n in numbers())


@pytest.mark.parametrize(
    "table, row, values",
    [
        ("Table 1", "Accuracy", ".6307 .7569 .6205 .8357 .9733 .9932"),
        ("Table 2", "Original", ".23 .23 .24 .26 .28 .49"),
        ("Table 2", "Positive", ".14 .11 .12 .14 .21 .37"),
        ("Table 2", "Active", ".15 .11 .16 .14 .24 .39"),
        ("Table 3", "Original", ".21 .22 .21 .23 .26 .46"),
        ("Table 3", "Negative", ".14 .12 .11 .18 .20 .37"),
        ("Table 3", "Inactive", ".15 .12 .14 .16 .23 .42"),
    ],
)
def test_rows_of_paper_sign(table, row, values):
    assert [of("Sign", table, row, column) for column in SIGN_COLUMNS] == [
        float(v) for v in values.split()
    ]


@pytest.mark.parametrize(
    "row, roar, kar",
    [
        ("Random", 0.5562, 0.4438),
        ("RectGrad", 0.5385, 0.3382),
        ("Saliency map", 0.5568, 0.4455),
        ("Guided backpropagation", 0.5504, 0.4270),
        ("SmoothGrad", 0.5536, 0.4444),
        ("Gradient * input", 0.5408, 0.4176),
        ("Integrated gradients", 0.5428, 0.4185),
        ("DeepLIFT", 0.5519, 0.3928),
    ],
)
def test_rows_of_paper_noise(row, roar, kar):
    assert of("Noise", "Table 1", row, "ROAR AUC") == roar
    assert of("Noise", "Table 1", row, "KAR AOC") == kar


def test_accuracies_of_paper_noise_and_its_two_random_rows():
    accuracies = [n.published for n in numbers() if n.paper == "Noise" and n.row == "Accuracy"]
    assert sorted(accuracies) == [0.731, 0.746]
    roar, kar = (of("Noise", "Table 1", "Random", column) for column in ("ROAR AUC", "KAR AOC"))
    assert roar + kar == pytest.approx(1, abs=1e-12)


def test_tolerance_by_kind():
    assert TOLERANCE == {"accuracy": 0.02, "AUC": 0.02, "ROAR/KAR": 0.01}
    assert Counter((n.paper, n.row == "Accuracy", tolerance(n)) for n in numbers()) == {
        ("Sign", True, 0.02): 6,
        ("Sign", False, 0.02): 36,
        ("Noise", True, 0.02): 2,
        ("Noise", False, 0.01): 16,
    }
    assert tolerance(Number("Noise", "Table 1", "Random", "KAR AOC", 0.4438)) == 0.01


@pytest.mark.parametrize(
    "reproduced, low, high, reach, expected",
    [
        (0.23, 0.23, 0.23, 0.02, "agree"),
        # exactly at the tolerance, either way, whatever binary fractions make of it
        (0.25, 0.25, 0.25, 0.02, "agree"),
        (0.21, 0.21, 0.21, 0.02, "agree"),
        (0.2501, 0.2501, 0.2501, 0.02, "disagree"),
        (0.2099, 0.2099, 0.2099, 0.02, "disagree"),
        # an interval narrower than the tolerance takes nothing away
        (0.25, 0.249, 0.251, 0.02, "agree"),
        (0.2505, 0.245, 0.256, 0.02, "disagree"),
        (0.28, 0.23, 0.33, 0.02, "agree"),  # a wider one counts instead
        (0.2801, 0.2301, 0.3301, 0.02, "disagree"),
        (0.18, 0.13, 0.23, 0.02, "agree"),
        (0.27, 0.26, 0.34, 0.02, "agree"),  # half of its width, wherever the value stands in it
        (0.28, 0.27, 0.34, 0.02, "disagree"),
        (0.23, 0.23, 0.23, 0, "agree"),
        (0.2301, 0.2301, 0.2301, 0, "disagree"),
        (0.24, 0.23, 0.25, 0, "agree"),  # at tolerance 0 the interval alone decides
        (0.2401, 0.2301, 0.2501, 0, "disagree"),
    ],
)
def test_verdict(reproduced, low, high, reach, expected):
    assert verdict(0.23, reproduced, low, high, reach) == expected


def test_no_number_agrees_with_nothing():
    assert verdict(0.23, math.nan, math.nan, math.nan, 0.02) == "disagree"


def test_a_printed_number_keeps_its_digits():
    assert [
        published.shown(*key, value)
        for key, value in (
            (("Sign", "Table 2"), 0.2),
            (("Sign", "Table 1"), 0.6307),
            (("Noise", "Table 1"), 0.427),
            (("Noise", "Appendix F"), 0.731),
        )
    ] == ["0.20", "0.6307", "0.4270", "0.731"]
    assert all(
        float(published.shown(n.paper, n.table, n.published)) == n.published
        for n in published.numbers()
    )
