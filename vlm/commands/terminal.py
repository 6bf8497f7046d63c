"""What commands share in a terminal: tables, Ctrl-C, and how far a long run has come.

stdout holds results alone; everything else here goes to stderr.
"""

import contextlib
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from vlm.strings import say

INTERRUPTED = 128 + signal.SIGINT
NOBODY_READS = 128 + 13
"""Exit status of a program whose output is piped into one that has ended, as by SIGPIPE."""


def print_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table in Markdown, to stdout."""
    heads = list(heads)
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def processor_name() -> str:
    """Of this machine, as people know it."""
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        return found[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def interrupt_sets(cancel: threading.Event) -> Iterator[None]:
    """Inside, Ctrl-C sets `cancel` instead of ending the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Meter:
    """How many images of all are done, seconds an image, time left: a bar, or else a line a step.

    Args:
        total: images.
        done: of them, before this run; they do not count in the time an image takes.
        language: of the words.

    A bar is drawn only where stderr is a terminal. It is taken away by `hide` before something is
    printed on stdout, which may be the same screen, and comes back with the next step.
    """

    def __init__(self, total: int, done: int, language: str) -> None:
        self._language = language
        self._total, self._before, self._done = total, done, done
        self._began = time.perf_counter()
        self._bar = self._open_bar() if sys.stderr.isatty() else None

    def _open_bar(self) -> tqdm:
        return tqdm(
            total=self._total,
            initial=self._done,
            file=sys.stderr,
            unit=say("meter.unit", self._language),
            bar_format=f"{self._form()} {{bar}}",
            dynamic_ncols=True,
            smoothing=0,  # the mean of all, as in a line
            mininterval=0,
            miniters=1,  # never drawn but by a step
        )

    def _form(self) -> str:
        """The words, with the places that tqdm fills."""
        places = {
            "done": "{n_fmt}",
            "total": "{total_fmt}",
            "pace": "{rate_inv_fmt}",
            "left": "{remaining}",
        }
        return say("meter.line", self._language, **places)

    def hide(self) -> None:
        """Takes the bar off the screen until the next step."""
        if self._bar is not None:
            self._bar.clear()

    def step(self, images: int = 1) -> None:
        """So many more images are done."""
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
            return
        line = tqdm.format_meter(
            self._done,
            self._total,
            time.perf_counter() - self._began,
            initial=self._before,
            unit=say("meter.unit", self._language),
            bar_format=self._form(),
        )
        print(" ".join(line.split()), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar where it is and ends its line."""
        if self._bar is not None:
            self._bar.close()
