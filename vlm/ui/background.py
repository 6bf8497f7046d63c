"""Work on a thread of its own, which tells how far it is while a page waits for it."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from vlm.errors import RequestError

STEP = 0.05
"""Seconds between two looks whether work was called off."""

Told = TypeVar("Told")
T = TypeVar("T")


def in_background(
    work: Callable[[Callable[[Told], None]], T], cancel: threading.Event, cancelled: str
) -> Generator[Told, None, T]:
    """Does work on a thread of its own, yields what it tells, returns what comes of it.

    Args:
        work: is given what hears it.
        cancel: ends the waiting at once, and the work at its next look; it is set when nobody
            listens any more.
        cancelled: key of the sentence that says so.

    Raises:
        RequestError: it was cancelled.
    """
    heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            heard.put(("done", work(lambda told: heard.put(("told", told)))))
        except BaseException as error:  # raised again where it is awaited
            heard.put(("failed", error))

    threading.Thread(target=run, name="background", daemon=True).start()
    over = False
    try:
        while True:
            try:
                kind, value = heard.get(timeout=STEP)
            except queue.Empty:
                if cancel.is_set():
                    raise RequestError(cancelled) from None
                continue
            over = kind != "told"
            if kind == "done":
                return value
            if kind == "failed":
                raise value
            yield value
    finally:
        if not over:
            cancel.set()
