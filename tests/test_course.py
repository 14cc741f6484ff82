"""The front door: clear refusals, and an environment that is complete or not there at all."""

import ast
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tools import called_from

ROOT = Path(__file__).parent.parent
LOCK = "tiny==1.0 \\\n    --hash=sha256:0\nuv==1.0 \\\n    --hash=sha256:{}\n    # via bdnn\n"
UV = "import sys; print('uv', *sys.argv[1:]); sys.exit('--fail' in sys.argv)"
TOOL = "import sys, tools; print('done', sys.argv[1:], tools.called_from('x'))"


@pytest.fixture
def folder(tmp_path):
    """A repository with what the front door looks at, and one tool."""
    shutil.copy(ROOT / "course.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements.lock").write_text(LOCK.format("1"))
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/__init__.py", tmp_path / "tools")
    (tmp_path / "tools/check.py").write_text(TOOL)
    return tmp_path


@pytest.fixture
def course(folder):
    """The module course.py of that repository, whose steps only pretend; `steps` lists them."""
    spec = importlib.util.spec_from_file_location("course", folder / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.steps, module.error = [], {}
    module.really_call = module.call

    def call(command):
        step = next(name for name in ("venv", "pip", "uv") if name in command)
        step = "uv" if "uv" in command else step
        module.steps.append(f"{step} {command[-1]}" if step == "uv" else step)
        module.again = "--reinstall" in command
        assert step != "pip" or "--require-hashes" in command
        if step == "venv":
            module.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            module.PYTHON.unlink(missing_ok=True)
            module.PYTHON.symlink_to(sys.executable)
        if step in module.error:
            raise module.error[step]

    module.call = call
    module.hand_over = lambda command, arguments: (command, arguments)
    return module


MADE = ["venv", "pip", "uv .[course,tools]"]


# What the command line understands


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"], ["help"]])
def test_the_help_names_every_command(course, line, capsys):
    assert course.main(line) in (None, 0)
    text = capsys.readouterr().out
    assert [name for name in course.COMMANDS if f"\n  {name} " not in text] == []


def test_an_unknown_command_is_named(course, capsys):
    assert course.main(["tset"]) == 2
    assert "no command 'tset', but: run, test," in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_of_a_command_installs_nothing(course, word, capsys):
    course.main(["lab", word])
    assert capsys.readouterr().out.startswith("lab: open JupyterLab on the notebooks.\n")
    assert course.steps == [] and not course.VENV.exists()
    course.main(["check"])
    assert course.main(["lab", word]) == ("lab", [word])
    assert course.steps == MADE


def test_every_command_has_its_tool_and_its_extras(course):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, (_, needed) in course.COMMANDS.items():
        assert (ROOT / "tools" / f"{name}.py").exists()
        assert set(needed.split()) <= set(extras["optional-dependencies"])


def test_words_among_the_arguments_need_an_extra(course):
    assert course.main(["run", "--data", "cifar10-hog"]) == ("run", ["--data", "cifar10-hog"])
    assert course.steps[-1] == "uv .[course,tools,hog]"
    course.main(["site", "--print=paper"])
    assert course.steps[-1] == "uv .[course,hog,scale,site,test,tools]"


# Refusals before anything is made


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 10, 0), (3, 16, 0)])
def test_other_pythons_are_told_which_is_needed(course, version, monkeypatch):
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    monkeypatch.setattr(course.sys, "version_info", version)
    with pytest.raises(SystemExit, match=f"3.11 to 3.14 is needed; this is {version[0]}.*\nInst"):
        course.main(["check"])
    assert course.steps == []


def test_a_fitting_python_on_the_machine_is_named(course, monkeypatch):
    monkeypatch.setattr(course.shutil, "which", lambda name: name != "python3.14")
    monkeypatch.setattr(course.subprocess, "call", lambda line, **_: line[0] != "python3.12")
    with pytest.raises(SystemExit, match="This machine has one: python3.12 course.py"):
        course.need_python((3, 9, 1))


def test_an_old_python_can_read_the_file():
    assert ast.parse((ROOT / "course.py").read_text(), feature_version=(3, 8)).body
    with pytest.raises(SyntaxError):  # so much for the check itself
        ast.parse("match x:\n    case 1: pass", feature_version=(3, 8))


def test_without_ensurepip_nothing_is_made(course, monkeypatch):
    monkeypatch.setattr(course.importlib.util, "find_spec", lambda name: name != "ensurepip")
    with pytest.raises(SystemExit, match="apt-get install -y python3-venv"):
        course.main(["check"])
    assert course.steps == [] and not course.VENV.exists()


def test_a_folder_that_cannot_be_written_is_told_in_a_line(course, folder):
    (folder / ".venv.lock").mkdir()
    with pytest.raises(SystemExit, match="^.venv cannot be made here: .*directory: .*lock'$"):
        course.main(["check"])


# Complete, or not there


def test_the_steps_in_order_and_none_twice(course):
    assert course.main(["check"]) == ("check", [])
    assert course.main(["run"]) == ("run", [])
    assert course.steps == MADE
    assert (course.VENV / "uv.txt").read_text() == "uv==1.0 \\\n    --hash=sha256:1\n"


def test_an_extra_is_added_when_a_command_first_needs_it_and_kept(course, folder):
    for command in ("check", "site", "site", "lab"):
        course.main([command])
    added = ["uv .[course,scale,site,tools]", "uv .[course,scale,search,site,tools]"]
    assert course.steps == [*MADE, *added]
    (folder / "requirements.lock").write_text(LOCK.format("2"))
    course.main(["check"])
    assert course.steps[5:] == added[1:]


@pytest.mark.parametrize("step", ["venv", "pip", "uv"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit("no luck")])
def test_a_step_that_breaks_leaves_nothing_behind(course, step, error, capsys):
    course.error[step] = error
    if isinstance(error, KeyboardInterrupt):
        assert course.main(["check"]) == 130
    else:
        with pytest.raises(SystemExit, match="no luck"):
            course.main(["check"])
    assert "The unfinished .venv has been removed" in capsys.readouterr().err
    assert not course.VENV.exists()
    course.error.clear()
    assert course.main(["check"]) == ("check", [])


def test_an_extra_that_fails_leaves_the_rest_and_is_then_put_anew(course):
    course.main(["check"])
    course.error["uv"] = KeyboardInterrupt()
    assert course.main(["site"]) == 130
    assert course.main(["check"]) == ("check", [])
    course.error.clear()
    course.main(["site"])
    assert course.again
    course.main(["bench"])
    assert not course.again


@pytest.mark.parametrize("damage", ["no python", "no marker", "garbled marker", "other place"])
def test_a_damaged_or_foreign_environment_is_made_anew(course, damage):
    course.main(["check"])
    marker = json.loads(course.MARKER.read_text())
    if damage == "no python":
        course.PYTHON.unlink()
    elif damage == "no marker":
        course.MARKER.unlink()
    elif damage == "garbled marker":
        course.MARKER.write_text("{")
    else:
        course.MARKER.write_text(json.dumps(marker | {"place": [3, 11, "/elsewhere"]}))
    course.main(["check"])
    assert course.steps == [*MADE, *MADE]
    assert course.has(["course", "tools"])


# What goes wrong in pip or uv


@pytest.mark.parametrize(
    "said, told",
    [
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM", "is not the one that requirements.lock"),
        ("Hash mismatch for `tqdm==4.70.1`", "hash mismatch"),
        ("failed to write: No space left on device (os error 28)", "The disk is full"),
        ("NewConnectionError(...)\nNo matching distribution found", "index cannot be reached"),
        ("Failed to fetch: `https://pypi.org/simple/tqdm/`", "index cannot be reached"),
        ("ERROR: No matching distribution found for uv==1.0", "index lacks what requirements.lock"),
        ("No solution found when resolving dependencies", "index lacks what requirements.lock"),
        ("something new", "The environment could not be made.\nsomething new"),
    ],
)
def test_a_failure_is_explained(course, said, told):
    with pytest.raises(SystemExit, match=told):
        course.really_call([sys.executable, "-c", f"print({said!r}); exit(1)"])


def test_what_is_downloaded_is_named(course, capsys):
    said = "Resolved 2 packages\\nDownloading numpy (16.1MiB)\\n + numpy==2.0"
    course.really_call([sys.executable, "-c", f"print('{said}')"])
    assert capsys.readouterr().err == "  Downloading numpy (16.1MiB)\n"


# The file itself, with the real venv and pip, and a stand-in for uv


@pytest.fixture
def start(folder, monkeypatch):
    """Start the course.py of the small repository; pip has one file and no network."""
    wheels = folder / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "uv-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("uv.py", UV)
        info = "uv-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
    digest = hashlib.sha256((wheels / "uv-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(LOCK.format(digest))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    def start(*line):
        return subprocess.Popen(
            [sys.executable, folder / "course.py", *line],
            cwd=folder / "wheels",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.mark.slow
def test_two_starts_at_once_take_turns_and_hand_over(start, folder):
    pair = [start("check", "--bits", "8"), start("check", "--bits", "8")]
    outputs = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert {out for out, _ in outputs} == {f"done ['--bits', '8'] {folder / 'wheels/x'}\n"}
    assert sum("waiting for it" in err for _, err in outputs) == 1
    assert sum("making .venv (once" in err for _, err in outputs) == 1
    assert "bdnn" in (folder / ".venv/pyvenv.cfg").read_text()  # the name in the prompt


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_in_the_middle_leaves_nothing_behind(start, folder):
    process = start("check")
    assert "making .venv" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors.endswith("Stopped.\n")
    assert not (folder / ".venv").exists()


def test_paths_are_those_of_the_folder_of_the_call(monkeypatch, tmp_path):
    monkeypatch.setenv("BDNN_CALLED_FROM", str(tmp_path))
    assert called_from("a/b") == tmp_path / "a/b"
    assert called_from(ROOT) == ROOT and called_from("~/x") == Path.home() / "x"


@pytest.mark.slow
def test_a_file_that_is_not_the_locked_one_is_refused(start, folder):
    (folder / "requirements.lock").write_text(LOCK.format(64 * "0"))
    process = start("check")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "(hash mismatch)" in errors
    assert not (folder / ".venv").exists()
