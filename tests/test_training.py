"""lib.training: the loop of both papers, and a run that was stopped ends as if it never had been."""
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

from lib.data import ROOT, Dataset, to_range
from lib.training import Protocol, accuracy, fit, predict

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = Protocol(epochs=4, lr=2e-2, batch_size=12)  # nine batches an epoch, the last of four pictures
silent = lambda line: None


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
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    model.black, model.white = -1., 1.
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
    assert Protocol() == Protocol(epochs=50, lr=1e-3, batch_size=128, optimizer="AdamW", bfloat16=False, seed=0)


def test_the_loss_falls_and_the_task_is_learnt(straight):
    model, rows = straight
    losses = [row["loss"] for row in rows]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and set(rows[0]) == {"epoch", "loss", "accuracy", "seconds"}
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 2
    assert accuracy(model, toy(90, seed=1)) > .9 and rows[-1]["accuracy"] > .9
    assert not any(module.training for module in model.modules())


def test_against_the_loop_written_out(straight):
    """AdamW as torch has it, all pictures once an epoch in an order of seed and epoch, loss of the raw logits, in the model's range."""
    pictures, model = toy(), net().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses, accuracies = [], []
    for epoch in range(4):
        order, total, right = torch.randperm(100, generator=torch.Generator().manual_seed(epoch)), 0., 0
        for start in range(0, 100, 12):
            index = order[start:start + 12]
            logits = model(pictures.images[index] / 127.5 - 1)
            loss = cross_entropy(logits, pictures.labels[index])
            optimizer.zero_grad(), loss.backward(), optimizer.step()
            total, right = total + loss.item() * len(index), right + (logits.argmax(1) == pictures.labels[index]).sum().item()
        losses.append(total / 100), accuracies.append(right / 100)
    assert [row["loss"] for row in straight[1]] == pytest.approx(losses, rel=1e-3)
    assert [row["accuracy"] for row in straight[1]] == pytest.approx(accuracies, abs=.02)
    for key, value in model.state_dict().items():
        assert_close(straight[0].state_dict()[key].contiguous(), value, rtol=1e-3, atol=1e-4)


class Watching(nn.Module):
    """Remembers the first pixel of every picture it is shown; its one weight learns nothing."""

    black, white = 0., 255.

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(3)), []

    def forward(self, images):
        self.seen.append(images[:, 0, 0, 0].round().long().tolist())
        return self.weight.expand(len(images), 3)


def test_every_picture_once_an_epoch_in_a_new_order():
    pictures = toy(40)
    pictures = replace(pictures, images=torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 3, 2, 2).clone())
    seen = {}
    for seed in (0, 1):
        model = Watching()
        fit(model, pictures, Protocol(epochs=2, batch_size=16, seed=seed), log=silent)
        assert [len(batch) for batch in model.seen] == [16, 16, 8] * 2
        seen[seed] = [sum(model.seen[:3], []), sum(model.seen[3:], [])]
    orders = [order for both in seen.values() for order in both]
    assert all(sorted(order) == list(range(40)) != order for order in orders) and len(set(map(tuple, orders))) == 4


def test_the_global_random_numbers_do_not_matter(straight):
    torch.manual_seed(123)
    model = net()
    fit(model, toy(), QUICK, log=silent)
    assert same(model, straight[0])


@pytest.mark.parametrize("change", [{"lr": 1e-2}, {"batch_size": 8}, {"seed": 1}, {"optimizer": "Adam"}, {"epochs": 3}, {"bfloat16": True}], ids=str)
def test_every_field_of_the_protocol_counts(change, straight):
    model = net()
    fit(model, toy(), replace(QUICK, **change), log=silent)
    assert not same(model, straight[0])


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


@pytest.mark.parametrize("stops", [[1], [3], [1, 2, 3], [4]], ids=str)
def test_a_stopped_run_ends_as_one_that_never_was(stops, tmp_path, straight):
    checkpoint = tmp_path / "new" / "c.pt"
    for seed, epoch in enumerate(stops):  # whatever weights a later part starts from, the checkpoint counts
        with pytest.raises(Stopped):
            fit(net(seed), toy(), QUICK, checkpoint=checkpoint, log=stop_after(epoch))
    model, lines = net(9), []
    rows = fit(model, toy(), QUICK, checkpoint=checkpoint, log=lines.append)
    assert same(model, straight[0]) and without_time(rows) == without_time(straight[1])
    assert len(lines) == 4 - stops[-1] and not model.training and [f.name for f in checkpoint.parent.iterdir()] == ["c.pt"]


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
    done = subprocess.run([sys.executable, "-c", KILLED, str(ROOT), str(Path(__file__).parent), str(tmp_path / "c.pt")], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.count("epoch ") == 2 and (tmp_path / "c.pt").exists()
    model, lines = net(), []
    rows = fit(model, toy(), QUICK, checkpoint=tmp_path / "c.pt", log=lines.append)
    assert same(model, straight[0]) and without_time(rows) == without_time(straight[1]) and len(lines) == 2


def rewrite(change):
    """Damage that a reader of the file alone cannot see: another content, well written."""
    def damage(path):
        torch.save(change(torch.load(path, weights_only=True)), path)
    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"noise" * 100),
    "half": lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]),
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
        assert str(tmp_path / "c.pt") in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == kept


def test_a_checkpoint_of_another_network_is_refused_and_kept(tmp_path):
    fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    kept, other = (tmp_path / "c.pt").read_bytes(), nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    other.black, other.white = 0., 1.
    with pytest.raises(ValueError) as caught:
        fit(other, toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    assert str(tmp_path / "c.pt") in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == kept


def test_a_loss_that_is_not_finite_stops_and_is_not_kept(tmp_path):
    with pytest.raises(Stopped):
        fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=stop_after(1))
    rewrite(lambda state: state | {"model": {k: v * torch.nan if v.is_floating_point() else v for k, v in state["model"].items()}})(tmp_path / "c.pt")
    before = (tmp_path / "c.pt").read_bytes()
    with pytest.raises(FloatingPointError) as caught:
        fit(net(), toy(), QUICK, checkpoint=tmp_path / "c.pt", log=silent)
    assert "epoch 2" in str(caught.value) and "learning rate" in str(caught.value) and str(caught.value).endswith(".")
    assert (tmp_path / "c.pt").read_bytes() == before


# ---- predictions

class Brightest(nn.Module):
    """Predicts the brightest channel, or the one after it while in train mode."""

    black, white = -1., 1.

    def __init__(self):
        super().__init__()
        self.scale, self.batches = nn.Parameter(torch.ones(1)), []

    def forward(self, images):
        assert images.dtype == torch.float32 and images.amin() >= -1 and images.amin() < 0
        self.batches.append(len(images))
        return (images * self.scale).mean((2, 3)).roll(int(self.training), 1)


def test_predict_and_accuracy_by_hand():
    pictures, model = toy(23), Brightest().eval()
    assert torch.equal(predict(model, pictures), pictures.labels) and predict(model, pictures).dtype == torch.int64
    wrong = replace(pictures, labels=torch.where(torch.arange(23) < 4, (pictures.labels + 1) % 3, pictures.labels))
    assert accuracy(model, pictures) == 1 and accuracy(model, wrong) == pytest.approx(19 / 23, abs=1e-12)
    model.batches.clear()
    assert accuracy(model, wrong, batch_size=10) == pytest.approx(19 / 23, abs=1e-12) and model.batches == [10, 10, 3]


def test_predictions_are_those_of_eval_mode():
    pictures, model = toy(12), Brightest().train()
    assert torch.equal(predict(model, pictures), pictures.labels)


def test_bytes_reach_the_network_in_its_range():
    pictures = replace(toy(2), images=torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 6, 6).clone())
    assert to_range(pictures.images, Brightest()).flatten(1)[:, 0].tolist() == [-1, 1]
