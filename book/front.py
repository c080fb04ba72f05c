"""The front of the book, made of stored results: answers, charts, the decision table, the status.

Every sentence's numbers come from data/results; where a result is missing, its sentence is left
out, and a page of which nothing is left says so.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import yaml

from lib import attribution
from lib.attribution import label
from study import figures, paths
from study.account import claims, scoreboard
from study.account.summaries import synthesis as told
from study.account.summaries.phrases import span
from study.experiments import cleanliness, ranking, synthesis
from study.store import cells, stamps
from study.subjects.names import title as network_title
from tests import mutate

from . import boxes

ROOT = Path(__file__).resolve().parent.parent
NOISE, SQUEEZE = ("cifar10", "rectgrad_cnn"), ("imagenette", "squeezenet1_1")
NETWORKS = {(data, model): network_title(model, data, data) for data, model in (NOISE, SQUEEZE)}
NOTHING = "*Nothing is stored that this page could be made of; `make results` computes it.*"


@lru_cache
def places(dataset: str, model: str) -> pd.DataFrame:
    """`ranking.summary` of a published study, by (metric, name); empty where nothing is stored."""
    measured = synthesis.read(dataset, model)
    if "random" not in measured.get("black_deletion", {}):
        return pd.DataFrame()
    return ranking.summary(measured).set_index(["metric", "name"])


def _outside() -> pd.DataFrame:
    """Each method's share on the background at equal sparsity, paper Noise's CNN, by method."""
    rows = cells.rows("amounts")
    if rows.empty:
        return pd.DataFrame(columns=["mean", "n"])
    wanted = (rows["measure"] == "outside") & (rows["weights"] == "cifar10") & rows["share"]
    return rows[wanted & (rows["treatment"] == "matched")].set_index("method")


def _listening() -> pd.Series:
    """Rank correlation of each method's map with the one after the output layer is redrawn."""
    rows = cells.rows("sanity")
    if rows.empty:
        return pd.Series(dtype=float)
    top = rows[(rows["mode"] == "cascading") & (rows["depth"] == 1)]
    return top[top["weights"] == "cifar10"].groupby("method")["rank"].mean()


@lru_cache
def ahead_of_random(dataset: str, model: str) -> dict[str, str]:
    """Metric -> how many published methods are surely ahead of random pixels, "2 of 14"."""
    gains = ranking.over_control(synthesis.read(dataset, model), "random")
    return {r.metric: f"{r.ahead} of {r.of}" for r in ranking.ahead(gains).itertuples()}


def answers() -> str:
    """Three questions, each with its answer in a sentence, its number, and a caveat."""
    answered = [tell() for tell in (_sign, _rectgrad, _which)]
    cards = [
        f":::{{grid-item-card}} {question}\n:link: {link}\n:link-type: doc\n\n"
        f"**{answer}** {number}\n\n```{{card-footer}}\n{caveat}\n```\n:::"
        for question, link, answer, number, caveat in filter(None, answered)
    ]
    if not cards:
        return NOTHING
    return "::::{grid} 1 1 3 3\n:gutter: 2\n:class-container: answers\n\n" + "\n\n".join(
        [*cards, "::::"]
    )


def _sign():
    table = places(*NOISE)
    if table.empty:
        return None
    value = table["value"]
    won = ahead_of_random(*NOISE)["black_deletion"]
    n = int(table.loc[("black_deletion", "positive"), "n"])
    ends = table.loc["black_deletion"]
    helps = ends.loc["positive", "high"] < ends.loc["saliency", "low"]
    return (
        "Does the sign help?",
        "05_deletion_benchmark",
        "Yes, under the colour that it asks for." if helps else "Not surely.",
        f"Pixels turned black in the order of the positive map leave an area of "
        f"{value['black_deletion', 'positive']:.3f} under the curve of unchanged predictions; in "
        f"the order of the whole gradient {value['black_deletion', 'saliency']:.3f}, at random "
        f"{value['black_deletion', 'random']:.3f} ({NETWORKS[NOISE]}, n = {n:,}).",
        f"Black favours positive maps by construction: under white the same map leaves "
        f"{value['white_deletion', 'positive']:.3f}. Only {won} methods beat random pixels under "
        "black.",
    )


def _rectgrad():
    outside, rank, table = _outside(), _listening(), places(*NOISE)
    if "rectgrad" not in outside.index or "rectgrad" not in rank or table.empty:
        return None
    share, even = outside["mean"], table.loc[("outside", "random"), "value"]
    rest = share.drop(list(cleanliness.RECTGRAD))
    return (
        "Does RectGrad work?",
        "04_rectgrad",
        f"It is {'clean' if share['rectgrad'] < rest.min() else 'no cleaner than others'}, and it "
        f"{'hardly listens' if rank['rectgrad'] > 0.5 else 'listens'}.",
        f"At equal sparsity {share['rectgrad']:.0%} of its map lies on the background, of the next "
        f"best ({label(rest.idxmin())}) {rest.min():.0%}, of random numbers {even:.0%} "
        f"({NETWORKS[NOISE]}, {outside.loc['rectgrad', 'n']} pictures).",
        "With the output layer redrawn its absolute map keeps a rank correlation of "
        f"{rank['rectgrad']:.2f} with itself; the saliency map keeps {rank['saliency']:.2f}. "
        "A clean map need not be a true one.",
    )


def _which():
    first, second = places(*NOISE), places(*SQUEEZE)
    if first.empty or second.empty:
        return None
    names = [m for m in attribution.METHODS if ("sanity", m) in first.index]
    response = first.loc["sanity"].loc[names, "value"]
    best = response.idxmax()
    other = second.loc[("sanity", best), "value"]
    return (
        "Which should I use?",
        "which_map",
        f"It depends on the question; to audit a network, {label(best)}.",
        f"Of {len(names)} methods it responds most to new output weights, signs included: "
        f"{response[best]:.2f} on a scale where 0 is no response and 1 a map of which nothing "
        f"stays ({NETWORKS[NOISE]}; {other:.2f} on {NETWORKS[SQUEEZE]}).",
        f"{_winners(NOISE)} {told.agree_in_short(between_kinds(*NOISE))}",
    )


def _winners(which: tuple[str, str]) -> str:
    """How many metrics have how many winners, on a network."""
    return told.who_wins(NETWORKS[which], places(*which).reset_index())


@lru_cache
def between_kinds(dataset: str, model: str) -> dict:
    """`ranking.between_kinds` of a published study, without the two scores."""
    return ranking.between_kinds(told.ranked_numbers(synthesis.read(dataset, model)))


def _do_not(count: int) -> str:
    return f"{count} does not" if count == 1 else f"{count} do not"


def held() -> str:
    """How many printed numbers and claims in words held, by paper."""
    numbers = pd.read_csv(scoreboard.CSV)
    words = pd.read_csv(claims.CSV).drop_duplicates("id")
    rows = []
    for paper in ("Sign", "Noise"):
        mine, said = numbers[numbers["paper"] == paper], words[words["paper"] == paper]
        verdicts, judged = mine["verdict"].value_counts(), said["verdict"].value_counts()
        others = mine["other_verdict"].value_counts()
        ours = f"{verdicts.get('agree', 0)} agree, {_do_not(verdicts.get('disagree', 0))}"
        if others.sum():
            ours += f"; read as the released code does, {others.get('agree', 0)} of {others.sum()}"
        waiting = len(mine) - verdicts.get("agree", 0) - verdicts.get("disagree", 0)
        rows.append(
            f"| **{paper}** | {len(mine)} | {ours} | {waiting} | {judged.get('holds', 0)} of "
            f"{judged.sum()} hold, {_do_not(judged.get('does not hold', 0))} | "
            f"{len(said) - judged.sum()} |"
        )
    head = (
        "| Paper | Printed numbers | judged | without a verdict | Claims in words | not measured |"
    )
    table = "\n".join([head, "|:---|---:|:---|---:|:---|---:|", *rows])
    return f"{table}\n\n{_waiting(numbers)}"


def _waiting(numbers: pd.DataFrame) -> str:
    """Why numbers have no verdict."""
    absent = numbers["verdict"] == "needs a download"
    retrained = numbers["other_reading"].notna() & numbers["verdict"].isna()
    measured = numbers["reproduced"].notna()
    told_of = [
        f"{n} numbers of *{paper}* need weights that must be downloaded."
        for paper, n in numbers[absent].groupby("paper").size().items()
    ]
    if waiting := (retrained & ~measured).sum():
        told_of.append(
            f"{waiting} of *Noise*'s on retraining, one table that is judged whole, wait for "
            "networks retrained on thresholded baselines, as its text reads; how they come out as "
            "its released code reads stands beside them on [the scoreboard](scoreboard.md)."
        )
    if levels := (retrained & measured).sum():
        told_of.append(
            f"{levels} of *Noise*'s are random baselines, which others are measured against."
        )
    return " ".join(told_of)


# ---- charts


def _sign_chart(axis) -> None:
    """Areas of the signed maps under their own and the other colour, beside random pixels."""
    table = places(*NOISE)
    names = ("saliency", "positive", "negative", "active", "inactive")
    for y, name in enumerate(names):
        for fill, marker in (("black", "o"), ("white", "s")):
            r = table.loc[(f"{fill}_deletion", name)]
            axis.errorbar(
                r["value"],
                -y + (0.14 if fill == "black" else -0.14),
                xerr=[[r["value"] - r["low"]], [r["high"] - r["value"]]],
                fmt=marker,
                color=figures.colour(name),
                markerfacecolor=figures.colour(name) if fill == "black" else "none",
                markersize=6,
            )
    random = table.loc[[("black_deletion", "random"), ("white_deletion", "random")], "value"]
    axis.axvspan(random.min(), random.max(), color="#999999", alpha=0.35, linewidth=0)
    axis.annotate(
        "random pixels",
        (random.max(), 0.55),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )
    axis.set(yticks=[-y for y in range(len(names))], ylim=(-len(names) + 0.5, 0.8))
    axis.set_yticklabels([label(name) for name in names])
    axis.set_xlabel(
        "area under unchanged predictions\n(filled: turned black, open: white)", loc="right"
    )


def _outside_chart(axis) -> None:
    """Share of each method's map on the background, with its interval."""
    rows = _outside().sort_values("mean", ascending=False)
    for y, r in enumerate(rows.itertuples()):
        reach = [[r.mean - r.mean_low], [r.mean_high - r.mean]]
        axis.errorbar(r.mean, y, xerr=reach, fmt="o", color=figures.colour(r.Index), markersize=6)
    axis.set(yticks=range(len(rows)))
    axis.set_yticklabels([label(m) for m in rows.index])
    axis.set_xlabel("share on the background, at\nequal sparsity (less is better)", loc="right")


def _response_chart(axis) -> None:
    tables = {which: places(*which) for which in (NOISE, SQUEEZE)}
    names = [m for m in attribution.METHODS if ("sanity", m) in tables[NOISE].index]
    names.sort(key=lambda name: tables[NOISE].loc[("sanity", name), "value"])
    for which, filled in ((NOISE, True), (SQUEEZE, False)):
        for y, name in enumerate(names):
            shade = figures.colour(name)
            face = shade if filled else "none"
            value = tables[which].loc[("sanity", name), "value"]
            axis.plot(value, y, "o", color=shade, markerfacecolor=face, markersize=5.5)
    axis.axvline(0, color="#999999", linewidth=1)
    axis.set(yticks=range(len(names)))
    axis.set_yticklabels([label(m) for m in names])
    axis.set_xlabel(
        "response to a new output layer\n(more is better; open: SqueezeNet)", loc="right"
    )


def _places_chart(axis) -> None:
    """Spread of each method's places over the metrics: no method is first everywhere."""
    table = places(*NOISE).reset_index()
    table = table[~table["metric"].str.endswith("_score")]
    table = table[table["name"].isin(attribution.METHODS)]
    order = table.groupby("name")["rank"].mean().sort_values(ascending=False).index
    for y, name in enumerate(order):
        ranks = table.loc[table["name"] == name, "rank"]
        axis.plot([ranks.min(), ranks.max()], [y, y], color=figures.colour(name), linewidth=1.5)
        axis.plot(ranks, [y] * len(ranks), "o", color=figures.colour(name), markersize=4)
    axis.set(yticks=range(len(order)), xticks=[1, 4, 7, 10, 14])
    axis.set_yticklabels([label(m) for m in order])
    axis.set_xlabel(
        f"places among {len(order)} methods under\n{table['metric'].nunique()} metrics", loc="right"
    )


CHARTS = {
    "sign": (
        "Does the sign help?",
        "05_deletion_benchmark",
        _sign_chart,
        "Areas of five maps under black and white deletion with a grey band for random pixels.",
    ),
    "outside": (
        "Is RectGrad clean, or only sparse?",
        "06_noise_benchmark",
        _outside_chart,
        "Share of each method's map on the background at equal sparsity, sorted.",
    ),
    "response": (
        "Does a map listen to the network?",
        "04_rectgrad",
        _response_chart,
        "How much each method's map changes when the output layer is redrawn, on two networks.",
    ),
    "places": (
        "Does one method lead everywhere?",
        "08_synthesis",
        _places_chart,
        "For each method a line from its best to its worst place over all metrics.",
    ),
}


def charts() -> str:
    """The four charts of the landing page as a grid, each leading to its chapter."""
    if places(*NOISE).empty:
        return ""
    parts = [
        f":::{{grid-item}}\n**[{title}]({chapter}.ipynb)**\n\n"
        f"```{{image}} _static/front/{name}.svg\n:alt: {alt}\n:class: chart\n```\n:::"
        for name, (title, chapter, _, alt) in CHARTS.items()
    ]
    return "::::{grid} 1 1 2 2\n:gutter: 3\n\n" + "\n\n".join([*parts, "::::"])


def draw(folder: Path) -> None:
    """Write the charts to `folder` as SVG, where their results are stored."""
    if places(*NOISE).empty:
        return
    folder.mkdir(parents=True, exist_ok=True)
    figures.style()
    for name, (_, _, drawn_on, _) in CHARTS.items():
        figure, axis = plt.subplots(figsize=(3.2, 3.0))
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_fontsize(8)
        drawn_on(axis)
        sns.despine(ax=axis)
        (folder / f"{name}.svg").write_text(figures.chart(figure), encoding="utf8")


# ---- which map


def decisions() -> str:
    """Goal by method: recommendation, number, caveat, price; each row leads to its section."""
    rows = [row for tell in _GOALS if (row := tell()) is not None]
    if not rows:
        return NOTHING
    head = "| You want | Use | Because | But | Costs |\n|:---|:---|:---|:---|---:|"
    table = "\n".join([head, *(f"| {' | '.join(row)} |" for row in rows)])
    leads = " ".join(_winners(which) for which in NETWORKS if not places(*which).empty)
    return f"{leads}\n\n{table}"


def price(*names: str) -> str:
    """What maps cost, in saliency maps, on SqueezeNet."""
    rows = cells.rows("seconds")
    if rows.empty:
        return ""
    gradients = rows[rows["model"] == SQUEEZE[1]].set_index("name")["gradients"]
    known = [gradients[name] for name in names if name in gradients]
    return span(known, ".1f") if known else ""


def _nudge():
    rows = cells.rows("soft")
    if rows.empty:
        return None
    own = rows[(rows["fill"] == "white") & (rows["map"] == "positive")]
    small, whole = own[own["strength"] == 0.05]["rose"], own[own["strength"] == 1]["rose"]
    return (
        "pixels to make a little brighter or darker",
        "Positive, Negative",
        f"a twentieth of the way to white on the most positive tenth raises the score of "
        f"{span(small, '.1%')} of pictures, on {len(small)} networks",
        f"all the way, of {span(whole, '.0%')}: the gradient knows directions, "
        "not distances ([chapter 5](05_deletion_benchmark.ipynb))",
        price("positive", "negative"),
    )


def _erase():
    table = places(*NOISE)
    if table.empty:
        return None
    value = table["value"]
    return (
        "pixels whose blackening or whitening changes the prediction soonest",
        "Positive for black, Negative for white",
        f"areas {value['black_deletion', 'positive']:.3f} and "
        f"{value['white_deletion', 'negative']:.3f}; random pixels "
        f"{value['black_deletion', 'random']:.3f} and {value['white_deletion', 'random']:.3f}",
        f"with the colours exchanged {value['white_deletion', 'positive']:.3f} and "
        f"{value['black_deletion', 'negative']:.3f}: the colour decides as much as the map "
        "([chapter 5](05_deletion_benchmark.ipynb))",
        price("positive", "negative"),
    )


def _clean():
    outside, rank, table = _outside(), _listening(), places(*NOISE)
    if "rectgrad_prr" not in outside.index or "rectgrad" not in rank or table.empty:
        return None
    share, whole = outside["mean"], table.loc["outside", "value"]
    rest = share.drop(list(cleanliness.RECTGRAD)).min()
    return (
        "a clean picture for a slide",
        "RectGrad, RectGrad PRR",
        f"{share['rectgrad']:.0%} and {share['rectgrad_prr']:.0%} of the map on the background at "
        f"equal sparsity; the next best method has {rest:.0%} "
        "([chapter 6](06_noise_benchmark.ipynb))",
        f"of whole maps {whole['edges']:.0%} of an edge detector's, which sees no network, lie "
        f"there, of the saliency map's {whole['saliency']:.0%}; rank correlation "
        f"{rank['rectgrad']:.2f} after the output layer is redrawn, absolute maps "
        "([chapter 4](04_rectgrad.ipynb))",
        price("rectgrad", "rectgrad_prr"),
    )


def _audit():
    first, second, absolute = places(*NOISE), places(*SQUEEZE), _listening()
    if first.empty or second.empty or absolute.empty:
        return None
    names = [m for m in attribution.METHODS if ("sanity", m) in first.index]
    best = first.loc["sanity"].loc[names, "value"].sort_values(ascending=False).index[:3]
    told = ", ".join(
        f"{label(m)} {first.loc[('sanity', m), 'value']:.2f} "
        f"({second.loc[('sanity', m), 'value']:.2f})"
        for m in best
    )
    return (
        "to see whether the network has changed",
        ", ".join(label(m) for m in best),
        f"response to new output weights, Noise CNN (SqueezeNet): {told}",
        f"what responds need not be right: their places under black deletion are "
        f"{span(first.loc['black_deletion'].loc[best, 'rank'], '.0f')} of {len(names)} "
        "([chapter 8](08_synthesis.ipynb)); without their signs the maps keep rank correlations of "
        f"{span(absolute[best], '.2f')} ([chapter 4](04_rectgrad.ipynb))",
        price(*best),
    )


def _report():
    if any(places(*which).empty for which in NETWORKS):
        return None
    counts = [
        ahead_of_random(*which)[f"{fill}_deletion"]
        for which in NETWORKS
        for fill in ("black", "white")
    ]
    return (
        "a number for a benchmark",
        "both colours, with random pixels and an edge detector beside them",
        f"methods ahead of random pixels under black and white: {counts[0]} and {counts[1]} "
        f"({NETWORKS[NOISE]}), {counts[2]} and {counts[3]} ({NETWORKS[SQUEEZE]})",
        f"{told.agree_in_short(between_kinds(*NOISE))} ([chapter 8](08_synthesis.ipynb))",
        "",
    )


def _many():
    outside = _outside()
    if "rectgrad" not in outside.index:
        return None
    share = outside["mean"]
    return (
        "maps of very many pictures",
        "Saliency map, Positive, Negative",
        "one forward and one backward pass, whatever the network",
        f"at equal sparsity {share['saliency']:.0%} of the saliency map lies on the background, "
        f"of RectGrad's {share['rectgrad']:.0%} ([chapter 6](06_noise_benchmark.ipynb))",
        price("saliency", "positive", "negative"),
    )


_GOALS = (_nudge, _erase, _clean, _audit, _report, _many)


# ---- status


def status() -> str:
    """When each kind of result was last recomputed and compared, and what came of it."""
    rows = [
        f"| {kind} | {s['date']} | {s['cell']} | {s['found']} | `{s['commit']}` |"
        for kind, s in sorted(stamps.read().items())
    ]
    head = "| Kind of result | Recomputed | A cell drawn at random | Compared | Commit |"
    return "\n".join([head, "|:---|:---|:---|:---|:---|", *rows]) if rows else NOTHING


def mutations() -> str:
    """Of the mutations that were tried, how many the tests and the stored chapters notice."""
    shown = {mutate.PYTEST: "Tests", mutate.CHAPTERS: "Stored chapters"}
    rows, missed = [], []
    for by, title in shown.items():
        count = mutate.count(by)
        caught = count.due - len(count.missed)
        share = f"{caught / count.due:.0%}" if count.due else ""
        days = span(count.days, "").replace("-", "\u2011") if count.days else ""  # no break
        rows.append(
            f"| {title} | {count.counted} of {len(mutate.listed(by))} | {count.due} | {caught} "
            f"| {share} | {days} | {', '.join(f'`{c}`' for c in count.commits)} |"
        )
        if count.missed:
            missed.append(f"*{title} miss: {'; '.join(count.missed)}.*")
    head = "| Who looks | Counted so far | To be caught | Caught | Share | Counted on | Commit |"
    return "\n\n".join(["\n".join([head, "|:---|---:|---:|---:|---:|:---|:---|", *rows]), *missed])


def seconds() -> str:
    """How long each chapter took when its stored outputs were made, at either profile."""
    taken = boxes.seconds()
    names = list(dict.fromkeys(name for profile in taken.values() for name in profile))

    def shown(profile: str, name: str) -> str:
        value = taken.get(profile, {}).get(name)
        return "" if value is None else f"{value['seconds']:.0f}"

    rows = [f"| {name} | {shown('quick', name)} | {shown('paper', name)} |" for name in names]
    head = "| Chapter | Quick, seconds | Paper, seconds, results stored |"
    return "\n".join([head, "|:---|---:|---:|", *rows]) if rows else NOTHING


# ---- how to cite


def bibtex() -> str:
    """This project and both papers as BibTeX, from CITATION.cff."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    own = {
        "title": f"{{{cff['title'].replace('&', chr(92) + '&')}}}",
        "author": f"{{{{{cff['authors'][0]['name']}}}}}",
        "year": f"{{{cff['date-released'].year}}}",
        "version": f"{{{cff['version']}}}",
        "note": f"{{Commit {paths.commit().rstrip('+')}}}",
    }
    entries = [_entry("software", "sign-and-noise", own)]
    for key, reference in zip(("llorente2023", "kim2019"), cff["references"], strict=True):
        entries.append(_entry(*_reference(key, reference)))
    return "```bibtex\n" + "\n\n".join(entries) + "\n```"


def _reference(key: str, reference: dict) -> tuple[str, str, dict]:
    authors = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in reference["authors"])
    fields = {
        "title": f"{{{reference['title']}}}",
        "author": f"{{{authors}}}",
        "year": f"{{{reference['year']}}}",
    }
    if "conference" in reference:
        pages = f"{{{reference['start']}--{reference['end']}}}"
        fields |= {
            "booktitle": f"{{{reference['conference']['name']}}}",
            "pages": pages,
            "doi": f"{{{reference['doi']}}}",
        }
        return "inproceedings", key, fields
    return "misc", key, fields | {"note": f"{{{reference['identifiers'][0]['value']}}}"}


def _entry(kind: str, key: str, fields: dict) -> str:
    return "\n".join(
        [f"@{kind}{{{key},", *(f"  {name} = {value}," for name, value in fields.items()), "}"]
    )


PARTS = {
    "bibtex": bibtex,
    "answers": answers,
    "charts": charts,
    "held": held,
    "decisions": decisions,
    "status": status,
    "mutations": mutations,
    "seconds": seconds,
}
