"""Pin the requirements to one set of releases with hashes: `python3 -m tools.lock [--upgrade]`.

`requirements.lock` answers `requirements.txt`; `requirements/EXTRA.lock` answers an extra of
`pyproject.toml` that the course installs, with the same pins for what both contain;
`requirements/oldest.lock` holds the lowest releases that the library allows. One lock serves
Linux, macOS and Windows and every Python of the course. It is made by uv, which only this step
needs; installing from a lock needs nothing but pip. Existing pins are kept as long as they fit;
`--upgrade` takes the newest releases.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib

from tools.notebooks import ROOT

HEADER = """\
# Made from {} by `python3 -m tools.lock`; do not edit by hand.
# pip installs it with --require-hashes: a file that differs from these is refused.
"""
TESTERS = ("pytest", "pytest-xdist", "hypothesis", "setuptools")
NO_UV = "uv is needed to make the lock: `python3 -m pip install uv`, or see its documentation."


def find_uv():
    """Return the command that starts uv, or stop with a message that says how to get it."""
    if shutil.which("uv"):
        return ["uv"]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise SystemExit(NO_UV)


def compile_lock(root, source, lock, options, ranges=None):
    """Write a lock from the file `source`, or, if that is "-", from the ranges given.

    Settings of this machine's uv and pip are left aside.
    """
    command = [*find_uv(), "pip", "compile", "--quiet", "--no-config", "--no-header", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", source, "--output-file", lock]
    settings = ("UV_", "PIP_", "VIRTUAL_ENV")
    env = {k: v for k, v in os.environ.items() if not k.startswith(settings)}
    if subprocess.run([*command, *options], cwd=root, env=env, input=ranges, text=True).returncode:
        raise SystemExit("uv found no set of releases; its message stands above.")
    path, origin = root / lock, source if ranges is None else "pyproject.toml"
    path.write_text(HEADER.format(origin) + path.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"wrote {lock}")


def locked_extras(project):
    """Return {name: ranges} of the extras with locks of their own, given the table `project`."""
    extras = project.get("optional-dependencies", {})
    return {name: ranges for name, ranges in extras.items() if name != "course"}


def oldest_ranges(project, lock):
    """Return the ranges of the library and its extras, and the pins of the tools that test it.

    `lock` is the text of requirements.lock.
    """
    tools = "|".join(TESTERS)
    pins = re.findall(rf"^(?:{tools})==[^\s;]+", lock, flags=re.MULTILINE)
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["parquet"], *extras["scale"], *pins]


def main():
    """Parse the command line and write the locks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases that fit")
    options = ["--upgrade"] * parser.parse_args().upgrade
    compile_lock(ROOT, "requirements.txt", "requirements.lock", options)
    (ROOT / "requirements").mkdir(exist_ok=True)
    options += ["--constraint", "requirements.lock"]
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, ranges in locked_extras(tables["project"]).items():
        compile_lock(ROOT, "-", f"requirements/{name}.lock", options, "\n".join(ranges))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    ranges = "\n".join(oldest_ranges(tables["project"], lock))
    lowest = ["--resolution", "lowest-direct", "--upgrade"]  # an existing pin may be too high
    compile_lock(ROOT, "-", "requirements/oldest.lock", lowest, ranges)


if __name__ == "__main__":
    main()
