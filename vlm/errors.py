"""The errors that people see: a key into the table of words, and the facts to fill in.

A `VLMError` says what was got, what is expected and what to do; any other exception is a bug.
The words live in `vlm.strings`, which comes later in the import order and hands its lookup in here.
"""

from collections.abc import Callable, Mapping

Lookup = Callable[[str, Mapping[str, object]], str]


class VLMError(Exception):
    """A failure with a sentence for the person in front of the screen.

    Args:
        key: names the sentence, as `error.KEY` in the table of `vlm.strings`.
        **facts: what the sentence mentions: numbers, names, limits.
    """

    _lookup: Lookup | None = None

    def __init__(self, key: str, **facts: object) -> None:
        super().__init__(key)
        self.key = key
        self.facts = facts

    def __str__(self) -> str:
        if VLMError._lookup is None:
            return f"{self.key}: {self.facts}"
        return VLMError._lookup(self.key, self.facts)


class ImageError(VLMError):
    """Something offered as an image cannot be used as one."""


class ModelError(VLMError):
    """A checkpoint cannot be found, read or loaded."""


class RequestError(VLMError):
    """A message or an option that the model cannot take."""


class SettingError(VLMError):
    """A flag or an environment variable with a value that means nothing."""


def set_lookup(lookup: Lookup) -> None:
    """Gives every `VLMError` its words: `lookup(key, facts)` returns the English sentence."""
    VLMError._lookup = lookup
