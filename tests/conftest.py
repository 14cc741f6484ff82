"""Settings for all tests: one thread, no windows, the same examples on every run."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402  (after the variables, which NumPy reads once)
from hypothesis import settings  # noqa: E402

settings.register_profile("course", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("course")

# What the summary counts: a title, and what the names of the tests begin with.
COUNTED = {
    "checks of scikit-learn": ("test_estimators.py::test_scikit_learn_checks",),
    "cases of bad or unusual input": ("test_bad_input.py::",),
    "model files forged": ("test_model_files.py::test_forged", "test_model_files.py::test_headers"),
    "trainings stopped, killed or interrupted": ("test_checkpoints.py::",),
    "downloads that go wrong": (
        "test_data.py::test_second_address",
        "test_data.py::test_both_addresses",
        "test_data.py::test_a_damaged_copy",
        "test_data.py::test_content_is_checked",
        "test_data.py::test_a_full_disk",
        "test_data.py::test_two_fetch",
    ),
    "command lines and files of one's own": ("test_main.py::",),
}


@pytest.fixture
def few_starts(monkeypatch):
    """Trainings start from the best of 2 codes, not of 20 or 200: where quality does not matter."""
    from functools import partial

    from bdnn import sh_bdnn, uh_bdnn
    from bdnn.baselines import kernels

    for module, name in (
        (uh_bdnn, "initial_codes"),
        (sh_bdnn, "class_codes"),
        (kernels, "class_codes"),
    ):
        monkeypatch.setattr(module, name, partial(getattr(module, name), n_init=2))


def pytest_terminal_summary(terminalreporter):
    """Count what was tried to break the library; CONTRIBUTING.md has the same table."""
    passed = [r for r in terminalreporter.stats.get("passed", ()) if r.when == "call"]
    names = [report.nodeid.rpartition("tests/")[2] for report in passed]
    counts = {title: sum(n.startswith(begin) for n in names) for title, begin in COUNTED.items()}
    counts["tests of properties (hypothesis)"] = sum("hypothesis" in r.keywords for r in passed)
    properties = [value for report in passed for value in report.user_properties]
    counts["model files damaged at random"] = sum(n for k, n in properties if k == "mutations")
    if counts["cases of bad or unusual input"]:
        terminalreporter.section("what the library withstood")
        for title, count in counts.items():
            terminalreporter.write_line(f"{title:42}{count:7,}")
