"""What the page on one's own picture says in the end."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from .phrases import span


def in_short(
    network: str,
    likeliest: pd.DataFrame,
    explained: str,
    left: pd.DataFrame,
    show: Callable = str,
) -> list[str]:
    """Two sentences, from `own_picture.likeliest` and `own_picture.after_deletion`.

    `show` writes a name that people gave so that Markdown shows it as it stands.
    """
    first = likeliest.iloc[0]
    one_percent = left.set_index("map")["1 % to grey"]
    maps = one_percent.drop(["(nothing deleted)", "At random"])
    return [
        f"{show(network)} says {show(first['class'])} with a probability of "
        f"{first['probability']:.0%}; explained was {show(explained)}.",
        f"With 1 % of the pixels grey, that of {show(explained)} is {span(maps, '.1%')}, depending "
        f"on the map that chose them, and {one_percent['At random']:.1%} if chance did.",
    ]
