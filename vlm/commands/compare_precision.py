"""`python -m vlm compare-precision SOURCE`: how much of what a model says fewer bits change."""

import json
from dataclasses import asdict
from types import SimpleNamespace

from vlm import measured
from vlm.errors import SettingError
from vlm.settings import CHOICES, Parser, Settings, terminal_language
from vlm.sources import look_up
from vlm.strings import say

KINDS = tuple(kind for kind in CHOICES["quantization"] if kind != "auto")


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("source", nargs="?", help=say("flag.model"))
    parser.add_argument(
        "--between",
        nargs="+",
        default=["none", "nf4"],
        metavar="|".join(KINDS),
        help=say("flag.between"),
    )
    parser.add_argument("--json", action="store_true", help=say("flag.json"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Prints a row for each precision after the first, which it is held against."""
    reference, *others = _kinds(arguments.between)
    from vlm.commands.bar import Bar  # torch takes seconds: not for `--help`
    from vlm.precision import THRESHOLD, compare
    from vlm.progress import Watch

    language, model = terminal_language(settings), arguments.source or settings.model
    bar = Bar(language)
    found = []
    for other in others:
        try:
            found.append(
                compare(
                    model,
                    reference,
                    other,
                    device=settings.device,
                    dtype=settings.dtype,
                    watch=Watch(bar),
                )
            )
        finally:
            bar.end()
        if reference == "none":  # what the list of models says of fewer bits
            measured.note(look_up(model)[1], other, found[-1].top_1)
    if arguments.json:
        print(json.dumps([{**asdict(each), "close": each.close} for each in found]))
        return 0
    print(say("precision.head", language))
    print("|---|---|---|---|---|---|")
    for each in found:
        sizes = (each.reference_bytes / 1e6, each.other_bytes / 1e6)
        print(
            f"| {each.reference} / {each.other} | {each.tokens} | {each.top_1:.1%} | "
            f"{each.mean_kl:.4f} | {each.max_kl:.3f} | {sizes[0]:.0f} / {sizes[1]:.0f} MB |"
        )
    for each in found:
        if not each.close:
            facts = {"other": each.other, "top_1": each.top_1, "limit": THRESHOLD}
            print(say("warning.precision", language, **facts))
    return 0


def _kinds(given: list[str]) -> list[str]:
    if len(given) < 2 or set(given) - set(KINDS):
        accepted = " ".join(KINDS)
        raise SettingError(
            "setting_not_understood", name="between", got=" ".join(given), accepted=accepted
        )
    return given
