"""What the two papers print and claim beside what came out here, as tables for figures."""

from __future__ import annotations

import pandas as pd

from study.account import claims as listed
from study.account import published, scoreboard, verdicts
from study.subjects.subject import Subject


def claims(*named: str) -> pd.DataFrame:
    """The papers' claims in words that belong to these experiments or have these ids, those of one
    sentence together.

    Columns id, paper, section, quotation, verdict (a word of `verdicts.WORDS`), about (what the
    claim is about, where its sentence has several).
    """
    rows = []
    for sentence in verdicts.sentences(
        listed.table().query("experiment in @named or id in @named")
    ):
        for part in sentence:
            first = part.iloc[0]
            about = verdicts.PARTS.get(first["id"], "")
            row = first[["id", "paper", "section", "quotation"]].to_dict()
            rows.append(row | {"verdict": verdicts.of_claim(part), "about": about})
    return pd.DataFrame(rows, columns=["id", "paper", "section", "quotation", "verdict", "about"])


def numbers(tables: list[str], subjects: list[Subject]) -> pd.DataFrame | None:
    """`scoreboard.beside_published` with the network as people call it, and the number as the paper
    prints it (columns network, printed); None where nothing is printed."""
    beside = scoreboard.beside_published(tables, subjects)
    if beside is None:
        return None
    return beside.assign(
        network=[verdicts.printed_network(column) for column in beside["column"]],
        printed=[published.shown(r.paper, r.table, r.published) for r in beside.itertuples()],
    )
