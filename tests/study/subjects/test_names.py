"""What people call networks, data and weights."""

from __future__ import annotations

import pytest

from study.account import claims, plan, scoreboard
from study.subjects import names, networks, sources


@pytest.mark.parametrize(
    "model, data, tag, label",
    [
        ("rectgrad_cnn", "cifar10", "cifar10", "Noise CNN, CIFAR-10"),
        ("rectgrad_cnn", "cifar10_masks", "cifar10", "Noise CNN, CIFAR-10 with masks"),
        (
            "rectgrad_cnn",
            "cifar10_masks",
            "cifar10_rest",
            "Noise CNN (control), CIFAR-10 with masks",
        ),
        ("rectgrad_cnn", "cifar10+patch", "cifar10+patch", "Noise CNN, CIFAR-10 with patch"),
        (
            "rectgrad_cnn",
            "cifar10+patch",
            "cifar10",
            "Noise CNN (trained on CIFAR-10), CIFAR-10 with patch",
        ),
        ("basic_cnn", "cifar10", "cifar10-seed2", "Sign CNN (seed 2), CIFAR-10"),
        ("basic_cnn", "shapes10", "none", "Sign CNN, shapes"),
        ("basic_cnn", "cifar10+jpeg75", "none", "Sign CNN, CIFAR-10 as JPEG"),
        ("basic_cnn", "shapes10:3", "shapes10", "Sign CNN, shapes picture 3"),
        ("resnet18", "imagenette", "imagenette-released", "ResNet-18 (pretrained), Imagenette"),
        ("squeezenet1_1", "imagenet_samples", "imagenet", "SqueezeNet 1.1, ImageNet samples"),
        (
            "squeezenet1_1",
            "/a/cat.png",
            "imagenet",
            "SqueezeNet 1.1 (trained on ImageNet), cat.png",
        ),
        ("python:mine:net", "imagefolder:/a/birds", "none", "python:mine:net, birds"),
        ("timm:resnet50", "imagefolder:birds/", "/a/mine.pt", "timm:resnet50 (mine.pt), birds"),
    ],
)
def test_a_label_names_what_a_reader_needs(model, data, tag, label):
    assert names.title(model, data, tag) == label


def test_everything_that_the_book_studies_has_a_name_of_its_own():
    assert set(networks.BUILDERS) <= set(names.NETWORKS)
    assert set(sources._LOADERS) <= set(names.DATASETS)
    assert set(sources._ALTERED) == set(names.ALTERED)
    for table in (names.NETWORKS, names.DATASETS, names.ALTERED):
        assert len(set(table.values())) == len(table)


def test_no_two_of_what_is_trained_or_measured_share_a_label():
    trained = {(model, data, tag) for model, data, tag, _ in plan.TRAINED}
    measured = {
        (model, data, tag) for nets, *_ in claims.MEASURES.values() for data, model, tag in nets
    }
    listed = {(m, d, tag) for d, m, tags in scoreboard.COLUMNS.values() for tag in tags}
    for known in (trained, measured, listed):
        labels = [names.title(*what) for what in known]
        assert len(set(labels)) == len(labels)
        assert not any("_" in label for label in labels)
