"""Settings for all tests: one thread, no windows, the same examples on every run."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"

from hypothesis import settings  # noqa: E402  (after the variables, which NumPy reads once)

settings.register_profile("course", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("course")
