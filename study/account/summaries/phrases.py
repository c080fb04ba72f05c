"""Pieces of sentences and of tables that several chapters share."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.attribution.crosses import label

NOT_JUDGED = "No sentence of the papers is judged in this chapter."


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def methods(names: Sequence[str]) -> str:
    """Methods by their labels, as `listed`."""
    return listed([label(name) for name in names])


def counted(number: int, word: str, plural: str = "") -> str:
    """ "1 seed", "2 seeds"."""
    return f"{number:,} {word if number == 1 else plural or f'{word}s'}"


def ends(low: float, high: float, spec: str = ".3f") -> str:
    """An interval as text."""
    return f"{low:{spec}} to {high:{spec}}"


def place(number: float, of: int) -> str:
    """ "place 3 of 14"; a shared one with its half."""
    return f"place {number:g} of {of}"


def give_or_take(row, value: str, spec: str = ".3f") -> str:
    """A value and the half-width of its interval."""
    return f"{row[value]:{spec}} ± {(row['high'] - row['low']) / 2:{spec.lstrip('+')}}"


def span(values: Sequence[float], spec: str) -> str:
    """One value, or the least and the most of several, as text."""
    return " to ".join(dict.fromkeys(f"{end:{spec}}" for end in (min(values), max(values))))


def intervals(frame: pd.DataFrame, spec: str, name: str = "") -> list[str]:
    """The columns low and high, or those of a named quantity, row by row as text."""
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    return [ends(*row, spec) for row in frame[[low, high]].itertuples(index=False, name=None)]


def wide(rows: Sequence[dict], index: str = "method") -> pd.DataFrame:
    """A row for each `index`, a column for each "column", filled with "shown"; both in order of
    appearance."""
    long = pd.DataFrame(rows, columns=[index, "column", "shown"])
    if long.empty:
        return long[[index]]
    pivoted = long.pivot(index=index, columns="column", values="shown")
    order = pivoted.loc[list(dict.fromkeys(long[index])), list(dict.fromkeys(long["column"]))]
    return order.rename_axis(columns=None).reset_index()
