"""The chapters as Colab can run them: each with a first cell that fetches this repository.

    SIGN_NOISE_REPOSITORY=https://github.com/someone/sign-noise python book/colab.py _build/colab

Colab opens notebooks from GitHub alone and brings nothing but the notebook, which cannot know
where it came from. So the workflow that publishes the book writes the address into copies, and
keeps them on the branch `colab`, to which the boxes *Run this* lead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from notebooks.run import chapters, write  # noqa: E402  found through the path above

BRANCH = "colab"
FETCH = """# fetches the code and the weights that this chapter needs
!git clone --quiet --depth 1 {address} sign-and-noise
%cd sign-and-noise/notebooks
%pip install --quiet "..[study]"
import sys
sys.path.insert(0, "..")"""


def prepared(source: Path, address: str):
    """A chapter whose first cell fetches the repository at `address`."""
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FETCH.format(address=address), id="fetch"))
    return notebook


def main(folder: Path) -> int:
    address = os.environ.get("SIGN_NOISE_REPOSITORY", "")
    if not address:
        print("error: SIGN_NOISE_REPOSITORY is not set; give the repository's address.")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for source in chapters(ROOT).values():
        write(prepared(source, address), folder / source.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
