"""The poster of the README, drawn from stored results.

`python -m book.poster` writes book/_static/poster.png, and of it the photograph and its maps alone,
for the landing page, as book/_static/maps.png.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure, SubFigure

from lib import attribution
from study import figures
from study.experiments import deletion, ranking, retraining, retraining_tables, synthesis
from study.store import cells
from study.subjects import networks, subject

METHODS = (
    "saliency",
    "positive",
    "active",
    "smoothgrad",
    "integrated_gradients",
    "guided_backprop",
    "rectgrad",
)
WHOLE = "#666666"


def maps(part: SubFigure, picture: int = 2, model: str = "squeezenet1_1") -> None:
    """A photograph and its maps for the predicted class."""
    studied = subject.subject("photos", model)
    studied = studied._replace(pictures=studied.pictures.take(slice(picture, picture + 1)))
    image = subject.batch(studied, slice(None))
    axes = part.subplots(1, 1 + len(METHODS))
    figures.draw_picture(axes[0], figures.as_rgb(studied.pictures.images)[0], "Picture")
    for axis, name in zip(axes[1:], METHODS, strict=True):
        method, label = attribution.METHODS[name], attribution.label(name)
        values = attribution.to_map(method.function(studied.model, image), method.reduce["noise"])
        if len(label) > 14:  # too long for one line
            label = label.replace(" ", "\n", 1)
        figures.draw_map(axis, values[0], label)


def sign(axis) -> None:
    """Areas under black and white deletion of the maps made for the colour and of the others."""
    areas = cells.rows("deletion")
    areas = areas[
        (areas["dataset"] == "cifar10")
        & (areas["model"] == "basic_cnn")
        & (areas["weights"] == "cifar10")
        & (areas["split"] == "test")
    ].set_index(["map", "fill"])
    pairs = [(name, fill) for fill in ("black", "white") for name in deletion.MAPS]
    for y, (name, fill) in enumerate(pairs):
        row = areas.loc[(name, fill)]
        axis.errorbar(
            row["auc"],
            -y - (fill == "white"),
            xerr=[[row["auc"] - row["low"]], [row["high"] - row["auc"]]],
            fmt="o",
            color=figures.COLOURS[name],
            markersize=6,
        )
    axis.set(
        yticks=[-y - (y >= 5) for y in range(10)],
        xlabel="area under the share of\nunchanged predictions (less is better)",
    )
    axis.set_yticklabels([f"{figures.LABELS[name]}, {fill}" for name, fill in pairs])


def background(axis) -> None:
    """Share of a map on the background, at equal sparsity."""
    shares = cells.rows("amounts").query("measure == 'outside' and weights == 'cifar10'")
    shares = shares[shares["share"] & (shares["treatment"] == "matched")].sort_values(
        "mean", ascending=False
    )
    for y, r in enumerate(shares.itertuples()):
        axis.errorbar(
            r.mean,
            y,
            xerr=[[r.mean - r.mean_low], [r.mean_high - r.mean]],
            fmt="o",
            color=figures.colour(r.method),
            markersize=6,
        )
    axis.set(
        yticks=range(len(shares)),
        xlabel="share of the map on the background,\nequal sparsity (less is better)",
    )
    axis.set_yticklabels([attribution.label(m) for m in shares["method"]])


def listening(axis) -> None:
    """How alike a map stays when the output layer's weights are drawn anew."""
    table = cells.rows("sanity")
    table = table[
        (table["mode"] == "cascading") & (table["depth"] == 1) & (table["weights"] == "cifar10")
    ]
    ranks = table.groupby("method")[["rank", "rank_low", "rank_high"]].mean()
    ranks = ranks.sort_values("rank", ascending=False)
    for y, r in enumerate(ranks.itertuples()):
        axis.errorbar(
            r.rank,
            y,
            xerr=[[r.rank - r.rank_low], [r.rank_high - r.rank]],
            fmt="o",
            color=figures.colour(r.Index),
            markersize=6,
        )
    axis.set(
        yticks=range(len(ranks)),
        xlabel="rank correlation with the map before\n(less: it listens more)",
    )
    axis.set_yticklabels([attribution.label(m) for m in ranks.index])


def legibility(axis) -> None:
    """Networks retrained on a tenth of the pixels.

    Right where the explained network is right, and where it is wrong.
    """
    explained = deletion.correct(subject.subject("cifar10", "rectgrad_cnn", stored=True)).numpy()
    shares = retraining_tables.repeated(
        explained, networks.fingerprint(networks.load("rectgrad_cnn", "cifar10")), retraining.FULL
    )
    shares = shares.loc[(shares["right"] - shares["wrong"]).sort_values().index]
    for y, (method, r) in enumerate(shares.iterrows()):
        colour = WHOLE if method == "none" else figures.colour(method)
        axis.plot([r["wrong"], r["right"]], [y, y], color=colour, linewidth=1.5)
        axis.plot(r["right"], y, "o", color=colour, markersize=6)
        axis.plot(r["wrong"], y, "o", markerfacecolor="white", color=colour, markersize=6)
    axis.axvline(0.1, color=WHOLE, linestyle=":", linewidth=1)
    axis.text(0.11, len(shares) - 0.45, "chance", fontsize=7.5, color=WHOLE)
    axis.plot([], [], "o", color=WHOLE, label="explained network right")
    axis.plot([], [], "o", markerfacecolor="white", color=WHOLE, label="wrong")
    axis.legend(loc="upper left", fontsize=8)
    axis.set(
        yticks=range(len(shares)),
        ylim=(-0.6, len(shares) + 1.4),
        xlim=(0, 1),
        xlabel="accuracy after retraining on\nthe first tenth of the pixels",
    )
    axis.set_yticklabels(
        ["All pixels" if m == "none" else attribution.label(m) for m in shares.index]
    )


PANELS = (
    ("Does the sign help?\nPixels turned black or white", sign),
    ("Is RectGrad clean,\nor only sparse?", background),
    ("Does a map listen?\nA new output layer", listening),
    ("Do retrained networks\nread the map?", legibility),
)


def league(part: SubFigure) -> None:
    """The places of the published methods and the controls.

    The scores, nearly alike to deletion, are left out.
    """
    measured = synthesis.read("cifar10", "rectgrad_cnn")
    summary = ranking.summary(
        {metric: of for metric, of in measured.items() if not metric.endswith("_score")}
    )
    shown = summary[~summary["name"].isin(figures.GROUPS["tried here"])]
    figures.place_table(shown, part.subplots(), intervals=True)
    part.suptitle(
        "Who ranks where? The methods of both papers under the metrics of both: places, "
        "and their 95 % intervals",
        x=0.02,
        ha="left",
        fontsize=10,
        fontweight="bold",
    )


def poster() -> Figure:
    """The maps above, a question and its answer in each panel below, the league at the bottom."""
    figures.style()
    figure = plt.figure(figsize=(13.5, 14.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    upper, middle, lower = figure.subfigures(3, 1, height_ratios=(1, 2.4, 3.1))
    maps(upper)
    league(lower)
    for axis, (title, draw) in zip(middle.subplots(1, len(PANELS)), PANELS, strict=True):
        draw(axis)
        axis.tick_params(axis="y", labelsize=8.5)
        axis.set_title(title, loc="left", fontweight="bold")
        sns.despine(ax=axis)
    return figures.signed(
        figure,
        "maps: squeezenet1_1 on a photograph of scikit-image; sign: basic_cnn, "
        "the others rectgrad_cnn, cifar10",
        "paper",
    )


def strip() -> Figure:
    """The photograph and its maps alone."""
    figures.style()
    figure = plt.figure(figsize=(9, 1.6), layout="constrained")
    maps(figure)
    return figure


if __name__ == "__main__":
    folder = Path(__file__).parent / "_static"
    (folder / "maps.png").write_bytes(figures.compact(strip(), dpi=150, colours=256).data)
    (folder / "poster.png").write_bytes(figures.compact(poster(), dpi=110, colours=256).data)
