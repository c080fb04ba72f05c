"""study.account.plan: a run leaves all that the plan asks for, and a stopped run goes on.

And the command refuses what it does not know.
"""

from __future__ import annotations

import json
import queue
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from study.account import claims, plan, scoreboard, verify
from study.experiments import deletion, retraining
from study.store import cells, runner
from study.subjects import networks, shapes10, sources, training
from study.subjects import subject as subject_module
from study.subjects.pictures import DataError
from study.subjects.subject import Subject
from study.subjects.training import Protocol
from tests.conftest import HEADER, paths, small_plan, snapshot

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- a whole run, on drawn pictures and small networks


def test_a_run_leaves_weights_cards_cells_and_the_table(finished):
    assert sorted(f.name for f in (finished / "weights").iterdir()) == [
        f"{m}-shapes10.{e}" for m in ("basic_cnn", "resnet18") for e in ("json", "safetensors")
    ]
    counts = {
        "accuracy": 2,
        "deletion": 40,
        "kept_pixels": 2,
        "scores": 2,
        "printed": 2,
        "soft": 10,
        "insertion": 2,
    }
    for name, count in counts.items():
        assert len(list((finished / "results" / name).iterdir())) == count, name
    assert (finished / "results" / "reproduction.csv").read_text().startswith(HEADER)
    of_claims = (
        "id,paper,section,quotation,statistic,holds_if,experiment,"
        "network,n,value,low,high,verdict\n"
    )
    assert (finished / "results" / "claims.csv").read_text().startswith(of_claims)
    splits = [
        json.loads(f.read_text())["parameters"]
        for f in (finished / "results" / "deletion").iterdir()
    ]
    assert sorted({(p["model"], p["split"], p["n"]) for p in splits}) == [
        ("basic_cnn", "test", 40),
        ("basic_cnn", "train", 60),
        ("resnet18", "test", 40),
        ("resnet18", "train", 20),
    ]
    assert not [f for f in finished.rglob("*") if "part" in f.name]


def test_a_stand_in_has_what_stands_beside_printed_numbers_alone(run_copy, monkeypatch):
    shutil.rmtree(run_copy / "results")
    monkeypatch.setattr(
        scoreboard, "STAND_INS", {"Small pretrained": ("shapes10", "basic_cnn", ("shapes10",))}
    )
    plan.compute("shapes10", "basic_cnn", "shapes10", lambda line: None)
    written = {f.name for f in (run_copy / "results").iterdir()} - {"locks"}
    assert written == {"accuracy", "deletion", "controls"}
    own = Subject(None, SimpleNamespace(name="shapes10"), "resnet18", "shapes10")
    other = own._replace(model_name="basic_cnn")
    assert scoreboard.without_stand_ins([own, other]) == [own]
    assert scoreboard.without_stand_ins([other]) == [other]


def test_a_card_says_how_its_weights_came_about(run_copy):
    for model, dataset, tag, protocol in plan.TRAINED:
        about = networks.card(model, tag)
        assert (about["model"], about["dataset"]) == (model, dataset)
        assert tuple(about["classes"]) == shapes10.CLASSES
        assert about["protocol"]["epochs"] == protocol.epochs
        assert [e["epoch"] for e in about["epochs"]] == list(range(1, protocol.epochs + 1))
        assert about["licence"] == "MIT" and about["commit"]
        # accuracies are those of the weights as stored, rounded or not
        network = networks.load(model, tag)
        for split in ("train", "test"):
            accuracy = training.accuracy(network, sources.load(dataset, split))
            assert about[f"{split}_accuracy"] == accuracy
        assert about["fingerprint"] == sources.load(dataset, "train").fingerprint


def test_the_accuracy_of_a_rounded_network_is_that_of_its_rounded_weights(run_copy, monkeypatch):
    (run_copy / "weights" / "resnet18-shapes10.safetensors").unlink()
    accuracy, seen = training.accuracy, set()

    def watched(network, pictures):
        seen.add(networks.fingerprint(network))
        return accuracy(network, pictures)

    monkeypatch.setattr(training, "accuracy", watched)
    plan.train(*plan.TRAINED[1], log=lambda line: None)
    stored = networks.load("resnet18", "shapes10")
    assert seen == {networks.fingerprint(stored)}
    assert all(torch.equal(p, p.half().float()) for p in stored.parameters())


def test_a_finished_run_computes_nothing_again(run_copy, monkeypatch):
    before = snapshot(run_copy)
    for module, name in ((training, "fit"), (subject_module.Subject, "batches")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed again"))
    assert plan.main(["run"]) == 0 and snapshot(run_copy) == before


def test_a_run_stopped_anywhere_ends_as_one_that_never_was(run_copy, monkeypatch):
    """Stopped in training, between two cells, and before the table.

    Weights are the same bytes, cells the same rows.
    """
    before = snapshot(run_copy)
    for made in ("weights", "results", "cache"):
        shutil.rmtree(run_copy / made)
    fit, finished, left = training.fit, cells.finished, [6]

    def stops_in_training(*arguments, **options):
        def log(line):
            raise KeyboardInterrupt

        return fit(*arguments, **options | {"log": log})

    def stops_between_cells(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return finished(*arguments, **options)

    for module, name, stopping in (
        (training, "fit", stops_in_training),
        (cells, "finished", stops_between_cells),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, name, stopping)
            plan.main(["run", "--models", "basic_cnn"])
    assert len(cells.of("accuracy")) == 1 and len(cells.of("deletion")) == 4
    assert plan.main(["run", "--models", "basic_cnn"]) == 0
    after = snapshot(run_copy)
    for file, content in before.items():
        if "basic_cnn" not in file.name or file.suffix == ".pt":
            continue
        if file.suffix == ".safetensors":
            assert after[file] == content
        else:
            whole, stopped = json.loads(content), json.loads(after[file])
            assert whole.get("rows") == stopped.get("rows")
            assert whole.get("kept") == stopped.get("kept")
    assert not [f for f in after if "resnet18" in f.name]


# ---- two runs at once


@pytest.mark.parametrize("stopped", [False, True], ids=["finishes", "is stopped"])
def test_two_runs_at_once_train_a_network_once(stopped, planned, monkeypatch):
    """The second waits until the first finishes, or goes on where the first is stopped."""
    fit, heard, go_on, job = training.fit, queue.Queue(), threading.Event(), plan.TRAINED[0]

    def watched(*arguments, **options):
        heard.put("fit")
        return fit(*arguments, **options)

    def first_log(line):
        heard.put("epoch")
        assert go_on.wait(60)
        if stopped:
            raise KeyboardInterrupt

    second_lines = []

    def second_log(line):
        second_lines.append(line)
        heard.put(line)

    monkeypatch.setattr(training, "fit", watched)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(plan.train, *job, first_log)
        assert [heard.get(timeout=60) for _ in range(2)] == ["fit", "epoch"]
        second = threads.submit(plan.train, *job, second_log)
        waits = heard.get(timeout=60)
        go_on.set()
    assert isinstance(first.exception(), KeyboardInterrupt) == stopped
    assert second.exception() is None
    assert waits == "basic_cnn shapes10  another process trains it; waiting"
    assert [line.split("  ")[1] for line in second_lines[1:]] == ["epoch 2/2"] * stopped
    written = sorted(f.name for f in networks.WEIGHTS.iterdir())
    assert written == ["basic_cnn-shapes10.json", "basic_cnn-shapes10.safetensors"]
    assert len(networks.card("basic_cnn", "shapes10")["epochs"]) == 2


def test_a_training_that_is_stopped_at_its_end_leaves_nothing_half_done(planned, monkeypatch):
    def stops(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "accuracy", stops)
        plan.train(*plan.TRAINED[0], log=lambda line: None)
    weights = networks.WEIGHTS
    assert not weights.exists() or not list(weights.iterdir())
    lines = []
    plan.train(*plan.TRAINED[0], log=lines.append)
    assert not lines and networks.card("basic_cnn", "shapes10")["test_accuracy"] >= 0


# ---- a new last layer, and a network whose weights cannot be downloaded

LAST = Protocol(epochs=2, batch_size=30, seed=4)


def transferred(name: str, classes, seed: int = 0) -> nn.Module:
    """Stands for `models.transferred`: one body for all, and a layer drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100)
        body = nn.Sequential(
            nn.Conv2d(3, 6, 4, stride=4),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 9),
        )
        torch.manual_seed(seed)
        model = nn.Sequential(body, nn.Linear(9, len(classes)))
    model.black, model.white, model.classes, model.name = 0.0, 1.0, tuple(classes), name
    return model.eval()


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The small plan, and nothing done yet; returns its folder."""
    paths(monkeypatch, tmp_path)
    small_plan(monkeypatch)
    return tmp_path


@pytest.mark.parametrize(
    "how, kept",
    [
        ("frozen", {"1.weight", "1.bias"}),
        (
            "released",
            {
                "1.weight",
                "1.bias",
                "0.1.running_mean",
                "0.1.running_var",
                "0.1.num_batches_tracked",
            },
        ),
    ],
)
def test_a_last_layer_is_trained_and_stored_with_its_card(how, kept, planned, monkeypatch):
    monkeypatch.setattr(networks, "transferred", transferred)
    protocol, lines = replace(LAST, trains=f"last layer, {how}"), []
    plan.train("resnet18", "shapes10", "more", protocol, log=lines.append)
    file = planned / "weights" / "resnet18-more.safetensors"
    splits = {split: sources.load("shapes10", split) for split in ("train", "test")}
    written = sorted(f.name for f in file.parent.iterdir())
    assert written == ["resnet18-more.json", "resnet18-more.safetensors"]
    assert set(load_file(file)) == kept
    assert len(lines) == 2 and lines[0].startswith("resnet18 more  epoch 1/2")
    about = networks.card("resnet18", "more")
    stored = networks.load("resnet18", "more", seed=9)
    again = transferred("resnet18", shapes10.CLASSES, 4)
    assert about["body"] == "imagenet" and about["dataset"] == "shapes10"
    assert about["protocol"] == asdict(protocol)
    assert tuple(about["classes"]) == shapes10.CLASSES
    assert about["protocol"]["trains"] == f"last layer, {how}"
    assert about["fingerprint"] == splits["train"].fingerprint
    assert [row["epoch"] for row in about["epochs"]] == [1, 2]
    training.fit_last_layer(again, splits["train"], protocol, log=lambda line: None)
    assert networks.fingerprint(stored) == networks.fingerprint(again.eval())  # nothing is rounded
    assert {split: about[f"{split}_accuracy"] for split in splits} == {
        split: training.accuracy(stored, pictures) for split, pictures in splits.items()
    }
    monkeypatch.setattr(training, "fit_last_layer", lambda *_, **__: pytest.fail("trained again"))
    plan.train("resnet18", "shapes10", "more", protocol)


def test_a_whole_network_has_a_card_without_body(run_copy):
    for model, _, tag, _ in plan.TRAINED:
        about = networks.card(model, tag)
        assert "body" not in about and about["protocol"]["trains"] == "all"


def test_a_stopped_last_layer_goes_on(planned, monkeypatch):
    monkeypatch.setattr(networks, "transferred", transferred)
    released = replace(LAST, trains="last layer, released")
    plan.train("resnet18", "shapes10", "whole", released, log=lambda line: None)

    def stops(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.train("resnet18", "shapes10", "parted", released, log=stops)
    lines = []
    plan.train("resnet18", "shapes10", "parted", released, log=lines.append)
    assert len(lines) == 1 and lines[0].startswith("resnet18 parted  epoch 2/2")
    parted, whole = (networks.load("resnet18", tag) for tag in ("parted", "whole"))
    assert networks.fingerprint(parted) == networks.fingerprint(whole)


@pytest.fixture
def offline(planned, monkeypatch):
    """Two networks more that a download would bring, in front of the others.

    Returns which cells `run` asks for.
    """

    def fails(name):
        raise networks.DownloadError(f"weights of {name} could not be downloaded.")

    asked, released = [], replace(LAST, trains="last layer, released")
    downloads = [
        (model, "shapes10", "shapes10-released", released)
        for model in ("convnext_tiny", "resnet18")
    ]
    monkeypatch.setattr(networks, "_download", fails)
    monkeypatch.setattr(plan, "TRAINED", downloads + plan.TRAINED)
    monkeypatch.setattr(
        scoreboard,
        "COLUMNS",
        {
            "a": ("shapes10", "convnext_tiny", ("shapes10-released",)),
            "b": ("shapes10", "resnet18", ("shapes10-released", "shapes10")),
            "CIFAR-10 CNN": ("shapes10", "basic_cnn", ("shapes10",)),
        },
    )
    monkeypatch.setattr(
        plan,
        "compute",
        lambda dataset, model, tag, log=print: asked.append((dataset, model, tag)),
    )
    return asked


def test_a_run_leaves_out_what_cannot_be_downloaded_and_does_the_rest(offline, planned):
    lines = []
    plan.run(["basic_cnn", "convnext_tiny", "resnet18"], lines.append)
    others = [line for line in lines if "  epoch " not in line]
    assert others == [
        f"left out: {name} shapes10-released: weights of {name} could not be downloaded."
        for name in ("convnext_tiny", "resnet18")
    ]
    assert offline == [("shapes10", "resnet18", "shapes10"), ("shapes10", "basic_cnn", "shapes10")]
    assert sorted(f.name for f in (planned / "weights").glob("*.safetensors")) == [
        "basic_cnn-shapes10.safetensors",
        "resnet18-shapes10.safetensors",
    ]


def test_a_run_tries_no_network_that_was_not_asked_for(offline):
    lines = []
    plan.run(["basic_cnn"], lines.append)
    assert offline == [("shapes10", "basic_cnn", "shapes10")]
    assert not any("left out" in line for line in lines)


def test_a_run_without_downloads_is_a_success(offline, capsys):
    assert plan.main(["run", "--models", "convnext_tiny", "basic_cnn"]) == 0
    assert "left out: convnext_tiny shapes10-released: " in capsys.readouterr().out
    assert scoreboard.CSV.exists()


def test_a_download_that_fails_is_told_before_any_picture_is_read(offline, monkeypatch):
    monkeypatch.setattr(sources, "load", lambda *_, **__: pytest.fail("pictures were read first"))
    with pytest.raises(networks.DownloadError):
        plan.train(*plan.TRAINED[0])


def test_other_faults_of_a_network_stop_a_run(offline, monkeypatch):
    def fails(name):
        raise networks.ModelError("the file is damaged.")

    monkeypatch.setattr(networks, "_download", fails)
    with pytest.raises(networks.ModelError, match="damaged"):
        plan.run(["convnext_tiny"], lambda line: None)


def test_no_deletion_is_computed_where_bfloat16_would_change_it(run_copy, monkeypatch):
    shutil.rmtree(run_copy / "results")

    def refuses(who, **options):
        raise ValueError("areas differ")

    monkeypatch.setattr(deletion, "precision", refuses)
    with pytest.raises(ValueError, match="areas differ"):
        plan.compute("shapes10", "basic_cnn", "shapes10", lambda line: None)
    assert cells.of("deletion") == []


# ---- paper Noise's cells and the claims


@pytest.mark.data
def test_what_is_committed_is_what_the_plan_asks_for(monkeypatch):
    """Every stored cell of paper Noise's experiments is found by who has the data."""
    try:
        sources.load("cifar10", "test")
        sources.check("imagenet_samples", "test")
    except DataError as error:
        pytest.skip(str(error))
    asked = set()
    finished = cells.finished

    def note(wanted, compute):
        asked.add(wanted.path())
        return finished(wanted, lambda: {"rows": [{}]})

    monkeypatch.setattr(cells, "finished", note)
    monkeypatch.setattr(cells, "write", lambda path, content: None)
    plan.compute_noise(log=lambda line: None)
    for kind in ("amounts", "occlusion", "sanity", "sweep", "adversarial"):
        stored = set((cells.RESULTS / kind).glob("*.json"))
        assert stored and stored <= asked, kind


def test_a_run_measures_cells_then_claims_then_writes_the_tables(run_copy, monkeypatch):
    order, table = [], claims.table

    def noted_table():
        order.append("table")
        return table()

    monkeypatch.setattr(plan, "compute_noise", lambda: order.append("noise"))
    monkeypatch.setattr(claims, "measure", lambda: order.append("claims"))
    monkeypatch.setattr(claims, "table", noted_table)
    assert plan.main(["run", "--models", "basic_cnn"]) == 0 and order == ["table"]
    assert plan.main(["run"]) == 0 and order[1:] == ["noise", "claims", "table"]


def test_verify_leaves_a_users_own_weights_alone_and_checks_the_rest(run_copy, capsys):
    state = networks.load("basic_cnn", "shapes10").state_dict()
    kept, gone = run_copy / "w_own.pt", run_copy / "w_own_gone.pt"
    for own in (kept, gone):
        torch.save(state, own)
        deletion.accuracy(subject_module.subject("shapes10", "basic_cnn", str(own), stored=True))
    gone.unlink()
    assert plan.main(["verify", "--kinds", "accuracy", "--seed", "0"]) == 0
    said = capsys.readouterr().out
    assert "ok   accuracy" in said and "w_own" not in said


# ---- the command


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nonsense"], ["nonsense", "run", "table", "verify"]),
        ([], ["what"]),
        (["run", "--models", "vgg"], ["vgg", "basic_cnn", "resnet18"]),
        (["run", "--epochs", "3"], ["--epochs"]),
        (["verify", "--seed", "x"], ["--seed"]),
        (["verify", "--seed", "-1"], ["--seed", "'-1' is no whole number from 0"]),
        (["table", "--threads", "0"], ["--threads", "'0' is no whole number from 1"]),
        (["retrain", "--workers", "0"], ["--workers", "'0' is no whole number from 1"]),
        (["retrain", "--workers", "1.5"], ["--workers", "'1.5' is no whole number from 1"]),
    ],
    ids=" ".join,
)
def test_unknown_arguments_are_refused_with_what_is_accepted(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        plan.main(arguments)
    message = capsys.readouterr().err
    assert caught.value.code == 2 and all(word in message for word in words)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ["run", "--stamp", "--kinds", "deletion", "--seed", "0"],
            [f"--{name} (it belongs to verify)" for name in ("stamp", "kinds", "seed")]
            + ["run does not read"],
        ),
        (
            ["retrain", "--models", "basic_cnn"],
            ["retrain does not read --models (it belongs to run)"],
        ),
        (
            ["verify", "--models", "basic_cnn"],
            ["verify does not read --models (it belongs to run)"],
        ),
        (
            ["table", "--workers", "2"],
            ["table does not read --workers (it belongs to run and retrain)"],
        ),
        (
            ["run", "--models", "basic_cnn", "--scheduler", "X"],
            ["run reads --scheduler", "--models basic_cnn leaves out", "rectgrad_cnn"],
        ),
        (
            ["run", "--models", "basic_cnn", "resnet18", "--workers", "2"],
            ["run reads --workers", "--models basic_cnn resnet18 leaves out"],
        ),
        (["retrain", "--scheduler", "head"], ["'head'", "with a port", "slurm:<name>"]),
        (["retrain", "--scheduler", ""], ["''", "with a port"]),
        (
            ["retrain", "--scheduler", "tcp://head:8786", "--workers", "4"],
            ["--workers", "cluster at tcp://head:8786 has workers of its own"],
        ),
    ],
    ids=" ".join,
)
def test_an_option_that_would_be_ignored_is_refused(arguments, words, monkeypatch, capsys):
    for name in ("run", "retrain", "_do"):
        monkeypatch.setattr(plan, name, lambda *_: pytest.fail("it began"), raising=False)
    with pytest.raises(SystemExit) as caught:
        plan.main(arguments)
    said = capsys.readouterr().err.rpartition("error: ")[2]
    assert caught.value.code == 2 and said.count("\n") == 1 and said.endswith(".\n")
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    "arguments, called",
    [
        # what the Makefile and the book's page of commands say
        (["run"], ["run", (None, None)]),
        (["run", "--models", "basic_cnn"], ["run"]),
        (["run", "--models", "rectgrad_cnn", "--workers", "2"], ["run", (2, None)]),
        (["retrain", "--workers", "4"], [(4, None)]),
        (["retrain", "--scheduler", "tcp://head:8786"], [(None, "tcp://head:8786")]),
        (["retrain", "--scheduler", "slurm", "--workers", "20"], [(20, "slurm")]),
        (["retrain", "--scheduler", "slurm:gpu"], [(None, "slurm:gpu")]),
        (["table", "--threads", "1"], []),
        (["verify"], [{"seed": None, "stamp": False, "kinds": None}]),
        (["verify", "--seed", "0"], [{"seed": 0, "stamp": False, "kinds": None}]),
        (
            ["verify", "--stamp", "--kinds", "roar"],
            [{"seed": None, "stamp": True, "kinds": ["roar"]}],
        ),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_what_is_documented_is_accepted(arguments, called, planned, monkeypatch):
    names, heard = ["basic_cnn", "rectgrad_cnn", "resnet18"], []
    monkeypatch.setattr(plan, "TRAINED", [(name, "shapes10", "shapes10", LAST) for name in names])
    monkeypatch.setattr(plan, "run", lambda names: heard.append("run"))
    monkeypatch.setattr(plan, "retrain", lambda *given: heard.append(given))
    monkeypatch.setattr(verify, "verify", lambda trained, **given: not heard.append(given))
    assert plan.main(arguments) == 0 and heard == called


class Dying:
    """Stands for a pool of processes whose worker is killed at every cell."""

    def __init__(self, *_):
        pass

    def submit(self, *_):
        raise BrokenProcessPool

    def shutdown(self, **_):
        pass


class Failing(Dying):
    """Stands for a pool in which every cell fails; its error comes back without a trace."""

    def submit(self, *_):
        answer = Future()
        answer.set_result(ValueError("this picture is not like the others."))
        return answer


def two_cells(*_):
    wanted = [cells.Cell("roar", f"cell {k}", {"k": k}) for k in range(2)]
    return runner.map_cells(retraining.retrain, wanted, workers=1, log=lambda line: None)


def test_errors_that_are_meant_for_people_are_told_without_a_trace(planned, monkeypatch, capsys):
    """A checkpoint of another protocol, a loss that is not finite, workers that die, cells that
    fail."""
    model, dataset, tag, protocol = plan.TRAINED[0]

    def stops(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.train(model, dataset, tag, protocol, log=stops)

    def said(command):
        assert plan.main([command]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and "Traceback" not in message
        return message

    monkeypatch.setattr(plan, "TRAINED", [(model, dataset, tag, replace(protocol, epochs=3))])
    assert "written by another protocol" in said("run")
    checkpoint = next((sources.CACHE / "training").glob("*.pt"))
    assert str(checkpoint) in said("run")
    checkpoint.unlink()
    monkeypatch.setattr(plan, "TRAINED", [(model, dataset, tag, replace(protocol, lr=1e30))])
    assert "lower the learning rate" in said("run")
    monkeypatch.setattr(plan, "retrain", two_cells)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Dying)
    assert "three workers died" in said("retrain")
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Failing)
    assert "not like the others. 2 of 2 cells failed" in said("retrain")


@pytest.mark.parametrize(
    "fault",
    [
        lambda *_: int("three"),
        lambda *_: torch.zeros(2).view(3),
        lambda *_: cells.unpack(cells.pack(torch.zeros(2)) | {"shape": [3]}),
    ],
    ids=["python", "torch", "torch in study"],
)
def test_a_fault_of_the_code_keeps_its_trace(fault, planned, monkeypatch):
    monkeypatch.setattr(plan, "retrain", fault)
    with pytest.raises((RuntimeError, ValueError)):
        plan.main(["retrain"])


def test_what_is_missing_is_one_sentence_and_not_a_traceback(run_copy, monkeypatch, capsys):
    monkeypatch.setattr(plan, "TRAINED", [("basic_cnn", "cifar10", "cifar10", Protocol())])
    monkeypatch.setenv("SIGN_NOISE_DATA", str(run_copy / "nowhere"))
    assert plan.main(["run"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "nowhere" in message


def test_the_table_can_be_written_before_there_is_any_result(tmp_path, monkeypatch):
    paths(monkeypatch, tmp_path)
    assert plan.main(["table"]) == 0 and scoreboard.CSV.read_text().startswith(HEADER)
    written = sorted(f.name for f in (tmp_path / "results").iterdir())
    assert written == ["claims.csv", "reproduction.csv"]
    assert pd.read_csv(claims.CSV)["id"].nunique() == len(claims.listed())
