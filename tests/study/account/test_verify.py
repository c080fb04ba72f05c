"""study.account.verify: it computes again what is stored, and notices what was tampered with.

And it says what it could not check.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn

from lib import metrics
from lib.metrics import PAPER_FRACTIONS
from study.account import claims, plan, scoreboard, verify
from study.experiments import cleanliness, deletion, response, synthesis
from study.store import results
from study.subjects import networks, shapes10, sources
from study.subjects.subject import Subject
from study.subjects.training import Protocol
from tests.conftest import paths, snapshot

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- a finished run, harmed


def verified(run, keep=("-active-black-",)):
    """What verify.verify() returns and says.

    On the deletion cells of the test split whose names hold one of `keep`.
    """
    for file in (run / "results" / "deletion").iterdir():
        if not any(word in file.name for word in keep) or "-train-" in file.name:
            file.unlink()
    lines = []
    good = verify.verify(plan.TRAINED, cells=10, pictures=30, seed=0, log=lines.append)
    return good, "\n".join(lines)


def refuses(*_, **__):
    """Stands for what loads pictures, where there are none."""
    raise sources.DataError("shapes10 is not here.")


def tamper(run, pattern, change):
    """Change the content of the one cell that the pattern matches; its digest is made to fit."""
    (file,) = (run / "results").glob(pattern)
    content = results.read(file)
    change(content)
    results.write(file, content)


def test_verify_passes_and_writes_nothing(run_copy):
    good, text = verified(run_copy, keep=("-active-black-", "-inactive-white-"))
    assert good and "BAD" not in text and text.count("ok ") == 2 + 4
    assert text.endswith("verified") and "seed 0" in text
    before = snapshot(run_copy)
    assert verified(run_copy, keep=("-active-black-", "-inactive-white-"))[0]
    assert snapshot(run_copy) == before
    assert plan.main(["verify", "--seed", "1"]) == 0


def test_verify_finds_flags_that_were_changed(run_copy):
    def flip(content):
        kept = results.unpack(content["kept"])
        tenth = torch.rand(kept.shape, generator=torch.Generator().manual_seed(0)) < 0.1
        content["kept"] = results.pack(torch.where(tenth, ~kept, kept))

    tamper(run_copy, "deletion/*test-basic_cnn*-active-black-*.json", flip)
    good, text = verified(run_copy)
    assert not good and text.count("BAD") == 1 and "active black" in text.splitlines()[-1]
    assert plan.main(["verify", "--seed", "1"]) == 1


def test_verify_finds_an_area_that_does_not_follow_from_its_flags(run_copy):
    """The table is made of the areas: that the flags beside them are right says nothing of it."""
    tamper(
        run_copy,
        "deletion/*test-basic_cnn*-active-black-*.json",
        lambda content: content["rows"][0].update(auc=0.111, low=0.11, high=0.112),
    )
    assert not verified(run_copy)[0]


def test_verify_finds_an_accuracy_that_was_changed(run_copy):
    tamper(
        run_copy,
        "accuracy/*basic_cnn*.json",
        lambda content: content["rows"][0].update(accuracy=0.99, low=0.98, high=1.0, right=40),
    )
    assert not verified(run_copy)[0]


def test_verify_finds_a_table_that_was_changed(run_copy):
    text = scoreboard.CSV.read_text()
    scoreboard.CSV.write_text(text.replace("0.6307", "0.6308"))
    good, text = verified(run_copy)
    assert not good and "reproduction.csv" in text.splitlines()[-1]


@pytest.mark.parametrize("name", ["reproduction.csv", "claims.csv"])
def test_verify_finds_a_table_that_is_missing(name, run_copy):
    (run_copy / "results" / name).unlink()
    good, text = verified(run_copy)
    assert not good and name in text.splitlines()[-1]


def test_verify_finds_claims_that_were_changed(run_copy):
    text = claims.CSV.read_text()
    claims.CSV.write_text(text.replace("high < 0.85", "high < 0.95"))
    good, text = verified(run_copy)
    verdict = text.splitlines()[-1]
    assert not good and "claims.csv" in verdict and "reproduction.csv" not in verdict


def test_verify_finds_a_card_that_promises_too_much(run_copy):
    card = run_copy / "weights" / "basic_cnn-shapes10.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"test_accuracy": 0.99}))
    good, text = verified(run_copy)
    assert not good and "accuracy of basic_cnn" in text.splitlines()[-1]


def test_verify_finds_cells_of_other_weights(run_copy):
    tamper(
        run_copy,
        "deletion/*test-basic_cnn*-active-black-*.json",
        lambda content: content["parameters"].update(weights_hash="0" * 12),
    )
    assert not verified(run_copy)[0]


@pytest.mark.parametrize(
    "part, metric", [("curves", "white_insertion"), ("outside", "outside"), ("patch", "patch")]
)
def test_verify_recomputes_the_synthesis(part, metric, tmp_path, monkeypatch):
    """A held-out map's cell is found by its pixels, a twin's and a mask's by its part.

    What was changed is noticed, other pixels are said.
    """
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    for module in (sources, results):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(synthesis, "STUDIED", [("shapes10", "rectgrad_cnn", 30, 5)])
    study = synthesis.study("shapes10", "rectgrad_cnn", count=30, few=5, held_out=part == "curves")
    synthesis.measured(study, ["positive", "random"], (part,), stored=True)
    cell = f"synthesis/*-{part}-positive-*.json"

    def check():
        lines = []
        generator = torch.Generator().manual_seed(0)
        return verify._check_synthesis(16, generator, lines.append), lines[0]

    def change(content):
        values = results.unpack_values(content["values"][metric])
        content["values"][metric] = results.pack_values(values + 0.1)

    wrong, line = check()
    assert wrong == [] and line.startswith("ok") and f"{part} of positive" in line
    tamper(tmp_path, cell, change)
    wrong, line = check()
    assert wrong == [f"{part} of positive, rectgrad_cnn, in the synthesis"]
    assert line.startswith("BAD")
    tamper(tmp_path, cell, lambda content: content["parameters"].update(data="0" * 12))
    wrong, line = check()
    assert wrong == [] and "not those of the stored result" in line


def test_verify_says_what_it_could_not_check(run_copy, monkeypatch):
    monkeypatch.setattr(sources, "load", refuses)
    good, text = verified(run_copy)
    assert good and text.count("not checked") == 4 and "shapes10 is not here." in text


def test_verify_leaves_out_other_pixels(run_copy, monkeypatch):
    tamper(
        run_copy,
        "deletion/*test-basic_cnn*-active-black-*.json",
        lambda content: content["parameters"].update(data="0" * 12),
    )
    good, text = verified(run_copy)
    assert good and "not those of the stored result" in text


def test_verify_draws_by_its_seed(run_copy):
    def drawn(seed):
        lines = []
        verify.verify(plan.TRAINED, cells=3, pictures=3, seed=seed, log=lines.append)
        return [line.split("  ")[2:4] for line in lines if "deletion" in line]

    assert drawn(1) == drawn(1) and len(drawn(1)) == 3
    assert any(drawn(seed) != drawn(1) for seed in (2, 3))


def test_verify_says_which_network_has_no_weights(run_copy, monkeypatch):
    monkeypatch.setattr(
        plan,
        "TRAINED",
        [("convnext_tiny", "shapes10", "shapes10-released", Protocol()), *plan.TRAINED],
    )
    good, text = verified(run_copy)
    assert good and "not checked: convnext_tiny shapes10-released: no weights here" in text
    assert text.count("not checked") == 1 and text.count("ok   accuracy") == 2


@pytest.mark.parametrize("low", [True, False], ids=["bfloat16", "float32"])
def test_verify_computes_a_cell_again_as_it_was_computed(low, run_copy, monkeypatch):
    shutil.rmtree(run_copy / "results" / "deletion")
    with monkeypatch.context() as patch:
        patch.setattr(deletion, "BFLOAT16", {("shapes10", "basic_cnn")} if low else set())
        deletion.allegiances(plan.subject("shapes10", "basic_cnn"), batch_size=50, stored=True)
    allegiance, seen = metrics.allegiance, []

    def watched(*arguments, **options):
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return allegiance(*arguments, **options)

    monkeypatch.setattr(metrics, "allegiance", watched)
    good, text = verified(run_copy)
    assert good and text.count("flags agree") == 1 and "BAD" not in text
    assert seen == [(low, torch.bfloat16)]
    assert all(("forwards" in c["parameters"]) == low for c in results.cells("deletion"))


@pytest.fixture
def cells_of_noise(tmp_path, monkeypatch):
    """Stored cells of paper Noise for a small network on drawn pictures.

    Returns what checks them: check() -> (wrong, lines).
    """
    paths(monkeypatch, tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(4),
            nn.Flatten(),
            nn.Linear(384, 10),
        ).eval()
    network.black, network.white = -1.0, 1.0
    pictures = shapes10.draw("test", count=12)
    who = Subject(network, pictures, "rectgrad_cnn", "made")
    who = who.altered(labels=deletion.predictions(who))
    cleanliness.amounts(cleanliness.correct(who), "outside", stored=True)
    response.adversarial(who, ("saliency", "rectgrad", "deeplift"), stored=True)
    monkeypatch.setattr(verify, "subject", lambda *_, **__: who)

    def check():
        lines = []
        return verify._check_noise(4, torch.Generator().manual_seed(0), lines.append), lines

    return check


def test_verify_computes_cells_of_paper_noise_again(cells_of_noise):
    wrong, lines = cells_of_noise()
    checked = [line[4:].strip().split("  ")[0] for line in lines]
    assert wrong == []
    assert checked == ["outside the mask", "class sensitivity", "class sensitivity"]
    assert all(line.startswith("ok") for line in lines)


@pytest.mark.parametrize(
    "pattern, field, words",
    [
        ("outside/*.json", "mean", ["outside the mask"]),
        ("adversarial/*rectgrad-*.json", "correlation", ["class sensitivity", "rectgrad"]),
    ],
    ids=["outside", "adversarial"],
)
def test_verify_finds_cells_of_paper_noise_that_were_changed(
    pattern, field, words, cells_of_noise, tmp_path
):
    def change(content):
        for row in content["rows"]:
            row[field] = row[field] * 0.9 - 0.1

    tamper(tmp_path, pattern, change)
    (wrong,), lines = cells_of_noise()
    assert all(word in wrong for word in words)
    assert sum(line.startswith("BAD") for line in lines) == 1


def test_verify_says_which_cells_of_paper_noise_it_could_not_check(cells_of_noise, monkeypatch):
    monkeypatch.setattr(verify, "subject", refuses)
    wrong, lines = cells_of_noise()
    assert wrong == [] and len(lines) == 3
    assert all("not checked" in line and "not here." in line for line in lines)


# ---- what is committed

COMMITTED = sorted((sources.ROOT / "data" / "results").glob("*/*.json"))


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_cells_are_whole_and_of_the_committed_weights():
    current = {}
    for file in COMMITTED:
        content = json.loads(file.read_text())
        assert content.pop("digest") == results._digest(content), file.name
        p = content["parameters"]
        assert file.stem.endswith(results.key(p, content["version"]))
        assert content["experiment"] == file.parent.name
        if (p["model"], p["weights"]) not in current:
            current[p["model"], p["weights"]] = networks.committed(p["model"], p["weights"])
        assert p["weights_hash"] == current[p["model"], p["weights"]], file.name


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_areas_follow_from_their_flags():
    for k, file in enumerate(f for f in COMMITTED if f.parent.name == "deletion"):
        content = json.loads(file.read_text())
        row, p, kept = content["rows"][0], content["parameters"], results.unpack(content["kept"])
        assert (row["map"], row["fill"]) == (p["map"], p["fill"])
        assert kept.shape == (len(PAPER_FRACTIONS), p["n"]) and kept[0].all()
        area = metrics.auc(PAPER_FRACTIONS, kept).mean().item()
        assert row["auc"] == pytest.approx(area, abs=1e-9), file.name
        if k % 10 == 0:  # the bootstrap takes its time
            (again,) = deletion.auc_rows({(p["map"], p["fill"]): kept})
            interval = (again["low"], again["high"])
            # a step of the quantile, where another machine sums in another order
            assert (row["low"], row["high"]) == pytest.approx(interval, abs=5e-5), file.name
