"""Small explorers in chapters: some controls of the live page, below a figure of the chapter.

They run the live page's scripts and so show its numbers; nothing is loaded before the reader asks
for it. Each leads to the live page in the state that it is in.
"""

from __future__ import annotations

import html
from typing import NamedTuple


class Small(NamedTuple):
    """Where a small explorer stands, what it says, its first state, and its controls."""

    figure: str  # the name of the figure that it stands below
    text: str
    state: str  # as in the live page's address
    left: str
    right: str


PICTURES = """<fieldset>
<legend>Picture</legend>
<div class="live-thumbs" id="live-pictures"></div>
<p class="live-note" id="live-origin"></p>
</fieldset>
"""
CLASSES = """<fieldset>
<legend>Explained class <span class="live-unit">probability</span></legend>
<div id="live-classes"></div>
</fieldset>
"""
Q = """<div class="live-labelled">
<label for="live-q">RectGrad’s percentile <i>q</i></label>
<span id="live-q-value"></span>
</div>
<input type="range" id="live-q" min="0" max="99.9" step="0.1">
"""
UNITS = """<fieldset>
<legend>Units that pass something back <span class="live-unit" id="live-passing-of"></span></legend>
<div class="live-passing" id="live-passing"></div>
</fieldset>
"""
DELETED = """<div class="live-labelled">
<label for="live-fraction">Deleted by <span id="live-ranked-by"></span></label>
<span id="live-fraction-value"></span>
</div>
<input type="range" id="live-fraction" min="0" max="0.9" step="0.01">
<div class="live-choice" id="live-fills" role="group" aria-label="Fill"></div>
"""
SCALE = '<div class="live-scale" id="live-scale"></div>\n'


def shown(name: str) -> str:
    """The picture, `before` or `after` the deletion, with what the network says of it."""
    return (
        f'<figure><canvas id="live-{name}" width="32" height="32" role="img"></canvas>'
        f'<figcaption id="live-{name}-says"></figcaption></figure>\n'
    )


def maps(*methods: str) -> str:
    return f'<div class="live-grid" id="live-grid" data-methods="{" ".join(methods)}"></div>\n'


SIGNED = ("saliency", "positive", "negative", "active", "inactive")
SMALL = {
    "01_sign_importance": Small(
        "fig-sign-three",
        "Signed maps of paper Noise’s small network. Saliency is this chapter’s original map; "
        "active and inactive maps compare all classes (chapter 2).",
        "net=cifar10&p=26&m=saliency&r=absmax",
        PICTURES + CLASSES,
        f'{SCALE}<div class="live-beside">{shown("before")}{maps(*SIGNED)}</div>',
    ),
    "04_rectgrad": Small(
        "fig-threshold",
        "Move <i>q</i> on paper Noise’s small network: which pixels stay in RectGrad’s map, and "
        "how many units still pass something back?",
        "net=cifar10&p=26",
        PICTURES,
        f'{Q}{SCALE}<div class="live-pair">{shown("before")}{maps("rectgrad")}</div>{UNITS}',
    ),
    "05_deletion_benchmark": Small(
        "fig-deletion-strip",
        "Delete pixels: when does paper Noise’s small network change its mind?",
        "net=cifar10&p=26&m=positive&r=absmax",
        f"{PICTURES}<fieldset><legend>Map</legend>{SCALE}{maps(*SIGNED, 'random')}</fieldset>",
        f'{DELETED}<div class="live-pair">{shown("before")}{shown("after")}</div>'
        '<div id="live-curves" data-so-far></div>',
    ),
}
# the live page's elements by their names, so that its scripts find them
BLOCK = """```{{raw}} html
<section class="admonition live-small" aria-labelledby="live-title">
<p class="admonition-title" id="live-title">Try it</p>
<p>{text}</p>
<p><span id="live-still"><button type="button" id="live-start" \
class="btn btn-sm" style="color: inherit; border: 1px solid" hidden>Try it here</button> \
<noscript>JavaScript is off: with it, this is computed here for what you choose.</noscript> \
<span id="live-loading" role="status"></span> </span>\
<a id="live-open" href="live.html#{state}">Open in the explorer</a></p>
<div id="live" data-state="{state}" hidden>
<div class="live-columns">
<div class="live-input">
{left}</div>
<div>
{right}</div>
</div>
<p class="live-status" role="status" id="live-status"></p>
</div>
</section>
<script src="../_static/live/start.js"></script>
```"""


def block(small: Small) -> str:
    """The small explorer as Markdown."""
    given = small._asdict() | {"state": html.escape(small.state)}
    return BLOCK.format(**given)


def insert(notebook, name: str) -> None:
    """Put the chapter's small explorer, if it has one, below its figure.

    ValueError: the chapter has no figure of that name.
    """
    from nbformat.v4 import new_markdown_cell

    if name not in SMALL:
        return
    figure = SMALL[name].figure
    names = [c.metadata.get("mystnb", {}).get("figure", {}).get("name") for c in notebook.cells]
    if figure not in names:
        raise ValueError(
            f"{name} has no figure named {figure}; name in book/small.py one that it has."
        )
    cell = new_markdown_cell(block(SMALL[name]), id="small-explorer")
    notebook.cells.insert(names.index(figure) + 1, cell)
