"""`python -m vlm fit [SOURCE]`: what fits into memory, before anything is loaded.

A row a precision for one checkpoint; for the whole catalogue without one. `--check` measures the
estimates against real runs.
"""

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm import families
from vlm.errors import VLMError
from vlm.report import advice_words
from vlm.settings import Parser, Settings, terminal_language
from vlm.strings import error_text, say
from vlm.workload import Workload

if TYPE_CHECKING:
    from vlm.estimate import Verdict

MOST_TOKENS = 1 << 24
MOST_IMAGES = 100


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("source", nargs="?", help=say("flag.model"))
    parser.add_count("--context", default=4096, most=MOST_TOKENS, text=say("flag.context"))
    parser.add_count("--images", default=1, most=MOST_IMAGES, text=say("flag.fit_images"))
    parser.add_argument("--check", action="store_true", help=say("flag.check"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Prints the table, and the largest setting that fits."""
    language = terminal_language(settings)
    workload = Workload(context=arguments.context, images=arguments.images)
    if arguments.check:
        from vlm.commands.fit_check import check

        return check(arguments.source, workload, settings)
    print(say("fit.head", language))
    print("|---|---|---|---|---|---|---|---|---|")
    if arguments.source:
        print(_rows(arguments.source, workload, settings, language))
        return 0
    for each in families.catalogue():
        try:
            print(_rows(each.name, workload, settings, language), end="\n\n")
        except VLMError as error:
            print(f"{each.name}: {error_text(error, language)}", file=sys.stderr)
    return 0


def _rows(source: str, workload: Workload, settings: Settings, language: str) -> str:
    from vlm.blueprint import read  # torch takes seconds: not for `--help`
    from vlm.estimate import advise, judge

    blueprint = read(source, device=settings.device, dtype=settings.dtype)
    verdicts = judge(blueprint, workload)
    rows = [_row(source, each, language) for each in verdicts]
    advice = advise(blueprint, workload, verdicts[0].free)
    wanted = blueprint.fitted(workload)
    return "\n".join([*rows, "", advice_words(advice, wanted, verdicts[0].free, language)])


def _row(source: str, verdict: "Verdict", language: str) -> str:
    estimate = verdict.estimate
    sizes = (
        estimate.weights,
        estimate.images,
        estimate.context,
        estimate.work,
        estimate.total,
        verdict.free,
    )
    cells = [source, estimate.precision, *(f"{size / 1e9:.2f}" for size in sizes)]
    words = say(f"fit.{verdict.kind}", language)
    return f"| {' | '.join(cells)} | {'≈ ' if estimate.rough else ''}{words} |"
