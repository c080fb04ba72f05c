"""The table of the papers' printed numbers beside ours, from stored cells alone.

Which cells belong to a number, and what stands beside it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.metrics.statistics import t_interval
from study.account import published, table1
from study.experiments import deletion
from study.store import cells
from study.subjects import networks, sources
from study.subjects.subject import Subject

# columns of the papers' tables that are computed here:
# (dataset, model, tags of the weights, one a seed)
COLUMNS = {
    "CIFAR-10 CNN": ("cifar10", "basic_cnn", ("cifar10", "cifar10-seed1", "cifar10-seed2")),
    "CIFAR-10 ResNet-18": ("cifar10", "resnet18", ("cifar10", "cifar10-seed1", "cifar10-seed2")),
    "Imagenette CNN": ("imagenette", "basic_cnn", ("imagenette",)),
    "Imagenette ResNet-18": ("imagenette", "resnet18", ("imagenette",)),
    "Imagenette ResNet-18 pretrained": ("imagenette", "resnet18", ("imagenette-released",)),
    "Imagenette ConvNeXt pretrained": ("imagenette", "convnext_tiny", ("imagenette-released",)),
    "CIFAR-10": ("cifar10", "rectgrad_cnn", ("cifar10", "cifar10-seed1", "cifar10-seed2")),
    "CIFAR-10 with random patch": ("cifar10+patch", "rectgrad_cnn", ("cifar10+patch",)),
}
# pretrained networks that need no download, beside those of the paper that do: printed nowhere, so
# no verdict
STAND_INS = {
    "SqueezeNet 1.1 pretrained": ("imagenette", "squeezenet1_1", ("imagenette",)),
    "EfficientNet-Lite0 pretrained": ("imagenette", "efficientnet_lite0", ("imagenette",)),
}
WHOLE = {"cifar10": 10_000, "imagenette": 3_856}  # pictures of a whole test split
# ResNet-18 before its learning rate cooled down, with the batch-norm statistics it had and with
# fresh ones
CONSTANT = cells.RESULTS / "constant_rate.csv"
FILL_OF = {"Table 2": "black", "Table 3": "white"}
CSV = cells.RESULTS / "reproduction.csv"
# of Table 1 of paper Noise
OTHER = ["other_reading", "other_reproduced", "other_low", "other_high", "other_verdict"]
CSV_COLUMNS = [
    "paper",
    "table",
    "row",
    "column",
    "published",
    "reproduced",
    "low",
    "high",
    "n",
    "data",
    "model",
    "protocol",
    "verdict",
    "verdict_at_zero",
    *OTHER,
]


def _seeds(
    values: list[float], lows: list[float], highs: list[float]
) -> tuple[float, float, float]:
    """The value and interval of one number from its seeds.

    Of one seed, its value and interval over images; of several, the mean and the larger of the mean
    half-width over images and the half-width over seeds (t).
    """
    if len(values) == 1:
        return values[0], lows[0], highs[0]
    means, half_over_seeds = t_interval([values])
    mean = float(means[0])
    half = max(float(np.mean(np.subtract(highs, lows))) / 2, half_over_seeds)
    return mean, mean - half, mean + half


def _reproduced(number: published.Number, measured: dict) -> dict:
    """Value, interval and origin of one printed number, or {} where it has not been computed."""
    if (number.paper, number.table) == ("Noise", "Table 1"):
        return measured["retrained"].get((number.row, number.column), {})
    if number.column not in COLUMNS | STAND_INS:
        return {}
    dataset, model, tags = (COLUMNS | STAND_INS)[number.column]
    # the seeds that were trained; of some the card alone is kept
    tags = tuple(tag for tag in tags if networks.card(model, tag))
    accuracy = number.row == "Accuracy"
    wanted = {"dataset": dataset, "split": "test", "model": model}
    if not accuracy:
        wanted |= {"map": number.row.lower(), "fill": FILL_OF[number.table]}
    of_number = _on_the_same_pixels(
        [
            c
            for c in measured["accuracy" if accuracy else "deletion"]
            if wanted.items() <= c["parameters"].items()
            and c["parameters"]["weights"] in tags
            and current(c["parameters"])
        ]
    )
    if not tags or sorted(c["parameters"]["weights"] for c in of_number) != sorted(tags):
        return {}
    rows = [c["rows"][0] for c in of_number]
    value, low, high = _seeds(
        [row["accuracy" if accuracy else "auc"] for row in rows],
        [row["low"] for row in rows],
        [row["high"] for row in rows],
    )
    parameters = of_number[0]["parameters"]
    tolerance = published.tolerance(number)
    return {
        "reproduced": round(value, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "n": parameters["n"],
        "data": f"{dataset} test, {sources.described(parameters['data'])}",
        "model": model,
        "protocol": _protocol(networks.card(model, tags[0])["protocol"], len(tags)),
        "verdict": published.verdict(number.published, value, low, high, tolerance),
        "verdict_at_zero": published.verdict(number.published, value, low, high, 0),
    }


def _on_the_same_pixels(measured: list[dict]) -> list[dict]:
    """Those of the cells that were measured on the pixels that most of them were measured on."""
    pixels = [c["parameters"]["data"] for c in measured]
    most = max(pixels, key=lambda p: (pixels.count(p), p), default=None)
    return [c for c in measured if c["parameters"]["data"] == most]


def _protocol(how: dict, seeds: int) -> str:
    """How a number's networks were trained, as text, from the protocol of a card."""
    text = f"{how['optimizer']} {how['lr']:g}, batch {how['batch_size']}, {how['epochs']} epochs"
    if not how.get("reshuffle", True):
        text += ", one order for all epochs"
    if how.get("trains", "all") != "all":
        text += f", {how['trains']}"
    if how.get("schedule") == "cooldown":
        text += f", the last {max(1, how['epochs'] // 10)} cooling down"
    return f"{text}, {seeds} seed{'s' if seeds > 1 else ''}"


def _retrained() -> dict[tuple[str, str], dict]:
    """By (printed row, printed column), what Table 1 of paper Noise prints.

    Areas over the span by the text's reading, and by the released code's under names that begin
    with other_.
    """
    protocol, judged = table1.readings()
    rows: dict[tuple[str, str], dict] = {}
    for reading, table in judged.items():
        for r in table.itertuples():
            how = (
                f"{protocol.optimizer}, {protocol.schedule} {protocol.lr:g}, "
                f"batch {protocol.batch_size}, {protocol.epochs} epochs, {r.seeds} seeds; "
                "area over the span; verdicts on the difference from random"
            )
            area = {
                "reproduced": round(r.area, 6),
                "low": round(r.area_low, 6),
                "high": round(r.area_high, 6),
            }
            row = rows.setdefault(
                (r.row, r.column),
                {"n": WHOLE["cifar10"], "data": r.data, "model": "rectgrad_cnn", "protocol": how},
            )
            if reading == table1.TEXT:
                row |= area | {"verdict": r.verdict, "verdict_at_zero": r.verdict_at_zero}
            else:
                row |= {
                    "other_reading": table1.READ[reading],
                    "other_verdict": r.verdict,
                    **{f"other_{name}": value for name, value in area.items()},
                }
    return rows


def current(parameters: dict) -> bool:
    """Was the cell computed with the weights that are committed now?"""
    return parameters["weights_hash"] == networks.committed(
        parameters["model"], parameters["weights"]
    )


def table() -> pd.DataFrame:
    """All 60 printed numbers with what was computed for them; empty where nothing was.

    From the stored cells.
    """
    measured = _whole_cells()
    rows = [
        {**number._asdict(), **(_reproduced(number, measured) or _waits_for(number))}
        for number in published.numbers()
    ]
    return pd.DataFrame(rows, columns=CSV_COLUMNS).astype({"n": "Int64"})


def _whole_cells() -> dict:
    """The stored accuracies and deletion areas of whole test splits.

    And what follows from the retrained networks.
    """

    def whole(p: dict) -> bool:
        return p["split"] == "test" and p["n"] == WHOLE.get(sources.plain_name(p["dataset"]))

    measured = {
        name: [c for c in cells.of(name) if whole(c["parameters"])]
        for name in ("accuracy", "deletion")
    }
    return measured | {"retrained": _retrained()}


def _waits_for(number: published.Number) -> dict:
    """What keeps a number from being computed, where it is a download."""
    return {"verdict": "needs a download"} if "pretrained" in number.column else {}


def stand_ins() -> pd.DataFrame:
    """For each number printed for a pretrained network, what networks without a download give here.

    Columns table, row, column (the network), reproduced, low, high, n, protocol; empty where
    nothing is computed.
    """
    rows, measured = [], _whole_cells()
    shown = ["reproduced", "low", "high", "n", "protocol"]
    for number in published.numbers():
        if number.column != "Imagenette ResNet-18 pretrained":
            continue
        for column in STAND_INS:
            here = _reproduced(number._replace(column=column), measured)
            if here:
                of_number = {"table": number.table, "row": number.row, "column": column}
                rows.append(of_number | {name: here[name] for name in shown})
    return pd.DataFrame(rows, columns=["table", "row", "column", *shown])


def without_stand_ins(subjects: list[Subject]) -> list[Subject]:
    """The subjects that stand in for no printed network; all where there is no other.

    For what takes hours and no paper prints.
    """
    printed = [
        studied
        for studied in subjects
        if (studied.pictures.name, studied.model_name, (studied.weights,)) not in STAND_INS.values()
    ]
    return printed or subjects


def beside_published(tables: list[str], subjects: list[Subject]) -> pd.DataFrame | None:
    """The rows of `table` in these printed tables that belong to these subjects.

    None where nothing is printed.
    """
    pairs = {(studied.pictures.name, studied.model_name) for studied in subjects}
    columns = [
        column for column, (dataset, model, _) in COLUMNS.items() if (dataset, model) in pairs
    ]
    rows = table()
    rows = rows[rows["table"].isin(tables) & rows["column"].isin(columns)]
    rows = rows.dropna(subset=["reproduced"])
    return rows if len(rows) else None


def beside_constant_rate() -> pd.DataFrame:
    """ResNet-18 on Imagenette with and without the cooldown of its learning rate.

    Measured once on weights that are not kept: accuracy on the whole test split, areas of the same
    500 pictures. Columns row, fill, printed, network, value, difference, low, high (from the
    committed weights, paired over pictures; of an accuracy without interval), pictures, commit,
    date.
    """
    return pd.read_csv(CONSTANT).fillna({"fill": ""})


def over_seeds(column: str = "CIFAR-10 CNN") -> pd.DataFrame:
    """How far apart trainings of one network lie.

    Columns map, fill, least, most (of the areas over its seeds).
    """
    dataset, model, tags = COLUMNS[column]
    rows, measured = [], _whole_cells()["deletion"]
    for name, fill in deletion.PRINTED_PAIRS:
        wanted = {"dataset": dataset, "model": model, "split": "test", "map": name, "fill": fill}
        areas = [
            c["rows"][0]["auc"]
            for c in measured
            if c["parameters"]["weights"] in tags
            and current(c["parameters"])
            and wanted.items() <= c["parameters"].items()
        ]
        if len(areas) > 1:
            rows.append({"map": name, "fill": fill, "least": min(areas), "most": max(areas)})
    return pd.DataFrame(rows, columns=["map", "fill", "least", "most"])


def beside_pretrained(tables: list[str]) -> pd.DataFrame:
    """What these tables print for the two pretrained networks, beside what stands in for them here.

    Text, empty where not computed.
    """
    printed = [n for n in published.numbers() if n.table in tables and "pretrained" in n.column]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for number in printed:
        row = rows.setdefault(
            (number.table, number.row), {"number": f"{number.table}, {number.row}"}
        )
        column = f"{number.column.removeprefix('Imagenette ')}, printed"
        row[column] = published.shown(number.paper, number.table, number.published)
    for r in stand_ins().itertuples():
        if (r.table, r.row) in rows:
            here = f"{r.reproduced:.3f} ({r.low:.3f} to {r.high:.3f})"
            rows[r.table, r.row][f"{r.column}, here"] = here
    return pd.DataFrame(rows.values())
