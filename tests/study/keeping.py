"""Subjects and studies whose results are kept, in whatever folder a test has named."""

from __future__ import annotations

from study.experiments.synthesis import Study
from study.subjects.subject import Subject


def keeping(studied: Subject | Study) -> Subject | Study:
    """The same, with `stored` set."""
    if isinstance(studied, Subject):
        return studied._replace(stored=True)
    kept = {
        name: value._replace(stored=True)
        for name, value in studied._asdict().items()
        if isinstance(value, Subject)
    }
    return studied._replace(**kept)
