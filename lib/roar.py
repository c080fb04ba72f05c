"""ROAR and KAR (paper Noise, section 5.3, Fig. 18 and Table 1): occlude what a map calls important, or all the rest, and retrain.

A cell is one retraining: a method, a fraction, ROAR or KAR, a seed. `plan` lists the cells, the most useful first, and `run`
computes them through lib.results.map_cells; the tables follow from whatever is stored.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, data, metrics, models, results, training
from lib.data import to_range
from lib.results import Cell
from lib.subjects import Subject, batch, subject
from lib.training import Protocol

PRINTED = ("random", "rectgrad", "saliency", "guided_backprop", "smoothgrad", "input_x_gradient", "integrated_gradients", "deeplift")  # Table 1
ADDED = ("rectgrad_prr", "positive", "negative", "active", "inactive")
FRACTIONS = (.1, .3, .5, .7, .9)
MODES = ("roar", "kar")
FULL = Protocol(epochs=20, batch_size=100, optimizer="Adam", bfloat16=True, reshuffle=False)  # paper Noise, appendix F.2
SHORT = Protocol(epochs=3, batch_size=128, optimizer="Adam", lr=2e-3, bfloat16=True, schedule="one cycle")
PROTOCOLS = {"quick": replace(SHORT, epochs=4, batch_size=32, bfloat16=False), "short": SHORT, "full": FULL}
CHUNK = 1000          # pictures in one stored piece of ranks
RANKS_VERSION = 1     # rises when a kernel changes what it returns


def ranks(who: Subject, method: str, *, batch_size: int = 250, stored: bool = False) -> Tensor:
    """Each pixel's place in its picture, the most important first, for the predicted class: uint16 [N,H,W].

    Paper Noise's maps: channel sums (of RectGrad its positive part), plus noise of scale 1e-4 so that equal values fall in a
    random order. With `stored`, pieces of `CHUNK` pictures are kept under data/cache/ranks/.
    """
    pieces = []
    name = results.key({**who.identity, "method": method}, RANKS_VERSION) if stored else ""
    for start in range(0, len(who.pictures), CHUNK):
        part = who._replace(pictures=who.pictures.take(slice(start, start + CHUNK)))
        path = data.CACHE / "ranks" / f"{name}-{start}.npy"
        if stored and path.exists():
            pieces.append(torch.from_numpy(np.load(path)))
            continue
        pieces.append(_ranked(part, method, torch.Generator().manual_seed(start), batch_size))
        if stored:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.stem}.{os.getpid()}.part.npy")
            np.save(unfinished, pieces[-1].numpy())
            unfinished.replace(path)
    return torch.cat(pieces)


def _ranked(part: Subject, method: str, generator: torch.Generator, batch_size: int) -> Tensor:
    entry = attribution.METHODS[method]
    found = torch.cat([attribution.to_map(entry.function(part.model, batch(part, slice(k, k + batch_size))), entry.reduce["noise"]).cpu()
                       for k in range(0, len(part.pictures), batch_size)])
    found = found + 1e-4 * torch.randn(found.shape, generator=generator)
    return found.flatten(1).argsort(1, descending=True).argsort(1).to(torch.uint16).view(found.shape)


def occluded(places: Tensor | tuple[int, ...], fraction: float, mode: str, seed: int = 0) -> Tensor:
    """Which pixels go, bool [N,H,W]: ROAR the share `fraction` that comes first, KAR all but that share.

    `places`: ranks [N,H,W] as of `ranks`, or a shape [N,H,W] for the random baseline, which drops every pixel independently.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; accepted are {', '.join(MODES)}.")
    if isinstance(places, Tensor):
        first = places.to(torch.int32) < round(fraction * places[0].numel())
    else:
        first = torch.rand(places, generator=torch.Generator().manual_seed(seed)) < fraction
    return first if mode == "roar" else ~first


@lru_cache(maxsize=1)
def _studied(dataset: str, model: str, weights: str, count: int | None) -> dict[str, Subject]:
    """Network and pictures of both splits; a worker reads them once."""
    return {split: subject(dataset, model, weights, split=split, count=count) for split in ("train", "test")}


@lru_cache(maxsize=2)
def _places(dataset: str, model: str, weights: str, count: int | None, method: str, split: str, stored: bool) -> Tensor:
    return ranks(_studied(dataset, model, weights, count)[split], method, stored=stored)


def retrain(p: dict) -> dict:
    """One cell: the accuracy, on occluded test pictures, of a network trained from scratch on occluded training pictures.

    `p` are the parameters of a cell of `plan`. Occluded pixels take the channel mean of the training set. Beside the rows,
    "correct" keeps which test pictures were right, for resampling.
    """
    study = p["dataset"], p["model"], p["weights"], p["count"]
    both = _studied(*study)
    for split, key in (("train", "data"), ("test", "test_data")):
        if both[split].pictures.fingerprint != p[key]:
            raise data.DataError(f"{p['dataset']} {split} has changed since these cells were planned; plan them again.")
    pictures = {split: who.pictures for split, who in both.items()}
    gone = {split: _gone(p, pictures[split], lambda s=split: _places(*study, p["method"], s, p["stored_ranks"])) for split in both}
    network = models.load(p["model"], classes=pictures["train"].classes, seed=p["seed"], device="cuda" if torch.cuda.is_available() else "cpu")
    mean = to_range(pictures["train"].images.double().mean((0, 2, 3))[:, None, None], network)
    device = next(network.parameters()).device
    mean = mean.to(device)

    def inputs(split):
        return lambda index: torch.where(gone[split][index][:, None].to(device), mean, to_range(pictures[split].images[index].to(device), network)).contiguous(memory_format=torch.channels_last)
    training.fit(network, pictures["train"], Protocol(**p["protocol"]), inputs=inputs("train"), log=lambda line: None)
    shown, labels = inputs("test"), pictures["test"].labels
    with torch.no_grad():
        right = torch.cat([network(shown(index)).argmax(1).cpu() == labels[index] for index in torch.arange(len(labels)).split(500)])
    return {"rows": [{"accuracy": right.double().mean().item(), "right": int(right.sum()), "n": len(labels)}], "correct": results.pack(right)}


def _gone(p: dict, pictures: data.Dataset, places: Callable[[], Tensor]) -> Tensor:
    shape = (len(pictures), *pictures.images.shape[2:])
    if p["method"] == "none":
        return torch.zeros(shape, dtype=torch.bool)
    seed = 2 * p["seed"] + (pictures.split == "test")
    return occluded(shape if p["method"] == "random" else places(), p["fraction"], p["mode"], seed)


def plan(dataset: str = "cifar10", model: str = "rectgrad_cnn", weights: str = "auto", *, methods: Sequence[str] = PRINTED, fractions: Sequence[float] = FRACTIONS,
         modes: Sequence[str] = MODES, seeds: Sequence[int] = (0,), protocol: Protocol = SHORT, count: int | None = None, stored_ranks: bool = True) -> list[Cell]:
    """One cell a seed without occlusion, then one for every method, mode and fraction, seed by seed."""
    for method in methods:
        if method != "random" and method not in attribution.METHODS:
            raise ValueError(f"unknown method {method!r}; accepted are random, {', '.join(attribution.METHODS)}.")
    tag = dataset if weights == "auto" else weights
    both = _studied(dataset, model, tag, count)
    common = {"dataset": dataset, "count": count, "data": both["train"].pictures.fingerprint, "test_data": both["test"].pictures.fingerprint, "model": model, "weights": tag,
              "weights_hash": models.fingerprint(both["train"].model), "stored_ranks": stored_ranks}
    cells = []
    for seed in seeds:
        kinds = [("none", "none", 0.)] + [(method, mode, fraction) for method in methods for mode in modes for fraction in fractions]
        for method, mode, fraction in kinds:
            label = f"{dataset}-{model}-{method}" + ("" if method == "none" else f"-{mode}-{fraction:g}") + f"-{protocol.epochs}epochs-seed{seed}"
            cells.append(Cell("roar", label, common | {"method": method, "mode": mode, "fraction": fraction, "seed": seed, "protocol": asdict(replace(protocol, seed=seed))}))
    return cells


def everything(**options) -> list[Cell]:
    """The whole grid at the affordable protocol in the order that keeps a stopped run useful: one seed of the paper's methods, a
    second, the methods that this book adds, a third."""
    return [*plan(seeds=(0, 1), **options), *plan(methods=ADDED, seeds=(0, 1), **options), *plan(methods=PRINTED + ADDED, seeds=(2,), **options)]


def check(**options) -> list[Cell]:
    """The full protocol where the curves lie far apart, to be ranked beside the affordable one: ROAR at 0.7 and KAR at 0.3."""
    return [*plan(modes=("roar",), fractions=(.7,), protocol=FULL, **options), *plan(modes=("kar",), fractions=(.3,), protocol=FULL, **options)]


def prepare(cells: Sequence[Cell], log: Callable = print) -> None:
    """Compute and keep the ranks that these cells need, once a method."""
    for p in {(c.parameters["dataset"], c.parameters["model"], c.parameters["weights"], c.parameters["count"], c.parameters["method"]): c.parameters for c in cells}.values():
        if p["method"] not in ("none", "random") and p["stored_ranks"]:
            for who in _studied(p["dataset"], p["model"], p["weights"], p["count"]).values():
                ranks(who, p["method"], stored=True)
                log(f"ranks  {who.title}  {p['method']}")


def run(cells: Sequence[Cell], **options) -> pd.DataFrame:
    """Compute what is not stored of these cells (`options` of lib.results.map_cells) and return all of them as `tidy` does."""
    return tidy(results.map_cells(retrain, cells, **options))


def on_the_spot(cells: Sequence[Cell]) -> pd.DataFrame:
    """All of these cells computed now, in this process, and nothing stored."""
    return tidy([{"parameters": one.parameters, **retrain(one.parameters)} for one in cells])


def tidy(contents: Sequence[dict]) -> pd.DataFrame:
    """A row a retraining: method, mode, fraction, seed, accuracy."""
    names = ("method", "mode", "fraction", "seed")
    return pd.DataFrame([{**{name: c["parameters"][name] for name in names}, "accuracy": c["rows"][0]["accuracy"]} for c in contents], columns=[*names, "accuracy"])


def stored(protocol: Protocol = SHORT, dataset: str = "cifar10", model: str = "rectgrad_cnn", weights: str | None = None, current: str | None = None) -> pd.DataFrame:
    """What is stored at this protocol, as `tidy` returns it; `current`: of maps of these weights alone (their fingerprint)."""
    wanted = {"dataset": dataset, "model": model, "weights": weights or dataset, "count": None} | ({"weights_hash": current} if current else {})
    same = lambda p: {**p["protocol"], "seed": 0} == asdict(replace(protocol, seed=0))
    cells = [c for c in results.cells("roar") if wanted.items() <= c["parameters"].items() and same(c["parameters"])]
    found = tidy(cells)
    found.attrs["test_data"] = cells[0]["parameters"]["test_data"] if cells else ""
    return found


def areas(found: pd.DataFrame, classes: int = 10) -> pd.DataFrame:
    """Table 1's numbers, one a method, mode and seed: columns method, mode, seed, span, extended.

    ROAR: area under accuracy against fraction, lower is better. KAR: area over it, lower is better as well. The paper does
    not say how the area is taken. `span`: the trapezoid over the fractions, divided by their span. `extended`: with the
    accuracy without occlusion at the end where nothing is removed and 1/`classes` where everything is. Curves that lack a
    fraction are left out.
    """
    whole = found[found["method"] == "none"].set_index("seed")["accuracy"]
    kept = found[found["method"] != "none"]
    fractions = sorted(kept["fraction"].unique())
    rows = []
    for (method, mode, seed), curve in kept.groupby(["method", "mode", "seed"], sort=False):
        curve = curve.set_index("fraction")["accuracy"]
        if sorted(curve.index) != fractions or len(fractions) < 2 or seed not in whole.index:
            continue
        heights = curve.loc[fractions].tolist()
        ends = (whole[seed], 1 / classes) if mode == "roar" else (1 / classes, whole[seed])
        span = metrics.auc(fractions, torch.tensor(heights, dtype=torch.float64)) / (fractions[-1] - fractions[0])
        extended = metrics.auc([0, *fractions, 1], torch.tensor([ends[0], *heights, ends[1]], dtype=torch.float64))
        under = {"span": span, "extended": extended}
        rows.append({"method": method, "mode": mode, "seed": seed} | (under if mode == "roar" else {rule: 1 - area for rule, area in under.items()}))
    return pd.DataFrame(rows, columns=["method", "mode", "seed", "span", "extended"])


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval by Student's t; of a single seed the interval is not known (NaN)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    from scipy.stats import t
    half = float(t.ppf(.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** .5)
    return mean, mean - half, mean + half


def against_random(found: pd.DataFrame, rule: str = "span") -> pd.DataFrame:
    """Every method's area less that of the random baseline, paired by seed: method, mode, seeds, area, difference, low, high.

    Below zero: the method finds what matters sooner than chance.
    """
    rows = []
    for mode, part in found.groupby("mode", sort=False):
        wide = part.pivot(index="seed", columns="method", values=rule)
        for method in dict.fromkeys(part["method"]):
            pairs = wide[[method]].assign(random=wide.get("random")).dropna() if method != "random" else wide[["random"]].dropna()
            if len(pairs):
                value, low, high = over_seeds((pairs[method] - pairs["random"]).tolist())
                rows.append({"method": method, "mode": mode, "seeds": len(pairs), "area": pairs[method].mean(), "difference": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["method", "mode", "seeds", "area", "difference", "low", "high"])


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule (1979)."""
    order = np.argsort(p)
    corrected = np.maximum.accumulate([(len(p) - k) * p[i] for k, i in enumerate(order)])
    out = np.empty(len(p))
    out[order] = np.minimum(corrected, 1)
    return out.tolist()


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """Every pair of methods, paired over seeds and fractions: mode, first, second, n, difference of accuracies, p, p_corrected.

    Wilcoxon's signed-rank test, two-sided, corrected by Holm's rule over all pairs of a mode.
    """
    from scipy.stats import wilcoxon
    rows = []
    for mode, part in found[found["method"] != "none"].groupby("mode", sort=False):
        wide = part.pivot(index=["seed", "fraction"], columns="method", values="accuracy")
        tests = []
        for first, second in combinations(dict.fromkeys(part["method"]), 2):
            pairs = wide[[first, second]].dropna()
            change = pairs[first] - pairs[second]
            if len(pairs) > 1:
                tests.append({"mode": mode, "first": first, "second": second, "n": len(pairs), "difference": change.mean(), "p": float(wilcoxon(change).pvalue) if change.any() else 1.})
        for test, corrected in zip(tests, holm([test["p"] for test in tests])):
            rows.append(test | {"p_corrected": corrected})
    return pd.DataFrame(rows, columns=["mode", "first", "second", "n", "difference", "p", "p_corrected"])


def spread(found: pd.DataFrame) -> pd.DataFrame:
    """Do methods differ by more than seeds do? Columns mode, fraction, between (sd of the methods' means), within (sd over
    seeds, pooled over methods), ratio, p (one-way analysis of variance)."""
    from scipy.stats import f_oneway
    rows = []
    for (mode, fraction), part in found[found["method"] != "none"].groupby(["mode", "fraction"], sort=False):
        groups = [g["accuracy"].to_numpy() for _, g in part.groupby("method") if len(g) > 1]
        if len(groups) > 1:
            between = np.std([g.mean() for g in groups], ddof=1)
            within = np.mean([g.var(ddof=1) for g in groups]) ** .5
            rows.append({"mode": mode, "fraction": fraction, "between": between, "within": within, "ratio": between / within, "p": float(f_oneway(*groups).pvalue)})
    return pd.DataFrame(rows, columns=["mode", "fraction", "between", "within", "ratio", "p"])


def agreement(short: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """Do two protocols rank the methods alike? Spearman's correlation of their accuracies where both have cells, with a 95 %
    bootstrap interval over methods: columns mode, fraction, methods, correlation, low, high."""
    rows = []
    for (mode, fraction), part in full[full["method"] != "none"].groupby(["mode", "fraction"], sort=False):
        other = short[(short["mode"] == mode) & (short["fraction"] == fraction)].groupby("method")["accuracy"].mean()
        mine = part.groupby("method")["accuracy"].mean()
        both = [m for m in mine.index if m in other.index]
        if len(both) > 2:
            value, low, high = metrics.bootstrap_of(lambda a, b: _spearman(a, b), torch.tensor(mine[both].tolist()), torch.tensor(other[both].tolist()))
            rows.append({"mode": mode, "fraction": fraction, "methods": len(both), "correlation": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["mode", "fraction", "methods", "correlation", "low", "high"])


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata
    a, b = rankdata(first), rankdata(second)
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")
