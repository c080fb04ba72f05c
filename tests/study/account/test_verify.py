"""study.account.verify: it computes again what is stored, and notices what was tampered with.

And it says what it could not check.
"""

from __future__ import annotations

import json
import shutil
import warnings

import pandas as pd
import pytest
import torch

from lib import metrics
from lib.metrics import PAPER_FRACTIONS
from study.account import claims, plan, scoreboard, verify
from study.experiments import cleanliness, deletion, hypothesis, response, synthesis
from study.store import cells, stamps
from study.store.experiment import EXPERIMENTS
from study.subjects import networks, sources
from study.subjects.pictures import DataError
from study.subjects.subject import subject
from study.subjects.training import Protocol
from tests.conftest import snapshot
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- a finished run, harmed


def verified(**options):
    """What verify.verify() returns and says."""
    lines = []
    options = {"pictures": 30, "seed": 0} | options
    good = verify.verify(plan.TRAINED, log=lines.append, **options)
    return good, "\n".join(lines)


def tamper(folder, pattern, change):
    """Change the cells that the pattern matches; their digests and names are made to fit."""
    files = list((folder / "results").glob(pattern))
    assert files
    for file in files:
        content = cells.read(file)
        change(content)
        file.unlink()
        stem = f"{file.stem.rpartition('-')[0]}-{cells.key(content['parameters'])}"
        cells.write(file.with_stem(stem), content)


def test_verify_passes_and_writes_nothing(run_copy):
    before = snapshot(run_copy)
    good, text = verified()
    kinds = {f.name for f in (run_copy / "results").iterdir() if f.is_dir()}
    assert good and "BAD" not in text and text.count("ok ") == 2 + len(kinds)
    assert text.endswith("verified") and "seed 0" in text
    assert all(f"ok   {kind}  " in text for kind in kinds)
    assert snapshot(run_copy) == before
    assert plan.main(["verify", "--seed", "1", "--kinds", "deletion", "accuracy"]) == 0


def test_verify_finds_flags_that_were_changed(run_copy):
    def flip(content):
        kept = cells.unpack(content["kept"])
        tenth = torch.rand(kept.shape, generator=torch.Generator().manual_seed(0)) < 0.1
        content["kept"] = cells.pack(torch.where(tenth, ~kept, kept))

    tamper(run_copy, "deletion/*.json", flip)
    good, text = verified(kinds=["deletion", "kept_pixels"])
    assert not good and text.count("BAD") == 1 and "deletion" in text.splitlines()[-1]
    assert plan.main(["verify", "--kinds", "deletion"]) == 1


@pytest.mark.parametrize(
    "kind, field",
    [("scores", "logit"), ("soft", "rose"), ("insertion", "auc"), ("accuracy", "accuracy")],
)
def test_verify_finds_rows_that_were_changed(kind, field, run_copy):
    def change(content):
        for row in content["rows"]:
            row[field] = 1.1 * row[field] + 0.1

    tamper(run_copy, f"{kind}/*.json", change)
    good, text = verified(kinds=[kind])
    assert not good and f"BAD  {kind}" in text


def test_verify_finds_rows_that_are_missing(run_copy):
    tamper(run_copy, "kept_pixels/*.json", lambda content: content["rows"].pop())
    assert not verified(kinds=["kept_pixels"])[0]


def test_verify_finds_a_table_that_was_changed(run_copy):
    text = scoreboard.CSV.read_text()
    scoreboard.CSV.write_text(text.replace("0.6307", "0.6308"))
    good, text = verified(kinds=["kept_pixels"])
    assert not good and "reproduction.csv" in text.splitlines()[-1]


@pytest.mark.parametrize("name", ["reproduction.csv", "claims.csv"])
def test_verify_finds_a_table_that_is_missing(name, run_copy):
    (run_copy / "results" / name).unlink()
    good, text = verified(kinds=["kept_pixels"])
    assert not good and name in text.splitlines()[-1]


def test_verify_finds_claims_that_were_changed(run_copy):
    text = claims.CSV.read_text()
    claims.CSV.write_text(text.replace("high < 0.85", "high < 0.95"))
    good, text = verified(kinds=["kept_pixels"])
    verdict = text.splitlines()[-1]
    assert not good and "claims.csv" in verdict and "reproduction.csv" not in verdict


def test_verify_finds_a_card_that_promises_too_much(run_copy):
    card = run_copy / "weights" / "basic_cnn-shapes10.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"test_accuracy": 0.99}))
    good, text = verified()
    assert not good and "accuracy of basic_cnn" in text.splitlines()[-1]


def test_a_kind_of_which_no_cell_can_be_drawn_is_a_failure(run_copy, monkeypatch):
    tamper(
        run_copy,
        "kept_pixels/*.json",
        lambda content: content["parameters"].update(data="0" * 12),
    )
    good, text = verified(kinds=["kept_pixels"])
    assert not good and "not those of the stored result" in text

    def refuses(*_, **__):
        raise DataError("shapes10 is not here.")

    verify.loaded.cache_clear()
    monkeypatch.setattr(verify, "subject", refuses)
    good, text = verified(kinds=["deletion"])
    assert not good and "no cell could be computed again: shapes10 is not here." in text


def test_what_takes_long_is_computed_again_where_it_is_asked_for(run_copy, monkeypatch):
    monkeypatch.setattr(verify, "SLOW", -1)
    good, text = verified()
    assert good and "not checked: kept_pixels: a cell takes more than ten minutes" in text
    assert "ok   deletion" in text, "a part of its pictures takes minutes"
    good, text = verified(kinds=["kept_pixels"])
    assert good and "ok   kept_pixels" in text


def test_a_cell_of_other_weights_is_not_current(run_copy):
    """It is kept, and nothing is shown of it."""
    tamper(
        run_copy,
        "kept_pixels/*.json",
        lambda content: content["parameters"].update(weights_hash="0" * 12),
    )
    good, text = verified(kinds=["kept_pixels"])
    assert good and "nothing stored: kept_pixels" in text


def test_verify_draws_by_its_seed(run_copy):
    def drawn(seed):
        _, text = verified(seed=seed, kinds=["deletion"])
        return next(line for line in text.splitlines() if line.startswith("ok   deletion"))

    assert drawn(1) == drawn(1) and any(drawn(seed) != drawn(1) for seed in (2, 3, 4))


def test_verify_says_which_network_has_no_weights(run_copy, monkeypatch):
    monkeypatch.setattr(
        plan,
        "TRAINED",
        [("convnext_tiny", "shapes10", "shapes10-released", Protocol()), *plan.TRAINED],
    )
    good, text = verified()
    assert good and "not checked: convnext_tiny shapes10-released: no weights here" in text


# ---- kinds of cells that the small run does not have


def _elsewhere(patch, folder):
    """Cells, caches and a small study of their own."""
    patch.setattr(cells, "RESULTS", folder / "results")
    for module in (sources, cells):
        patch.setattr(module, "CACHE", folder / "cache")
    patch.setattr(synthesis, "STUDIED", [("shapes10", "rectgrad_cnn", 30, 5)])
    verify.loaded.cache_clear()


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Cells of paper Noise and of the synthesis, on drawn pictures; not to be changed."""
    folder = tmp_path_factory.mktemp("computed")
    with pytest.MonkeyPatch.context() as patch:
        _elsewhere(patch, folder)
        studied = subject("shapes10", "rectgrad_cnn", count=16, stored=True)
        cleanliness.amounts(studied, "outside", methods=("saliency", "rectgrad"))
        response.adversarial(studied, ("saliency",))
        response.sanity(studied, ("saliency",))
        deletion.correct(studied)
        hypothesis.occlusion(studied, steps=4, orders=2)
        for part, held_out in (("responses", False), ("curves", True)):
            study = synthesis.study("shapes10", "rectgrad_cnn", count=30, few=5, held_out=held_out)
            synthesis.measured(keeping(study), ["positive"], (part,))
    return folder


@pytest.fixture
def kept(computed, tmp_path, monkeypatch):
    """A copy of these cells, to be harmed, and tables that follow from them."""
    shutil.copytree(computed, tmp_path, dirs_exist_ok=True)
    _elsewhere(monkeypatch, tmp_path)
    for module, name in ((scoreboard, "reproduction.csv"), (claims, "claims.csv")):
        monkeypatch.setattr(module, "table", pd.DataFrame)
        monkeypatch.setattr(module, "CSV", tmp_path / "results" / name)
        module.CSV.write_text(pd.DataFrame().to_csv(index=False))
    yield tmp_path
    verify.loaded.cache_clear()


KINDS = {
    "amounts": "mean",
    "adversarial": "correlation",
    "sanity": "rank",
    "correct": "correct",
    "occlusion": "lost",
    "synthesis": "black_deletion",
    "responses": "attack",
}


@pytest.mark.parametrize("kind, field", KINDS.items())
def test_every_kind_is_computed_again_and_a_change_noticed(kind, field, kept):
    good, text = verified(kinds=[kind], pictures=8)
    assert good and f"ok   {kind}" in text

    def change(content):
        if field in content:
            values = cells.unpack(content[field])
            content[field] = cells.pack(~values if values.dtype == torch.bool else values + 0.3)
        for row in content["rows"]:
            row.update({field: row[field] * 0.9 - 0.1} if field in row else {})

    tamper(kept, f"{kind}/*.json", change)
    good, text = verified(kinds=[kind], pictures=8)
    assert not good and f"BAD  {kind}" in text


# ---- the comparison

NAN = float("nan")


def rows(**columns):
    return {"rows": pd.DataFrame(columns).to_dict("records")}


def of_pictures(*values):
    return {"rows": [], "values": torch.tensor(values)}


@pytest.mark.parametrize(
    "before, again, off",
    [
        (of_pictures(1.0, NAN, 4.0), of_pictures(1.0, NAN, 4.0), 0),
        (of_pictures(1.0, 2.0, 4.0, 4.0), of_pictures(1.0, 2.0, 4.0, 3.0), 1 / 16),
        (of_pictures(1.0, 2.0, 4.0, 4.0), of_pictures(1.0, NAN, NAN, NAN), 3 / 4),
        (of_pictures(1.0, NAN), of_pictures(1.0, 1.0), 1 / 2),
        (of_pictures(NAN, NAN), of_pictures(0.0, 0.0), 1),
        (of_pictures(1.0, 2.0), of_pictures(1.0), float("inf")),
        (of_pictures(1.0), {"rows": []}, float("inf")),
        (of_pictures(*[True] * 10), of_pictures(*[True] * 7, *[False] * 3), 2 / 10),
        (of_pictures(*[True] * 10), of_pictures(*[True] * 9, False), 0),  # on the edge
        (rows(a=[1.0, 2.0]), rows(a=[1.0, 1.0]), 1 / 2),
        (rows(a=[1.0, 2.0]), rows(a=[1.0, NAN]), float("inf")),
        (rows(a=[1.0], b=[1.0]), rows(a=[1.0]), float("inf")),
        (rows(method=["a", "b"], a=[1.0, 2.0]), rows(method=["b", "a"], a=[2.0, 1.0]), 0),
        (rows(method=["a"], a=[1.0]), rows(method=["b"], a=[1.0]), float("inf")),
        (rows(right=[900], a=[1.0]), rows(right=[300], a=[1.0]), 2 / 3),
        (
            rows(picture=[0, 1, 2, 3], changed=[True] * 4),
            rows(picture=[3, 2, 1, 0], changed=[False, True, False, True]),
            1 / 4,
        ),
        (rows(picture=[0, 1], a=[1.0, 2.0]), rows(picture=[1, 0], a=[1.0, 1.0]), 1 / 4),
        (rows(a=[[1.0, 2.0]]), rows(a=[[1.0, 1.0]]), 1 / 4),
        (rows(a=[[1.0, 2.0]]), rows(a=[[1.0]]), float("inf")),
    ],
)
def test_how_far_two_contents_lie_apart(before, again, off):
    assert verify._apart(before, again) == pytest.approx(off)


def test_what_sums_over_all_pictures_is_compared_where_all_are_there():
    before, again = ({"kept": torch.ones(3), "rows": [{"auc": v}]} for v in (0.4, 0.2))
    assert verify._apart(before, again) == pytest.approx(0.5)
    of_part = verify._at(before, torch.tensor([0, 2]))
    assert verify._apart(of_part, {**again, "kept": torch.ones(2)}, is_part=True) == 0
    assert verify._apart({"rows": []}, {"rows": []}, is_part=True) == float("inf")


@pytest.mark.parametrize(
    "now, off",
    [
        ([{"a": 1.0, "b": 2.5}], 0.5),
        ([{"a": NAN, "b": 2.0}], float("inf")),
        ([{"a": 1.0}], float("inf")),
        ([], float("inf")),
    ],
)
def test_how_far_a_number_lies_in_its_own_unit(now, off):
    assert verify._farthest([{"a": 1.0, "b": 2.0}], now) == pytest.approx(off)
    assert verify._farthest([{"a": NAN}], [{"a": NAN}]) == 0


def test_a_kernel_that_gives_nothing_is_noticed(kept, monkeypatch):
    """Maps of zeros correlate with nothing: NaN, which is within no tolerance."""
    maps = synthesis.maps_both_ways
    monkeypatch.setattr(
        synthesis, "maps_both_ways", lambda *a, **k: [torch.zeros_like(m) for m in maps(*a, **k)]
    )
    good, text = verified(kinds=["responses"])
    assert not good and "BAD  responses" in text


# ---- stamps


def test_what_agrees_is_stamped_and_stays_so_until_the_code_changes(kept, monkeypatch):
    assert set(verify.stale()) == set(KINDS)
    good, _ = verified(stamp=True, pictures=8)
    assert good and verify.stale() == []
    stamp = stamps.read()["adversarial"]
    assert stamp["code"] == stamps.code(response.under_attack.function)
    assert "saliency" in stamp["cell"] and "off by" in stamp["found"] and stamp["commit"]
    code = stamps.code
    monkeypatch.setattr(
        stamps, "code", lambda f: "new" if f is response.under_attack.function else code(f)
    )
    assert verify.stale() == ["adversarial"]


def test_what_differs_is_not_stamped(kept):
    def change(content):
        for row in content["rows"]:
            row["rank"] += 0.5

    tamper(kept, "sanity/*.json", change)
    good, _ = verified(stamp=True, kinds=["sanity"])
    assert not good and "sanity" in verify.stale()


# ---- what is committed

RESULTS = sources.ROOT / "data" / "results"
COMMITTED = sorted(f for f in RESULTS.rglob("*.json") if f.parent != RESULTS)


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_cells_are_whole_and_of_the_committed_weights():
    current = {}
    for file in COMMITTED:
        content = json.loads(file.read_text())
        assert content.pop("digest") == cells.digest_of(content), file.name
        p = content["parameters"]
        assert file.stem.endswith(cells.key(p))
        assert content["experiment"] == file.parent.relative_to(RESULTS).as_posix()
        assert content["experiment"] in EXPERIMENTS
        if "/" in p["weights"] or p["model"].startswith("python:"):
            continue  # a user's own, which nobody commits
        if (p["model"], p["weights"]) not in current:
            current[p["model"], p["weights"]] = networks.committed(p["model"], p["weights"])
        assert p["weights_hash"] == current[p["model"], p["weights"]], file.name


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_areas_follow_from_their_flags():
    for k, file in enumerate(f for f in COMMITTED if f.parent.name == "deletion"):
        content = json.loads(file.read_text())
        row, p, kept = content["rows"][0], content["parameters"], cells.unpack(content["kept"])
        assert (row["map"], row["fill"]) == (p["map"], p["fill"])
        assert kept.shape == (len(PAPER_FRACTIONS), p["n"]) and kept[0].all()
        area = metrics.auc(PAPER_FRACTIONS, kept).mean().item()
        assert row["auc"] == pytest.approx(area, abs=1e-9), file.name
        if k % 10 == 0:  # the bootstrap takes its time
            (again,) = deletion.auc_rows({(p["map"], p["fill"]): kept})
            interval = (again["low"], again["high"])
            # a step of the quantile, where another machine sums in another order
            assert (row["low"], row["high"]) == pytest.approx(interval, abs=5e-5), file.name


# kinds without a stamp, and why
UNSTAMPED = {
    "precision": "a ResNet in bfloat16 takes hours on a processor without such products",
    "sweep": "all its percentiles at once want more memory than 24 GiB",
    **dict.fromkeys(
        [
            "claims/noise-prr-least-in-patch",
            "claims/noise-prr-least-in-patch-share",
            "claims/noise-deeplift-similar-in-patch",
            "claims/noise-others-nontrivial-in-patch",
            "claims/noise-least-total-variation",
            "claims/noise-least-total-variation-scaled",
        ],
        "rests on maps of 10,000 pictures by eight methods: more than ten minutes",
    ),
}


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_every_stamp_fits_the_code():
    """`make verify ARGS=--stamp` computes a sample of a stale kind again, and stamps it."""
    assert not set(UNSTAMPED) & set(stamps.read()), "what is stamped waits for nothing"
    stale = [kind for kind in verify.stale() if kind not in UNSTAMPED]
    words = f"`make verify ARGS=--stamp` is due for {', '.join(stale)}"
    try:
        sources.load("cifar10", "test")
    except DataError:
        if stale:
            warnings.warn(words, stacklevel=1)
        pytest.skip("the pictures that verification needs are not here")
    assert not stale, words
