"""`python -m vlm COMMAND ...`: finds the command and runs it; errors for people end it politely."""

import importlib
import sys

from vlm.commands import NAMES
from vlm.errors import VLMError
from vlm.settings import Command, Settings, parse_command, terminal_language
from vlm.strings import error_text


def load_command(name: str) -> Command:
    """The two functions of a command's module."""
    module = importlib.import_module(f"vlm.commands.{name.replace('-', '_')}")
    return module.add_arguments, module.run


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Returns 0, 1 after an error, 130 when it was interrupted."""
    language = terminal_language(Settings())
    try:
        run, arguments, settings = parse_command(NAMES, load_command, argv)
        language = terminal_language(settings)
        return run(arguments, settings)
    except VLMError as error:
        print(error_text(error, language), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
