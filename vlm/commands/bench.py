"""`python -m vlm bench`: how long the app takes to start and to answer, and what memory it holds.

Runs the real app as a person would, in a process of its own, and asks it over its own API.
"""

import base64
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from PIL import Image as pillow

from vlm.commands.terminal import processor_name
from vlm.settings import Parser, Settings
from vlm.strings import say

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "assets" / "examples" / "coffee.jpg"
QUESTION = "Describe the image."
NEXT_QUESTION = "What colours are in it?"


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_count("--runs", default=5, most=1000, text=say("flag.runs"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Prints a table of medians in Markdown."""
    port = _free_port()
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--model", settings.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as app:
        try:
            assert app.stdout is not None
            served = _seconds_until_line(app.stdout, began)
            loaded = _seconds_until_line(app.stdout, began)
            asked = [_ask(port, number) for number in range(arguments.runs)]
            firsts, speeds, nexts = zip(*asked, strict=True)
            resident = psutil.Process(app.pid).memory_info().rss
        finally:
            app.terminate()
    print(f"{_machine()}, {date.today().isoformat()}, median of {arguments.runs}\n")
    print("| figure | measured |\n|---|---|")
    print(f"| page served | {served:.1f} s |")
    print(f"| model loaded | {loaded:.1f} s |")
    print(f"| first token of {QUESTION!r}, over HTTP | {statistics.median(firsts):.2f} s |")
    print(f"| first token of a second question about it | {statistics.median(nexts):.2f} s |")
    print(f"| tokens a second | {statistics.median(speeds):.1f} |")
    print(f"| resident memory after the answers | {resident / 1e9:.2f} GB |")
    return 0


def _seconds_until_line(output: object, began: float) -> float:
    """The app prints one line when the page is served, one when the model is loaded."""
    line = next(iter(output), "")  # pyright: ignore[reportArgumentType, reportCallIssue]
    if not line:
        raise RuntimeError("the app ended before it was ready; its message stands above")
    return time.perf_counter() - began


def _ask(port: int, number: int) -> tuple[float, float, float]:
    """Seconds to the first text, pieces a second after it, seconds to that of the next question.

    Every run has a photo of its own, as what was seen before need not be looked at again.
    """
    from gradio_client import Client, handle_file

    client = Client(f"http://127.0.0.1:{port}", verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        with pillow.open(PHOTO) as whole:
            whole.crop((number, 0, *whole.size)).save(photo)
        message = {"text": QUESTION, "files": [handle_file(photo)]}
        first, speed, answer = _timed(client, message, [])
        data = "data:image/png;base64," + base64.b64encode(photo.read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": data}}
    history = [
        {"role": "user", "content": [image, {"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": answer},
    ]
    following, _, _ = _timed(client, {"text": NEXT_QUESTION, "files": []}, history)
    return first, speed, following


def _timed(client: Any, message: object, history: object) -> tuple[float, float, str]:
    """(seconds until the first text, pieces of text a second from then on, the answer)."""
    options = {"min_new_tokens": 32, "max_new_tokens": 32}
    began, times, texts = time.perf_counter(), [], []
    for text in client.submit(message, history, options, api_name="/chat"):
        times.append(time.perf_counter())
        texts.append(text)
    return times[0] - began, (len(times) - 1) / (times[-1] - times[0]), texts[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _machine() -> str:
    """The processor's name and its cores."""
    cores, python = psutil.cpu_count(logical=False), platform.python_version()
    return f"{processor_name()}, {cores} cores, Python {python}"
