"""What chapter 7 says of networks retrained on what maps leave, and its tables as they are shown.

Tables are those of study.experiments.retraining_tables: `differences` (areas less random's),
`sides` (accuracy where the explained network is right and wrong), `compared` (pairs of methods).
"""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from lib.attribution.crosses import label
from study.account import published, table1
from study.account.summaries.phrases import counted, ends, listed, methods, place, wide
from study.experiments import ranking, retraining, retraining_tables
from study.subjects.subject import Subject
from study.subjects.training import Protocol

SIGNED = ("positive", "negative", "active", "inactive")


# ---- in short


def in_short(differences: pd.DataFrame, sides: pd.DataFrame, classes: int) -> list[str]:
    """Three sentences: how many methods are ahead of random pixels, RectGrad's places, and the
    retrained networks that repeat the explained one most."""
    sentences = [ahead_of_random(differences), *rectgrads_places(differences)]
    return [*sentences, *repeating(sides, classes)]


def ahead_of_random(differences: pd.DataFrame) -> str:
    """How many methods have a lower area than random pixels by more than the interval."""
    counts = ranking.ahead(retraining_tables.gains_over_random(differences))
    if not (counts["ahead"] + counts["behind"]).any():
        return "One seed cannot tell which methods are ahead of random pixels, and which by chance."
    told = [f"{r.ahead} of {r.of} in {r.metric.upper()}" for r in counts.itertuples()]
    seeds = " or ".join(str(seeds) for seeds in sorted(set(differences["seeds"])))
    return (
        f"Methods ahead of random pixels, beyond the 95 % interval: {listed(told)} "
        f"({seeds} {'seed' if seeds == '1' else 'seeds'})."
    )


def rectgrads_places(differences: pd.DataFrame) -> list[str]:
    """RectGrad's place in ROAR and in KAR by the difference from random pixels of the same seeds
    (chapter 8 ranks the areas), beside the printed one where every printed method is there;
    nothing where RectGrad is missing or has fewer than two rivals."""
    places = retraining_tables.places_among(differences).query("method == 'rectgrad'")
    if places.empty or places["of"].min() < 3:
        return []
    told = [f"{place(r.place, r.of)} in {r.mode.upper()}" for r in places.itertuples()]
    whole = set(retraining.PRINTED) <= {*differences["method"], "random"}
    in_print = f"; in print {_printed_places()}" if whole else ""
    return [f"Against random, RectGrad has {listed(told)}{in_print}."]


def _printed_places() -> str:
    """RectGrad's places in Table 1 of paper Noise, random left out."""
    told = {}
    for mode, column in table1.COLUMN_OF.items():
        of_mode = [n for n in published.numbers() if n.column == column and n.row != "Random"]
        ours = next(n.published for n in of_mode if n.row == label("rectgrad"))
        told[mode] = place(1 + sum(n.published < ours for n in of_mode), len(of_mode))
    if len(set(told.values())) == 1:
        return f"{told['roar']} in both"
    return listed([f"{where} in {mode.upper()}" for mode, where in told.items()])


def repeating(sides: pd.DataFrame, classes: int) -> list[str]:
    """On the fewest pixels kept: the method whose retrained networks differ most between pictures
    that the explained network gets right and wrong; nothing where it is always right or wrong."""
    least = retraining_tables.least_left(sides).query("mode == 'kar'")
    share = least.pivot(index="method", columns="side", values="accuracy")
    if len(share.columns) < 2 or share.empty:
        return []
    method = (share["right"] - share["wrong"]).idxmax()
    right, wrong = share.loc[method, ["right", "wrong"]]
    return [
        f"On {least['fraction'].iloc[0]:.0%} of the pixels, kept by {label(method)}, networks "
        f"are right on {right:.0%} where the explained one is, on {wrong:.0%} elsewhere "
        f"(chance {1 / classes:.0%})."
    ]


# ---- the sections


def trainings(
    accuracies: pd.DataFrame, protocol: Protocol, explained: Tensor, known: float | None
) -> list[str]:
    """How networks were trained, and how well on whole pictures; `explained`: which test pictures
    the explained network gets right, bool [N]; `known`: its accuracy on training pictures."""
    whole = accuracies[accuracies["method"] == "none"]["accuracy"]
    precision = ", bfloat16" if protocol.bfloat16 else ""
    seeds = f", from {whole.min():.1%} to {whole.max():.1%} over {len(whole)} seeds"
    train = "" if known is None else f", and {known:.1%} of its training pictures"
    return [
        f"{protocol.optimizer}, {counted(protocol.epochs, 'epoch')}, batches of "
        f"{protocol.batch_size}, learning rate {protocol.lr:g}, {protocol.schedule}{precision}.",
        f"Retrained on whole pictures: {whole.mean():.1%} of the test pictures right"
        f"{seeds if len(whole) > 1 else ''}.",
        f"The explained network: {explained.double().mean():.1%}{train}.",
    ]


def unmeasured(seeds: pd.DataFrame, asked: int, protocol: str) -> list[str]:
    """Which methods this protocol has no whole curves of, and which of fewer than the seeds that
    were `asked` for; `seeds` as of `seeds_measured`."""
    least = seeds.set_index("method").min(axis=1)
    none, fewer = least.index[least == 0], least.index[(least > 0) & (least < asked)]
    sentences = []
    if len(none):
        sentences.append(f"Not measured by the {protocol} protocol: {methods(none)}.")
    if len(fewer):
        sentences.append(
            f"With fewer than {asked} seeds, so with a wider interval: {methods(fewer)}."
        )
    return sentences


def lowest(differences: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    """Of each mode: the method with the lowest area less that of random pixels, out of how many,
    and which methods cannot be told apart from it."""
    sentences = []
    for mode, part in differences[differences["method"] != "random"].groupby("mode", sort=False):
        best = part.loc[part["difference"].idxmin()]
        head = (
            f"{mode.upper()}: of these {len(part)} maps {label(best['method'])} has the lowest "
            f"area less random's, {best['difference']:+.3f}"
        )
        if not pd.isna(best["low"]):
            head += f" ({ends(best['low'], best['high'], '+.3f')})"
        like = _alike(pairs[pairs["mode"] == mode], part, best)
        tail = f"; not told apart from it: {methods(like)}" if like else ""
        sentences.append(f"{head}{tail}.")
    return sentences


def _alike(pairs: pd.DataFrame, part: pd.DataFrame, best: pd.Series) -> list[str]:
    """The methods, random left out, whose difference from the best one may be chance: by the test
    of `pairs`, and where one of the two lacks seeds for it, by intervals that overlap."""
    method = best["method"]
    own = pairs[(pairs["first"] == method) | (pairs["second"] == method)]
    tested = {*own["first"], *own["second"]}
    level = own[own["p_corrected"] >= 0.05]
    alike = {*level["first"], *level["second"]}
    others = part[part["method"] != method]
    near = (others["low"] <= best["high"]) & (others["high"] >= best["low"])
    untested = near & ~others["method"].isin(tested)
    return others.loc[others["method"].isin(alike) | untested, "method"].tolist()


def told_apart(pairs: pd.DataFrame) -> list[str]:
    """How many pairs of methods differ beyond chance; a line that says so for a single seed."""
    sentences = []
    for mode, part in pairs.groupby("mode", sort=False):
        if part["p"].notna().any():
            sure = int((part["p_corrected"] < 0.05).sum())
            among = len({*part["first"], *part["second"]} - {"random"})
            sentences.append(
                f"{mode.upper()}: {sure} of {len(part)} pairs among the {among} maps that have "
                "every seed and random pixels differ in mean accuracy after correction for their "
                "number."
            )
        else:
            sentences.append(f"{mode.upper()}: one seed cannot tell which pairs differ by chance.")
    return sentences


def signed_maps(differences: pd.DataFrame) -> list[str]:
    """Which of paper Sign's maps have a lower area than the saliency map, which a higher one, and
    which, their intervals overlapping, neither; nothing where these were not retrained on."""
    sentences = []
    for mode, part in differences.groupby("mode", sort=False):
        by = part.set_index("method")
        signed = by.loc[[m for m in SIGNED if m in by.index]]
        if signed.empty or "saliency" not in by.index:
            continue
        plain = by.loc["saliency"]
        lower, higher = signed["high"] < plain["low"], signed["low"] > plain["high"]
        sentences.append(
            f"{mode.upper()}, paper Sign's maps beside the saliency map: a lower area beyond both "
            f"intervals has {_some(signed[lower])}, a higher one {_some(signed[higher])}; not told "
            f"apart: {_some(signed[~lower & ~higher])}."
        )
    return sentences


def _some(rows: pd.DataFrame) -> str:
    """Which methods these are, or "none"."""
    return methods(rows.index) if len(rows) else "none"


def holes(alone: pd.DataFrame, correlations: pd.DataFrame, classes: int) -> list[str]:
    """What networks learn from the places of pixels alone, and whether it goes with the areas."""
    if alone.empty:
        return ["Networks that see the places of the pixels alone: not measured by this protocol."]
    sentences = []
    maps = alone[alone["method"] != "random"]
    for fraction, part in maps.groupby("fraction", sort=False):
        best = part.loc[part["accuracy"].idxmax()]
        sentences.append(
            f"From the places of the first {fraction:.0%} of pixels alone, networks are right on "
            f"up to {best['accuracy']:.0%} ({label(best['method'])}; chance {1 / classes:.0%})."
        )
    for r in correlations.dropna(subset=["correlation"]).itertuples():
        sentences.append(
            f"{r.mode.upper()}: the area and that accuracy at {r.fraction:.0%} have a rank "
            f"correlation of {r.correlation:+.2f} ({ends(r.low, r.high, '+.2f')}) over "
            f"{r.methods} methods."
        )
    return sentences


def not_learnt(count: int, of: int) -> list[str]:
    """A warning where networks did not learn at all."""
    if not count:
        return []
    return [
        f"{count} of {of} networks that were trained by a map did not learn at all; areas with "
        "them measure training, not maps."
    ]


def protocols(by: dict[str, pd.DataFrame]) -> list[str]:
    """What a second protocol changes; `by`: name -> `differences`, of one protocol or of two."""
    if len(by) < 2:
        return ["No other protocol is set beside this one here."]
    (first, of_first), (second, of_second) = by.items()
    change = retraining_tables.protocol_change(of_first, of_second)
    if change.empty:
        return [f"Fewer than three of these methods are measured by the {second} protocol."]
    return [
        f"{r.mode.upper()}: areas by the {first} and the {second} protocol have a rank "
        f"correlation of {r.correlation:.2f} ({ends(r.low, r.high, '.2f')}) over {r.methods} "
        f"methods; differences from random are {r.times:.1f} times as large by the second."
        for r in change.itertuples()
    ]


# ---- beside print


def beside_print(studied: Subject, stored: bool, images: int | None) -> pd.DataFrame | None:
    """`table1.beside` if what is studied is what the paper printed numbers of, and stored."""
    of_paper = ("cifar10", "rectgrad_cnn", "cifar10")
    this = (studied.pictures.name, studied.model_name, studied.weights)
    return table1.beside() if stored and images is None and this == of_paper else None


NOT_PRINTED = "The papers print no number for what is studied here."


def printed_rows(beside: pd.DataFrame | None) -> pd.DataFrame:
    """Both readings of Table 1, a row a method and area: differences from random and verdicts."""
    if beside is None:
        return pd.DataFrame()
    text, released = _readings_heads(beside)
    columns = ["area", "printed", text, "verdict", released, "its verdict"]
    rows = [
        (
            f"{r.row}, {r.mode.upper()}",
            f"{r.printed_difference:+.4f}",
            _with_half(r.text_difference, r.text_low, r.text_high),
            r.text_verdict,
            _with_half(r.difference, r.low, r.high),
            r.verdict,
        )
        for r in beside[beside["row"] != "Random"].itertuples()
    ]
    return pd.DataFrame(rows, columns=columns)


def _readings_heads(beside: pd.DataFrame) -> tuple[str, str]:
    """Heads of the two readings, which may rest on other trainings than the rest of a chapter."""
    trained = counted(int(beside["epochs"].iloc[0]), "epoch")
    return f"by the text ({trained})", f"as released ({trained})"


def _with_half(value: float, low: float, high: float, spec: str = "+.3f") -> str:
    """A value and the half-width of its interval; "not measured" for none."""
    if pd.isna(value):
        return "not measured"
    if pd.isna(low):
        return f"{value:{spec}}"
    return f"{value:{spec}} ± {(high - low) / 2:{spec.lstrip('+')}}"


def printed_in_short(beside: pd.DataFrame | None) -> list[str]:
    """How many differences from random agree with print, by each reading, and on what they rest."""
    if beside is None:
        return [NOT_PRINTED]
    rows, sentences = beside[beside["row"] != "Random"], []
    for reading, start in ((table1.TEXT, "text_"), (table1.RELEASED, "")):
        name = table1.SHORTLY[reading]
        measured = rows[rows[f"{start}area"].notna()]
        if measured.empty:
            sentences.append(f"Read by {name}, Table 1 is not measured by this protocol.")
            continue
        agree = int((measured[f"{start}verdict"] == "agree").sum())
        sentences.append(
            f"Read by {name}, {agree} of {len(measured)} differences from random agree with the "
            f"printed ones ({counted(int(measured[f'{start}seeds'].min()), 'seed')}, "
            f"{counted(int(beside['epochs'].iloc[0]), 'epoch')})."
        )
    return sentences


# ---- layouts of the appendix


def areas_by_rule(area_table: pd.DataFrame) -> pd.DataFrame:
    """Areas by both rules, in brackets the difference from random with the half-width of its
    interval: a row a method."""
    rows = []
    for rule in ("span", "extended"):
        for r in retraining_tables.differences(area_table, rule).itertuples():
            change = _with_half(r.difference, r.low, r.high)
            rows.append(
                {
                    "method": label(r.method),
                    "column": f"{r.mode.upper()}, {rule}",
                    "shown": f"{r.area:.3f}" + ("" if r.method == "random" else f" ({change})"),
                }
            )
    return wide(rows)


def sides_shown(sides: pd.DataFrame) -> pd.DataFrame:
    """`sides` where least is left: a row a method, a column for each end and side."""
    least = retraining_tables.least_left(sides)
    whole = least[least["mode"] == "none"]
    columns = least[least["mode"] != "none"].drop_duplicates(["mode", "fraction"])
    rows = []
    for mode, fraction in zip(columns["mode"], columns["fraction"], strict=True):
        part = least[(least["mode"] == mode) & (least["fraction"] == fraction)]
        for r in pd.concat([whole, part]).itertuples():
            rows.append(
                {
                    "method": "Nothing removed" if r.method == "none" else label(r.method),
                    "column": f"{mode.upper()} at {fraction:g}, where {r.side}",
                    "shown": f"{r.accuracy:.3f} ({ends(r.low, r.high)})",
                }
            )
    return wide(rows)


def holes_shown(alone: pd.DataFrame) -> pd.DataFrame:
    """Accuracy from places alone, and where the explained network is right and wrong: a row a
    method, the shares beside each other."""
    rows = [
        {"method": label(r.method), "column": f"{name}, first {r.fraction:.0%}", "shown": value}
        for r in alone.itertuples()
        for name, value in (
            ("all", f"{r.accuracy:.3f}"),
            ("right / wrong", f"{r.where_right:.3f} / {r.where_wrong:.3f}"),
        )
    ]
    return wide(rows)


def protocols_shown(by: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Areas and differences from random (in brackets) by several protocols; `by`: name ->
    `differences`. A method that a protocol lacks is "not measured"."""
    rows = [
        {
            "method": label(r.method),
            "column": f"{r.mode.upper()}, {name}",
            "shown": f"{r.area:.3f} ({_with_half(r.difference, r.low, r.high)})",
        }
        for name, table in by.items()
        for r in table[table["method"] != "random"].itertuples()
    ]
    return wide(rows).fillna("not measured")


def balanced_shown(balanced: pd.DataFrame) -> pd.DataFrame:
    """`balanced`: a row a method, in brackets the difference from random."""
    rows = [
        {
            "method": label(r.method),
            "column": r.pictures,
            "shown": f"{r.area:.3f} ({_with_half(r.difference, r.low, r.high)})",
        }
        for r in balanced[balanced["method"] != "random"].itertuples()
    ]
    return wide(rows)


def variance_shown(variances: pd.DataFrame) -> pd.DataFrame:
    """`analysis_of_variance` in points of accuracy."""
    return pd.DataFrame(
        {
            "mode": variances["mode"].str.upper(),
            "fraction": [f"{f:.0%}" for f in variances["fraction"]],
            "over methods": 100 * variances["between"],
            "over seeds": 100 * variances["within"],
            "ratio": variances["ratio"],
            "p": variances["p"],
        }
    )


def levels_shown(beside: pd.DataFrame | None) -> pd.DataFrame:
    """Printed and reproduced areas themselves, random's among them: a row a method and area."""
    if beside is None:
        return pd.DataFrame()
    columns = ["area", "printed", *_readings_heads(beside)]
    rows = [
        (f"{r.row}, {r.mode.upper()}", f"{r.printed:.4f}", _level(r.text_area), _level(r.area))
        for r in beside.itertuples()
    ]
    return pd.DataFrame(rows, columns=columns)


def _level(value: float) -> str:
    return "not measured" if pd.isna(value) else f"{value:.3f}"
