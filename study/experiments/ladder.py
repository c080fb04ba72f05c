"""From deletion without retraining to ROAR in small steps, and what may turn the order of methods:
shock, legible places.

Networks retrained by one protocol (`study.experiments.synthesis.retrained_networks`) and the
explained network on the same pictures; every function returns a table or takes one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution
from lib.attribution import crosses
from lib.metrics.statistics import plain_means, spearman_interval
from study.experiments import deletion, ranking, retraining, retraining_tables, synthesis
from study.experiments.synthesis import Retrained, Study
from study.subjects.subject import Subject, subject

# the steps, each a metric; less is better in all of them
BLACK, MEAN, ORDER, RIGHT, ROAR = (
    "black deletion",
    "mean colour",
    "paper Noise's order",
    "right class",
    "retrained (ROAR)",
)
STEPS = (BLACK, MEAN, ORDER, RIGHT, ROAR)
# rows of `turns` that are no step: with controls and without
WHOLE, METHODS_ALONE = "first to last", "first to last, methods alone"


def check_pictures(this: Study, retrainings: Retrained, known: int | None) -> None:
    """Raise ValueError where retrained networks were not tested on all pictures of the study, and
    for too few training pictures to take a distance to."""
    if retrainings.tested is not None and len(retrainings.tested) < len(this.index):
        raise ValueError(
            f"retrained networks are tested on {len(retrainings.tested)} pictures, fewer than the "
            f"{len(this.index)} of the study; give fewer images or more retrain_images."
        )
    if known is not None and known < 5:
        raise ValueError(
            f"distance is taken to the five nearest training pictures; known is {known!r}."
        )


def walked(this: Study, retrainings: Retrained, methods: Sequence[str]) -> list[str]:
    """Controls and methods with networks retrained under ROAR, in that order."""
    after = synthesis.after_retraining(this, _of_maps(retrainings), retrainings.tested)
    return [m for m in (*crosses.CONTROLS, *methods) if m in after]


def _of_maps(retrainings: Retrained) -> dict:
    """The flags of networks that were retrained on maps, not on whole pictures."""
    return {key: right for key, right in retrainings.flags.items() if key[0] != "none"}


def moved(
    this: Study,
    retrainings: Retrained,
    names: Sequence[str],
    *,
    training: Subject,
    witness: str,
) -> dict[str, dict[str, Tensor]]:
    """Name -> `synthesis.shift`: the study's pictures as ROAR occludes them, shown to the network
    as it is; `training` pictures are what the network `witness` measures distance to."""
    beside = synthesis.witness(this, witness)
    placed = this
    # random pixels are drawn by a picture's place among those tested
    if retrainings.tested is not None:
        placed = this._replace(
            whole=this.whole._replace(stored=False),
            index=torch.searchsorted(retrainings.tested, this.index),
        )
    return {
        name: synthesis.shift(placed, training, beside, name, retrainings.fractions)
        for name in names
    }


def known_pictures(this: Study, count: int | None) -> Subject:
    """So many training pictures of the study's dataset, drawn at random."""
    pictures = this.whole.pictures
    return subject(
        pictures.name,
        this.whole.model_name,
        this.whole.weights,
        split="train",
        count=count,
        size=pictures.size,
    )


def steps(
    this: Study,
    retrainings: Retrained,
    black: dict[str, Tensor],
    shifts: dict[str, dict[str, Tensor]],
) -> dict[str, dict[str, Tensor]]:
    """Step -> name -> areas [S,N] over the study's pictures, lower is better: from black deletion
    to ROAR in the order of `STEPS`.

    `black`: name -> areas [1,N] under black deletion; `shifts` as of `moved`.
    """
    after = synthesis.after_retraining(this, _of_maps(retrainings), retrainings.tested)
    weights = retraining_tables.weights_of_span(retrainings.fractions)

    def of_span(right: Tensor) -> Tensor:
        """The area under flags [...,F,N]."""
        return torch.from_numpy(right.double().numpy().swapaxes(-1, -2) @ weights)

    return {
        BLACK: {m: black[m] for m in shifts},
        MEAN: {m: shift["mean"][None] for m, shift in shifts.items()},
        ORDER: {m: of_span(shift["same"])[None] for m, shift in shifts.items()},
        RIGHT: {m: of_span(shift["right"])[None] for m, shift in shifts.items()},
        ROAR: {m: of_span(after[m]) for m in shifts},
    }


def turns(walk: dict[str, dict[str, Tensor]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`ranking.rungs`, and below its second table the rows `WHOLE` and, where controls were left
    out, `METHODS_ALONE`, which have no least.

    Both tables are empty for fewer than three methods, which have no order to speak of.
    """
    if len(walk[ROAR]) < 3:
        nothing = pd.DataFrame(columns=["step", "name", "value", "rank"])
        return nothing, pd.DataFrame(columns=["step", "correlation", "low", "high", "least"])
    ladder, of_steps = ranking.rungs(walk)
    names = {WHOLE: list(walk[ROAR])}
    alone = [name for name in walk[ROAR] if name in attribution.METHODS]
    if 2 < len(alone) < len(walk[ROAR]):
        names[METHODS_ALONE] = alone
    tables = [of_steps]
    for row, kept in names.items():
        ends = {step: {name: walk[step][name] for name in kept} for step in (BLACK, ROAR)}
        tables.append(ranking.rungs(ends)[1].assign(step=row, least=np.nan))
    return ladder, pd.concat(tables, ignore_index=True)


def shock(
    this: Study, retrainings: Retrained, shifts: dict[str, dict[str, Tensor]]
) -> pd.DataFrame:
    """`ranking.shock` over the study's pictures: does distance explain why the network fails? Empty
    where no map was retrained on."""
    if not shifts:
        columns = ["fraction", "methods", "before", "retrained", "moved", "failed", "farther"]
        return pd.DataFrame(columns=[*columns, "low", "high"])
    return ranking.shock(
        {m: shift["right"] for m, shift in shifts.items()},
        {m: shift["moved"] for m, shift in shifts.items()},
        synthesis.after_retraining(this, _of_maps(retrainings), retrainings.tested),
        retrainings.fractions,
        deletion.predictions(this.whole) == this.whole.pictures.labels,
    )


def distance_with_areas(
    walk: dict[str, dict[str, Tensor]], shifts: dict[str, dict[str, Tensor]]
) -> pd.DataFrame:
    """Are methods whose holes move pictures farther ahead? Spearman's correlation over methods of
    how far pictures move with the area without retraining, and with ROAR's.

    Columns step, methods, correlation, low, high (methods drawn again).
    """
    columns = ["step", "methods", "correlation", "low", "high"]
    if len(shifts) < 3:
        return pd.DataFrame(columns=columns)
    far = plain_means([shift["moved"].mean(0)[None] for shift in shifts.values()])
    rows = []
    for step in (ORDER, ROAR):
        area = plain_means([walk[step][m] for m in shifts])
        rows.append({"step": step, **_correlated(far, area)})
    return pd.DataFrame(rows, columns=columns)


def legible(retrainings: Retrained) -> pd.DataFrame:
    """Of every published method: the area, and how often its retrained networks are right where
    the explained one is wrong. Columns mode, method, area, wrong, both means over seeds."""
    areas = synthesis.areas_after_retraining(retrainings, tuple(attribution.METHODS))
    wrong = synthesis.where_wrong(retrainings.whole, _of_maps(retrainings))
    rows = []
    for mode in retraining.MODES:
        names = [m for m in attribution.METHODS if m in wrong.get(mode, {})]
        values = [plain_means([of[mode][m] for m in names]) for of in (areas, wrong) if names]
        for name, area, share in zip(names, *values, strict=True) if names else ():
            rows.append({"mode": mode, "method": name, "area": area, "wrong": share})
    return pd.DataFrame(rows, columns=["mode", "method", "area", "wrong"])


def legibility(points: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation over methods of the two columns of `legible`: a row a mode of three
    methods or more, columns mode, methods, correlation, low, high (methods drawn again)."""
    rows = [
        {"mode": mode, **_correlated(part["wrong"], part["area"])}
        for mode, part in points.groupby("mode", sort=False)
        if len(part) > 2
    ]
    return pd.DataFrame(rows, columns=["mode", "methods", "correlation", "low", "high"])


def _correlated(first, second) -> dict:
    """Spearman's correlation of two rows, with its interval and their length."""
    value, low, high = spearman_interval(np.asarray(first), np.asarray(second))
    return {"methods": len(first), "correlation": value, "low": low, "high": high}
