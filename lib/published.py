"""Every number that the two papers print in a table, and the rule that compares a reproduced one with it.

The rule was fixed before any number was computed: a value agrees if it lies within max(tolerance, half-width of its 95 %
interval) of the published one.
"""
from __future__ import annotations

from typing import NamedTuple


class Number(NamedTuple):
    """One printed number: where it stands and what it is."""

    paper: str
    table: str
    row: str
    column: str
    published: float


DIGITS = {("Sign", "Table 1"): 4, ("Sign", "Table 2"): 2, ("Sign", "Table 3"): 2, ("Noise", "Appendix F"): 3, ("Noise", "Table 1"): 4}   # after the point, in print
TOLERANCE = {"accuracy": 0.02, "AUC": 0.02, "ROAR/KAR": 0.01}

_COLUMNS = ("CIFAR-10 CNN", "CIFAR-10 ResNet-18", "Imagenette CNN", "Imagenette ResNet-18", "Imagenette ResNet-18 pretrained", "Imagenette ConvNeXt pretrained")
_ACCURACY = (.6307, .7569, .6205, .8357, .9733, .9932)
_BLACK = {"Original": (.23, .23, .24, .26, .28, .49), "Positive": (.14, .11, .12, .14, .21, .37), "Active": (.15, .11, .16, .14, .24, .39)}
_WHITE = {"Original": (.21, .22, .21, .23, .26, .46), "Negative": (.14, .12, .11, .18, .20, .37), "Inactive": (.15, .12, .14, .16, .23, .42)}
_METHODS = ("Random", "RectGrad", "Saliency map", "Guided backpropagation", "SmoothGrad", "Gradient * input", "Integrated gradients", "DeepLIFT")
_ROAR = (.5562, .5385, .5568, .5504, .5536, .5408, .5428, .5519)
_KAR = (.4438, .3382, .4455, .4270, .4444, .4176, .4185, .3928)


def numbers() -> list[Number]:
    """The 60 printed numbers: Sign's Tables 1 to 3, Noise's two accuracies (appendix F) and its Table 1."""
    found = [Number("Sign", "Table 1", "Accuracy", c, v) for c, v in zip(_COLUMNS, _ACCURACY)]
    for name, rows in (("Table 2", _BLACK), ("Table 3", _WHITE)):
        found += [Number("Sign", name, row, c, v) for row, values in rows.items() for c, v in zip(_COLUMNS, values)]
    found += [Number("Noise", "Appendix F", "Accuracy", "CIFAR-10", .746), Number("Noise", "Appendix F", "Accuracy", "CIFAR-10 with random patch", .731)]
    for name, values in (("ROAR AUC", _ROAR), ("KAR AOC", _KAR)):
        found += [Number("Noise", "Table 1", method, name, v) for method, v in zip(_METHODS, values)]
    return found


def shown(paper: str, table: str, value: float) -> str:
    """A printed number with as many digits as the paper gives it."""
    return f"{value:.{DIGITS[paper, table]}f}"


def network(table: str, column: str) -> str:
    """Which network a printed column speaks of; the appendix of paper Noise names the pictures alone."""
    return f"{column}, paper Noise" if table == "Appendix F" else column


def tolerance(number: Number) -> float:
    """How far apart two values may be and still agree, whatever their intervals."""
    kind = "accuracy" if number.row == "Accuracy" else "AUC" if number.paper == "Sign" else "ROAR/KAR"
    return TOLERANCE[kind]


def verdict(published: float, reproduced: float, low: float, high: float, tolerance: float) -> str:
    """"agree" iff |published - reproduced| <= max(tolerance, half-width of the interval), else "disagree"."""
    reach = max(tolerance, (high - low) / 2)
    return "agree" if abs(published - reproduced) <= reach + 1e-12 else "disagree"
