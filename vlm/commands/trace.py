"""`python -m vlm trace IMAGE... -p PROMPT`: every stage of reading a prompt, in numbers.

A row a stage: its shape with the names of its axes, its type, smallest, mean and largest value;
with `--json` a list of objects of the same.
"""

import json
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm.commands.pictures import open_source
from vlm.messages import Message, Text, user_message
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.backend import Stage


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.images"))
    parser.add_argument("-p", "--prompt", default="", help=say("flag.trace_prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--json", action="store_true", help=say("flag.json"))
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Loads the model, reads the prompt once and prints its stages."""
    from vlm.opening import open_engine  # torch takes seconds: not for `--help`

    options = generation_options(vars(arguments))
    images = [open_source(source, settings) for source in arguments.images]
    messages = [user_message(arguments.prompt, images)]
    if arguments.system_prompt:
        messages.insert(0, Message("system", (Text(arguments.system_prompt),)))
    print(say("progress.loading", terminal_language(settings)), file=sys.stderr)
    with closing(open_engine(settings)) as engine:
        rows = [_row(stage) for stage in engine.trace(messages, options)]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        axes = zip(row["shape"], row["axes"], strict=True)
        shape = " x ".join(f"{size} {name}" for size, name in axes)
        low, mean, high = (row[key] for key in ("min", "mean", "max"))
        print(f"{row['name']}\t{shape}\t{row['dtype']}\t{low:g}\t{mean:g}\t{high:g}")
    return 0


def _row(stage: "Stage") -> dict:
    """What is printed of a stage: numbers that JSON can hold."""
    array = stage.array
    summary = (array.min(), array.mean(), array.max()) if array.size else (0, 0, 0)
    return {
        "name": stage.name,
        "shape": list(array.shape),
        "axes": list(stage.axes),
        "dtype": str(array.dtype),
        **dict(zip(("min", "mean", "max"), map(float, summary), strict=True)),
    }
