"""What can be set, and the only place that reads the environment and the command line.

`Settings` holds for the whole program: every field has a `VLM_...` variable and a flag of the
same name. The flags of one answer become `vlm.options.GenerationOptions`.
"""

import argparse
import contextlib
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from vlm.errors import SettingError
from vlm.images import ImageLimits
from vlm.options import OPTION_CHOICES, OPTION_RANGES, OPTION_TYPES, GenerationOptions
from vlm.strings import choose_language, say


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The program's settings; what each means stands in the table of words as `flag.NAME`."""

    model: str = "pocket"
    tokenizer: str = ""
    quantization: str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    device_map: str = ""
    backend: str = "local"
    host: str = "127.0.0.1"
    port: int = 7860
    language: str = "auto"
    open_browser: bool = False
    hosted: bool = False
    max_megapixels: float = 40.0
    max_side: int = 16384
    max_file_megabytes: float = 20.0
    max_images: int = 8
    max_conversation_megabytes: float = 100.0
    idle_minutes: float = 0.0

    @property
    def image_limits(self) -> ImageLimits:
        """What `open_image` may accept."""
        return ImageLimits(
            megapixels=self.max_megapixels,
            side=self.max_side,
            file_megabytes=self.max_file_megabytes,
        )

    @property
    def conversation_limits(self) -> ImageLimits:
        """What an exported conversation may hold: its pictures are stored larger than they came."""
        return replace(self.image_limits, file_megabytes=self.max_conversation_megabytes)


CHOICES: Mapping[str, tuple[str, ...]] = {
    "quantization": ("auto", "none", "int8", "nf4", "fp4"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "device_map": ("", "auto", "balanced", "balanced_low_0", "sequential"),
    "language": ("auto", "en", "zh"),
}
"""Settings that take one of a few words."""

MODEL_SETTINGS = ("model", "tokenizer", "quantization", "dtype", "device", "backend")
"""The settings that an answer depends on."""

FEWER_BITS = ("int8", "nf4", "fp4")
"""Values of `quantization` that make a model smaller."""

RANGES: Mapping[str, tuple[float, float]] = {
    "port": (1, 65535),
    "max_megapixels": (0.01, 1000),
    "max_side": (16, 100_000),
    "max_file_megabytes": (0.01, 1000),
    "max_images": (1, 100),
    "max_conversation_megabytes": (0.01, 1000),
    "idle_minutes": (0, 100_000),
}
"""Smallest and largest value of each setting that is a number."""

YES_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
"""How people write what is on or off."""

SWITCHES = ("thumbnail", "splitting", "padding", "cropping", "numbering")
"""What `image_detail` may name that is on or off; everything else in it is a whole number."""


def read_settings(
    arguments: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from flags that were given, else from `VLM_...` variables, else the defaults.

    Args:
        arguments: field name -> value, as parsed from the command line; None values do not count.
        environ: variables to read instead of those of the process.

    Raises:
        SettingError: a variable or flag whose value cannot be read.
    """
    environ = os.environ if environ is None else environ
    on_space = "SPACE_ID" in environ  # a Hugging Face Space: its proxy comes from outside
    defaults = Settings(hosted=on_space, host="0.0.0.0" if on_space else "127.0.0.1")
    given: dict[str, object] = {}
    for setting in fields(Settings):
        flag = (arguments or {}).get(setting.name)
        text = environ.get(f"VLM_{setting.name.upper()}", "") if flag is None else str(flag)
        if text.strip():
            default = getattr(defaults, setting.name)
            given[setting.name] = _convert(setting.name, text.strip(), default)
    return replace(defaults, **given)  # pyright: ignore[reportArgumentType]


def _convert(name: str, text: str, default: object) -> object:
    """`text` as the type of the field's default."""
    if isinstance(default, bool):
        if text.lower() not in YES_NO:
            raise SettingError("setting_not_understood", name=name, got=text, accepted="0, 1")
        return YES_NO[text.lower()]
    if name in CHOICES and text not in CHOICES[name]:
        accepted = ", ".join(CHOICES[name])
        raise SettingError("setting_not_understood", name=name, got=text, accepted=accepted)
    if isinstance(default, int | float):
        return _number(name, text, type(default), RANGES[name])
    return text


def _number(
    name: str, text: str, kind: type[int] | type[float], limits: tuple[float, float]
) -> int | float:
    low, high = limits
    with contextlib.suppress(ValueError):
        if low <= (number := kind(text)) <= high:
            return number
    accepted = f"{low:g} … {high:g}"
    raise SettingError("setting_not_understood", name=name, got=text, accepted=accepted)


def terminal_language(settings: Settings, environ: Mapping[str, str] | None = None) -> str:
    """The language for words in a terminal: the setting, or what `LANG` asks for."""
    environ = os.environ if environ is None else environ
    if settings.language != "auto":
        return settings.language
    return choose_language(environ.get("LC_ALL") or environ.get("LANG") or "")


class Parser(argparse.ArgumentParser):
    """Reads a command line. Commands add their own arguments to one; words come from the table."""

    def add_settings(self) -> None:
        """Adds a flag for every setting, such as `--max-side N`."""
        group = self.add_argument_group(say("flag.group"))
        for setting in fields(Settings):
            flag, text = _flag(setting.name), say(f"flag.{setting.name}")
            if setting.type is bool:
                group.add_argument(flag, nargs="?", const="1", metavar="0|1", help=text)
            else:
                metavar = "|".join(CHOICES.get(setting.name, (setting.name.upper(),)))
                group.add_argument(flag, metavar=metavar, help=text)

    def add_count(
        self,
        flag: str,
        *,
        default: int | None = None,
        bare: int | None = None,
        most: int,
        text: str,
    ) -> None:
        """Adds a flag for a whole number from 1 to `most`; another is a SettingError.

        Args:
            default: where the flag is not given.
            bare: where it is given without a number; None: it needs one.
        """

        def count(word: str) -> int | float:
            return _number(flag, word, int, (1, most))

        alone: dict[str, typing.Any] = {} if bare is None else {"nargs": "?", "const": bare}
        self.add_argument(flag, type=count, default=default, metavar="N", help=text, **alone)

    def add_generation_options(self, *only: str) -> None:
        """Adds a flag for every option of an answer, or the named ones, such as `--temperature`."""
        group = self.add_argument_group(say("option.group"))
        for option in fields(GenerationOptions):
            if only and option.name not in only:
                continue
            flag, text = _flag(option.name), say(f"option.{option.name}")
            if option.name == "stop":
                group.add_argument(flag, action="append", default=[], metavar="TEXT", help=text)
            elif option.name == "image_detail":
                metavar = "NAME=VALUE"
                group.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
            elif option.name in OPTION_CHOICES:
                metavar = "|".join(map(str, OPTION_CHOICES[option.name]))
                group.add_argument(flag, type=int, metavar=metavar, help=text)
            elif option.name in OPTION_RANGES:
                kind = OPTION_TYPES[option.name][-1]
                group.add_argument(flag, type=kind, metavar=option.name.upper(), help=text)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def generation_options(arguments: Mapping[str, object]) -> GenerationOptions:
    """The options that a parsed command line gave. Raises VLMError for one that means nothing."""
    names = {option.name for option in fields(GenerationOptions)}
    given = {name: value for name, value in arguments.items() if name in names}
    given["stop"] = tuple(typing.cast(Sequence[str], given.get("stop") or ()))
    details = typing.cast(Sequence[str], given.get("image_detail") or ())
    given["image_detail"] = dict(map(_image_detail, details))
    return GenerationOptions(**given)  # pyright: ignore[reportArgumentType]


def _image_detail(text: str) -> tuple[str, int | bool]:
    """Name and value of "tiles=6" or "thumbnail=0"."""
    name, _, value = (part.strip() for part in text.partition("="))
    with contextlib.suppress(ValueError, KeyError):
        if name:
            return name, YES_NO[value.lower()] if name in SWITCHES else int(value)
    raise SettingError("image_detail_form", got=text)


def option_words(options: GenerationOptions) -> list[str]:
    """The words of a command line that gives these options: what the parser reads, backwards."""
    words: list[str] = []
    for name, value in options.to_json().items():
        if isinstance(value, dict):
            value = [f"{knob}={str(each).lower()}" for knob, each in value.items()]
        for each in value if isinstance(value, list) else [value]:
            words += flag_words(_flag(name), str(each))
    return words


def model_names(settings: Settings, details: Sequence[str]) -> dict[str, str]:
    """The settings that an answer depends on, by name.

    Args:
        details: `Capabilities.details`; they say which precision one that was left open became.
    """
    names = {name: str(getattr(settings, name)) for name in MODEL_SETTINGS}
    chosen = [each for each in details if each in FEWER_BITS]
    if names["quantization"] == "auto" and chosen:
        names["quantization"] = chosen[0]
    return names


def setting_words(settings: Settings, names: Sequence[str]) -> list[str]:
    """The words of a command line that gives those of the named settings that are no default."""
    given = {name: getattr(settings, name) for name in names}
    return [
        word
        for name, value in given.items()
        if value != getattr(Settings(), name)
        for word in flag_words(_flag(name), str(value))
    ]


def flag_words(flag: str, value: str) -> list[str]:
    """A flag and its value; as one word where the value would be taken for a flag itself."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def parse_program(argv: Sequence[str] | None = None) -> Settings:
    """Settings from the command line of `app.py`."""
    parser = Parser(prog="app.py", description=say("cli.app"))
    parser.add_settings()
    return read_settings(vars(parser.parse_args(argv)))


Command = tuple[Callable[[Parser], None], Callable[[types.SimpleNamespace, Settings], int]]


def parse_command(
    names: Sequence[str], load: Callable[[str], Command], argv: Sequence[str] | None = None
) -> tuple[Callable[[types.SimpleNamespace, Settings], int], types.SimpleNamespace, Settings]:
    """Reads `python -m vlm COMMAND ...`; imports only the command that was asked for.

    Args:
        names: of all commands.
        load: name -> (adds its arguments to a parser, runs it).
        argv: words to read instead of those of the process.

    Returns:
        what runs the command, its arguments, and the settings.
    """
    argv = sys.argv[1:] if argv is None else argv
    top = Parser(prog="python -m vlm", description=say("cli.vlm"))
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        commands.add_parser(name, add_help=False, help=say(f"cli.{name}"))
    name = top.parse_args(argv[:1]).command
    add_arguments, run = load(name)
    parser = Parser(prog=f"python -m vlm {name}", description=say(f"cli.{name}"))
    add_arguments(parser)
    parser.add_settings()
    arguments = vars(parser.parse_args(argv[1:]))
    return run, types.SimpleNamespace(**arguments), read_settings(arguments)
