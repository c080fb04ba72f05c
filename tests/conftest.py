"""Small float64 networks, pictures, a guard over state, and a small run of study.account.plan.

The guard watches that a kernel leaves the caller's model and the library's state alone.
"""

from __future__ import annotations

import contextlib
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 4


class Linear(nn.Module):
    """Logits W x + b of `weight` [K,C,H,W]: the gradient of class k is always weight[k]."""

    def __init__(self, weight, bias=None):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float64))
        self.bias = nn.Parameter(
            torch.zeros(len(self.weight), dtype=torch.float64)
            if bias is None
            else torch.as_tensor(bias, dtype=torch.float64)
        )

    def forward(self, images):
        return images.flatten(1) @ self.weight.flatten(1).T + self.bias


class Functional(nn.Module):
    """Every ReLU and pool a function call, none a module."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images):
        hidden = F.max_pool2d(F.relu(self.first(images)), 2)
        return self.head(torch.relu(self.second(hidden)).mean((2, 3)))


class Residual(nn.Module):
    """One ReLU module used three times, a skip connection, batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, CLASSES)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, images):
        hidden = self.relu(self.norm(self.stem(images)))
        hidden = self.relu(hidden + self.relu(self.inner(hidden)))
        return self.head(self.dropout(hidden.mean((2, 3))))


def inplace():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


def smooth():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.Softplus(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


NETS = {"functional": Functional, "inplace": inplace, "residual": Residual, "smooth": smooth}


class Shifting(nn.Module):
    """Begins by changing the batch it is given, as a network that subtracts a mean in place."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, images):
        return self.body(images.sub_(0.5).mul_(2))


class Counting(nn.Module):
    """Records the shape of every batch that the wrapped model is given."""

    def __init__(self, body):
        super().__init__()
        self.body, self.batches = body, []

    def forward(self, images):
        self.batches.append(tuple(images.shape))
        return self.body(images)


@pytest.fixture(scope="module")
def one_thread():
    """Networks this small gain nothing from a second thread, and wait for it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_net():
    """make_net(name, seed=0): one of NETS in float64 and eval mode.

    Every parameter is scaled up so that no gradient is tiny.
    """

    def make(name, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = NETS[name]()
            for parameter in net.parameters():
                nn.init.normal_(parameter, std=0.5)
        return net.double().eval()

    return make


@pytest.fixture(params=sorted(NETS))
def net(request, make_net):
    return make_net(request.param)


@pytest.fixture
def linear():
    return Linear


@pytest.fixture
def shifting():
    return Shifting


@pytest.fixture
def counting():
    return Counting


@pytest.fixture
def images():
    """[5,3,6,5] in [0,1], float64; neither square nor symmetric."""
    return torch.rand(5, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _hooks(holder):
    return {
        name: dict(value)
        for name, value in vars(holder).items()
        if "hooks" in name and isinstance(value, dict)
    }


def _state(model):
    """All that a kernel must leave as it was, comparable with ==; tensors as nested lists."""

    def value(tensor):
        return None if tensor is None else (tensor.tolist(), tensor.dtype, tensor.stride())

    return {
        "parameters": [
            (
                name,
                id(p),
                p.requires_grad,
                value(p.detach()),
                value(p.grad),
                dict(p._backward_hooks or {}),
            )
            for name, p in model.named_parameters()
        ],
        "buffers": [(name, id(b), value(b)) for name, b in model.named_buffers()],
        "modules": [
            (name, id(m), type(m), m.training, sorted(vars(m)), _hooks(m))
            for name, m in model.named_modules()
        ],
        "global hooks": _hooks(torch.nn.modules.module),
        "modes": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
        ),
        "random numbers": torch.get_rng_state().tolist(),
    }


@pytest.fixture
def unchanged():
    """`with unchanged(model, tensor, ...):` fails if anything differs afterwards.

    Anything is the model, a tensor or global state; and it fails whether or not there was an
    exception.
    """

    @contextlib.contextmanager
    def guard(model, *tensors):
        before = _state(model)
        copies = [
            (tensor.detach().clone(), tensor.requires_grad, tensor.stride()) for tensor in tensors
        ]
        try:
            yield
        finally:
            after = _state(model)
            for part in before:
                assert after[part] == before[part], f"{part} changed"
            for tensor, (copy, requires_grad, stride) in zip(tensors, copies, strict=True):
                assert torch.equal(tensor.detach(), copy) and tensor.stride() == stride, (
                    "the caller's tensor was modified"
                )
                assert tensor.requires_grad == requires_grad and (
                    not tensor.is_leaf or tensor.grad is None
                ), "the caller's tensor got a gradient or a flag"

    return guard


@pytest.fixture
def clean():
    """For figures: no window, the style of the book, and nothing of either left behind."""
    import matplotlib
    import matplotlib.pyplot as plt

    from study import figures

    backend = matplotlib.get_backend()
    plt.switch_backend("Agg")
    with matplotlib.rc_context():
        figures.style()
        yield
    plt.close("all")
    plt.switch_backend(backend)


# ---- a whole run of study.account.plan, on drawn pictures and small networks; imports within,
# since kernels need none of it

# of reproduction.csv
HEADER = (
    "paper,table,row,column,published,reproduced,low,high,n,data,model,protocol,"
    "verdict,verdict_at_zero,"
    "other_reading,other_reproduced,other_low,other_high,other_verdict"
)


def small(classes: int) -> nn.Module:
    """Stands for both networks: it has their inputs and outputs and takes no time."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, classes),
    )


def paths(patch, folder):
    """Weights, cells and cache under `folder`; small networks under the names of the real ones."""
    # here, so that the tests of the kernels need nothing of study
    from study.account import claims, scoreboard
    from study.store import cells
    from study.subjects import networks, sources

    for module, name, value in (
        (networks, "WEIGHTS", "weights"),
        (cells, "RESULTS", "results"),
        (cells, "CACHE", "cache"),
        (sources, "CACHE", "cache"),
        (scoreboard, "CSV", "results/reproduction.csv"),
        (claims, "CSV", "results/claims.csv"),
    ):
        patch.setattr(module, name, folder / value)
    for name in networks.BUILDERS:
        patch.setitem(networks.BUILDERS, name, small)


def small_plan(patch):
    """Two networks and few pictures instead of the plan of the paper."""
    from study.account import claims, plan, scoreboard
    from study.experiments import deletion
    from study.subjects import shapes10, sources
    from study.subjects.training import Protocol

    drawn = {
        split: shapes10.draw(split, count=count) for split, count in (("train", 60), ("test", 40))
    }
    patch.setitem(sources._LOADERS, "shapes10", lambda split, size: drawn[split])
    jobs = [
        ("basic_cnn", "shapes10", "shapes10", Protocol(epochs=2, batch_size=30)),
        ("resnet18", "shapes10", "shapes10", Protocol(epochs=1, batch_size=30)),
    ]
    columns = {
        "CIFAR-10 CNN": ("shapes10", "basic_cnn", ("shapes10",)),
        "CIFAR-10 ResNet-18": ("shapes10", "resnet18", ("shapes10",)),
    }
    for module, name, value in (
        (plan, "TRAINED", jobs),
        (scoreboard, "COLUMNS", columns),
        (plan, "TRAIN_SPLIT", {("shapes10", "basic_cnn"): None, ("shapes10", "resnet18"): 20}),
        (scoreboard, "STAND_INS", {}),
    ):
        patch.setattr(module, name, value)
    patch.setattr(deletion, "SCORED", {"shapes10": 10})
    # these name their data; see test_plan.py
    patch.setattr(plan, "compute_noise", lambda: None)
    patch.setattr(claims, "measure", lambda: None)
    patch.setattr(plan, "retrain", lambda *_: None)
    patch.setattr(plan, "compute_synthesis", lambda: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run, one for all files; never to be changed: see `run_copy`."""
    from study.account import plan

    folder, threads = tmp_path_factory.mktemp("run"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        paths(patch, folder)
        small_plan(patch)
        assert plan.main(["run", "--threads", "1"]) == 0
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def run_copy(tmp_path, monkeypatch, finished):
    """A copy of the finished run, to be harmed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    paths(monkeypatch, tmp_path)
    small_plan(monkeypatch)
    return tmp_path


def snapshot(folder):
    return {
        f.relative_to(folder): f.read_bytes()
        for f in folder.rglob("*")
        if f.is_file() and "locks" not in f.parts
    }
