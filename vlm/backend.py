"""What answers a conversation: the Backend protocol, the events it yields, the table of backends.

In: messages, options and a cancel flag. Out: an iterator of `Progress`, `TextDelta` and one last
`Finished`. Errors are raised, never yielded.
"""

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from vlm.errors import RequestError, SettingError
from vlm.messages import ALL_ROLES, Image, Message, Role, images_of
from vlm.options import GenerationOptions, Preset
from vlm.settings import Settings

if TYPE_CHECKING:
    import numpy

ProgressStage = Literal["queued", "loading", "reading", "thinking", "tracing", "looking"]
Reason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Progress:
    """What is happening before the first word: "reading", image 2 of 3; "queued", 2 ahead."""

    stage: ProgressStage
    current: int = 0
    total: int = 0


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True)
class Usage:
    """Counts of tokens. `image_tokens` and `cached_tokens` are parts of `prompt_tokens`."""

    prompt_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds, and the peak of memory, in bytes.

    queue: waiting for other answers; encode: images to features; prefill: reading the prompt;
    first_token: from the start of the work to the first token; decode: from the first token to
    the last. `peak_bytes` is of the accelerator, or of the whole process on a CPU.
    """

    queue: float = 0.0
    encode: float = 0.0
    prefill: float = 0.0
    first_token: float = 0.0
    decode: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Finished:
    """The last event of every answer that did not fail.

    `model` are the settings that say what answered, name -> value; empty where nobody noted it.
    """

    reason: Reason
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    model: Mapping[str, str] = field(default_factory=dict)


Event = Progress | TextDelta | Finished


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A part of an image that the vision tower sees as one picture.

    Attributes:
        box: (left, top, right, bottom) in pixels of the original image.
        rows, columns: of visual tokens.
    """

    box: tuple[float, float, float, float]
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """What becomes of one image on its way into the prompt.

    Attributes:
        original_size: (width, height) in pixels, upright.
        sent_size: (width, height) in pixels of all tiles together, without the thumbnail; None
            where the processor does not tell.
        tiles: in the order the model reads them; None where the processor does not tell.
        thumbnail: the whole image once more, small, where the model gets one.
        placeholders: visual tokens in the prompt, thumbnail included.
        thumbnail_first: whether it is read before the tiles; else after them.
        alpha: what became of transparency: there was none, it was dropped (hidden colours show),
            or the image was laid on white or on black.
        placed: whether a visual token belongs to its place in its tile. False where tokens are
            answers to learned questions (a resampler): then only the tile is known.
    """

    original_size: tuple[int, int]
    sent_size: tuple[int, int] | None
    tiles: tuple[Tile, ...] | None
    thumbnail: Tile | None = None
    placeholders: int
    thumbnail_first: bool = False
    alpha: Literal["none", "dropped", "white", "black"] = "none"
    placed: bool = True


@dataclass(frozen=True, kw_only=True)
class ImageKnob:
    """Something about images that a processor lets people choose, by `image_detail`.

    Attributes:
        name: "tiles" (most tiles of an image), "thumbnail", "splitting", "padding", "cropping",
            "numbering" (whether), or "pixels" (most pixels that are sent of an image).
        default: of the checkpoint.
        low, high: smallest and largest value; None for those that are on or off.
        argument: what the image processor calls it; None: by its name.
    """

    name: Literal["tiles", "thumbnail", "splitting", "padding", "cropping", "numbering", "pixels"]
    default: int | bool
    low: int | None = None
    high: int | None = None
    argument: str | None = None


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can take; checked before it runs, so that every backend refuses alike.

    Attributes:
        name: of the model, for people.
        details: what else the header shows: precision, device.
        images_per_turn: at most so many images in one message; None: no limit of its own.
        context_length: tokens of prompt and answer together; None: unknown.
        roles: of messages that may be sent.
        needs_image: whether a conversation must hold an image before it is answered.
        streaming: whether text arrives piece by piece.
        continues: whether a conversation may end with an unfinished answer to go on from.
        defaults: the model's own value of each option of an answer, where it has one.
        memory: bytes of each part of the model that is loaded here, by name.
        image_knobs: what `image_detail` may name; empty where every image is treated alike.
        presets: options under a name that the model was published with.
        kv_cache_bits: what `GenerationOptions.kv_cache_bits` may be.
    """

    name: str
    details: tuple[str, ...] = ()
    images_per_turn: int | None = None
    context_length: int | None = None
    roles: tuple[Role, ...] = ALL_ROLES
    needs_image: bool = False
    streaming: bool = True
    continues: bool = True
    defaults: Mapping[str, object] = field(default_factory=dict)
    image_knobs: tuple[ImageKnob, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    presets: tuple[Preset, ...] = ()
    kv_cache_bits: tuple[int, ...] = (16,)


def check_request(messages: Sequence[Message], capabilities: Capabilities) -> None:
    """Refuses what the capabilities rule out, in the same words for every backend.

    Raises:
        RequestError: too many images in a message, a role the model does not know, or no image
            at all for a model that needs one.
    """
    limit = capabilities.images_per_turn
    asked = any(message.role == "user" for message in messages)
    if capabilities.needs_image and asked and not images_of(messages):
        raise RequestError("without_image", name=capabilities.name)
    for message in messages:
        if message.role not in capabilities.roles:
            raise RequestError(
                "role_not_taken", got=message.role, accepted=", ".join(capabilities.roles)
            )
        if limit is not None and len(message.images) > limit:
            raise RequestError("too_many_images", got=len(message.images), limit=limit)


def check_image_detail(detail: Mapping[str, int | bool], knobs: Sequence[ImageKnob]) -> None:
    """Refuses choices about images that a model does not have.

    Args:
        detail: name of a knob -> its value; those left out keep the checkpoint's own.
        knobs: `Capabilities.image_knobs`.

    Raises:
        RequestError: there is no such knob, or its value is out of range or of the wrong kind.
    """
    known = {knob.name: knob for knob in knobs}
    for name, value in detail.items():
        if name not in known:
            raise RequestError("image_detail_unknown", got=name, known=", ".join(known) or "-")
        _check_value(known[name], value)


def _check_value(knob: ImageKnob, value: int | bool) -> None:
    if isinstance(knob.default, bool):
        right, accepted = isinstance(value, bool), "true, false"
    else:
        low, high = knob.low or 0, knob.high or 0
        whole = isinstance(value, int) and not isinstance(value, bool)
        right, accepted = whole and low <= value <= high, f"{low} … {high}"
    if not right:
        raise RequestError("image_detail_value", name=knob.name, got=value, accepted=accepted)


class Backend(Protocol):
    """Anything that answers a conversation."""

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        """Answers the conversation; ends within one step of `cancel`. Raises VLMError.

        A conversation whose last message is the assistant's is gone on with: the events hold only
        what is new.
        """
        ...

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        """What would become of an image under `options.image_detail`. Raises VLMError."""
        ...

    def capabilities(self) -> Capabilities:
        """What this backend can take. May wait for its model to be loaded."""
        ...

    def close(self) -> None:
        """Ends what runs and gives memory back."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """A backend that keeps something of earlier answers to save time, and can drop it."""

    def forget(self) -> bool:
        """Drops it, so that the next answer depends on its request alone; False: there is nothing.

        What is kept changes no answer but by rounding in less than 32 bits. Not to be called
        while one is being written.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a model and what belongs to it take of memory now, in bytes; parts add up to `total`.

    Attributes:
        weights: of each part of the model, by its name.
        besides: "states", keys and values kept for the next turns; "features" of images, kept for
            the same; and what is left of `total`: "runtime", the program with its libraries and
            whatever is being worked with, or on an accelerator "work", tensors besides, and
            "spare", kept for the next ones.
        total: what the system says the process has in memory ("process"), or what torch has taken
            of an accelerator ("device"), or both together where a model is spread ("spread").
        away: of the weights, what lies in mapped files alone and is read again when it is needed.
    """

    weights: Mapping[str, int]
    besides: Mapping[str, int]
    total: int
    measured: Literal["process", "device", "spread"] = "process"
    away: int = 0


@runtime_checkable
class Holds(Protocol):
    """A backend whose model is in this machine's memory."""

    def held(self) -> Held:
        """What it takes now. May be called while an answer runs."""
        ...


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage of a model made of a prompt.

    Attributes:
        name: of the stage.
        array: floating point numbers as float32, whatever the model computes in.
        axes: a name for each axis of the array.
        dtype: of the tensor it was: "bfloat16"; empty where nobody noted it.
        device: where it was: "cpu", "cuda:0"; "meta" where there are only shapes.
        seconds: from the beginning of the run until it was there.
        known: whether the array holds values. Without weights it has a shape and nothing but 0.
    """

    name: str
    array: "numpy.ndarray"
    axes: tuple[str, ...]
    dtype: str = ""
    device: str = ""
    seconds: float = 0.0
    known: bool = True


@runtime_checkable
class Traces(Protocol):
    """A backend that can show what happens between pixels and logits."""

    def trace(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Stage]:
        """Every stage of reading a conversation, in order, from one run. Raises VLMError.

        Cancelled, it ends at the next layer, with the stages that were there by then.
        """
        ...

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        """See `Backend.image_layout`."""
        ...


Report = Callable[[str, int, int], None]
"""Told a stage of loading, and how much of how much of it is done."""

BACKENDS = {"local": "vlm.opening:open_backend"}
"""Name in `VLM_BACKEND` -> `module:function(settings, report, cancel) -> Backend`, imported when it
is chosen."""

PREPARATIONS = {"local": "vlm.opening:prepare_backend"}
"""Name -> `module:function(settings, report, cancel)`, where anything can be done beforehand."""


def open_backend(
    settings: Settings, report: Report | None = None, cancel: threading.Event | None = None
) -> Backend:
    """Makes the backend that the settings name; this loads its model.

    Args:
        settings: say which.
        report: told how far it is.
        cancel: ends it at its next step, by ModelError.

    Raises:
        SettingError: no backend has that name.
        ModelError: its model cannot be loaded.
    """
    if settings.backend not in BACKENDS:
        raise SettingError("unknown_backend", got=settings.backend, known=", ".join(BACKENDS))
    arguments = (report or (lambda *_: None), cancel or threading.Event())
    return _function(BACKENDS[settings.backend])(settings, *arguments)


def prepare_backend(settings: Settings, report: Report, cancel: threading.Event) -> None:
    """Does what can be done before another backend has to go. Raises as `open_backend`."""
    if settings.backend in PREPARATIONS:
        _function(PREPARATIONS[settings.backend])(settings, report, cancel)


def _function(place: str) -> Callable[..., Any]:
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)
