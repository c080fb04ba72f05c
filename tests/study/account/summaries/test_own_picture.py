"""The sentences of the page on one's own picture."""

import pandas as pd

from study.account.summaries import own_picture


def test_it_says_what_was_seen_and_what_is_left():
    likeliest = pd.DataFrame({"class": ["cat", "dog"], "number": [1, 0], "probability": [0.7, 0.2]})
    left = pd.DataFrame(
        {
            "map": ["(nothing deleted)", "Saliency map", "RectGrad", "At random"],
            "1 % to grey": [0.7, 0.4, 0.1, 0.05],
        }
    )
    told = own_picture.in_short("net", likeliest, "cat", left, lambda name: f"<{name}>")
    assert told[0] == "<net> says <cat> with a probability of 70%; explained was <cat>."
    assert "<cat> is 10.0% to 40.0%" in told[1] and "5.0% if chance did" in told[1]
