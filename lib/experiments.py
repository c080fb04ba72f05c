"""The experiments of the papers: a subject (a network and its pictures) goes in, a tidy table comes out.

With `stored=True` an experiment reads what was computed before for exactly this subject and stores what was not;
otherwise everything is computed on the spot.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from lib import attribution, data, metrics, models, results
from lib.data import Dataset, to_range
from lib.metrics import PAPER_FRACTIONS

MAPS = attribution.SignedMaps._fields
FILLS = ("black", "white")
# paper Sign's own pairs; the other four cells of the 5 x 2 table are the crossed ones
MATCHED = {"black": ("original", "positive", "active"), "white": ("original", "negative", "inactive")}
STRENGTHS = (.05, .1, .25, .5, 1.)


class Subject(NamedTuple):
    """A network, the pictures it is studied on, and the names that say which."""

    model: nn.Module
    pictures: Dataset
    model_name: str
    weights: str

    @property
    def title(self) -> str:
        """For figures: network, data, split, number of pictures."""
        return f"{self.model_name}, {self.pictures.name} {self.pictures.split}, n = {len(self.pictures)}"

    @property
    def identity(self) -> dict:
        """What keys a stored result: names, and fingerprints of pixels and weights."""
        return {"dataset": self.pictures.name, "split": self.pictures.split, "n": len(self.pictures), "data": self.pictures.fingerprint,
                "model": self.model_name, "weights": self.weights, "weights_hash": models.fingerprint(self.model)}


def _tag(dataset: str, weights: str | None) -> str | None:
    if weights != "auto":
        return weights
    if dataset.startswith("imagefolder:"):
        raise models.ModelError(f"weights 'auto' means those trained on a named dataset; for {dataset} name a tag, a path, 'imagenet' or None.")
    return dataset


def check(dataset: str, model: str, weights: str | None = "auto", split: str = "test") -> None:
    """Raise at once, in one sentence, for any name that `subject` would refuse."""
    data.check(dataset, split)
    if model in models.BUILDERS or weights != "auto":
        models.check(model, _tag(dataset, weights))
    else:
        models.check(model)


def subject(dataset: str, model: str, weights: str | None = "auto", *, split: str = "test", count: int | None = None, seed: int = 0,
            device: str = "cpu", size: int | None = None) -> Subject:
    """Network and pictures, checked to fit each other before any long work.

    `weights="auto"` takes the committed weights trained on `dataset` (networks from torchvision: their ImageNet weights; a
    factory: its own). Raises DataError or ModelError.
    """
    check(dataset, model, weights, split)
    if weights == "auto" and model not in models.BUILDERS:
        tag = "imagenet" if model.startswith("torchvision:") else None
    else:
        tag = _tag(dataset, weights)
    pictures = data.load(dataset, split, count=count, seed=seed, size=size)
    network = models.load(model, tag, classes=pictures.classes, seed=seed, device=device)
    _fit_together(network, pictures)
    return Subject(network, pictures, model, tag or "none")


def _fit_together(network: nn.Module, pictures: Dataset) -> None:
    with torch.no_grad():
        outputs = network(batch(Subject(network, pictures, "", ""), slice(0, 1))).shape[1]
    if outputs != len(pictures.classes):
        raise models.ModelError(f"class mismatch: the network has {outputs} outputs, {pictures.name} has {len(pictures.classes)} classes ({', '.join(pictures.classes[:12])}).")
    if network.classes and tuple(network.classes) != pictures.classes:
        raise models.ModelError(f"class mismatch: the network was trained on {', '.join(network.classes)}; {pictures.name} has {', '.join(pictures.classes)}.")


def batch(who: Subject, index) -> Tensor:
    """The pictures at `index` as float32 in the network's input range, on its device."""
    device = next((p.device for p in who.model.parameters()), torch.device("cpu"))
    return to_range(who.pictures.images[index].to(device), who.model)


def fill_value(who: Subject, fill: str) -> float:
    """The pixel value of "black" or "white" for this network."""
    return {"black": who.model.black, "white": who.model.white}[fill]


def _over(who: Subject, function: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    return torch.cat([function(batch(who, slice(k, k + batch_size))).cpu() for k in range(0, len(who.pictures), batch_size)])


def predictions(who: Subject, batch_size: int = 256) -> Tensor:
    """Predicted class of every picture, int64 [N]."""
    with torch.no_grad():
        return _over(who, lambda images: who.model(images).argmax(1), batch_size)


def signed_maps(who: Subject, batch_size: int = 256) -> dict[str, Tensor]:
    """The five maps of every picture for its predicted class, each [N,H,W], on the CPU."""
    stacked = _over(who, lambda images: torch.stack(attribution.signed_maps(who.model, images), 1), batch_size)
    return dict(zip(MAPS, stacked.unbind(1)))


def _kept(stored: bool, experiment: str, who: Subject, label: str, extra: dict, compute: Callable[[], dict]) -> dict:
    if not stored:
        return compute()
    identity = who.identity
    name = "-".join(x for x in (identity["dataset"].replace("/", "_").replace(":", "_"), identity["split"], who.model_name.replace(":", "_"), identity["weights"].replace("/", "_"), label) if x)
    return results.cell(experiment, name, {**identity, **extra}, compute)


def accuracy(who: Subject, *, batch_size: int = 256, stored: bool = False) -> dict:
    """Share of pictures whose predicted class is their label (paper Sign, Table 1), with Wilson's interval."""
    def compute():
        right = int((predictions(who, batch_size) == who.pictures.labels).sum())
        low, high = metrics.wilson(right, len(who.pictures))
        return {"rows": [{"right": right, "accuracy": right / len(who.pictures), "low": low, "high": high}]}
    return _kept(stored, "accuracy", who, "", {}, compute)["rows"][0]


def gallery(who: Subject, seed: int = 0, batch_size: int = 256) -> Tensor:
    """One correctly classified picture of every class that has one, drawn by `seed`: their places, int64 (Sign, section 4.1)."""
    right = predictions(who, batch_size) == who.pictures.labels
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    order = order[right[order]]
    first = [order[who.pictures.labels[order] == k][:1] for k in range(len(who.pictures.classes))]
    return torch.cat(first)


def allegiances(who: Subject, *, batch_size: int = 256, stored: bool = False, log: Callable = lambda line: None) -> dict[tuple[str, str], Tensor]:
    """For every map and fill, bool [F,N]: is the prediction what it was (paper Sign, Figs. 3, 4, B.7, B.8)?

    Also the pairs that the paper does not show (positive under white, ...).
    """
    maps: dict[str, Tensor] = {}
    found = {}
    for name in MAPS:
        for fill in FILLS:
            def compute():
                if not maps:
                    maps.update(signed_maps(who, batch_size))
                pieces = []
                for k in range(0, len(who.pictures), batch_size):
                    images = batch(who, slice(k, k + batch_size))
                    pieces.append(metrics.allegiance(who.model, images, maps[name][k:k + batch_size].to(images.device), fill=fill_value(who, fill), batch_size=batch_size).cpu())
                kept = torch.cat(pieces, 1)
                return {"rows": auc_rows({(name, fill): kept}), "kept": results.pack(kept)}
            content = _kept(stored, "deletion", who, f"{name}-{fill}", {"map": name, "fill": fill}, compute)
            found[name, fill] = results.unpack(content["kept"])
            log(f"deletion  {who.title}  {name} {fill}  AUC {content['rows'][0]['auc']:.3f}")
    return found


def curve_table(found: dict[tuple[str, str], Tensor]) -> pd.DataFrame:
    """Allegiance at every fraction, with Wilson's interval: columns map, fill, fraction, allegiance, low, high, n."""
    rows = []
    for (name, fill), kept in found.items():
        for fraction, flags in zip(PAPER_FRACTIONS, kept):
            low, high = metrics.wilson(int(flags.sum()), len(flags))
            rows.append({"map": name, "fill": fill, "fraction": fraction, "allegiance": flags.double().mean().item(), "low": low, "high": high, "n": len(flags)})
    return pd.DataFrame(rows)


def auc_rows(found: dict[tuple[str, str], Tensor]) -> list[dict]:
    """Area under each allegiance curve, with a bootstrap interval over images: map, fill, auc, low, high."""
    rows = []
    for (name, fill), kept in found.items():
        areas = metrics.auc(PAPER_FRACTIONS, kept)
        low, high = metrics.bootstrap(areas)
        rows.append({"map": name, "fill": fill, "auc": areas.mean().item(), "low": low, "high": high})
    return rows


def auc_differences(found: dict[tuple[str, str], Tensor], pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> pd.DataFrame:
    """AUC of the first minus that of the second of each pair of (map, fill), paired over images, with a bootstrap interval."""
    rows = []
    for first, second in pairs:
        change = metrics.auc(PAPER_FRACTIONS, found[first]) - metrics.auc(PAPER_FRACTIONS, found[second])
        low, high = metrics.bootstrap(change)
        rows.append({"first": " ".join(first), "second": " ".join(second), "difference": change.mean().item(), "low": low, "high": high, "n": len(change)})
    return pd.DataFrame(rows)


def _scores(who: Subject, maps: Tensor, fill: str, strength: float, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the originally predicted class, each [F,N]: still predicted? probability, logit."""
    pieces = []
    for k in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(k, k + batch_size))
        altered = metrics.altered_logits(who.model, images, maps[k:k + batch_size].to(images.device), fill=fill_value(who, fill), strength=strength, batch_size=batch_size)
        for _, original, logits in altered:
            index = original.argmax(1).expand(len(logits), -1)
            pick = lambda t: t.gather(2, index[..., None])[..., 0].cpu()
            pieces.append(((logits.argmax(2) == index).cpu(), pick(logits.softmax(2)), pick(logits)))
    return tuple(torch.cat(part, 1) for part in zip(*pieces))


def score_curves(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """How probability and logit of the original class change along the deletion curve: what allegiance cannot show.

    Columns map, fill, fraction; probability, logit (mean change since fraction 0) with *_low, *_high; rose (share of images
    whose logit is above its start).
    """
    def compute():
        rows, maps = [], signed_maps(who, batch_size)
        for name in MAPS:
            for fill in FILLS:
                _, probability, logit = _scores(who, maps[name], fill, 1., batch_size)
                for k, fraction in enumerate(PAPER_FRACTIONS):
                    row = {"map": name, "fill": fill, "fraction": fraction, "rose": (logit[k] > logit[0]).double().mean().item()}
                    for label, values in (("probability", probability), ("logit", logit)):
                        change = (values[k] - values[0]).double()
                        low, high = metrics.bootstrap(change)
                        row |= {label: change.mean().item(), f"{label}_low": low, f"{label}_high": high}
                    rows.append(row)
        return {"rows": rows}
    return pd.DataFrame(_kept(stored, "scores", who, "", {}, compute)["rows"])


def soft_replacement(who: Subject, strengths: tuple[float, ...] = STRENGTHS, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Replace by a slightly darker or brighter pixel, not the extreme (paper Sign, the open question of section 4.2).

    A pixel x moves to x + strength * (fill - x). Columns strength, map, fill; auc of allegiance and area of the
    probability, each with *_low and *_high. Only the pairs of the paper: black on positive, white on negative.
    """
    def compute_for(strength):
        def compute():
            rows, maps = [], signed_maps(who, batch_size)
            for fill, names in MATCHED.items():
                for name in names:
                    kept, probability, _ = _scores(who, maps[name], fill, strength, batch_size)
                    row = {"strength": strength, "map": name, "fill": fill}
                    for label, values in (("auc", kept), ("area", probability)):
                        areas = metrics.auc(PAPER_FRACTIONS, values)
                        low, high = metrics.bootstrap(areas)
                        row |= {label: areas.mean().item(), f"{label}_low": low, f"{label}_high": high}
                    rows.append(row)
            return {"rows": rows}
        return compute
    cells = [_kept(stored, "soft", who, f"{strength:g}", {"strength": strength}, compute_for(strength)) for strength in strengths]
    return pd.DataFrame([row for content in cells for row in content["rows"]])


def kept_pixels(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Share of pixels that are not zero in each map: where its deletion curve must flatten. Columns map, mean, p5, p95, n."""
    def compute():
        rows = []
        for name, maps in signed_maps(who, batch_size).items():
            share = (maps != 0).flatten(1).double().mean(1)
            low, high = share.quantile(torch.tensor([.05, .95], dtype=share.dtype)).tolist()
            rows.append({"map": name, "mean": share.mean().item(), "p5": low, "p95": high, "n": len(share)})
        return {"rows": rows}
    return pd.DataFrame(_kept(stored, "kept_pixels", who, "", {}, compute)["rows"])


def printed_and_released(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Eqs. 5 and 6 as printed (channel maximum of the signed values, ties kept) beside the released code (absolute values).

    Columns map, rule, fill, auc, low, high; wrong_sign: share of kept entries whose sign is not the one the name promises;
    ranks: mean Spearman correlation of the printed map with the released one.
    """
    def compute():
        rows = []
        for name, fill in (("active", "black"), ("inactive", "white")):
            kernel = getattr(attribution, name)
            both = _over(who, lambda images: torch.stack([
                attribution.to_map(kernel(who.model, images, ties=True), "max"), attribution.to_map(kernel(who.model, images), "absmax")], 1), batch_size)
            signed = _over(who, lambda images: _wrong_sign(kernel(who.model, images), name), batch_size)
            ranks = metrics.rank_correlation(both[:, 0], both[:, 1])
            for rule, maps in zip(("printed", "released"), both.unbind(1)):
                kept, _, _ = _scores(who, maps, fill, 1., batch_size)
                row = auc_rows({(name, fill): kept})[0]
                rows.append({**row, "rule": rule, "wrong_sign": signed.mean().item(), "ranks": ranks.mean().item(), "n": len(maps)})
        return {"rows": rows}
    return pd.DataFrame(_kept(stored, "printed", who, "", {}, compute)["rows"])


def _wrong_sign(kept: Tensor, name: str) -> Tensor:
    """Per image, the share of nonzero entries that are negative in an active, or positive in an inactive attribution."""
    wrong = (kept < 0) if name == "active" else (kept > 0)
    return wrong.flatten(1).sum(1) / (kept != 0).flatten(1).sum(1).clamp(min=1)
