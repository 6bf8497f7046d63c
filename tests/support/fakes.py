"""Stand-ins for tests: a backend that follows a script, and small photos made on the spot."""

import io
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
from PIL import Image as pillow

from vlm.backend import (
    Capabilities,
    Event,
    Finished,
    ImageLayout,
    TextDelta,
    Tile,
    Timings,
    Usage,
    check_request,
)
from vlm.images import open_image
from vlm.messages import Image, Message
from vlm.options import GenerationOptions


class PressCtrlC(threading.Event):
    """A gate that sends this process what Ctrl-C sends, and never opens."""

    def wait(self, timeout: float | None = None) -> bool:
        signal.raise_signal(signal.SIGINT)
        return False


BREAKS_OFF = "\0"
"""As a step: the answer ends here without a `Finished`, which no backend should do."""

PATIENCE = 30.0
"""Seconds after which a gate that nobody opens fails the test instead of hanging it."""

Step = str | Event | threading.Event | BaseException
"""A piece of text, an event as it is, a gate to wait for, or something to raise."""


@dataclass
class Asked:
    """One request as the backend got it.

    Attributes:
        left: the listener closed the iterator before the answer had ended.
    """

    messages: list[Message]
    options: GenerationOptions
    cancel: threading.Event
    left: bool = False


class ScriptedBackend:
    """Answers each request by the next script; the last script serves all further ones.

        gate = threading.Event()
        backend = ScriptedBackend(["A ", gate, "cat."], [ModelError("busy")])

    The first answer says "A ", waits until the test sets `gate`, says "cat." and finishes; the
    second fails. A `Finished` is added where a script has none. Cancelling ends an answer before
    its next step, also while it waits at a gate.

    Attributes:
        asked: every request, oldest first.
        closed: whether `close` was called.
        able: what `capabilities` returns; may be replaced.
    """

    def __init__(self, *scripts: Sequence[Step], able: Capabilities | None = None) -> None:
        self._scripts = scripts or (["Yes."],)
        self.able = able or Capabilities(name="Scripted", details=("fp32", "CPU"))
        self.asked: list[Asked] = []
        self.closed = False

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        check_request(messages, self.able)
        script = self._scripts[min(len(self.asked), len(self._scripts) - 1)]
        asked = Asked(list(messages), options, cancel)
        self.asked.append(asked)
        return _play(script, asked)

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        """A model that looks at every image in one piece, or in as many tiles as it is told."""
        count = int(options.image_detail.get("tiles", 1))
        width, height = image.original_size
        tiles = tuple(
            Tile(box=(width * n / count, 0, width * (n + 1) / count, height), rows=4, columns=4)
            for n in range(count)
        )
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(256 * count, 256),
            tiles=tiles,
            placeholders=16 * count,
            alpha="dropped" if image.pixels.has_transparency_data else "none",
        )

    def capabilities(self) -> Capabilities:
        return self.able

    def close(self) -> None:
        self.closed = True


def _play(script: Sequence[Step], asked: Asked) -> Iterator[Event]:
    """Goes through the steps, one event at a time."""
    said = 0
    try:
        for step in [*script, _finished("stop", asked, script)]:
            if isinstance(step, threading.Event):
                _wait(step, asked.cancel)
            if asked.cancel.is_set():
                yield _finished("cancelled", asked, script[:said])
                return
            if isinstance(step, BaseException):
                raise step
            if step == BREAKS_OFF:
                return
            said += 1
            if not isinstance(step, threading.Event):
                yield TextDelta(step) if isinstance(step, str) else step
            if isinstance(step, Finished):
                return
    except GeneratorExit:
        asked.left = True
        raise


def _wait(gate: threading.Event, cancel: threading.Event) -> None:
    deadline = time.monotonic() + PATIENCE
    while not gate.wait(0.01) and not cancel.is_set():
        assert time.monotonic() < deadline, "the test never opened this gate"


def _finished(reason: Literal["stop", "cancelled"], asked: Asked, said: Sequence[Step]) -> Finished:
    """Plausible numbers: 16 tokens an image, one a piece of text, half a second to the first."""
    image_tokens = 16 * sum(len(message.images) for message in asked.messages)
    pieces = sum(isinstance(step, str | TextDelta) for step in said)
    usage = Usage(
        prompt_tokens=image_tokens + 20, image_tokens=image_tokens, completion_tokens=pieces
    )
    return Finished(reason, usage, Timings(first_token=0.5, decode=1.0, peak_bytes=812_000_000))


def photo(mode: str = "RGB", size: tuple[int, int] = (96, 64), seed: int = 0) -> Image:
    """A picture of soft spots of colour; the same seed gives the same one.

    Args:
        mode: RGB, RGBA, L, LA, P, 1 or CMYK; only those of RGBA and LA are see-through.
        size: (width, height) in pixels.
        seed: also stands in its name, "photo-0.png".
    """
    kind = "TIFF" if mode == "CMYK" else "PNG"
    return open_image(photo_bytes(mode, size, seed, kind), name=f"photo-{seed}.{kind.lower()}")


def as_image(pixels: pillow.Image, name: str = "picture.png") -> Image:
    """A picture as the program has it, by way of the only door for pixels."""
    file = io.BytesIO()
    pixels.save(file, "PNG")
    return open_image(file.getvalue(), name=name)


def photo_bytes(
    mode: str = "RGB", size: tuple[int, int] = (96, 64), seed: int = 0, kind: str = "PNG"
) -> bytes:
    """The same picture as the bytes of a file."""
    spots = numpy.random.default_rng(seed).integers(0, 256, (4, 4, 4), numpy.uint8)  # RGBA
    picture = pillow.fromarray(spots).resize(size, pillow.Resampling.BICUBIC)
    file = io.BytesIO()
    if mode not in ("RGBA", "LA"):
        picture = picture.convert("RGB")
    picture.convert(mode).save(file, kind)
    return file.getvalue()
