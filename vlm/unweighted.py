"""A model without its weights: what becomes of an image, shapes of every stage, memory.

In: a name of the catalogue, a published configuration, a folder or a hub id. Out: an `Inspection`
whose stages have shapes and no values. Images are really prepared, the rest runs on the meta
device.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from vlm import families
from vlm.backend import ImageLayout
from vlm.blueprint import PRECISIONS, Blueprint, read
from vlm.families import Published
from vlm.inspection import Inspection
from vlm.inspector import Subject, look
from vlm.loading import choose_dtype
from vlm.messages import Image, Message
from vlm.model_errors import model_errors
from vlm.quantization import weight_bytes
from vlm.reading import PromptReader
from vlm.rehearsal import rehearse

CPU = torch.device("cpu")


class Unweighted:
    """A model without weights. Use `open_unweighted`."""

    def __init__(self, subject: Subject, weights: Mapping[str, int]) -> None:
        self._subject = subject
        self._weights = weights
        self._lock = threading.Lock()  # hooks of two runs at once would see each other's tensors

    @property
    def name(self) -> str:
        """For people."""
        return self._subject.name

    def image_layout(
        self, image: Image, detail: Mapping[str, int | bool] | None = None
    ) -> ImageLayout:
        """What would become of an image. Raises RequestError where the processor refuses it."""
        return self._subject.reader.images.layout(image, detail or {})

    def inspect(
        self,
        messages: Sequence[Message],
        detail: Mapping[str, int | bool] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Inspection:
        """What is known of reading a conversation.

        Args:
            messages: the conversation.
            detail: `GenerationOptions.image_detail`.
            should_stop: asked before every layer.

        Raises:
            RequestError: the processor refuses.
        """

        def run(call: Callable[[], Any]) -> int:
            peak, _ = rehearse(self._subject.model, call)
            return peak

        with self._lock:
            found = look(
                self._subject,
                messages,
                detail or {},
                should_stop=should_stop,
                reached=lambda *_: None,
                run=run,
            )
        return replace(found, memory={**self._weights, **found.memory})


def open_unweighted(name: str) -> Unweighted:
    """A model by its name, from its configuration alone.

    Args:
        name: of `vlm.families.published()`, which needs no network; or a name of the catalogue, a
            folder or a hub id, of which the small files are read.

    Raises:
        ModelError: it cannot be read.
    """
    known = next((each for each in families.published() if each.name == name), None)
    return _published(known) if known else _read(name)


def _published(known: Published) -> Unweighted:
    opened, dtype = known.open(), choose_dtype("auto", CPU)
    with model_errors(known.name):
        blueprint = Blueprint(known.title, known.name, opened, device=CPU, dtype=dtype)
    family = next(each for each in families.families().values() if known in each.published)
    return _unweighted(blueprint, family, byte_words=not known.words)


def _read(name: str) -> Unweighted:
    blueprint = read(name, device="cpu")
    return _unweighted(blueprint, families.find(blueprint.source), byte_words=False)


def _unweighted(
    blueprint: Blueprint, family: families.Family | None, byte_words: bool
) -> Unweighted:
    model, processor = blueprint.empty
    subject = Subject(
        model=model,
        reader=PromptReader(model, processor),
        family=family,
        name=blueprint.name,
        byte_words=byte_words,
    )
    weights = {each: weight_bytes(model, each, blueprint.dtype, CPU) for each in PRECISIONS}
    return Unweighted(subject, weights)
