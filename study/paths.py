"""Where things lie in the checkout, and which commit it is."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "data" / "cache"  # what can be computed again; ignored by git


@lru_cache
def commit() -> str:
    """Short commit of the code, with "+" if lib or study differs from it.

    Outside a checkout it is SIGN_NOISE_COMMIT, else "unknown".
    """

    def git(*words):
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", "lib", "study")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SIGN_NOISE_COMMIT", "unknown")
    return f"{head}+" if changed else head
