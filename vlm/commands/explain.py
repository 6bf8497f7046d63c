"""`python -m vlm explain IMAGE... -p PROMPT`: how sure the model was, and where it looked.

A line a token goes to stdout: its text, its probability, how many tokens the options left, and the
likeliest ones; then a line an image. `--out` writes the map over the photo; `--check` measures how
often an object is found.
"""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm.backend import Event, Progress, TextDelta
from vlm.commands.pictures import open_source
from vlm.errors import RequestError
from vlm.messages import Image, Message, system_messages, user_message
from vlm.report import progress_words
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.engine import Engine
    from vlm.explanation import Explanation
    from vlm.options import GenerationOptions

MOST_PICTURES = 2000
METHODS = ("attention", "occlusion")


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.images"))
    parser.add_argument("-p", "--prompt", default="", help=say("flag.trace_prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--answer", metavar="TEXT", help=say("flag.explain_answer"))
    parser.add_argument("--word", help=say("flag.word"))
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help=say("flag.method"))
    parser.add_argument("--out", metavar="FILE", help=say("flag.explain_out"))
    parser.add_argument("--json", action="store_true", help=say("flag.json"))
    parser.add_argument("--check", action="store_true", help=say("flag.explain_check"))
    parser.add_count("--pictures", default=200, most=MOST_PICTURES, text=say("flag.pictures"))
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Loads the model, has it answer if need be, and looks into the answer."""
    language = terminal_language(settings)
    if arguments.check:
        from vlm.commands import explain_check  # it draws pictures: not for `--help`

        if arguments.images or arguments.out is not None:
            raise RequestError("check_has_images")
        return explain_check.run(arguments, settings)
    from vlm.explain import find_word
    from vlm.opening import open_engine  # torch takes seconds: not for `--help`

    options = generation_options(vars(arguments))
    images = [open_source(source, settings) for source in arguments.images]
    question = user_message(arguments.prompt, images)
    messages = [*system_messages(arguments.system_prompt), question]
    print(say("progress.loading", language), file=sys.stderr)
    with closing(open_engine(settings)) as engine:
        answer = arguments.answer
        if answer is None:
            print(say("explain.answering", language), file=sys.stderr)
            answer = ask(engine, messages, options)

        def tell(event: Event) -> None:
            if isinstance(event, Progress):
                print(progress_words(event, language), file=sys.stderr)

        found = engine.explain(messages, answer, options, arguments.method, tell=tell)
    chosen = None if arguments.word is None else find_word(found, arguments.word)
    if arguments.out is not None:
        _write(Path(arguments.out), images, found, chosen)
    if arguments.json:
        print(json.dumps(_as_json(found, chosen), ensure_ascii=False))
    else:
        print("\n".join(_lines(found, chosen, language)))
    return 0


def ask(engine: "Engine", messages: Sequence[Message], options: "GenerationOptions") -> str:
    """What the model answers."""
    events = engine.stream(messages, options, threading.Event())
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def _write(
    file: Path, images: Sequence[Image], found: "Explanation", chosen: Sequence[int] | None
) -> None:
    """Writes the map over each image. Raises RequestError where that is not possible."""
    from vlm.explain import map_picture

    several = len(images) > 1
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for number, (image, sight) in enumerate(zip(images, found.sights, strict=True), 1):
            to = file.with_stem(f"{file.stem}-{number}") if several else file
            map_picture(image, sight, chosen).save(to)
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise RequestError("folder_not_writable", folder=str(file), detail=detail) from error


def _as_json(found: "Explanation", chosen: Sequence[int] | None) -> dict:
    """What was found, in numbers that JSON can hold."""
    from vlm.explain import cells

    return {
        "answer": found.answer,
        "method": found.method,
        "layers": list(found.layers),
        "chosen": list(range(len(found.tokens)) if chosen is None else chosen),
        "tokens": [asdict(token) for token in found.tokens],
        "images": [
            {
                "size": list(sight.original_size),
                "grain": sight.grain,
                "cells": [asdict(cell) for cell in cells(sight, chosen)],
            }
            for sight in found.sights
        ],
    }


def _lines(found: "Explanation", chosen: Sequence[int] | None, language: str) -> Iterator[str]:
    """What was found in words."""
    from vlm.explain import cells

    for token in found.tokens:
        others = ", ".join(
            f"{json.dumps(text, ensure_ascii=False)} {100 * value:.1f} %"
            for text, value in token.likeliest
        )
        text = json.dumps(token.text, ensure_ascii=False)
        yield f"{text}\t{100 * token.probability:.1f} %\t{token.kept}\t{others}"
    for number, sight in enumerate(found.sights, 1):
        places = cells(sight, chosen)
        best = max(places, key=lambda place: (place.strength, place.value))
        box = ", ".join(f"{edge:.0f}" for edge in best.box)
        if sight.grain == "patch":
            value = f"{best.value:+.2f}"
            yield say("explain.patches", language, number=number, box=box, value=value)
        else:
            share = f"{100 * sum(place.value for place in places):.1f}"
            yield say("explain.cells", language, number=number, box=box, share=share)
        if sight.grain in ("tile", "image"):
            yield say(f"explain.{sight.grain}", language)
