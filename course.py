#!/usr/bin/env python3
"""The front door of the course: `python3 course.py COMMAND` is all there is to know.

Every command first makes or repairs `.venv`, the course's own environment, from the hash-locked
`requirements.lock`; so any of them may be the first one on a fresh machine. The work itself is
done by `tools/COMMAND.py` in that environment. This file needs nothing but Python's standard
library and avoids new syntax, so that an old Python can run it far enough to be told so.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 11), (3, 13)

COMMANDS = {
    "run": "train on real digits, print the comparison table, write figures/ (the main job)",
    "test": "everything that continuous integration runs, cheapest gate first",
    "lab": "open JupyterLab on the notebooks",
    "grid": "record the trainings that the explorers of notebook 14 show",
    "build": "text notebooks -> executed notebooks with outputs -> modules of bdnn",
    "check": "the gates that need no kernel: pairs, outputs, exports, style, lock",
    "export": "text notebooks -> modules of bdnn, without executing anything",
    "site": "the course as a static site, to read without a kernel",
    "app": "notebook 14 alone as an application, without its code (Voila)",
    "scale": "record a training on 2 GB from a file, and evaluations on a cluster",
    "bench": "the performance table: every ratio beside its goal, peers in the same run",
}

# What a command needs beyond the course itself: extras of pyproject.toml, each with its own lock.
EXTRAS = {
    "app": ("app",),
    "test": ("bench", "browser", "fast", "hog", "parquet", "quality", "scale", "site"),
    "build": ("scale",),
    "lab": ("scale",),
    "site": ("site",),
    "bench": ("bench", "fast"),
    "scale": ("scale",),
}
WORD_EXTRAS = {"--paper": ("hog",), "cifar10-hog": ("hog",)}  # where its arguments have the word

HELP = """\
commands:
{}

The first command makes .venv (minutes, needs the network). What a command takes:
python3 course.py COMMAND --help. To begin: python3 course.py run"""

NO_ENSUREPIP = """\
This Python cannot make a virtual environment: its module `ensurepip` is missing
(Debian and Ubuntu ship it apart). Run
    sudo apt-get install -y python3-venv
and then the same command again."""

# What pip's log says, and what that means to you.
FAILURES = [
    (
        "DO NOT MATCH THE HASHES",
        "A downloaded file is not the one that requirements.lock names (hash mismatch).\n"
        "A proxy or a mirror may have altered it: try another network, or `pip cache purge`.",
    ),
    (
        "No space left on device",
        "The disk is full: the environment needs about 1 GB.",
    ),
    (
        r"Failed to establish a new connection|NameResolutionError|ConnectTimeout|"
        r"ReadTimeout|ProxyError|SSLError|Connection aborted|Network is unreachable",
        "The package index cannot be reached. The first command needs the network once;\n"
        "check the connection (or pip's proxy settings) and give the same command again.",
    ),
    (
        "No matching distribution found",
        "The package index does not answer, or does not have what requirements.lock names.\n"
        "Check the connection (or, if pip uses a mirror, the mirror) and try again.",
    ),
]


class SetupError(Exception):
    """Something the reader can mend; the message says how."""


def need_python(version):
    """Raise SetupError unless the course runs on this version of Python."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return
    oldest, newest, this = (".".join(map(str, v)) for v in (OLDEST, NEWEST, version[:3]))
    message = f"Python {oldest} to {newest} is needed; this is {this}."
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in names if shutil.which(name) and starts(name)]
    if found:
        raise SetupError(f"{message}\nThis machine has one: {found[0]} course.py ...")
    raise SetupError(message + "\nInstall one of these and start course.py with it.")


def starts(name):
    """Return True if this command is a Python that starts (pyenv's stand-ins may not)."""
    return subprocess.run([name, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0


class Progress:
    """One changing line on a terminal; elsewhere plain lines, every tenth package."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()

    def say(self, text):
        """Show a line that stays."""
        self.stream.write(("\r\033[K" if self.live else "") + text + "\n")
        self.stream.flush()

    def count(self, verb, done, total, name):
        """Show how far a count has come."""
        text = f"{verb} {done}/{total}: {name}"
        if self.live:
            self.stream.write("\r\033[K  " + text)
            self.stream.flush()
        elif done % 10 == 0:
            self.say("  " + text)


class Environment:
    """The folder .venv and everything that makes it complete.

    `.venv/ready` is written last and says what the environment was made from. No file, or another
    content, means that the environment is not to be trusted and is made or brought up to date.
    An extra is added when a command first needs it. Its lock holds the same pins as the main one,
    so it changes nothing that is installed, and an extra that fails leaves the rest as it was.
    Another `kind` of environment has a folder and a lock of its own, of that name.
    """

    def __init__(self, root, kind=""):
        self.root = Path(root)
        self.folder = self.root / (".venv-" + kind if kind else ".venv")
        self.marker = self.folder / "ready"
        self.log = self.root / (self.folder.name + "-install.log")
        self.lock = self.extra_lock(kind) if kind else self.root / "requirements.lock"
        scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        self.python = self.folder / scripts

    def wanted(self):
        """Return what the marker of a complete environment holds."""
        import tomllib  # there from Python 3.11 on, which main has made sure of

        tables = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        tables["tool"] = tables.get("tool", {}).get("setuptools")  # not the settings of ruff, ...
        tables["project"].pop("optional-dependencies", None)  # extras have their own locks
        inputs = self.lock.read_bytes() + json.dumps(tables, sort_keys=True).encode()
        digest = hashlib.sha256(inputs).hexdigest()
        version = ".".join(map(str, sys.version_info[:2]))
        return {"python": version, "root": str(self.root), "inputs": digest}

    def found(self):
        """Return what the marker holds; an empty dictionary if there is none."""
        try:
            return json.loads(self.marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def is_ready(self):
        """Return True if the environment is complete and made from today's files."""
        found = self.found()
        found.pop("extras", None)
        return self.python.exists() and found == self.wanted()

    def lacks(self, extras):
        """Return those of the extras that are not installed as locked today."""
        installed = self.found().get("extras", {})
        return [name for name in extras if installed.get(name) != self.extra_digest(name)]

    def extra_lock(self, name):
        """Return the path of the lock of an extra."""
        return self.root / "requirements" / (name + ".lock")

    def extra_digest(self, name):
        """Return the SHA-256 of the lock of an extra."""
        return hashlib.sha256(self.extra_lock(name).read_bytes()).hexdigest()

    def ensure(self, progress, extras=()):
        """Make or complete the environment unless it is ready; two starts at once take turns."""
        if self.is_ready() and not self.lacks(extras):
            return
        with one_at_a_time(self.root / (self.folder.name + ".lock"), progress):
            if not self.is_ready():
                self.make(progress)
            for name in self.lacks(extras):
                self.add(name, progress)

    def add(self, name, progress):
        """Install an extra and say so in the marker."""
        progress.say(f"adding to .venv the packages of the extra `{name}`")
        self.install_locked(self.extra_lock(name), progress)
        found = self.found()
        found["extras"] = {**found.get("extras", {}), name: self.extra_digest(name)}
        self.mark(found)

    def make(self, progress):
        """Bring the environment to completion, or leave none behind."""
        found, wanted = self.found(), self.wanted()
        keep = all(found.get(key) == wanted[key] for key in ("python", "root")) and self.has_pip()
        if not keep:
            need_ensurepip()
        try:
            if keep:
                progress.say(f"bringing {self.folder.name} up to date with {self.lock.name}")
                self.marker.unlink()
            else:
                self.create(progress)
            self.install(progress)
            self.mark(wanted)
        except BaseException:
            remove(self.folder)
            name = self.folder.name
            progress.say(f"The unfinished {name} has been removed; the same command starts afresh.")
            raise
        progress.say(f"  {self.folder.name} is ready")

    def create(self, progress):
        """Make an empty environment with pip in it."""
        if os.path.lexists(str(self.folder)):
            what = "which is incomplete or was made for another place"
            progress.say(f"replacing {self.folder.name}, {what}")
        progress.say(f"making {self.folder.name} (once; one to three minutes)")
        remove(self.folder)
        # the Python underneath, also when this one runs inside the .venv that is to go
        base = getattr(sys, "_base_executable", None) or sys.executable
        self.call([base, "-m", "venv", "--prompt", "bdnn", str(self.folder)], open_log="w")

    def has_pip(self):
        """Return True if the environment has a pip that starts."""
        try:
            command = [str(self.python), "-m", "pip", "--version"]
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False

    def install(self, progress):
        """Install the locked packages, then the package of this repository."""
        self.install_locked(self.lock, progress)
        self.pip(["--no-deps", "--no-build-isolation", "--editable", str(self.root)])

    def install_locked(self, lock, progress):
        """Install what a lock pins."""
        watcher = PipWatcher(lock.read_text(encoding="utf-8"), progress)
        self.pip(["--require-hashes", "-r", str(lock)], watcher)

    def pip(self, arguments, watch=None):
        """Run `pip install` in the environment."""
        command = [str(self.python), "-m", "pip", "install", "--progress-bar", "off"]
        self.call(command + arguments, watch)

    def call(self, command, watch=None, open_log="a"):
        """Run a step of the set-up with its output in the log; raise SetupError if it fails."""
        variables = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
        with open(str(self.log), open_log, encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=str(self.root),
                env=dict(os.environ, **variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
            try:
                for line in process.stdout:
                    log.write(line)
                    if watch:
                        watch(line)
            except BaseException:
                process.terminate()
                raise
            finally:
                process.stdout.close()
                process.wait()
        if process.returncode:
            raise SetupError(diagnose(self.log))

    def mark(self, content):
        """Write the marker; from here on the environment counts as complete."""
        new = self.marker.with_name("ready.new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(str(new), str(self.marker))


class PipWatcher:
    """Turn the lines that pip prints into a count."""

    def __init__(self, lock_text, progress):
        self.total = len(re.findall(r"^[A-Za-z0-9._-]+==", lock_text, flags=re.M))
        self.done = 0
        self.progress = progress

    def __call__(self, line):
        if line.startswith("Ignoring "):  # a pin for another system or Python
            self.total -= 1
        found = re.match(r"(?:Collecting|Processing|Requirement already satisfied:) (\S+)", line)
        if found:  # "name==1.0" or the path of a file "name-1.0-..."
            file = re.split(r"[/\\]", found.group(1))[-1]
            self.done += 1
            self.progress.count("fetching", self.done, self.total, re.split(r"==|-\d", file)[0])
        elif "Retrying (Retry(" in line:
            self.progress.say("  the package index does not answer; trying again")
        elif line.startswith("Installing collected packages:"):
            self.progress.say(f"  installing {line.count(',') + 1} packages")


def need_ensurepip():
    """Raise SetupError if this Python cannot make an environment with pip in it."""
    if not all(importlib.util.find_spec(name) for name in ("ensurepip", "venv")):
        raise SetupError(NO_ENSUREPIP)


def diagnose(log):
    """Return what a failed set-up means: a known cause, or the end of the log."""
    text = log.read_text(encoding="utf-8")
    causes = [meaning for pattern, meaning in FAILURES if re.search(pattern, text)]
    reason = causes[0] if causes else "Its last lines:\n" + "\n".join(text.splitlines()[-12:])
    return f"The environment could not be made.\n{reason}\nThe whole log: {log.name}"


def remove(folder):
    """Remove the environment's folder, whatever it is."""
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(str(folder))
    except PermissionError as error:
        message = f"{folder} cannot be removed ({error}): close the programs that use it."
        raise SetupError(message) from None


@contextlib.contextmanager
def one_at_a_time(path, progress):
    """Hold the lock file `path`; the system frees it when its holder ends, however it ends."""
    with open(str(path), "a") as file:
        if not try_lock(file):
            progress.say("another course.py is making .venv; waiting for it")
            while not try_lock(file, wait=True):
                pass
        yield


if os.name == "nt":
    import msvcrt

    def try_lock(file, wait=False):
        """Lock the file's first byte; return False if another process holds it."""
        with contextlib.suppress(OSError):
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            return True
        return False
else:
    import fcntl

    def try_lock(file, wait=False):
        """Lock the file; return False if another process holds it and we are not to wait."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


def stop_on_termination():
    """Let a termination signal unwind the stack as Ctrl-C does, so that nothing stays behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def hand_over(environment, command, arguments):
    """Run tools/COMMAND.py in the environment, in place of this process where that can be."""
    os.environ["BDNN_CALLED_FROM"] = os.getcwd()  # see tools.called_from
    os.chdir(str(environment.root))
    bin_folder = str(environment.python.parent)
    os.environ["VIRTUAL_ENV"] = str(environment.folder)
    os.environ["PATH"] = bin_folder + os.pathsep + os.environ.get("PATH", "")
    os.environ.pop("PYTHONHOME", None)
    line = [str(environment.python), "-m", "tools." + command] + arguments
    if os.name == "nt":
        return subprocess.call(line)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(line[0], line)


def parse(argv):
    """Return (command, its arguments); with no command print the help and stop."""
    parser = argparse.ArgumentParser(
        prog="course.py",
        usage="python3 course.py COMMAND [OPTIONS]",
        description="A course on learning to hash with binary deep neural networks.",
        epilog=HELP.format("\n".join(f"  {name:8}{text}" for name, text in COMMANDS.items())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", choices=COMMANDS, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if not argv or argv[0] in ("-h", "--help", "help"):
        parser.print_help()
        raise SystemExit(0)
    parsed = parser.parse_args(argv)
    return parsed.command, parsed.arguments


def wanted_extras(command, arguments):
    """Return the extras that a command needs, given its arguments."""
    extras = [EXTRAS.get(command, ()), *(WORD_EXTRAS.get(word, ()) for word in arguments)]
    return tuple(dict.fromkeys(extra for some in extras for extra in some))


def main(argv=None):
    """Make sure of the environment, then do what the command line says."""
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    stop_on_termination()
    extras, kind = wanted_extras(command, arguments), ""
    if command == "test" and "--oldest" in arguments:
        command, arguments, extras, kind = "oldest", [], (), "oldest"
    environment = Environment(ROOT, kind)
    try:
        need_python(sys.version_info)
        environment.ensure(Progress(), extras)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return hand_over(environment, command, arguments)


if __name__ == "__main__":
    sys.exit(main())
