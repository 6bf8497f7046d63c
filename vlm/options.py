"""How one answer is made: `GenerationOptions`, and named sets of them. None is the model's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from vlm.errors import RequestError, SettingError


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How one answer is made. None means the model's own default.

    Attributes:
        temperature: 0 always takes the likeliest token; above, the higher the more varied.
        top_p: keep the likeliest tokens that together reach this probability.
        top_k: keep at most so many of the likeliest tokens; 0 keeps all.
        repetition_penalty: above 1 makes tokens that were already used less likely.
        num_beams: above 1 searches so many answers side by side; such an answer is not streamed.
        max_new_tokens: end the answer after so many tokens.
        min_new_tokens: do not end it before so many.
        stop: end the answer before any of these texts.
        seed: the same seed gives the same answer on the same machine.
        image_detail: how images are cut up and scaled: the name of a `vlm.backend.ImageKnob` ->
            its value. Which there are is the processor's to say.
        kv_cache_bits: in which keys and values are kept: 16, or 8 to take half the memory of a long
            conversation. Not every model can.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    image_detail: Mapping[str, int | bool] = field(default_factory=dict)
    kv_cache_bits: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in OPTION_RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RequestError("option_out_of_range", name=name, got=value, low=low, high=high)
        for name, accepted in OPTION_CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in accepted:
                words = ", ".join(map(str, accepted))
                raise RequestError("option_choice", name=name, got=value, accepted=words)

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "GenerationOptions":
        """Options from a JSON object. Raises RequestError for an unknown name or a wrong type."""
        given = {
            name: _option_from_json(name, value)
            for name, value in values.items()
            if value is not None or name not in OPTION_TYPES
        }
        return cls(**given)  # pyright: ignore[reportArgumentType]

    def to_json(self) -> dict[str, object]:
        """What is set, and only that, as a JSON object for `from_json`."""
        unset = GenerationOptions()
        given = {option.name: getattr(self, option.name) for option in fields(self)}
        as_json = {"stop": list(self.stop), "image_detail": dict(self.image_detail)}
        return {
            name: as_json.get(name, value)
            for name, value in given.items()
            if value != getattr(unset, name)
        }


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Options of an answer that a model was published with, under a name.

    Attributes:
        name: what a person types; `answer_preset.NAME` in the table of words is what the page says.
        values: option -> its value, as `GenerationOptions` has them.
    """

    name: str
    values: Mapping[str, int | float]


def with_preset(
    options: GenerationOptions, name: str | None, presets: Sequence[Preset]
) -> GenerationOptions:
    """The options over those of a preset.

    Args:
        options: what was set besides; it counts more than the preset.
        name: of the preset; None: no preset.
        presets: that the model has.

    Raises:
        SettingError: there is no preset of that name.
    """
    if name is None:
        return options
    found = next((preset for preset in presets if preset.name == name), None)
    if found is None:
        known = ", ".join(preset.name for preset in presets) or "-"
        raise SettingError("preset_unknown", got=name, known=known)
    return GenerationOptions.from_json({**found.values, **options.to_json()})


def _option_from_json(name: str, value: object) -> object:
    """The value of one option, a list as a tuple."""
    if name not in OPTION_TYPES:
        raise RequestError("option_unknown", got=name, known=", ".join(OPTION_TYPES))
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        value = tuple(value)
    right = isinstance(value, OPTION_TYPES[name]) and not isinstance(value, bool)
    if isinstance(value, dict):
        right = right and all(isinstance(key, str) for key in value)
        right = right and all(isinstance(each, int) for each in value.values())
        value = dict(value)
    if not right:
        raise RequestError("option_type", name=name, got=repr(value)[:60])
    return value


OPTION_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 5.0),
    "top_p": (0.01, 1.0),
    "top_k": (0, 1000),
    "repetition_penalty": (0.5, 3.0),
    "num_beams": (1, 16),
    "max_new_tokens": (1, 32768),
    "min_new_tokens": (0, 32768),
    "seed": (0, 2**32 - 1),
}
"""Smallest and largest value of each option that is a number."""

OPTION_CHOICES: Mapping[str, tuple[int, ...]] = {"kv_cache_bits": (16, 8)}
"""The values of each option that is one of a few; the first is that of every model."""

OPTION_TYPES: Mapping[str, tuple[type, ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "repetition_penalty": (int, float),
    "num_beams": (int,),
    "max_new_tokens": (int,),
    "min_new_tokens": (int,),
    "stop": (tuple,),
    "seed": (int,),
    "image_detail": (dict,),
    "kv_cache_bits": (int,),
}
"""What each option of an answer may be in JSON, a list being a tuple here."""
