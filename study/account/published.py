"""Every number that the two papers print in a table, and the rule that compares ours with it.

The rule was fixed before any number was computed: a value agrees if it lies within max(tolerance,
half-width of its 95 % interval) of the published one.
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


# after the point, in print
DIGITS = {
    ("Sign", "Table 1"): 4,
    ("Sign", "Table 2"): 2,
    ("Sign", "Table 3"): 2,
    ("Noise", "Appendix F"): 3,
    ("Noise", "Table 1"): 4,
}
TOLERANCE = {"accuracy": 0.02, "AUC": 0.02, "ROAR/KAR": 0.01}

_COLUMNS = (
    "CIFAR-10 CNN",
    "CIFAR-10 ResNet-18",
    "Imagenette CNN",
    "Imagenette ResNet-18",
    "Imagenette ResNet-18 pretrained",
    "Imagenette ConvNeXt pretrained",
)
_ACCURACY = (0.6307, 0.7569, 0.6205, 0.8357, 0.9733, 0.9932)
_BLACK = {
    "Original": (0.23, 0.23, 0.24, 0.26, 0.28, 0.49),
    "Positive": (0.14, 0.11, 0.12, 0.14, 0.21, 0.37),
    "Active": (0.15, 0.11, 0.16, 0.14, 0.24, 0.39),
}
_WHITE = {
    "Original": (0.21, 0.22, 0.21, 0.23, 0.26, 0.46),
    "Negative": (0.14, 0.12, 0.11, 0.18, 0.20, 0.37),
    "Inactive": (0.15, 0.12, 0.14, 0.16, 0.23, 0.42),
}
_METHODS = (
    "Random",
    "RectGrad",
    "Saliency map",
    "Guided backpropagation",
    "SmoothGrad",
    "Gradient * input",
    "Integrated gradients",
    "DeepLIFT",
)
_ROAR = (0.5562, 0.5385, 0.5568, 0.5504, 0.5536, 0.5408, 0.5428, 0.5519)
_KAR = (0.4438, 0.3382, 0.4455, 0.4270, 0.4444, 0.4176, 0.4185, 0.3928)


def numbers() -> list[Number]:
    """The 60 printed numbers: Sign's Tables 1 to 3, Noise's accuracies (appendix F) and Table 1."""
    printed = [
        Number("Sign", "Table 1", "Accuracy", column, value)
        for column, value in zip(_COLUMNS, _ACCURACY, strict=True)
    ]
    for name, rows in (("Table 2", _BLACK), ("Table 3", _WHITE)):
        for row, values in rows.items():
            printed += [
                Number("Sign", name, row, column, value)
                for column, value in zip(_COLUMNS, values, strict=True)
            ]
    printed += [
        Number("Noise", "Appendix F", "Accuracy", "CIFAR-10", 0.746),
        Number("Noise", "Appendix F", "Accuracy", "CIFAR-10 with random patch", 0.731),
    ]
    for name, values in (("ROAR AUC", _ROAR), ("KAR AOC", _KAR)):
        printed += [
            Number("Noise", "Table 1", method, name, value)
            for method, value in zip(_METHODS, values, strict=True)
        ]
    return printed


def shown(paper: str, table: str, value: float) -> str:
    """A printed number with as many digits as the paper gives it."""
    return f"{value:.{DIGITS[paper, table]}f}"


def tolerance(number: Number) -> float:
    """How far apart two values may be and still agree, whatever their intervals."""
    if number.row == "Accuracy":
        return TOLERANCE["accuracy"]
    return TOLERANCE["AUC" if number.paper == "Sign" else "ROAR/KAR"]


def verdict(published: float, reproduced: float, low: float, high: float, tolerance: float) -> str:
    """Whether a reproduced number agrees with the printed one.

    "agree" iff |published - reproduced| <= max(tolerance, half-width of the interval), else
    "disagree".
    """
    reach = max(tolerance, (high - low) / 2)
    return "agree" if abs(published - reproduced) <= reach + 1e-12 else "disagree"
