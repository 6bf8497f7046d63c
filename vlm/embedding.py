"""Embeddings of images: what a vision tower or a projector makes of them, without a prompt.

In: a folder, hub id or name, and the stage. Out: an `Embedder`, which takes one image at a time.
Nothing here writes text; a tower that comes without a language model will do.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from transformers import AutoConfig

from vlm import families
from vlm.backend import check_image_detail
from vlm.errors import RequestError
from vlm.families import Tap
from vlm.loading import (
    Loaded,
    answers_about_images,
    choose_device,
    choose_dtype,
    load,
)
from vlm.messages import Image, user_message
from vlm.model_errors import model_errors
from vlm.processors import image_knobs
from vlm.reading import PromptReader
from vlm.settings import Settings
from vlm.sources import check_source, look_up
from vlm.tower import Tower, load_tower
from vlm.trace import native_taps, stages, watched

EmbeddingStage = Literal["tower", "projector"]
TOWER = "vision_tower"
"""The name of the stage that shows a tower's output, in every family and in `native_taps`."""

Detail = Mapping[str, int | bool]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What one stage made of one image, in float32, on the CPU.

    Attributes:
        features: (tiles, positions, width), or (positions, width) where a model has no tiles.
        axes: a name for each axis of `features`.
        pooled: (tiles, width) or (width,); None but for a tower.
        own_pooling: whether `pooled` is the tower's own; else it is the mean over the positions.
    """

    features: Tensor
    axes: tuple[str, ...]
    pooled: Tensor | None = None
    own_pooling: bool = False


class Embedder(Protocol):
    """Anything that makes embeddings of images.

    Attributes:
        name: of the model, for people.
        precision: what its weights are held in.
    """

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    def embed(self, image: Image) -> Embedding:
        """The embedding of one image. Raises RequestError where it cannot be prepared."""
        ...


@dataclass(frozen=True)
class TowerEmbedder:
    """Embeddings by a tower that stands alone; every image is one tile."""

    tower: Tower
    name: str

    @property
    def precision(self) -> str:
        """See `Embedder`."""
        return self.tower.precision

    def embed(self, image: Image) -> Embedding:
        """See `Embedder.embed`."""
        seen = self.tower.see([image])
        features, pooled = seen.features.float().cpu(), seen.pooled.float().cpu()
        return Embedding(features, ("tiles", "positions", "width"), pooled, seen.own_pooling)


@dataclass(frozen=True)
class ModelEmbedder:
    """Embeddings by the tower or the projector inside a model that answers about images.

    Attributes:
        loaded: the model.
        stage: "tower": what leaves the vision tower; "projector": what takes the place of an
            image in the prompt, whatever is between the two.
        detail: `image_detail` of every image.
    """

    loaded: Loaded
    stage: EmbeddingStage
    detail: Detail

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return self.loaded.name

    @property
    def precision(self) -> str:
        """See `Embedder`."""
        return self.loaded.precision

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(self.loaded.model, self.loaded.processor)

    @cached_property
    def _tap(self) -> Tap:
        """Where the tower shows its output."""
        family = self.loaded.family
        taps = family.stages if family else native_taps(self.loaded.model)
        tap = next((each for each in taps if each.name == TOWER), None)
        if tap is None:
            raise self._not_shown()
        return tap

    @torch.inference_mode()
    def embed(self, image: Image) -> Embedding:
        """See `Embedder.embed`.

        Raises:
            RequestError: also where the model does not show this stage.
        """
        encode: Any = getattr(self.loaded.model.base_model, "get_image_features", None)
        if encode is None:
            raise self._not_shown()
        read = self._reader.prepare([user_message("", [image])], self.detail)
        taken = inspect.signature(encode).parameters
        inputs = {k: v for k, v in read.to(self.loaded.model.device).items() if k in taken}
        if self.stage == "projector":
            return _projected(encode(**inputs, return_dict=True))
        return self._of_tower(encode, inputs)

    def _of_tower(self, encode: Any, inputs: Mapping[str, Any]) -> Embedding:
        """What the tower gives while the features of an image are worked out."""
        own: list[Any] = []  # taken at once, as some models put the projector's output there later
        hook = self.loaded.model.get_submodule(self._tap.module).register_forward_hook(
            lambda _module, _inputs, output: own.append(getattr(output, "pooler_output", None))
        )
        try:
            with watched(self.loaded.model, [self._tap]) as found:
                encode(**inputs, return_dict=True)
        finally:
            hook.remove()
        parts = stages(found)
        if len(parts) != 1:  # it was not asked, or in ways that do not fit together
            raise self._not_shown()
        features = torch.from_numpy(parts[0].array)
        axes = tuple("tiles" if axis == "images" else axis for axis in parts[0].axes)
        if axes == ("tiles", "width", "rows", "columns"):
            features = features.flatten(2).transpose(1, 2)  # (tiles, positions, width)
            axes = ("tiles", "positions", "width")
        if all(isinstance(each, Tensor) for each in own):
            pooled = torch.cat(own).float().cpu()
            if pooled.shape[:-1] == features.shape[: axes.index("positions")]:
                return Embedding(features, axes, pooled, own_pooling=True)
        return Embedding(features, axes, mean_of(features, axes.index("positions")))

    def _not_shown(self) -> RequestError:
        return RequestError("stage_not_shown", name=self.name, stage=self.stage)


def mean_of(features: Tensor, dim: int) -> Tensor:
    """The mean over positions; those that only fill a tile up are zero throughout and left out."""
    there = (features != 0).any(dim=-1, keepdim=True)
    return features.sum(dim=dim) / there.sum(dim=dim).clamp(min=1)


def _projected(output: Any) -> Embedding:
    """The features of one image as a model returns them: a tensor, or one for each image or tile.

    Tiles that have as many positions each stay apart; others follow one another.
    """
    found = getattr(output, "pooler_output", output)
    parts = list(found) if isinstance(found, list | tuple) else [found]
    if len(parts) == 1:
        features = parts[0]
    elif len({part.shape for part in parts}) == 1 and parts[0].ndim == 2:
        features = torch.stack(parts)  # (tiles, positions, width)
    else:
        features = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
    axes = ("tiles", "positions", "width")[-features.ndim :]
    return Embedding(features.float().cpu(), axes)


def open_embedder(settings: Settings, stage: EmbeddingStage, detail: Detail) -> Embedder:
    """Loads what the settings name: a model that answers about images, or a tower alone.

    Args:
        settings: model, dtype, device, quantization, tokenizer count.
        stage: what to show of it.
        detail: `image_detail` of every image.

    Raises:
        ModelError: it cannot be loaded, or has no vision tower.
        RequestError: it has no such stage, or not these choices about images.
        SettingError: no such device here.
    """
    name, source = look_up(settings.model)
    if not _stands_alone(source):
        loaded = load(
            settings.model,
            quantization=settings.quantization,
            device=settings.device,
            dtype=settings.dtype,
            tokenizer=settings.tokenizer,
        )
        check_image_detail(detail, image_knobs(loaded.processor))
        return ModelEmbedder(loaded, stage, detail)
    device = choose_device(settings.device)
    tower = load_tower(source, choose_dtype(settings.dtype, device), device)
    if stage != "tower":
        raise RequestError("stage_not_shown", name=name, stage=stage)
    check_image_detail(detail, ())
    return TowerEmbedder(tower, name)


def _stands_alone(source: str) -> bool:
    """Whether a checkpoint does not answer about images, so that only its tower can be used."""
    with model_errors(source):
        if families.find(source) is not None:
            return False
        check_source(source)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        return not answers_about_images(config)
