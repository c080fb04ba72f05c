"""What every sentence of a chapter must be."""

from __future__ import annotations

WORDS = 25


def proper(sentences: list[str]) -> list[str]:
    """The sentences, each of at most so many words, with a full stop."""
    for sentence in sentences:
        assert sentence.endswith("."), sentence
        assert len(sentence.split()) <= WORDS, f"{len(sentence.split())} words: {sentence}"
        assert "nan" not in sentence, sentence
    return sentences
