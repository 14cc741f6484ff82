"""The tests of the library with the oldest dependencies that it allows: `course.py test --oldest`.

They run in an environment of their own, `.venv-oldest`, from `requirements/oldest.lock`. The tests
of the tools and notebooks of the course stay out: those run with the pins of the course alone.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OF_THE_TOOLS = re.compile(r"^(from|import) (tools|course|sample|playwright)\b", re.MULTILINE)


def library_tests(root):
    """Return the test files that need nothing but the library."""
    paths = sorted((root / "tests").glob("test_*.py"))
    return [path for path in paths if not OF_THE_TOOLS.search(path.read_text(encoding="utf-8"))]


def main():
    """Say what is installed, and run the tests."""
    show = "from bdnn.base import show_versions; show_versions  "
    tests = [str(path.relative_to(ROOT)) for path in library_tests(ROOT)]
    for arguments in (["-c", show], ["-m", "pytest", "-n", "2", "--dist", "loadfile", *tests]):
        code = subprocess.run([sys.executable, *arguments], cwd=ROOT).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
