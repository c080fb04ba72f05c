"""Every method against Captum, zennit and its floor: one table, data/results/benchmarks.csv.

    make bench                         the whole table: about 20 minutes on two quiet cores
    make bench ARGS="--networks resnet18-224 --methods rectgrad deeplift"
    make bench ARGS=--quick            two methods on one network, to see that all works

A row is written as soon as it is measured, so a stopped run goes on where it was; rows of another
machine, another number of threads, other versions or other code are measured anew. A ratio is ours
over the other's, the median over alternating rounds with its quartiles, and is taken only where
both come to the same result in this very run.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from benchmarks import rows, table
from lib.attribution import METHODS
from study.paths import ROOT

QUICK_CSV = ROOT / "_build" / "benchmarks.csv"
QUICK_METHODS = ("saliency", "integrated_gradients")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The chosen options, with their defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [setting.name for setting in rows.SETTINGS]
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--seconds", type=float, default=6, help="about so many a row (default 6)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--again", action="store_true", help="measure finished rows once more")
    parser.add_argument("--quick", action="store_true", help="two methods, one network, no times")
    parser.add_argument("--out", type=Path, help="the table (default data/results/benchmarks.csv)")
    return parser.parse_args(arguments)


def tasks(chosen: argparse.Namespace) -> list[rows.Task]:
    """What is to be measured."""
    if chosen.quick:
        return list(rows.ratios(rows.QUICK, QUICK_METHODS, seconds=0))
    settings = [setting for setting in rows.SETTINGS if setting.name in chosen.networks]
    return list(rows.chosen(settings, chosen.methods, chosen.seconds))


def line(row: dict) -> str:
    """A row as it is printed."""
    where = f"{row['kind']:8} {row['network']:13} {row['pixels']!s:>9} px  {row['method']:20}"
    if not row.get("value"):
        return f"{where} {row['against']:11} {row['result']}"
    spread = f" ({row['low']} to {row['high']})" if row.get("low") else ""
    aim = f"  aim {row['aim']}: {'met' if row['met'] == 'yes' else 'missed'}"
    told = f"{where} {row['against']:11} {row['value']}{spread}{aim if row.get('aim') else ''}"
    return f"{told}  {row['why']}" if row.get("why") else told


def main(arguments: list[str] | None = None) -> int:
    """Measure what is not finished, and print every row."""
    chosen = parsed(arguments)
    torch.set_num_threads(chosen.threads)
    out = chosen.out or (QUICK_CSV if chosen.quick else table.CSV)
    kept = table.Table(out, table.about(), chosen.again)
    for task in tasks(chosen):
        if not all(map(kept.has, task.keys)):
            kept.add(rows.quietly(task))
        for key in task.keys:
            print(line(kept.rows[table.identity(key)]), flush=True)
    print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
