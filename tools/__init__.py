"""The steps behind course.py; each runs as `python -m tools.NAME` in the course's environment."""

import os
from pathlib import Path


def called_from(path):
    """Return a path as seen from the folder that course.py was called in, which it leaves."""
    return Path(os.environ.get("BDNN_CALLED_FROM", "")) / Path(path).expanduser()
