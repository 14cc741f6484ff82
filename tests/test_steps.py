"""What `course.py test` runs: every step of a group, and the failure of any of them counts."""

import os
import platform

import pytest

from tools import test as steps

FINE, NONE, BAD = (["-c", f"raise SystemExit({code})"] for code in (0, steps.NO_TESTS, 3))


@pytest.mark.parametrize(
    "group, code", [([FINE], 0), ([FINE, NONE], 0), ([BAD, FINE], 3), ([FINE, BAD], 3)]
)
def test_one_failure_fails_the_group(group, code):
    assert steps.run([("step", arguments, {}) for arguments in group], os.environ) == code


def test_a_step_sees_its_variables():
    seen = ["-c", "import os; raise SystemExit(os.environ['OPENBLAS_CORETYPE'] != 'Nehalem')"]
    assert steps.run([("step", seen, {"OPENBLAS_CORETYPE": "Nehalem"})], os.environ) == 0


@pytest.mark.parametrize(
    "machine, own, other",
    [
        ("x86_64", "SkylakeX", "Haswell"),
        ("x86_64", "Haswell", "Nehalem"),
        ("AMD64", "Zen", "Nehalem"),
        ("arm64", "neoversen1", None),
    ],
)
def test_the_other_kernels_are_not_those_of_the_machine(machine, own, other, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(steps, "threadpool_info", lambda: [{"architecture": own}])
    assert steps.other_kernels() == other
    titles = [title for group in steps.full_steps() for title, _, _ in group]
    assert [title for title in titles if f", {other}" in title] == (
        [f"unit tests, {other}", f"notebooks, {other}"] if other else []
    )


def test_the_tests_of_the_library_need_no_tools():
    names = {path.name for path in steps.library_tests()}
    assert {"test_bad_input.py", "test_scale.py", "test_uh_bdnn.py"} <= names
    assert not names & {"test_course.py", "test_gates.py", "test_build.py", "test_run.py"}


def test_the_tests_run_cheapest_first(monkeypatch):
    monkeypatch.setattr(steps, "other_kernels", lambda: "Haswell")
    titles = [[title for title, _, _ in group] for group in steps.full_steps()]
    assert titles == [
        ["check"],
        ["types", "site", "unit tests"],
        ["notebooks", "unit tests, Haswell"],
        ["browser tests", "notebooks, Haswell"],
    ]


def test_the_first_group_that_fails_ends_the_run(monkeypatch):
    ran = []

    def fake_run(group, env):
        ran.extend(title for title, _, _ in group)
        return 3 if "types" in ran else 0

    monkeypatch.setattr(steps, "warm_up", lambda: None)
    monkeypatch.setattr(steps, "run", fake_run)
    monkeypatch.setattr(steps.sys, "argv", ["test"])
    assert steps.main() == 3
    assert ran == ["check", "types", "site", "unit tests"]
