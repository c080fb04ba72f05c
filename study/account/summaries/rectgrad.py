"""Chapter 4, what RectGrad does: tables in, sentences and layouts out.

`show` writes a name that people gave, such as a network's label, so that Markdown shows it as it
stands.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from lib.attribution.crosses import label

from .phrases import intervals

FEW = 30  # pictures; of fewer no winner is named
BORDERS = {
    "off": "off",
    "padded": "padded convolutions, 1 pixel (default)",
    "half_kernel": "padded convolutions, half the kernel",
    "released": "as released: 1×1 kernels, too",
}
PRODUCTS = {
    "none": "no product",
    "picture": "× picture, grey at 0",
    "from black": "× picture, black at 0",
}


def in_short(
    on_object: pd.DataFrame,
    thresholds: pd.DataFrame,
    checked: pd.DataFrame,
    masked: str,
    *,
    show: Callable = str,
) -> list[str]:
    """Three sentences, from `on_object` of the network and pictures `masked`, `thresholds` and
    `sanity`."""
    median = on_object.set_index("map")["median"]
    first = on_object.iloc[0]
    network, at = _first_network(thresholds)
    output = _output_redrawn(checked)
    return [
        f"RectGrad puts {median['PR1']:.0%} of its attribution on the object, saliency "
        f"{median['saliency']:.0%} (medians); the object covers {first['covered']:.0%} on average "
        f"({show(masked)}, n = {first['n']:,}).",
        f"Said to stay alike, maps at q = 20 and 80 have rank correlation {at[80]:.2f}; at 98, "
        f"{at[98]:.2f} ({show(network)}, n = {thresholds['n'].iloc[0]:,}).",
        f"With the output layer's weights redrawn, RectGrad's map keeps a rank correlation of "
        f"{output['rectgrad']:.2f} with the intact one, saliency's {output['saliency']:.2f} "
        f"(n = {checked['n'].iloc[0]:,}).",
    ]


def _first_network(thresholds: pd.DataFrame) -> tuple[str, pd.Series]:
    """The network that stands first, and its maps' likeness to that at q = 20, by q."""
    network = thresholds["network"].iloc[0]
    return network, thresholds[thresholds["network"] == network].set_index("q")["like20"]


def _output_redrawn(checked: pd.DataFrame) -> pd.Series:
    """Rank correlation by method, once the output layer's weights are redrawn."""
    output = checked[(checked["mode"] == "cascading") & (checked["depth"] == 1)]
    return output.set_index("method")["rank"]


def threshold(
    thresholds: pd.DataFrame, layers: dict[str, pd.DataFrame], show: Callable = str
) -> list[str]:
    """What q changes, and the paper's reason why it should not: two sentences a network."""
    sentences = []
    for network, part in thresholds.groupby("network", sort=False):
        at = part.set_index("q")["like20"]
        of_network = layers[network]
        silent = of_network.groupby("layer")["silent"].mean()
        tau = of_network[of_network["q"] == 20]["tau"]
        sentences.append(
            f"{show(network)}: beside the map at q = 20, rank correlations of {at[40]:.2f} at 40, "
            f"{at[80]:.2f} at 80, {at[98]:.2f} at 98. By layer, {silent.min():.0%} to "
            f"{silent.max():.0%} of units are 0: at q = 20 they pass in {(tau < 0).sum()} of "
            f"{len(tau)}, where τ is below 0 (means)."
        )
    return sentences


def identities(compared: pd.DataFrame) -> list[str]:
    """How far apart the two maps of claims 1 and 2 are, from `identities`."""
    largest, apart = compared["largest"], compared["difference"].max()
    told = "are equal in every value" if apart == 0 else f"differ by at most {apart:.0g}"
    return [
        f"In every case the two maps {told}; their largest value is {largest.min():.2g} to "
        f"{largest.max():.2g}."
    ]


def product(bias: pd.DataFrame) -> list[str]:
    """What the product with the picture adds, from `brightness_bias`; shares are of a fair one."""
    by = bias.set_index("product")
    none, grey, black = by.loc["none"], by.loc["picture"], by.loc["from black"]
    return [
        f"Pixels of middling brightness hold {_times(grey['middle'])} their fair share with the "
        f"product and {_times(none['middle'])} without it (n = {int(grey['n']):,}).",
        f"With black at 0, dark pixels hold {_times(black['dark'])} and bright ones "
        f"{_times(black['bright'])} their fair share; without a product {_times(none['dark'])} and "
        f"{_times(none['bright'])}.",
        f"Of the strongest 5 %, {grey['overlap']:.0%} stay when the product goes; on the "
        f"object lie {grey['on_object']:.0%} of the attribution with it and "
        f"{none['on_object']:.0%} without (means). {_owed_to(grey)}",
    ]


def _owed_to(product: pd.Series) -> str:
    """What puts the map on the object: the rule, or also the product with the picture."""
    gain, low, high = (100 * product[name] for name in ("gain", "gain_low", "gain_high"))
    if low > 0:
        return f"So the product adds {gain:.1f} points ({low:.1f} to {high:.1f}) to the rule's."
    if high < 0:
        ends = f"{-high:.1f} to {-low:.1f}"
        return f"So the rule puts it there; the product takes {-gain:.1f} points ({ends})."
    return f"What the product adds stays open: {gain:+.1f} points ({low:+.1f} to {high:+.1f})."


def _times(share: float) -> str:
    """A multiple of the fair share; a brightness that no picture has holds none."""
    return "no part of" if pd.isna(share) else f"{share:.2f} times"


def attack(by_network: dict[str, pd.DataFrame], show: Callable = str) -> list[str]:
    """How many pictures the attack leaves to compare on each network, and a winner where there are
    enough; from `attacked`, by the network's label."""
    return [f"{show(name)}: {_told_apart(table)}" for name, table in by_network.items()]


def _told_apart(after_attack: pd.DataFrame) -> str:
    counts = after_attack.groupby("changed")["n"].max()
    changed, kept = int(counts[True]), int(counts[False])
    said = f"the attack changed {changed} of {changed + kept} predictions"
    if min(changed, kept) < FEW:
        group = "kept" if kept <= changed else "changed"
        return (
            f"{said}; {min(changed, kept)} {group} ones are too few to name the method that tells "
            "the two apart best."
        )
    return f"{said}. {_widest_gap(after_attack)}"


def _widest_gap(after_attack: pd.DataFrame) -> str:
    """Which method's maps tell changed from unchanged predictions best, by means and by medians."""
    gaps = {
        kind: after_attack.pivot(index="method", columns="changed", values=kind).pipe(
            lambda t: t[False] - t[True]
        )
        for kind in ("mean", "median")
    }
    best = {kind: gap.idxmax() for kind, gap in gaps.items()}
    ours = f"RectGrad's is {gaps['mean']['rectgrad']:.2f}"
    if best["mean"] == best["median"]:
        return (
            f"The widest gap between kept and changed is that of {label(best['mean'])} "
            f"({gaps['mean'].max():.2f}); {ours}."
        )
    return (
        f"The widest gap is that of {label(best['mean'])} by means and of "
        f"{label(best['median'])} by medians; {ours}."
    )


def second(listening: pd.DataFrame) -> list[str]:
    """Maps of the two likeliest classes, from `listening`."""
    asked = listening.dropna(subset=["second"])
    values = asked.set_index("method")["second"].sort_values()
    said = ", ".join(f"{label(m)} {value:.2f}" for m, value in values.items())
    return [
        "Maps of the two likeliest classes, from the most to the least different (rank "
        f"correlation, n = {int(asked['second_n'].max()):,}): {said}."
    ]


def sanity(checked: pd.DataFrame) -> list[str]:
    """Which maps stay and which go when weights are redrawn, from `sanity`."""
    output = _output_redrawn(checked).sort_values(ascending=False)
    empty = checked[checked["method"] == "rectgrad"]["empty"].max()
    highest = ", ".join(f"{label(m)} {value:.2f}" for m, value in output.head(3).items())
    emptied = (
        f"Up to {empty:.0%} of RectGrad's maps become empty as weights go; an empty map has "
        "correlation 0, so it passes and explains nothing."
    )
    return [
        f"With the output layer redrawn the three most unmoved are {highest}; the most moved is "
        f"{label(output.index[-1])} ({output.iloc[-1]:.2f}).",
        *([emptied] if empty else []),
    ]


def accumulation(factors: pd.DataFrame) -> list[str]:
    """Does background over object grow at every step towards the input? From `growth_factors`."""
    sentences = []
    for method, part in factors.groupby("method", sort=False):
        grows, falls = int((part["low"] > 1).sum()), int((part["high"] < 1).sum())
        steepest = part.loc[part["factor"].idxmax()]
        where = _step(steepest["layer"])
        sentences.append(
            f"{label(method)}: of {len(part)} steps towards the input, background over object "
            f"surely grows in {grows} and falls in {falls}; its largest factor is "
            f"{steepest['factor']:.2f} ({where})."
        )
    return sentences


def _step(layer: int) -> str:
    return f"layer {layer + 1} to {layer or 'the input'}"


# --- layouts -------------------------------------------------------------------------------------


def identities_table(identities: pd.DataFrame) -> pd.DataFrame:
    """`identities` to be read."""
    return pd.DataFrame(
        {
            "claim": identities["claim"],
            "network": identities["network"],
            "n": identities["n"],
            "largest value": [f"{v:.2g}" for v in identities["largest"]],
            "largest difference": [f"{v:.0g}" for v in identities["difference"]],
        }
    )


def listening_table(listening: pd.DataFrame) -> pd.DataFrame:
    """`listening` to be read: a head says how many pictures a column rests on."""
    heads = {
        "second": "two likeliest classes",
        "changed": "attacked, prediction changed",
        "unchanged": "attacked, prediction kept",
        "redrawn": "output layer redrawn",
    }
    columns = {"method": [label(method) for method in listening["method"]]}
    for name, head in heads.items():
        n = listening[f"{name}_n"].max()
        columns[f"{head} (n = {0 if pd.isna(n) else int(n)})"] = _two(listening[name])
    return pd.DataFrame(columns)


def thresholds_table(thresholds: pd.DataFrame) -> pd.DataFrame:
    """`thresholds` to be read."""
    return pd.DataFrame(
        {
            "network": thresholds["network"],
            "q": thresholds["q"],
            "rank correlation with q = 20": _two(thresholds["like20"]),
            "95 % interval": intervals(thresholds, ".2f", "like20"),
            "of its top 5 % still there": [f"{v:.0%}" for v in thresholds["top20"]],
            "roughness": _two(thresholds["roughness"]),
        }
    )


def borders_table(borders: pd.DataFrame) -> pd.DataFrame:
    """`borders` to be read."""
    return pd.DataFrame(
        {
            "network": borders["network"],
            "padding trick": borders["setting"].map(BORDERS),
            "attribution in the ring": _two(borders["ring"]),
            "95 % interval": intervals(borders, ".2f", "ring"),
            "n": borders["n"],
        }
    )


def smoothness_table(smoothness: pd.DataFrame) -> pd.DataFrame:
    """`smoothness` to be read."""
    return pd.DataFrame(
        {
            "network": smoothness["network"],
            "n": smoothness["n"],
            "roughness with PRR over without (median)": [f"{v:.3f}" for v in smoothness["median"]],
            "95 % interval": intervals(smoothness, ".3f"),
            "smoother with PRR": [f"{v:.0%}" for v in smoothness["share"]],
        }
    )


def on_object_table(on_object: pd.DataFrame) -> pd.DataFrame:
    """`on_object` to be read."""
    return pd.DataFrame(
        {
            "map": on_object["map"].replace("saliency", label("saliency")),
            "on the object (median)": [f"{v:.3f}" for v in on_object["median"]],
            "95 % interval": intervals(on_object, ".3f"),
            "PR1 minus this (median over pictures)": [f"{v:+.3f}" for v in on_object["gap"]],
            "interval of that": intervals(on_object, ".3f", "gap"),
        }
    )


def product_table(bias: pd.DataFrame) -> pd.DataFrame:
    """`brightness_bias` to be read."""
    return pd.DataFrame(
        {
            "RectGrad with": bias["product"].map(PRODUCTS),
            **{f"{third} pixels": _two(bias[third]) for third in ("dark", "middle", "bright")},
            "top 5 % as without": [f"{v:.0%}" for v in bias["overlap"]],
            "on the object (mean)": [
                f"{r.on_object:.0%} ({r.on_object_low:.0%} to {r.on_object_high:.0%})"
                for r in bias.itertuples()
            ],
        }
    )


def attacked_table(after_attack: pd.DataFrame) -> pd.DataFrame:
    """`attacked` to be read."""
    return pd.DataFrame(
        {
            "method": [label(method) for method in after_attack["method"]],
            "prediction": after_attack["changed"].map({True: "changed", False: "kept"}),
            "n": after_attack["n"],
            "mean": _two(after_attack["mean"]),
            "95 % interval": [
                "" if pd.isna(r.mean) else f"{r.low:.2f} to {r.high:.2f}"
                for r in after_attack.itertuples(index=False)
            ],
            "median": _two(after_attack["median"]),
        }
    )


def factors_table(factors: pd.DataFrame) -> pd.DataFrame:
    """`growth_factors` to be read."""
    return pd.DataFrame(
        {
            "method": [label(method) for method in factors["method"]],
            "step": [_step(layer) for layer in factors["layer"]],
            "factor (geometric mean)": _two(factors["factor"]),
            "95 % interval": intervals(factors, ".2f"),
        }
    )


def sanity_table(checked: pd.DataFrame) -> pd.DataFrame:
    """`sanity` to be read: rank correlations with half-widths of intervals, SSIM once."""
    deepest = checked["depth"].max()
    settings = {
        "output redrawn": ("cascading", 1),
        "all layers": ("cascading", deepest),
        "first layer alone": ("independent", deepest),
    }
    by = checked.set_index(["method", "mode", "depth"])
    rows = []
    for method in dict.fromkeys(checked["method"]):
        by_setting = {name: by.loc[(method, *setting)] for name, setting in settings.items()}
        rows.append(
            {
                "method": label(method),
                **{
                    name: f"{r['rank']:.2f} ± {(r['rank_high'] - r['rank_low']) / 2:.2f}"
                    for name, r in by_setting.items()
                },
                "SSIM, output redrawn": f"{by_setting['output redrawn']['ssim']:.2f}",
                "empty at most": f"{by.loc[method]['empty'].max():.0%}",
            }
        )
    return pd.DataFrame(rows)


def _two(values: pd.Series) -> list[str]:
    """Numbers with two digits; blank where there is none."""
    return ["" if pd.isna(value) else f"{value:.2f}" for value in values]
