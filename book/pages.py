"""The parts of the prose pages that are made of results: a comment `<!-- name -->` in a page is replaced by `PARTS[name]()`.

So every number on those pages follows from data/results, and none is typed.
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
from study.store import results
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
    "patch": "Attribution in the patch",
    "outside": "Attribution outside the mask",
    "variation": "Total variation",
    "sweep": "Threshold sweep",
    "adversarial": "Class sensitivity",
    "roar": "Retraining (ROAR and KAR)",
    "synthesis": "Synthesis",
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
    return "\n".join(lines + ["| " + " | ".join(str(row[h]) for h in head) + " |" for row in rows])


def _printed() -> pd.DataFrame:
    return pd.read_csv(scoreboard.CSV)


def counts() -> str:
    """One sentence: how many of the printed numbers are computed, and how many agree."""
    table = _printed()
    done = table.dropna(subset=["reproduced"])
    waiting, open_yet, random = (
        (table.verdict == "needs a download").sum(),
        len(table) - len(done),
        done.verdict.isna().sum(),
    )
    return (
        f"Of the {len(table)} numbers that the two papers print in their tables, and as accuracies in an appendix, {len(done)} are computed: "
        f"{(done.verdict == 'agree').sum()} agree with ours, {(done.verdict == 'disagree').sum()} not{f', {random} are random baselines, which others are measured against' if random else ''}; {waiting} need weights that must be downloaded{f', {open_yet - waiting} are not computed yet' if open_yet > waiting else ''}. "
        f"With no tolerance beyond their intervals, {(done.verdict_at_zero == 'agree').sum()} agree."
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
    """A table for each printed table, every number with value, interval and verdict, or why it has none."""
    parts = []
    for (paper, name), rows in _printed().groupby(["paper", "table"], sort=False):
        if (paper, name) == ("Noise", "Table 1"):
            parts.append(f"## Paper {paper}, {name}\n\n{_table1()}")
            continue
        how = [
            f"*{column}: {part.iloc[0]['data']}; {part.iloc[0]['protocol']}.*"
            for column, part in rows.dropna(subset=["reproduced"]).groupby("column", sort=False)
        ]
        how += (
            [
                f"*Other pretrained networks, with no printed number of their own:*\n\n{_table(others)}"
            ]
            if (others := _stand_ins(paper, name))
            else []
        )
        parts.append(
            "\n\n".join(
                [
                    f"## Paper {paper}, {name}",
                    _table([_row(r) for r in rows.itertuples()], ("Printed", "Reproduced")),
                    *how,
                ]
            )
        )
    return "\n\n".join(parts)


def _table1() -> str:
    """Table 1 of paper Noise in its two readings, and what was known when the first was chosen to be judged."""
    beside = table1.beside()
    if beside is None:
        return "*Not computed yet.*"
    return f"{figures.two_readings(beside).data}\n\n{table1.known_before()}"


def _stand_ins(paper: str, name: str) -> list[dict]:
    """The rows of one printed table for the networks that stand beside the paper's pretrained ones."""
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
    table = results.table(experiment)
    for column, value in where.items():
        table = table[table[column] == value] if len(table) else table
    return table


def _areas(dataset: str, model: str, tags: tuple[str, ...]) -> pd.Series:
    """Area under the test curve by (map, fill), the mean over a network's seeds, as on the scoreboard."""
    cells = [
        c
        for c in results.cells("deletion")
        if {"dataset": dataset, "model": model, "split": "test"}.items() <= c["parameters"].items()
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
            for c in cells
        ],
        columns=["map", "fill", "auc"],
    )
    return rows.groupby(["map", "fill"])["auc"].mean()


def findings() -> str:
    """The findings so far, one line each, for the networks whose results are stored."""
    lines = {
        "The sign matters, on most networks.": [],
        "The wrong colour mostly does less harm.": [],
        "A gradient is right about directions and silent about distances.": [],
        "Equation 6 as printed is not what was run.": [],
    }
    area, crossed, promise, printed = lines.values()
    for column, (dataset, model, tags) in {
        **scoreboard.COLUMNS,
        **scoreboard.STAND_INS,
    }.items():
        who = {"dataset": dataset, "model": model, "weights": tags[0], "split": "test"}
        value = _areas(dataset, model, tags)
        soft, rules = _one("soft", **who), _one("printed", map="inactive", **who)
        if len(value) < len(deletion.MAPS) * len(deletion.FILLS):
            continue  # or not finished
        area.append(
            f"{column}: original {value['original', 'black']:.3f}, positive {value['positive', 'black']:.3f}, active {value['active', 'black']:.3f}"
        )
        crossed.append(
            f"{column}: positive {value['positive', 'white']:.3f}, active {value['active', 'white']:.3f}"
        )
        if not len(soft) or not len(rules):
            continue
        rose = soft[(soft["map"] == "positive") & (soft["fill"] == "white")].set_index("strength")[
            "rose"
        ]
        promise.append(f"{column}: {rose[0.05]:.0%} and {rose[1.0]:.0%}")
        rule = rules.set_index("rule")["auc"]
        printed.append(f"{column}: {rule['printed']:.3f} and {rule['released']:.3f}")
    told = (
        "Area under the curve of unchanged predictions as pixels turn black, lower is better",
        "The same pixels turned white",
        "Share of images whose score rises when the 10 % most positive pixels move a twentieth of the way to white, and all the way",
        "Area of its map under white deletion, and of the released code's, on {cifar10:,} pictures of CIFAR-10 and {imagenette} of Imagenette".format(
            **deletion.SCORED
        ),
    )
    return "\n".join(
        [f"- {counts()}", f"- {claim_counts()}"]
        + [
            f"- **{head}** {text}. {'; '.join(parts)}."
            for (head, parts), text in zip(lines.items(), told)
            if parts
        ]
        + _noise_findings()
        + _synthesis_findings()
    )


def _noise_findings() -> list[str]:
    """What was found on paper Noise's own network, CIFAR-10."""
    outside, sanity, stated = (
        _one("outside", weights="cifar10"),
        _one("sanity", mode="cascading", depth=1),
        _judged().dropna(subset=["value"]).groupby("id")["value"].agg(["first", "max"]),
    )
    lines = []
    if {"noise-patch-untruthful", "noise-firing-alike"} <= set(stated.index):
        lines.append(
            f"- **Units fire almost alike on object and background, and yet networks listen.** Firing rates on the two differ by at most {stated.loc['noise-firing-alike', 'first']:.3f} in a layer of `rectgrad_cnn`. Exchange a patch that never told the class for another, and {1 - stated.loc['noise-patch-untruthful', 'first']:.0%} of the predictions change: saliency on it is irrelevant to the task, but not wholly untrue of the network."
        )
    if len(outside):
        share = outside[outside["share"] & (outside["treatment"] == "matched")].set_index("method")[
            "mean"
        ]
        rest = share.drop(list(cleanliness.RECTGRAD))
        lines.append(
            f"- **RectGrad is clean, not only sparse.** At equal sparsity {share['rectgrad']:.0%} of it lies on the background, of the best baseline ({attribution.label(rest.idxmin())}) {rest.min():.0%}."
        )
    if len(sanity):
        rank = sanity.set_index("method")["rank"]
        lines.append(
            f"- **And it hardly looks at the top of the network.** With the output layer's weights redrawn, RectGrad's map keeps a rank correlation of {rank['rectgrad']:.2f} with the intact one, Guided Backpropagation's {rank['guided_backprop']:.2f}, saliency's {rank['saliency']:.2f}, the active map's {rank['active']:.2f}."
        )
    return lines + _read_the_map()


def _read_the_map() -> list[str]:
    """Whether networks retrained on a tenth of the pixels repeat the network whose maps chose them."""
    explained = [
        results.unpack(c["correct"]).numpy()
        for c in results.cells("correct")
        if (
            c["parameters"]["weights"],
            c["parameters"]["model"],
            c["parameters"]["split"],
            c["parameters"]["n"],
        )
        == ("cifar10", "rectgrad_cnn", "test", scoreboard.WHOLE["cifar10"])
    ]
    shares = (
        retraining_tables.repeated(
            explained[0], networks.fingerprint(networks.load("rectgrad_cnn", "cifar10"))
        )
        if explained
        else ()
    )
    if not len(shares):
        return []
    most = (shares["right"] - shares["wrong"]).idxmax()
    tell = lambda m: f"in {shares.loc[m, 'right']:.0%} and {shares.loc[m, 'wrong']:.0%}"
    return [
        f"- **Retrained networks can read the map.** Of {len(retraining.PRINTED) - 1} methods {attribution.label(most)} shows it most: networks retrained on the tenth of the pixels that it ranks first are right in {shares.loc[most, 'right']:.0%} of the pictures that the explained network gets right and in {shares.loc[most, 'wrong']:.0%} of the others; "
        f"on RectGrad's tenth {tell('rectgrad')}, on a random one {tell('random')}, on whole pictures {tell('none')}. ROAR and KAR measure that, too."
    ]


def _synthesis_findings() -> list[str]:
    """What both papers' metrics say of both papers' methods, for the networks on which all published methods are measured."""
    agree, chance = [], []
    for dataset, model, *_ in synthesis.STUDIED:
        found = synthesis.read(dataset, model)
        if not {*attribution.METHODS, "random"} <= set(found.get("black_deletion", ())):
            continue
        pairs = ranking.agreement(found, resamples=2)
        across = pairs[
            [
                synthesis.METRICS[r.first].family != synthesis.METRICS[r.second].family
                for r in pairs.itertuples()
            ]
        ]
        agree.append(
            f"{((across['p_corrected'] < 0.05) & (across['correlation'] > 0)).sum()} of {len(across)} ({model})"
        )
        mean = lambda metric, name: float(found[metric][name].double().nanmean())
        for metric in ("black_deletion", "white_deletion", "roar"):
            measured = [m for m in attribution.METHODS if m in found.get(metric, ())]
            if measured and "random" in found[metric]:
                chance.append(
                    f"{synthesis.METRICS[metric].label} {sum(mean(metric, m) < mean(metric, 'random') for m in measured)} of {len(measured)} ({model})"
                )
    return (
        [
            f"- **Do metrics agree?** Pairs of metrics of different kinds that rank the published methods alike beyond chance, after correction: {' and '.join(agree)}.",
            f"- **Random pixels are a hard rival.** Published methods whose mean is better than that of random pixels: {'; '.join(chance)}.",
        ]
        if agree
        else []
    )


def _judged() -> pd.DataFrame:
    return pd.read_csv(listed.CSV)


def claim_counts() -> str:
    """One sentence: how many claims in words were measured, and how they came out."""
    table = _judged().drop_duplicates("id")
    found = table["verdict"].value_counts()
    sentences = table.groupby(["paper", "quotation"]).ngroups
    waiting = len(table) - found.sum()
    return (
        f"Of {len(table)} claims that the two papers make in words ({sentences} sentences; some claim several things), {found.sum()} are measured{f', {waiting} wait for a network' if waiting else ''}: "
        f"{found.get('holds', 0)} hold, {found.get('does not hold', 0)} do not, {found.get('depends', 0)} depend on the network or are too close to call."
    )


def claims() -> str:
    """A table for each paper: every claim with its threshold, what was measured, and the verdict."""
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
            shown.append(
                {
                    "Section": first.section,
                    "Claim": f"“{first.quotation}” <details><summary>statistic</summary>{how}</details>",
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
    for name, label in ORDER.items():
        if cells := results.cells(name):
            origin = [c["provenance"] for c in cells]
            rows.append(
                {
                    "Computation": label,
                    "Cells": len(cells),
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
    """Draw book/_static/overview.png: pictures of CIFAR-10, their five maps, and what is left without their most active pixels."""
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
    figures.signed(figure, f"{model}, cifar10 test, drawn by seed 0", "paper").savefig(
        Path(__file__).parent / "_static" / "overview.png", dpi=150
    )


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
        page.write_text(
            re.sub(r"<!-- (\w+) -->", lambda found: PARTS[found[1]](), text), encoding="utf8"
        )


if __name__ == "__main__":
    overview()
