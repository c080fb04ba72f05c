"""The lowest versions that pyproject.toml allows, as a constraints file on standard output.

    python tests/lowest.py study test > lowest.txt
    pip install -c lowest.txt -e '.[study,test]'

The extras that are named come beside what the kernels need. What packages need in turn is pip's
to choose.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lowest(requirement: str) -> str:
    """`numpy>=2.0` as `numpy==2.0`; ValueError for a requirement that names no lowest version."""
    wanted = Requirement(requirement)
    bounds = [s.version for s in wanted.specifier if s.operator in (">=", "==", "~=")]
    if len(bounds) != 1:
        raise ValueError(f"{requirement!r} of pyproject.toml must name one lowest version.")
    return f"{wanted.name}=={bounds[0]}"


def main(extras: list[str]) -> int:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf8"))["project"]
    known = project["optional-dependencies"]
    if wrong := sorted(set(extras) - set(known)):
        print(f"error: no extra {wrong[0]!r}; accepted are {', '.join(known)}.", file=sys.stderr)
        return 2
    named = [*project["dependencies"], *(line for extra in extras for line in known[extra])]
    print("\n".join(sorted({lowest(line) for line in named})))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
