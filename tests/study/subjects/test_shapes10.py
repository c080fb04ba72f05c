"""study.subjects.shapes10: the same pictures from the same seed, exact masks, and nothing but the
outline tells the class."""

import numpy as np
import pytest
import torch

from study.subjects import shapes10, sources
from study.subjects.pictures import DataError
from study.subjects.shapes10 import BLOCK, CLASSES, CONTRAST, SHAPES, SIDE, SPLITS, draw

GREY = torch.tensor([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def test_split():
    return draw("test")


@pytest.fixture(scope="module")
def train_part():
    return draw("train", count=2000)


def chance(features, labels, new_features, new_labels):
    """Accuracy of the better of nearest centroid and ridge regression onto the classes."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    x, z = (features - mean) / std, (new_features - mean) / std
    centroids = torch.stack([x[labels == k].mean(0) for k in range(10)])
    nearest = torch.cdist(z, centroids).argmin(1)
    gram = x.T @ x + 10 * torch.eye(x.shape[1], dtype=x.dtype)
    onto = torch.nn.functional.one_hot(labels, 10).to(x.dtype) - 0.1
    linear = (z @ torch.linalg.solve(gram, x.T @ onto)).argmax(1)
    return max((guess == new_labels).double().mean().item() for guess in (nearest, linear))


def scene(size=32, number=0, split="test"):
    """Ground, coverage and finished picture of a block, each drawn from the same numbers."""
    draws = shapes10.uniform_draws(split, number, 0)
    labels, colours = shapes10.labels_of(draws), shapes10.colours_of(draws)
    image, _, masks = shapes10.block(split, size, number, 0)
    return (
        shapes10.ground_of(draws, colours, size),
        shapes10.coverage(draws, labels, size),
        image,
        masks,
        colours,
    )


def test_shapes_types_and_names(test_split):
    assert test_split.images.shape == (2000, 3, 32, 32) and test_split.images.dtype == torch.uint8
    assert test_split.labels.shape == (2000,) and test_split.labels.dtype == torch.int64
    assert test_split.masks.shape == (2000, 32, 32) and test_split.masks.dtype == torch.bool
    assert test_split.classes == CLASSES and len(set(CLASSES)) == 10
    assert (test_split.name, test_split.split, test_split.source) == (
        "shapes10",
        "test",
        "drawn, seed 0",
    )
    assert SPLITS == {"train": 20_000, "test": 2_000}


def test_bytes_are_those_the_published_weights_were_trained_on():
    assert draw("test", count=200).fingerprint == "5f6283b9c4dc"
    assert draw("train", count=200).fingerprint == "753f2a1f15ee"


@pytest.mark.parametrize("split", SPLITS)
def test_seed_repeats_and_another_seed_differs(split):
    first = draw(split, count=60, seed=3)
    same = draw(split, count=60, seed=3)
    other = draw(split, count=60, seed=4)
    for part in ("images", "labels", "masks"):
        assert torch.equal(getattr(first, part), getattr(same, part))
        assert not torch.equal(getattr(first, part), getattr(other, part))
    assert other.source == "drawn, seed 4"


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = draw("test", count=20)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first.images, draw("test", count=20).images)


@pytest.mark.parametrize("count", [1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 1])
def test_a_smaller_count_is_a_prefix(test_split, count):
    part = draw("test", count=count)
    assert len(part) == count
    for name in ("images", "labels", "masks"):
        assert torch.equal(getattr(part, name), getattr(test_split, name)[:count])


def test_no_picture_is_drawn_twice(test_split, train_part):
    pictures = torch.cat(
        [test_split.images, train_part.images, draw("train", count=1000, seed=1).images]
    )
    assert len({picture.numpy().tobytes() for picture in pictures}) == len(pictures)
    masks = torch.cat([test_split.masks, train_part.masks])
    assert len({mask.numpy().tobytes() for mask in masks}) > 0.99 * len(masks)


def test_balanced_and_shuffled(test_split, train_part):
    for part in (test_split, train_part):
        assert (part.labels.view(-1, 10).sort(1).values == torch.arange(10)).all()
        order = part.labels.view(-1, 10)
        assert len(order.unique(dim=0)) > 0.99 * len(order)
        first = order[:, 0].bincount(minlength=10).double() / len(order)
        assert (first - 0.1).abs().max() < 0.08


@pytest.mark.parametrize("size", [32, 64])
def test_mask_is_where_the_object_is(size):
    ground, covered, image, masks, colours = scene(size)
    untouched = np.floor(ground * 255 + 0.5).astype(np.uint8)
    changed = (image != untouched).any(axis=1)
    assert not changed[covered == 0].any()  # off the object, not a byte moves
    assert changed[masks].all()  # on the object, every pixel does
    assert (masks == (covered >= 0.5)).all()
    assert 0 < (changed & ~masks).mean() < 2.2 / size  # between them, only the antialiased rim


def test_object_stands_out_in_luminance_from_everything_behind_it():
    ground, covered, image, _, _ = scene()
    behind = np.tensordot(ground, GREY.double().numpy(), axes=(1, 0))
    front = np.tensordot(image / 255, GREY.double().numpy(), axes=(1, 0))
    for n in range(BLOCK):
        on = front[n][covered[n] == 1]
        step = max(on.min() - behind[n].max(), behind[n].min() - on.max())
        assert step > CONTRAST - 0.004  # a byte's rounding


def test_mask_area_and_place(test_split):
    area = test_split.masks.flatten(1).sum(1).double() / 32**2
    assert area.min() > 0.9 * SIDE[0] ** 2 and area.max() < 1.1 * SIDE[1] ** 2
    rim = torch.ones(32, 32, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert not (test_split.masks & rim).any()
    steps = torch.arange(32).double() + 0.5
    for axis in (1, 2):
        middle = (test_split.masks.sum(axis).double() @ steps) / test_split.masks.sum((1, 2))
        assert middle.mean().item() == pytest.approx(16, abs=0.2) and middle.std() > 1.5


@pytest.mark.parametrize("name", CLASSES)
def test_outlines_have_the_area_of_the_side_they_are_given(name, test_split):
    unit, x, y, reach = shapes10.frame(name)
    assert 0.5 < reach / unit < 1.05 and abs(x) < 0.6 and abs(y) < 0.6
    known = {
        "disc": np.pi,
        "ring": np.pi * 0.64,
        "half-disc": np.pi / 2,
        "triangle": 3**1.5 / 4,
        "square": 4,
    }
    if name in known:
        assert unit**2 == pytest.approx(known[name], rel=0.005)
    masks = test_split.masks[test_split.labels == CLASSES.index(name)]
    sides = masks.flatten(1).sum(1).double().sqrt() / 32
    assert sides.mean().item() == pytest.approx(sum(SIDE) / 2, abs=0.01)


@pytest.mark.parametrize("name", CLASSES)
def test_pictures_show_the_outline_of_their_label(name, test_split):
    """Masks of a class, moved to their centroid and averaged, look like its outline more than like
    any other."""

    def centred(mask):
        rows, columns = np.nonzero(mask)
        side = len(rows) ** 0.5
        x, y = (columns - columns.mean()) / side, (rows.mean() - rows) / side
        return np.histogram2d(y, x, bins=15, range=[[-1, 1], [-1, 1]])[0]

    masks = test_split.masks[test_split.labels == CLASSES.index(name)].numpy()
    mean = sum(centred(mask) for mask in masks)
    axis = np.linspace(-1, 1, 15 * 9, dtype=np.float32)
    scores = []
    for other in CLASSES:
        unit, x0, y0, _ = shapes10.frame(other)
        turned = 0
        for angle in np.deg2rad(np.linspace(-shapes10.TURN, shapes10.TURN, 15)):
            x, y = np.meshgrid(axis * unit, axis * unit)
            x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            inside = SHAPES[other]((x + x0).astype(np.float32), (y + y0).astype(np.float32))
            turned = turned + inside.reshape(15, 9, 15, 9).sum((1, 3))
        scores.append(np.corrcoef(mean.ravel(), turned.ravel())[0, 1])
    assert CLASSES[int(np.argmax(scores))] == name


def test_colour_does_not_tell_the_class(test_split, train_part):
    def mean_colour(d):
        return d.images.double().mean((2, 3))

    def object_colour(d):
        return (d.images * d.masks[:, None]).double().sum((2, 3)) / d.masks.sum((1, 2))[:, None]

    def histogram(d):
        bins = (d.images.long() // 64 * torch.tensor([16, 4, 1])[:, None, None]).sum(1).flatten(1)
        return torch.zeros(len(d), 64, dtype=torch.double).scatter_add_(
            1, bins, torch.ones(bins.shape, dtype=torch.double)
        )

    for features in (mean_colour, object_colour, histogram):
        assert (
            chance(features(train_part), train_part.labels, features(test_split), test_split.labels)
            < 0.14
        )


def test_area_and_place_do_not_tell_the_class(test_split, train_part):
    steps = torch.arange(32.0).double()

    def area(d):
        a = d.masks.flatten(1).sum(1).double()
        return torch.stack([a, a**2, a**3], 1)

    def place(d):
        total = d.masks.sum((1, 2))
        x, y = (d.masks.sum(1) @ steps.long() / total, d.masks.sum(2) @ steps.long() / total)
        return torch.stack([x, y, x * y, x * x, y * y], 1).double()

    for features in (area, place):
        assert (
            chance(features(train_part), train_part.labels, features(test_split), test_split.labels)
            < 0.14
        )


def test_size_changes_resolution_alone():
    small, large = draw("test", size=32, count=50), draw("test", size=64, count=50)
    assert large.images.shape == (50, 3, 64, 64) and large.masks.shape == (50, 64, 64)
    assert torch.equal(small.labels, large.labels)
    halved = torch.nn.functional.avg_pool2d(large.images.float(), 2)
    assert (halved - small.images).abs().mean() < 6
    covered = torch.nn.functional.avg_pool2d(large.masks.float()[:, None], 2)[:, 0]
    assert ((covered > 0.5) != small.masks).double().mean() < 0.01


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"split": "validation"}, ["'validation'", "train and test"]),
        ({"split": "test", "size": 8}, ["size 8", "16"]),
        ({"split": "test", "size": 32.0}, ["size 32.0"]),
        ({"split": "test", "count": 0}, ["count 0", "at least 1"]),
        ({"split": "train", "count": -5}, ["count -5"]),
        ({"split": "train", "count": True}, ["count True"]),
        ({"split": "test", "count": 10, "seed": -1}, ["seed -1", "at least 0"]),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(arguments, words):
    with pytest.raises(DataError) as caught:
        draw(**arguments)
    message = str(caught.value)
    assert all(word in message for word in words) and message.endswith(".") and "\n" not in message


def test_load_goes_through_data(test_split):
    loaded = sources.load("shapes10", "test", count=100)
    assert len(loaded) == 100 and loaded.masks.shape == (100, 32, 32)
    assert loaded.fingerprint == test_split.sample(100).fingerprint


def test_a_split_is_drawn_once_and_kept(test_split, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path)
    first = sources.load("shapes10", "test")
    with monkeypatch.context() as patch:
        patch.setattr(shapes10, "draw", lambda *_: pytest.fail("it is kept"))
        again = sources.load("shapes10", "test")
    for loaded in (first, again):
        for name in ("images", "labels", "masks"):
            kept, drawn = getattr(loaded, name), getattr(test_split, name)
            assert torch.equal(kept, drawn) and kept.dtype == drawn.dtype and kept.is_contiguous()
        assert loaded.fingerprint == test_split.fingerprint
        assert (loaded.source, loaded.classes) == (test_split.source, test_split.classes)
    assert sources.load("shapes10", "test", size=16, count=10).images.shape[2:] == (16, 16)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_place_to_keep_it_a_split_is_drawn(test_split, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sources, "CACHE", tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert sources.load("shapes10", "test").fingerprint == test_split.fingerprint
