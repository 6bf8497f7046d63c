"""`python -m vlm trace [FOLDER] IMAGE... -p PROMPT`: every stage of reading a prompt, in numbers.

A folder in the first place is the model's. With neither image nor prompt a photo that comes along
is looked at. A row a stage: its shape with the names of its axes, its type, its device, smallest,
mean and largest value; then where each tile stands in the prompt, and the likeliest next tokens.
With `--json` a list of objects of the same. With `--no-weights` a model is read from its
configuration alone: shapes, and no values.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from vlm.commands.pictures import open_source
from vlm.messages import Message, system_messages, user_message
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.backend import Stage
    from vlm.inspection import Inspection, TileSpan
    from vlm.options import GenerationOptions


PHOTO = Path(__file__).parents[2] / "assets" / "examples" / "cat.jpg"


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.traced"))
    parser.add_argument("-p", "--prompt", default="", help=say("flag.trace_prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--json", action="store_true", help=say("flag.json"))
    parser.add_argument("--no-weights", action="store_true", help=say("flag.no_weights"))
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Reads the prompt once and prints its stages."""
    language = terminal_language(settings)
    options, sources = generation_options(vars(arguments)), arguments.images
    if sources and os.path.isdir(sources[0]):
        settings, sources = replace(settings, model=sources[0]), sources[1:]
    if not sources and not arguments.prompt:
        sources = [str(PHOTO)]
        print(say("trace.photo", language, file=PHOTO.name), file=sys.stderr)
    images = [open_source(source, settings) for source in sources]
    question = user_message(arguments.prompt, images)
    messages = [*system_messages(arguments.system_prompt), question]
    if arguments.no_weights:
        found = _without_weights(settings.model, messages, options)
    else:
        found = _loaded(settings, messages, options, language)
    for note in _notes(found, language):
        print(note, file=sys.stderr)
    if arguments.json:
        print(json.dumps([_row(stage, found) for stage in found.stages], ensure_ascii=False))
    else:
        print("\n".join(_lines(found, language)))
    return 0


def _loaded(
    settings: Settings,
    messages: Sequence[Message],
    options: "GenerationOptions",
    language: str,
) -> "Inspection":
    from vlm.inspection import Inspection
    from vlm.opening import open_engine  # torch takes seconds: not for `--help`

    print(say("progress.loading", language), file=sys.stderr)
    with closing(open_engine(settings)) as engine:
        *_, found = engine.inspect(messages, options, threading.Event())
    assert isinstance(found, Inspection)
    return found


def _without_weights(
    name: str, messages: Sequence[Message], options: "GenerationOptions"
) -> "Inspection":
    from vlm.unweighted import open_unweighted

    return open_unweighted(name).inspect(messages, options.image_detail)


def _notes(found: "Inspection", language: str) -> Iterator[str]:
    """What is not as in a run of the published model."""
    if found.weightless:
        yield say("inspect.no_weights", language)
    if found.byte_words:
        yield say("inspect.byte_words", language)


def _row(stage: "Stage", found: "Inspection") -> dict[str, Any]:
    """What is printed of a stage: numbers that JSON can hold."""
    from vlm.inspection import tile_spans
    from vlm.stage_pictures import numbers

    row: dict[str, Any] = {
        "name": stage.name,
        "shape": list(stage.array.shape),
        "axes": list(stage.axes),
        "dtype": stage.dtype,
        "device": stage.device,
        "seconds": stage.seconds,
        **numbers(stage),
    }
    if found.counts_bytes(stage):
        row["tokens_about"] = True
    if stage.name == "inputs_embeds":
        spans = tile_spans(found.layouts, found.pieces)
        row["images"] = [
            {"image": span.image, "tile": span.tile, "tokens": [list(each) for each in span.ranges]}
            for span in spans
        ]
    if stage.name == "logits":
        row["likeliest"] = [
            {"text": word.text, "id": word.number, "probability": word.probability}
            for word in found.words
        ]
    return row


def _lines(found: "Inspection", language: str) -> Iterator[str]:
    """The stages as a table, where the tiles are, what comes next."""
    from vlm.inspection import tile_spans

    for stage in found.stages:
        row, about = _row(stage, found), found.counts_bytes(stage)
        sizes = [
            say("inspect.about", language, count=size) if about and name == "tokens" else str(size)
            for size, name in zip(row["shape"], row["axes"], strict=True)
        ]
        shape = " x ".join(f"{size} {name}" for size, name in zip(sizes, row["axes"], strict=True))
        values = (f"{row[key]:g}" for key in ("min", "mean", "max") if key in row)
        yield "\t".join([row["name"], shape, row["dtype"], row["device"], *values])
    yield from (_span(each, found, language) for each in tile_spans(found.layouts, found.pieces))
    if found.words:
        yield say("inspect.next", language)
    for word in found.words:
        text = json.dumps(word.text, ensure_ascii=False)
        yield f"{text}\t{100 * word.probability:.1f} %"


def _span(span: "TileSpan", found: "Inspection", language: str) -> str:
    """Which tokens a tile is."""
    ends: dict[str, object] = {"first": span.ranges[0][0], "last": span.ranges[-1][1] - 1}
    if found.byte_words:
        ends = {name: say("inspect.about", language, count=at) for name, at in ends.items()}
    key = "inspect.tile.at" if span.tile else "inspect.thumbnail.at"
    facts = {"number": span.tile} if span.tile else {}
    said = say(key, language, count=span.tokens, **facts, **ends)
    return f"{say('inspect.photo', language, number=span.image)} · {said}"
