"""The networks: built by name, with weights checked before they are used.

Every model is an `nn.Module` in eval mode with three attributes: `black` and `white`, the values of a black and a white
pixel in its own input range, and `classes`, the names of its outputs.
"""
from __future__ import annotations

import importlib
import json
from pathlib import Path

import torch
from torch import nn

from lib.data import CIFAR10_CLASSES, ROOT

WEIGHTS = ROOT / "data" / "weights"


class ModelError(ValueError):
    """The model or its weights cannot be had; the message names the thing and what is accepted."""


def basic_cnn(classes: int) -> nn.Module:
    """Paper Sign's "basic CNN" (section 4, released code): seven 3x3 convolutions and a stem, no batch norm. Input [0,1]."""
    def block(before, width):
        return [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    stem = [nn.Conv2d(3, 32, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)]
    return nn.Sequential(*stem, *block(32, 32), *block(32, 64), *block(64, 128), *head)


def resnet18(classes: int) -> nn.Module:
    """Paper Sign's ResNet-18: torchvision's with its 1000 outputs, then a linear layer 1000 -> classes. Input [0,1]."""
    from torchvision.models import resnet18 as build
    return nn.Sequential(build(weights=None), nn.Linear(1000, classes))


_BUILDERS = {"basic_cnn": basic_cnn, "resnet18": resnet18}


def build(name: str, classes: tuple[str, ...] = CIFAR10_CLASSES, seed: int = 0) -> nn.Module:
    """A freshly initialised network of ours, in eval mode; `seed` fixes its weights and leaves the global generator alone."""
    if name not in _BUILDERS:
        raise ModelError(f"unknown model {name!r}; accepted are {', '.join(_BUILDERS)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _BUILDERS[name](len(classes))
    model.black, model.white, model.classes, model.name = 0.0, 1.0, tuple(classes), name
    return model.eval()
