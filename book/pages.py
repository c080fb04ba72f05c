"""The parts of the prose pages that are made of results.

A comment `<!-- name -->` in a page is replaced by `PARTS[name]()`. So every number on those pages
follows from data/results, and none is typed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from lib import attribution, metrics
from study import figures
from study.account import claims as listed
from study.account import plan, published, scoreboard, table1
from study.experiments import (
    cleanliness,
    deletion,
    ranking,
    retraining,
    retraining_tables,
    synthesis,
)
from study.store import cells
from study.subjects import networks, subject

ORDER = {
    "accuracy": "Accuracy",
    "fresh_statistics": "Accuracy with fresh batch-norm statistics",
    "precision": "bfloat16 against float32",
    "signs": "Shares of the signs",
    "deletion": "Deletion curves",
    "scores": "Score curves",
    "soft": "Soft replacement",
    "kept_pixels": "Kept pixels",
    "printed": "Printed against released",
    "insertion": "Insertion",
    "occlusion": "Feature-map occlusion",
    "sanity": "Sanity checks",
    "amounts": "Attribution in the patch, outside the mask, total variation",
    "sweep": "Threshold sweep",
    "adversarial": "Class sensitivity",
    "roar": "Retraining (ROAR and KAR)",
    "synthesis": "Synthesis",
    "responses": "Synthesis: what maps respond to",
    "shift": "Occluded pictures without retraining",
    "seconds": "Seconds a picture",
    "claims": "Claims in words",
}


def _table(rows: list[dict], numeric: tuple[str, ...] = ()) -> str:
    if not rows:
        return "*Nothing computed yet.*"
    head = list(rows[0])
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if h in numeric else ":---" for h in head) + "|",
    ]
    lines += ["| " + " | ".join(str(row[h]) for h in head) + " |" for row in rows]
    return "\n".join(lines)


def _printed() -> pd.DataFrame:
    return pd.read_csv(scoreboard.CSV)


def counts() -> str:
    """One sentence: how many of the printed numbers are computed, and how many agree."""
    table = _printed()
    done = table.dropna(subset=["reproduced"])
    agree, disagree = (done.verdict == "agree").sum(), (done.verdict == "disagree").sum()
    at_zero = (done.verdict_at_zero == "agree").sum()
    random = done.verdict.isna().sum()
    waiting = (table.verdict == "needs a download").sum()
    open_yet = len(table) - len(done) - waiting
    baselines = f", {random} are random baselines, which others are measured against"
    rest = f", {open_yet} are not computed yet"
    return (
        f"Of the {len(table)} numbers that the two papers print in their tables, and as accuracies "
        f"in an appendix, {len(done)} are computed: {agree} agree with ours, {disagree} not"
        f"{baselines if random else ''}; {waiting} need weights that must be downloaded"
        f"{rest if open_yet > 0 else ''}. "
        f"With no tolerance beyond their intervals, {at_zero} agree."
    )


def _row(r) -> dict:
    computed = pd.notna(r.reproduced)
    waiting = r.verdict if isinstance(r.verdict, str) else "not computed yet"
    return {
        "Row": r.row,
        "Column": r.column,
        "Printed": published.shown(r.paper, r.table, r.published),
        "Reproduced": f"{r.reproduced:.3f}" if computed else "",
        "95 % interval": f"{r.low:.3f} to {r.high:.3f}" if computed else "",
        "Verdict": r.verdict if computed else waiting,
        "At tolerance 0": r.verdict_at_zero if computed else "",
    }


def score_tables() -> str:
    """A table for each printed table.

    Every number has its value, interval and verdict, or why it has none.
    """
    parts = []
    for (paper, name), rows in _printed().groupby(["paper", "table"], sort=False):
        if (paper, name) == ("Noise", "Table 1"):
            parts.append(f"## Paper {paper}, {name}\n\n{_table1()}")
            continue
        how = [
            f"*{column}: {part.iloc[0]['data']}; {part.iloc[0]['protocol']}.*"
            for column, part in rows.dropna(subset=["reproduced"]).groupby("column", sort=False)
        ]
        if others := _stand_ins(paper, name):
            how.append(
                "*Other pretrained networks, with no printed number of their own:*\n\n"
                + _table(others)
            )
        numbers = _table([_row(r) for r in rows.itertuples()], ("Printed", "Reproduced"))
        parts.append("\n\n".join([f"## Paper {paper}, {name}", numbers, *how]))
    return "\n\n".join(parts)


def _table1() -> str:
    """Table 1 of paper Noise in its two readings.

    And what was known when the first was chosen to be judged.
    """
    beside = table1.beside()
    if beside is None:
        return "*Not computed yet.*"
    waits = ""
    if beside["text_area"].isna().all():
        waits = "\n\nThe text's reading waits for networks retrained on thresholded baselines."
    return f"{figures.two_readings(beside).data}{waits}\n\n{table1.known_before()}"


def _stand_ins(paper: str, name: str) -> list[dict]:
    """The rows of one printed table for the networks beside the paper's pretrained ones."""
    return [
        {
            "Row": r.row,
            "Network": r.column,
            "Here": f"{r.reproduced:.3f}",
            "95 % interval": f"{r.low:.3f} to {r.high:.3f}",
        }
        for r in scoreboard.stand_ins().itertuples()
        if paper == "Sign" and r.table == name
    ]


def _one(experiment: str, **where) -> pd.DataFrame:
    """The stored rows of an experiment whose columns have these values."""
    table = cells.rows(experiment)
    for column, value in where.items():
        table = table[table[column] == value] if len(table) else table
    return table


def _areas(dataset: str, model: str, tags: tuple[str, ...]) -> pd.Series:
    """Area under the test curve by (map, fill): the mean over seeds, as on the scoreboard."""
    wanted = {"dataset": dataset, "model": model, "split": "test"}
    of_column = [
        c
        for c in cells.of("deletion")
        if wanted.items() <= c["parameters"].items()
        and c["parameters"]["weights"] in tags
        and scoreboard.current(c["parameters"])
    ]
    rows = pd.DataFrame(
        [
            {
                "map": c["parameters"]["map"],
                "fill": c["parameters"]["fill"],
                "auc": c["rows"][0]["auc"],
            }
            for c in of_column
        ],
        columns=["map", "fill", "auc"],
    )
    return rows.groupby(["map", "fill"])["auc"].mean()


def findings() -> str:
    """The findings so far, one line each, for the networks whose results are stored."""
    lines = [f"- {counts()}", f"- {claim_counts()}"]
    lines += _sign_findings() + _noise_findings() + _synthesis_findings()
    return "\n".join(lines)


def _sign_findings() -> list[str]:
    """What was found on paper Sign's networks and those that stand in for them."""
    area, crossed, promise, printed = [], [], [], []
    for column, (dataset, model, tags) in (scoreboard.COLUMNS | scoreboard.STAND_INS).items():
        who = {"dataset": dataset, "model": model, "weights": tags[0], "split": "test"}
        value = _areas(dataset, model, tags)
        soft, rules = _one("soft", **who), _one("printed", map="inactive", **who)
        if len(value) < len(deletion.MAPS) * len(deletion.FILLS):
            continue  # or not finished
        area.append(
            f"{column}: original {value['original', 'black']:.3f}, "
            f"positive {value['positive', 'black']:.3f}, active {value['active', 'black']:.3f}"
        )
        crossed.append(
            f"{column}: positive {value['positive', 'white']:.3f}, "
            f"active {value['active', 'white']:.3f}"
        )
        if not len(soft) or not len(rules):
            continue
        to_white = soft[(soft["map"] == "positive") & (soft["fill"] == "white")]
        rose = to_white.set_index("strength")["rose"]
        promise.append(f"{column}: {rose[0.05]:.0%} and {rose[1.0]:.0%}")
        rule = rules.set_index("rule")["auc"]
        printed.append(f"{column}: {rule['printed']:.3f} and {rule['released']:.3f}")
    lines = (
        (
            "The sign matters, on most networks.",
            "Area under the curve of unchanged predictions as pixels turn black, lower is better",
            area,
        ),
        ("The wrong colour mostly does less harm.", "The same pixels turned white", crossed),
        (
            "A gradient is right about directions and silent about distances.",
            "Share of images whose score rises when the 10 % most positive pixels move a twentieth "
            "of the way to white, and all the way",
            promise,
        ),
        (
            "Equation 6 as printed is not what was run.",
            "Area of its map under white deletion, and of the released code's, on "
            f"{deletion.SCORED['cifar10']:,} pictures of CIFAR-10 and "
            f"{deletion.SCORED['imagenette']} of Imagenette",
            printed,
        ),
    )
    return [f"- **{head}** {text}. {'; '.join(parts)}." for head, text, parts in lines if parts]


def _noise_findings() -> list[str]:
    """What was found on paper Noise's own network, CIFAR-10."""
    outside = _one("amounts", measure="outside", weights="cifar10")
    sanity = _one("sanity", mode="cascading", depth=1)
    stated = _judged().dropna(subset=["value"]).groupby("id")["value"].agg(["first", "max"])
    lines = []
    if {"noise-patch-untruthful", "noise-firing-alike"} <= set(stated.index):
        apart = stated.loc["noise-firing-alike", "first"]
        changed = 1 - stated.loc["noise-patch-untruthful", "first"]
        lines.append(
            "- **Units fire almost alike on object and background, and yet networks listen.** "
            f"Firing rates on the two differ by at most {apart:.3f} in a layer of `rectgrad_cnn`. "
            f"Exchange a patch that never told the class for another, and {changed:.0%} of the "
            "predictions change: saliency on it is irrelevant to the task, but not wholly untrue "
            "of the network."
        )
    if len(outside):
        matched = outside[outside["share"] & (outside["treatment"] == "matched")]
        share = matched.set_index("method")["mean"]
        rest = share.drop(list(cleanliness.RECTGRAD))
        lines.append(
            f"- **RectGrad is clean, not only sparse.** At equal sparsity {share['rectgrad']:.0%} "
            "of it lies on the background, of the best baseline "
            f"({attribution.label(rest.idxmin())}) {rest.min():.0%}."
        )
    if len(sanity):
        rank = sanity.set_index("method")["rank"]
        lines.append(
            "- **And it hardly looks at the top of the network.** With the output layer's weights "
            f"redrawn, RectGrad's map keeps a rank correlation of {rank['rectgrad']:.2f} with the "
            f"intact one, Guided Backpropagation's {rank['guided_backprop']:.2f}, "
            f"saliency's {rank['saliency']:.2f}, the active map's {rank['active']:.2f}."
        )
    return lines + _read_the_map()


def _read_the_map() -> list[str]:
    """Whether networks retrained on a tenth of the pixels repeat the one whose maps chose them."""
    whole = {
        "weights": "cifar10",
        "model": "rectgrad_cnn",
        "split": "test",
        "n": scoreboard.WHOLE["cifar10"],
    }
    explained = [
        cells.unpack(c["correct"]).numpy()
        for c in cells.of("correct")
        if whole.items() <= c["parameters"].items()
    ]
    if not explained:
        return []
    shares = retraining_tables.repeated(
        explained[0], networks.fingerprint(networks.load("rectgrad_cnn", "cifar10"))
    )
    if not len(shares):
        return []
    most = (shares["right"] - shares["wrong"]).idxmax()
    right, wrong = shares.loc[most, "right"], shares.loc[most, "wrong"]

    def tell(method: str) -> str:
        return f"in {shares.loc[method, 'right']:.0%} and {shares.loc[method, 'wrong']:.0%}"

    return [
        f"- **Retrained networks can read the map.** Of {len(retraining.PRINTED) - 1} methods "
        f"{attribution.label(most)} shows it most: networks retrained on the tenth of the pixels "
        f"that it ranks first are right in {right:.0%} of the pictures that the explained network "
        f"gets right and in {wrong:.0%} of the others; on RectGrad's tenth {tell('rectgrad')}, "
        f"on a random one {tell('random')}, on whole pictures {tell('none')}. "
        "ROAR and KAR measure that, too."
    ]


def _synthesis_findings() -> list[str]:
    """What both papers' metrics say of both papers' methods.

    For the networks on which all published methods are measured.
    """
    agree, chance = [], []
    for dataset, model, *_ in synthesis.STUDIED:
        measured = synthesis.read(dataset, model)
        if not {*attribution.METHODS, "random"} <= set(measured.get("black_deletion", ())):
            continue
        pairs = ranking.agreement(measured, resamples=2)
        of_two_kinds = [
            synthesis.METRICS[r.first].family != synthesis.METRICS[r.second].family
            for r in pairs.itertuples()
        ]
        across = pairs[of_two_kinds]
        alike = ((across["p_corrected"] < 0.05) & (across["correlation"] > 0)).sum()
        agree.append(f"{alike} of {len(across)} ({model})")
        for metric in ("black_deletion", "white_deletion", "roar"):
            values = measured.get(metric, {})
            means = {
                name: float(values[name].double().nanmean())
                for name in ("random", *attribution.METHODS)
                if name in values
            }
            random = means.pop("random", None)
            if means and random is not None:
                better = sum(mean < random for mean in means.values())
                label = synthesis.METRICS[metric].label
                chance.append(f"{label} {better} of {len(means)} ({model})")
    if not agree:
        return []
    return [
        "- **Do metrics agree?** Pairs of metrics of different kinds that rank the published "
        f"methods alike beyond chance, after correction: {' and '.join(agree)}.",
        "- **Random pixels are a hard rival.** Published methods whose mean is better than that of "
        f"random pixels: {'; '.join(chance)}.",
    ]


def _judged() -> pd.DataFrame:
    return pd.read_csv(listed.CSV)


def claim_counts() -> str:
    """One sentence: how many claims in words were measured, and how they came out."""
    table = _judged().drop_duplicates("id")
    verdicts = table["verdict"].value_counts()
    sentences = table.groupby(["paper", "quotation"]).ngroups
    measured = verdicts.sum()
    waiting = len(table) - measured
    rest = f", {waiting} wait for networks or retrainings"
    return (
        f"Of {len(table)} claims that the two papers make in words ({sentences} sentences; some "
        f"claim several things), {measured} are measured{rest if waiting else ''}: "
        f"{verdicts.get('holds', 0)} hold, {verdicts.get('does not hold', 0)} do not, "
        f"{verdicts.get('depends', 0)} depend on the network or are too close to call."
    )


def claims() -> str:
    """A table for each paper: every claim with its threshold, what was measured, the verdict."""
    parts = []
    for paper, rows in _judged().groupby("paper", sort=False):
        shown = []
        for _, part in rows.groupby("id", sort=False):
            first = part.iloc[0]
            how = (
                first.statistic.replace("|", "&#124;")
                .replace("*", "&#42;")
                .replace("<", "&lt;")
                .replace("_", "&#95;")
            )
            statistic = f"<details><summary>statistic</summary>{how}</details>"
            shown.append(
                {
                    "Section": first.section,
                    "Claim": f"“{first.quotation}” {statistic}",
                    "Holds if": first.holds_if,
                    "Measured (95 % interval)": listed.told(part),
                    "Verdict": first.verdict if isinstance(first.verdict, str) else "",
                }
            )
        parts.append(f"## Paper {paper}\n\n{_table(shown)}")
    return "\n\n".join(parts)


def costs() -> str:
    """What the stored results cost: cells and hours by experiment, and the machine."""
    rows = [
        {
            "Computation": f"Training {m}, {tag}",
            "Cells": len(card["epochs"]),
            "Hours": f"{sum(e['seconds'] for e in card['epochs']) / 3600:.2f}",
            "torch": card["torch"],
            "Machine": card["machine"],
            "Commit": card["commit"],
        }
        for m, _, tag, _ in plan.TRAINED
        if (card := networks.card(m, tag))
    ]
    every_claim = [c for claim in listed.MEASURES for c in cells.of(f"claims/{claim}")]
    for name, label in ORDER.items():
        stored = every_claim if name == "claims" else cells.of(name)
        if stored:
            origin = [c["provenance"] for c in stored]
            rows.append(
                {
                    "Computation": label,
                    "Cells": len(stored),
                    "Hours": f"{sum(p['seconds'] for p in origin) / 3600:.2f}",
                    "torch": ", ".join(sorted({p["torch"] for p in origin})),
                    "Machine": ", ".join(sorted({p["machine"] for p in origin})),
                    "Commit": ", ".join(sorted({p["commit"] for p in origin})),
                }
            )
    return _table(rows, ("Cells", "Hours"))


def overview(
    model: str = "basic_cnn", classes: tuple[int, ...] = (2, 4, 5, 7, 9), fraction: float = 0.1
) -> None:
    """Draw book/_static/overview.png.

    Pictures of CIFAR-10, their five maps, and what is left without their most active pixels.
    """
    who = subject.subject("cifar10", model)
    places = deletion.gallery(who)[list(classes)]
    shown = subject.Subject(who.model, who.pictures.take(places), model, who.weights)
    maps, images = deletion.signed_maps(shown), subject.batch(shown, slice(None))
    kept = metrics.allegiance(
        who.model, images, maps["active"], fill=who.model.black, fractions=(fraction,)
    )[0].tolist()
    figures.style()
    altered = metrics.delete(images, maps["active"], fraction, who.model.black)
    figure = figures.gallery(who, places, maps, (f"{fraction:.0%} active\nto black", altered, kept))
    signed = figures.signed(figure, f"{model}, cifar10 test, drawn by seed 0", "paper")
    signed.savefig(Path(__file__).parent / "_static" / "overview.png", dpi=150)


PARTS = {
    "counts": counts,
    "claim_counts": claim_counts,
    "claims": claims,
    "scoreboard": score_tables,
    "findings": findings,
    "costs": costs,
}


def fill(folder: Path) -> None:
    """Replace the comments in every Markdown page of `folder`; an unknown name is an error."""
    for page in folder.glob("*.md"):
        text = page.read_text(encoding="utf8")
        filled = re.sub(r"<!-- (\w+) -->", lambda comment: PARTS[comment[1]](), text)
        page.write_text(filled, encoding="utf8")


if __name__ == "__main__":
    overview()
