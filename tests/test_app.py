"""The explorer as an application: it answers with the notebook's text and without its code."""

import html
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tools.notebooks import ROOT


def test_the_explorer_is_served_without_its_code():
    pytest.importorskip("voila", reason="the extra `app` is not installed (course.py app)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tools.app", "--no-browser", f"--port={port}"]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        page = answer(f"http://127.0.0.1:{port}/", server, seconds=300)
    finally:
        server.terminate()
        server.wait(20)
    assert "See what each λ buys" in page
    assert "show_versions()" not in page
    assert "Traceback" not in page


def answer(url, server, seconds):
    """The page at `url`, as soon as the server has one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                return html.unescape(response.read().decode())
        except OSError:
            time.sleep(0.5)
    pytest.fail("the server does not answer")
