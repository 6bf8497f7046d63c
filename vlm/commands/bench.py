"""`python -m vlm bench`: how long the app takes to start and to answer, and what memory it holds.

Runs the real app as a person would, in a process of its own, and asks it over its own API.
"""

import platform
import re
import socket
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import psutil

from vlm.settings import Parser, Settings
from vlm.strings import say

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "assets" / "examples" / "coffee.jpg"
QUESTION = "Describe the image."


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
            firsts, speeds = zip(*(_ask(port) for _ in range(arguments.runs)), strict=True)
            resident = psutil.Process(app.pid).memory_info().rss
        finally:
            app.terminate()
    print(f"{_machine()}, {date.today().isoformat()}, median of {arguments.runs}\n")
    print("| figure | measured |\n|---|---|")
    print(f"| page served | {served:.1f} s |")
    print(f"| model loaded | {loaded:.1f} s |")
    print(f"| first token of {QUESTION!r}, over HTTP | {statistics.median(firsts):.2f} s |")
    print(f"| tokens a second after it | {statistics.median(speeds):.1f} |")
    print(f"| resident memory after the answers | {resident / 1e9:.2f} GB |")
    return 0


def _seconds_until_line(output: object, began: float) -> float:
    """The app prints one line when the page is served, one when the model is loaded."""
    line = next(iter(output), "")  # pyright: ignore[reportArgumentType, reportCallIssue]
    if not line:
        raise RuntimeError("the app ended before it was ready; its message stands above")
    return time.perf_counter() - began


def _ask(port: int) -> tuple[float, float]:
    """Seconds until the first text, and pieces of text a second from then on."""
    from gradio_client import Client, handle_file

    client = Client(f"http://127.0.0.1:{port}", verbose=False)
    began = time.perf_counter()
    message = {"text": QUESTION, "files": [handle_file(PHOTO)]}
    options = {"min_new_tokens": 32, "max_new_tokens": 32}
    times = [time.perf_counter() for _ in client.submit(message, [], options, api_name="/chat")]
    return times[0] - began, (len(times) - 1) / (times[-1] - times[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _machine() -> str:
    """The processor's name and its cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        name = found.group(1).strip()
    return f"{name}, {psutil.cpu_count(logical=False)} cores, Python {platform.python_version()}"
