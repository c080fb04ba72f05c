"""The verdicts on the papers' claims in words, as readers see them: words, conditions, names.

`study.account.claims` judges; here its "depends" is told apart: networks that differ are *mixed*,
an interval on both sides of the threshold is *inconclusive*.
"""

from __future__ import annotations

import pandas as pd

from study.account import claims, scoreboard
from study.subjects import names

HOLDS, FAILS, MIXED, OPEN = "holds", "does not hold", "mixed", "inconclusive"
WAITS = "not measured"
WORDS = (HOLDS, FAILS, MIXED, OPEN, WAITS)
# what each claim of a sentence that claims several things is about
PARTS = {
    "noise-prr-least-in-patch": "as a sum",
    "noise-prr-least-in-patch-share": "as a share of the map",
    "noise-least-on-background": "on the background, as a sum",
    "noise-least-on-background-share": "on the background, as a share",
    "noise-least-total-variation": "total variation",
    "noise-least-total-variation-scaled": "total variation of maps of one total",
    "noise-roar-best": "ROAR",
    "noise-kar-best": "KAR",
}


def of_claim(part: pd.DataFrame) -> str:
    """The verdict on one claim, whose rows of `claims.table` are `part`: *mixed* if it holds on one
    network and not on another, *inconclusive* if an interval is on both sides of the threshold and
    no two networks differ so."""
    judged = part["verdict"].iloc[0]
    if judged in (HOLDS, FAILS):
        return judged
    if judged != "depends":
        return WAITS
    networks = {claims.judge(r.holds_if, r.low, r.high) for r in part.itertuples()}
    return MIXED if {HOLDS, FAILS} <= networks else OPEN


def condition(holds_if: str) -> str:
    """A condition such as "high < 0" in words: "the whole interval is below 0"."""
    end, _, limit = holds_if.split()
    where = {"high": "below", "low": "above"}[end]
    return f"the whole interval is {where} {limit.replace('-', '−')}"


def network(claim: str, shown: str) -> str:
    """What people call a network that `claims.table` names in the rows of this claim."""
    measured_on = claims.MEASURES[claim][0] if claim in claims.MEASURES else []
    called = {claims.network_name(d, m, w): names.title(m, d, w) for d, m, w in measured_on}
    return called.get(shown, shown)


def printed_network(column: str) -> str:
    """What people call the network that a column of the papers' tables means."""
    known = scoreboard.COLUMNS | scoreboard.STAND_INS
    if column not in known:
        return column
    dataset, model, tags = known[column]
    return names.title(model, dataset, tags[0])


def told(part: pd.DataFrame) -> list[str]:
    """Every network of one claim with its value and interval, as text."""
    lines = []
    for r in part.dropna(subset=["network"]).itertuples():
        text = WAITS
        if pd.notna(r.value):
            text = f"{r.value:.3g} ({r.low:.3g} to {r.high:.3g})".replace("-", "−")
        lines.append(f"{network(r.id, r.network)}: {text}")
    return lines


def sentences(table: pd.DataFrame) -> list[list[pd.DataFrame]]:
    """The claims of each sentence of the papers, in their order: the rows of each claim."""
    keys = ["paper", "section", "quotation"]
    return [
        [part for _, part in rows.groupby("id", sort=False)]
        for _, rows in table.groupby(keys, sort=False)
    ]
