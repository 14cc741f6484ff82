"""The gates that need no kernel: `python3 course.py check`."""

import sys

from tools.export import exports, stale, stray_modules
from tools.notebooks import ROOT, Problem


def main():
    """Run the gates."""
    found = exports(ROOT)
    problems = [problem for _, problems in found for problem in problems]
    problems += stray_modules(ROOT, found)
    for export, wrong in found:
        if export.body and not wrong and stale(export):
            problems.append(
                Problem(f"bdnn/{export.module}.py", "is stale", "python3 course.py export")
            )
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
