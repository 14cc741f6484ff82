#!/usr/bin/env python3
"""The front door of the course: `python3 course.py COMMAND` is all there is to know.

Every command first makes or completes `.venv`, the course's own environment, from the releases and
hashes in `requirements.lock`, so any of them may be the first on a fresh machine; then it hands
over to `tools/COMMAND.py` there. Nothing is needed but Python's standard library, and no new syntax
is used, so that an old Python gets far enough to say that it is too old.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parent
VENV, LOCK = ROOT / ".venv", ROOT / "requirements.lock"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MARKER = VENV / "ready"  # written last; says what the environment is complete for

# What a command does, and the extras of pyproject.toml that it needs beside `course` and `tools`.
COMMANDS = {
    "run": ("train on real digits, print the table, write figures/ (the main job)", ""),
    "test": ("every check, as CI runs it", "bench fast hdf5 hog parquet scale search site test"),
    "lab": ("open JupyterLab on the notebooks", "scale search"),
    "grid": ("record the trainings that the explorers of notebook 14 show", ""),
    "build": ("text notebooks -> executed ones with outputs -> modules of bdnn", "scale search"),
    "check": ("the gates that need no kernel: pairs, outputs, exports, style, lock", ""),
    "export": ("text notebooks -> modules of bdnn, without executing anything", ""),
    "exercises": ("texts -> exercises for students; --key: the solutions; --mark: marks", ""),
    "site": ("the course as a static site, to read without a kernel", "scale site"),
    "scale": ("record a training on 2 GB from a file, evaluations on a cluster", "scale"),
    "bench": ("the performance table: every ratio beside its goal", "bench fast search"),
}
EXTRAS = {"--paper": "hog", "cifar10-hog": "hog", "--print": "test"}  # of words of a command line
HELP = """usage: python3 course.py COMMAND [OPTIONS]
{}

The first command makes .venv (a minute or less, needs the network); to begin afresh, remove it.
What a command takes: python3 course.py COMMAND --help. To begin: python3 course.py run"""
NO_ENSUREPIP = """This Python cannot make a virtual environment: its module `ensurepip` is missing
(Debian and Ubuntu ship it apart). Run `sudo apt-get install -y python3-venv`, then this again."""
FAILURES = {  # what pip and uv say, and what that means to you
    "DO NOT MATCH THE HASHES|Hash mismatch": "A downloaded file is not the one that"
    " requirements.lock names (hash mismatch).\nA proxy may have altered it: try another network.",
    "No space left|not enough space": "The disk is full: .venv and the downloads need 2 GB.",
    "NewConnection|NameResolution|Timeout|ProxyError|SSLError|sending request|to fetch": "The"
    " package index cannot be reached: check the network (HTTPS_PROXY?) and try again.",
    "No matching distribution|No solution": "The package index lacks what requirements.lock names"
    " for this Python and system.\nTake another Python, or mend the mirror, if there is one.",
}


def say(text):
    """Tell how the set-up goes; standard output belongs to the commands."""
    print(text, file=sys.stderr, flush=True)


def need_python(version):
    """Stop unless the course runs on this version of Python; name one that is there."""
    if (3, 11) <= version[:2] <= (3, 15):
        return
    message = "Python 3.11 to 3.14 is needed; this is {}.{}.{}.\n".format(*version)
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        if shutil.which(name) and not subprocess.call([name, "-c", ""], stderr=subprocess.DEVNULL):
            sys.exit(f"{message}This machine has one: {name} course.py ...")
    sys.exit(message + "Install one of these and start course.py with it.")


def found():
    """Return what the marker holds; an empty dictionary if there is no whole environment."""
    try:
        return json.loads(MARKER.read_text()) if PYTHON.exists() else {}
    except (OSError, ValueError):
        return {}


def made_from():
    """Return what the environment is made from: the Python, the place, the contents of files."""
    inputs = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    place = [*sys.version_info[:2], str(ROOT)]
    return {"place": place, "inputs": hashlib.sha256(inputs).hexdigest()}


def has(extras):
    """Return True if the environment is complete, by today's files and for these extras."""
    marker = found()
    return marker.items() >= made_from().items() and set(marker["extras"]) >= set(extras)


def make(extras):
    """Make the environment, or leave none behind; one that is there is brought up to date."""
    marker, inputs = found(), made_from()
    if marker.get("place") == inputs["place"]:
        say("bringing .venv up to date")
        extras = sorted({*extras, *marker["extras"]})
        MARKER.write_text(json.dumps({**marker, "broken": True}))
        # what an interruption has left half-installed would pass for installed
        install(extras, ["--reinstall"] * marker["broken"])
    elif not all(map(importlib.util.find_spec, ("ensurepip", "venv"))):
        sys.exit(NO_ENSUREPIP)
    else:
        say("making .venv (once; a minute or less)")
        try:
            # by the Python underneath, also when this one runs inside the .venv that is to go
            call([sys._base_executable, "-m", "venv", "--clear", "--prompt", "bdnn", VENV])
            pin = re.search(r"^uv==.*\n(    --hash.*\n)+", LOCK.read_text(), re.M).group()
            (VENV / "uv.txt").write_text(pin)
            call([PYTHON, "-m", "pip", "install", "--require-hashes", "-r", VENV / "uv.txt"])
            install(extras)
        except BaseException:
            shutil.rmtree(VENV, ignore_errors=True)
            say("The unfinished .venv has been removed; the same command starts afresh.")
            raise
    MARKER.write_text(json.dumps({**inputs, "extras": extras, "broken": False}))


def install(extras, options=()):
    """Install the package of this repository, and what it needs as the lock has it."""
    uv = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "-c", LOCK, "-b", LOCK]
    call([*uv, *options, "-e", f".[{','.join(extras)}]"])


def call(command):
    """Run a step of the set-up, naming what it downloads; stop with the reason if it fails."""
    env = {"UV_SYSTEM_CERTS": "1", **os.environ, "PIP_USER": "0", "PIP_NO_INPUT": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "errors": "replace"}
    output = ""
    with subprocess.Popen(command, cwd=ROOT, env=env, **pipes) as process:
        for line in process.stdout:
            output += line
            if line.startswith("Downloading "):
                say("  " + line.rstrip())
    if process.returncode:
        known = [meaning for pattern, meaning in FAILURES.items() if re.search(pattern, output)]
        sys.exit("The environment could not be made.\n" + [*known, output[-2000:]][0])


def take_turns(file):
    """Lock a file, after its holder if there is one; its end, however it comes, frees the file."""
    while True:
        try:
            if os.name == "nt":
                return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            say("another course.py is making .venv; waiting for it")
            time.sleep(3)


def hand_over(command, arguments):
    """Run tools/COMMAND.py in the environment, in place of this process where that can be."""
    path = str(PYTHON.parent) + os.pathsep + os.environ.get("PATH", "")
    os.environ.update(VIRTUAL_ENV=str(VENV), PATH=path, BDNN_CALLED_FROM=os.getcwd())
    os.chdir(ROOT)
    line = [str(PYTHON), "-m", f"tools.{command}", *arguments]
    return subprocess.call(line) if os.name == "nt" else os.execv(line[0], line)


def main(argv):
    """Make sure of the environment, then do what the command line says."""
    command, *arguments = argv or ["help"]
    if command in ("help", "-h", "--help"):
        return print(HELP.format("\n".join(f"  {n:10}{t}" for n, (t, _) in COMMANDS.items())))
    if command not in COMMANDS:
        say(f"course.py has no command {command!r}, but: {', '.join(COMMANDS)}")
        return 2
    need_python(sys.version_info)
    what, extras = COMMANDS[command]
    extras = ["course", "tools", *extras.split()]
    extras += {extra for word, extra in EXTRAS.items() if word in " ".join(arguments)}
    try:
        if "--help" in arguments or "-h" in arguments:  # installs nothing
            if not found():
                return print(f"{command}: {what}.\nIts options can be told once .venv is there.")
        elif not has(extras):
            with open(ROOT / ".venv.lock", "a") as file:
                take_turns(file)
                make(extras)
    except OSError as error:
        sys.exit(f".venv cannot be made here: {error}")
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    return hand_over(command, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
