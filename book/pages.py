"""The parts of the prose pages that are made of results.

A comment `<!-- name -->` in a page is replaced by `PARTS[name]()`. So every number on those pages
follows from data/results, and none is typed.
"""

from __future__ import annotations

import re
from pathlib import Path

from book import front, judged, measured, rankings
from study.account import claims as listed
from study.account import plan
from study.store import cells
from study.subjects import networks

ORDER = {
    "accuracy": "Accuracy",
    "fresh_statistics": "Accuracy with fresh batch-norm statistics",
    "precision": "bfloat16 against float32",
    "signs": "Shares of the signs",
    "deletion": "Deletion curves",
    "controls": "Deletion by random pixels and edges",
    "scores": "Score curves",
    "soft": "Soft replacement",
    "kept_pixels": "Kept pixels",
    "printed": "Printed against released",
    "insertion": "Insertion",
    "occlusion": "Feature-map occlusion",
    "sanity": "Sanity checks",
    "amounts": "Attribution in the patch, outside the mask, total variation",
    "sweep": "Threshold sweep",
    "adversarial": "Class sensitivity",
    "roar": "Retraining (ROAR and KAR)",
    "synthesis": "Synthesis",
    "responses": "Synthesis: what maps respond to",
    "shift": "Occluded pictures without retraining",
    "seconds": "Seconds a picture",
    "claims": "Claims in words",
}


def costs() -> str:
    """What the stored results cost: cells and hours by experiment, and the machine."""
    rows = [
        {
            "Computation": f"Training {m}, {tag}",
            "Cells": len(card["epochs"]),
            "Hours": f"{sum(e['seconds'] for e in card['epochs']) / 3600:.2f}",
            "torch": card["torch"],
            "Machine": card["machine"],
            "Commit": card["commit"],
        }
        for m, _, tag, _ in plan.TRAINED
        if (card := networks.card(m, tag))
    ]
    every_claim = [c for claim in listed.MEASURES for c in cells.of(f"claims/{claim}")]
    for name, label in ORDER.items():
        stored = every_claim if name == "claims" else cells.of(name)
        if stored:
            origin = [c["provenance"] for c in stored]
            rows.append(
                {
                    "Computation": label,
                    "Cells": len(stored),
                    "Hours": f"{sum(p['seconds'] for p in origin) / 3600:.2f}",
                    "torch": ", ".join(sorted({p["torch"] for p in origin})),
                    "Machine": ", ".join(sorted({p["machine"] for p in origin})),
                    "Commit": ", ".join(sorted({p["commit"] for p in origin})),
                }
            )
    if not rows:
        return front.NOTHING
    hours, number = sum(float(row["Hours"]) for row in rows), sum(row["Cells"] for row in rows)
    table = judged.table(rows, ("Cells", "Hours"))
    return f"{table}\n\nIn all {hours:.0f} hours for {number:,} cells."


PARTS = {
    "counts": judged.counts,
    "subtotals": judged.subtotals,
    "claim_counts": judged.claim_counts,
    "claims": judged.claims,
    "scoreboard": judged.score_tables,
    "costs": costs,
    "rankings": rankings.table,
    **front.PARTS,
    **measured.PARTS,
}


def fill(folder: Path) -> None:
    """Replace the comments in every Markdown page of `folder`; an unknown name is an error."""
    for page in folder.glob("*.md"):
        text = page.read_text(encoding="utf8")
        filled = re.sub(r"<!-- (\w+) -->", lambda comment: PARTS[comment[1]](), text)
        page.write_text(filled, encoding="utf8")
