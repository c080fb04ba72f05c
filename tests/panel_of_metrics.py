"""What the chapters make of metrics, on few pictures, to three digits: pixels that are removed or
kept, places, intervals, tests, and the tables of retrained networks.

As tests/panel.py, and for tests/mutate.py; accuracies of retrained networks are drawn, since
training them takes too long here.

    python -m tests.panel_of_metrics
"""

from __future__ import annotations

import numpy as np
import torch

from lib import attribution, metrics
from lib.attribution import crosses
from study import figures
from study.experiments import ranking, retraining, retraining_tables, synthesis
from study.subjects.subject import batch
from tests.panel import show

COUNT = 8  # drawn shapes, and as many held out
METHODS = ("saliency", "positive", "negative", "guided_backprop", "rectgrad")
NEW = "rectgrad_positive"
RETRAINED = ("random", "saliency", "positive", "negative", "rectgrad")
SEEDS = (1, 2, 3)
TESTED = 100  # pictures of the drawn accuracies
CLASSES = 10


def removed(this: synthesis.Study) -> None:
    """What is left of pictures when pixels are removed or kept by rank, as chapters 7 and 9 do."""
    pictures = batch(this.whole, slice(None))
    maps = attribution.to_map(attribution.saliency(this.whole.model, pictures), "sum")
    mean = pictures.mean((0, 2, 3))
    for keep in (False, True):
        left = metrics.occlude_pixels(pictures, maps, 0.3, mean, keep=keep)
        figures.digest(**{"kept" if keep else "removed": left * maps[:, None]})


def ranked(this: synthesis.Study, held_out: synthesis.Study) -> None:
    """The tables of chapters 8 and 9 that rank methods."""
    names = (*METHODS, NEW, *crosses.CONTROLS)
    numbers = synthesis.measured(this, names)
    held = synthesis.measured(held_out, synthesis.family([NEW]), synthesis.HELD_OUT)
    shuffled = synthesis.measured(
        this, [f"{synthesis.SHUFFLED}{name}" for name in METHODS], synthesis.OF_ONE_MAP
    )
    both = {metric: numbers[metric] | shuffled[metric] for metric in shuffled}
    show("summary", ranking.summary(numbers))
    show("agreement", ranking.agreement(numbers))
    show("between kinds", [ranking.between_kinds(numbers)])
    show("blindness", ranking.blindness(numbers))
    show("over random pixels", ranking.over_control(numbers, "random"))
    show("over shuffled", ranking.over_shuffled(both))
    show("sparsity", ranking.sparsity(both))
    trials = ranking.tried(numbers, held, [m for m in numbers if m in synthesis.METRICS])
    show("trials", trials)
    show("judged", ranking.judged({"shapes": trials}))


def flags() -> dict[tuple[str, str, int], np.ndarray]:
    """Which of the pictures drawn networks get right: (method, mode, seed) -> bool [F,N]."""
    rng, drawn = np.random.default_rng(0), {}
    kept = np.array(retraining.FRACTIONS)
    for k, method in enumerate(RETRAINED):
        for mode, towards in (("roar", 1 - kept), ("kar", kept)):
            for seed in SEEDS:
                chance = 0.1 + 0.6 * towards - 0.02 * k
                numbers = rng.random((len(retraining.FRACTIONS), TESTED))
                drawn[method, mode, seed] = numbers < chance[:, None]
    return drawn


def retrained() -> None:
    """The tables of chapter 7, of networks of three seeds."""
    drawn = flags()
    explained = torch.arange(TESTED) % 3 > 0
    right = explained.numpy()
    accuracies = retraining_tables.accuracies_of(drawn, retraining.FRACTIONS)
    halves = {"where_right": right, "where_wrong": ~right}
    for column, where in halves.items():
        accuracies[column] = [of[where].mean() for by_share in drawn.values() for of in by_share]
    areas = retraining_tables.areas(accuracies, CLASSES)
    differences = retraining_tables.differences(areas)
    alone = accuracies[accuracies["mode"] == "roar"].assign(mode="places")
    show("areas", areas)
    show("differences", differences)
    show("pairs", retraining_tables.compared(accuracies))
    show("variances", retraining_tables.analysis_of_variance(accuracies))
    show("sides", retraining_tables.sides(accuracies, explained))
    show("places", retraining_tables.places_with_areas(differences, alone))
    show("balanced", retraining_tables.balanced(accuracies, CLASSES))


def explained_by_distance() -> None:
    """The tables of chapter 9 on drawn networks and distances: where the order turns, and shock."""
    drawn, generator = flags(), torch.Generator().manual_seed(0)
    after = {m: torch.from_numpy(np.stack([drawn[m, "roar", s] for s in SEEDS])) for m in RETRAINED}
    moved = {
        m: torch.rand(len(retraining.FRACTIONS), TESTED, generator=generator) for m in RETRAINED
    }
    before = {m: moved[m] + torch.rand(moved[m].shape, generator=generator) < 1 for m in RETRAINED}
    steps = {
        "before": {m: of.double().mean(0)[None] for m, of in before.items()},
        "after": {m: of.double().mean(1) for m, of in after.items()},
    }
    for title, table in zip(("steps", "turns"), ranking.rungs(steps), strict=True):
        show(title, table)
    whole = torch.ones(TESTED, dtype=torch.bool)
    show("shock", ranking.shock(before, moved, after, retraining.FRACTIONS, whole))


def main() -> None:
    torch.manual_seed(0)
    retrained()
    explained_by_distance()
    setting = ("shapes10", "rectgrad_cnn", "auto", COUNT, COUNT)
    ((this, held_out),) = synthesis.studies([setting], held_out=True)
    removed(this)
    ranked(this, held_out)


if __name__ == "__main__":
    main()
