"""The front door: clear refusals, and an environment that is complete or not there at all."""

import ast
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import course
from tools import called_from, oldest

ROOT = Path(course.__file__).parent
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "sample"
version = "1.0"
"""
BACKEND = """
from zipfile import ZipFile

def build_editable(folder, settings=None, metadata=None):
    name, info = "sample-1.0-py3-none-any.whl", "sample-1.0.dist-info/"
    with ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("sample.py", "ANSWER = 42")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: sample\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


class Fake(course.Environment):
    """An environment whose slow steps only pretend; `fails` names the step that breaks."""

    fails = None

    def __init__(self, root, error=None):
        super().__init__(root)
        self.error, self.steps = error, []

    def call(self, command, watch=None, open_log="a"):
        lock = Path(command[-1]).stem  # "requirements", or the name of an extra
        locked = "locked" if lock == "requirements" else lock
        step = "create" if "venv" in command else "own" if "--editable" in command else locked
        self.steps.append(step)
        if step == "create":
            self.python.parent.mkdir(parents=True)
            self.python.symlink_to(sys.executable)
        if step == self.fails:
            raise self.error

    def has_pip(self):
        return self.python.exists()


@pytest.fixture
def site(tmp_path):
    """A repository with a lock and nothing else that the front door looks at."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "requirements.lock").write_text("tiny==1.0 \\\n    --hash=sha256:0\n")
    return tmp_path


@pytest.fixture
def quiet():
    return course.Progress(io.StringIO())


def said(progress):
    return progress.stream.getvalue()


# What the command line understands


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"], ["help"]])
def test_the_help_names_every_command(line, capsys):
    with pytest.raises(SystemExit) as stop:
        course.parse(line)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in course.COMMANDS if f"\n  {name} " not in text] == []


def test_an_unknown_command_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        course.parse(["tset"])
    assert stop.value.code == 2
    assert "invalid choice: 'tset' (choose from" in capsys.readouterr().err


def test_all_that_follows_the_command_reaches_its_tool():
    line = ["run", "--help", "--bits", "8", "16", "-h"]
    assert course.parse(line) == ("run", line[1:])


@pytest.mark.parametrize("command", sorted(course.COMMANDS))
def test_every_command_has_its_tool(command):
    assert (ROOT / "tools" / f"{command}.py").exists()


@pytest.mark.skipif(os.name == "nt", reason="there it waits for the tool instead")
def test_a_tool_learns_the_folder_of_the_call(site, tmp_path, monkeypatch):
    found = []
    monkeypatch.setenv("BDNN_CALLED_FROM", "of an outer call")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("VIRTUAL_ENV", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", lambda *_: found.extend([os.getcwd(), called_from("a/b")]))
    course.hand_over(course.Environment(site), "run", [])
    assert found == [str(site), tmp_path / "a/b"]
    assert called_from(site / "x") == site / "x" and called_from("~/x") == Path.home() / "x"


# Refusals before anything is made


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 10, 0), (3, 14, 1), (2, 7, 18)])
def test_other_pythons_are_told_which_is_needed(version, monkeypatch):
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    this = ".".join(map(str, version))
    with pytest.raises(
        course.SetupError, match=f"3.11 to 3.13 is needed; this is {this}.\nInstall"
    ):
        course.need_python(version)


def test_a_fitting_python_on_the_machine_is_named(monkeypatch):
    monkeypatch.setattr(course.shutil, "which", lambda name: name != "python3.13")
    monkeypatch.setattr(course, "starts", lambda name: name != "python3.11")
    with pytest.raises(course.SetupError, match="This machine has one: python3.12 course.py"):
        course.need_python((3, 9, 1))


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 1), (3, 13, 9)])
def test_the_pythons_of_the_course_pass(version):
    assert course.need_python(version) is None


def test_an_old_python_gets_the_message_and_makes_nothing(site, monkeypatch, capsys):
    monkeypatch.setattr(course, "ROOT", site)
    monkeypatch.setattr(course.sys, "version_info", (3, 9, 2, "final", 0))
    assert course.main(["check"]) == 1
    assert "3.11 to 3.13 is needed; this is 3.9.2" in capsys.readouterr().err
    assert not (site / ".venv").exists()


def test_an_old_python_can_read_the_file():
    source = (ROOT / "course.py").read_text()
    assert ast.parse(source, feature_version=(3, 8)).body
    with pytest.raises(SyntaxError):  # so much for the check itself
        ast.parse("match x:\n    case 1: pass", feature_version=(3, 8))


def test_without_ensurepip_nothing_is_made(site, quiet, monkeypatch):
    find = course.importlib.util.find_spec
    monkeypatch.setattr(
        course.importlib.util, "find_spec", lambda name: name != "ensurepip" and find(name)
    )
    environment = Fake(site)
    with pytest.raises(course.SetupError, match="apt-get install -y python3-venv"):
        environment.ensure(quiet)
    assert environment.steps == []
    assert not environment.folder.exists()


# Complete, or not there


def test_the_steps_in_order_and_the_marker_last(site, quiet):
    environment = Fake(site)
    environment.ensure(quiet)
    assert environment.steps == ["create", "locked", "own"]
    assert environment.is_ready()
    environment.ensure(quiet)
    assert environment.steps == ["create", "locked", "own"]  # nothing done twice


@pytest.mark.parametrize("step", ["create", "locked", "own"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), course.SetupError("no luck")])
def test_a_step_that_breaks_leaves_nothing_behind(site, quiet, step, error):
    environment = Fake(site, error)
    environment.fails = step
    with pytest.raises(type(error)):
        environment.ensure(quiet)
    assert not environment.folder.exists()
    assert "The unfinished .venv has been removed" in said(quiet)
    environment.fails = None
    environment.ensure(quiet)
    assert environment.is_ready()


def test_ctrl_c_and_failure_end_with_their_exit_codes(monkeypatch, capsys):
    def interrupted(self, progress, extras):
        raise KeyboardInterrupt

    def failed(self, progress, extras):
        raise course.SetupError("the reason")

    monkeypatch.setattr(course, "stop_on_termination", lambda: None)
    monkeypatch.setattr(course.Environment, "ensure", interrupted)
    assert course.main(["check"]) == 130
    monkeypatch.setattr(course.Environment, "ensure", failed)
    assert course.main(["check"]) == 1
    assert capsys.readouterr().err.endswith("the reason\n")


def test_a_new_lock_is_installed_into_the_old_environment(site, quiet):
    Fake(site).ensure(quiet)
    (site / "requirements.lock").write_text("tiny==1.1 \\\n    --hash=sha256:1\n")
    environment = Fake(site)
    assert not environment.is_ready()
    environment.ensure(quiet)
    assert environment.steps == ["locked", "own"]


@pytest.fixture
def extra(site):
    """The lock of an extra."""
    (site / "requirements").mkdir()
    path = site / "requirements" / "more.lock"
    path.write_text("more==1.0 \\\n    --hash=sha256:0\n")
    return path


def test_an_extra_is_added_once_and_again_when_its_lock_is_new(site, quiet, extra):
    environment = Fake(site)
    environment.ensure(quiet, ["more"])
    assert environment.steps == ["create", "locked", "own", "more"]
    environment.ensure(quiet, ["more"])
    environment.ensure(quiet)
    assert environment.steps == ["create", "locked", "own", "more"]
    extra.write_text("more==1.1 \\\n    --hash=sha256:1\n")
    environment.ensure(quiet)
    environment.ensure(quiet, ["more"])
    assert environment.steps == ["create", "locked", "own", "more", "more"]


def test_a_new_environment_has_no_extras_left_from_the_old_one(site, quiet, extra):
    Fake(site).ensure(quiet, ["more"])
    environment = Fake(site)
    lose_python(environment)
    environment.ensure(quiet)
    assert environment.lacks(["more"]) == ["more"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), course.SetupError("no luck")])
def test_an_extra_that_fails_leaves_the_environment_as_it_was(site, quiet, extra, error):
    Fake(site).ensure(quiet)
    environment = Fake(site, error)
    environment.fails = "more"
    with pytest.raises(type(error)):
        environment.ensure(quiet, ["more"])
    assert environment.is_ready()
    assert environment.lacks(["more"]) == ["more"]


def test_every_extra_that_a_command_needs_has_a_lock():
    assert set(course.EXTRAS) <= set(course.COMMANDS)
    tables = [*course.EXTRAS.values(), *course.WORD_EXTRAS.values()]
    names = {name for extras in tables for name in extras}
    assert [n for n in names if not course.Environment(ROOT).extra_lock(n).exists()] == []


def test_the_oldest_dependencies_have_an_environment_of_their_own(monkeypatch):
    seen = []
    monkeypatch.setattr(course.Environment, "ensure", lambda *args: seen.append(args[0]))
    monkeypatch.setattr(course, "hand_over", lambda *args: seen.extend(args[1:]) or 7)
    assert course.main(["test", "--oldest"]) == 7
    environment, command, arguments = seen
    assert (command, arguments) == ("oldest", []) and (ROOT / "tools/oldest.py").exists()
    assert environment.folder == ROOT / ".venv-oldest"
    assert environment.lock == ROOT / "requirements/oldest.lock" and environment.lock.exists()
    assert course.main(["test", "--quick"]) == 7
    assert seen[3].folder == ROOT / ".venv" and seen[4:] == ["test", ["--quick"]]


def test_the_tests_of_the_library_need_no_tools():
    names = {path.name for path in oldest.library_tests(ROOT)}
    assert {"test_bad_input.py", "test_scale.py", "test_unsupervised.py"} <= names
    assert not names & {"test_course.py", "test_gates.py", "test_build.py", "test_run.py"}


def test_words_among_the_arguments_need_extras():
    assert course.wanted_extras("run", ["--data", "mnist"]) == ()
    assert course.wanted_extras("run", ["--paper", "--data", "cifar10-hog"]) == ("hog",)
    assert course.wanted_extras("test", []) == course.EXTRAS["test"]


def test_settings_of_tools_need_no_new_installation(site, quiet):
    Fake(site).ensure(quiet)
    extras = "\n[project.optional-dependencies]\nmore = []\n"
    (site / "pyproject.toml").write_text(PROJECT + extras + "[tool.ruff]\nline-length = 100\n")
    assert Fake(site).is_ready()
    (site / "pyproject.toml").write_text(PROJECT.replace("1.0", "1.1"))
    assert not Fake(site).is_ready()


def lose_python(environment):
    environment.python.unlink()


def lose_marker(environment):
    environment.marker.unlink()


def garble_marker(environment):
    environment.marker.write_text("{")


def other_python(environment):
    environment.marker.write_text(json.dumps({**environment.wanted(), "python": "3.10"}))


def other_place(environment):
    environment.marker.write_text(json.dumps({**environment.wanted(), "root": "/elsewhere"}))


@pytest.mark.parametrize(
    "damage", [lose_python, lose_marker, garble_marker, other_python, other_place]
)
def test_a_damaged_or_foreign_environment_is_made_anew(site, quiet, damage):
    Fake(site).ensure(quiet)
    environment = Fake(site)
    damage(environment)
    (environment.folder / "left-over").touch()
    environment.ensure(quiet)
    assert environment.steps == ["create", "locked", "own"]
    assert not (environment.folder / "left-over").exists()
    assert "replacing .venv" in said(quiet)


def test_a_link_in_place_of_the_folder_is_replaced_and_its_target_spared(site, quiet):
    target = site / "target"
    target.mkdir()
    (target / "precious").touch()
    (site / ".venv").symlink_to(target)
    Fake(site).ensure(quiet)
    assert (target / "precious").exists()
    assert not (site / ".venv").is_symlink()


TWO_STARTS = """
import sys, time
import course

class Slow(course.Environment):
    def call(self, command, watch=None, open_log="a"):
        with open("steps", "a") as steps:
            steps.write(("create" if "venv" in command else "install") + "\\n")
        if "venv" in command:
            self.python.parent.mkdir(parents=True)
            self.python.symlink_to(sys.executable)
        time.sleep(0.5)

Slow(".").ensure(course.Progress())
print("ready")
"""


def test_two_starts_at_once_make_one_environment(site):
    pair = [start_python(TWO_STARTS, site) for _ in range(2)]
    outputs = [process.communicate(timeout=30) for process in pair]
    assert [out for out, _ in outputs] == ["ready\n", "ready\n"]
    assert (site / "steps").read_text().split() == ["create", "install", "install"]
    assert sum("waiting for it" in err for _, err in outputs) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_the_installer_and_removes_the_rest(site, number):
    # A shell starts its background jobs with SIGINT ignored; here it is to be as in a terminal.
    program = """
    import signal, sys, time
    from pathlib import Path
    import course

    signal.signal(signal.SIGINT, signal.default_int_handler)

    class Stuck(course.Environment):
        def call(self, command, watch=None, open_log="a"):
            Path(".venv").mkdir(exist_ok=True)
            said = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
            super().call([sys.executable, "-c", said], watch=print_line, open_log="w")

    def print_line(line):
        print(line, end="", flush=True)

    course.ROOT, course.Environment = Path("."), Stuck
    sys.exit(course.main(["check"]))
    """
    process = start_python(textwrap.dedent(program), site)
    installer = int(process.stdout.readline())
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert "The unfinished .venv has been removed" in errors
    assert not (site / ".venv").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(installer, 0)


def start_python(program, folder):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# With the real venv and the real pip, offline


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A new environment as `create` makes it; once, since it takes its time."""
    environment = course.Environment(tmp_path_factory.mktemp("empty"))
    environment.create(course.Progress(io.StringIO()))
    return environment


@pytest.fixture
def real(site, empty, monkeypatch):
    """A repository whose one locked package lies in a folder, and pip without any network."""

    def copy(self, progress):
        course.remove(self.folder)
        shutil.copytree(empty.folder, self.folder, symlinks=True)

    monkeypatch.setattr(course.Environment, "create", copy)
    (site / "backend.py").write_text(BACKEND)
    wheels = site / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        info = "tiny-1.0.dist-info/"
        wheel.writestr("tiny.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
    digest = hashlib.sha256((wheels / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (site / "requirements.lock").write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return site


def test_a_new_environment_has_a_pip_that_starts(empty):
    assert empty.has_pip()
    assert not empty.marker.exists()
    assert "bdnn" in (empty.folder / "pyvenv.cfg").read_text()  # the name in the prompt


def test_locked_and_own_packages_are_installed(real, quiet):
    environment = course.Environment(real)
    environment.ensure(quiet)
    command = [str(environment.python), "-c", "import tiny, sample; print(sample.ANSWER)"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "42\n"
    assert "installing 1 packages" in said(quiet)


def test_an_environment_whose_pip_is_broken_is_made_anew(real, quiet):
    environment = course.Environment(real)
    environment.ensure(quiet)
    pip = next(environment.folder.glob("**/site-packages/pip/__init__.py"))
    pip.write_text("raise SystemExit(1)")
    assert environment.is_ready()  # nothing is to be installed, so pip is not missed
    environment.marker.write_text(json.dumps({**environment.wanted(), "inputs": "old"}))
    (environment.folder / "left-over").touch()
    environment.ensure(quiet)
    assert environment.is_ready() and environment.has_pip()
    assert not (environment.folder / "left-over").exists()


def test_a_file_that_is_not_the_locked_one_is_refused(real, quiet):
    (real / "requirements.lock").write_text("tiny==1.0 --hash=sha256:" + 64 * "0" + "\n")
    environment = course.Environment(real)
    with pytest.raises(course.SetupError, match="hash mismatch"):
        environment.ensure(quiet)
    assert not environment.folder.exists()
    assert "DO NOT MATCH THE HASHES" in environment.log.read_text()


def test_no_network_is_said(real, quiet, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    environment = course.Environment(real)
    with pytest.raises(course.SetupError, match="package index cannot be reached"):
        environment.ensure(quiet)
    assert not environment.folder.exists()
    assert "the package index does not answer; trying again" in said(quiet)


def test_an_unknown_failure_shows_the_end_of_the_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {n}" for n in range(40)))
    message = course.diagnose(log)
    assert "line 39" in message and "line 28" in message and "line 27" not in message


# Progress


def test_pip_becomes_a_count(quiet):
    pins = "".join(f"p{n}==1.0 \\\n    --hash=sha256:0\n" for n in range(12))
    watch = course.PipWatcher(pins, quiet)
    watch("Ignoring p0: markers 'sys_platform == \"win32\"' don't match your environment\n")
    for n in range(1, 11):
        watch(f"Collecting p{n}==1.0 (from -r requirements.lock (line {n}))\n")
    watch("Processing /wheels/odd_name-1.0-py3-none-any.whl (from -r requirements.lock)\n")
    watch("Installing collected packages: p1, p2, p3\n")
    assert said(quiet) == "  fetching 10/11: p10\n  installing 3 packages\n"
    assert watch.done == watch.total == 11


def test_a_terminal_gets_one_changing_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    progress = course.Progress(Terminal())
    progress.count("fetching", 1, 2, "numpy")
    progress.count("fetching", 2, 2, "scipy")
    progress.say("done")
    assert said(progress).count("\n") == 1
    assert "fetching 1/2: numpy\r" in said(progress)


def test_a_failure_is_told_by_the_real_command(tmp_path):
    (tmp_path / "course.py").write_text((ROOT / "course.py").read_text())
    done = subprocess.run(
        [sys.executable, "course.py", "nonsense"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "choose from 'run', 'test'" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["course.py"]
