"""`python -m vlm models`: what can be loaded by name, as a table."""

from types import SimpleNamespace

from vlm import families
from vlm.settings import Parser, Settings, terminal_language
from vlm.strings import say


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command: none."""


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Prints one row a checkpoint, then how to load any other."""
    language = terminal_language(settings)
    for each in families.catalogue():
        license = each.license or say("license.page", language)
        facts = (each.name, f"{each.parameters:g} M", license, " ".join(each.languages))
        print(*facts, say(each.good_at, language), sep="\t")
    print(say("cli.any_model", language))
    return 0
