"""What is measured, row by row: ratios to peers and to the floor, peak memory, exponents."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import measure, peers, released, table
from benchmarks.measure import Run
from benchmarks.peers import LAYOUTS, STEPPED, Case
from lib import attribution, metrics
from study.subjects import networks, sources
from study.subjects.pictures import to_range

AGREE = 1e-3  # the distance from which two results count as different
CLASSES = 10  # whose gradients active and inactive compare
BATCHES = (4, 8, 16, 32, 64, 128)  # points a batch, of which the floor's fastest is taken


class Setting(NamedTuple):
    """A network at one size: its weights, and pictures for plain and for stepped methods."""

    network: str
    weights: str
    pixels: int
    pictures: int
    stepped: int
    steps: int

    @property
    def name(self) -> str:
        """What `--networks` calls it."""
        return f"{self.network}-{self.pixels}"


SETTINGS = (
    Setting("rectgrad_cnn", "cifar10", 32, 32, 2, 50),
    Setting("resnet18", "imagenette", 32, 16, 2, 50),
    Setting("resnet18", "imagenette", 224, 2, 1, 16),
    Setting("squeezenet1_1", "imagenet", 224, 2, 1, 16),
)
QUICK = Setting("rectgrad_cnn", "cifar10", 32, 2, 1, 3)


class Task(NamedTuple):
    """Rows that are measured together: what tells them apart, and how they are measured."""

    keys: list[dict]
    measure: Callable[[], list[dict]]


def pictures(model: nn.Module, pixels: int, count: int) -> Tensor:
    """Drawn pictures [count,3,pixels,pixels] in the network's range."""
    return to_range(sources.load("shapes10", "test", size=pixels, count=count).images, model)


def case(setting: Setting, method: str) -> Case:
    """What the method is given in a setting; the targets are among the compared classes."""
    model = networks.load(setting.network, setting.weights)
    count = setting.stepped if method in STEPPED else setting.pictures
    images = pictures(model, setting.pixels, count)
    targets = attribution.logits(model, images)[:, :CLASSES].argmax(1)
    return Case(model, images, targets, tuple(range(CLASSES)), setting.steps)


# ---- ratios


def ratios(setting: Setting, methods: Sequence[str], seconds: float) -> Iterator[Task]:
    """A task a method: its ratio to the floor and to every peer that has it."""
    for method in methods:
        same = {
            "kind": "time",
            "network": setting.network,
            "pixels": setting.pixels,
            "method": method,
        }
        against = ("floor", *peers.PEERS.get(method, ()))
        keys = [{**same, "against": other} for other in against]
        yield Task(keys, partial(_ratios, setting, method, keys, seconds))


def _ratios(setting: Setting, method: str, keys: list[dict], seconds: float) -> list[dict]:
    given = case(setting, method)
    if method in STEPPED:
        given = replace(given, batch_size=_best_batch(given, method))
    runs: dict[str, Run] = {}
    found = {}
    for key in keys:
        against = key["against"]
        compared = {"result": "floor"} if against == "floor" else _compared(given, method, against)
        if compared["result"] in ("floor", "agrees"):
            run, layout = _in_its_layout(given, method, against)
            runs[_ours(layout)] = peers.ours(given.laid_out(layout), method)
            runs[against], compared = run, {**compared, "layout": layout}
        found[against] = compared
    taken = measure.alternating(runs, seconds)
    shared = {
        "pictures": len(given.images),
        "classes": len(given.classes) if method in peers.RIVALS else "",
        "steps": given.steps if method in STEPPED else "",
        "batch": given.batch_size if method in STEPPED else "",
    }
    return [
        {**key, **shared, **found[key["against"]]}
        | _judged(key, taken, runs, _ours(found[key["against"]].get("layout", "")))
        for key in keys
    ]


def _ours(layout: str) -> str:
    """Our run in a layout of memory: what is compared has the same."""
    return f"ours {layout}"


def _best_batch(given: Case, method: str) -> int:
    """The points a batch with which the floor is fastest: for the floor and for peers alike."""
    most = len(given.images) * given.steps
    sizes = [size for size in BATCHES if size <= most] or [most]
    runs = {size: peers.floor(replace(given, batch_size=size), method) for size in sizes}
    for run in runs.values():
        run()
    return min(runs, key=lambda size: measure.seconds_of(runs[size]))


def _compared(given: Case, method: str, against: str) -> dict:
    """Does the peer come to the same result? SmoothGrad is compared with noise next to nothing."""
    if method == "smoothgrad":
        given = replace(given, noise=1e-9)
    try:
        theirs = peers.PEERS[method][against](given.laid_out("contiguous"))()
    except Exception as error:  # a peer refuses a network as it likes
        words = " ".join(str(error).split()) or type(error).__name__
        return {"result": f"refuses: {words[:80]}"}
    distance = measure.apart(peers.ours(given, method)(), theirs)
    return {
        "result": "agrees" if distance <= AGREE else "differs",
        "distance": f"{distance:.1e}",
    }


def _in_its_layout(given: Case, method: str, against: str) -> tuple[Run, str]:
    """The peer's or the floor's call in the memory layout in which it is faster."""
    make = (
        partial(peers.floor, method=method) if against == "floor" else peers.PEERS[method][against]
    )
    runs = {layout: make(given.laid_out(layout)) for layout in LAYOUTS}
    for run in runs.values():
        run()
    fastest = {
        layout: min(measure.seconds_of(run) for _ in range(2)) for layout, run in runs.items()
    }
    layout = min(fastest, key=fastest.get)
    return runs[layout], layout


def _judged(
    key: dict, taken: dict[str, list[float]], runs: dict[str, Run], ours: str = "ours"
) -> dict:
    """The ratio, its quartiles, whether the aim is met and, where it is not, what takes the time.

    Nothing where the peer was not timed, since its result is another.
    """
    against = key["against"]
    if against not in taken:
        return {"why": ""}
    middle, low, high = measure.ratio(taken[ours], taken[against])
    aim = table.aim(key["method"], key["network"], against)
    met = aim is None or middle <= aim
    verdict = "yes" if met else "no"
    return {
        "value": f"{middle:.3f}",
        "low": f"{low:.3f}",
        "high": f"{high:.3f}",
        "rounds": len(taken[ours]),
        "milliseconds": f"{measure.spread(taken[ours]).median * 1e3:.1f}",
        "aim": "" if aim is None else aim,
        "met": "" if aim is None else verdict,
        "why": "" if met else measure.explained(runs[ours], runs[against]),
    }


# ---- memory


def memory() -> Iterator[Task]:
    """Peak memory of integrated gradients against steps, and of active maps against classes."""
    for against in ("ours", "captum"):
        key = _key("memory", "rectgrad_cnn", 32, "integrated_gradients", against)
        yield Task([key], partial(_memory_of_steps, key))
    key = _key("memory", "squeezenet1_1", 64, "active", "ours")
    yield Task([key], partial(_memory_of_classes, key))


def _key(kind: str, network: str, pixels: int, method: str, against: str) -> dict:
    return dict(zip(table.KEY, (kind, network, pixels, method, against), strict=True))


def _memory_of_steps(key: dict, steps: Sequence[int] = (20, 50, 200)) -> list[dict]:
    """Eight pictures, so that the fewest steps fill a batch too; Captum as it comes."""
    given = case(SETTINGS[0]._replace(stepped=8), "integrated_gradients")
    if key["against"] == "ours":
        runs = [peers.ours(replace(given, steps=s), "integrated_gradients") for s in steps]
    else:
        call = peers.PEERS["integrated_gradients"]["captum"]
        runs = [call(replace(given, steps=s, batch_size=None)) for s in steps]
    return [_flat(key, "steps", steps, [measure.peak_memory(run) for run in runs], 8)]


def _memory_of_classes(key: dict, classes: Sequence[int] = (10, 30, 100)) -> list[dict]:
    given = case(SETTINGS[3]._replace(pixels=64), "active")
    runs = [peers.ours(replace(given, classes=tuple(range(k))), "active") for k in classes]
    peaks = [measure.peak_memory(run) for run in runs]
    return [_flat(key, "classes", classes, peaks, len(given.images))]


def _flat(key: dict, what: str, sizes: Sequence[int], peaks: list[int], count: int) -> dict:
    """A row of the most memory over the least; only ours is aimed to be flat."""
    value = max(peaks) / min(peaks)
    met = {"aim": table.AIM_FLAT, "met": "yes" if value <= table.AIM_FLAT else "no"}
    told = ", ".join(
        f"{peak / 1e6:.1f} MB at {size}" for size, peak in zip(sizes, peaks, strict=True)
    )
    return {
        **key,
        "pictures": count,
        what: " ".join(map(str, sizes)),
        "value": f"{value:.3f}",
        **(met if key["against"] == "ours" else {}),
        "why": told,
    }


# ---- exponents


def exponents(seconds: float) -> Iterator[Task]:
    """With which power of pictures, pixels, classes and steps the time grows."""
    for method in ("saliency", "rectgrad", "deeplift"):
        key = _key("exponent", "rectgrad_cnn", 32, method, "pictures")
        yield Task([key], partial(_of_pictures, key, seconds))
        key = _key("exponent", "squeezenet1_1", "64 to 224", method, "pixels")
        yield Task([key], partial(_of_pixels, key, seconds))
    key = _key("exponent", "squeezenet1_1", 64, "active", "classes")
    yield Task([key], partial(_of_classes, key, seconds))
    for method in STEPPED:
        key = _key("exponent", "rectgrad_cnn", 32, method, "steps")
        yield Task([key], partial(_of_steps, key, seconds))


def _of_pictures(key: dict, seconds: float, counts=(8, 16, 32, 64, 128)) -> list[dict]:
    cases = {n: case(SETTINGS[0]._replace(pictures=n), key["method"]) for n in counts}
    return [_grows(key, cases, {"pictures": counts}, seconds)]


def _of_pixels(key: dict, seconds: float, sizes=(64, 96, 128, 160, 224)) -> list[dict]:
    cases = {s * s: case(SETTINGS[3]._replace(pixels=s), key["method"]) for s in sizes}
    return [_grows(key, cases, {"pictures": (SETTINGS[3].pictures,)}, seconds)]


def _of_classes(key: dict, seconds: float, counts=(10, 20, 40, 80)) -> list[dict]:
    given = case(SETTINGS[3]._replace(pixels=64), key["method"])
    cases = {k: replace(given, classes=tuple(range(k))) for k in counts}
    return [_grows(key, cases, {"classes": counts}, seconds)]


def _of_steps(key: dict, seconds: float, counts=(32, 64, 128, 256)) -> list[dict]:
    given = case(SETTINGS[0]._replace(stepped=4), key["method"])  # the fewest steps fill a batch
    cases = {s: replace(given, steps=s) for s in counts}
    return [_grows(key, cases, {"steps": counts}, seconds)]


def _grows(key: dict, cases: dict[int, Case], sizes: dict, seconds: float) -> dict:
    runs = {str(size): peers.ours(given, key["method"]) for size, given in cases.items()}
    for run in runs.values():
        run()
    taken = measure.alternating(runs, seconds)
    medians = [measure.spread(taken[name]).median for name in runs]
    named = {name: " ".join(map(str, values)) for name, values in sizes.items()}
    value = measure.exponent(list(cases), medians)
    return {**key, **named, "value": f"{value:.2f}", "rounds": len(taken[next(iter(taken))])}


# ---- two kernels beside the methods


def kernels(seconds: float) -> Iterator[Task]:
    """The five signed maps and a deletion curve, against the passes of the released code."""
    key = _key("kernel", "rectgrad_cnn", 32, "signed_maps", "released")
    yield Task([key], partial(_signed_maps, key, seconds))
    for against in ("bare passes", "released"):
        key = _key("kernel", "rectgrad_cnn", 32, "allegiance", against)
        yield Task([key], partial(_allegiance, key, seconds))


def _signed_maps(key: dict, seconds: float) -> list[dict]:
    given = case(SETTINGS[0], "active")
    with torch.no_grad():
        predicted = given.model(given.images).argmax(1)
    runs = {
        "ours": lambda: attribution.signed_maps(given.model, given.images, predicted),
        "released": lambda: released.signed_maps(given.model, given.images),
    }
    a, b = (torch.stack(list(run())) for run in runs.values())
    return [_kernel(key, runs, measure.apart(a, b), seconds, len(given.images))]


def _allegiance(key: dict, seconds: float) -> list[dict]:
    given = case(SETTINGS[0]._replace(pictures=128), "saliency")
    maps = attribution.signed_maps(given.model, given.images).original
    fill = given.model.black
    curve = partial(metrics.allegiance, given.model, given.images, maps, fill=fill)
    other = partial(released.allegiance, given.model, given.images, maps, fill)
    distance = measure.apart(curve().float(), other().float())
    if key["against"] == "bare passes":
        other = partial(released.bare, given.model, released.batches_of(given.model, curve))
    runs = {"ours": curve, key["against"]: other}
    return [_kernel(key, runs, distance, seconds, len(given.images))]


def _kernel(key: dict, runs: dict, distance: float, seconds: float, count: int) -> dict:
    agrees = distance <= AGREE
    taken = measure.alternating(runs, seconds) if agrees else {}
    return {
        **key,
        "pictures": count,
        "result": "agrees" if agrees else "differs",
        "distance": f"{distance:.1e}",
        **_judged(key, taken, runs),
    }


def chosen(settings: Sequence[Setting], methods: Sequence[str], seconds: float) -> Iterator[Task]:
    """Every task of some settings and methods, the other kinds for the methods among them."""
    for setting in settings:
        yield from ratios(setting, methods, seconds)
    wanted = {setting.network for setting in settings}
    for task in (*memory(), *exponents(seconds), *kernels(seconds)):
        key = task.keys[0]
        of_a_method = key["method"] in methods or key["kind"] == "kernel"
        if of_a_method and key["network"] in wanted:
            yield task


def quietly(task: Task) -> list[dict]:
    """What a task measures; peers warn of hooks that they set and remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return task.measure()
