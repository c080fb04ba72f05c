"""What goes in comes out: of stored cells, of packed tensors, of the names of data and networks.

The examples are drawn, the same ones at every run.
"""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from notebooks import run
from study.store import cells
from study.subjects import networks, sources

drawn = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
contents = st.dictionaries(st.text().filter(lambda key: key != "digest"), json_values, max_size=5)
shapes = st.lists(st.integers(0, 7), max_size=4)
seeds = st.integers(0, 2**31 - 1)
# what a folder or a tag may be called
plain_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-+ ", min_size=1, max_size=12).map(
    lambda text: f"n{text}e"
)
DATASETS = sorted(
    json.loads((sources.ROOT / "data" / "manifest.json").read_text(encoding="utf8"))["datasets"]
)
SUFFIXES = ("", "+patch", "+jpeg75")
SMALL = ("basic_cnn", "rectgrad_cnn", "gelu_cnn")


# ---- cells


@drawn
@given(contents)
def test_a_cell_gives_back_what_it_got(tmp_path, content):
    path = tmp_path / "experiment" / "cell.json"
    cells.write(path, content)
    assert cells.read(path) == content
    assert [file.name for file in path.parent.iterdir()] == ["cell.json"]


@drawn
@given(contents, st.data())
def test_a_cell_with_a_byte_changed_is_damaged_or_the_same(tmp_path, content, data):
    path = tmp_path / "cell.json"
    cells.write(path, content)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.integers(0, 255))
    path.write_bytes(whole[:place] + bytes([new]) + whole[place + 1 :])
    found = cells.read(path)
    assert found is None or found == content


@drawn
@given(contents, contents)
def test_cells_share_a_key_when_their_parameters_are_the_same_and_only_then(one, other):
    alike = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (cells.key(one) == cells.key(other)) is alike
    assert cells.key(dict(reversed(one.items()))) == cells.key(one)


# ---- tensors in cells


@drawn
@given(shapes, seeds)
def test_flags_come_back_as_they_were(shape, seed):
    flags = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = json.loads(json.dumps(cells.pack(flags)))
    assert cells.is_packed(packed)
    found = cells.unpack(packed)
    assert found.dtype == torch.bool and found.shape == flags.shape and torch.equal(found, flags)


@drawn
@given(shapes, seeds, st.floats(-3, 4))
def test_numbers_come_back_rounded(shape, seed, power):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = 10**power * values.clamp(-6, 6)
    found = cells.unpack(json.loads(json.dumps(cells.pack(values))))
    assert found.dtype == torch.float64 and found.shape == values.shape
    # half a step of float16, and below its normal numbers half the smallest
    assert ((found - values).abs() <= 5e-4 * values.abs() + 2**-25).all()


# ---- names of datasets


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_keeps_its_plain_name(name, suffix):
    whole = f"{name}{suffix}"
    assert sources.known(whole) and sources.plain_name(whole) == name
    assert run.assigned([f"dataset={whole}"]) == {"dataset": whole}


@settings(drawn, max_examples=10)
@given(plain_words, st.sampled_from(SUFFIXES))
def test_a_folder_of_pictures_is_found_again_by_its_name(tmp_path, word, suffix):
    folder = tmp_path / word
    for k, kind in enumerate(("cat", "dog")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (40 * k, 90, 200)).save(folder / kind / "1.png")
    asked = f"imagefolder:{folder}{suffix}"
    pictures = sources.load(asked, size=12)
    assert pictures.name == asked and run.value_of(asked) == asked
    again = sources.load(pictures.name, size=12)
    assert again.fingerprint == pictures.fingerprint and torch.equal(again.images, pictures.images)


# ---- names of networks


@settings(drawn, max_examples=10)
@given(st.sampled_from(SMALL), plain_words, seeds)
def test_a_saved_network_is_found_again_by_its_name_and_tag(tmp_path, name, tag, seed):
    about = {"classes": ["a", "b", "c"], "seed": seed}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "WEIGHTS", tmp_path)
        model = networks.load(name, classes=about["classes"], seed=seed)
        networks.save(model, tmp_path / f"{name}-{tag}.safetensors", about)
        again = networks.load(name, tag)
        assert networks.weights_path(name, tag) == tmp_path / f"{name}-{tag}.safetensors"
        assert networks.card(name, tag) == about
    assert again.name == name and again.classes == ("a", "b", "c")
    assert networks.fingerprint(again) == networks.fingerprint(model)
