"""The stored chapters run anew with nbval.

Outputs are compared value by value where they were made on a processor like this one, as
notebooks/processors.json tells: networks that a chapter trains end in other weights where sums are
taken in another order. Elsewhere a chapter must run without an error.

    python -m notebooks.compare [options of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from notebooks import run


def divided(root: Path = run.ROOT) -> tuple[list[Path], list[Path]]:
    """The notebooks that were made on a processor like this one, and the others."""
    here, known = run.processor(), run.made_on(root)
    every = sorted((root / "notebooks").glob("*.ipynb"))
    alike = [path for path in every if known.get(path.stem) == here]
    return alike, [path for path in every if path not in alike]


def main() -> int:
    """Both comparisons; the exit status of the first that fails."""
    alike, others = divided()
    if others:
        names = ", ".join(path.stem for path in others)
        print(f"not made on {run.processor()}, so run without comparing their values: {names}")
    # threads that wait for work would else take the cores from the other processes
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": run.THREADS}
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    statuses = [
        subprocess.run([*command, option, *map(str, paths)], env=environment).returncode
        for option, paths in (("--nbval", alike), ("--nbval-lax", others))
        if paths
    ]
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main())
