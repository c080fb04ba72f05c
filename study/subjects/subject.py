"""What is studied: a network and the pictures it is studied on.

The two are checked to fit each other before any long work.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import attribution
from study.subjects import names, networks, pretrained, sources
from study.subjects.pictures import (
    DataError,
    Dataset,
    centre_crop,
    is_whole,
    read_image,
    stack,
    to_range,
)

# what a network with ImageNet's outputs needs a new last layer for
TEN_CLASSES = ("shapes10", "cifar10", "cifar10_rest", "cifar10_masks", "imagenette")


class Subject(NamedTuple):
    """A network, the pictures it is studied on, and the names that say which.

    `stored`: whether experiments read and keep what they find under data/results/.
    """

    model: nn.Module
    pictures: Dataset
    model_name: str
    weights: str
    stored: bool = False

    @property
    def label(self) -> str:
        """For tables: network, what sets its weights apart where they are not the data's own, and
        data, as people call them."""
        return names.title(self.model_name, self.pictures.name, self.weights)

    @property
    def title(self) -> str:
        """For figures: the label, the split and the number of pictures."""
        shown = (self.pictures.name, self.pictures.split, len(self.pictures))
        return names.counted(self.label, *shown)

    def take(self, index) -> Subject:
        """The same network on the pictures at `index`: LongTensor, boolean mask or slice."""
        return self._replace(pictures=self.pictures.take(index))

    def sample(self, count: int | None, seed: int = 0) -> Subject:
        """The same network on a fixed random `count` of its pictures, in their order."""
        return self._replace(pictures=self.pictures.sample(count, seed))

    def altered(self, **changes) -> Subject:
        """The same network on changed pictures, of which nothing is stored.

        `changes` replace fields of the dataset, such as images or masks.
        """
        return self._replace(pictures=replace(self.pictures, **changes), stored=False)

    def batches(self, size: int) -> Iterator[tuple[slice, Tensor]]:
        """Places of at most `size` pictures at a time, and these in the network's input range."""
        for start in range(0, len(self.pictures), size):
            place = slice(start, min(start + size, len(self.pictures)))
            yield place, batch(self, place)

    def over_batches(self, function: Callable[[Tensor], Tensor], size: int) -> Tensor:
        """The answers of `function` to all pictures, `size` at a time, joined, on the CPU."""
        return torch.cat([function(images).cpu() for _, images in self.batches(size)])

    @property
    def identity(self) -> dict:
        """What keys a stored result: names, and fingerprints of pixels and weights."""
        return {
            "dataset": self.pictures.name,
            "split": self.pictures.split,
            "n": len(self.pictures),
            "data": self.pictures.fingerprint,
            "model": self.model_name,
            "weights": self.weights,
            "weights_hash": networks.fingerprint(self.model),
        }


def _tag(dataset: str, model: str, weights: str | None) -> str | None:
    """The weights meant by "auto".

    Those trained on `dataset` for the papers' networks and whatever else has some, a factory's own,
    else ImageNet's.
    """
    if weights != "auto":
        return weights
    if model in networks.BUILDERS:
        if not sources.known(dataset):
            raise networks.ModelError(
                f"weights 'auto' means those trained on a named dataset; for {dataset} name a tag, "
                "a path, 'imagenet' or None."
            )
        return dataset
    if networks.card(str(model), dataset):  # a new last layer, trained on the dataset
        return dataset
    return None if str(model).startswith("python:") else "imagenet"


def check(dataset: str, model: str, weights: str | None = "auto", split: str = "test") -> None:
    """Raise at once, in one sentence, for any name that `subject` would refuse."""
    sources.check(dataset, split)
    networks.check(model, _tag(dataset, model, weights))


def subject(
    dataset: str,
    model: str,
    weights: str | None = "auto",
    *,
    split: str = "test",
    count: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    size: int | None = None,
    stored: bool = False,
) -> Subject:
    """Network and pictures, checked to fit each other before any long work.

    `weights="auto"` takes the committed weights trained on `dataset` (the pretrained networks,
    torchvision's and timm's, where there are none: their ImageNet weights; a factory: its own).
    `stored`: see `Subject`. Raises DataError or ModelError.
    """
    check(dataset, model, weights, split)
    tag = _tag(dataset, model, weights)
    pictures = sources.load(dataset, split, count=count, seed=seed, size=size)
    network = networks.load(model, tag, classes=pictures.classes, seed=seed, device=device)
    _fit_together(network, pictures, model)
    return Subject(network, pictures, model, tag or "none", stored)


def _fit_together(network: nn.Module, pictures: Dataset, name: str = "the network") -> None:
    outputs = _outputs(network, pictures, name)
    if outputs != len(pictures.classes):
        raise networks.ModelError(
            f"class mismatch: the network has {outputs} outputs, {pictures.name} has "
            f"{len(pictures.classes)} classes ({', '.join(pictures.classes[:12])})."
        )
    if network.classes and tuple(network.classes) != pictures.classes:
        raise networks.ModelError(
            f"class mismatch: the network was trained on {', '.join(network.classes[:12])}; "
            f"{pictures.name} has {', '.join(pictures.classes[:12])}."
        )


def batch(studied: Subject, index) -> Tensor:
    """The pictures at `index` as float32 in the network's input range, on its device."""
    device = next((p.device for p in studied.model.parameters()), torch.device("cpu"))
    return to_range(studied.pictures.images[index].to(device), studied.model)


def object_masks(studied: Subject) -> Tensor:
    """Where the objects of the pictures are, bool [N,H,W]; ValueError where nobody marked them."""
    if studied.pictures.masks is None:
        raise ValueError(
            f"{studied.title}: these pictures have no masks of their objects; take pictures that "
            "have, such as shapes10 or cifar10_masks."
        )
    return studied.pictures.masks


def picture_rows(place: slice, same: dict, /, **columns: Tensor) -> list[dict]:
    """One row a picture: its number, what is the `same` for all of them, and its part of `columns`.

    `columns` are [n], for the n pictures at `place`.
    """
    lists = [values.tolist() for values in columns.values()]
    return [
        {"picture": number, **same, **dict(zip(columns, values, strict=True))}
        for number, *values in zip(range(place.start, place.stop), *lists, strict=True)
    ]


def batch_size(studied: Subject) -> int:
    """How many pictures at once a computer with a few gigabytes to spare can explain."""
    return 256 if studied.pictures.images.shape[-1] <= 64 else 32


def fill_value(studied: Subject, fill: str) -> float | Tensor:
    """The pixel value of "black" or "white" for this network: a number, or one a channel [C]."""
    value = {"black": studied.model.black, "white": studied.model.white}[fill]
    return value if isinstance(value, (int, float)) else torch.as_tensor(value).flatten().float()


def accept(namespace: dict) -> None:
    """Raise ValueError if a notebook's namespace holds a plain value that is no parameter.

    The parameters are those that the chapter's own cell assigns, the first that ran in this kernel
    and assigns `profile`. Called right after it, this turns a misspelt papermill parameter into one
    sentence instead of silence.
    """
    history = namespace.get("In", [])
    if not any(history):
        return  # nbval keeps no history and sets no parameters either
    names = _assigned(history)
    jupyters_own = {"In", "Out", "exit", "quit", "get_ipython", "open"}
    given = [
        name
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in jupyters_own
        and (value is None or isinstance(value, (bool, int, float, str, list, dict)))
    ]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; accepted are {', '.join(names)}.")


def _assigned(history: list[str]) -> list[str]:
    """The names in the first cell of a kernel's history that assigns `profile`."""
    for cell in history:
        try:
            lines = ast.parse(cell).body
        except SyntaxError:  # a magic
            continue
        names = [
            target.id
            for line in lines
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        ]
        if "profile" in names:
            return names
    raise ValueError("no cell has assigned the chapter's parameters; run the first code cell.")


def check_count(name: str, value, all_of: bool = True) -> None:
    """Raise ValueError for what is neither a whole number of at least 1 nor None.

    None is all of them, if `all_of`.
    """
    if value is not None and not is_whole(value):
        or_none = " or None for all" if all_of else ""
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1{or_none}.")


def _check_run(seed, device) -> None:
    """Raise ValueError for a seed that is none, or a device that is not here."""
    if not is_whole(seed, 0):
        raise ValueError(f"seed is {seed!r}; it must be a whole number of at least 0.")
    if device not in ("cpu", "mps") and not str(device).startswith("cuda"):
        raise ValueError(
            f"unknown device {device!r}; accepted are cpu, cuda, cuda:<number> and mps."
        )
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} was asked for, but torch sees no CUDA device here; use cpu."
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, but torch sees none here; use cpu.")


def _untrained(dataset: str, model: str, weights: str | None) -> bool:
    """Is one of our own networks meant without weights for this dataset?

    Or a pretrained one on other classes than ImageNet's.
    """
    if weights != "auto" or not sources.known(dataset):
        return False
    if model in networks.BUILDERS:
        return not (networks.WEIGHTS / f"{model}-{dataset}.safetensors").is_file()
    return (
        model in pretrained.PACKAGED
        and dataset in TEN_CLASSES
        and not networks.card(model, dataset)
    )


def subjects(
    dataset,
    model,
    weights="auto",
    *,
    split: str = "test",
    count: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    batch_size: int = 256,
    size: int | None = None,
    stored: bool = False,
) -> list[Subject]:
    """A subject for every pair of the given datasets and models, each a name or a list.

    All names are checked before any is loaded. Of several pairs with `weights="auto"`, those whose
    network was never trained on the dataset are left out. `size` stretches all pictures to
    size x size; None leaves them as they are, or as `sources.load` says.
    """
    check_count("images", count)
    check_count("batch_size", batch_size, all_of=False)
    _check_run(seed, device)
    given = []
    for name, value in (("dataset", dataset), ("model", model), ("weights", weights)):
        names = list(value) if isinstance(value, (list, tuple)) else [value]
        if not names:
            raise ValueError(f"{name} is an empty list; give at least one name.")
        given.append(names)
    every = list(product(*given))
    wanted = [combination for combination in every if not _untrained(*combination)] or every
    for d, m, w in wanted:
        check(d, m, w, split)
    options = {"split": split, "count": count, "seed": seed, "device": device, "size": size}
    return [subject(d, m, w, **options, stored=stored) for d, m, w in wanted]


def picture(
    name: str | Path,
    model: str,
    weights: str | None = "auto",
    *,
    size: int = 224,
    seed: int = 0,
    device: str = "cpu",
) -> Subject:
    """One picture of your own and a network.

    It is what `subject` is for a dataset, but the picture needs no label (it has -1). `name`: a
    file, scaled and cut to `size` x `size` as ImageNet's pictures are, or `<dataset>:<n>`, a
    dataset's n-th test picture from 0. A network that has no names for its outputs gets "class 0",
    "class 1", ... Raises DataError or ModelError.
    """
    _check_run(seed, device)
    if not is_whole(size):
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels of at least 1.")
    name, size = str(name), int(size)
    dataset, _, number = name.rpartition(":")
    ours = sources.known(dataset)
    tag = _tag(dataset if ours else name, model, weights)
    networks.check(model, tag)
    pictures = _nth(dataset, number, size) if ours else _own(name, size)
    network = networks.load(model, tag, seed=seed, device=device)
    outputs = _outputs(network, pictures, model)
    classes = tuple(network.classes or (f"class {k}" for k in range(outputs)))
    if len(classes) != outputs:
        raise networks.ModelError(
            f"class mismatch: the network has {outputs} outputs, and its `classes` are "
            f"{len(classes)} names."
        )
    if classes != pictures.classes:
        unlabelled = torch.full_like(pictures.labels, -1)
        pictures = replace(pictures, labels=unlabelled, classes=classes)
    return Subject(network, pictures, model, tag or "none")


def _nth(dataset: str, number: str, size: int) -> Dataset:
    """The picture `<dataset>:<number>`, under that name."""
    pictures = sources.load(dataset, size=size)
    if not (number.isdecimal() and int(number) < len(pictures)):
        raise DataError(
            f"{dataset} has no picture {number!r}; "
            f"accepted are {dataset}:0 to {dataset}:{len(pictures) - 1}."
        )
    return replace(pictures.take(slice(int(number), int(number) + 1)), name=f"{dataset}:{number}")


def _own(name: str, size: int) -> Dataset:
    """A file as a dataset of one unlabelled picture."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise DataError(
            f"{name!r} is no file; "
            "accepted are the path of a picture and <dataset>:<n>, such as photos:1."
        )
    pixels = stack([centre_crop(read_image(path), size)])
    return Dataset(str(path), "test", pixels, torch.tensor([-1]), (), str(path))


def _outputs(network: nn.Module, pictures: Dataset, name: str) -> int:
    """How many logits the network returns for a picture, read as every method reads them.

    ModelError if it cannot take it or returns something else.
    """
    image = batch(Subject(network, pictures, name, ""), slice(0, 1))
    try:
        return attribution.logits(network, image).shape[1]
    except ValueError as refusal:  # one sentence, of the method or of the network itself
        sentence = f"{name}: {' '.join(str(refusal).split())}"
        if cause := refusal.__cause__:  # PyTorch's, and here the network changes, not the pictures
            raise networks.cannot_take(name, network, image, cause, sentence) from None
        raise networks.ModelError(sentence) from None
    except Exception as error:  # people's networks raise whatever they like
        raise networks.cannot_take(name, network, image, error) from None


def class_of(studied: Subject, target: int | str | None) -> int | None:
    """The class that `target` means; ValueError if it means none.

    None stays (the predicted one), a number is checked, a name looked up.
    """
    names = studied.pictures.classes
    if target is None:
        return None
    if is_whole(target, 0) and target < len(names):
        return int(target)
    wanted, folded = str(target).casefold(), [name.casefold() for name in names]
    matches = [k for k, name in enumerate(folded) if name == wanted and isinstance(target, str)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(
            f"{len(matches)} classes are called {target!r}; name one by its number: "
            f"{', '.join(map(str, matches))}."
        )
    near = [names[k] for k, name in enumerate(folded) if wanted in name]
    if not near:
        near = [names[folded.index(name)] for name in get_close_matches(wanted, folded)]
    if not near:
        near = names
    raise ValueError(
        f"unknown class {target!r}; accepted are the numbers 0 to {len(names) - 1} and the names, "
        f"such as {', '.join(near[:5])}."
    )
