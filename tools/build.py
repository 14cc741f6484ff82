"""Text -> executed notebook -> module of bdnn: `python3 course.py build [NN ...]`.

The modules are exported first, from the texts alone, so that every notebook runs against the code
of today. Then each text becomes a notebook, is executed from top to bottom in a fresh kernel, and
replaces the old one only if nothing failed. The same inputs give the same file, byte for byte.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

from tools.export import write_modules
from tools.notebooks import ROOT, find, inputs_hash, kernel_environment, outputs_hash, tags, write

CELL_TIMEOUT = 600  # seconds
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
METADATA = {"kernelspec": KERNEL, "language_info": LANGUAGE}


class BuildError(Exception):
    """A notebook that cannot be built; the message names file and cell."""


def derive(notebook):
    """Return a notebook with the cells of the text and no outputs."""
    nb = nbformat.v4.new_notebook(metadata=METADATA)
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    for k, cell in enumerate(notebook.cells, start=1):
        metadata = {"tags": tags(cell)} if tags(cell) else {}
        new = make[cell.cell_type](cell.source, metadata=metadata, id=f"cell-{k:03d}")
        nb.cells.append(new)
    return nb


def execute(nb, notebook):
    """Run the cells in order in a fresh kernel, in the notebook's own folder.

    Raises BuildError, which names the cell, if one fails, takes too long or kills the kernel.
    """
    folder = str((notebook.root / notebook.text).parent)
    with tempfile.TemporaryDirectory() as scratch:
        env = kernel_environment(notebook.root) | {"IPYTHONDIR": scratch}
        options = {"timeout": CELL_TIMEOUT, "config": private_connection(scratch)}
        client = NotebookClient(nb, kernel_name="python3", record_timing=False, **options)
        with client.setup_kernel(cwd=folder, env=env):
            for k, cell in enumerate(nb.cells, start=1):
                try:
                    client.execute_cell(cell, k - 1)
                except CellExecutionError as error:
                    raise failure(notebook, k, COLOUR.sub("", error.traceback)) from None
                except (CellTimeoutError, DeadKernelError) as error:
                    raise failure(notebook, k, f"{type(error).__name__}: {error}") from None


def private_connection(folder):
    """Return settings by which kernel and client talk through files in `folder`, not TCP."""
    if os.name == "nt":  # there are no such files there
        return Config()
    transport = {"transport": "ipc", "connection_file": os.path.join(folder, "kernel.json")}
    return Config(ConnectionFileMixin=transport)


def failure(notebook, k, reason):
    """Return the BuildError for cell k."""
    lines = notebook.cells[k - 1].source.splitlines()[:3]
    source = "\n".join("    " + line for line in lines)
    return BuildError(f"{notebook.at(k)} failed:\n{source}\n{reason}")


def tidy(nb, notebook):
    """Keep of metadata and outputs what means the same on every machine.

    Raises BuildError if a cell wrote to stderr, or raised nothing though its tag says so.
    """
    nb.metadata = nbformat.from_dict(METADATA)
    for k, cell in notebook.code_cells(nb.cells):
        cell.outputs = [output for output in map(tidy_output, join_streams(cell.outputs)) if output]
        errors = [o.text for o in cell.outputs if o.get("name") == "stderr"]
        if errors:
            raise failure(notebook, k, "It wrote to stderr; mend what warns:\n" + errors[0])
        raised = any(output.output_type == "error" for output in cell.outputs)
        if "raises-exception" in tags(cell) and not raised:
            raise failure(notebook, k, "It is tagged raises-exception and raised none")


def join_streams(outputs):
    """Return the outputs with neighbouring pieces of one stream put together."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def tidy_output(output):
    """Return the output without widget models and traceback; None if nothing is left."""
    if output.output_type == "error":
        output.traceback = [f"{output.ename}: {output.evalue}"]
    if "data" in output:
        output.data.pop(WIDGET_VIEW, None)
        output.metadata.pop(WIDGET_VIEW, None)
        return output if output.data else None
    return output


def seal(nb):
    """Record the hashes by which a later change of inputs or outputs is found."""
    nb.metadata["bdnn"] = {"inputs": inputs_hash(nb.cells), "outputs": outputs_hash(nb.cells)}


def build(notebook):
    """Execute one notebook and write it; raises BuildError and leaves the old one otherwise."""
    nb = derive(notebook)
    execute(nb, notebook)
    tidy(nb, notebook)
    seal(nb)
    nbformat.validate(nb)
    write(notebook.root / notebook.path, nbformat.writes(nb) + "\n")


def warm_up():
    """Let matplotlib build its font cache now; its notice would end up in a notebook."""
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True)


def build_all(notebooks):
    """Build the notebooks in order with a line for each; return the errors."""
    errors = []
    for notebook in notebooks:
        start = time.perf_counter()
        print(f"{notebook.path.as_posix()} ...", end=" ", flush=True)
        try:
            build(notebook)
            print(f"{time.perf_counter() - start:.1f} s", flush=True)
        except BuildError as error:
            print("failed", flush=True)
            errors.append(error)
    return errors


def main():
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="course.py build", description=__doc__.splitlines()[0])
    text = "numbers of notebooks; all if none"
    parser.add_argument("numbers", nargs="*", metavar="NN", help=text)
    notebooks = find(ROOT, parser.parse_args().numbers)
    problems = write_modules(ROOT, notebooks)
    try:
        if not problems:
            warm_up()
            problems = build_all(notebooks)
    except KeyboardInterrupt:
        print("\nStopped; this notebook and those after it are as they were.", file=sys.stderr)
        return 130
    for problem in problems:
        print(f"\n{problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
