"""Chapter 3, whether irrelevant features make maps noisy: tables in, sentences and layouts out.

`show` writes a name that people gave, such as a network's label, so that Markdown shows it as it
stands.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from .phrases import intervals

LINKED = 0.1  # what the rank correlation must surely exceed, as data/claims.csv fixed beforehand


def in_short(
    exchange: pd.DataFrame, rates: pd.DataFrame, explained: pd.DataFrame, show: Callable = str
) -> list[str]:
    """Three sentences, from `patch_exchange`, `firing_rates` and `explained`."""
    values = exchange.set_index("quantity")["value"]
    widest = rates.loc[rates["lift"].abs().idxmax()]
    return [
        f"The corner that tells nothing holds {values['share']:.1%} of the absolute saliency "
        f"({values['even']:.2%} if spread evenly; n = {exchange['n'].iloc[0]:,}); "
        f"a fresh patch changes {1 - values['kept']:.1%} of predictions.",
        f"Layer by layer, firing rates on object and background differ by at most "
        f"{abs(widest['lift']):.3f} ({show(widest['network'])}, n = {widest['n']:,}).",
        _cause(explained, show),
    ]


def _cause(explained: pd.DataFrame, show: Callable) -> str:
    """Whether the cause that the paper proposes shows, on each network and its pictures."""
    linked = int((explained["low"] > LINKED).sum())
    if len(explained) > 1:
        each = [
            f"{show(r.network)}: rank correlation {r.correlation:.2f} (n = {r.n:,})."
            for r in explained.itertuples()
        ]
        first = f"surely brighter in {linked} of {len(explained)} cases."
        return " ".join([f"Backgrounds on which more fires are {first}", *each])
    row = explained.iloc[0]
    if linked:
        are = "are brighter"
    elif row["high"] <= LINKED:
        are = "are not brighter"
    else:
        are = "may or may not be brighter"
    return (
        f"Backgrounds on which more fires {are}: rank correlation {row['correlation']:.2f} "
        f"({row['low']:.2f} to {row['high']:.2f}, n = {row['n']:,})."
    )


def switching(impact: pd.DataFrame, show: Callable = str) -> list[str]:
    """A sentence a network on what the object costs more, from `impact`."""
    sentences = []
    for network, part in impact.groupby("network", sort=False):
        sure = int((part["low"] > 0).sum())
        sentences.append(
            f"{show(network)}, n = {part['n'].iloc[0]:,}: the object costs "
            f"{part['more'].min():.1f} to {part['more'].max():.1f} logits more, by layer; "
            f"the interval is above 0 in {sure} of {len(part)} layers."
        )
    return sentences


def filtering(rates: pd.DataFrame, show: Callable = str) -> list[str]:
    """A sentence a network on where firing rates surely differ, from `firing_rates`."""
    sentences = []
    for network, part in rates.groupby("network", sort=False):
        on_object = int((part["lift_low"] > 0).sum())
        on_background = int((part["lift_high"] < 0).sum())
        sentences.append(
            f"{show(network)}: in {on_object + on_background} of {len(part)} layers the rates "
            f"surely differ ({on_object} higher on the object, {on_background} on the background)."
        )
    return sentences


def rivals(summary: pd.DataFrame, level: float = 0.05) -> list[str]:
    """A sentence on each rival explanation, from `rival_summary`."""
    slope = summary[summary["quantity"] == "slope"].iloc[0]
    turned = summary[summary["level"] == level].iloc[0]
    return [
        f"Saturation: near the picture the score still rises with {slope['value']:.2f} of its mean "
        f"slope (a saturated score: 0; median, n = {slope['n']:,}).",
        f"Discontinuity: noise of {level:.0%} of the range leaves a cosine of "
        f"{turned['value']:.2f} between gradients (not turned: 1; median) and "
        f"{turned['same']:.0%} of predictions.",
    ]


# --- layouts -------------------------------------------------------------------------------------


def exchange_table(exchange: pd.DataFrame) -> pd.DataFrame:
    """`patch_exchange` to be read."""
    names = {
        "share": "absolute saliency in the corner",
        "even": "the corner's share of the area",
        "kept": "predictions that stay with a fresh patch",
    }
    return pd.DataFrame(
        {
            "quantity": exchange["quantity"].map(names),
            "share": [f"{value:.1%}" for value in exchange["value"]],
            "95 % interval": intervals(exchange, ".1%"),
            "n": exchange["n"],
        }
    )


def impact_table(impact: pd.DataFrame) -> pd.DataFrame:
    """`impact` to be read."""
    return pd.DataFrame(
        {
            "network": impact["network"],
            "convolution": impact["layer"],
            "object costs more (95 % interval)": [
                f"{r.more:.2f} ({r.low:.2f} to {r.high:.2f})" for r in impact.itertuples()
            ],
            "quartiles over pictures": [f"{r.q25:.2f} to {r.q75:.2f}" for r in impact.itertuples()],
            "units on the object": [f"{share:.0%}" for share in impact["share"]],
            "a unit there costs, times": [f"{times:.1f}" for times in impact["times"]],
        }
    )


def rates_table(rates: pd.DataFrame) -> pd.DataFrame:
    """`firing_rates` to be read."""
    return pd.DataFrame(
        {
            "network": rates["network"],
            "convolution": rates["layer"],
            "object": [f"{rate:.3f}" for rate in rates["object"]],
            "background": [f"{rate:.3f}" for rate in rates["background"]],
            "difference (95 % interval)": [
                f"{r.lift:+.3f} ({r.lift_low:.3f} to {r.lift_high:.3f})" for r in rates.itertuples()
            ],
            "pictures with more on the object": [f"{share:.0%}" for share in rates["more"]],
        }
    )


def brighter_table(brighter: pd.DataFrame) -> pd.DataFrame:
    """`brighter` to be read."""
    return pd.DataFrame(
        {
            "network": brighter["network"],
            "n": brighter["n"],
            "background over object (median)": [f"{value:.2f}" for value in brighter["median"]],
            "95 % interval": intervals(brighter, ".2f"),
            "pictures with the brighter background": [f"{s:.0%}" for s in brighter["share"]],
        }
    )


def explained_table(explained: pd.DataFrame) -> pd.DataFrame:
    """`explained` to be read."""
    return pd.DataFrame(
        {
            "network": explained["network"],
            "n": explained["n"],
            "rank correlation": [f"{value:.2f}" for value in explained["correlation"]],
            "95 % interval": intervals(explained, ".2f"),
        }
    )


def rivals_table(summary: pd.DataFrame) -> pd.DataFrame:
    """`rival_summary` to be read."""
    names = [
        "slope in the last tenth of the way, over the mean slope"
        if r.quantity == "slope"
        else f"cosine of gradients, noise {r.level:.0%}"
        for r in summary.itertuples()
    ]
    return pd.DataFrame(
        {
            "quantity": names,
            "median": [f"{value:.2f}" for value in summary["value"]],
            "95 % interval": intervals(summary, ".2f"),
            "predictions kept": ["" if pd.isna(s) else f"{s:.0%}" for s in summary["same"]],
            "n": summary["n"],
        }
    )


def accuracies_table(accuracies: pd.DataFrame) -> pd.DataFrame:
    """`patch_accuracies` to be read."""
    return pd.DataFrame(
        {
            "trained and tested on pictures": accuracies["pictures"],
            "n": accuracies["n"],
            "accuracy": [f"{value:.3f}" for value in accuracies["accuracy"]],
            "95 % interval": intervals(accuracies, ".3f"),
        }
    )
