"""Pieces of sentences that several chapters share."""

from __future__ import annotations

from collections.abc import Sequence

from lib.attribution.crosses import label


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
