"""What every sentence of a chapter must be."""

from __future__ import annotations

import re

WORDS = 25


def proper(lines: list[str]) -> list[str]:
    """The lines, of one sentence or of several, each of at most so many words, with a full stop."""
    for sentence in [s for line in lines for s in re.split(r"(?<=\.) ", line)]:
        assert sentence.endswith("."), sentence
        assert len(sentence.split()) <= WORDS, f"{len(sentence.split())} words: {sentence}"
        assert "nan" not in sentence, sentence
    return lines
