"""A small panel of results, to three digits: does a change of a kernel change what chapters show?

Networks, kinds of pictures and functions are those of the chapters at the quick profile, pictures
are few. tests/mutate.py compares what is printed here with and without a mutation.

    python -m tests.panel
"""

from __future__ import annotations

import pandas as pd
import torch

from lib import attribution
from lib.attribution import crosses
from study import figures
from study.experiments import (
    cleanliness,
    deletion,
    own_picture,
    response,
    retraining,
    synthesis,
)
from study.subjects.subject import Subject, batch, picture, subjects

COUNT = 6  # drawn shapes for each network
SIDE = 112  # of the photograph, in pixels


def show(title: str, table: pd.DataFrame | list[dict]) -> None:
    print(title)
    print(pd.DataFrame(table).to_string(float_format="{:.3g}".format))


def maps(who: Subject) -> None:
    """The maps of every method as both papers reduce them, or the sentence of a refusal."""
    for name in synthesis.NETWORK:
        try:
            sign, noise = synthesis.maps_both_ways(who, name)
        except ValueError as refusal:
            print(f"{name}: {refusal}")
            continue
        figures.digest(**{f"{name}, sign": sign, f"{name}, noise": noise})


def curves(who: Subject) -> None:
    """Areas under deletion and insertion of three maps, one shuffled, and the controls."""
    shuffled = f"{synthesis.SHUFFLED}saliency"
    for name in ("saliency", "active", "rectgrad", shuffled, *crosses.CONTROLS):
        print(name)
        figures.digest(**synthesis.curves(who, name))


def signs(who: Subject) -> None:
    """What chapters 1, 2 and 5 tell of the signed maps."""
    figures.digest(**deletion.signs(who))
    show("accuracy", [deletion.accuracy(who)])
    show("areas", deletion.auc_rows(deletion.allegiances(who)))
    show("kept", deletion.kept_pixels(who))
    show("both readings", deletion.printed_and_released(who))
    show("together", deletion.together_and_alone(who))
    show("lengths", [deletion.gradient_lengths(who)])
    show("scores", deletion.score_curves(who))
    show("moved half the way", deletion.moved_by(who, 0.5))
    show("insertion", deletion.insertion_areas(who))


def rectified(who: Subject) -> None:
    """What chapters 4, 6 and 7 tell of RectGrad, of background and of occluded pictures."""
    show("rules", response.on_object(who))
    show("borders", response.border(who))
    show("roughness", response.smoothness([who]))
    show("claims 1 and 2", response.identities([who]))
    for table in response.sweep(who, (0, 20, 80, 98)):
        show("thresholds", table)
    for measure in ("outside", "variation"):
        show(measure, cleanliness.amounts_and_edges(who, measure))
    figures.digest(**retraining.left_of(who, ["random", "saliency", "rectgrad"], 0.3))


def photograph() -> None:
    """The maps of the page on one's own picture, of a network whose convolutions lack padding."""
    who = picture("photos:1", "squeezenet1_1", size=SIDE)
    images = batch(who, slice(None))
    rivals = own_picture.likeliest(who, images)["number"].tolist()
    names = [name for name in attribution.METHODS if name != "deeplift"]
    options = {"batch_size": 16, "seed": 0}
    found, refused = own_picture.maps(who, images, names, rivals[0], rivals, **options)
    print(refused)
    figures.digest(**found)
    figures.digest(**own_picture.signed_maps(who, images, rivals[0], rivals))


def main() -> None:
    torch.manual_seed(0)
    networks = ["basic_cnn", "rectgrad_cnn", "gelu_cnn"]
    for who in subjects("shapes10", networks, count=COUNT):
        print(who.label)
        maps(who)
        if who.model_name != "gelu_cnn":
            curves(who)
            signs(who)
            rectified(who)
    photograph()


if __name__ == "__main__":
    main()
