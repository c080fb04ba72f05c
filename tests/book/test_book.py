"""The chapters as stored: executed, clean, described, in step with what surrounds them.

That is their sources, the profiles and the frame.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

from book import build
from lib.attribution import rules
from notebooks import run
from study.account import claims, verdicts
from study.subjects import sources

ROOT = Path(__file__).resolve().parent.parent.parent
CHAPTERS = run.chapters()
STORED = [*CHAPTERS.values(), *sorted((ROOT / "book").glob("*.ipynb"))]
MEGABYTES = 1.5  # of outputs that a chapter may store

stored = pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
chapter = pytest.mark.parametrize("name", CHAPTERS)


def have_cifar10() -> bool:
    try:
        sources.load("cifar10")
    except sources.DataError:
        return False
    return True


def read(path: Path):
    return nbformat.read(path, as_version=4)


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf8")


def test_there_are_chapters():
    assert CHAPTERS, "notebooks/ holds no chapter"


@stored
def test_no_error_and_no_stderr_is_stored(path):
    assert run.complaint(read(path)) is None


@stored
def test_every_code_cell_was_executed_in_order(path):
    counts = [
        cell.execution_count
        for cell in read(path).cells
        if cell.cell_type == "code" and cell.source.strip()
    ]
    assert counts == list(range(1, len(counts) + 1))


@stored
def test_every_picture_has_alt_text(path):
    for n, cell in enumerate(read(path).cells):
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        if any(kind.startswith("image/") for output in outputs for kind in output):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert alt.strip(), (
                f"cell {n} shows a picture without alt text (metadata mystnb.image.alt)"
            )
        for output in outputs:
            for tag in re.findall(r"<img\b[^>]*>", "".join(output.get("text/html", ""))):
                assert re.search(r"""\balt=["'][^"']""", tag), (
                    f"cell {n}: {tag[:80]} has no alt text"
                )
        if cell.cell_type == "markdown":
            assert "![](" not in cell.source, f"cell {n} includes a picture without alt text"


@stored
def test_outputs_are_small(path):
    size = sum(len(json.dumps(cell.get("outputs", []))) for cell in read(path).cells)
    assert size <= MEGABYTES * 1e6, f"{size / 1e6:.1f} MB of outputs"


@stored
def test_nothing_stored_changes_from_run_to_run(path):
    notebook = read(path)
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert not {"papermill", "execution"} & set(cell.metadata)


@chapter
def test_profiles_hold_what_differs_from_the_parameters_cell(name):
    known = run.defaults(CHAPTERS[name])
    assert run.profile_values("quick")[name] == known
    assert set(run.profile_values("paper")[name]) == set(known)
    given = yaml.safe_load(text("notebooks/profiles/paper.yaml"))[name]
    assert not [parameter for parameter, value in given.items() if known[parameter] == value]


@pytest.mark.parametrize(
    "written, words",
    [
        ("06_noise: {profile: paper}", "unknown chapter '06_noise'"),
        ("06_noise_benchmark: {imges: 3}", "a parameter 'imges', which it does not have"),
    ],
)
def test_profiles_refuse_unknown_names(tmp_path, written, words):
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    shutil.copy(CHAPTERS["06_noise_benchmark"], tmp_path / "notebooks")
    (tmp_path / "notebooks" / "profiles" / "paper.yaml").write_text(written)
    with pytest.raises(run.RunError, match=words):
        run.profile_values("paper", tmp_path)


@chapter
def test_published_chapter_follows_from_its_source(name):
    published = read(ROOT / "book" / f"{name}.ipynb")
    injected = [
        cell.source
        for cell in published.cells
        if "injected-parameters" in cell.metadata.get("tags", [])
    ]
    values = {
        line.targets[0].id: ast.literal_eval(line.value)
        for source in injected
        for line in ast.parse(source).body
    }
    current = (
        build.code(published) == build.code(read(CHAPTERS[name]))
        and values == run.profile_values("paper")[name]
    )
    if build.replaced(published, run.profile_values("paper")[name]):
        pytest.skip(
            "networks that this chapter rests on have been trained anew; "
            "its page says so until it is executed again"
        )
    if not current and not have_cifar10():
        pytest.skip(
            "this chapter is older than its source, and the real pictures that it needs are not "
            "here (SIGN_NOISE_DATA); its page says so"
        )
    assert current, f"make refresh PROFILE=paper CHAPTER={name}"


def test_the_contents_name_existing_pages_and_all_of_them():
    toc = yaml.safe_load(text("_toc.yml"))
    files = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    pages = {
        str(path.relative_to(ROOT).with_suffix(""))
        for kind in ("md", "ipynb")
        for path in (ROOT / "book").glob(f"*.{kind}")
    }
    assert set(files) == pages
    assert len(files) == len(set(files))
    assert [Path(file).name for file in files if Path(file).name in CHAPTERS] == list(CHAPTERS)


# --- the driver, on a small tree of its own -------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """Three chapters: one that works, one that raises, one that warns."""
    bodies = {
        "00_works": "print(model, images)",
        "01_raises": "raise ValueError('no such thing')",
        "02_warns": "import sys; print('careful', file=sys.stderr)",
    }
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    for name, body in bodies.items():
        cells = [
            new_markdown_cell(f"# {name}\n\nProse."),
            new_code_cell(
                "model = 'small'  # a name\nimages = 2", metadata={"tags": ["parameters"]}
            ),
            new_code_cell(body),
        ]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    for profile, images in {"quick": 2, "paper": 50}.items():
        values = {name: {"model": "small", "images": images} for name in bodies}
        (tmp_path / "notebooks" / "profiles" / f"{profile}.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


@pytest.mark.parametrize(
    "arguments, accepted",
    [
        (["99"], "00_works, 01_raises, 02_warns"),
        (["00", "--profile", "huge"], "quick, paper"),
        (["00", "-p", "colour=red"], "model, images"),
        (["00", "-p", "images=many"], "int"),
        (["00", "-p", "images"], "name=value"),
        (["00", "--refresh", "-p", "images=3"], "takes no parameters"),
    ],
)
def test_what_is_unknown_is_refused_in_one_sentence(tree, capsys, arguments, accepted):
    assert run.main(arguments, tree) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert accepted in said.err
    assert not (tree / "_build").exists()


def test_the_chapter_without_a_number_comes_last_and_goes_by_its_name(tree):
    numbered = list(run.chapters(tree))
    for name in ("how_to_use", "mine"):  # a reader's own notebook is no chapter
        shutil.copy(tree / "notebooks" / "00_works.ipynb", tree / "notebooks" / f"{name}.ipynb")
    assert list(run.chapters(tree)) == [*numbered, "how_to_use"] == list(run.select([], tree))
    for wanted in ("how_to_use", "notebooks/how_to_use.ipynb"):
        assert list(run.select([wanted, "01"], tree)) == ["01_raises", "how_to_use"]
    for unknown in ("ho", "how", "mine"):
        with pytest.raises(run.RunError, match="02_warns, how_to_use, or the number alone"):
            run.select([unknown], tree)


def test_a_parameters_cell_must_be_plain(tree):
    path = tree / "notebooks" / "00_works.ipynb"
    notebook = read(path)
    notebook.cells[1].source = "images = 2\nmodel = input()"
    nbformat.write(notebook, path)
    with pytest.raises(run.RunError, match="line 2"):
        run.defaults(path)
    notebook.cells[1].metadata["tags"] = []
    nbformat.write(notebook, path)
    with pytest.raises(run.RunError, match="0 cells"):
        run.defaults(path)


@pytest.mark.parametrize(
    "written, value",
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("None", None),
        ("null", None),
        ("true", True),
        ("[1, 2]", [1, 2]),
        (".1, .2", [0.1, 0.2]),
        ("resnet18", "resnet18"),
        ("imagefolder:/a b", "imagefolder:/a b"),
        ("no", "no"),
        ("", ""),
    ],
)
def test_values_by_hand(written, value):
    assert run.assigned([f"x={written}"]) == {"x": value}


@pytest.mark.slow
def test_a_chapter_runs_with_values_by_hand(tree, capsys):
    assert run.main(["00", "-p", "images=7"], tree) == 0
    assert "00_works: quick profile, " in capsys.readouterr().out
    made = read(tree / "_build" / "quick" / "00_works.ipynb")
    assert (
        made.cells[0].source.startswith("# 00_works\n\n```{note}\n")
        and "`images = 7`" in made.cells[0].source
        and made.cells[0].source.endswith("Prose.")
    )
    assert {"injected-parameters", "hide-input"} <= set(made.cells[2].metadata["tags"])
    assert made.cells[3].outputs[0].text == "small 7\n"


@pytest.mark.slow
def test_a_refresh_stores_the_same_bytes_twice_and_only_what_it_should(tree):
    source = tree / "notebooks" / "00_works.ipynb"
    before = read(source)
    assert run.main(["00", "--refresh"], tree) == 0
    first = source.read_bytes()
    assert run.main(["00", "--refresh"], tree) == 0
    assert source.read_bytes() == first
    assert [(cell.id, cell.source) for cell in read(source).cells] == [
        (cell.id, cell.source) for cell in before.cells
    ]
    assert run.main(["00", "--refresh", "--profile", "paper"], tree) == 0
    published = read(tree / "book" / "00_works.ipynb")
    assert published.cells[3].outputs[0].text == "small 50\n"
    assert build.code(published) == build.code(before)
    assert not list(tree.rglob("*.part")) and source.read_bytes() == first


@pytest.mark.slow
def test_a_chapter_that_fails_is_reported_and_not_stored(tree, capsys):
    assert run.main(["01", "02", "--refresh"], tree) == 1
    said = capsys.readouterr().err
    assert (
        "01_raises: failed: ValueError: no such thing" in said
        and "02_warns: failed: cell 2 writes to stderr: careful" in said
    )
    assert all(
        cell.get("execution_count") is None
        for cell in read(tree / "notebooks" / "01_raises.ipynb").cells
    )
    assert (tree / "_build" / "quick" / "01_raises.failed.ipynb").exists()


def test_a_stale_chapter_carries_a_banner_and_a_quick_one_a_note(tree):
    (tree / "_config.yml").write_text(yaml.safe_dump({"title": "Toy", "html": {}}))
    (tree / "_toc.yml").touch()
    for path in run.chapters(tree).values():
        shutil.copy(path, tree / "book")
    changed = read(tree / "notebooks" / "00_works.ipynb")
    changed.cells[2].source += "  # changed"
    nbformat.write(changed, tree / "notebooks" / "00_works.ipynb")
    build.assemble(None, tree / "published", tree)
    build.assemble("quick", tree / "quick", tree)
    titles = {
        kind: [
            read(tree / kind / "book" / f"{name}.ipynb").cells[0].source
            for name in ("00_works", "01_raises")
        ]
        for kind in ("published", "quick")
    }
    assert "{warning}" in titles["published"][0]
    assert titles["published"][1] == "# 1 · 01_raises\n\nProse."
    assert all("Quick profile" in source for source in titles["quick"])
    assert (
        yaml.safe_load((tree / "quick" / "_config.yml").read_text())["title"]
        == "Toy (quick profile)"
    )
    executed = tree / "_build" / "quick" / "00_works.ipynb"
    executed.parent.mkdir(parents=True)
    for age, taken in ((-9, False), (9, True)):
        ran = read(tree / "notebooks" / "00_works.ipynb")
        ran.cells[0].source = "# Executed here\n\nProse."
        nbformat.write(ran, executed)
        now = (tree / "notebooks" / "00_works.ipynb").stat().st_mtime
        os.utime(executed, (now + age, now + age))
        build.assemble("quick", tree / "again", tree)
        assert (
            "Executed here" in read(tree / "again" / "book" / "00_works.ipynb").cells[0].source
        ) == taken
    (tree / "book" / "02_warns.ipynb").unlink()
    with pytest.raises(build.BuildError, match="make refresh PROFILE=paper CHAPTER=02_warns"):
        build.assemble(None, tree / "published", tree)


def test_a_chapter_says_when_its_networks_have_been_replaced(tree):
    """Which committed networks a chapter rests on follows from its parameters.

    What they were stays with it.
    """
    (tree / "_config.yml").write_text(yaml.safe_dump({"title": "Toy", "html": {}}))
    (tree / "_toc.yml").touch()
    (tree / "data" / "weights").mkdir(parents=True)

    def put(stem, model, dataset, weights_hash):
        (tree / "data" / "weights" / f"{stem}.json").write_text(
            json.dumps({"model": model, "dataset": dataset, "weights_hash": weights_hash})
        )

    put("small-shapes10", "small", "shapes10", "a")
    put("small-twin", "small", "shapes10+patch", "b")
    put("large-shapes10", "large", "shapes10", "c")
    assert run.networks_behind({"model": "small", "images": 2}, tree) == {}
    assert run.networks_behind({"model": ["small", "other"], "dataset": "shapes10"}, tree) == {
        "small-shapes10": "a",
        "small-twin": "b",
    }
    for path in run.chapters(tree).values():
        notebook = read(path)
        own = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
        own.source += '\ndataset = "cifar10"'
        nbformat.write(notebook, path)
    values = {
        name: {"model": "small", "images": 50, "dataset": "shapes10"} for name in run.chapters(tree)
    }
    (tree / "notebooks" / "profiles" / "paper.yaml").write_text(yaml.safe_dump(values))
    for path in run.chapters(tree).values():
        notebook = read(path)
        notebook.metadata["networks"] = run.networks_behind(values[path.stem], tree)
        nbformat.write(notebook, tree / "book" / path.name)

    def warned():
        build.assemble(None, tree / "published", tree)
        return [
            "older than its networks"
            in read(tree / "published" / "book" / f"{name}.ipynb").cells[0].source
            for name in values
        ]

    assert warned() == [False] * 3
    put("large-shapes10", "large", "shapes10", "d")
    assert warned() == [False] * 3
    put("small-twin", "small", "shapes10+patch", "e")
    assert warned() == [True] * 3


def test_numbers_in_tables_keep_together(tmp_path):
    table = (
        "| a to b | 0.929 (0.921 to -0.937) |\n|:---|---:|\n| 5 % to 95 % | +0.012 ± 0.004 % |\n"
    )
    whole = (
        table.replace("0.921 to -", "0.921~to~-")
        .replace("5 % to 95 %", "5~%~to~95~%")
        .replace("± ", "±~")
        .replace("4 %", "4~%")
        .replace("~", "\u00a0")
    )
    assert (
        build.unbroken(table) == whole
        and build.unbroken("From 0.1 to 0.3.\n") == "From 0.1 to 0.3.\n"
    )
    wide = "| RectGrad |" + " 0.0763 (0.0689 to 0.0853) |" * 5 + "\n"
    assert (
        build.unbroken(wide) == wide
        and build.unbroken(wide[:70] + "\n\n" + wide).count("\u00a0") == 4
    )
    (tmp_path / "page.md").write_text(f"0.1 to 0.2\n\n{table}", encoding="utf8")
    output = new_output("display_data", {"text/markdown": table, "text/plain": table})
    notebook = new_notebook(cells=[new_code_cell("x", outputs=[output])])
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    build.keep_numbers_whole(tmp_path)
    assert (tmp_path / "page.md").read_text(encoding="utf8") == f"0.1 to 0.2\n\n{whole}"
    assert read(tmp_path / "chapter.ipynb").cells[0].outputs[0]["data"] == {
        "text/markdown": whole,
        "text/plain": table,
    }


# --- the frame ------------------------------------------------------------------------------------

PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
TARGETS = set(re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.M)[1].split())


def test_every_target_is_explained_and_every_named_target_exists():
    for path in (
        "README.md",
        "book/running.md",
        ".ci/run",
        ".github/workflows/test.yml",
        ".github/workflows/publish.yml",
        "environment.yml",
    ):
        named = set(re.findall(r"\bmake ([a-z]+)\b", text(path)))
        assert named <= TARGETS, path
        if path == "book/running.md":
            assert named == TARGETS - {"help"}


def test_one_set_of_versions():
    pins = dict(
        line.split("==")
        for line in text("constraints.txt").splitlines()
        if line and not line.startswith("#")
    )
    extras = PROJECT["optional-dependencies"]
    for requirement in map(
        Requirement, [*PROJECT["dependencies"], *extras["book"], *extras["test"]]
    ):
        assert requirement.specifier.contains(pins[requirement.name]), requirement
    conda = yaml.safe_load(text("environment.yml"))["dependencies"]
    installs = re.search(r"pip install .*(-c \S+) (-e) '(\S+)'", text("Makefile"))
    assert conda[-1]["pip"] == [installs[1], f"{installs[2]} {installs[3]}"]
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in conda


def test_one_version_of_the_project():
    assert str(yaml.safe_load(text("CITATION.cff"))["version"]) == PROJECT["version"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_is_installed_once_again_if_cut_short_and_left_alone_if_current(tmp_path):
    """With a stand-in for Python that notes its arguments and fails while there is `broken`."""
    python, log, broken = tmp_path / "bin" / "python", tmp_path / "log", tmp_path / "broken"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *install*) echo "$@" >> "{log}"; test ! -e "{broken}";; esac\n'
    )
    python.chmod(0o755)
    broken.touch()

    def make() -> list[str]:
        log.write_text("")
        subprocess.run(["make", "env", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True)
        return log.read_text().splitlines()

    (first,) = make()
    assert "-c constraints.txt -e .[study,book,test]" in first and "--ignore-installed" not in first
    broken.unlink()
    (second,) = make()
    assert "--ignore-installed" in second
    assert make() == []
    os.utime(tmp_path / ".sign-and-noise", (0, 0))
    (renewed,) = make()
    assert renewed == first


# --- what chapters and pages say -----------------------------------------------------------------


def shown_texts(path: Path) -> list[str]:
    """What a reader sees of every text output of a stored chapter: Markdown where there is some."""
    texts = []
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            kinds = output.get("data", {"text/plain": output.get("text", "")})
            if any(kind.startswith("image/") for kind in kinds):
                continue
            text_of = kinds.get("text/markdown") or kinds.get("text/html") or kinds["text/plain"]
            texts.append("".join(text_of))
    return texts


@stored
def test_no_output_is_the_name_of_an_object(path):
    for shown in shown_texts(path):
        assert not re.search(r"<\w+(\.\w+)+ object( at 0x|>)", shown), shown[:200]


@stored
def test_no_link_is_shown_as_its_markup(path):
    for shown in shown_texts(path):
        assert not re.search(r"\\\[[^]]*\\\]\(", shown), shown[:200]


@chapter
def test_a_run_on_other_pictures_says_nothing_of_the_papers(name):
    """The quick profile is anyone's run: on its pictures and networks nothing is printed."""
    printed = (
        r"in print\b|papers? (Sign |Noise )?prints?\b(?! no )|printed (value|number|difference)"
    )
    for shown in shown_texts(ROOT / "notebooks" / f"{name}.ipynb"):
        assert not re.search(rf"Imagenette|epochs, the last|{printed}", shown), shown[:200]


def test_the_smallest_layer_that_rectgrad_can_pass_is_the_kernels():
    """A percentile by nearest rank is the largest score itself in small layers."""

    def passes(units: int) -> bool:
        scores = torch.arange(units, dtype=torch.float32)[None]
        return bool((scores > rules.percentile(scores, 98)[:, None]).any())

    largest = max(units for units in range(1, 60) if not passes(units))
    assert not any(passes(units) for units in range(1, largest + 1))
    chapter_4 = "".join(cell.source for cell in read(CHAPTERS["04_rectgrad"]).cells)
    assert re.findall(r"\$n \\le (\d+)\$", chapter_4) == [str(largest)]
    assert re.findall(r"A layer of (\d+) units", text("book/errata.md")) == [str(largest)]


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name[:2].isdigit()])
def test_no_published_chapter_calls_a_measured_claim_not_measured(name):
    """What a chapter says of a claim is what the table of claims says today."""
    today = {
        claim: verdicts.of_claim(part)
        for claim, part in pd.read_csv(claims.CSV).groupby("id", sort=False)
    }
    lines = [
        line
        for cell in read(ROOT / "book" / f"{name}.ipynb").cells
        for output in cell.get("outputs", [])
        for line in output.get("data", {}).get("text/markdown", "").splitlines()
        if "claims.md#claim-" in line
    ]
    for line in lines:
        first = re.search(r"claims\.md#claim-([\w-]+)", line)[1]
        told = re.search(r'<span class="verdict[^"]*">([^<]+)</span>', line)[1]
        assert told == today[first], f"{name} says {told!r} of {first}; it is {today[first]!r}"
