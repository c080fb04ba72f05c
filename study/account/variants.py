"""What moves a test accuracy: trainings that differ in one setting, or in luck alone.

The settings are pixels, initial weights, order of the batches and precision.
data/results/variants.csv has a row a training: 33 made once on a GPU or a processor with this
project's code, whose weights are not kept. Two more, of `MADE_HERE`, tell apart what the file
confounds; their weights and cards are committed.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from lib.metrics.statistics import pooled_variance, t_half_width
from study.store import cells
from study.subjects import networks

CSV = cells.RESULTS / "variants.csv"
# what trainings may differ in, other than luck
SETTINGS = ["model", "pixels", "initial_weights", "order", "precision"]
ORIGINAL, COPY = "original", "JPEG copy (quality 75)"
TORCH, GLOROT = "PyTorch's default", "Glorot uniform and zero biases"
ONE, OWN, SHUFFLED = "one order kept", "the data's own order", "shuffled every epoch"
# weights of rectgrad_cnn -> the pixels they were trained on
MADE_HERE = {"cifar10-bfloat16": ORIGINAL, "cifar10+jpeg75": COPY}


class Contrast(NamedTuple):
    """Two settings of one network: what differs, and the values of `SETTINGS` before and after."""

    what: str
    before: dict
    after: dict


_NOISE = {
    "model": "rectgrad_cnn",
    "pixels": ORIGINAL,
    "initial_weights": GLOROT,
    "order": ONE,
    "precision": "float32",
}
_SIGN = {
    "model": "basic_cnn",
    "pixels": ORIGINAL,
    "initial_weights": TORCH,
    "order": SHUFFLED,
    "precision": "float32",
}
_RESNET = _SIGN | {"model": "resnet18 CIFAR-10"}
CONTRASTS = (
    Contrast("pixels: JPEG copy to original", _NOISE | {"pixels": COPY}, _NOISE),
    Contrast("initial weights: PyTorch's to Glorot's", _NOISE | {"initial_weights": TORCH}, _NOISE),
    Contrast("order: one kept to the data's own", _NOISE, _NOISE | {"order": OWN}),
    Contrast("order: one kept to shuffled", _NOISE, _NOISE | {"order": SHUFFLED}),
    Contrast("precision: bfloat16 to float32", _NOISE | {"precision": "bfloat16"}, _NOISE),
    Contrast("pixels: JPEG copy to original", _SIGN | {"pixels": COPY}, _SIGN),
    Contrast(
        "pixels and precision: JPEG copy, bfloat16 to original, float32",
        _RESNET | {"pixels": COPY, "precision": "bfloat16"},
        _RESNET,
    ),
)


def trainings() -> pd.DataFrame:
    """A row a training: `SETTINGS`, epochs, seed, run (on what, and which), test_accuracy."""
    return pd.concat([pd.read_csv(CSV), *map(_made_here, MADE_HERE)], ignore_index=True)


def _made_here(weights: str) -> pd.DataFrame:
    card = networks.card("rectgrad_cnn", weights)
    if not card:
        return pd.DataFrame()
    protocol = card["protocol"]
    row = _NOISE | {
        "pixels": MADE_HERE[weights],
        "precision": "bfloat16" if protocol["bfloat16"] else "float32",
        "epochs": protocol["epochs"],
        "seed": protocol["seed"],
        "run": "CPU",
        "test_accuracy": card["test_accuracy"],
    }
    return pd.DataFrame([row])


def luck(table: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of the test accuracy by luck alone, and its degrees of freedom.

    Over trainings that differ in nothing but seed and run, pooled over the settings of one network.
    """
    variance, degrees = pooled_variance([p["test_accuracy"] for _, p in table.groupby(SETTINGS)])
    return variance**0.5, degrees


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """How much each of `CONTRASTS` moves the test accuracy.

    Columns model, what, settings (how many differ), before, after (mean accuracies), n_before,
    n_after, change, low, high (95 %, a t-interval on the luck of that network), within_luck (the
    interval holds 0). Contrasts that lack a side are left out.
    """
    rows = []
    for contrast in CONTRASTS:
        before = _of(table, contrast.before)["test_accuracy"]
        after = _of(table, contrast.after)["test_accuracy"]
        if not (len(before) and len(after)):
            continue
        spread, degrees = luck(table[table["model"] == contrast.before["model"]])
        change = after.mean() - before.mean()
        reach = t_half_width(spread**2, degrees, len(before), len(after))
        rows.append(
            {
                "model": contrast.before["model"],
                "what": contrast.what,
                "settings": sum(contrast.before[s] != contrast.after[s] for s in SETTINGS),
                "before": before.mean(),
                "after": after.mean(),
                "n_before": len(before),
                "n_after": len(after),
                "change": change,
                "low": change - reach,
                "high": change + reach,
                "within_luck": abs(change) <= reach,
            }
        )
    return pd.DataFrame(rows)


def _of(table: pd.DataFrame, settings: dict) -> pd.DataFrame:
    return table[(table[list(settings)] == pd.Series(settings)).all(axis=1)]


def twice(table: pd.DataFrame) -> pd.DataFrame:
    """Trainings that were run twice with nothing changed, seed included.

    Columns model, seed, first, second (accuracies), apart.
    """
    rows = [
        {
            "model": part["model"].iloc[0],
            "seed": part["seed"].iloc[0],
            "first": part["test_accuracy"].iloc[0],
            "second": part["test_accuracy"].iloc[1],
        }
        for _, part in table.groupby([*SETTINGS, "epochs", "seed"], sort=False)
        if len(part) == 2
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "first", "second"]).assign(
        apart=lambda rows: (rows["second"] - rows["first"]).abs()
    )
