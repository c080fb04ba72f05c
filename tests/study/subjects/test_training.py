"""study.subjects.training: the loop of both papers, of a whole network and of a last layer; a run
that was stopped ends as if it never had been."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from study.paths import ROOT
from study.subjects.pictures import Dataset, to_range
from study.subjects.training import Protocol, accuracy, fit, fit_last_layer, outputs, predict
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

# nine batches an epoch, the last of four pictures
QUICK = Protocol(epochs=4, lr=2e-2, batch_size=12)


def silent(line):
    """Takes the lines of a run and shows none."""


def toy(count=100, seed=0) -> Dataset:
    """Noise that is brighter in the channel of its label, 6x6 pixels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    images = torch.randint(0, 100, (count, 3, 6, 6), generator=generator)
    images[torch.arange(count), labels] += 140
    return Dataset("toy", "train", images.to(torch.uint8), labels, ("red", "green", "blue"), "made")


def net(seed=0) -> nn.Module:
    """Convolution, batch norm and a linear layer; black is -1 and white 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
    model.black, model.white = -1.0, 1.0
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    """Bit for bit, buffers included."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def straight(one_thread):
    """A run of QUICK that was never stopped: model and rows."""
    model = net()
    return model, fit(model, toy(), QUICK, log=silent)


# ---- the loop


def test_the_default_is_paper_signs_protocol():
    assert Protocol() == Protocol(
        epochs=50, lr=1e-3, batch_size=128, optimizer="AdamW", bfloat16=False, seed=0
    )


def test_the_loss_falls_and_the_task_is_learnt(straight):
    model, rows = straight
    losses = [row["loss"] for row in rows]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert set(rows[0]) == {
        "epoch",
        "loss",
        "accuracy",
        "seconds",
    }
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 2
    assert accuracy(model, toy(90, seed=1)) > 0.9 and rows[-1]["accuracy"] > 0.9
    assert not any(module.training for module in model.modules())


def test_against_the_loop_written_out(straight):
    """AdamW as torch has it, all pictures once an epoch in an order of seed and epoch, loss of the
    raw logits, in the model's range."""
    pictures, model = toy(), net().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses, accuracies = [], []
    for epoch in range(4):
        order = torch.randperm(100, generator=torch.Generator().manual_seed(epoch))
        total, right = 0.0, 0
        for start in range(0, 100, 12):
            index = order[start : start + 12]
            logits = model(pictures.images[index] / 127.5 - 1)
            loss = cross_entropy(logits, pictures.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
            right += (logits.argmax(1) == pictures.labels[index]).sum().item()
        losses.append(total / 100)
        accuracies.append(right / 100)
    assert [row["loss"] for row in straight[1]] == pytest.approx(losses, rel=1e-3)
    assert [row["accuracy"] for row in straight[1]] == pytest.approx(accuracies, abs=0.02)
    for key, value in model.state_dict().items():
        assert_close(straight[0].state_dict()[key].contiguous(), value, rtol=1e-3, atol=1e-4)


class Watching(nn.Module):
    """Remembers the first pixel of every picture it is shown; its one weight learns nothing."""

    black, white = 0.0, 255.0

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(3)), []

    def forward(self, images):
        self.seen.append(images[:, 0, 0, 0].round().long().tolist())
        return self.weight.expand(len(images), 3)


def test_every_picture_once_an_epoch_in_a_new_order():
    numbers = torch.arange(40, dtype=torch.uint8)[:, None, None, None]
    pictures = replace(toy(40), images=numbers.expand(40, 3, 2, 2).clone())
    seen = {}
    for seed in (0, 1):
        model = Watching()
        fit(model, pictures, Protocol(epochs=2, batch_size=16, seed=seed), log=silent)
        assert [len(batch) for batch in model.seen] == [16, 16, 8] * 2
        seen[seed] = [sum(model.seen[:3], []), sum(model.seen[3:], [])]
    orders = [order for both in seen.values() for order in both]
    assert all(sorted(order) == list(range(40)) != order for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_the_global_random_numbers_do_not_matter(straight):
    torch.manual_seed(123)
    model = net()
    fit(model, toy(), QUICK, log=silent)
    assert same(model, straight[0])


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-2},
        {"batch_size": 8},
        {"seed": 1},
        {"optimizer": "Adam"},
        {"epochs": 3},
        {"bfloat16": True},
    ],
    ids=str,
)
def test_every_field_of_the_protocol_counts(change, straight):
    model = net()
    fit(model, toy(), replace(QUICK, **change), log=silent)
    assert not same(model, straight[0])


def rates(protocol, monkeypatch, **options):
    """The learning rate of every step of a run."""
    noted_rates, step = [], torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        noted_rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    fit(net(), toy(36), protocol, log=silent, **options)
    return noted_rates


@pytest.mark.parametrize("epochs, rest", [(4, 1), (20, 2)])
def test_a_cooldown_leaves_the_rate_alone_and_then_goes_straight_to_nothing(
    epochs, rest, monkeypatch
):
    steps = 3 * rest
    before = [2e-2] * (3 * epochs - steps)
    down = [2e-2 * (steps - k) / steps for k in range(steps)]
    protocol = replace(QUICK, epochs=epochs, schedule="cooldown")
    assert rates(protocol, monkeypatch) == pytest.approx(before + down)


def test_one_cycle_is_torchs(monkeypatch):
    expected = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0), 2e-2, total_steps=12
    )
    for rate in rates(replace(QUICK, schedule="one cycle"), monkeypatch):
        assert rate == pytest.approx(expected.get_last_lr()[0])
        expected.optimizer.step()
        if expected.last_epoch < 11:
            expected.step()


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="'cosine'.*constant.*one cycle.*cooldown"):
        fit(net(), toy(20), replace(QUICK, schedule="cosine"), log=silent)


def test_one_line_an_epoch():
    lines = []
    fit(net(), toy(20), replace(QUICK, epochs=2), log=lines.append)
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ") and "accuracy" in lines[1]


# ---- resuming


class Stopped(Exception):
    pass


def stop_after(epoch):
    def log(line):
        if line.startswith(f"epoch {epoch}/"):
            raise Stopped

    return log


@pytest.mark.parametrize("schedule", ["one cycle", "cooldown"])
def test_a_stopped_run_keeps_its_schedule(schedule, tmp_path):
    protocol, straight, stopped = replace(QUICK, epochs=20, schedule=schedule), net(), net()
    fit(straight, toy(36), protocol, log=silent)
    for epoch in (1, 18, 19):
        with pytest.raises(Stopped):
            fit(net(), toy(36), protocol, checkpoint=tmp_path / "c.pt", log=stop_after(epoch))
    fit(stopped, toy(36), protocol, checkpoint=tmp_path / "c.pt", log=silent)
    assert same(straight, stopped)


def test_a_constant_run_goes_on_under_a_cooldown_as_if_it_had_begun_so(tmp_path):
    whole, continued, path = net(), net(), tmp_path / "c.pt"
    fit(whole, toy(36), replace(QUICK, epochs=20, schedule="cooldown"), log=silent)
    fit(net(), toy(36), replace(QUICK, epochs=18), checkpoint=path, log=silent)
    content = torch.load(path, weights_only=False)
    torch.save(
        content | {"protocol": content["protocol"] | {"epochs": 20, "schedule": "cooldown"}}, path
    )
    fit(
        continued,
        toy(36),
        replace(QUICK, epochs=20, schedule="cooldown"),
        checkpoint=path,
        log=silent,
    )
    assert same(whole, continued)


@pytest.mark.parametrize("stops", [[1], [3], [1, 2, 3], [4]], ids=str)
def test_a_stopped_run_ends_as_one_that_never_was(stops, tmp_path, straight):
    checkpoint = tmp_path / "new" / "c.pt"
    # whatever weights a later part starts from, the checkpoint counts
    for seed, epoch in enumerate(stops):
        with pytest.raises(Stopped):
            fit(net(seed), toy(), QUICK, checkpoint=checkpoint, log=stop_after(epoch))
    model, lines = net(9), []
    rows = fit(model, toy(), QUICK, checkpoint=checkpoint, log=lines.append)
    assert same(model, straight[0]) and without_time(rows) == without_time(straight[1])
    assert len(lines) == 4 - stops[-1]
    assert not model.training
    assert [f.name for f in checkpoint.parent.iterdir()] == ["c.pt"]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = sys.argv[1:3]
from test_training import QUICK, fit, net, toy
model, batches = net(), []
def count(*_):
    batches.append(1)
    if len(batches) == 9 + 9 + 2:  # the second of the nine batches of epoch 3
        os.kill(os.getpid(), signal.SIGKILL)
model.register_forward_hook(count)
fit(model, toy(), QUICK, checkpoint=Path(sys.argv[3]))
"""


def test_a_run_killed_within_an_epoch_ends_as_one_that_never_was(tmp_path, straight):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(ROOT),
            str(Path(__file__).parent),
            str(tmp_path / "c.pt"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.count("epoch ") == 2 and (tmp_path / "c.pt").exists()
    model, lines = net(), []
    rows = fit(model, toy(), QUICK, checkpoint=tmp_path / "c.pt", log=lines.append)
    assert same(model, straight[0])
    assert without_time(rows) == without_time(straight[1])
    assert len(lines) == 2


def rewrite(change):
    """Damage that a reader of the file alone cannot see: another content, well written."""

    def damage(path):
        torch.save(change(torch.load(path, weights_only=True)), path)

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"noise" * 100),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "nothing in it": rewrite(lambda state: {}),
    "no optimizer": rewrite(lambda state: {k: v for k, v in state.items() if k != "optimizer"}),
    "a list": rewrite(lambda state: [1, 2]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_training_restarts(damage, tmp_path, straight):
    with pytest.raises(Stopped):
        fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=stop_after(2))
    damage(tmp_path / "c.pt")
    left = (tmp_path / "c.pt").read_bytes()
    model = net()
    rows = fit(model, toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    assert same(model, straight[0]) and without_time(rows) == without_time(straight[1])
    assert (tmp_path / "c.pt.damaged").read_bytes() == left and (tmp_path / "c.pt").exists()


def test_a_checkpoint_of_another_protocol_is_refused_and_kept(tmp_path):
    fit(net(), toy(), replace(QUICK, epochs=1), checkpoint=tmp_path / "c.pt", log=silent)
    kept = (tmp_path / "c.pt").read_bytes()
    for other in (QUICK, replace(QUICK, epochs=1, lr=1e-3), replace(QUICK, epochs=1, seed=1)):
        with pytest.raises(ValueError, match="another protocol") as caught:
            fit(net(), toy(), other, checkpoint=tmp_path / "c.pt", log=silent)
        assert str(tmp_path / "c.pt") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == kept


def test_a_checkpoint_of_another_network_is_refused_and_kept(tmp_path):
    fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    kept, other = (tmp_path / "c.pt").read_bytes(), nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    other.black, other.white = 0.0, 1.0
    with pytest.raises(ValueError) as caught:
        fit(other, toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    assert str(tmp_path / "c.pt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == kept


def test_a_loss_that_is_not_finite_stops_and_is_not_kept(tmp_path):
    with pytest.raises(Stopped):
        fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=stop_after(1))

    def with_nan(state):
        weights = {
            k: v * torch.nan if v.is_floating_point() else v for k, v in state["model"].items()
        }
        return state | {"model": weights}

    rewrite(with_nan)(tmp_path / "c.pt")
    before = (tmp_path / "c.pt").read_bytes()
    with pytest.raises(FloatingPointError) as caught:
        fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    assert "epoch 2" in str(caught.value)
    assert "learning rate" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == before


# ---- predictions


class Brightest(nn.Module):
    """Predicts the brightest channel, or the one after it while in train mode."""

    black, white = -1.0, 1.0

    def __init__(self):
        super().__init__()
        self.scale, self.batches = nn.Parameter(torch.ones(1)), []

    def forward(self, images):
        assert images.dtype == torch.float32 and images.amin() >= -1 and images.amin() < 0
        self.batches.append(len(images))
        return (images * self.scale).mean((2, 3)).roll(int(self.training), 1)


def test_predict_and_accuracy_by_hand():
    pictures, model = toy(23), Brightest().eval()
    assert torch.equal(predict(model, pictures), pictures.labels)
    assert predict(model, pictures).dtype == torch.int64
    wrong = replace(
        pictures,
        labels=torch.where(torch.arange(23) < 4, (pictures.labels + 1) % 3, pictures.labels),
    )
    assert accuracy(model, pictures) == 1
    assert accuracy(model, wrong) == pytest.approx(19 / 23, abs=1e-12)
    model.batches.clear()
    assert accuracy(model, wrong, batch_size=10) == pytest.approx(19 / 23, abs=1e-12)
    assert model.batches == [10, 10, 3]


def test_predictions_are_those_of_eval_mode():
    pictures, model = toy(12), Brightest().train()
    assert torch.equal(predict(model, pictures), pictures.labels)


def test_bytes_reach_the_network_in_its_range():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None]
    pictures = replace(toy(2), images=black_and_white.expand(2, 3, 6, 6).clone())
    assert to_range(pictures.images, Brightest()).flatten(1)[:, 0].tolist() == [-1, 1]


# ---- outputs


@pytest.mark.parametrize("batch_size, sizes", [(10, [10, 10, 3]), (23, [23]), (128, [23])])
def test_outputs_come_in_the_order_of_the_pictures_whatever_the_batch(batch_size, sizes):
    pictures, model = toy(23), Brightest().train()
    expected = (pictures.images / 127.5 - 1).mean((2, 3))
    given = outputs(model, pictures, batch_size=batch_size)
    assert model.batches == sizes and given.dtype == torch.float32 and not given.requires_grad
    # eval mode: in train mode the channels are rolled
    assert_close(given, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "places", [None, 1, 2, 4], ids=["whole", "convolution", "batch norm", "pool"]
)
def test_outputs_of_a_part_are_the_values_there_in_eval_mode(places):
    """The part has no range of its own: it is given pictures in that of the whole network."""
    model, pictures = net().train(), toy(7)
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    mean = before["1.running_mean"][:, None, None]
    deviation = (before["1.running_var"][:, None, None] + 1e-5).sqrt()
    given = outputs(model, pictures, None if places is None else model[:places], batch_size=3)
    for n in range(7):
        x = (pictures.images[n : n + 1] / 255) * 2 - 1
        x = nn.functional.conv2d(x, before["0.weight"], padding=1)
        if places != 1:
            x = (x - mean) / deviation
        if places not in (1, 2):
            x = nn.functional.avg_pool2d(x.clamp(min=0), 3)
        if places is None:
            x = x.flatten(1) @ before["5.weight"].T + before["5.bias"]
        assert_close(given[n : n + 1], x, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


# ---- a new last layer


def headed(seed=0, dropout=0.0) -> nn.Sequential:
    """`net` as the body, the same for all seeds, and a new layer on its three outputs; dropout in
    both."""
    body = net()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(3, 3)
    model = nn.Sequential(body, layer)
    if dropout:
        model = nn.Sequential(
            body.append(nn.Dropout(dropout)), nn.Sequential(nn.Dropout(dropout), layer)
        )
    with torch.no_grad():
        body[1].running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
        body[1].running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    model.black, model.white = -1.0, 1.0
    return model


FROZEN, RELEASED = (replace(QUICK, trains=f"last layer, {how}") for how in ("frozen", "released"))
BOTH = pytest.mark.parametrize("protocol", [FROZEN, RELEASED], ids=["frozen", "released"])


def written_out(model: nn.Sequential, forward) -> list[float]:
    """Four epochs of AdamW on the second part of `model` alone, batches of 12; `forward` maps
    places to logits. Losses."""
    pictures, optimizer, losses = toy(), torch.optim.AdamW(model[1].parameters(), lr=2e-2), []
    for epoch in range(4):
        order, total = torch.randperm(100, generator=torch.Generator().manual_seed(epoch)), 0.0
        for start in range(0, 100, 12):
            index = order[start : start + 12]
            loss = cross_entropy(forward(index), pictures.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
        losses.append(total / 100)
    return losses


def test_a_frozen_body_stays_as_it_is_to_the_bit_and_is_run_once():
    model, fresh, seen = headed(), headed(), []
    model[0].register_forward_hook(
        lambda module, given, logits: seen.append((len(logits), module.training))
    )
    rows = fit_last_layer(model, toy(), FROZEN, log=silent)
    assert seen == [(100, False)] and same(model[0], fresh[0]) and not same(model[1], fresh[1])
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(p.grad is None for p in model[0].parameters())


def test_a_layer_on_a_frozen_body_against_the_loop_over_its_outputs():
    model, other = headed(), headed().eval()
    with torch.no_grad():
        features = torch.cat([other[0](toy().images[n : n + 1] / 127.5 - 1) for n in range(100)])
    losses = written_out(other, lambda index: other[1](features[index]))
    rows = fit_last_layer(model, toy(), FROZEN, log=silent)
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-4)
    for key, value in other[1].state_dict().items():
        assert_close(model[1].state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_as_released_against_the_loop_in_train_mode():
    model, fresh, other = headed(), headed(), headed().train()
    other[0].requires_grad_(False)
    losses = written_out(other, lambda index: other(toy().images[index] / 127.5 - 1))
    rows = fit_last_layer(model, toy(), RELEASED, log=silent)
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-3)
    for key, value in other.state_dict().items():
        assert_close(model.state_dict()[key].contiguous(), value, rtol=1e-3, atol=1e-4)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, fresh.state_dict()[k])}
    assert moved == {
        "0.1.running_mean",
        "0.1.running_var",
        "0.1.num_batches_tracked",
        "1.weight",
        "1.bias",
    }
    assert model[0][1].num_batches_tracked == 4 * 9
    assert not any(module.training for module in model.modules())


@BOTH
def test_the_body_keeps_which_of_its_parameters_learn(protocol):
    for log, raises in ((silent, False), (stop_after(2), True)):
        model = headed()
        model[0][0].weight.requires_grad_(False)
        flags = [p.requires_grad for p in model.parameters()]
        if raises:
            with pytest.raises(Stopped):
                fit_last_layer(model, toy(), protocol, log=log)
        else:
            fit_last_layer(model, toy(), protocol, log=log)
        assert [p.requires_grad for p in model.parameters()] == flags and flags.count(False) == 1


@pytest.mark.parametrize("trains", ["all", "last layer", "Last layer, frozen", ""])
def test_an_unknown_part_to_train_is_refused_with_what_is_accepted(trains):
    model = headed()
    refused(
        lambda: fit_last_layer(model, toy(), replace(QUICK, trains=trains), log=silent),
        repr(trains),
        "'last layer, frozen'",
        "'last layer, released'",
    )
    assert same(model, headed())


# ---- dropout, and stopping where there is some


def dropping(seed=0) -> nn.Module:
    """`net` with dropout before its last layer."""
    model = net(seed)
    model.insert(5, nn.Dropout(0.3))
    return model


WITH_DROPOUT = {
    "all": (fit, dropping, QUICK),
    "frozen": (fit_last_layer, lambda seed=0: headed(seed, 0.3), FROZEN),
    "released": (fit_last_layer, lambda seed=0: headed(seed, 0.3), RELEASED),
}
DROPOUT = pytest.mark.parametrize("train, build, protocol", WITH_DROPOUT.values(), ids=WITH_DROPOUT)


@pytest.mark.parametrize("stops", [[1], [1, 2, 3], [4]], ids=str)
@DROPOUT
def test_a_run_with_dropout_ends_as_one_that_was_never_stopped(
    train, build, protocol, stops, tmp_path
):
    whole = build()
    expected = train(whole, toy(), protocol, log=silent)
    for seed, epoch in enumerate(stops):
        torch.manual_seed(seed)
        with pytest.raises(Stopped):
            train(build(seed), toy(), protocol, checkpoint=tmp_path / "c.pt", log=stop_after(epoch))
    torch.manual_seed(77)
    model, lines = build(9), []
    rows = train(model, toy(), protocol, checkpoint=tmp_path / "c.pt", log=lines.append)
    assert same(model, whole)
    assert without_time(rows) == without_time(expected)
    assert len(lines) == 4 - stops[-1]


@DROPOUT
def test_training_leaves_the_global_random_numbers_alone(train, build, protocol):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(build(), toy(), protocol, log=silent)
    assert torch.equal(before, torch.get_rng_state())


@DROPOUT
def test_dropout_is_at_work(train, build, protocol):
    model, without = build(), build()
    for module in without.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for network in (model, without):
        train(network, toy(), protocol, log=silent)
    assert not same(model, without)


class Masks(nn.Module):
    """Remembers what dropout leaves of a row of ones."""

    black, white = 0.0, 1.0

    def __init__(self):
        super().__init__()
        self.weight, self.drawn = nn.Parameter(torch.zeros(3)), []

    def forward(self, images):
        self.drawn.append(
            tuple(nn.functional.dropout(torch.ones(40), training=self.training).tolist())
        )
        return self.weight.expand(len(images), 3)


def test_dropout_is_drawn_by_seed_and_epoch():
    drawn = {}
    for seed in (0, 0, 1):
        model = Masks()
        torch.manual_seed(len(drawn))
        fit(model, toy(20), Protocol(epochs=2, batch_size=10, seed=seed), log=silent)
        assert len(set(model.drawn)) == 4  # another mask every batch, and another every epoch
        assert drawn.setdefault(seed, model.drawn) == model.drawn
    assert not set(drawn[0]) & set(drawn[1])
