"""Chapter 5 in sentences, and its tables as they are shown.

Tables are those of study.experiments.deletion_tables.
"""

from __future__ import annotations

import pandas as pd

from lib.attribution.crosses import CONTROLS, label
from study.account import plan, published, scoreboard, variants, verdicts
from study.experiments.deletion import FILLS, MAPS, MATCHED
from study.subjects.subject import Subject
from study.subjects.subject import subject as loaded

from .phrases import counted, ends, give_or_take, listed

ORIGINAL = "original"
# networks of `before_cooldown`, by their statistics of batch normalisation
STALE, FRESH = "before it", "before it, fresh statistics"
RESNET, AT_ONE_RATE = "resnet18 Imagenette 224", "50 at a constant rate"  # of `variants.trainings`


def named(name: str) -> str:
    """A map or a control in a sentence."""
    return label(name).lower() if name in CONTROLS else name


def _pictures(table: pd.DataFrame) -> str:
    """How many pictures the rows rest on."""
    least, most = table["n"].min(), table["n"].max()
    return f"n = {least:,}" if least == most else f"n = {least:,} to {most:,}"


def controls_on(table: pd.DataFrame) -> str:
    """On how many pictures the controls are measured, for the line under a figure that shows them
    beside maps; columns map and n, as of `areas` or of joined curves."""
    return f"controls: {_pictures(table[table['map'].isin(CONTROLS)])}"


def measured_on(beside: pd.DataFrame | None) -> list[str]:
    """The networks and pictures of numbers computed here, for the line under a figure; from
    `scoreboard.beside_published` or `scoreboard.stand_ins`."""
    if beside is None or not len(beside):
        return ["nothing measured"]
    return [
        f"{verdicts.printed_network(r.column)} test, n = {r.n:,}"
        for r in beside.drop_duplicates(["column", "n"]).itertuples()
    ]


def of_rows(subjects: list[Subject], labels: pd.Series) -> list[Subject | str]:
    """Those of the subjects that a table has rows of, for the line under it."""
    return [studied for studied in subjects if studied.label in set(labels)] or ["nothing measured"]


def gained(gains: pd.DataFrame) -> str:
    """In how many cases a signed map's curve lies surely below the original's; from `gains`."""
    lower, higher = (gains["high"] < 0).sum(), (gains["low"] > 0).sum()
    return (
        f"With its own fill a signed map surely beats the original in {lower} of {len(gains)} "
        f"cases and loses in {higher} ({_pictures(gains)})."
    )


def beat_random(against: pd.DataFrame) -> str:
    """How many signed and original maps beat random pixels; from `against_random`."""
    maps = against[against["map"] != "edges"]
    original = maps["map"] == ORIGINAL
    counts = [((part["high"] < 0).sum(), len(part)) for part in (maps[~original], maps[original])]
    return (
        f"Random pixels are surely beaten by {counts[0][0]} of {counts[0][1]} signed maps and "
        f"{counts[1][0]} of {counts[1][1]} original ones ({_pictures(maps)})."
    )


def kept_promise(rose: pd.DataFrame) -> str:
    """In how many pictures the score rises after a small and after a full move; from `rose`."""
    weakest, strongest = rose["strength"].min(), rose["strength"].max()
    least = rose.loc[rose["strength"] == weakest, "rose"].min()
    most = rose.loc[rose["strength"] == strongest, "rose"].max()
    first = "every picture" if least == 1 else f"at least {least:.1%} of pictures"
    return (
        f"Top pixels moved {weakest:.0%} of the way their sign asks raise the score in {first}; "
        f"moved {strongest:.0%}, in at most {most:.0%}."
    )


def in_short(gains: pd.DataFrame, against: pd.DataFrame, rose: pd.DataFrame) -> list[str]:
    """The chapter in three sentences."""
    return [gained(gains), beat_random(against), kept_promise(rose)]


def beaten_by(against: pd.DataFrame) -> list[str]:
    """For each fill, which maps lie surely below random pixels on every network, on some, on none;
    from `against_random`."""
    sentences = []
    for fill in FILLS:
        part = against[against["fill"] == fill]
        better = (part["high"] < 0).groupby(part["map"], sort=False).sum()
        told = ", ".join(f"{named(name)} {count}" for name, count in better.items())
        networks = part["subject"].nunique()
        sentences.append(
            f"Networks, of {networks}, where a map surely beats random pixels under {fill}: {told}."
        )
    return sentences


def areas_that_agree(beside: pd.DataFrame | None) -> list[str]:
    """How many printed areas agree, and which way others differ; from
    `scoreboard.beside_published`."""
    if beside is None:
        return ["The papers print no area for what is studied here."]
    agree = (beside["verdict"] == "agree").sum()
    sentences = [
        f"{agree} of {len(beside)} printed areas agree: they lie within 0.02, or half an interval "
        "if that is wider."
    ]
    off = beside[beside["verdict"] != "agree"]
    for column, part in off.groupby("column", sort=False):
        shown, total = verdicts.printed_network(column), (beside["column"] == column).sum()
        smaller = int((part["reproduced"] < part["published"]).sum())
        if smaller == len(part):
            way = "smaller than in print"
        elif smaller == 0:
            way = "larger than in print"
        else:
            way = f"smaller than in print in {smaller} and larger in {len(part) - smaller}"
        sentences.append(
            f"{shown}: {len(part)} of {total} {'disagrees' if len(part) == 1 else 'disagree'}: "
            f"the area here is {way}."
        )
    return sentences


def early(whole: pd.DataFrame, first: pd.DataFrame) -> list[str]:
    """How the differences over the first fifth of the pixels compare; both from `gains`."""
    counts = [((t["high"] < 0).sum(), len(t)) for t in (first, whole)]
    return [
        f"Over the first fifth of pixels signed maps surely beat the original in "
        f"{counts[0][0]} of {counts[0][1]} cases, over the whole curve in "
        f"{counts[1][0]} of {counts[1][1]}."
    ]


def colours(crossed: pd.DataFrame) -> list[str]:
    """In how many cells the other colour does less harm; from `crossed`."""
    return [
        f"The other colour does less harm, beyond both intervals, in {crossed['less'].sum()} of "
        f"{len(crossed)} cells."
    ]


def first_pixels(improved: pd.DataFrame) -> list[str]:
    """How often the first pixels raise the mean logit, and lower it; from `improved`."""
    sentences = []
    for fill, part in improved.groupby("fill", sort=False):
        maps = " and ".join(dict.fromkeys(part["map"]))
        sentences.append(
            f"{fill.capitalize()} on the first {maps} pixels surely raises the mean logit in "
            f"{(part['low'] > 0).sum()} of {len(part)} cases and lowers it in "
            f"{(part['high'] < 0).sum()}."
        )
    return sentences


def softer(beside: pd.DataFrame) -> list[str]:
    """The paper's question about active maps and weak moves; from `active_beside_positive`."""
    ahead = (beside["difference"] < -beside["half"]).sum()
    behind = (beside["difference"] > beside["half"]).sum()
    return [
        f"Active or inactive maps are ahead of positive or negative ones, beyond a half-width, "
        f"in {ahead} of {len(beside)} settings, and behind in {behind}.",
    ]


def seeds_apart(table: pd.DataFrame) -> list[str]:
    """How far three trainings of one network lie apart; from `scoreboard.over_seeds`."""
    if not len(table):
        return []
    widest = table.loc[(table["most"] - table["least"]).idxmax()]
    return [
        f"Three trainings of the Sign CNN on CIFAR-10 differ by at most "
        f"{widest['most'] - widest['least']:.3f} in area ({widest['map']}, {widest['fill']}: "
        f"{ends(widest['least'], widest['most'])})."
    ]


def precisions(checked: dict[str, pd.DataFrame]) -> list[str]:
    """What running forward in bfloat16 changes; from `deletion.precision` of each network."""
    sentences = [
        f"{subject}: forward passes ran in bfloat16, maps in float32; in float32 throughout no "
        f"area of 500 pictures changes by more than "
        f"{(table['float32'] - table['bfloat16']).abs().max():.4f}."
        for subject, table in checked.items()
        if table is not None
    ]
    return sentences or ["All forward passes ran in float32."]


# ---- tables as they are shown


def areas_wide(areas: pd.DataFrame) -> pd.DataFrame:
    """A row a subject and fill, its maps and the controls side by side; from `areas`."""
    by = areas.set_index(["subject", "fill", "map"])["auc"]
    rows = []
    for subject in areas["subject"].unique():
        for fill in FILLS:
            original, plain, rivalled = MATCHED[fill]
            columns = {
                "original": original,
                "positive or negative": plain,
                "active or inactive": rivalled,
                "edges": "edges",
                "random": "random",
            }
            shown = {column: by[subject, fill, name] for column, name in columns.items()}
            rows.append({"network and fill": f"{subject}, {fill}", **shown})
    return pd.DataFrame(rows)


def early_wide(whole: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """A row a subject and fill: the differences of its two signed maps from the original, over the
    whole curve and over the first fifth; both from `gains`."""
    rows = []
    for subject in whole["subject"].unique():
        for fill in FILLS:
            row = {"network and fill": f"{subject}, {fill}"}
            for kind, name in zip(("plain", "rivalled"), MATCHED[fill][1:], strict=True):
                column = "positive or negative" if kind == "plain" else "active or inactive"
                for table, part in ((whole, "whole"), (first, "first fifth")):
                    at = (table["subject"] == subject) & (table["map"] == name)
                    (r,) = table[at].to_dict("records")
                    row[f"{column}, {part}"] = give_or_take(r, "difference", "+.3f")
            rows.append(row)
    return pd.DataFrame(rows)


def random_wide(against: pd.DataFrame) -> pd.DataFrame:
    """A row a subject and fill: differences from random pixels; from `against_random`."""
    rows = []
    for (subject, fill), part in against.groupby(["subject", "fill"], sort=False):
        by = part.set_index("map")
        original, plain, rivalled = (
            give_or_take(by.loc[name], "difference", "+.3f") for name in MATCHED[fill]
        )
        rows.append(
            {
                "network and fill": f"{subject}, {fill}",
                "n": int(part["n"].iloc[0]),
                "original": original,
                "positive or negative": plain,
                "active or inactive": rivalled,
                "edges": give_or_take(by.loc["edges"], "difference", "+.3f"),
            }
        )
    return pd.DataFrame(rows)


def full_areas(areas: pd.DataFrame) -> pd.DataFrame:
    """Every map under both fills with its interval, a row a subject and fill; from `areas`."""
    rows = []
    for (subject, fill), part in areas.groupby(["subject", "fill"], sort=False):
        by = part.set_index("map")
        shown = {name: give_or_take(by.loc[name], "auc") for name in MAPS}
        rows.append({"network and fill": f"{subject}, {fill}", **shown})
    return pd.DataFrame(rows)


def printed(beside: pd.DataFrame | None) -> pd.DataFrame:
    """Printed beside reproduced numbers, with interval and verdicts; one line where none is."""
    columns = ["number", "printed", "reproduced", "95 % interval", "verdict", "at tolerance 0"]
    if beside is None:
        return pd.DataFrame([{"number": "none is printed for what is studied here"}])
    rows = [
        (
            f"{verdicts.printed_network(r.column)}, {r.table}, {r.row}",
            published.shown(r.paper, r.table, r.published),
            f"{r.reproduced:.3f}",
            ends(r.low, r.high),
            r.verdict,
            r.verdict_at_zero,
        )
        for r in beside.itertuples()
    ]
    return pd.DataFrame(rows, columns=columns)


def protocols(beside: pd.DataFrame | None) -> list[str]:
    """On which pictures and after which training each printed network's numbers were computed."""
    if beside is None:
        return []
    first = beside.groupby("column", sort=False).first().reset_index()
    sentences = []
    for r in first.itertuples():
        dataset = scoreboard.COLUMNS[r.column][0]
        pixels = r.data.removeprefix(f"{dataset} test, ")
        sentences.append(f"{verdicts.printed_network(r.column)}: {pixels}; {r.protocol}.")
    return sentences


def training(subjects: list[Subject], count: int | None, size: int | None) -> list[Subject]:
    """The same networks on pictures of the training split: as many as are stored, or `count`."""
    training_subjects = []
    for studied in subjects:
        stored = plan.TRAIN_SPLIT.get((studied.pictures.name, studied.model_name), 2_000)
        training_subjects.append(
            loaded(
                studied.pictures.name,
                studied.model_name,
                None if studied.weights == "none" else studied.weights,
                split="train",
                count=stored if studied.stored else count,
                device=str(next(studied.model.parameters()).device),
                size=size,
                stored=studied.stored,
            )
        )
    return training_subjects


def before_cooldown(subjects: list[Subject]) -> pd.DataFrame:
    """`scoreboard.beside_constant_rate` where its network is studied and results are read; else
    empty."""
    wanted = ("imagenette", "resnet18", True)
    if wanted in {
        (studied.pictures.name, studied.model_name, studied.stored) for studied in subjects
    }:
        return scoreboard.beside_constant_rate()
    return pd.DataFrame()


def cooldown(before: pd.DataFrame) -> list[str]:
    """What the table of `constant_rate` is, and what explains it; nothing where it is empty."""
    if not len(before):
        return []
    last, areas = before.iloc[-1], before.dropna(subset=["low"])
    moved = ((areas["low"] > 0) | (areas["high"] < 0)).groupby(areas["network"], sort=False)
    counts = [f"{name}, {part.sum()} of {len(part)}" for name, part in moved]
    return [
        "ResNet-18 on Imagenette was trained for 34 epochs, and over the last three its learning "
        "rate fell to nothing; the paper's had 50 at one rate.",
        "Below, the same network before that fall, as training left it and with fresh batch-norm "
        f"statistics; areas of {last['pictures']:,} pictures, in brackets differences from the "
        "committed weights.",
        f"Areas that differ surely: {'; '.join(counts)}.",
        *_lagging(before, moved.sum()),
        *_constant_throughout(variants.trainings()),
        f"Measured at commit {last['commit']} on {last['date']}, on weights that are not kept.",
    ]


def _lagging(before: pd.DataFrame, moved: pd.Series) -> list[str]:
    """That old batch-norm statistics may explain the areas that differ; nothing where fresh ones
    leave some. `moved`: how many areas of each network differ surely."""
    if not moved.get(STALE) or moved.get(FRESH, 1):
        return []
    accuracy = before[before["row"] == "accuracy"].set_index("network")["value"]
    return [
        "Averaging the batch-norm statistics anew brings the accuracy from "
        f"{accuracy[STALE]:.3f} to {accuracy[FRESH]:.3f} and leaves no sure difference: statistics "
        "that lag behind weights still on the move are the likely cause of what lay nearer to "
        "print."
    ]


def _constant_throughout(trainings: pd.DataFrame) -> list[str]:
    """How ResNet-18 ended on Imagenette by all of the paper's epochs at one rate, seed by seed;
    from `variants.trainings`."""
    wanted = (trainings["model"] == RESNET) & (trainings["epochs"] == AT_ONE_RATE)
    reached = [f"{accuracy:.3f}" for accuracy in trainings[wanted]["test_accuracy"]]
    if not reached:
        return []
    return [
        f"{counted(len(reached), 'training')} of 50 epochs at one rate, on a GPU and not kept, "
        f"ended with accuracies of {listed(reached)}."
    ]


def constant_rate(before: pd.DataFrame) -> pd.DataFrame:
    """ResNet-18 before its learning rate fell, beside the committed one; from
    `before_cooldown`: a row a number, a column a network."""
    rows: dict[str, dict] = {}
    for r in before.itertuples():
        table = "Table 2" if r.fill else "Table 1"
        number = f"{r.row}, {r.fill}" if r.fill else r.row
        shown = published.shown("Sign", table, r.printed)
        row = rows.setdefault(number, {"number": number, "printed": shown})
        interval = "" if pd.isna(r.low) else f" ({ends(r.low, r.high, '+.3f')})"
        row[r.network] = f"{r.value:.3f}{interval}"
    return pd.DataFrame(rows.values())


def improved_shown(improved: pd.DataFrame) -> pd.DataFrame:
    """`improved` with two columns of text in place of six of numbers."""
    return pd.DataFrame(
        {
            "network and map": [
                f"{r.subject}, {r.fill} on {r.map} pixels" for r in improved.itertuples()
            ],
            "logit at 3 %": [
                f"{r.first:+.2f} ({ends(r.low, r.high, '+.2f')})"
                for r in improved.to_records(index=False)
            ],
            "rose": improved["rose"],
            "best": [f"{r.best:+.2f} at {r.at:.0%}" for r in improved.itertuples()],
            "logit at 90 %": improved["last"],
            "probability at 3 %": improved["probability"],
        }
    )


def by_strength(table: pd.DataFrame, value: str, spec: str, half: str = "") -> pd.DataFrame:
    """A row a subject, map and fill, a column a strength, of the values and their half-widths."""
    rows: dict[tuple, dict] = {}
    for r in table.to_dict("records"):
        name = r["map"] if "map" in r else f"{r['first']} less {r['second']}"
        case = f"{r['subject']}, {name}, {r['fill']}"
        shown = f"{r[value]:{spec}}" + (f" ± {r[half]:.3f}" if half else "")
        rows.setdefault((case,), {"network and map": case})[f"{r['strength']:g}"] = shown
    return pd.DataFrame(rows.values())
