"""What `pip install` brings: the kernels under the name sign_and_noise, and nothing else.

The wheel is built from a copy, installed into a folder of its own, and the very tests of
tests/lib run on it, away from the checkout (tests/installed.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NEEDED = {"numpy", "scipy", "torch"}

pytestmark = pytest.mark.slow


def python(*words, folder: Path, installed: Path | None = None) -> str:
    """What this Python prints when it runs in `folder`; `installed` is found before all else."""
    places = [str(installed), str(ROOT)] if installed else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without a network from a copy of what it is made of."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    python("-m", "pip", "wheel", "--quiet", *offline, "-w", out, source, folder=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder into which the wheel is installed, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-index", "--target", target)
    python("-m", "pip", "install", *options, wheel, folder=target)
    return target


def test_the_wheel_holds_the_kernels_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    about = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    modules = {file.relative_to(ROOT / "lib").as_posix() for file in (ROOT / "lib").rglob("*.py")}
    assert {name.removeprefix("sign_and_noise/") for name in set(names) - about} == modules
    assert all(name.startswith("sign_and_noise/") for name in set(names) - about)


def test_it_asks_for_three_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(archive.read(path).decode())
    asked = [Requirement(text) for text in about.get_all("Requires-Dist")]
    always = {r.name for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert about["Name"] == "sign-and-noise" and always == NEEDED


def test_the_tests_of_the_kernels_pass_on_it(installed, tmp_path):
    options = ("-q", "-x", "-p", "no:cacheprovider", "-W", "error:::sign_and_noise")
    place = ("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, ROOT / "tests" / "lib")
    run = ("-m", "pytest", "-p", "tests.installed", *options, *place)
    last = python(*run, folder=tmp_path, installed=installed).strip().splitlines()[-1]
    assert int(re.search(r"(\d+) passed", last)[1]) > 300


USE = """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(5)
)
images = torch.rand(2, 3, 8, 8)
model(images)
{lines}
import sign_and_noise
print(tuple(maps.shape), float(maps.min()), float(maps.max()), sign_and_noise.__file__)
"""


def test_the_lines_of_the_readme_run(installed, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf8"), re.S)
    (lines,) = (block for block in blocks if "sign_and_noise" in block)
    code = USE.format(lines=lines)
    shown = python("-c", code, folder=tmp_path, installed=installed)
    assert shown.startswith("(2, 8, 8) 0.0 1.0 ") and str(installed) in shown
