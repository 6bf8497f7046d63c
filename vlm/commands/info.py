"""`python -m vlm info SOURCE`: the parts of a checkpoint and their parameters, in millions."""

import sys
from types import SimpleNamespace

from vlm.settings import Parser, Settings, terminal_language
from vlm.strings import say


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("source", nargs="?", help=say("flag.model"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Loads the checkpoint as the settings say and prints what it consists of."""
    from vlm.loading import load  # torch takes seconds: not for `--help`
    from vlm.model_parts import parts

    language = terminal_language(settings)
    print(say("progress.loading", language), file=sys.stderr)
    loaded = load(
        arguments.source or settings.model,
        quantization=settings.quantization,
        device=settings.device,
        dtype=settings.dtype,
        tokenizer=settings.tokenizer,
    )
    config = loaded.model.config
    print(f"{loaded.name}: {type(loaded.model).__name__} ({config.model_type})")
    print(say("info.loaded", language, precision=loaded.precision, device=loaded.model.device))
    rows = [[say(f"info.{word}", language) for word in ("part", "total", "trainable", "quantised")]]
    for part in parts(loaded.model):
        numbers = (part.total, part.trainable, part.quantised)
        rows.append([part.name, *(f"{number / 1e6:.2f}" for number in numbers)])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print(row[0].ljust(widths[0]), *cells[1:], sep="  ")
    return 0
