"""A browser, a JupyterLab to point it at, and pages that report every error.

The browser is Debian's Chromium, Google Chrome or the Chromium of Playwright, whichever is there.
Where there is none, or where the extra `test` is not installed, the tests are skipped and say
so. No page may ask another machine for anything, and none may leave an error in the console.
Screenshots are kept in `build/browser`, which git ignores.
"""

import hashlib
import json
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import first_answer, free_port, stop
from tools import printing
from tools.notebooks import ROOT, kernel_environment

ARTEFACTS = ROOT / "build" / "browser"
WIDE = {"width": 1280, "height": 900}
LAB_SECONDS = 90  # for the server to answer, on a busy machine
KERNEL_STATUS = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"


@pytest.fixture(scope="session")
def browser():
    """A running Chromium without a window."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(printing.browser())
        except ValueError as error:
            pytest.skip(str(error))
        yield running


@pytest.fixture
def expect(browser):
    """Assertions that wait; a fixture, so that no test imports what may be absent."""
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def open_page(browser, request):
    """Return a function that opens a page; its keywords are those of Playwright's new_context.

    At the end every page must be free of errors and of requests to other machines. What the pages
    show then is kept as a screenshot under the name of the test.
    """
    contexts, faults = [], []

    def open_page(**options):
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | options)
        context.route("**/*", lambda route: keep_inside(route, faults))
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("console", lambda message: note_error(message, faults))
        contexts.append(context)
        return page

    yield open_page
    for k, context in enumerate(contexts):
        for page in context.pages:
            keep_picture(page, request.node.name + (f"_{k}" if k else ""))
        context.close()
    assert faults == []


def keep_inside(route, faults):
    """Let a request pass if it stays on this machine; note and refuse any other."""
    address = urlsplit(route.request.url)
    if address.scheme in ("file", "data", "blob", "about") or address.hostname == "127.0.0.1":
        route.continue_()
    else:
        faults.append(f"asks another machine: {route.request.url}")
        route.abort()


def note_error(message, faults):
    """Note an error that a page wrote to the console."""
    if message.type == "error":
        faults.append(f"console: {message.text} ({message.location.get('url', '')})")


@pytest.fixture
def page(open_page):
    """One page of the usual width."""
    return open_page()


def keep_picture(page, name):
    """Write a screenshot of what the page shows to the folder of artefacts."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / (re.sub(r"\W+", "_", name).strip("_") + ".png"))


@pytest.fixture
def picture(request):
    """Return a function (page, word) that keeps a screenshot under the test's name and the word."""
    return lambda page, word: keep_picture(page, f"{request.node.name}_{word}")


@pytest.fixture(scope="session")
def axe():
    """The path of the accessibility checks, which npm fetches once as package-lock.json pins it."""
    here = Path(__file__).parent
    lock = (here / "package-lock.json").read_bytes()
    folder = ROOT / "build" / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        if shutil.which("npm") is None:
            pytest.skip("no npm to fetch axe-core with")
        folder.parent.mkdir(exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent))
        for name in ("package.json", ".npmrc", "package-lock.json"):
            shutil.copy(here / name, new / name)
        subprocess.run(["npm", "ci"], cwd=new, check=True)
        try:
            new.rename(folder)
        except OSError:  # another worker was faster
            shutil.rmtree(new)
    return folder / "node_modules" / "axe-core" / "axe.min.js"


class Lab:
    """A running JupyterLab on a copy of the notebooks."""

    def __init__(self, url, token, folder):
        self.url, self.token, self.folder = url, token, folder

    def open(self, page, path):
        """Open a notebook, such as "notebooks/04_network.ipynb", and wait for its kernel."""
        page.goto(f"{self.url}/lab/tree/{path}?token={self.token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function(f"() => {KERNEL_STATUS} === 'idle'", timeout=60_000)

    def run_all(self, page):
        """Run every cell of the notebook on the page, from the top, and wait for the last one."""
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")


def lab_environment(folder):
    """Return the variables of a server that sees nothing of this machine's Jupyter settings."""
    places = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    env = {k: v for k, v in kernel_environment(ROOT).items() if not k.startswith("JUPYTER")}
    env |= {f"JUPYTER_{key}": str(folder / place) for key, place in places.items()}
    env |= {f"JUPYTERLAB_{key}_DIR": str(folder / key) for key in ("SETTINGS", "WORKSPACES")}
    return env | {"IPYTHONDIR": str(folder / "ipython"), "BDNN_FIGURES": str(folder / "figures")}


def write_settings(folder):
    """Write the settings of a JupyterLab that asks for no news and keeps all cells on the page."""
    for extension, content in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }.items():
        path = folder / "@jupyterlab" / f"{extension}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    """A JupyterLab on the loopback interface, with a token, on a copy of notebooks and figures."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "figures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*"))
    write_settings(folder / "SETTINGS")
    token, port, log = secrets.token_hex(16), free_port(), folder / "lab.log"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True"),
        "--LabApp.extension_manager=readonly",
    ]
    with open(log, "w") as file:
        env = lab_environment(folder)
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=file, stderr=file)
    try:
        url = f"http://127.0.0.1:{port}"
        if first_answer(f"{url}/api?token={token}", process, LAB_SECONDS) is None:
            pytest.fail(f"no answer from the server; its log ends with\n{log.read_text()[-3000:]}")
        yield Lab(url, token, folder)
    finally:
        stop(process)
