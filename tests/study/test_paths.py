"""Which commit the checkout is."""

from __future__ import annotations

import subprocess

import pytest

from study import paths


@pytest.fixture
def fresh_commit():
    paths.commit.cache_clear()
    yield paths.commit
    paths.commit.cache_clear()


def test_commit_says_whether_lib_differs(tmp_path, monkeypatch, fresh_commit):
    def git(*words):
        return subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("a = 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "--short", "HEAD")
    (tmp_path / "book.md").write_text("no code")
    assert fresh_commit() == head
    fresh_commit.cache_clear()
    (tmp_path / "lib" / "a.py").write_text("a = 2")
    assert fresh_commit() == f"{head}+"


def test_commit_outside_a_checkout(tmp_path, monkeypatch, fresh_commit):
    monkeypatch.setattr(paths, "ROOT", tmp_path / "nowhere")
    monkeypatch.delenv("SIGN_NOISE_COMMIT", raising=False)
    assert fresh_commit() == "unknown"
    fresh_commit.cache_clear()
    monkeypatch.setenv("SIGN_NOISE_COMMIT", "abc1234")
    assert fresh_commit() == "abc1234"
