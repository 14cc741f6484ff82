"""Serve the explorer alone, as an application without its code: `python3 course.py app`.

It is notebook 14 in Voila, on this machine only; live training works as in JupyterLab. Voila asks
another host for a font of icons, and does without it where there is no network.
"""

import argparse
import os
import tempfile

from tools.notebooks import ROOT, kernel_environment

NOTEBOOK = "notebooks/14_lambdas.ipynb"


def main():
    """Parse the command line and start the server; it runs until Ctrl-C."""
    from voila.app import Voila

    parser = argparse.ArgumentParser(prog="course.py app", description=__doc__.splitlines()[0])
    parser.add_argument("--no-browser", action="store_true", help="print the address instead")
    parser.add_argument("--port", type=int, default=8866, help="port to listen on (8866)")
    options = parser.parse_args()
    arguments = [str(ROOT / NOTEBOOK), f"--port={options.port}", "--Voila.ip=127.0.0.1"]
    arguments += ["--no-browser"] * options.no_browser
    with tempfile.TemporaryDirectory() as figures:  # those of the repository stay as they are
        os.environ |= kernel_environment(ROOT) | {"BDNN_FIGURES": figures}
        Voila.launch_instance(argv=arguments)


if __name__ == "__main__":
    main()
