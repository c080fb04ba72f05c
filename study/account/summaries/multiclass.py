"""Chapter 2 in sentences, and its tables as they are shown.

Tables are those of study.experiments.deletion_tables.
"""

from __future__ import annotations

import pandas as pd

from study.experiments.deletion import MAPS

from .phrases import ends, give_or_take, span


def chance(classes: int, channels: int = 3) -> float:
    """Share of pixels an active map would keep if gradients of classes were exchangeable and
    channels independent."""
    return 1 - (1 - 1 / classes) ** channels


def keeps(kept: pd.DataFrame, classes: int) -> str:
    """How much of a picture active and positive maps keep; from `kept`."""
    active, positive = (kept.loc[kept["map"] == m, "mean"] for m in ("active", "positive"))
    return (
        f"Active maps keep {span(active, '.0%')} of the pixels ({chance(classes):.0%} by chance) "
        f"and positive ones {span(positive, '.0%')} (n = {span(kept['n'], ',')})."
    )


def kept_on(kept: pd.DataFrame) -> str:
    """On how many pictures the shares of pixels kept are measured, for the line under a figure that
    shows them beside curves; from `kept`."""
    return f"pixels kept: n = {span(kept['n'], ',')}"


def flat(flattening: pd.DataFrame) -> str:
    """Whether curves turn flat for want of pixels; from `flattening`."""
    floor = int(flattening["floor"].sum())
    active = flattening[flattening["map"] == "active"]
    return (
        f"After half of the pixels, active maps of {span(active['done_50'], '.0%')} of pictures "
        f"have no pixel left to delete. Of all {len(flattening)} curves, {floor} are flat before "
        "their pixels run out, the network's answer no longer changing."
    )


def equation(readings: pd.DataFrame) -> str:
    """What eq. 6 as printed does to the order of pixels; from `readings`."""
    rows = readings[readings["map"] == "inactive"]
    worse = int((rows["printed_low"] > rows["released_high"]).sum())
    return (
        f"Equation 6 as printed orders pixels worse than the released code on {worse} of "
        f"{len(rows)} networks (mean area {rows['printed'].mean():.2f} against "
        f"{rows['released'].mean():.2f})."
    )


def in_short(
    kept: pd.DataFrame, flattening: pd.DataFrame, readings: pd.DataFrame, classes: int
) -> list[str]:
    """The chapter in three sentences."""
    return [keeps(kept, classes), flat(flattening), equation(readings)]


def alike(readings: pd.DataFrame, differing: pd.DataFrame) -> list[str]:
    """Which equations make no difference; `differing` as of the function of that name."""
    left = len(readings) - len(differing)
    return [
        f"In {left} of {len(readings)} cases both readings give the same area and are left out."
    ]


def lengths(rows: list[dict]) -> list[str]:
    """Whether the predicted class has a longer gradient; a dict a subject, as of
    `deletion.gradient_lengths`."""
    table = pd.DataFrame(rows)
    return [
        f"The predicted class's gradient is {span(table['ratio'], '.2f')} times its mean rival's "
        f"in length, and the longest in {span(table['longest'], '.0%')} of pictures."
    ]


def turning(table: pd.DataFrame) -> list[str]:
    """How far gradients turn, and whether signed maps lead without ReLU; from `without_relu`."""
    by = table.pivot(index="subject", columns="quantity", values=["value", "low", "high"])
    sentences = []
    for subject in table["subject"].unique():
        row = by.loc[subject]
        ahead = sum(
            row["high", f"{name}, {fill}"] < row["low", f"original, {fill}"]
            for name, fill in (
                ("positive", "black"),
                ("active", "black"),
                ("negative", "white"),
                ("inactive", "white"),
            )
        )
        sentences.append(
            f"{subject}: the gradient turns by {row['value', 'turn']:.1f}° in the median picture; "
            f"{ahead} of 4 signed maps beat the original, beyond both intervals."
        )
    return sentences


# ---- tables as they are shown


def kept_shown(kept: pd.DataFrame) -> pd.DataFrame:
    """A row a network, a column a map: the mean share of pixels kept."""
    rows = [
        {"network": subject} | {m: part.set_index("map").loc[m, "mean"] for m in MAPS}
        for subject, part in kept.groupby("subject", sort=False)
    ]
    return pd.DataFrame(rows)


def lengths_shown(rows: list[dict]) -> pd.DataFrame:
    """A row a network: how long its gradient of the predicted class is."""
    names = {
        "subject": "network",
        "ratio": "over the mean rival's (median)",
        "longest": "longest of all",
    }
    return pd.DataFrame(rows).rename(columns=names)


def kept_ranges(kept: pd.DataFrame) -> pd.DataFrame:
    """`kept_shown` with the range from the 5th to the 95th percentile of pictures."""
    text = [f"{r['mean']:.1%} ({ends(r['p5'], r['p95'], '.0%')})" for r in kept.to_dict("records")]
    return kept_shown(kept.assign(mean=text))


def differing_shown(differing: pd.DataFrame) -> pd.DataFrame:
    """A row a network and map: both areas and the rank correlation of the two maps."""
    return pd.DataFrame(
        {
            "network and map": [f"{r.subject}, {r.map}, {r.fill}" for r in differing.itertuples()],
            "n": differing["n"],
            "as printed": differing["printed"],
            "as released": differing["released"],
            "rank correlation": differing["ranks"],
        }
    )


def readings_shown(readings: pd.DataFrame) -> pd.DataFrame:
    """All rows with intervals, and the share of kept gradients of the sign not promised."""
    shown = differing_shown(readings)
    for column, rule in (("as printed", "printed"), ("as released", "released")):
        shown[column] = [
            f"{r[rule]:.3f} ({ends(r[f'{rule}_low'], r[f'{rule}_high'])})"
            for r in readings.to_dict("records")
        ]
    return shown.assign(**{"wrong sign": readings["wrong_sign"]})


def flattening_shown(flattening: pd.DataFrame) -> pd.DataFrame:
    """`flattening` in six columns."""
    return pd.DataFrame(
        {
            "network and map": [
                f"{r['subject']}, {r['map']}, {r['fill']}" for r in flattening.to_dict("records")
            ],
            "flat after": flattening["flat"],
            "pixels kept": flattening["kept"],
            "exhausted at 50 and 80 %": [
                f"{r['done_50']:.0%} and {r['done_80']:.0%}" for r in flattening.to_dict("records")
            ],
            "floor first": flattening["floor"].map({True: "yes", False: "no"}),
            "allegiance at the end": flattening["last"],
        }
    )


def without_relu_shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row a quantity, a column a network."""
    rows: dict[str, dict] = {}
    for r in table.to_dict("records"):
        quantity = r["quantity"]
        if quantity == "turn":
            name, text = "turn of the gradient", f"{r['value']:.1f}°"
        elif quantity == "zero":
            name, text = "gradients that are 0", f"{r['value']:.2%}"
        elif quantity.startswith("kept"):
            name, text = f"pixels {quantity}", f"{r['value']:.0%}"
        else:
            name, text = f"area, {quantity}", give_or_take(r, "value")
        rows.setdefault(name, {"quantity": name})[r["subject"]] = text
    return pd.DataFrame(rows.values())
