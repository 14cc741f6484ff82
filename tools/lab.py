"""Open JupyterLab on the notebooks: `python3 course.py lab`.

It listens on this machine only and asks for its token; no option of ours changes that.
"""

import argparse

from tools.notebooks import ROOT


def main():
    """Parse the command line and start the server; it runs until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="course.py lab", description=__doc__.splitlines()[0])
    parser.add_argument("--no-browser", action="store_true", help="print the address instead")
    parser.add_argument("--port", type=int, help="port to listen on (default: the next free one)")
    parser.add_argument("--allow-root", action="store_true", help="needed in some containers")
    options = parser.parse_args()
    arguments = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={ROOT}"]
    arguments += ["--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
    # no news, nor the question whether they are wanted; and the lock decides about updates
    arguments += ["--LabApp.news_url=None"]
    arguments += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    arguments += ["--no-browser"] * options.no_browser + ["--allow-root"] * options.allow_root
    if options.port:
        arguments += [f"--ServerApp.port={options.port}"]
    from jupyterlab.labapp import LabApp  # here: it takes a while

    LabApp.launch_instance(argv=arguments)


if __name__ == "__main__":
    main()
