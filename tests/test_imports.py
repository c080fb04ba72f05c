"""Who may import whom: the folders of README's layout, read from the syntax of every file."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "lib/attribution",
    "lib/metrics",
    "study/subjects",
    "study/store",
    "study/experiments",
    "study/account",
    "study/account/summaries",
    "study/figures",
)
KERNELS = {"torch", "numpy", "scipy"}
# what a folder may import of this project, its own files aside; study.paths is for everybody
ALLOWED = {
    "lib/attribution": set(),
    "lib/metrics": {"lib.attribution.graph"},
    "study/subjects": {"lib"},
    "study/store": set(),
    "study/experiments": {"lib", "study.subjects", "study.store"},
    "study/account": {"lib", "study.subjects", "study.store", "study.experiments"},
    "study/account/summaries": {
        "lib",
        "study.subjects",
        "study.store",
        "study.experiments",
        "study.account",
    },
    "study/figures": {"lib.attribution"},
}


def imported(file: Path) -> set[str]:
    """Every module that a file imports when it runs, anywhere in it, by its full name."""
    package = file.relative_to(ROOT).parent.parts
    tree = ast.parse(file.read_text(encoding="utf8"))
    # types that annotate, and are imported by checkers alone
    tree.body = [node for node in tree.body if not _for_checkers(node)]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*start, *(node.module or "").split(".")]).strip(".")
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def _for_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def trespasses(folder: str) -> list[str]:
    own = folder.replace("/", ".")
    allowed = ALLOWED[folder] | {own, "study.paths"}
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        ours = {n for n in imported(file) if within(n, "lib") or within(n, "study")}
        strange = {n for n in ours if not any(within(n, module) for module in allowed)}
        found += [f"{file.relative_to(ROOT)} imports {name}" for name in sorted(strange)]
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_points_backwards(folder):
    assert trespasses(folder) == []


def test_the_kernels_need_three_packages():
    roots = {
        name.partition(".")[0] for file in (ROOT / "lib").rglob("*.py") for name in imported(file)
    }
    assert roots - set(sys.stdlib_module_names) - {"lib"} <= KERNELS


def test_every_file_lies_in_a_folder_with_a_rule():
    files = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "study").rglob("*.py")]
    top = {"lib/__init__.py", "study/__init__.py", "study/paths.py"}
    loose = {
        str(file.relative_to(ROOT))
        for file in files
        if str(file.parent.relative_to(ROOT)) not in FOLDERS
    }
    assert loose <= top


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_asked_of_a_module_is_there(folder):
    """A function that no test calls may still name what has moved."""
    missing = []
    for file in sorted((ROOT / folder).glob("*.py")):
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                asked = getattr(module, node.value.id, None)
                if isinstance(asked, ModuleType) and not hasattr(asked, node.attr):
                    missing.append(f"{file.name}, line {node.lineno}: {ast.unparse(node)}")
    assert missing == []
