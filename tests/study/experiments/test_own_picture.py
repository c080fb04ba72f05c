"""One picture of one's own: choices refused, maps left out, deletion by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from study.experiments import own_picture
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject, batch
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one() -> Subject:
    """A network of two classes, [sum of red, 0], and a picture of 10x10 whose left half is red."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 2, bias=False))
    with torch.no_grad():
        net[1].weight.zero_()[0, :100] = 0.1
    net.black, net.white, net.classes = 0.0, 1.0, ("red", "other")
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    pixels[:, 0, :, :5] = 255
    pictures = Dataset("mine", "test", pixels, torch.tensor([-1]), net.classes, "drawn")
    return Subject(net.eval(), pictures, "half", "none")


@pytest.mark.parametrize("methods", ["saliency, rectgrad", ["saliency", "rectgrad"]])
def test_methods_are_a_list_or_a_text(methods):
    assert own_picture.chosen(methods) == ["saliency", "rectgrad"]


def test_what_cannot_be_done_is_said(one):
    images = batch(one, slice(None))
    refused(lambda: own_picture.chosen([]), "no method is named", "saliency")
    refused(lambda: own_picture.chosen("saliency,nonsense"), "'nonsense'", "saliency")

    def maps(methods, batch_size=4):
        return own_picture.maps(one, images, methods, 0, [0, 1], batch_size=batch_size, seed=0)

    refused(lambda: maps(["saliency"], 0), "batch_size is 0")
    refused(lambda: maps(["saliency"], True), "batch_size is True")
    refused(lambda: maps(["guided_backprop"]), "guided_backprop can explain half", "saliency")
    found, left_out = maps(["saliency", "guided_backprop"])
    assert list(found) == ["saliency"] and len(left_out) == 1
    assert left_out[0].startswith("Left out: guided_backprop. ")


def test_the_likeliest_class_comes_first(one):
    found = own_picture.likeliest(one, batch(one, slice(None)))
    expected = torch.tensor([5.0, 0]).softmax(0)  # fifty red pixels of a tenth each
    assert found["class"].tolist() == ["red", "other"]
    assert found["probability"].tolist() == pytest.approx(expected.tolist())


def test_deletion_takes_what_it_is_told(one):
    """A map of the left half: ten of the hundred pixels to grey take half of each, black all."""
    images = batch(one, slice(None))
    left = torch.linspace(2, 1, 100).view(1, 10, 10) * (torch.arange(10) < 5)
    table = own_picture.after_deletion(one, images, {"left": left}, 0).set_index("map")
    red = torch.tensor([[5.0, 0], [5 - 10 * 0.05, 0], [5 - 10 * 0.1, 0]]).softmax(1)[:, 0].tolist()
    assert table.loc["(nothing deleted)"].tolist() == pytest.approx([red[0]] * 4)
    assert table.loc["left", ["10 % to grey", "10 % to black"]].tolist() == pytest.approx(red[1:])


def test_the_prediction_stays_until_what_it_rests_on_is_black(one):
    images, bias = batch(one, slice(None)), nn.Parameter(torch.tensor([0.0, 1.0]))
    one.model[1].bias = bias
    active = (torch.arange(10) < 5).expand(1, 10, 10) * torch.linspace(2, 1, 100).view(1, 10, 10)
    _, stays = own_picture.without_the_most_active(one, images, active, share=0.2)
    altered, gone = own_picture.without_the_most_active(one, images, active, share=0.6)
    assert stays == [True] and gone == [False]
    assert not altered.any()


def test_what_chooses_pixels_ends_in_chance():
    found = {"saliency": torch.zeros(1, 4, 4)}
    ranked = own_picture.ranked(found, {"active": torch.ones(1, 4, 4)}, seed=1)
    assert list(ranked) == ["Saliency map", "Active (signed)", "At random"]
    again = own_picture.ranked(found, {}, seed=1)["At random"]
    assert torch.equal(ranked["At random"], again) and again.shape == (1, 4, 4)
    assert own_picture.kept({"active": torch.tensor([[[0.0, 1], [1, 1]]])})["share"].item() == 0.75
