"""The check of what is stored.

A cell of every kind of experiment is computed again, whole or on a part of its pictures, and
compared; the accuracy of every committed network is compared with its card; and the tables must
follow from the cells. What agrees can be stamped (study.store.stamps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from study.account import claims, scoreboard
from study.experiments import cleanliness, deletion, synthesis
from study.store import cells, stamps
from study.store.experiment import EXPERIMENTS, Experiment, unpacked
from study.subjects import networks, sources
from study.subjects.pictures import DataError
from study.subjects.subject import Subject, subject

IDENTITY = ("dataset", "split", "n", "data", "model", "weights", "weights_hash")
SLOW = 600  # seconds that a whole cell may have taken to be drawn


def _check_weights(trained: list[tuple], log: Callable) -> list[str]:
    """Accuracy of every committed network against its card, on every split that is here."""
    wrong = []
    for model, dataset, tag, _ in trained:
        about = networks.card(model, tag)
        if not about:
            log(
                f"not checked: {model} {tag}: no weights here; "
                "`make results` trains them, where a download that it needs works"
            )
            continue
        if not (networks.WEIGHTS / f"{model}-{tag}.safetensors").is_file():
            log(f"not checked: {model} {tag}: its card alone is kept")
            continue
        try:
            studied = subject(dataset, model, tag, split="test")
            other_jpeg = "+jpeg" in dataset and (
                sources.load(dataset, "train").fingerprint != about["fingerprint"]
            )
        except (DataError, networks.DownloadError) as error:
            log(f"not checked: {model} {tag}: {error}")
            continue
        if other_jpeg:
            log(f"not checked: {model} {tag}: the JPEG library here makes other pixels")
            continue
        again, stated = deletion.accuracy(studied)["accuracy"], about["test_accuracy"]
        # a few pictures on the edge may flip with another processor
        close = abs(again - stated) <= 3 / len(studied.pictures)
        verdict = "ok  " if close else "BAD "
        log(f"{verdict} weights  {studied.title}  {again:.4f}, card {stated:.4f}")
        if not close:
            wrong.append(f"accuracy of {model} {tag}")
    return wrong


# ---- the subject of a cell


@lru_cache(maxsize=4)
def loaded(dataset: str, model: str, weights: str, split: str, count: int | None) -> Subject:
    """`subject`, read once."""
    return subject(dataset, model, weights, split=split, count=count)


def _candidates(p: dict) -> Iterator[Subject]:
    """Subjects that a cell with these parameters may have been computed on, likely ones first."""
    named = p["dataset"], p["model"], p["weights"], p["split"]
    yield loaded(*named, p["n"])
    whole = loaded(*named, None)
    yield whole
    if p["n"] < len(whole.pictures):
        for skip in (0, p["n"]):  # a study's own pictures, and those it holds out
            yield whole.take(sources.drawn(len(whole.pictures), p["n"], skip=skip))
        for _, model, count, sample_size in synthesis.STUDIED:
            if model == p["model"]:
                yield whole.take(sources.drawn(len(whole.pictures), count)).sample(sample_size)
        right = cleanliness.recognised(whole)
        yield right
        yield cleanliness.per_class(right, 10)


def _rebuilt(p: dict) -> Subject | None:
    """The subject of these parameters; None where network or pixels are others here."""
    for studied in _candidates(p):
        if studied.pictures.fingerprint == p["data"]:
            same = networks.fingerprint(studied.model) == p["weights_hash"]
            return studied if same else None
    return None


# ---- one cell computed again


def _again(
    kind: Experiment, content: dict, pictures: int, generator: torch.Generator
) -> tuple[dict, dict]:
    """A part of a cell as it is stored, and as it comes out now.

    LookupError where its subject cannot be had here.
    """
    if kind.again:
        return content, unpacked(kind.again(content))
    p = content["parameters"]
    studied = _rebuilt({name: p[name] for name in IDENTITY})
    if studied is None:
        raise LookupError("these pixels or weights are not those of the stored result")
    studied = studied._replace(stored=kind.rests_on_cells)
    arguments = {name: value for name, value in p.items() if name not in IDENTITY}
    for name, value in arguments.items():
        if isinstance(value, dict) and set(IDENTITY) <= set(value):
            arguments[name] = _rebuilt(value)
    before = unpacked(content)
    if kind.sample == "pictures":
        index = torch.randperm(p["n"], generator=generator)[: _affordable(studied, pictures)]
        index = index.sort().values
        before = _at(before, index)
        studied = studied.take(index)
    elif kind.sample:
        argument, columns = kind.sample
        before, arguments[argument] = _one_of(before, columns, generator)
    made = kind.function(studied, **arguments)
    return before, made if isinstance(made, dict) else {"rows": made}


def _affordable(studied: Subject, pictures: int) -> int:
    """Of large pictures a quarter as many."""
    return pictures if studied.pictures.images.shape[-1] <= 64 else max(1, pictures // 4)


def _at(content: dict, index: Tensor) -> dict:
    """The part of a content that is about the pictures at `index`."""
    kept = {k: v[..., index] for k, v in content.items() if isinstance(v, Tensor)}
    place = {int(number): k for k, number in enumerate(index)}
    rows = [row for row in content["rows"] if row.get("picture") in place]
    return kept | {"rows": [{**row, "picture": place[row["picture"]]} for row in rows]}


def _one_of(content: dict, columns: tuple[str, ...], generator: torch.Generator):
    """The part of a content that is of one of the values in these columns, and that value as an
    argument. What is kept beside the rows goes through the values along its first axis."""
    values = list(dict.fromkeys(tuple(row[c] for c in columns) for row in content["rows"]))
    k = int(torch.randint(len(values), (), generator=generator))
    kept = {name: v[k : k + 1] for name, v in content.items() if isinstance(v, Tensor)}
    rows = [row for row in content["rows"] if tuple(row[c] for c in columns) == values[k]]
    return kept | {"rows": rows}, [values[k] if len(columns) > 1 else values[k][0]]


# ---- the comparison


def _apart(before: dict, again: dict, is_part: bool = False) -> float:
    """How far two contents lie apart, in units of the largest number of each column.

    Of flags, the share that differs; of numbers a picture, their mean distance. Infinite where one
    has a row, a column or a shape that the other lacks. Of a content that is of a part of the
    pictures, rows that sum over all of them are not compared.
    """
    tensors, others = ({k for k, v in c.items() if isinstance(v, Tensor)} for c in (before, again))
    if tensors != others:
        return np.inf
    distances = [_tensors_apart(before[name], again[name].cpu()) for name in sorted(tensors)]
    # of a part, `_at` has left the rows that are about a picture alone
    if not is_part or before["rows"]:
        distances.append(_rows_apart(before["rows"], again["rows"]))
    return _worst(distances) if distances else np.inf


def _tensors_apart(stored: Tensor, now: Tensor) -> float:
    """`_apart` of flags or numbers, of as many pictures."""
    if stored.shape != now.shape:
        return np.inf
    if stored.dtype == torch.bool:
        return _flags_apart(stored.numpy(), now.numpy())
    return _distances(stored.double().numpy(), now.double().numpy()).mean()


def _rows_apart(before: list[dict], again: list[dict]) -> float:
    """`_apart` of two lists of rows, which may come in another order."""
    first, second = pd.DataFrame(before), pd.DataFrame(again)
    if len(first) != len(second) or set(first) != set(second):
        return np.inf
    if first.empty:
        return 0.0
    lists = [c for c in first if isinstance(first[c].iloc[0], list)]
    words = [c for c in first if not pd.api.types.is_numeric_dtype(first[c]) and c not in lists]
    flags = [c for c in first if first[c].dtype == bool]
    counts = [c for c in first if pd.api.types.is_integer_dtype(first[c])]
    order = [*words, *(c for c in counts if c != "n"), *flags]
    if order:
        first = first.sort_values(order, kind="stable", ignore_index=True)
        second = second.sort_values(order, kind="stable", ignore_index=True)
    if not first[words].equals(second[words]):
        return np.inf
    # a row a picture: one unit on a threshold may flip with another processor
    summed = np.mean if "picture" in counts else _worst
    distances = [_flags_apart(first[c].to_numpy(), second[c].to_numpy(bool)) for c in flags]
    for c in first.columns.difference([*lists, *words, *flags], sort=False):
        a, b = first[c].to_numpy(float), second[c].to_numpy(float)
        if (np.isnan(a) != np.isnan(b)).any():
            return np.inf
        distances.append(summed(_distances(a, b)))
    for c in lists:
        a, b = (np.array(frame[c].tolist(), dtype=float) for frame in (first, second))
        distances.append(_distances(a, b).mean() if a.shape == b.shape else np.inf)
    return _worst(distances)


def _flags_apart(stored: np.ndarray, now: np.ndarray) -> float:
    """The share of flags that differ; one on the edge may, with another processor."""
    return max(int((stored != now).sum()) - 1, 0) / max(stored.size, 1)


def _distances(stored: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Of each number, in units of the largest; one that only one of the two has is as far off as
    the largest, and what neither has is no distance."""
    lacking = np.isnan(stored) != np.isnan(now)
    with np.errstate(invalid="ignore"):
        off = np.abs(stored - now) / _largest(stored)
    return np.where(lacking, 1.0, np.where(np.isnan(stored) | (stored == now), 0.0, off))


def _worst(distances: Iterable[float]) -> float:
    """The largest of these; NaN, which is within no tolerance, if any is."""
    return float(np.max([0.0, *distances]))


def _largest(values: np.ndarray) -> float:
    """The largest size among these numbers, or 1 where there is none."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(sizes.max()) if sizes.size and sizes.max() > 0 else 1.0


def _check(
    kind: Experiment, content: dict, pictures: int, generator: torch.Generator
) -> tuple[bool, str]:
    """Does a cell come out as it is stored? And how far apart the two are, in words."""
    before, again = _again(kind, content, pictures, generator)
    if kind.reach:
        allowed, off = kind.reach(content), _farthest(before["rows"], again["rows"])
        return off <= allowed, f"off by {off:.4f}, {allowed:.4f} allowed"
    off = _apart(before, again, kind.sample == "pictures")
    return off <= kind.tolerance, f"off by {off:.2%} of the largest, {kind.tolerance:.0%} allowed"


def _farthest(before: list[dict], again: list[dict]) -> float:
    """How far the farthest number lies from the stored one, in its own unit; infinite where one has
    what the other lacks."""
    if len(before) != len(again):
        return np.inf
    distances = []
    for then, now in zip(before, again, strict=True):
        for name, stored in then.items():
            if isinstance(stored, float):
                found = now.get(name, np.nan)
                lacking = np.isnan(stored) != np.isnan(found)
                off = abs(np.nan_to_num(stored) - np.nan_to_num(found))
                distances.append(np.inf if lacking else off)
    return _worst(distances)


def _named(content: dict) -> str:
    """A cell in words."""
    p = content["parameters"]
    further = [str(v) for k, v in p.items() if k not in IDENTITY and isinstance(v, (str, float))]
    return " ".join([p["model"], p["weights"], *further])


def _quick(kind: Experiment, content: dict) -> bool:
    """Can this cell, or a part of it, be computed again in minutes?"""
    in_parts = kind.sample is not None or kind.again is not None
    return in_parts or content["provenance"]["seconds"] <= SLOW


def _check_kind(
    kind: Experiment,
    pictures: int,
    generator: torch.Generator,
    stamp: bool,
    patient: bool,
    log: Callable,
) -> list[str]:
    """A random cell of one kind; a fault for one that differs, and where none could be drawn.

    Of slow cells one is drawn only if this run is `patient`.
    """
    stored = [c for c in cells.of(kind.name) if scoreboard.current(c["parameters"])]
    if not stored:
        log(f"nothing stored: {kind.name}")
        return []
    drawable = [c for c in stored if kind.drawn(c["parameters"])]
    candidates = drawable if patient else [c for c in drawable if _quick(kind, c)]
    if drawable and not candidates:
        log(
            f"not checked: {kind.name}: a cell takes more than ten minutes; "
            f"`make verify ARGS='--kinds {kind.name}'` computes one"
        )
        return []
    why = "none is of a kind that is drawn"
    for k in torch.randperm(len(candidates), generator=generator).tolist():
        content = candidates[k]
        try:
            good, words = _check(kind, content, pictures, generator)
        except (DataError, networks.ModelError, LookupError) as error:
            why = str(error)
            continue
        log(f"{'ok  ' if good else 'BAD '} {kind.name}  {_named(content)}  {words}")
        if good and stamp:
            stamps.write(kind.name, _stamp(kind, content, words))
        return [] if good else [f"{kind.name} {_named(content)}"]
    log(f"BAD  {kind.name}  no cell could be computed again: {why}")
    return [f"{kind.name}: no cell could be drawn"]


def _stamp(kind: Experiment, content: dict, words: str) -> dict:
    about = cells.provenance()
    return {
        "code": stamps.code(kind.function),
        "date": about["date"],
        "commit": about["commit"],
        "cell": _named(content),
        "found": words,
    }


def stale() -> list[str]:
    """The kinds with stored cells whose stamp does not fit the code."""
    known = stamps.read()
    return [
        name
        for name, kind in EXPERIMENTS.items()
        if cells.of(name) and known.get(name, {}).get("code") != stamps.code(kind.function)
    ]


def verify(
    trained: list[tuple],
    pictures: int = 100,
    seed: int | None = None,
    stamp: bool = False,
    kinds: list[str] | None = None,
    log: Callable = print,
) -> bool:
    """Recompute a part of what is stored and compare; True if nothing is wrong.

    A random cell of every kind in `kinds` (None: of all that take minutes; with `stamp`, of those
    whose stamp does not fit, and each that agrees is stamped), the accuracy of all committed
    weights (`trained`: see `plan.TRAINED`), and the tables.
    """
    seed = torch.seed() % 2**31 if seed is None else seed
    log(f"verify with seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    wrong = [] if stamp or kinds else _check_weights(trained, log)
    for name in kinds or (stale() if stamp else list(EXPERIMENTS)):
        wrong += _check_kind(EXPERIMENTS[name], pictures, generator, stamp, bool(kinds), log)
    for path, text in (
        (scoreboard.CSV, scoreboard.table().to_csv(index=False)),
        (claims.CSV, claims.table().to_csv(index=False)),
    ):
        if not path.exists() or path.read_text() != text:
            wrong.append(f"{path.name} does not follow from the stored cells")
    log("verified" if not wrong else f"not verified: {'; '.join(wrong)}")
    return not wrong
