"""ruff, as the other tools call it."""

import subprocess

from ruff import find_ruff_bin


def ruff(root, *arguments, text=None):
    """Run ruff in `root`, on `text` if there is one, and return what it prints.

    Finding something is no failure; not being able to run is, and raises RuntimeError.
    """
    done = subprocess.run(
        [find_ruff_bin(), *arguments], input=text, text=True, capture_output=True, cwd=root
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"ruff could not run: {done.stderr}")
    return done.stdout
