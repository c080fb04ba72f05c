"""The live page: every number that it computes in a browser is the kernels' own.

It is opened as a book has it, from a server and from disk, and held to PyTorch.
"""

from __future__ import annotations

import base64
import copy
import functools
import http.server
import io
import json
import re
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from book import live
from lib import attribution, metrics
from study.experiments import response
from study.subjects import imagenet, networks, shapes10, sources
from study.subjects.pictures import DataError, Dataset, to_range
from tests.book.conftest import Quiet

PAGE = live.ROOT / "book" / "live.md"
MEANS = ("smoothgrad", "integrated_gradients")  # of many passes
# of the maximum of each map. A unit whose input is within rounding of 0 counts or not: that moves
# a mean of few steps. Epsilon-LRP divides by such inputs plus 1e-4: PyTorch itself is 1e-4 away
# from its own double precision
TOLERANCE = dict.fromkeys(MEANS, 5e-3) | {"epsilon_lrp": 1e-3}
ONE_PASS = 1e-5
PERCENTILES = (98.0, 90.0, 60.0)
ORDERS, STEPS = 3, 10  # of the page: random orders behind a curve, points behind a mean
FILLS = {"black": -1.0, "white": 1.0}

browsing = pytest.mark.browser


# ---- the page as a book has it -------------------------------------------------------------------


def block() -> str:
    """The raw HTML of the page's source."""
    return "".join(re.findall(r"^```\{raw\} html\n(.*?)^```$", PAGE.read_text("utf8"), re.M | re.S))


def lay_out(folder: Path) -> Path:
    """The page and all it loads under `folder`; returns the page."""
    shutil.copytree(live.LIVE, folder / "_static" / "live")
    live.weights(folder / "_static" / "live")
    (folder / "book").mkdir()
    page = folder / "book" / "live.html"
    head = '<!doctype html><html lang="en"><meta charset="utf8"><title>Live</title>'
    # what the book's theme sets; an icon that is there spares a complaint
    head += '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    page.write_text(f"{head}<body>{block()}</body></html>", encoding="utf8")
    return page


@pytest.fixture(scope="module")
def page_path(tmp_path_factory) -> Path:
    return lay_out(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def addresses(page_path):
    """Where the page is: origin -> address."""
    serve = functools.partial(Quiet, directory=str(page_path.parent.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served = f"http://127.0.0.1:{server.server_port}/book/live.html"
    yield {"http": served, "file": page_path.as_uri()}
    server.shutdown()


@pytest.fixture
def visit(browser, addresses):
    """Open the page in a state; at the end nothing may have been complained of."""
    contexts, complaints = [], []

    def visit(state: str = "", origin: str = "file", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto(f"{addresses[origin]}#{state}")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


AT_REST = "document.getElementById('live-grid').getAttribute('aria-busy') === 'false'"
SAID = "liveShown().curves"  # what is computed after the one-pass maps
SECONDS = 120  # that a page may take on a machine with better things to do


def settled(page, until: str = SAID):
    """Wait until the one-pass maps and the curves are shown; until `AT_REST`, everything."""
    page.wait_for_function(until, timeout=1000 * SECONDS)
    return page


def moved(page, act, until: str = SAID):
    """Act, then wait until the page has taken it in."""
    before = page.evaluate("liveShown().answered ?? 0")
    act()
    page.wait_for_function(f"liveShown().answered > {before} && {until}", timeout=1000 * SECONDS)


def shown(page) -> dict:
    """What the page shows, as numbers; typed arrays as lists."""
    return json.loads(
        page.evaluate(
            "JSON.stringify(liveShown(),"
            " (key, v) => key === 'pictures' ? undefined : ArrayBuffer.isView(v) ? [...v] : v)"
        )
    )


# ---- what PyTorch says ---------------------------------------------------------------------------


class Pictures(NamedTuple):
    """The pictures of a dataset as the page holds them, and the network."""

    model: torch.nn.Module
    numbers: list[int]
    labels: list[int]
    bytes: Tensor  # uint8 [N,3,32,32]
    images: Tensor  # in the network's range


@functools.cache
def held(dataset: str) -> Pictures:
    text = (live.LIVE / f"pictures-{dataset}.js").read_text("utf8")
    content = json.loads(re.fullmatch(rf'liveData\("pictures", "{dataset}", (.*)\);\n', text)[1])
    pixels = torch.frombuffer(bytearray(base64.b64decode(content["pixels"])), dtype=torch.uint8)
    pixels = pixels.view(-1, 32, 32, 3).permute(0, 3, 1, 2).contiguous()
    model = networks.load(live.NETWORK, dataset)
    images = to_range(pixels, model)
    return Pictures(model, content["numbers"], content["labels"], pixels, images)


def kernel(model, images: Tensor, name: str, q: float, target=None, steps: int = STEPS) -> Tensor:
    options = {"q": q} if name.startswith("rectgrad") else {"steps": steps} if name in MEANS else {}
    return attribution.METHODS[name].function(model, images, target, **options)


def kernel_map(model, image: Tensor, name: str, q: float, reduce: str, target=None) -> Tensor:
    """[32,32], with the page's reductions; `image` [1,3,32,32]."""
    if name == "random":
        return random_map(0)
    always = attribution.METHODS[name].reduce
    reduce = always["noise"] if always["noise"] == always["sign"] else reduce
    return attribution.to_map(kernel(model, image, name, q, target), reduce)[0]


def random_map(seed: int) -> Tensor:
    return torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(seed))[0]


def kernel_curve(model, image: Tensor, map_: Tensor, fill: str) -> Tensor:
    return metrics.class_scores(model, image, map_[None], fill=FILLS[fill])[0][:, 0]


def apart(found, wanted: Tensor) -> float:
    """The largest difference, in units of the largest value that is wanted."""
    found = torch.as_tensor(found, dtype=torch.float64).view(wanted.shape)
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


# ---- the scripts, called directly ----------------------------------------------------------------

# pictures in, logits, attributions and curves out: each a name and float32 numbers in base64
COMPUTE = """([dataset, places, names, percentiles, steps]) => {
  const network = liveNetwork(), numbers = liveNumbers();
  const maps = liveMaps(network, numbers), deletion = liveDeletion(network, numbers);
  const model = network.read(network.fromBase64(held[`weights ${dataset}`]));
  const pixels = network.fromBase64(held[`pictures ${dataset}`].pixels);
  const packed = (values) =>
    btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(values).buffer)));
  return places.map((place) => {
    const picture = network.toRange(pixels.subarray(3072 * place, 3072 * (place + 1)));
    const explained = maps.explain(model, picture), target = deletion.predicted(explained.logits);
    const attribution = (name, q) =>
      maps.finished(explained.attribution(name, { target, q, steps })).values;
    const found = { logits: packed(explained.logits) };
    const map = maps.toMap(attribution("saliency"), "absmax");
    const curve = (fill) => maps.finished(deletion.curve(model, picture, map, fill)).probability;
    for (const name of names) {
      if (name === "deletion") found.deletion = packed([...curve(-1), ...curve(1)]);
      else if (name.startsWith("rectgrad"))
        for (const q of percentiles) found[`${name} ${q}`] = packed(attribution(name, q));
      else found[name] = packed(attribution(name));
    }
    return found;
  });
}"""
SCRIPTS = ("network.js", "numbers.js", "maps.js", "deletion.js")


@pytest.fixture(scope="module")
def blank(browser, page_path):
    """A blank page with the scripts of the live page and the data of both networks."""
    page, folder = browser.new_page(), page_path.parent.parent / "_static" / "live"
    page.add_script_tag(
        content="var held = {}; var liveData = (kind, name, v) => { held[`${kind} ${name}`] = v; };"
    )
    data = [f"{kind}-{name}.js" for kind in ("weights", "pictures") for name in live.DATASETS]
    for name in (*SCRIPTS, *data):
        page.add_script_tag(content=(folder / name).read_text("utf8"))
    yield page
    page.close()


def wanted(dataset: str, places: list[int], names, steps: int) -> dict[str, Tensor]:
    """What `COMPUTE` should find, [N,...]."""
    model, images = held(dataset).model, held(dataset).images[places]
    with torch.no_grad():
        values = {"logits": model(images)}
    for name in names:
        if name == "deletion":
            maps = attribution.to_map(attribution.saliency(model, images), "absmax")
            curves = [metrics.class_scores(model, images, maps, fill=f)[0] for f in FILLS.values()]
            values[name] = torch.cat(curves).T
        else:
            for q in PERCENTILES if name.startswith("rectgrad") else (None,):
                found = kernel(model, images, name, q, None, steps)
                values[name if q is None else f"{name} {q:g}"] = found.permute(0, 2, 3, 1)
    return values


def beyond(page, dataset: str, places: list[int], names, steps: int = 3) -> dict[str, list[float]]:
    """What is further from PyTorch than it may be, and how far.

    Of all RectGrad maps one may be: a unit on the threshold.
    """
    answer = page.evaluate(COMPUTE, [dataset, places, list(names), PERCENTILES, steps])
    far: dict[str, list[float]] = {}
    for key, values in wanted(dataset, places, names, steps).items():
        name = key.split()[0]
        for found, value in zip(answer, values, strict=True):
            raw = torch.frombuffer(bytearray(base64.b64decode(found[key])), dtype=torch.float32)
            if name in ("logits", "deletion"):
                over = (raw - value).abs().max().item() / 1e-4
            else:
                over = apart(raw, value) / TOLERANCE.get(name, ONE_PASS)
            far.setdefault(name, []).append(over)
    spared = {"rectgrad": 1}
    return {k: v for k, v in far.items() if sum(o > 1 for o in v) > spared.get(k, 0)}


@browsing
@pytest.mark.parametrize("dataset", live.DATASETS)
def test_all_maps_are_pytorchs(blank, dataset):
    one_pass = [name for name in attribution.METHODS if name not in MEANS]
    assert beyond(blank, dataset, [0, 11, 15, 23], [*one_pass, "deletion"]) == {}
    assert beyond(blank, dataset, [21], MEANS) == {}


# script, its text, what it becomes, and what then differs
MUTATIONS = {
    "no padding trick": ("maps.js", "border: true", "border: false", "rectgrad"),
    "at the threshold": ("maps.js", "scores[n] > threshold", "scores[n] >= threshold", "rectgrad"),
    "biased rank": ("numbers.js", "Math.round(value)", "Math.floor(value)", "rectgrad"),
    "last of equals": (
        "network.js",
        "values[place] > values[winner]",
        "values[place] >= values[winner]",
        "deconvolution",
    ),
    "unsigned guide": ("maps.js", "z[n] > 0 && g[n] > 0", "z[n] > 0", "guided_backprop"),
    "other baseline": (
        "maps.js",
        "new Float32Array(picture.length))",
        "new Float32Array(picture.length).fill(-1))",
        "deeplift",
    ),
    "PRR unshared": ("network.js", "mean + 1e-10) / 4", "mean + 1e-10)", "rectgrad_prr"),
    "ties deleted": ("deletion.js", "v > threshold", "v >= threshold", "deletion"),
    "channels swapped": ("network.js", "(o * inputs + i) * 9", "(i * outputs + o) * 9", "logits"),
}


@browsing
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_wrong_script_is_noticed(blank, page_path, mutation):
    script, right, wrong, noticed = MUTATIONS[mutation]
    text = (page_path.parent.parent / "_static" / "live" / script).read_text("utf8")
    assert text.count(right) == 1
    names = ["saliency"] if noticed == "logits" else [noticed]
    try:
        blank.add_script_tag(content=text.replace(right, wrong))
        assert noticed in beyond(blank, "shapes10", [3, 9], names)
    finally:
        blank.add_script_tag(content=text)
    assert beyond(blank, "shapes10", [3], names) == {}


@browsing
def test_random_numbers_are_pytorchs(blank):
    draw = "([seed, kind]) => [...liveNumbers().generator(seed)[kind](1024)]"
    uniform = torch.rand(1024, generator=torch.Generator().manual_seed(5))
    assert blank.evaluate(draw, [5, "uniform"]) == uniform.tolist()
    normal = torch.randn(1024, generator=torch.Generator().manual_seed(7))
    assert apart(blank.evaluate(draw, [7, "normal"]), normal) < 1e-6


# ---- the page, worker and all --------------------------------------------------------------------

STATES = [
    ("http", "cifar10", "p=9&q=90&m=active&r=absmax&fill=white&f=0.3"),
    ("file", "cifar10", "p=4&c=deer&q=80&m=rectgrad_prr&f=0.05"),
    ("http", "shapes10", "p=72&m=random&r=absmax&f=0.5"),
    ("file", "shapes10", "p=1&q=99.5&m=guided_backprop&f=0.07"),
]


@browsing
@pytest.mark.parametrize("origin, dataset, state", STATES)
def test_what_the_page_shows_is_pytorchs(visit, origin, dataset, state):
    given = dict(part.split("=") for part in state.split("&"))
    page = settled(visit(f"net={dataset}&{state}", origin), AT_REST)
    now, pictures = shown(page), held(dataset)
    place = pictures.numbers.index(int(given["p"]))
    image, model = pictures.images[place : place + 1], pictures.model
    with torch.no_grad():
        logits = model(image)[0]
    target = model.classes.index(given["c"]) if "c" in given else int(logits.argmax())
    assert now["target"] == target
    assert apart(now["probabilities"], logits.softmax(0)) < 1e-4
    q, reduce = float(given.get("q", 98)), given.get("r", "sum")
    assert set(now["found"]) == {*attribution.METHODS, "random"}
    maps = {name: kernel_map(model, image, name, q, reduce, target) for name in now["found"]}
    far = {name: apart(now["found"][name]["map"], wanted) for name, wanted in maps.items()}
    assert {n: d for n, d in far.items() if d > TOLERANCE.get(n, ONE_PASS)} == {}

    chosen = maps[given["m"]]
    fill = FILLS[given.get("fill", "black")]
    altered = metrics.delete(image, chosen[None], float(given["f"]), fill)
    with torch.no_grad():
        after = model(altered)[0].softmax(0)
    assert now["effect"]["marks"] == (altered != image).any(1).flatten().int().tolist()
    assert now["effect"]["after"] == int(after.argmax())
    assert apart(now["effect"]["probabilities"], after) < 1e-4
    for name in FILLS:
        curve = kernel_curve(model, image, chosen, name)
        assert apart(now["curves"][name]["probability"], curve) < 1e-4
        assert now["curves"][name]["area"] == pytest.approx(
            metrics.auc(metrics.PAPER_FRACTIONS, curve), abs=1e-4
        )
        kept = metrics.allegiance(model, image, chosen[None], fill=FILLS[name])[:, 0]
        assert now["curves"][name]["kept"] == kept.tolist()
        orders = [kernel_curve(model, image, random_map(seed), name) for seed in range(ORDERS)]
        assert apart(now["randomCurves"][name]["probability"], sum(orders) / ORDERS) < 1e-4


def passing(model, image: Tensor, q: float) -> list[int]:
    """Of each layer, how many units RectGrad lets pass something."""
    counts, rule = {}, attribution.rules.rectgrad

    def counting(g, unit, **options):
        result = rule(g, unit, **options)
        counts[unit.index] = int((result != 0).sum())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution.rules, "rectgrad", counting)
        attribution.rectgrad(model, image, q=q)
    return [counts[layer] for layer in sorted(counts)]


@browsing
def test_fewer_units_pass_as_q_rises(visit):
    page = settled(visit("q=0"))
    pictures = held("shapes10")
    before = None
    for q in (0.0, 50.0, 98.0):
        moved(page, lambda q=q: page.evaluate(f"location.hash = 'q={q}&f=0.2'"))
        now = shown(page)["found"]["rectgrad"]
        assert now["passed"] == passing(pictures.model, pictures.images[:1], q)
        assert before is None or sum(now["passed"]) < sum(before)
        before = now["passed"]
    words = page.locator("#live-passing").inner_text()
    assert f"{before[0]} of 32,768" in words and f"{before[4]} of 256" in words


@browsing
def test_a_redrawn_output_layer_is_the_books(visit):
    page = settled(visit("net=cifar10&redraw=1"), "liveShown().likeness?.rectgrad")
    now, pictures = shown(page), held("cifar10")
    changed, image = copy.deepcopy(pictures.model), pictures.images[:1]
    output = response.weighted_layers(changed)[0][1]
    response.redraw_weights(output, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert apart(now["probabilities"], changed(image)[0].softmax(0)) < 1e-4
    target = int(pictures.model(image).argmax())
    assert now["target"] == target  # the trained network's
    for name in ("saliency", "active", "rectgrad", "guided_backprop"):
        both = [
            kernel_map(model, image, name, 98, "sum", target) for model in (pictures.model, changed)
        ]
        wanted = metrics.rank_correlation(both[0][None], both[1][None]).item()
        assert now["likeness"][name] == pytest.approx(wanted, abs=2e-3)
    label = page.locator("#live-grid label", has=page.locator("input[value=rectgrad]"))
    assert f"ρ {now['likeness']['rectgrad']:.2f}" in label.inner_text()
    moved(page, lambda: page.get_by_role("button", name="Undo").click())
    assert "ρ" not in label.inner_text() and "redraw" not in page.url


# ---- the address, the keyboard, the reader's picture ---------------------------------------------


@browsing
def test_an_address_that_makes_no_sense_gives_the_defaults(visit):
    page = settled(visit("net=<b>&p=999&c=unicorn&q=abc&m=toString&r=&f=2&fill=grey&redraw=-1"))
    for name, value in (("net", "shapes10"), ("map", "rectgrad"), ("reduce", "sum")):
        assert page.locator(f"input[name=live-{name}]:checked").input_value() == value
    assert page.locator("#live-q").input_value() == "98"
    assert page.url.partition("#")[2] == ""


@browsing
def test_what_is_chosen_stands_in_the_address(visit):
    page = settled(visit())

    def choose():
        page.get_by_label("white", exact=True).check()
        page.locator("#live-grid label", has_text="DeepLIFT").click()
        page.locator("#live-classes label", has_text="star").click()
        page.locator("#live-q").fill("80")

    moved(page, choose)
    said = dict(part.split("=") for part in page.url.partition("#")[2].split("&"))
    assert said == {"fill": "white", "m": "deeplift", "c": "star", "q": "80"}
    again = settled(visit(page.url.partition("#")[2]))
    for name in ("deeplift", "rectgrad"):  # of the class, and of q
        assert shown(again)["found"][name] == shown(page)["found"][name]


@browsing
def test_the_keyboard_reaches_everything(visit):
    page = settled(visit())
    order = ("net", "picture", "own", "class", "redraw", "q", "reduce", "map", "fraction", "fill")
    page.locator("input[name=live-net]:checked").focus()
    met = []
    for _ in order:
        met.append(page.evaluate("(document.activeElement.name || document.activeElement.id)"))
        page.keyboard.press("Tab")
    assert [name.removeprefix("live-") for name in met] == list(order)
    page.locator("input[name=live-picture]:checked").focus()
    moved(page, lambda: page.keyboard.press("ArrowRight"))
    assert "p=17" in page.url
    page.locator("#live-q").focus()
    moved(page, lambda: page.keyboard.press("ArrowLeft"))
    assert "q=97.9" in page.url
    assert page.locator("#live-q").get_attribute("aria-valuetext") == "97.9 %"
    page.locator("input[name=live-map]:checked").focus()
    moved(page, lambda: page.keyboard.press("ArrowRight"))
    assert "m=rectgrad_prr" in page.url
    assert "RectGrad PRR" in page.get_by_role("status").inner_text()


@browsing
def test_everything_has_a_name_that_can_be_read_aloud(visit):
    page = settled(visit())
    nameless = page.evaluate(
        "[...document.querySelectorAll('#live input, #live button')].filter(e =>"
        " !(e.getAttribute('aria-label') || e.textContent || e.labels?.[0]?.textContent).trim())"
        ".map(e => e.outerHTML)"
    )
    assert not nameless
    label = page.locator("input[name=live-map]:checked").get_attribute("aria-label")
    map_ = held("shapes10")
    kept = int((kernel_map(map_.model, map_.images[:1], "rectgrad", 98, "sum") != 0).sum())
    assert label == f"RectGrad, {kept} of 1,024 pixels are not zero"


@browsing
def test_a_picture_of_ones_own(visit):
    page = settled(visit())
    middle = torch.arange(32 * 32 * 3).view(32, 32, 3).to(torch.uint8)
    wide = torch.nn.functional.pad(middle.permute(2, 0, 1), (16, 16)).permute(1, 2, 0).contiguous()
    file = io.BytesIO()
    Image.fromarray(wide.numpy()).save(file, "PNG")
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    upload = {"name": "mine.png", "mimeType": "image/png", "buffer": file.getvalue()}
    moved(page, lambda: page.locator("#live-own").set_input_files(upload))
    now = shown(page)
    assert now["bytes"] == middle.flatten().tolist()
    model = held("shapes10").model
    image = to_range(middle.permute(2, 0, 1)[None], model)
    wanted = kernel_map(model, image, "saliency", 98, "sum")
    assert apart(now["found"]["saliency"]["map"], wanted) < ONE_PASS
    assert not [url for url in sent if not url.startswith("blob:")]
    page.locator("#live-own").set_input_files({**upload, "name": "text.png", "buffer": b"no"})
    page.get_by_text("text.png is no picture").wait_for()


@browsing
@pytest.mark.parametrize("width", [400, 700, 1280])
def test_the_page_does_not_scroll_sideways(visit, width):
    page = settled(visit(viewport={"width": width, "height": 900}))
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert page.locator("#live-still").is_hidden() and page.locator("#live").is_visible()


@browsing
def test_the_pictures_are_named(visit):
    page, pictures = settled(visit("net=cifar10&p=26")), held("cifar10")
    numbers = ", ".join(map(str, pictures.numbers))
    said = page.locator("#live-numbers").inner_text()
    assert said.startswith(f"CIFAR-10 (Krizhevsky 2009), test pictures {numbers}:")
    assert page.locator("#live-origin").inner_text() == "CIFAR-10, test picture 26: deer"
    names = page.locator("#live-pictures label").evaluate_all("all => all.map(e => e.title)")
    assert names == [
        f"test picture {number}: {pictures.model.classes[label]}"
        for number, label in zip(pictures.numbers, pictures.labels, strict=True)
    ]


@browsing
def test_without_javascript_there_is_a_picture(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#live-still img").is_visible() and page.locator("#live").is_hidden()
    assert page.locator("#live-still img").get_attribute("alt")


@browsing
def test_a_network_that_does_not_load_is_named(browser, tmp_path):
    where = lay_out(tmp_path)
    (tmp_path / "_static" / "live" / "weights-cifar10.js").unlink()
    page = browser.new_page()
    page.goto(f"{where.as_uri()}#net=cifar10")
    page.get_by_text("weights-cifar10.js could not be loaded").wait_for()
    page.close()


# ---- the photographs -----------------------------------------------------------------------------

# photograph and place in its strip
TILE_SHOWN = """tile => {
  const style = getComputedStyle(tile);
  const name = style.backgroundImage.match(/([^/]+)-maps\\.webp/)[1];
  const place = parseFloat(style.backgroundPositionX) / 100 * 11;
  return [name, Math.round(place)];
}"""


@browsing
def test_the_slider_replays_rectgrad_on_photographs(visit):
    page = visit()
    rectified = page.locator("#live-rectified")
    place = len(live.REPLAYED) + live.PERCENTILES.index(98)
    assert rectified.evaluate(TILE_SHOWN) == ["astronaut", place]
    page.get_by_label("coffee").check()
    page.locator("#live-stop").focus()
    page.keyboard.press("ArrowRight")
    assert rectified.evaluate(TILE_SHOWN) == ["coffee", place + 1]
    assert rectified.get_attribute("aria-label") == "RectGrad map at q = 99 %"
    shown = page.locator("#live-tiles .live-tile").evaluate_all(f"all => all.map({TILE_SHOWN})")
    assert shown == [*(["coffee", n] for n in range(len(live.REPLAYED))), ["coffee", place + 1]]
    assert "coffee.webp" in page.locator("#live-photo").get_attribute("style")
    assert page.locator("#live-photo-says").inner_text() == "“espresso”"


def test_the_strips_are_maps_of_the_photographs():
    """Of one photograph, its plain and its RectGrad tiles; all together are small."""
    try:
        model = networks.load("squeezenet1_1", "imagenet")
        photos = sources.load("photos", "test")
    except (networks.ModelError, DataError) as missing:
        pytest.skip(str(missing))
    names = [Path(name).stem for name in imagenet.PHOTOS]
    strips = [live.LIVE / f"{name}-maps.webp" for name in names]
    files = [*strips, *(live.LIVE / f"{name}.webp" for name in names)]
    assert sum(file.stat().st_size for file in files) < 200_000
    images = to_range(photos.images, model)
    with torch.no_grad():
        said = [model.classes[k] for k in model(images).argmax(1)]
    script = (live.LIVE / "replay.js").read_text("utf8")
    for name, says in zip(names, said, strict=True):
        assert f'{name}: "{says}"' in script
    rectified = len(live.REPLAYED) + live.PERCENTILES.index(90)
    maps = {
        0: attribution.saliency(model, images[1:2]),
        rectified: attribution.rectgrad(model, images[1:2], q=90),
    }
    strip = np.asarray(Image.open(strips[1]).convert("RGB")) / 255
    for place, attributions in maps.items():
        tile = strip[:, place * live.TILE : (place + 1) * live.TILE]
        wanted = live.coloured(live.halved(attribution.to_map(attributions, "sum")[0]))
        assert np.abs(tile - wanted).mean() < 0.003, place  # but for levels that rounding turns


# ---- what is written for the page ----------------------------------------------------------------


@pytest.mark.parametrize("dataset", live.DATASETS)
def test_weights_are_the_committed_bytes(tmp_path, dataset):
    live.weights(tmp_path)
    text = (tmp_path / f"weights-{dataset}.js").read_text("utf8")
    content = re.fullmatch(rf'liveData\("weights", "{dataset}", "([\w+/=]+)"\);\n', text)[1]
    assert base64.b64decode(content) == networks.weights_path(live.NETWORK, dataset).read_bytes()


def real_or_skip(dataset: str, count: int) -> Dataset:
    """The first `count` pictures of the test split."""
    if dataset == "shapes10":
        return shapes10.draw("test", count=count)
    try:
        return sources.load(dataset, "test").take(slice(count))
    except DataError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("dataset", ["shapes10", pytest.param("cifar10", marks=pytest.mark.data)])
def test_pictures_are_those_of_the_rule(dataset):
    """Trained anew, a network may get others right: then `python book/live.py` writes them."""
    pictures = held(dataset)
    data = real_or_skip(dataset, max(pictures.numbers) + 1)
    assert torch.equal(pictures.bytes, data.images[pictures.numbers])
    assert pictures.labels == data.labels[pictures.numbers].tolist()
    with torch.no_grad():
        right = pictures.model(to_range(data.images, pictures.model)).argmax(1) == data.labels
    for k in range(10):
        first = (right & (data.labels == k)).nonzero()[: live.RIGHT, 0].tolist()
        assert pictures.numbers[live.RIGHT * k : live.RIGHT * (k + 1)] == first
    assert pictures.numbers[-live.WRONG :] == (~right).nonzero()[: live.WRONG, 0].tolist()
