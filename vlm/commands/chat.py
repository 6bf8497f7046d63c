"""`python -m vlm chat IMAGE... [-p PROMPT]`: the answer on stdout, everything else on stderr."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

from vlm.backend import Backend, Finished, Progress, TextDelta, open_backend
from vlm.chat import ChatSession
from vlm.errors import VLMError
from vlm.fetch import fetch_image
from vlm.images import is_address, open_image
from vlm.messages import Image
from vlm.report import end_words, progress_words, stats_words
from vlm.settings import (
    GenerationOptions,
    Parser,
    Settings,
    generation_options,
    terminal_language,
)
from vlm.strings import error_text, say


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.images"))
    parser.add_argument("-p", "--prompt", help=say("flag.prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--no-stream", action="store_true", help=say("flag.no_stream"))
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help=say("flag.repeat"))
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Answers one prompt, or talks until the input ends. Returns the exit status."""
    options = generation_options(vars(arguments))
    images = [_open(source, settings) for source in arguments.images]
    language = terminal_language(settings)
    print(say("progress.loading", language), file=sys.stderr)
    backend = open_backend(settings)
    try:
        if arguments.prompt is not None:
            return _ask_repeatedly(backend, images, options, arguments, settings)
        _talk(backend, images, options, arguments, settings)
        return 0
    finally:
        backend.close()


def _open(source: str, settings: Settings) -> Image:
    if is_address(source):
        return fetch_image(source, limits=settings.image_limits)
    return open_image(source, limits=settings.image_limits)


def _ask_repeatedly(
    backend: Backend,
    images: Sequence[Image],
    options: GenerationOptions,
    arguments: SimpleNamespace,
    settings: Settings,
) -> int:
    """The same question `--repeat` times, each with the next seed."""
    for turn in range(arguments.repeat):
        counts = options.seed is not None or arguments.repeat > 1
        seed = (options.seed or 0) + turn if counts else None
        session = _session(backend, arguments, settings)
        reason = _answer(
            session, arguments.prompt, images, replace(options, seed=seed), arguments, settings
        )
        if reason == "cancelled":
            return 130
    return 0


def _talk(
    backend: Backend,
    images: Sequence[Image],
    options: GenerationOptions,
    arguments: SimpleNamespace,
    settings: Settings,
) -> None:
    """Reads questions until the end of input; images go with the first."""
    session, waiting = _session(backend, arguments, settings), list(images)
    language = terminal_language(settings)
    print(say("cli.talk", language), file=sys.stderr)
    while (line := _read_line()) is not None:
        if not line.strip():
            continue
        try:
            _answer(session, line, waiting, options, arguments, settings)
            if session.turns:  # one that was stopped before its first word is not kept
                waiting = []
        except VLMError as error:
            print(error_text(error, language), file=sys.stderr)


def _read_line() -> str | None:
    """The next question, or None at the end of input or Ctrl-C at an empty prompt."""
    print("> ", end="", file=sys.stderr, flush=True)
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return None
    return line.rstrip("\n") if line else None


def _session(backend: Backend, arguments: SimpleNamespace, settings: Settings) -> ChatSession:
    return ChatSession(
        backend, system_prompt=arguments.system_prompt, max_images=settings.max_images
    )


def _answer(
    session: ChatSession,
    text: str,
    images: Sequence[Image],
    options: GenerationOptions,
    arguments: SimpleNamespace,
    settings: Settings,
) -> str:
    """Prints one answer; Ctrl-C stops it and keeps the program. Returns why it ended."""
    language, streams = terminal_language(settings), not arguments.no_stream
    cancel = threading.Event()
    pieces: list[str] = []
    finished: Finished | None = None
    try:
        with _interrupt_sets(cancel):
            for event in session.send(text, images, options, cancel):
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                    print(event.text if streams else "", end="", flush=True)
                elif isinstance(event, Progress):
                    print(progress_words(event, language), file=sys.stderr)
                else:
                    finished = event
    finally:
        if streams and pieces:
            print(flush=True)  # ends the line, also of an answer that broke off
    assert finished is not None  # a session raises where there is no end
    if not streams:
        print("".join(pieces), flush=True)
    for note in (end_words(finished, language), stats_words(finished, language)):
        print(note, end="\n" if note else "", file=sys.stderr)
    return finished.reason


@contextmanager
def _interrupt_sets(cancel: threading.Event) -> Iterator[None]:
    """While an answer runs, Ctrl-C sets `cancel` instead of ending the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
