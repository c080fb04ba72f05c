"""What is studied: a network and the pictures it is studied on, checked to fit each other before any long work."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import data, models
from lib.data import Dataset, to_range


class Subject(NamedTuple):
    """A network, the pictures it is studied on, and the names that say which."""

    model: nn.Module
    pictures: Dataset
    model_name: str
    weights: str

    @property
    def label(self) -> str:
        """For tables: network, its weights unless they are those of the dataset, and data."""
        weights = "" if self.weights in ("none", self.pictures.name) else f" ({Path(self.weights).name})"
        return f"{self.model_name}{weights}, {Path(self.pictures.name).name}"

    @property
    def title(self) -> str:
        """For figures: the label, the split and the number of pictures."""
        return f"{self.label} {self.pictures.split}, n = {len(self.pictures):,}"

    @property
    def identity(self) -> dict:
        """What keys a stored result: names, and fingerprints of pixels and weights."""
        return {"dataset": self.pictures.name, "split": self.pictures.split, "n": len(self.pictures), "data": self.pictures.fingerprint,
                "model": self.model_name, "weights": self.weights, "weights_hash": models.fingerprint(self.model)}


def _tag(dataset: str, model: str, weights: str | None) -> str | None:
    """The weights meant by "auto": a factory's own, those trained on `dataset` for the papers' networks, else ImageNet's."""
    if weights != "auto":
        return weights
    if model not in models.BUILDERS:
        return None if str(model).startswith("python:") else "imagenet"
    if dataset.startswith("imagefolder:"):
        raise models.ModelError(f"weights 'auto' means those trained on a named dataset; for {dataset} name a tag, a path, 'imagenet' or None.")
    return dataset


def check(dataset: str, model: str, weights: str | None = "auto", split: str = "test") -> None:
    """Raise at once, in one sentence, for any name that `subject` would refuse."""
    data.check(dataset, split)
    models.check(model, _tag(dataset, model, weights))


def subject(dataset: str, model: str, weights: str | None = "auto", *, split: str = "test", count: int | None = None, seed: int = 0,
            device: str = "cpu", size: int | None = None) -> Subject:
    """Network and pictures, checked to fit each other before any long work.

    `weights="auto"` takes the committed weights trained on `dataset` (the pretrained networks, torchvision's and timm's:
    their ImageNet weights; a factory: its own). Raises DataError or ModelError.
    """
    check(dataset, model, weights, split)
    tag = _tag(dataset, model, weights)
    pictures = data.load(dataset, split, count=count, seed=seed, size=size)
    network = models.load(model, tag, classes=pictures.classes, seed=seed, device=device)
    _fit_together(network, pictures)
    return Subject(network, pictures, model, tag or "none")


def _fit_together(network: nn.Module, pictures: Dataset) -> None:
    with torch.no_grad():
        outputs = network(batch(Subject(network, pictures, "", ""), slice(0, 1))).shape[1]
    if outputs != len(pictures.classes):
        raise models.ModelError(f"class mismatch: the network has {outputs} outputs, {pictures.name} has {len(pictures.classes)} classes ({', '.join(pictures.classes[:12])}).")
    if network.classes and tuple(network.classes) != pictures.classes:
        raise models.ModelError(f"class mismatch: the network was trained on {', '.join(network.classes[:12])}; {pictures.name} has {', '.join(pictures.classes[:12])}.")


def batch(who: Subject, index) -> Tensor:
    """The pictures at `index` as float32 in the network's input range, on its device."""
    device = next((p.device for p in who.model.parameters()), torch.device("cpu"))
    return to_range(who.pictures.images[index].to(device), who.model)


def fill_value(who: Subject, fill: str) -> float:
    """The pixel value of "black" or "white" for this network."""
    return {"black": who.model.black, "white": who.model.white}[fill]


def accept(namespace: dict, *names: str) -> None:
    """Raise ValueError if a notebook's namespace holds a plain value under a name that is not one of its parameters.

    Called right after the parameters, it turns a misspelt papermill parameter into one sentence instead of silence.
    """
    own = {"In", "Out", "exit", "quit", "get_ipython", "open"}
    given = [k for k, v in namespace.items() if not k.startswith("_") and k not in own and (v is None or isinstance(v, (bool, int, float, str, list, dict)))]
    unknown = [k for k in given if k not in names]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; accepted are {', '.join(names)}.")


def subjects(dataset, model, weights="auto", *, split: str = "test", count: int | None = None, seed: int = 0, device: str = "cpu", batch_size: int = 256) -> list[Subject]:
    """A subject for every pair of the given datasets and models, each a name or a list; all names are checked before any is loaded."""
    as_list = lambda value: list(value) if isinstance(value, (list, tuple)) else [value]
    for name, value in (("images", count), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1{' or None for all' if name == 'images' else ''}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; it must be a whole number of at least 0.")
    if device not in ("cpu", "mps") and not str(device).startswith("cuda"):
        raise ValueError(f"unknown device {device!r}; accepted are cpu, cuda, cuda:<number> and mps.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no CUDA device here; use cpu.")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, but torch sees none here; use cpu.")
    for name, value in (("dataset", dataset), ("model", model), ("weights", weights)):
        if isinstance(value, (list, tuple)) and not value:
            raise ValueError(f"{name} is an empty list; give at least one name.")
    wanted = [(d, m, w) for d in as_list(dataset) for m in as_list(model) for w in as_list(weights)]
    for d, m, w in wanted:
        check(d, m, w, split)
    return [subject(d, m, w, split=split, count=count, seed=seed, device=device) for d, m, w in wanted]
