"""The pages that judge: the scoreboard of printed numbers and the claims in words.

Both are made of the tables under data/results that `study.account` writes; a row has an anchor, a
verdict and a link to the chapter that shows it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pandas as pd

from lib import attribution
from study import figures
from study.account import claims as listed
from study.account import published, scoreboard, table1, verdicts
from study.account.summaries.judged import QUANTITIES, score_anchor, slug
from study.subjects import names

ROOT = Path(__file__).resolve().parent.parent
HERE_ALONE = ("", "measured for this page alone")  # in no chapter
# where a kind of claim is shown, or one claim: a chapter's file and the heading or the table there
SHOWN = {
    "deletion": ("05_deletion_benchmark", "tab-deletion-areas"),
    "scores": ("05_deletion_benchmark", "tab-deletion-scores"),
    "total_variation": ("06_noise_benchmark", "Total variation"),
    "outside_mask": ("06_noise_benchmark", "Three quantities, three treatments"),
    "patch": ("06_noise_benchmark", "In the patch"),
    "synthesis": ("09_with_and_without_retraining", "In short"),
    "accuracy": ("03_noise_hypothesis", "A patch that tells nothing"),
    "occlusion": ("03_noise_hypothesis", "Switching off features"),
    "activity": ("03_noise_hypothesis", "Do units filter?"),
    "rivals": ("03_noise_hypothesis", "Is the background brighter?"),
    "sweep": ("04_rectgrad", "The threshold"),
    "adversarial": ("04_rectgrad", "Does the map listen to the class?"),
    "sanity": ("04_rectgrad", "Does the map listen to the class?"),
    "accumulation": ("04_rectgrad", "Does noise build up?"),
    "coherence": HERE_ALONE,
    "rules": ("04_rectgrad", "tab-rectgrad-rules"),
    "padding": ("04_rectgrad", "tab-rectgrad-padding"),
    "noise-border-not-faint": HERE_ALONE,
    "prr": ("04_rectgrad", "tab-rectgrad-prr"),
    "roar_kar": ("07_roar_kar", "tab-roar-areas"),
    "noise-patch-saliency-nonzero": ("03_noise_hypothesis", "A patch that tells nothing"),
    "noise-patch-untruthful": ("03_noise_hypothesis", "A patch that tells nothing"),
    "Sign Table 1": ("00_data_and_models", "tab-data-printed"),
    "Sign Table 2": ("05_deletion_benchmark", "tab-deletion-printed"),
    "Sign Table 3": ("05_deletion_benchmark", "tab-deletion-printed"),
    "Noise Appendix F": ("03_noise_hypothesis", "tab-noise-printed"),
    "Noise Table 1": ("07_roar_kar", "tab-roar-printed"),
}


@cache
def places_of(stem: str) -> set[str]:
    """The headings and tables that a chapter has both as published and in its source."""
    places = []
    for path in (ROOT / "book" / f"{stem}.ipynb", ROOT / "notebooks" / f"{stem}.ipynb"):
        cells = json.loads(path.read_text(encoding="utf8"))["cells"] if path.exists() else []
        text = "\n".join("".join(cell["source"]) for cell in cells)
        places.append(set(re.findall(r"^## (.+)$|\"(tab-[\w-]+)\"", text, re.M)))
    return {place for pair in places[0] & places[1] for place in pair if place}


def chapter(kind: str) -> str:
    """A link to the section or table of a chapter that shows this kind of claim or printed table;
    to the whole chapter where it has no such place, and "" where there is no such chapter."""
    stem, place = SHOWN[kind]
    if not stem:
        return place
    if not (ROOT / "book" / f"{stem}.ipynb").exists():
        return ""
    if place in places_of(stem):  # a table may lie on the appendix page: its name leads there
        where = place if place.startswith("tab-") else f"{stem}.ipynb#{slug(place)}"
    else:
        where = f"{stem}.ipynb"
    return f"[chapter {int(stem[:2])}]({where})"


@cache
def errata() -> dict[str, list[str]]:
    """Id of a claim -> the entries of the errata that link to it, as links."""
    text = (ROOT / "book" / "errata.md").read_text(encoding="utf8")
    by_claim: dict[str, list[str]] = {}
    for entry in re.split(r"^(?=\[\]\{#)", text, flags=re.M)[1:]:
        name = entry[len("[]{#") : entry.index("}")]
        for claim in re.findall(r"\(claims\.md#claim-([\w-]+)\)", entry):
            by_claim.setdefault(claim, []).append(f"[erratum](errata.md#{name})")
    return by_claim


def table(rows: list[dict], numeric: tuple[str, ...] = ()) -> str:
    """Rows of Markdown texts as a table."""
    head = list(rows[0])
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if h in numeric else ":---" for h in head) + "|",
    ]
    return "\n".join(lines + ["| " + " | ".join(str(row[h]) for h in head) + " |" for row in rows])


# --- the scoreboard -------------------------------------------------------------------------------


def printed() -> pd.DataFrame:
    return pd.read_csv(scoreboard.CSV)


def counts() -> str:
    """A sentence: how many of the printed numbers are computed, and how many agree."""
    numbers = printed()
    done = numbers.dropna(subset=["reproduced"])
    agree, not_ = ((done["verdict"] == word).sum() for word in ("agree", "disagree"))
    random = len(done) - agree - not_
    baselines = f", and {random} are random baselines, which others are measured against"
    return (
        f"The two papers print {len(numbers)} numbers in their tables, and as accuracies in an "
        f"appendix. {len(done)} are computed here: {agree} agree with ours, {not_} do not"
        f"{baselines if random else ''}.{_second_reading(numbers)}"
    )


def _second_reading(numbers: pd.DataFrame) -> str:
    """A sentence on what is judged by the released code's reading of a table; "" for none."""
    told = numbers["other_verdict"].dropna()
    if told.empty:
        return ""
    return (
        f" Of one table there is a second reading, the released code's: by it "
        f"{(told == 'agree').sum()} of {len(told)} agree."
    )


def subtotals() -> str:
    """The same by paper and printed table."""
    numbers, rows = printed(), []
    for (paper, name), part in numbers.groupby(["paper", "table"], sort=False):
        link = f"[paper {paper}, {name}](#{slug(f'{paper} {name}')})"
        rows.append({"Printed in": link} | _numbers(part))
    rows.append({"Printed in": "**both papers**"} | _numbers(numbers))
    return table(rows, tuple(rows[0])[1:])


def _numbers(part: pd.DataFrame) -> dict:
    done = part.dropna(subset=["reproduced"])
    waiting = (part["verdict"] == "needs a download").sum()
    return {
        "Numbers": len(part),
        "Agree": (done["verdict"] == "agree").sum(),
        "Do not": (done["verdict"] == "disagree").sum(),
        "Agree at tolerance 0": (done["verdict_at_zero"] == "agree").sum(),
        "Need a download": waiting,
        "Not judged": done["verdict"].isna().sum() + len(part) - len(done) - waiting,
    }


def score_tables() -> str:
    """A section for each printed table: every number with its value, interval and verdict, or why
    it has none; how ours were made is said once a paper."""
    parts, numbers = [], printed()
    for (paper, name), rows in numbers.groupby(["paper", "table"], sort=False):
        where = chapter(f"{paper} {name}")
        text = f"({slug(f'{paper} {name}')})=\n## Paper {paper}, {name}\n\n"
        text += f"Shown in {where}.\n\n" if where else ""
        if (paper, name) == ("Noise", "Table 1"):
            text += _table1()
        else:
            text += table([_row(r) for r in rows.itertuples()], numeric=("Printed",))
        if others := _stand_ins(paper, name):
            text += "\n\nOther pretrained networks, for which nothing is printed:\n\n"
            text += table(others)
        parts.append(text)
        if name == numbers[numbers["paper"] == paper]["table"].iloc[-1]:
            parts.append(_made(numbers[numbers["paper"] == paper]))
    return "\n\n".join(filter(None, parts))


def _row(r) -> dict:
    computed = pd.notna(r.reproduced)
    verdict = r.verdict if isinstance(r.verdict, str) else verdicts.WAITS
    at_zero = ", at tolerance 0 too" if r.verdict_at_zero == "agree" else ""
    return {
        "Verdict": f"[]{{#{score_anchor(r)}}}{figures.chip(verdict)}{at_zero}",
        "Row": r.row,
        "Network": verdicts.printed_network(r.column),
        "Printed": published.shown(r.paper, r.table, r.published),
        "Here (95 % interval)": _here(r) if computed else "",
    }


def _here(r) -> str:
    return f"{r.reproduced:.3f} ({figures.interval(r.low, r.high)})"


def _made(rows: pd.DataFrame) -> str:
    """What made the numbers of a paper here, folded, a line a network."""
    how = [
        f"- {verdicts.printed_network(column)}: {part.iloc[0]['protocol']}; {part.iloc[0]['data']}"
        for column, part in rows.dropna(subset=["reproduced"]).groupby("column", sort=False)
    ]
    if not how:
        return ""
    lines = "\n".join(how)
    title = f"How ours beside paper {rows['paper'].iloc[0]}'s numbers were trained and measured"
    return f":::{{dropdown}} {title}\n{lines}\n:::"


def _table1() -> str:
    """Table 1 of paper Noise in its two readings, and what was known when the first was chosen to
    be judged."""
    beside = table1.beside()
    if beside is None:
        return f"{figures.chip(verdicts.WAITS)}"
    waits = ""
    if beside["text_area"].isna().all():
        waits = "\n\nThe text's reading waits for networks retrained on thresholded baselines."
    told = " ".join([*table1.further(), table1.known_before()])
    return f"{figures.two_readings(beside).data}{waits}\n\n{told}"


def _stand_ins(paper: str, name: str) -> list[dict]:
    """The rows of one printed table for the networks beside the paper's pretrained ones."""
    return [
        {
            "Row": r.row,
            "Network": verdicts.printed_network(r.column),
            "Here (95 % interval)": _here(r),
        }
        for r in scoreboard.stand_ins().itertuples()
        if paper == "Sign" and r.table == name
    ]


# --- the claims -----------------------------------------------------------------------------------


def judged() -> pd.DataFrame:
    return pd.read_csv(listed.CSV)


def claim_counts() -> str:
    """A sentence: how many claims in words were measured, and how they came out, with chips."""
    sentences = verdicts.sentences(judged())
    words = pd.Series([verdicts.of_claim(part) for parts in sentences for part in parts])
    told = [
        f"{figures.chip(verdict)} {(words == verdict).sum()}"
        for verdict in verdicts.WORDS
        if (words == verdict).any()
    ]
    return f"{len(sentences)} sentences make {len(words)} claims: {', '.join(told)}."


def claims() -> str:
    """A table for each paper, a row for each sentence: its verdicts, what was measured of each of
    its claims on each network, and how."""
    parts, sentences = [], judged()
    for paper, rows in sentences.groupby("paper", sort=False):
        shown = [_sentence(sentence) for sentence in verdicts.sentences(rows)]
        parts.append(f"## Paper {paper}\n\n{{.claims}}\n{table(shown)}")
    return "\n\n".join(parts)


def _sentence(parts: list[pd.DataFrame]) -> dict:
    first = parts[0].iloc[0]
    chips, measured, how = [], [], []
    for part in parts:
        claim = part.iloc[0]
        about = verdicts.PARTS.get(claim.id, "")
        chip = figures.chip(verdicts.of_claim(part))
        chips.append(f"[]{{#claim-{claim.id}}}{chip} {about}".rstrip())
        head = f"*{about}*, " if about else ""
        condition = f"holds if {verdicts.condition(claim.holds_if)}"
        measured.append(f"{head}{figures.escaped(QUANTITIES[claim.id])}: {condition}.")
        measured += [figures.escaped(line) for line in verdicts.told(part)]
        how.append(plain(named(claim.statistic)))
    where = chapter(first.id if first.id in SHOWN else first.experiment)
    entries = dict.fromkeys(e for part in parts for e in errata().get(part["id"].iloc[0], []))
    source = ", ".join(filter(None, (figures.section(first.section), where, *entries)))
    statistic = f"<details><summary>how it is measured</summary>{'<br>'.join(how)}</details>"
    return {
        "Verdict": "<br>".join(chips),
        "Sentence": f"“{first.quotation}” ({source}) {statistic}",
        "Measured (95 % interval)": "<br>".join(measured),
    }


def named(text: str) -> str:
    """A text with the names that people use in place of identifiers that no one would write."""
    called = (
        names.NETWORKS | names.DATASETS | {m: attribution.label(m) for m in attribution.METHODS}
    )
    for name in sorted(called, key=len, reverse=True):
        if re.search(r"[_\d]", name):
            text = re.sub(rf"\b{re.escape(name)}\b", called[name], text)
    return text


def plain(text: str) -> str:
    """A text inside HTML inside a cell of a table: nothing in it is Markdown or a tag."""
    codes = {"&": "&amp;", "|": "&#124;", "*": "&#42;", "<": "&lt;", "_": "&#95;", "$": "&#36;"}
    return "".join(codes.get(letter, letter) for letter in text)
