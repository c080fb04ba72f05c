"""The line under a figure or a table names the networks and pictures that are shown, and no others.

Chapters run on a few drawn pictures and two networks, of which one stands in for others, with a
sample smaller than the whole.
"""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from notebooks import run
from study import figures
from study.account import scoreboard, variants
from study.account.summaries import deletion as summaries
from study.account.summaries import judged
from study.experiments import deletion
from study.subjects import names

FIRST, SECOND = "Sign CNN, shapes", "Noise CNN, shapes"
WHOLE, SAMPLE, LENGTHS = 16, 10, 4
PARTS, FEW = {FIRST: SAMPLE, SECOND: SAMPLE}, {FIRST: SAMPLE}
ALL = {FIRST: WHOLE, SECOND: WHOLE}
PRINTED = {"Sign CNN, CIFAR-10": 777}
DRAWINGS = (
    "accuracy_dots",
    "at_work",
    "beside_random",
    "control_curves",
    "kept_panels",
    "learning_lines",
    "one_of_each",
    "promise",
    "published_beside_reproduced",
    "sign_panel",
    "signed_rows",
    "trainings",
    "who_gains",
    "zero_dots",
)
# chapter -> figure, by the function that draws it, or table, by its label -> what is shown
SHOWN = {
    "00_data_and_models": {
        "accuracy_dots": ALL,
        "tab-data-accuracy": ALL,
        "tab-data-printed": PRINTED,
        "tab-data-pretrained": {},
    },
    "01_sign_importance": {
        "sign_panel": {FIRST: 1},
        "zero_dots": PARTS,
        "signed_rows": {FIRST: 3, SECOND: 3},
        "tab-sign-shares": PARTS,
        "tab-sign-object": {FIRST: WHOLE},
        "tab-sign-zero": PARTS,
        "tab-sign-shares-all": PARTS,
    },
    "02_multiclass_maps": {
        "who_gains": {FIRST: 1},
        "kept_panels": ALL,
        "tab-multiclass-kept": PARTS,
        "tab-multiclass-together": {FIRST: SAMPLE},
        "tab-multiclass-kept-all": PARTS,
        "tab-multiclass-lengths": {FIRST: LENGTHS, SECOND: LENGTHS},
        "tab-multiclass-flat": ALL,
        "tab-multiclass-readings": PARTS,
        "tab-multiclass-ties": PARTS,
        "tab-multiclass-gelu": {SECOND: WHOLE, "GELU CNN, shapes": WHOLE},
    },
    "05_deletion_benchmark": {
        "beside_random": PARTS,
        "at_work": {FIRST: 1},
        "control_curves": {FIRST: WHOLE},
        "published_beside_reproduced": PRINTED,
        "promise": FEW,
        "tab-deletion-areas": ALL,
        "tab-deletion-early": ALL,
        "tab-deletion-all-areas": ALL,
        "tab-deletion-random": PARTS,
        "tab-deletion-printed": PRINTED,
        "tab-deletion-pretrained": {},
        "tab-deletion-scores": FEW,
        "tab-deletion-rose": FEW,
        "tab-deletion-soft": FEW,
        "tab-deletion-insertion": FEW,
        "tab-deletion-train": ALL,
    },
}
ALSO = {  # what is measured on other pictures than the rest of a figure
    "control_curves": f"controls: n = {SAMPLE}",
    "tab-deletion-areas": f"controls: n = {SAMPLE}",
    "kept_panels": f"pixels kept: n = {SAMPLE}",
    "tab-multiclass-flat": f"pixels kept: n = {SAMPLE}",
}
chapter = pytest.mark.parametrize("name", SHOWN)


def numbers() -> pd.DataFrame:
    """One printed number beside ours, as of `scoreboard.beside_published`."""
    row = {"paper": "Sign", "table": "Table 2", "row": "Active", "column": "CIFAR-10 CNN"}
    row |= {"published": 0.15, "reproduced": 0.14, "low": 0.13, "high": 0.15, "n": 777}
    row |= {"verdict": "agree", "verdict_at_zero": "disagree"}
    row |= {"protocol": "AdamW", "data": "cifar10 test, the original pixels"}
    return pd.DataFrame([row | {"network": "Sign CNN, CIFAR-10", "printed": "0.15"}])


def executed(name: str, monkeypatch) -> dict[str, SimpleNamespace]:
    """The chapter's figures and tables: what each function was given, and the line under it."""
    seen, drawn = {}, []

    def show(figure, made, *_):
        what, given = drawn.pop()
        seen[what] = SimpleNamespace(given=given, made=made)

    def show_table(frame, caption="", label="", made="", /, **_):
        seen[label] = SimpleNamespace(given=(frame,), made=made)

    for function in DRAWINGS:
        monkeypatch.setattr(figures, function, lambda *given, f=function: drawn.append((f, given)))
    monkeypatch.setattr(figures, "show_chart", show)
    monkeypatch.setattr(figures, "show_maps", show)
    monkeypatch.setattr(figures, "table", show_table)
    monkeypatch.setitem(deletion.SCORED, "shapes10", SAMPLE)
    lengths = partial(deletion.gradient_lengths, count=LENGTHS)
    monkeypatch.setattr(deletion, "gradient_lengths", lengths)
    stand_in = {"it": ("shapes10", "rectgrad_cnn", ("shapes10",))}
    monkeypatch.setattr(scoreboard, "STAND_INS", stand_in)
    monkeypatch.setattr(scoreboard, "stand_ins", lambda: numbers()[:0])
    monkeypatch.setattr(scoreboard, "beside_published", lambda *_: numbers())
    monkeypatch.setattr(judged, "numbers", lambda *_: numbers())
    space = {"display": lambda shown: None}
    for cell in nbformat.read(run.chapters()[name], as_version=4).cells:
        if cell.cell_type != "code":
            continue
        # results are shown, but none are read or kept for these networks
        source = cell.source.replace("if stored", "if True")
        exec(compile(source, name, "exec"), space)
        if "parameters" in cell.metadata.get("tags", []):
            space |= {"model": ["basic_cnn", "rectgrad_cnn"], "images": WHOLE}
    return seen


def read(made: str) -> tuple[dict[str, int], list[str]]:
    """Network -> number of pictures, and what else a line names before the profile."""
    parts = made.split(" · ")[0].split("; ")
    found = [(part, re.fullmatch(r"(.+) (?:test|train), n = ([\d,]+)", part)) for part in parts]
    named = {told[1]: int(told[2].replace(",", "")) for _, told in found if told}
    return named, [part for part, told in found if not told]


@pytest.mark.slow
@chapter
def test_a_line_names_what_is_shown(name, monkeypatch, one_thread):
    seen = executed(name, monkeypatch)
    assert set(SHOWN[name]) <= set(seen), set(SHOWN[name]) - set(seen)
    for what, expected in SHOWN[name].items():
        named, others = read(seen[what].made)
        assert named == expected, what
        rest = [ALSO[what]] if what in ALSO else [] if expected else ["nothing measured"]
        assert others == rest, what
    if name.startswith("05"):
        of_frames(seen)
    if name.startswith("00"):
        of_trainings(seen)


def of_frames(seen):
    """The numbers of pictures in the frames that chapter 5 draws are those of the lines."""
    (against,) = seen["beside_random"].given
    assert dict(zip(against["subject"], against["n"], strict=True)) == PARTS
    curves = seen["control_curves"].given[0]
    for subject, frame in curves.items():
        maps = ~frame["map"].isin(summaries.CONTROLS)
        assert set(frame.loc[maps, "n"]) == {
            SHOWN["05_deletion_benchmark"]["control_curves"][subject]
        }
        assert set(frame.loc[~maps, "n"]) == {SAMPLE}
    assert list(seen["promise"].given[0]) == list(FEW)
    (work,) = seen["at_work"].given
    assert 2 * work["fraction"].nunique() <= 6  # columns


def of_trainings(seen):
    named, others = read(seen["trainings"].made)
    shown = seen["trainings"].given[0]
    assert not named and len(others) == shown["model"].nunique()
    counts = [int(re.search(r"(\d+) trainings", other)[1]) for other in others]
    assert counts == shown.groupby("model", sort=False).size().tolist()
    effects = variants.effects(variants.trainings())
    assert len(read(seen["tab-data-effects"].made)[1]) == effects["model"].nunique()
    cards = [network for of in seen["learning_lines"].given[0].values() for network in of]
    _, others = read(seen["learning_lines"].made)
    assert [other.split(", ")[0] for other in others] == cards


@pytest.mark.parametrize("name", run.chapters())
def test_no_caption_names_a_network(name):
    """A chapter may be run on any; the line below the caption tells which it was."""
    cells = nbformat.read(run.chapters()[name], as_version=4).cells
    figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in cells]
    captions = " ".join(figure.get("caption", "") for figure in figures)
    assert not [network for network in names.NETWORKS.values() if network in captions]
