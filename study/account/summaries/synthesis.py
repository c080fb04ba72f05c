"""What chapter 8 says: who ranks where, whether the metrics agree, advice; and its tables as they
are shown.

Networks are named by what a reader is to see: summaries and the like are dicts, label of a network
-> table of study.experiments.ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from lib import attribution
from lib.attribution import crosses
from lib.attribution.crosses import label
from lib.metrics.statistics import smallest_significant
from study.account.summaries.phrases import counted, ends, listed, methods, wide
from study.experiments.ranking import Numbers, ahead, over_control, winners
from study.experiments.synthesis import FAMILIES, METRICS

Tables = dict[str, pd.DataFrame]
# under which crosses are tried: what needs no retraining, without the two scores
TRIED = tuple(
    name
    for name, metric in METRICS.items()
    if metric.family != "retraining" and not name.endswith("_score")
)
VERDICTS = {
    "sees it": "sees the sign",
    "hardly": "hardly sees it",
    "blind": "is blind to it",
    "unknown": "cannot be told",
}
SIGHT = {
    "sees it": "these tell the positive from the negative map",
    "hardly": "hardly",
    "blind": "not",
    "unknown": "cannot be told",
}


def ranked(summary: pd.DataFrame, names: Sequence[str] = ()) -> pd.DataFrame:
    """Without the two scores, whose places are nearly those of deletion, and, if `names` are given,
    of these and the controls alone."""
    kept = summary[~summary["metric"].str.endswith("_score")]
    return kept[kept["name"].isin([*names, *crosses.CONTROLS])] if names else kept


def ranked_numbers(numbers: Numbers) -> Numbers:
    """Without the two scores."""
    return {m: of for m, of in numbers.items() if not m.endswith("_score")}


def counts(numbers: dict[str, Numbers], control: str, gains: pd.DataFrame | None = None) -> Tables:
    """Network -> how many published maps are ahead of a control under each metric
    (`ranking.ahead`).

    `gains`: `retraining_tables.gains_over_random` of the first network, so that ROAR and KAR are
    counted as chapter 7 does, by the interval over seeds.
    """
    tables = {}
    for network, of in numbers.items():
        against_control = over_control(of, control)
        if gains is not None and not tables:
            against_control = pd.concat(
                [against_control[~against_control["metric"].isin(("roar", "kar"))], gains]
            )
        table = ahead(against_control)
        order = table["metric"].map(list(METRICS).index).argsort(kind="stable")
        tables[network] = table.iloc[order].reset_index(drop=True)
    return tables


def by_network(summaries: Tables, shown: Callable, ordered: Callable) -> Tables:
    """The tables of `values_shown` or `places_shown` of every network, each under a name that
    says which; `ordered` gives the order of a summary's rows."""
    return {
        f"{name}: {network}": table
        for network, summary in summaries.items()
        for name, table in shown(summary, ordered(summary)).items()
    }


def _of(table: pd.DataFrame, metric: str, name: str) -> pd.Series | None:
    """The row of one name under one metric, or None."""
    part = table[(table["metric"] == metric) & (table["name"] == name)]
    return None if part.empty else part.iloc[0]


def _place(table: pd.DataFrame, metric: str, name: str) -> str:
    """ "3 of 14", or nothing where it was not measured."""
    row = _of(table, metric, name)
    return "" if row is None else f"{row['rank']:g} of {row['of']}"


# ---- in short


def in_short(network: str, summary: pd.DataFrame, between: dict, counted_random: pd.DataFrame):
    """Three sentences on one network: how many winners, how far metrics agree, who is ahead of
    random pixels."""
    return [who_wins(network, summary), agree_in_short(between), ahead_in_short(counted_random)]


def who_wins(network: str, summary: pd.DataFrame) -> str:
    """How many metrics have how many winners."""
    best = winners(ranked(summary))
    others = best["name"].nunique()
    return (
        f"{network}: {counted(len(best), 'metric')} "
        f"{'has' if len(best) == 1 else 'have'} {counted(others, 'winner', 'different winners')} "
        f"among {best['of'].max()} published methods."
    )


def agree_in_short(between: dict) -> str:
    """The median correlation of metrics of different kinds, with its interval."""
    if not between["pairs"]:
        return "Too few metrics of different kinds were measured to ask whether they agree."
    return (
        f"Two metrics of different kinds have a median rank correlation of "
        f"{between['median']:+.2f} ({ends(between['low'], between['high'], '+.2f')}; "
        f"{counted(between['pairs'], 'pair')}, {between['methods']} methods)."
    )


def ahead_in_short(counted_random: pd.DataFrame) -> str:
    """How many methods are ahead of random pixels where pixels are deleted or removed."""
    told = [
        f"{r.ahead} of {r.of} under {METRICS[r.metric].label}"
        for r in counted_random.itertuples()
        if r.metric in ("black_deletion", "white_deletion", "roar") and r.ahead + r.behind
    ]
    if not told:
        return "Who is ahead of random pixels was not measured, or one seed cannot tell."
    return f"Ahead of random pixels, beyond the 95 % interval: {listed(told)}."


# ---- advice


def advice(
    summaries: Tables,
    random: Tables,
    edges: Tables,
    kept: dict[str, float],
    crossed: tuple[int, int] | None = None,
) -> list[str]:
    """What a user may take away, a sentence each; what was not measured is left out.

    `random`, `edges`: `counts` against each; `kept`: share of RectGrad's map that is not zero;
    `crossed`: trials won by a cross, and all.
    """
    told = [
        *_audit(summaries),
        *_against(random, "black_deletion", "Set random pixels beside every method"),
        *_against(edges, "outside", "Set an edge detector, which sees no network, beside it"),
        *_colours(summaries),
        *_mostly_zero(summaries, kept),
        *_clean(summaries),
    ]
    if crossed and crossed[1]:
        told.append(
            f"Do not count on a cross of both ideas: {crossed[0]} of {crossed[1]} trials are won "
            "against both parents."
        )
    return told


def _audit(summaries: Tables) -> list[str]:
    """The maps that respond most, and RectGrad's response, on the first network that has any."""
    for network, table in summaries.items():
        part = table[(table["metric"] == "sanity") & table["name"].isin(attribution.METHODS)]
        part = part.sort_values("value", ascending=False)
        if len(part) < 3:
            continue
        told = [f"{label(r.name)} ({r.value:.2f})" for r in part.head(2).itertuples(index=False)]
        own = _of(part, "sanity", "rectgrad")
        tail = "" if own is None else f", RectGrad at place {own['rank']:g} ({own['value']:.2f})"
        return [
            f"To audit a network, prefer maps that respond to new output weights: {listed(told)}"
            f"{tail} on {network}."
        ]
    return []


def _against(counted_control: Tables, metric: str, lead: str) -> list[str]:
    """How many methods are ahead of a control under a metric, network by network."""
    told = [
        f"{r.ahead} of {r.of} ({network})"
        for network, table in counted_control.items()
        for r in table.itertuples()
        if r.metric == metric
    ]
    if not told:
        return []
    return [f"{lead}: under “{METRICS[metric].label}” {listed(told)} methods are ahead of it."]


def _colours(summaries: Tables) -> list[str]:
    """Places of the positive and the negative map under both colours, on the first network."""
    network, table = next(iter(summaries.items()))
    places = {
        (name, metric): _place(table, metric, name)
        for name in ("positive", "negative")
        for metric in ("black_deletion", "white_deletion")
    }
    if not all(places.values()):
        return []
    positive, negative = (
        f"{places[name, 'black_deletion'].split(' ')[0]} and {places[name, 'white_deletion']}"
        for name in ("positive", "negative")
    )
    return [
        "Report both fills, since each favours one sign: places "
        f"{positive} for the positive map, {negative} for the negative ({network})."
    ]


def _mostly_zero(summaries: Tables, kept: dict[str, float]) -> list[str]:
    """RectGrad's place under black deletion where most of its map is zero: on the network where it
    is worst."""
    rows = {
        network: row
        for network, table in summaries.items()
        if kept.get(network, 1) < 0.5
        and (row := _of(table, "black_deletion", "rectgrad")) is not None
    }
    if not rows:
        return []
    network = max(rows, key=lambda name: rows[name]["rank"] / rows[name]["of"])
    row = rows[network]
    return [
        f"Ask whether a map that is mostly zero can delete much: RectGrad's, {kept[network]:.0%} "
        f"not zero on {network}, has place {row['rank']:g} of {row['of']} under black deletion "
        "([chapter 9](09_with_and_without_retraining.ipynb) shuffles it)."
    ]


def _clean(summaries: Tables) -> list[str]:
    """RectGrad's places for a clean map and for one that responds, on the first network that has
    both."""
    for network, table in summaries.items():
        clean, responds = (_place(table, m, "rectgrad") for m in ("outside", "sanity"))
        if clean and responds:
            return [
                f"Clean is not faithful: RectGrad has place {clean} off the object and "
                f"{responds} under sanity ({network}), so test the response too."
            ]
    return []


# ---- sections


def who_ranks(network: str, summary: pd.DataFrame) -> list[str]:
    """The winners, and the method whose worst place is the least bad of all worst ones."""
    table = ranked(summary)
    best = winners(table)["name"].value_counts()
    published = table[table["name"].isin(attribution.METHODS)]
    relative = (published["rank"] - 1) / (published["of"] - 1).clip(lower=1)
    published = published.assign(relative=relative)
    worst = published.loc[published.groupby("name")["relative"].idxmax()]
    least = worst.sort_values("relative").iloc[0]
    told = listed([f"{label(name)} {count}" for name, count in best.items()])
    if least["rank"] == 1:
        nearest = f"{label(least['name'])} is first under every metric."
    elif least["relative"] == 1:
        nearest = "No method is good everywhere: each is last under some metric."
    else:
        nearest = (
            f"No method is good everywhere; nearest is {label(least['name'])}, whose worst place, "
            f"for how many there are, is {least['rank']:g} of {least['of']} "
            f"({METRICS[least['metric']].label})."
        )
    return [f"{network}: first places go to {told}.", nearest]


def agree(network: str, table: pd.DataFrame, between: dict) -> list[str]:
    """How many pairs of metrics agree beyond chance, of one kind and of different ones, and what
    could have been shown at all; `table` as of `ranking.kinds`."""
    sure = table[table["p_corrected"] < 0.05]
    across, within = table[~table["within"]], table[table["within"]]

    def told(part):
        agreeing = int(((part["correlation"] > 0) & (part["p_corrected"] < 0.05)).sum())
        opposed = int(((part["correlation"] < 0) & (part["p_corrected"] < 0.05)).sum())
        return f"{agreeing} of {len(part)} agree and {opposed} are opposed"

    bound = float("nan")
    if len(table):
        bound = smallest_significant(int(table["methods"].max()), len(table))
    power = (
        f"no correlation of so few methods could be significant among {len(table)} pairs"
        if pd.isna(bound)
        else f"only one beyond ±{bound:.2f} could be significant among {len(table)} pairs"
    )
    sentences = [
        f"{network}: of pairs of different kinds {told(across)} beyond chance; of one kind "
        f"{told(within)}.",
        f"With {int(table['methods'].max()) if len(table) else 0} methods {power}, so a missing "
        "frame is no proof of disagreement.",
    ]
    if len(sure):
        best = sure.loc[sure["correlation"].abs().idxmax()]
        pair = f"{METRICS[best['first']].label} and {METRICS[best['second']].label}"
        sentences.append(f"The surest pair: {pair} ({best['correlation']:+.2f}).")
    return [*sentences, agree_in_short(between)]


def sight(network: str, blindness: pd.DataFrame) -> list[str]:
    """Which metrics tell the positive from the negative map, which hardly, and which do not."""
    shown = blindness[~blindness["metric"].str.endswith("_score")]
    told = []
    for verdict, lead in SIGHT.items():
        names = [METRICS[m].label for m in shown.loc[shown["verdict"] == verdict, "metric"]]
        if names or (verdict == "sees it" and len(shown)):
            told.append(f"{lead}: {listed(names or ['none'])}")
    return [f"{network}: {'; '.join(told)}."] if told else []


def crosses_in_short(verdicts: pd.DataFrame, won: pd.DataFrame, behind: int) -> list[str]:
    """How many trials crosses win, and against the controls too."""
    if verdicts.empty:
        return ["No cross was asked for."]
    clear = f"; in {int(won['clear'].sum())} of these of both controls too" if len(won) else ""
    return [
        f"In {len(won)} of {counted(len(verdicts), 'trial')} a cross is ahead of both parents, "
        f"twice and after correction{clear}.",
        f"In {behind} it is behind both parents on the second set.",
    ]


def costs_in_short(costs: Tables) -> list[str]:
    """What the published methods cost that cost most, and what RectGrad and an active map do, in
    saliency maps, network by network."""
    sentences = []
    for network, table in costs.items():
        gradients = table.set_index("name")["gradients"]
        published = gradients[gradients.index.isin(attribution.METHODS)].sort_values(
            ascending=False
        )
        named = list(published.index[:2])
        named += [
            name for name in ("active", "rectgrad") if name in gradients and name not in named
        ]
        told = [f"{label(name)} {gradients[name]:.1f}" for name in named]
        sentences.append(f"{network}: {listed(told)} saliency maps.")
    return sentences or ["Times differ from run to run, so they are shown where results are kept."]


# ---- tables as they are shown


def controls_shown(random: Tables, edges: Tables) -> pd.DataFrame:
    """How many methods are ahead of random pixels and of the edge detector: a row a metric, two
    columns a network."""
    rows = []
    for network in random:
        for name, table in (("random", random[network]), ("edge detector", edges[network])):
            column = f"{name} ({network})" if len(random) > 1 else name
            for r in table.itertuples():
                shown = f"{r.ahead} of {r.of}" if r.ahead + r.behind else "not told"
                metric = METRICS[r.metric].label
                rows.append({"metric": metric, "column": column, "shown": shown})
    return wide(rows, "metric").fillna("")


def crosses_shown(verdicts: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Where each cross is ahead of both parents: a row a cross, a column a network."""
    rows = []
    for name in dict.fromkeys(verdicts["name"]):
        row = {"cross": label(name), "parents": methods(crosses.PARENTS[name])}
        for network in networks:
            part = verdicts[(verdicts["name"] == name) & (verdicts["network"] == network)]
            won = [METRICS[m].label for m in part.loc[part["beats"], "metric"]]
            row[network] = f"{', '.join(won) or 'nowhere'} (of {len(part)})"
        rows.append(row)
    return pd.DataFrame(rows, columns=["cross", "parents", *networks])


def costs_shown(costs: Tables) -> pd.DataFrame:
    """What a map costs, in saliency maps: a row a method, a column a network; the cheapest first
    on the first network."""
    rows = [
        {"method": label(r.name), "column": network, "shown": f"{r.gradients:.1f}"}
        for network, table in costs.items()
        for r in table.sort_values("seconds").itertuples(index=False)
    ]
    return wide(rows).fillna("")


def seconds_shown(costs: Tables) -> Tables:
    """Milliseconds a picture with their quartiles, network by network."""
    return {
        network: pd.DataFrame(
            [
                {
                    "method": label(r.name),
                    "median, ms": f"{1000 * r.seconds:.1f}",
                    "quartiles, ms": ends(1000 * r.low, 1000 * r.high, ".1f"),
                }
                for r in table.sort_values("seconds").itertuples(index=False)
            ]
        )
        for network, table in costs.items()
    }


def values_shown(summary: pd.DataFrame, order: Sequence[str]) -> Tables:
    """A table for each family of metrics: value (interval) of every name, in this order."""
    return _by_family(summary, order, lambda r: f"{r.value:.3f} ({ends(r.low, r.high)})")


def places_shown(summary: pd.DataFrame, order: Sequence[str]) -> Tables:
    """A table for each family of metrics: place (its interval) of every name, in this order."""
    return _by_family(
        summary, order, lambda r: f"{r.rank:g} ({r.rank_low:.0f} to {r.rank_high:.0f})"
    )


def _by_family(summary: pd.DataFrame, order: Sequence[str], told: Callable) -> Tables:
    """A table for each family: a row a name, a column a metric, `told` of a row in its cell."""
    tables = {}
    for family, name in FAMILIES.items():
        part = summary[[METRICS[m].family == family for m in summary["metric"]]]
        rows = [
            {"method": label(r.name), "column": METRICS[r.metric].label, "shown": told(r)}
            for n in order
            for r in part[part["name"] == n].itertuples(index=False)
        ]
        if rows:
            tables[name] = wide(rows)
    return tables


def pictures_shown(summaries: Tables) -> pd.DataFrame:
    """On how many pictures each metric rests: a row a metric, a column a network."""
    rows = [
        {"metric": METRICS[m].label, "column": network, "shown": f"{n:,}"}
        for network, table in summaries.items()
        for m, n in table.groupby("metric", sort=False)["n"].max().items()
    ]
    return wide(rows, "metric").fillna("")


def pairs_shown(table: pd.DataFrame) -> pd.DataFrame:
    """`agreement`, a row a pair of metrics."""
    rows = [
        (
            f"{METRICS[r.first].label}, {METRICS[r.second].label}",
            f"{r.correlation:+.2f} ({ends(r.low, r.high, '+.2f')})",
            r.methods,
            f"{r.p:.2g}",
            f"{r.p_corrected:.2g}",
        )
        for r in table.itertuples()
    ]
    columns = ["metrics", "correlation", "methods", "p", "corrected"]
    return pd.DataFrame(rows, columns=columns)


def sight_shown(blindness: pd.DataFrame) -> pd.DataFrame:
    """`blindness`, a row a metric."""
    rows = [
        (
            METRICS[r.metric].label,
            f"{r.difference:+.2f} ({ends(r.low, r.high, '+.2f')})",
            VERDICTS[r.verdict],
        )
        for r in blindness.itertuples()
    ]
    return pd.DataFrame(rows, columns=["metric", "positive less negative", "it"])


def margins_shown(harder: pd.DataFrame, network: str) -> pd.DataFrame:
    """`ranking.harder_parent` of one network, a row a trial."""
    rows = [
        {
            "cross": label(r.name),
            "metric": METRICS[r.metric].label,
            "harder parent": label(r.parent),
            "first set": f"{r.ahead:+.3f}",
            "second set": f"{r.held:+.3f} ({ends(r.held_low, r.held_high, '+.3f')})",
            "p, corrected": f"{r.p_corrected:.2g}" if r.p_corrected >= 0.001 else "< 0.001",
        }
        for r in harder[harder["network"] == network].itertuples(index=False)
    ]
    return pd.DataFrame(rows)
