"""What chapter 9 says: where the order of methods turns between deletion and ROAR, and why.

Tables are those of study.experiments.ladder.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from torch import Tensor

from lib.attribution import METHODS
from lib.attribution.crosses import label
from study.account.summaries.phrases import counted, ends, listed
from study.experiments.ladder import METHODS_ALONE, ORDER, ROAR, STEPS, WHOLE
from study.experiments.synthesis import METRICS, SHUFFLED

TOO_FEW = "Too few maps were retrained on by this protocol to compare orders."
# under which a map is set beside its shuffled one in a picture
SPARSE = ("black_deletion", "white_deletion", "black_insertion", "outside")
CONTROLS = {"random": "random pixels", "edges": "the edge detector"}
EXPECTED = {"roar": ("negative", "positive"), "kar": ("positive", "negative")}


def in_short(
    turns: pd.DataFrame,
    legibility: pd.DataFrame,
    shock: pd.DataFrame,
    order: Sequence[str],
    classes: int,
) -> list[str]:
    """Three sentences: how far deletion and ROAR agree, which step turns the order most, and
    whether shock or legible places go with it. `order`: the names of what is ordered."""
    if turns.empty:
        return [TOO_FEW]
    whole = turns[turns["step"] == WHOLE].iloc[0]
    return [
        f"Black deletion and ROAR order {_named(order)} with a rank correlation of "
        f"{whole['correlation']:+.2f} ({ends(whole['low'], whole['high'], '+.2f')})"
        f"{_methods_alone(turns)}.",
        largest_turn(turns),
        *(legible(legibility)[:1] or shocked(shock, order, classes)[:1]),
    ]


def _named(order: Sequence[str]) -> str:
    """How many methods these names are, and which controls: "9 methods and random pixels"."""
    published = counted(sum(name not in CONTROLS for name in order), "method")
    return listed([published, *(told for name, told in CONTROLS.items() if name in order)])


def _methods_alone(turns: pd.DataFrame) -> str:
    """The same correlation without controls, as the claim counts it; "" for too few methods."""
    alone = turns.loc[turns["step"] == METHODS_ALONE, "correlation"]
    return "" if alone.empty else f", {alone.iloc[0]:+.2f} without the controls, as the claim asks"


def largest_turn(turns: pd.DataFrame) -> str:
    """Between which steps the order changes most, how surely, and whether it is the step that
    retrains."""
    single = turns[turns["step"].isin(STEPS)].reset_index(drop=True)
    at = int(single["correlation"].argmin())
    turn = single.iloc[at]
    before = STEPS[STEPS.index(turn["step"]) - 1]
    said = (
        f"The order turns most from “{before}” to “{turn['step']}”: rank correlation "
        f"{turn['correlation']:+.2f}, the smallest of {len(single)} steps in {turn['least']:.0%} "
        "of resamples"
    )
    if turn["step"] == ROAR:
        return f"{said}; this is the step that retrains."
    retrains = single.loc[single["step"] == ROAR, "correlation"].iloc[0]
    return f"{said}. Nothing is retrained in it; the step that retrains has {retrains:+.2f}."


def legible(legibility: pd.DataFrame) -> list[str]:
    """Do maps with small areas have networks that repeat the explained one's mistakes?"""
    sentences = []
    for r in legibility.itertuples():
        head = f"{r.mode.upper()}, {r.methods} methods: "
        if pd.isna(r.correlation):
            sentences.append(f"{head}areas or accuracies are all alike, which orders nothing.")
            continue
        sentences.append(
            f"{head}accuracy where the explained network is wrong (mean over shares) and the "
            f"area correlate by {r.correlation:+.2f} ({ends(r.low, r.high, '+.2f')}); "
            f"{_reading(r)}."
        )
    return sentences


def _reading(r) -> str:
    """What the sign of a legibility's correlation says, if its interval leaves out zero."""
    repeats = EXPECTED[r.mode][0] == "negative"
    if r.low <= 0 <= r.high or pd.isna(r.low):
        return "whether reading the places orders the methods stays open"
    if (r.high < 0) == repeats:
        return "mistakes are repeated, as by networks that read the places"
    return "as by networks that merely see more"


def shocked(shock: pd.DataFrame, order: Sequence[str], classes: int) -> list[str]:
    """At the share where distance explains most: accuracies, and how often the picture that fails
    has moved farther. `order`: what they are means over; `classes`: how many there are."""
    known = shock.dropna(subset=["farther"])
    if known.empty:
        return ["Where retrained networks are right, the network as it is fails on too few."]
    r = known.loc[known["farther"].idxmax()]
    hardly = ["They have hardly learnt, so the step that retrains says nothing of maps."]
    return [
        f"At {r['fraction']:.0%} removed the network as it is gets {r['before']:.0%} right, "
        f"retrained ones {r['retrained']:.0%} (mean over {_named(order)}; chance "
        f"{1 / classes:.0%}).",
        *(hardly if r["retrained"] < 2 / classes else []),
        f"Of two pictures that retrained networks get right, the one on which it fails has moved "
        f"farther with probability {r['farther']:.2f} ({ends(r['low'], r['high'], '.2f')}; chance "
        "0.5).",
    ]


def far_and_areas(correlations: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """How far pictures move, against the areas; `correlations` as of `distance_with_areas`, over
    what `order` names."""
    names = {ORDER: "the area without retraining"}
    return [
        f"Over {_named(order)}, how far pictures move has a rank correlation of "
        f"{r.correlation:+.2f} ({ends(r.low, r.high, '+.2f')}) with "
        f"{names.get(r.step, 'the area under ROAR')}."
        for r in correlations.itertuples()
        if not pd.isna(r.correlation)
    ]


def one_seed(flags: dict) -> list[str]:
    """Which maps have a single seed of retrained networks, where others have more."""
    seeds: dict[str, set] = {}
    for method, mode, seed in flags:
        if mode == "roar":
            seeds.setdefault(method, set()).add(seed)
    single = [label(method) for method, of in seeds.items() if len(of) == 1]
    if not single or len(single) == len(seeds):
        return []
    return [f"Retrained with one seed, so without its spread: {listed(single)}."]


def sparse(sparsity: pd.DataFrame) -> list[str]:
    """Under which metrics how many maps do no better than the same maps shuffled."""
    shown = sparsity[~sparsity["metric"].str.endswith("_score")]
    if shown.empty:
        return ["Fewer than four maps have a shuffled twin."]
    told = [f"{METRICS[r.metric].label} {r.beaten} of {r.of}" for r in shown.itertuples()]
    return [f"Maps no better than the same maps shuffled: {listed(told)}."]


# ---- tables as they are shown


def beside_shuffled(numbers: dict[str, dict[str, Tensor]]) -> pd.DataFrame:
    """Each method beside its map with its pixels in other places, and random numbers, under the
    metrics of `SPARSE` that `numbers`, as of `synthesis.measured`, has.

    Columns metric, label, better (1 more, -1 less), name, value, shuffled, kept (the share of
    pixels that are not zero), means over pictures; of random numbers the last two are NaN.
    """
    rows = []
    for metric in SPARSE:
        values = {n: float(v.nanmean()) for n, v in numbers.get(metric, {}).items()}
        about = {"metric": metric, "label": METRICS[metric].label, "better": METRICS[metric].better}
        for name in values:
            if name in METHODS and f"{SHUFFLED}{name}" in values:
                both = {"value": values[name], "shuffled": values[f"{SHUFFLED}{name}"]}
                kept = float(numbers["kept"][name].nanmean())
                rows.append(about | {"name": name} | both | {"kept": kept})
        if "random" in values and rows and rows[-1]["metric"] == metric:
            rows.append(about | {"name": "random", "value": values["random"]})
    columns = ["metric", "label", "better", "name", "value", "shuffled", "kept"]
    return pd.DataFrame(rows, columns=columns)


def turns_shown(turns: pd.DataFrame) -> pd.DataFrame:
    """A row a step, with its correlation with the step before."""
    rows = [
        (
            r.step,
            f"{r.correlation:+.2f} ({ends(r.low, r.high, '+.2f')})",
            "" if pd.isna(r.least) else f"{r.least:.0%}",
        )
        for r in turns.itertuples()
    ]
    columns = ["to", "correlation with the step before", "smallest, of resamples"]
    return pd.DataFrame(rows, columns=columns)


def sparsity_shown(sparsity: pd.DataFrame) -> pd.DataFrame:
    """`ranking.sparsity`, a row a metric, turned so that +1 says the sparser the better."""
    rows = [
        (
            METRICS[r.metric].label,
            f"{-r.kept:+.2f} ({ends(-r.kept_high, -r.kept_low, '+.2f')})",
            f"{r.explained:+.2f} ({ends(r.explained_low, r.explained_high, '+.2f')})",
            f"{r.beaten} of {r.of}",
        )
        for r in sparsity.itertuples()
    ]
    columns = ["metric", "sparse is good", "shuffled explains", "no better than shuffled"]
    return pd.DataFrame(rows, columns=columns)


def gains_shown(gains: pd.DataFrame) -> pd.DataFrame:
    """`ranking.over_shuffled`: a row a method, a column a metric, without the two scores."""
    shown = gains[~gains["metric"].str.endswith("_score")]
    cells = pd.DataFrame(
        {
            "method": [label(name) for name in shown["name"]],
            "metric": [METRICS[m].label for m in shown["metric"]],
            "shown": [f"{r.gain:+.3f} ({ends(r.low, r.high, '+.3f')})" for r in shown.itertuples()],
        }
    )
    order = list(dict.fromkeys(cells["method"])), list(dict.fromkeys(cells["metric"]))
    wide = cells.pivot(index="method", columns="metric", values="shown").loc[order]
    return wide.rename_axis(columns=None).reset_index()


def shock_shown(shock: pd.DataFrame) -> pd.DataFrame:
    """`ranking.shock`, a row a share of pixels removed."""
    rows = [
        (
            f"{r.fraction:.0%}",
            f"{r.before:.1%}",
            f"{r.retrained:.1%}",
            f"{r.moved:.2f}",
            "" if pd.isna(r.failed) else f"{r.failed:.0%}",
            "" if pd.isna(r.farther) else f"{r.farther:.2f} ({ends(r.low, r.high, '.2f')})",
        )
        for r in shock.itertuples()
    ]
    columns = ["removed", "as it is", "retrained", "moved", "fails on", "failing moved farther"]
    return pd.DataFrame(rows, columns=columns)


def legible_shown(points: pd.DataFrame) -> pd.DataFrame:
    """`legible`, a row a method and mode."""
    rows = [(label(r.method), r.mode.upper(), r.area, r.wrong) for r in points.itertuples()]
    return pd.DataFrame(rows, columns=["method", "mode", "area", "right where it is wrong"])
