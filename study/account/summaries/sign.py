"""Chapter 1 in sentences, and its tables as they are shown.

Tables are those of study.experiments.deletion_tables and of `deletion.positive_on_object`.
"""

from __future__ import annotations

import pandas as pd

from study.account import claims, verdicts

from . import judged
from .phrases import NOT_JUDGED, counted, ends, give_or_take, span

EVEN = 0.05  # how far a share may lie from one half for neither sign to dominate


def zero(greys: pd.DataFrame) -> str:
    """Where a stretched map puts zero; from `zero_greys`."""
    return (
        f"Stretched to grey, zero gradient is drawn at {span(greys['median'], '.2f')} (0 black, "
        f"1 white), not black (median picture, n = {span(greys['n'], ',')})."
    )


def balance(shares: pd.DataFrame) -> str:
    """Whether a sign dominates; from `sign_shares`."""
    carried = shares.loc[shares["share"] == "carried", "mean"]
    even = (carried - 0.5).abs().max() <= EVEN
    verdict = "neither sign dominates" if even else "one sign can dominate"
    return (
        f"Pixels whose largest gradient in size, over the channels, is positive carry "
        f"{span(carried, '.0%')} of the absolute map's total: {verdict}."
    )


def contrast(on_object: pd.DataFrame) -> str:
    """Whether the sign follows contrast; from `positive_on_object`."""
    there = on_object[on_object["place"] == "object"].set_index("object")
    lighter, darker = there.loc["lighter"], there.loc["darker"]
    follows = lighter["low"] > 0.5 > darker["high"]
    verdict = "a tendency to follow contrast" if follows else "no clear sign of contrast"
    n = int(there["n"].sum())
    return (
        f"On drawn objects the gradient is positive for {lighter['share']:.0%} where they are "
        f"lighter and {darker['share']:.0%} where darker (n = {n:,}): {verdict}."
    )


def in_short(greys: pd.DataFrame, shares: pd.DataFrame, on_object: pd.DataFrame) -> list[str]:
    """The chapter in three sentences."""
    return [zero(greys), balance(shares), contrast(on_object)]


def judged_elsewhere(stored: bool) -> list[str]:
    """That no sentence is judged in this chapter, and how those of paper Sign are judged, where
    results are `stored`; Markdown."""
    sentences = [NOT_JUDGED]
    if stored:
        every = judged.claims(*claims.listed()["experiment"])
        counts = every.loc[every["paper"] == "Sign", "verdict"].value_counts()
        told = ", ".join(f"{word} {counts[word]}" for word in verdicts.WORDS if word in counts)
        number = counted(int(counts.sum()), "claim")
        sentences.append(f"[The claims page](claims.md) judges {number} of paper *Sign*: {told}.")
    return sentences


def ranges(greys: pd.DataFrame) -> list[str]:
    """How far the grey of zero varies, and how much of a picture it fills; from `zero_greys`."""
    most = ": most of the map" if greys["small"].min() > 0.5 else ""
    return [
        f"In 90 % of the pictures zero lies between {greys['p5'].min():.2f} and "
        f"{greys['p95'].max():.2f}.",
        f"{span(greys['small'], '.0%')} of the pixels have a gradient under a tenth of the "
        f"picture's largest, drawn nearly as zero{most}.",
    ]


# ---- tables as they are shown


def shares_shown(shares: pd.DataFrame) -> pd.DataFrame:
    """A row a network: pixels in each map and in both, and what the positive map carries."""
    names = {
        "positive": "in the positive map",
        "negative": "in the negative map",
        "both": "in both",
        "carried": "total carried by positive",
    }
    rows = [
        {"network": subject} | {names[r["share"]]: r["mean"] for r in part.to_dict("records")}
        for subject, part in shares.groupby("subject", sort=False)
    ]
    return pd.DataFrame(rows)


def shares_with_intervals(shares: pd.DataFrame) -> pd.DataFrame:
    """`shares_shown` in percent, with half-widths."""
    percent = shares.assign(**{c: 100 * shares[c] for c in ("mean", "low", "high")})
    text = [give_or_take(r, "mean", ".1f") + " %" for r in percent.to_dict("records")]
    return shares_shown(shares.assign(mean=text))


def on_object_shown(on_object: pd.DataFrame) -> pd.DataFrame:
    """A row a kind of object: its share of positive gradient, and the background's."""
    rows = []
    for kind, part in on_object.groupby("object", sort=False):
        row = {"object": f"{kind} than its background", "n": int(part["n"].iloc[0])}
        for r in part.to_dict("records"):
            row[f"positive on the {r['place']}"] = (
                f"{r['share']:.2f} ({ends(r['low'], r['high'], '.2f')})"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def greys_shown(greys: pd.DataFrame) -> pd.DataFrame:
    """`zero_greys` with its range as text."""
    return pd.DataFrame(
        {
            "network": greys["subject"],
            "n": greys["n"],
            "median grey of zero": greys["median"],
            "5 % to 95 %": [ends(r.p5, r.p95, ".2f") for r in greys.itertuples()],
            "pixels with a small gradient": greys["small"],
        }
    )
