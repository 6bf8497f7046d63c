"""`python -m vlm quantize SOURCE DESTINATION --nf4`: a checkpoint in fewer bits, for itself."""

from types import SimpleNamespace

from vlm.settings import Parser, Settings, terminal_language
from vlm.strings import say

KINDS = ("nf4", "fp4", "int8")


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("source", help=say("flag.model"))
    parser.add_argument("destination", help=say("flag.destination"))
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind in KINDS:
        kinds.add_argument(
            f"--{kind}", dest="kind", action="store_const", const=kind, help=say(f"flag.{kind}")
        )
    parser.add_argument("--force", action="store_true", help=say("flag.force"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Writes the checkpoint and says how large it is."""
    from vlm.commands.bar import Bar  # torch takes seconds: not for `--help`
    from vlm.progress import Watch
    from vlm.saving import quantize

    language = terminal_language(settings)
    bar = Bar(language)
    try:
        folder = quantize(
            arguments.source,
            arguments.destination,
            arguments.kind,
            force=arguments.force,
            device=settings.device,
            dtype=settings.dtype,
            watch=Watch(bar),
        )
    finally:
        bar.end()
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(say("quantize.done", language, folder=folder, kind=arguments.kind, size=size / 1e9))
    return 0
