"""The app as people start it: `python app.py`, with the embedded model, in a process of its own."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from gradio_client import Client, handle_file

ROOT = Path(__file__).parents[1]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "app.py", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_app_answers_about_a_photo_and_ends_on_interrupt(port):
    app = start("--port", str(port), "--language", "en")
    try:
        assert app.stdout.readline() == f"Diptych is at http://127.0.0.1:{port}/\n"
        assert app.stdout.readline() == "Pocket 135M · bf16 · CPU is ready\n"
        message = {
            "text": "What animal is this? Answer with a word or short phrase.",
            "files": [handle_file(ROOT / "assets/examples/cat.jpg")],
        }
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        assert client.predict(message, [], {}, api_name="/chat") == "Cat."
        app.send_signal(signal.SIGINT)
        assert app.wait(60) == 0
    finally:
        app.kill()


@pytest.mark.skipif(sys.platform == "darwin", reason="psutil sees no memory maps there")
def test_what_comparing_needs_is_imported_once_the_model_is_ready(port):
    app = start("--port", str(port), "--language", "en")
    try:
        for _ in range(2):
            assert app.stdout.readline()
        process = psutil.Process(app.pid)
        deadline = time.monotonic() + 120
        while not any("skimage" in each.path for each in process.memory_maps()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        app.kill()


def test_a_port_in_use_is_said(port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        app = start("--port", str(port), "--language", "en")
        _, errors = app.communicate(timeout=120)
    assert app.returncode == 1
    assert f"Port {port} is in use" in errors
    assert "Traceback" not in errors


def test_a_flag_that_means_nothing_is_said():
    app = start("--max-images", "many", "--language", "en")
    _, errors = app.communicate(timeout=120)
    assert app.returncode == 1
    assert errors.startswith("The setting max_images is 'many'")


def test_importing_builds_the_page_and_loads_no_model():
    code = (
        "import sys, app; assert app.demo.blocks; "
        "assert not sys.modules.keys() & {'torch', 'transformers', 'skimage'}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
