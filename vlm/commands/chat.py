"""`python -m vlm chat IMAGE... [-p PROMPT]`: the answer on stdout, everything else on stderr."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

from vlm.backend import Backend, Event, Finished, Progress, TextDelta, open_backend
from vlm.chat import ChatSession, Turn
from vlm.commands.pictures import open_source
from vlm.commands.terminal import INTERRUPTED, NOBODY_READS, interrupt_sets
from vlm.errors import RequestError, SettingError, VLMError
from vlm.markup import PlainText
from vlm.messages import Image
from vlm.options import GenerationOptions, with_preset
from vlm.report import end_words, progress_words, stats_words
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import error_text, say
from vlm.transcript import Conversation, from_zip

MOST_REPETITIONS = 1000
MOST_TURNS = 100_000

Ask = Callable[[GenerationOptions, threading.Event], Iterator[Event]]
"""Asks one question with some options; the flag stops it."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.images"))
    parser.add_argument("-p", "--prompt", help=say("flag.prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--no-stream", action="store_true", help=say("flag.no_stream"))
    parser.add_count("--repeat", default=1, most=MOST_REPETITIONS, text=say("flag.repeat"))
    parser.add_argument("--replay", metavar="FILE.zip", help=say("flag.replay"))
    parser.add_count("--turn", most=MOST_TURNS, text=say("flag.turn"))
    parser.add_argument("--preset", metavar="NAME", help=say("flag.preset"))
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Answers one prompt, or talks until the input ends. Returns the exit status."""
    options = generation_options(vars(arguments))
    stored = _stored(arguments, settings)
    images = [open_source(source, settings) for source in arguments.images]
    language = terminal_language(settings)
    try:
        print(say("progress.loading", language), file=sys.stderr)
        with closing(open_backend(settings)) as backend:
            options = with_preset(options, arguments.preset, backend.capabilities().presets)
            if stored is not None:
                return _replay(backend, *stored, options, arguments, settings)
            if arguments.prompt is None:
                _talk(backend, images, options, arguments, settings)
                return 0

            def ask(each: GenerationOptions, cancel: threading.Event) -> Iterator[Event]:
                session = _session(backend, arguments, settings)
                return session.send(arguments.prompt, images, each, cancel)

            return _ask_repeatedly(ask, options, arguments, settings)
    except BrokenPipeError:
        return NOBODY_READS


def _stored(arguments: SimpleNamespace, settings: Settings) -> tuple[Conversation, int] | None:
    """The conversation to replay and the index of the turn; None for a question of one's own."""
    file: str | None = arguments.replay
    if file is None:
        if arguments.turn is not None:
            raise SettingError("turn_without_replay", got=arguments.turn)
        return None
    if arguments.images or arguments.prompt is not None or arguments.system_prompt:
        raise SettingError("replay_has_question", file=file)
    limits = settings.conversation_limits
    conversation = from_zip(_read(file, settings), limits=limits, max_bytes=limits.file_bytes)
    count = len(conversation.start.path()) - 1
    number = count if arguments.turn is None else arguments.turn
    if not 1 <= number <= count:
        raise RequestError("no_such_turn", got=number, limit=count)
    return conversation, number - 1


def _read(file: str, settings: Settings) -> bytes:
    """The bytes of an exported conversation, not more of them than may be opened."""
    most = settings.conversation_limits.file_bytes
    try:
        with open(file, "rb") as opened:
            return opened.read(most + 1)  # one byte too many is refused with the rest
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise RequestError("conversation_not_readable", file=file, detail=detail) from error


def _replay(
    backend: Backend,
    conversation: Conversation,
    index: int,
    options: GenerationOptions,
    arguments: SimpleNamespace,
    settings: Settings,
) -> int:
    """Asks a stored turn again as it was asked, but for the options that are given now."""
    session = ChatSession(backend, start=conversation.start, max_images=settings.max_images)
    turn = session.turns[index]
    session.system_prompt = turn.system_prompt
    session.dropped = _dropped_before(session.turns, index)
    loaded = backend.capabilities().name
    if conversation.model not in ("", loaded):
        language = terminal_language(settings)
        words = say("cli.other_model", language, stored=conversation.model, loaded=loaded)
        print(words, file=sys.stderr)
    options = GenerationOptions.from_json({**turn.options.to_json(), **options.to_json()})
    return _ask_repeatedly(partial(session.retry, index), options, arguments, settings)


def _dropped_before(turns: tuple[Turn, ...], index: int) -> int:
    """How many of the oldest turns were no longer sent when a turn was asked.

    That is not stored, but the turn's own tokens are, and those of its whole prompt.
    """
    usage = turns[index].finished.usage
    before = usage.prompt_tokens + usage.completion_tokens - turns[index].tokens
    for dropped in range(index + 1):
        if sum(turn.tokens for turn in turns[dropped:index]) == before:
            return dropped
    return 0


def _ask_repeatedly(
    ask: Ask, options: GenerationOptions, arguments: SimpleNamespace, settings: Settings
) -> int:
    """The same question `--repeat` times, each with the next seed."""
    for turn in range(arguments.repeat):
        counts = options.seed is not None or arguments.repeat > 1
        seed = (options.seed or 0) + turn if counts else None
        if _answer(ask, replace(options, seed=seed), arguments, settings) == "cancelled":
            return INTERRUPTED
    return 0


def _talk(
    backend: Backend,
    images: list[Image],
    options: GenerationOptions,
    arguments: SimpleNamespace,
    settings: Settings,
) -> None:
    """Reads questions until the end of input; images go with the first."""
    session, waiting = _session(backend, arguments, settings), images
    language = terminal_language(settings)
    print(say("cli.talk", language), file=sys.stderr)
    while (line := _read_line()) is not None:
        if not line.strip():
            continue
        try:
            _answer(partial(session.send, line, waiting), options, arguments, settings)
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
    ask: Ask, options: GenerationOptions, arguments: SimpleNamespace, settings: Settings
) -> str:
    """Prints one answer; Ctrl-C stops it and keeps the program. Returns why it ended."""
    language, streams = terminal_language(settings), not arguments.no_stream
    cancel = threading.Event()
    text, pieces = PlainText(), list[str]()
    finished: Finished | None = None
    try:
        with interrupt_sets(cancel):
            for event in ask(options, cancel):
                if isinstance(event, TextDelta):
                    pieces.append(text.push(event.text))
                    print(pieces[-1] if streams else "", end="", flush=True)
                elif isinstance(event, Progress):
                    print(progress_words(event, language), file=sys.stderr)
                else:
                    finished = event
    finally:
        cancel.set()  # it may still run where nobody reads what is printed
        if streams and pieces:
            print(text.finish(), flush=True)  # ends the line, also of an answer that broke off
    assert finished is not None  # a session raises where there is no end
    if not streams:
        print("".join([*pieces, text.finish()]), flush=True)
    for note in (end_words(finished, language), stats_words(finished, language)):
        print(note, end="\n" if note else "", file=sys.stderr)
    return finished.reason
