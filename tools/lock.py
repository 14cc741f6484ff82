"""Pin requirements.txt to one set of releases with hashes: `python3 -m tools.lock [--upgrade]`.

One lock serves Linux, macOS and Windows and every Python of the course. It is made by uv, which
only this step needs; installing from the lock needs nothing but pip. Existing pins are kept as
long as they fit; `--upgrade` takes the newest releases.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HEADER = """\
# Made from requirements.txt by `python3 -m tools.lock`; do not edit by hand.
# pip installs it with --require-hashes: a file that differs from these is refused.
"""
NO_UV = "uv is needed to make the lock: `python3 -m pip install uv`, or see its documentation."


def find_uv():
    """Return the command that starts uv, or stop with a message that says how to get it."""
    if shutil.which("uv"):
        return ["uv"]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise SystemExit(NO_UV)


def compile_lock(root, upgrade):
    """Write requirements.lock; settings of this machine's uv and pip are left aside."""
    lock = root / "requirements.lock"
    command = [*find_uv(), "pip", "compile", "--quiet", "--no-config", "--no-header", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "requirements.txt"]
    command += ["--output-file", "requirements.lock"] + ["--upgrade"] * upgrade
    settings = ("UV_", "PIP_", "VIRTUAL_ENV")
    env = {k: v for k, v in os.environ.items() if not k.startswith(settings)}
    if subprocess.run(command, cwd=root, env=env).returncode:
        raise SystemExit("uv found no set of releases; its message stands above.")
    lock.write_text(HEADER + lock.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"wrote {lock.name}")


def main():
    """Parse the command line and write the lock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases that fit")
    compile_lock(Path(__file__).resolve().parent.parent, parser.parse_args().upgrade)


if __name__ == "__main__":
    main()
