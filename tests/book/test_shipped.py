"""RectGrad on every network that comes with the project: something must come through.

On the network's own pictures at their own size.
"""

from __future__ import annotations

import pytest

from lib import attribution
from study.subjects import networks, sources
from study.subjects.pictures import to_range
from study.subjects.pretrained import ModelError

COMMITTED = sorted(path.stem.split("-", 1) for path in networks.WEIGHTS.glob("*.safetensors"))


def shows_something(model, images):
    values = attribution.rectgrad(model, images)
    assert values.isfinite().all() and (values > 0).flatten(1).any(1).all()


@pytest.mark.parametrize("name, tag", COMMITTED, ids="-".join)
def test_committed_networks(name, tag):
    model = networks.load(name, tag)
    shows_something(model, to_range(sources.load("shapes10", "test", count=4).images, model))


@pytest.mark.parametrize("name", ["squeezenet1_1", "efficientnet_lite0"])
def test_pretrained_networks(name):
    try:
        model = networks.load(name, "imagenet")
        images = sources.load("photos").images
    except (ModelError, sources.DataError) as missing:
        pytest.skip(str(missing))
    shows_something(model, to_range(images, model))
