"""The explorer as an application: it answers with the notebook's text and without its code."""

import html
import subprocess
import sys

import pytest

from tests.servers import first_answer, free_port, stop
from tools.notebooks import ROOT


def test_the_explorer_is_served_without_its_code():
    pytest.importorskip("voila", reason="the extra `app` is not installed (course.py app)")
    port = free_port()
    command = [sys.executable, "-m", "tools.app", "--no-browser", f"--port={port}"]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        page = first_answer(f"http://127.0.0.1:{port}/", server, seconds=300)
    finally:
        stop(server)
    assert page is not None, "the server does not answer"
    page = html.unescape(page)
    assert "See what each λ buys" in page
    assert "show_versions()" not in page
    assert "Traceback" not in page
