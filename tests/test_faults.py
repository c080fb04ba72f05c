"""What may go wrong on a machine, done on purpose: no result is lost and none is served wrongly.

benchmarks/faults.csv and benchmarks/security.csv say in words what these and other tests hold; the
page *Faults* is made of them.
"""

from __future__ import annotations

import ast
import csv
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from safetensors.torch import save_file
from torch import nn

from book import build
from notebooks import run
from study.experiments import retraining
from study.store import cells, experiment, runner
from study.store.cells import Cell, finished, read
from study.subjects import networks, shapes10, sources
from study.subjects.training import Protocol

ROOT = Path(__file__).resolve().parent.parent
FORK = multiprocessing.get_context("fork")  # a fresh interpreter would import torch anew

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """Cells, locks and a cache of their own."""
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")


def in_a_child(function, *arguments) -> int:
    """The exit code of a process that is a copy of this one and calls the function."""
    child = FORK.Process(target=function, args=arguments)
    child.start()
    child.join(120)
    assert child.exitcode is not None, "it never ended"
    return child.exitcode


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def thing(value: int) -> Cell:
    return Cell("things", f"thing-{value}", {"value": value})


def content(value: int, length: int = 1) -> dict:
    return {"rows": [{"value": value}] * length}


# ---- kill -9


@pytest.mark.parametrize("moment", range(20))
def test_a_write_killed_at_any_moment_leaves_the_old_or_the_new(moment, tmp_path):
    path = tmp_path / "a.json"
    cells.write(path, content(-1, 20_000))

    def writes():
        for value in range(10_000):
            cells.write(path, content(value, 20_000))

    child = FORK.Process(target=writes)
    child.start()
    until(lambda: read(path)["rows"][0]["value"] >= 0)  # it is at work, and never half
    time.sleep(random.Random(moment).uniform(0, 0.2))
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    left = read(path)
    assert left == content(left["rows"][0]["value"], 20_000)
    assert [file.name for file in tmp_path.glob("*.json")] == ["a.json"]


BRIEF = Protocol(epochs=2, batch_size=20, optimizer="Adam", lr=2e-3, schedule="one cycle")


@pytest.fixture
def grid(monkeypatch):
    """A small grid of retrainings: five cells of six steps."""
    drawn = {
        split: shapes10.draw(split, count=count) for split, count in (("train", 60), ("test", 30))
    }
    monkeypatch.setitem(sources._LOADERS, "shapes10", lambda split, size: drawn[split])
    for cache in (retraining.explained_subjects, retraining.pixel_places):
        cache.cache_clear()
    yield retraining.plan(
        "shapes10",
        "rectgrad_cnn",
        methods=("random", "saliency"),
        fractions=(0.5,),
        protocol=BRIEF,
    )
    for cache in (retraining.explained_subjects, retraining.pixel_places):
        cache.cache_clear()


def stored_grid() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in cells.RESULTS.rglob("*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 9, 16, 30])
def test_a_grid_killed_within_a_cell_ends_as_one_that_never_was(step, grid, tmp_path, monkeypatch):
    straight = retraining.run(grid, workers=0)
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "other")

    def killed():
        take, taken = torch.optim.Adam.step, []

        def counted(self, *arguments, **options):
            taken.append(1)
            if len(taken) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return take(self, *arguments, **options)

        torch.optim.Adam.step = counted
        retraining.run(grid, workers=0)

    assert in_a_child(killed) == -signal.SIGKILL
    before = stored_grid()
    assert len(before) == (step - 1) // 6  # finished ones are there, the one at work is not
    assert retraining.run(grid, workers=0).equals(straight)
    after = stored_grid()
    assert len(after) == 5 and before.items() <= after.items()


@pytest.fixture
def chapter(tmp_path):
    """chapter(body): the only chapter of a checkout; returns the checkout."""

    def make(body: str) -> Path:
        root = tmp_path / "checkout"
        (root / "notebooks" / "profiles").mkdir(parents=True, exist_ok=True)
        (root / "book").mkdir(exist_ok=True)
        parameters = new_code_cell("images = 2", metadata={"tags": ["parameters"]})
        parts = [new_markdown_cell("# One"), parameters, new_code_cell(body)]
        nbformat.write(new_notebook(cells=parts), root / "notebooks" / "00_one.ipynb")
        for profile in run.PROFILES:
            file = root / "notebooks" / "profiles" / f"{profile}.yaml"
            file.write_text(yaml.safe_dump({"00_one": {"images": 3}}))
        return root

    return make


def driver(root: Path, **options) -> subprocess.Popen:
    """notebooks/run.py over that checkout, in a process of its own."""
    code = "import sys; from pathlib import Path; from notebooks import run\n"
    code += "sys.exit(run.main([], Path(sys.argv[1])))"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def printed(root: Path) -> str:
    """What the executed chapter printed; reading it shows that it is whole."""
    made = nbformat.read(root / "_build" / "quick" / "00_one.ipynb", as_version=4)
    return made.cells[-1].outputs[0].text.strip()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc who is alive")
def test_papermill_killed_within_a_cell_leaves_the_chapter_before_it(chapter, tmp_path):
    root, marker = chapter("print('first')"), tmp_path / "started"
    assert run.main([], root) == 0 and printed(root) == "first"
    slow = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)"
    killed = driver(chapter(slow))
    until(lambda: marker.exists() and marker.read_text())
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert printed(root) == "first"
    until(lambda: not runs(int(marker.read_text())))  # the kernel ends with its driver
    assert run.main([], chapter("print('second')")) == 0 and printed(root) == "second"
    assert [file.name for file in (root / "_build" / "quick").glob("*.ipynb")] == ["00_one.ipynb"]


# ---- disks


def no_larger_files_than(size: int) -> None:
    """Writing beyond it is refused by the system, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_that_fills_within_a_write_leaves_what_was_there():
    kept = finished(thing(1), lambda: content(1))

    def fills():
        no_larger_files_than(2000)
        try:
            finished(thing(2), lambda: content(2, 10_000))
        except OSError:
            os._exit(7)

    assert in_a_child(fills) == 7
    assert [file.name for file in (cells.RESULTS / "things").iterdir()] == [f"{thing(1).name}.json"]
    assert read(thing(1).path()) == kept
    assert finished(thing(2), lambda: content(2))["rows"] == [{"value": 2}]


@pytest.mark.slow
def test_a_disk_that_fills_within_papermill_leaves_the_chapter_before_it(chapter):
    root = chapter("print('first')")
    assert run.main([], root) == 0
    chapter("print('x' * 3_000_000)")
    full = driver(root, preexec_fn=lambda: no_larger_files_than(1_000_000))
    said = full.communicate(timeout=120)[1]
    assert full.returncode != 0 and "File too large" in said
    assert printed(root) == "first"
    assert run.main([], chapter("print('second')")) == 0 and printed(root) == "second"


@pytest.fixture
def read_only():
    """A folder that nobody can write to once it is shut: its `results`, and a free `cache`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name in ("results", "cache"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_read_only_results_are_read_and_say_what_cannot_be_written(read_only, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", read_only / "results")
    monkeypatch.setattr(cells, "CACHE", read_only / "cache")
    kept = finished(thing(1), lambda: content(1))
    before = stored_grid()
    for place in (read_only / "results" / "things", read_only / "results", read_only / "cache"):
        place.chmod(0o777 if place.name == "cache" else 0o555)
    (read_only / "cache" / "locks").chmod(0o777)

    def as_nobody():
        if os.getuid() == 0:  # whom no permission stops
            os.setgid(65534)
            os.setuid(65534)
        assert finished(thing(1), lambda: pytest.fail("it is stored")) == kept
        made = runner.map_cells(content_of, [thing(1)], workers=0)
        assert made == [kept]
        try:
            finished(thing(2), lambda: content(2))
        except OSError as error:
            named = thing(2).name in str(error.filename) and error.strerror == "Permission denied"
            os._exit(7 if named else 8)

    assert in_a_child(as_nobody) == 7
    assert stored_grid() == before


def content_of(parameters: dict) -> dict:
    return content(parameters["value"])


# ---- files that are another's, or have changed


def test_a_foreign_cell_is_not_served(tmp_path):
    """A whole, unharmed file under the name of another cell: copied by hand, or by a sync."""
    finished(thing(1), lambda: content(1))
    shutil.copy(thing(1).path(), thing(2).path())
    assert finished(thing(2), lambda: content(2))["rows"] == [{"value": 2}]
    assert [c["rows"][0]["value"] for c in cells.of("things")] == [1, 2]
    shutil.copy(thing(1).path(), thing(3).path())
    (made,) = runner.map_cells(content_of, [thing(3)], workers=0)
    assert made["rows"] == [{"value": 3}]
    shutil.copy(thing(1).path(), thing(4).path())
    assert len(cells.of("things")) == 3  # of the tables that read all cells, neither
    shutil.copytree(cells.RESULTS / "things", cells.RESULTS / "others")
    assert cells.of("others") == []


@pytest.fixture
def weights(tmp_path):
    """A file of weights, and its network."""
    model = networks.load("basic_cnn", classes=tuple("abc"), seed=1)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors", model


def flipped(raw: bytes, byte: int, bit: int) -> bytes:
    return raw[:byte] + bytes([raw[byte] ^ 1 << bit]) + raw[byte + 1 :]


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_flipped_in_weights_is_refused_or_has_another_fingerprint(seed, weights):
    """So that no stored result is served for them."""
    path, model = weights
    raw, draw = path.read_bytes(), random.Random(seed)
    header = 8 + int.from_bytes(raw[:8], "little")
    for low, high in ((0, header), (header, len(raw))):
        path.write_bytes(flipped(raw, draw.randrange(low, high), draw.randrange(8)))
        try:
            found = networks.load("basic_cnn", str(path), classes=tuple("abc"))
        except networks.ModelError as refusal:
            assert str(path) in str(refusal)
            continue
        same = networks.fingerprint(found) == networks.fingerprint(model)
        assert not same or (low == 0 and found.state_dict().keys() == model.state_dict().keys())


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_flipped_in_a_picture_gives_another_fingerprint(seed):
    """So that no stored result is served for it."""
    pictures, draw = shapes10.draw("test", count=4), random.Random(seed)
    images = pictures.images.clone()
    pixels = images.view(-1)
    pixels[draw.randrange(len(pixels))] ^= 1 << draw.randrange(8)
    changed = replace(pictures, images=images)
    assert changed.fingerprint != pictures.fingerprint
    assert replace(pictures, images=pictures.images.clone()).fingerprint == pictures.fingerprint


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_flipped_in_the_cache_is_noticed(seed, tmp_path):
    path, draw, made = tmp_path / "a.npy", random.Random(seed), []

    def compute() -> np.ndarray:
        made.append(1)
        return np.arange(1000, dtype=np.uint8).reshape(10, 100)

    expected = sources.kept_array(path, compute).copy()
    raw = path.read_bytes()
    path.write_bytes(flipped(raw, draw.randrange(len(raw)), draw.randrange(8)))
    assert np.array_equal(sources.kept_array(path, compute), expected)
    assert len(made) == 2


# ---- clocks


def test_a_clock_that_goes_back_changes_no_cell(monkeypatch):
    now = iter(range(2_000_000_000, 0, -1_000_000))
    monkeypatch.setattr(time, "time", lambda: next(now))
    first = [finished(thing(value), lambda value=value: content(value)) for value in range(3)]
    again = [finished(thing(value), lambda: pytest.fail("it is stored")) for value in range(3)]
    assert first == again and all(c["provenance"]["seconds"] >= 0 for c in first)


def test_pictures_with_an_older_date_are_read_anew(tmp_path):
    """As a clock that goes back, or an unpacked archive, leaves them."""
    from PIL import Image

    file = tmp_path / "birds" / "a" / "0.png"
    file.parent.mkdir(parents=True)
    for value in (10, 20):
        Image.new("RGB", (4, 4), (value,) * 3).save(file)
        os.utime(file, (2e9 - value, 2e9 - value))  # the later one is dated earlier
        pictures = sources.load(f"imagefolder:{tmp_path / 'birds'}")
        assert pictures.images.unique().tolist() == [value]


def test_an_executed_chapter_of_other_code_is_not_shown_whatever_its_date(chapter, tmp_path):
    """Executed, then its source changed by a clock that had gone back."""
    source = chapter("print('first')") / "notebooks" / "00_one.ipynb"
    executed = tmp_path / "executed.ipynb"
    shutil.copy(source, executed)
    os.utime(executed, (2e9, 2e9))
    assert build.is_current(executed, source)
    chapter("print('second')")
    assert not build.is_current(executed, source)


# ---- what could run code, or leave its folder

UNSAFE = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "joblib.load",
    "dill.load",
    "pandas.read_pickle",
    "pd.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
}


def unsafe_calls(source: str) -> list[str]:
    """Calls that can run what a file or a text says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if (
            name in UNSAFE
            or options.get("shell") == "True"
            or options.get("allow_pickle") == "True"
        ):
            found.append(name)
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(name)
    return found


def test_nothing_in_the_project_runs_what_a_file_says():
    files = [file for folder in ("lib", "study", "book") for file in (ROOT / folder).rglob("*.py")]
    found = {str(f): unsafe_calls(f.read_text(encoding="utf8")) for f in files}
    found["run.py"] = unsafe_calls((ROOT / "notebooks" / "run.py").read_text(encoding="utf8"))
    assert len(found) > 40 and not {file: calls for file, calls in found.items() if calls}


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(file)",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_runs_what_a_file_says_is_found(line):
    assert len(unsafe_calls(line)) == 1


def test_a_cell_that_holds_code_is_text(tmp_path):
    """Cells are JSON: a pickle in the place of one is a damaged file."""
    import pickle

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    thing(1).path().parent.mkdir(parents=True)
    thing(1).path().write_bytes(pickle.dumps(Trap()))
    assert finished(thing(1), lambda: content(1))["rows"] == [{"value": 1}]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("seed", range(3))
def test_an_array_of_the_cache_that_is_a_pickle_is_computed_anew(seed, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    evil = np.empty(seed + 1, object)
    evil[:] = [Trap() for _ in evil]
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    assert sources.kept_array(tmp_path / "a.npy", lambda: np.arange(3)).tolist() == [0, 1, 2]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "imagefolder:/a/../../evil", "a/b", "..", "x:../y"]
)
def test_a_cells_file_lies_in_the_folder_of_its_experiment(name):
    identity = dict.fromkeys(("dataset", "split", "model", "weights"), name)
    label = experiment.file_label(identity, {"map": name})
    path = Cell("things", label, identity).path()
    assert path.resolve().parent == (cells.RESULTS / "things").resolve()


def evil_archive(path: Path) -> None:
    """One whose member would lie beside the folder that it is unpacked in."""
    (path.parent / "member").write_text("evil")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path.parent / "member", "../../evil")
    (path.parent / "member").unlink()


@pytest.mark.parametrize("name", ["cifar10", "imagenette"])
def test_a_foreign_archive_is_not_unpacked(name, tmp_path, monkeypatch):
    """In place of a download: its digest is not the official one."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.delenv("SIGN_NOISE_DATA", raising=False)
    asked = []

    def fetched(url, filename, *_, **__):
        asked.append(url)
        evil_archive(Path(filename))

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", fetched)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops=3: url)
    with pytest.raises(sources.DataError, match="download failed"):
        sources.load(name)
    assert asked and not list(tmp_path.rglob("evil"))


EVIL = (
    "from pathlib import Path\nPath('executed').touch()\nfrom torch import nn\nnet = nn.Flatten()"
)


@pytest.mark.parametrize(
    "name",
    ["evil", "torchvision:evil", "timm:evil", "evil:net", "Python:evil:net", "resnet18:evil"],
)
def test_only_a_python_factory_is_imported(name, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with pytest.raises(networks.ModelError):
        networks.load(name, classes=("a", "b"))
    assert not (tmp_path / "executed").exists()


def test_a_python_factory_runs_its_module(tmp_path, monkeypatch):
    """With all rights of who names it, as the page says; also where the name is only checked."""
    (tmp_path / "own_factory.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    networks.check("python:own_factory:net")
    assert (tmp_path / "executed").exists()
    assert isinstance(networks.load("python:own_factory:net"), nn.Flatten)


# ---- the page


def rows(name: str) -> list[dict[str, str]]:
    with (ROOT / "benchmarks" / name).open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def named() -> set[str]:
    """Every test that the page names, as file::function."""
    return {
        t for name in ("faults.csv", "security.csv") for r in rows(name) for t in r["tests"].split()
    }


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_tests_that_exist():
    files = {test.partition("::")[0] for test in named()}
    known = {f"{file}::{function}" for file in files for function in functions(file)}
    assert named() <= known, named() - known


def test_every_row_is_filled_and_nothing_was_lost_or_served_wrongly():
    for row in rows("faults.csv"):
        assert all(row.values()), row
        assert (row["lost"], row["wrong"]) == ("0", "0"), row["fault"]
    assert all(all(row.values()) for row in rows("security.csv"))


@pytest.mark.slow
def test_tries_are_as_many_as_there_are_cases():
    tests = {t for row in rows("faults.csv") for t in row["tests"].split()}
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        + [f"tests/{test}" for test in sorted(tests)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert collected.returncode == 0, collected.stdout[-2000:]
    names = [line.partition("[")[0] for line in collected.stdout.splitlines() if "::" in line]
    for row in rows("faults.csv"):
        cases = sum(names.count(f"tests/{test}") for test in row["tests"].split())
        assert int(row["tried"]) == cases, row["fault"]
