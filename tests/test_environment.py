"""What is installed: version ranges, exact versions and their hashes, and where old names went."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import lowest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = ("study", "book", "test")  # by `make env`


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf8")


def exact(lines: str) -> dict[str, str]:
    """Package -> version of the lines `name==version` of a file."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", lines, re.M)
    return {canonicalize_name(name): version for name, version in found}


def ranges(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [Requirement(line) for line in lines]


def test_the_lowest_versions_are_the_first_that_are_allowed(capsys):
    assert lowest.main(list(EXTRAS)) == 0
    printed = exact(capsys.readouterr().out)
    for wanted in ranges(*EXTRAS):
        version = printed[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version) and version in str(wanted.specifier)


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=2,>=2.1"])
def test_a_range_without_one_lowest_version_is_refused(requirement):
    with pytest.raises(ValueError, match="must name one lowest version"):
        lowest.lowest(requirement)


def test_an_unknown_extra_is_named(capsys):
    assert lowest.main(["study", "tests"]) == 2
    assert "no extra 'tests'; accepted are study" in capsys.readouterr().err


def test_exact_versions_lie_within_the_ranges():
    versions = exact(text("constraints.txt"))
    for wanted in ranges(*INSTALLED):
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted


def test_every_exact_version_is_locked_by_the_hashes_of_its_files():
    locked = text("locked.txt")
    hashed = re.findall(
        r"^([\w.-]+)==([^\s;\\]+).*\\\n    --hash=sha256:[0-9a-f]{64}", locked, re.M
    )
    assert {canonicalize_name(name) for name, _ in hashed} == set(exact(locked))
    versions = exact(text("constraints.txt"))
    assert {name: exact(locked).get(name) for name in versions} == versions


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_hashes_are_asked_for_unless_a_build_of_torch_is_there_already(tmp_path):
    """With a stand-in for Python that notes what it installs and has no torch of somebody's own."""
    python, log = tmp_path / "bin" / "python", tmp_path / "log"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *install*) echo "$@" >> "{log}";; *torch*) exit 1;; esac\n'
    )
    python.chmod(0o755)
    made = ["make", "env", f"VENV={tmp_path}"]
    subprocess.run(made, cwd=ROOT, capture_output=True, check=True)
    first, packages, project = log.read_text().splitlines()
    assert "--require-hashes --no-deps -r" in first and "--require-hashes" in packages
    assert packages.endswith("-r locked.txt") and project.endswith(
        "--no-deps --no-build-isolation -e ."
    )
    assert list(exact((tmp_path / "setuptools.txt").read_text())) == ["setuptools"]


def test_the_lock_names_no_place_to_fetch_from():
    lines = [line for line in text("locked.txt").splitlines() if not line.startswith("#")]
    assert not [line for line in lines if "://" in line or "index" in line.partition(" ")[0]]


def test_where_old_names_went_is_there():
    rows = re.findall(r"^ *\| (`lib\..*?) \| (.*) \|$", text("CHANGELOG.md"), re.M)
    targets = {
        name for _, new in rows for name in re.findall(r"`((?:lib|study)\.[a-z0-9_.]+)`", new)
    }
    missing = [
        name
        for name in targets
        if not (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()
        and not (ROOT / name.replace(".", "/") / "__init__.py").is_file()
    ]
    assert len(rows) > 20 and not missing
