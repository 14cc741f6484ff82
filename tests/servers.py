"""Servers that tests start: a port for one, its first answer, its end."""

import socket
import subprocess
import time
import urllib.request


def free_port():
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_answer(url, process, seconds):
    """Return what a server answers as soon as it does; None if it ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=max(1, end - time.monotonic())) as response:
                return response.read().decode()
        except OSError:
            time.sleep(0.2)
    return None


def stop(process):
    """End a server and wait until it has ended; it ends its kernels."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
