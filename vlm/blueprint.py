"""A checkpoint without its weights, and what memory it would take by part.

In: configuration and processor of a folder or hub id. Out: a `Blueprint` that makes `Estimate`s in
bytes. Weights follow from names and shapes; what a question takes besides them from a rehearsal on
shapes alone (`vlm.rehearsal`).
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image as pillow
from torch.utils._pytree import tree_flatten
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlm import families, prequantized
from vlm import quantization as bits
from vlm.backend import ImageKnob
from vlm.download import asking_nobody_in_vain
from vlm.families import Family, Opened
from vlm.image_layout import ImageReader, ReadImage
from vlm.kv_cache import kv_cache_choices, quantised_states
from vlm.loading import (
    choose_device,
    choose_dtype,
    empty_model,
    open_checkpoint,
    precision_name,
)
from vlm.messages import Image
from vlm.model_errors import model_errors
from vlm.processors import image_knobs
from vlm.rehearsal import rehearse
from vlm.sources import look_up
from vlm.workload import Estimate, Workload

MEGABYTE = 1 << 20
RUNTIME = {"cpu": 128 * MEGABYTE, "cuda": 450 * MEGABYTE, "mps": 250 * MEGABYTE}
"""What libraries hold once a model runs, besides its tensors: threads, tables, kernels. Measured on
a CPU (110 to 170 MB); of accelerators the usual size of a context with the workspace of matrix
products."""

FIRST_ANSWER = {"cpu": 50 * MEGABYTE}
"""The part of it that is not there yet while weights come in: workspaces of the first products.
Measured on a CPU (45 to 75 MB)."""

PRECISIONS = ("none", "int8", "nf4")
"""From the most exact to the smallest, as advice tries them."""

GAP = 4
"""Tokens of text before, between and after images."""

LAYOUT = 7
"""Bytes a weight for a moment, while a CPU lays a 4-bit layer out for its kernels: whole numbers of
32 bits, and a few of 8."""


QUANTISING = 10
"""Bytes a weight for a moment, while a CPU quantises a layer: 16 bits, 32 bits, 32 bits rounded."""


@dataclass(frozen=True)
class _Run:
    """Bytes that one answer takes besides the weights, in 16 bits."""

    images: int
    context: int
    work: int
    tokens: int
    rough: bool


class Blueprint:
    """A checkpoint without its weights. Use `read`.

    Attributes:
        name: for people.
        source: the folder or hub id.
        quantization: how its files are quantised already; "none" where they are not.
    """

    def __init__(
        self,
        name: str,
        source: str,
        opened: Opened,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.name = name
        self.source = source
        self.device = device
        self.dtype = dtype
        self.quantization = prequantized.stored_kind(opened.config) or "none"
        self._opened = opened
        self._model: Any = empty_model(opened.config, dtype).eval()
        self._runs: dict[str, _Run] = {}

    @property
    def empty(self) -> tuple[Any, Any]:
        """(the model on the meta device, its processor)."""
        return self._model, self._opened.processor

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can be loaded in, from the most exact to the smallest."""
        return PRECISIONS if self.quantization == "none" else (self.quantization,)

    @property
    def context_length(self) -> int | None:
        """Tokens that prompt and answer may have together."""
        return getattr(self._model.config.get_text_config(), "max_position_embeddings", None)

    def fitted(self, workload: Workload) -> Workload:
        """The workload with no more tokens than the model takes."""
        most = self.context_length
        return replace(workload, context=min(workload.context, most or workload.context))

    def estimate(self, quantization: str, workload: Workload) -> Estimate:
        """Memory of one answer by part.

        Args:
            quantization: "none", "int8", "nf4" or "fp4", or that of the files.
            workload: what the answer takes in.
        """
        run = self._run(self.fitted(workload))
        return Estimate(
            precision=precision_name(quantization, self.dtype),
            weights=self._weights(quantization),
            images=run.images,
            context=run.context,
            work=run.work + self._extra(quantization, run.tokens),
            loading=self._loading(quantization),
            runtime=RUNTIME.get(self.device.type, RUNTIME["cuda"]),
            rough=run.rough,
        )

    @property
    def kv_cache_bits(self) -> tuple[int, ...]:
        """What `Workload.kv_cache_bits` may be, the most exact first."""
        return kv_cache_choices(self._model, self.device)

    def placeholders(self, workload: Workload) -> int:
        """Tokens that one image of the workload takes; 0 where it has none."""
        return self._look(workload).written.placeholders if workload.images else 0

    @property
    def knobs(self) -> dict[str, ImageKnob]:
        """What `Workload.detail` may name."""
        return {knob.name: knob for knob in image_knobs(self._opened.processor)}

    # ---- weights ----

    def _layers(self, quantization: str) -> list[torch.nn.Linear]:
        plain = quantization == "none" or quantization in prequantized.UNPACKED
        kind = "none" if plain else quantization if quantization in bits.KINDS else "nf4"
        return list(bits.layers_to_quantise(self._model, kind, self.device).values())

    def _weights(self, quantization: str) -> int:
        if self.quantization != "none":
            return self._stored_weights
        return bits.weight_bytes(self._model, quantization, self.dtype, self.device)

    @cached_property
    def _stored_weights(self) -> int:
        """Of files that are quantised already; the hub may have to be asked for their headers."""
        kind = self.quantization
        with model_errors(self.source), asking_nobody_in_vain(self.source):
            return prequantized.weight_bytes(self._model, self.source, kind, self.dtype)

    def _loading(self, quantization: str) -> int:
        """What is there besides the weights while they come in.

        Those that are unpacked in memory are all there first; others come one by one.
        """
        largest = max(each.numel() for each in self._model.parameters())
        if self.quantization in prequantized.UNPACKED:
            return largest * QUANTISING
        if self.quantization != "none":  # nothing is made smaller on the way in
            return largest
        layers = self._layers(quantization)
        both = sum(each.weight.numel() * self.dtype.itemsize for each in layers)
        later = FIRST_ANSWER.get(self.device.type, 0)
        if isinstance(self._opened.weights, dict):  # the largest in 32 bits beside all the others
            whole = bits.weight_bytes(self._model, "none", self.dtype, self.device)
            unpacking = whole + largest * torch.float32.itemsize - self._weights(quantization)
            return max(unpacking, both, later) - later
        if self.device.type != "cpu":
            return largest * self.dtype.itemsize
        if self._opened.config.dtype != self.dtype:  # each is copied on its way in
            return max(both + largest * self.dtype.itemsize - later, 0)
        # Of mapped files what was quantised is there besides; the rest is read when it is used.
        plain = self._weights("none") - both
        scratch = max((each.weight.numel() for each in layers), default=0) * QUANTISING
        return max(both + scratch - plain - later, 0)

    def _extra(self, quantization: str, tokens: int) -> int:
        """What quantised layers take for a moment, and what a CPU adds to hold them."""
        layers = self._layers(quantization)
        if not layers:
            return 0
        if quantization == "int8":  # inputs in 16 and 8 bits, sums in 32 bits, thrice
            return tokens * max(3 * each.in_features + 12 * each.out_features for each in layers)
        largest = max(each.weight.numel() for each in layers)
        if self.device.type != "cpu":
            return largest * self.dtype.itemsize
        packed = sum(
            bits.quantised_bytes(each, "nf4", packed=True) - bits.quantised_bytes(each, "nf4")
            for each in layers
        )
        return max(largest * LAYOUT, largest * self.dtype.itemsize) + max(packed, 0)

    # ---- one answer ----

    def _run(self, workload: Workload) -> _Run:
        key = repr(workload)
        if key not in self._runs:
            self._runs[key] = self._rehearse(workload)
        return self._runs[key]

    @cached_property
    def _images(self) -> ImageReader:
        placeholder = self._placeholder
        words: Any = self._opened.processor
        text = "" if placeholder is None else words.tokenizer.convert_ids_to_tokens(placeholder)
        return ImageReader(words, text or getattr(words, "image_token", ""))

    @property
    def _placeholder(self) -> int | None:
        config = self._model.config
        return getattr(config, "image_token_id", getattr(config, "image_token_index", None))

    def _look(self, workload: Workload) -> ReadImage:
        """One image as its processor makes it; of several sizes the one with most placeholders."""
        sizes = [workload.size] if workload.size else list(self._largest(workload))
        read = [self._images.read(_picture(size), workload.detail) for size in sizes]
        return max(read, key=lambda each: each.written.placeholders)

    def _largest(self, workload: Workload) -> Iterator[tuple[int, int]]:
        knobs = self.knobs
        side = 2048
        if "pixels" in knobs:
            side = math.isqrt(int(workload.detail.get("pixels", knobs["pixels"].default)))
        yield side, side
        yield side * 3 // 2, side * 2 // 3

    def _rehearse(self, workload: Workload) -> _Run:
        if not workload.images:
            peak, context, tokens = self._read_prompt(workload, 0, {})
            return _Run(0, context, peak - context, tokens, rough=False)
        image = self._look(workload)
        count = image.written.placeholders
        try:
            return self._one_by_one(image, workload, count)
        except Exception:  # a model that takes no ready features, or looks at values: all at once
            return self._all_at_once(image, workload, count)

    def _one_by_one(self, image: ReadImage, workload: Workload, count: int) -> _Run:
        if any(hasattr(module, "rope_deltas") for module in self._model.modules()):
            raise NotImplementedError("positions depend on the shapes of all images together")
        encode = self._model.base_model.get_image_features
        inputs = _taken_by(encode, image.inputs)
        peak, output = rehearse(self._model, lambda: encode(**inputs, return_dict=True))
        found = output.pooler_output
        parts = found if isinstance(found, list | tuple) else [found]
        together = torch.cat(
            [part.reshape(-1, part.shape[-1]).to("meta") for part in parts] * workload.images
        )  # (placeholders of all images, dim)
        shaped: Any = [together] if isinstance(found, list | tuple) else together[None]
        features = {"image": BaseModelOutputWithPooling(pooler_output=shaped)}
        given = {"mm_encoder_outputs": features}
        prompt, context, tokens = self._read_prompt(workload, count, given)
        return _Run(peak, context, prompt - context + together.nbytes, tokens, rough=False)

    def _all_at_once(self, image: ReadImage, workload: Workload, count: int) -> _Run:
        forward = self._model.forward
        inputs = {
            name: torch.cat([value] * workload.images) if isinstance(value, torch.Tensor) else value
            for name, value in _taken_by(forward, image.inputs).items()
        }
        try:
            peak, context, tokens = self._read_prompt(workload, count, inputs)
            return _Run(0, context, peak - context, tokens, rough=False)
        except Exception:  # a course that depends on values: sizes must do, and it is said
            return self._from_sizes(image, workload, count)

    def _from_sizes(self, image: ReadImage, workload: Workload, count: int) -> _Run:
        pixels = sum(v.nbytes for v in image.inputs.values() if isinstance(v, torch.Tensor))
        tokens = max(workload.context, count * workload.images)
        ids = torch.ones(1, tokens, dtype=torch.int64)  # (1, tokens)
        decoder = self._model.get_decoder()
        peak, output = rehearse(self._model, lambda: decoder(input_ids=ids, use_cache=True))
        context = _bytes_of(output.past_key_values)
        images = 4 * pixels * workload.images
        return _Run(images, context, peak - context, tokens, rough=True)

    def _read_prompt(
        self, workload: Workload, placeholders: int, images: Mapping[str, Any]
    ) -> tuple[int, int, int]:
        """(peak with keys and values, these alone, tokens) of reading a prompt of that length."""
        each = placeholders + GAP
        tokens = max(workload.context, workload.images * each + GAP)
        ids = torch.full((1, tokens), 1 if self._placeholder != 1 else 2)  # (1, tokens)
        if self._placeholder is not None:
            for start in range(GAP, GAP + workload.images * each, each):
                ids[0, start : start + placeholders] = self._placeholder
        taken = inspect.signature(self._model.forward).parameters
        given: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": (ids == self._placeholder).long(),
            "mm_token_type_ids": (ids == self._placeholder).long(),
            "logits_to_keep": 1,
            "use_cache": True,
            **images,
        }
        if workload.kv_cache_bits < 16:
            text = self._model.config.get_text_config(decoder=True)
            given["past_key_values"] = quantised_states(text)
        # what a model takes by **settings it must not get unasked, but for features
        wanted = {k: v for k, v in given.items() if k in taken or k in images or k == "use_cache"}
        peak, output = rehearse(self._model, lambda: self._model(**wanted))
        return peak, _bytes_of(output.past_key_values), tokens


def read(
    source: str, *, device: str = "auto", dtype: str = "auto", tokenizer: str = ""
) -> Blueprint:
    """A checkpoint's configuration and processor; of a hub id only small files are fetched.

    Args:
        source: a name of the catalogue, a folder, or a hub id.
        device: where it would run.
        dtype: of what would not be quantised.
        tokenizer: folder or hub id to take it from where the checkpoint has none of its own.

    Raises:
        ModelError: as `vlm.loading.load` does for what it reads.
        SettingError: no such device here.
    """
    place = choose_device(device)
    name, source = look_up(source)
    number_type = choose_dtype(dtype, place)
    with model_errors(source), asking_nobody_in_vain(source):
        family = families.find(source)
        opened = _opened(source, number_type, family, tokenizer)
        return Blueprint(name, source, opened, device=place, dtype=number_type)


def _opened(source: str, dtype: torch.dtype, family: Family | None, tokenizer: str) -> Opened:
    """Configuration and processor; no weights are fetched of what is published."""
    if family is not None and family.inspect is not None:
        return family.inspect(source, tokenizer or None)
    first, *_ = parts = families.common.parts(source)
    known = [each for each in families.published() if each.name == first]
    if known and not all(map(families.common.kept_folder, parts)):
        return replace(known[0].open(), weights={})
    return open_checkpoint(source, dtype, family, tokenizer)


def _bytes_of(states: Any) -> int:
    """Bytes of keys, values and whatever else the layers of a cache hold."""
    found: dict[int, torch.Tensor] = {}
    for layer in getattr(states, "layers", ()):
        for value in tree_flatten(list(vars(layer).values()))[0]:
            if isinstance(value, torch.Tensor):
                found[id(value)] = value
    return sum(each.nbytes for each in found.values())


def _taken_by(function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    taken = inspect.signature(function).parameters
    return {name: value for name, value in inputs.items() if name in taken}


def _picture(size: tuple[int, int]) -> Image:
    pixels = pillow.linear_gradient("L").resize(size).convert("RGB")
    return Image(pixels, f"picture {size}", "picture", size)
