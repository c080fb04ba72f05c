"""The data of the page *Rankings*: every method under every metric, as one JSON file."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lib.attribution import label
from study import figures
from study.experiments import synthesis

from . import front

GROUP_OF = {name: group for group, names in figures.GROUPS.items() for name in names}


def _number(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def _row(key: tuple[str, str], r) -> list:
    """metric, name, value, low, high, place, place_low, place_high, of, n."""
    numbers = [_number(r[c], 4) for c in ("value", "low", "high")]
    ranks = [_number(r[c], 1) for c in ("rank", "rank_low", "rank_high")]
    return [*key, *numbers, *ranks, int(r["of"]), int(r["n"])]


def data() -> dict:
    """Networks, metrics, methods, and a row for each network, metric and method."""
    studies = {title: front.places(*which) for which, title in front.NETWORKS.items()}
    studies = {title: table for title, table in studies.items() if not table.empty}
    rows = {
        title: [_row(key, r) for key, r in table.iterrows()] for title, table in studies.items()
    }
    metrics = dict.fromkeys(row[0] for part in rows.values() for row in part)
    names = dict.fromkeys(row[1] for part in rows.values() for row in part)
    return {
        "columns": ["metric", "name", "value", "low", "high"]
        + ["place", "place_low", "place_high", "of", "n"],
        "metrics": {
            m: {
                "label": synthesis.METRICS[m].label,
                "better": "more" if synthesis.METRICS[m].better > 0 else "less",
                "family": synthesis.METRICS[m].family,
            }
            for m in metrics
        },
        "methods": {n: {"label": label(n), "group": GROUP_OF[n]} for n in names},
        "networks": rows,
    }


def write(folder: Path) -> None:
    """`rankings.json`, and the same as a script, which a page opened from a folder can load."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data(), separators=(",", ":"))
    (folder / "rankings.json").write_text(text + "\n", encoding="utf8")
    (folder / "rankings-data.js").write_text(f"window.RANKINGS = {text};\n", encoding="utf8")


def table() -> str:
    """What the page shows without JavaScript: places on the first network, as Markdown."""
    ranked = data()
    if not ranked["networks"]:
        return front.NOTHING
    title, rows = next(iter(ranked["networks"].items()))
    shown = [m for m in ranked["metrics"] if not m.endswith("_score")]
    place = {(row[0], row[1]): row[5] for row in rows}
    lines = [
        "| Method | " + " | ".join(ranked["metrics"][m]["label"] for m in shown) + " |",
        "|:---|" + "---:|" * len(shown),
    ]
    for name, about in ranked["methods"].items():
        cells = [place.get((m, name)) for m in shown]
        told = ["" if c is None else f"{c:g}" for c in cells]
        lines.append(f"| {about['label']} | " + " | ".join(told) + " |")
    return f"Places on {title}, 1 for the best.\n\n" + "\n".join(lines)
