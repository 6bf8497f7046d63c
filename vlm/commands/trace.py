"""`python -m vlm trace [FOLDER] IMAGE... -p PROMPT`: every stage of reading a prompt, in numbers.

A folder in the first place is the model's. With neither image nor prompt a photo that comes along
is looked at. A row a stage: its shape with the names of its axes, its type, smallest, mean and
largest value; with `--json` a list of objects of the same. With `--no-weights` a model is read from
its configuration alone: shapes, and no values.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm.commands.pictures import open_source
from vlm.messages import Message, system_messages, user_message
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.backend import Stage
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
    options, sources = generation_options(vars(arguments)), arguments.images
    if sources and os.path.isdir(sources[0]):
        settings, sources = replace(settings, model=sources[0]), sources[1:]
    if not sources and not arguments.prompt:
        sources = [str(PHOTO)]
        print(say("trace.photo", terminal_language(settings), file=PHOTO.name), file=sys.stderr)
    images = [open_source(source, settings) for source in sources]
    question = user_message(arguments.prompt, images)
    messages = [*system_messages(arguments.system_prompt), question]
    if arguments.no_weights:
        rows = [_row(stage) for stage in _without_weights(settings.model, messages, options)]
    else:
        rows = [_row(stage) for stage in _loaded(settings, messages, options)]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        axes = zip(row["shape"], row["axes"], strict=True)
        shape = " x ".join(f"{size} {name}" for size, name in axes)
        values = (f"{row[key]:g}" for key in ("min", "mean", "max") if key in row)
        print("\t".join([row["name"], shape, row["dtype"], *values]))
    return 0


def _loaded(
    settings: Settings, messages: list[Message], options: "GenerationOptions"
) -> "Iterator[Stage]":
    from vlm.opening import open_engine  # torch takes seconds: not for `--help`

    print(say("progress.loading", terminal_language(settings)), file=sys.stderr)
    with closing(open_engine(settings)) as engine:
        yield from engine.trace(messages, options)


def _without_weights(
    name: str, messages: list[Message], options: "GenerationOptions"
) -> "Iterator[Stage]":
    from vlm.unweighted import open_unweighted

    yield from open_unweighted(name).inspect(messages, options.image_detail).stages


def _row(stage: "Stage") -> dict:
    """What is printed of a stage: numbers that JSON can hold."""
    array = stage.array
    row = {
        "name": stage.name,
        "shape": list(array.shape),
        "axes": list(stage.axes),
        "dtype": str(array.dtype) if stage.known else stage.dtype,
    }
    if not stage.known:
        return row
    summary = (array.min(), array.mean(), array.max()) if array.size else (0, 0, 0)
    return {**row, **dict(zip(("min", "mean", "max"), map(float, summary), strict=True))}
