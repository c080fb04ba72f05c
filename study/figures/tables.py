"""Tables and sentences as Markdown."""

from __future__ import annotations

import re

import pandas as pd
from IPython.display import Markdown

from .style import give_or_take, interval

# what Markdown would read in a name: marks wherever they stand; an asterisk or underscore where it
# could begin or end an emphasis; a less-than sign where it could open a tag; an entity; a backslash
# before any of these
_READ = re.compile(
    r"[`$|\[\]{}~]|\*(?!\s)|(?<=\S)\*|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])"
    r"|&(?=#?\w+;)|\\(?=[^\w\s]|$)"
)


def escaped(name) -> str:
    """A name that people gave to a file, class or network, for Markdown to show as it stands."""
    return _READ.sub(r"\\\g<0>", " ".join(str(name).splitlines()))


def _cell(value) -> str:
    """A value as the text of a cell."""
    return "" if pd.isna(value) else escaped(value)


def table(
    frame: pd.DataFrame, caption: str = "", name: str = "", made: str = "", /, **formats: str
) -> Markdown:
    """A data frame as a Markdown table; `formats` gives a column's format, such as auc=".3f".

    Missing values stay blank. With a caption and a name, such as `tab-deletion-areas`, the book
    numbers it and text can refer to it; `made` is the line under it that says what made it, as of
    `show.source`.
    """
    shown = frame.copy()
    for column, spec in formats.items():
        shown[column] = ["" if pd.isna(v) else format(v, spec) for v in frame[column]]
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) or c in formats for c in frame.columns]
    rows = [
        "| " + " | ".join(map(_cell, shown.columns)) + " |",
        "|" + "|".join("---:" if n else ":---" for n in numeric) + "|",
    ]
    rows += ["| " + " | ".join(map(_cell, row)) + " |" for row in shown.itertuples(index=False)]
    text = "\n".join(rows)
    if caption:
        text = f":::{{table}} {caption}\n:name: {name}\n\n{text}\n\n:::"
    if made:
        text += f"\n\n{line_under(made).data}"
    return Markdown(text)


def line_under(made: str) -> Markdown:
    """The line under a figure or a table that says what made it, as of `show.source`."""
    return Markdown(f'<small class="made">{made}</small>')


def sections(frames: dict[str, pd.DataFrame]) -> Markdown:
    """One table after another, each under its name where there are several; a line that says so
    where there is none."""
    if not frames:
        return Markdown(NOTHING)
    heads = {name: f"**{escaped(name)}**\n\n" if len(frames) > 1 else "" for name in frames}
    return Markdown("\n\n".join(heads[name] + table(frame).data for name, frame in frames.items()))


def beside_table(
    frame: pd.DataFrame | None, caption: str = "", name: str = "", made: str = ""
) -> Markdown:
    """Printed beside reproduced numbers with interval and verdict, or a line that says there are
    none to compare; `frame` as of `study.account.summaries.judged.numbers`, caption, name and
    `made` as of `table`."""
    if frame is None:
        return Markdown("*The papers print no number for what is studied here.*")
    rows = [
        {
            "number": f"{r.table}, {r.row}",
            "network": r.network,
            "printed": r.printed,
            "reproduced": r.reproduced,
            "95 % interval": interval(r.low, r.high),
            "verdict": f"{r.verdict}"
            + (", at tolerance 0 too" if r.verdict_at_zero == "agree" else ""),
        }
        for r in frame.itertuples()
    ]
    how = []
    for _, part in frame.groupby("column", sort=False):
        first = part.iloc[0]
        how.append(f"{first['network']}: {first['data']}, {first['protocol']}")
    shown = table(pd.DataFrame(rows), caption, name, made, reproduced=".3f")
    return Markdown(f"{shown.data}\n\n*{'; '.join(how)}.*")


def two_readings(beside: pd.DataFrame) -> Markdown:
    """Table 1 of paper Noise in two readings, as of `study.account.table1.beside`: areas, and in
    brackets their differences from the random baseline with the half-width of the interval."""

    def area(method, value: float, difference: float, low: float, high: float) -> str:
        if pd.isna(value):
            return ""
        if method == "random":
            return f"{value:.3f}"
        return f"{value:.3f} ({give_or_take(difference, low, high, '+.3f')})"

    epochs = beside["epochs"].iloc[0]
    rows = [
        {
            "row": f"{r.row}, {r.mode.upper()}",
            "printed": f"{r.printed:.4f}"
            + ("" if r.row == "Random" else f" ({r.printed_difference:+.4f})"),
            f"the text: thresholded baselines ({epochs} epochs)": area(
                r.text_method, r.text_area, r.text_difference, r.text_low, r.text_high
            ),
            "verdict": r.text_verdict,
            f"released code: whole maps ({epochs} epochs)": area(
                r.method, r.area, r.difference, r.low, r.high
            ),
            "its verdict": r.verdict,
        }
        for r in beside.itertuples()
    ]
    seeds = int(beside[["seeds", "text_seeds"]].max(axis=None))
    return Markdown(
        f"{table(pd.DataFrame(rows)).data}\n\n"
        f"*{epochs} epochs a network, {seeds} seeds; in brackets the difference "
        "from the random baseline, with the half-width of its 95 % interval over seeds. "
        "Verdicts are on that difference; the random baseline has none, being what the others are "
        "measured against.*"
    )


# an empty Markdown would show as the name of its class
NOTHING = "*There is nothing to show for what is studied here.*"


def lines(*sentences: str) -> Markdown:
    """Sentences as a Markdown list: the summary of a chapter, its numbers filled in by code."""
    if not sentences:
        return Markdown(NOTHING)
    return Markdown("\n".join(f"- {sentence}" for sentence in sentences))


def chip(verdict: str) -> str:
    """A verdict as HTML that the book colours: "holds", "agree", "inconclusive" and so on."""
    return f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>'


UNMEASURED = (
    "*Not measured*: on at least one network that the claim names; what was measured is on "
    "[the claims page](claims.md)."
)


def verdicts(claims: pd.DataFrame | None) -> Markdown:
    """The papers' claims in words with their verdicts, one line a sentence, which leads to its row
    on the page of claims; `claims` as of `study.account.summaries.judged.claims`, None where
    nothing is judged."""
    if claims is None:
        return Markdown(
            "*What the papers claim in words is judged at the paper profile, on their own data.*"
        )
    shown = []
    for _, sentence in claims.groupby(["paper", "section", "quotation"], sort=False):
        first = sentence.iloc[0]
        chips = [f"{chip(r.verdict)} {r.about}".rstrip() for r in sentence.itertuples()]
        link = f"[“{first['quotation']}”](claims.md#claim-{first['id']})"
        where = f"paper {first['paper']}, {section(first['section'])}"
        shown.append(f"- {', '.join(chips)}: {link} ({where})")
    if (claims["verdict"] == "not measured").any():
        shown += ["", UNMEASURED]
    return Markdown("\n".join(shown) or NOTHING)


def section(number: str) -> str:
    """Where a sentence of a paper stands: "section 4.2", "appendix B"."""
    if number[0].isdigit():
        return f"section {number}"
    return f"appendix {number.removeprefix('Appendix ')}"
