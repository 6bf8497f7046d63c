"""The families of models that need more than transformers' own classes, one folder each.

`find(source)` tells which family a checkpoint belongs to, by what lies in its folder or hub
repository; None means that transformers knows it. Families are imported when they are needed.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedConfig, ProcessorMixin

NAMES = ("pocket",)
"""Folders in this package, asked in this order."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published checkpoint, for the list of models.

    Attributes:
        name: what a person types: a short name or a hub id.
        title: what the page shows.
        source: the folder or hub id that is loaded.
        parameters: how many, in millions.
        license: its SPDX name or a few words.
        good_at: key of a sentence in the table of words.
    """

    name: str
    title: str
    source: str
    parameters: float
    license: str
    good_at: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A checkpoint read far enough for `from_pretrained`.

    Attributes:
        config: of the model; its class decides which model class is made.
        processor: messages and images to tensors.
        weights: a folder or hub id, or a state dict (name -> tensor).
        generation_config: the checkpoint's own defaults for answers; None where `weights` is a
            place that `from_pretrained` reads them from.
    """

    config: "PreTrainedConfig"
    processor: "ProcessorMixin"
    weights: "str | Path | dict[str, torch.Tensor]"
    generation_config: "GenerationConfig | None" = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the loader asks of a family.

    Attributes:
        name: of its folder.
        recognises: whether a folder or hub id holds one of its checkpoints.
        open: (source, tokenizer=None, dtype=None) -> Opened. `dtype` is what the model will be
            loaded in; families whose files must be unpacked make tensors of that type.
        checkpoints: published ones.
        stages: names of the stages from pixels to logits, in order.
    """

    name: str
    recognises: Callable[[str], bool]
    open: Callable[..., Opened]
    checkpoints: tuple[Checkpoint, ...]
    stages: tuple[str, ...]


def families() -> Mapping[str, Family]:
    """All families by name."""
    return {name: importlib.import_module(f"{__name__}.{name}").FAMILY for name in NAMES}


def find(source: str) -> Family | None:
    """The family of the checkpoint at `source` (a folder or a hub id), or None."""
    return next((each for each in families().values() if each.recognises(source)), None)


def catalogue() -> tuple[Checkpoint, ...]:
    """Every checkpoint that a family declares."""
    return tuple(each for family in families().values() for each in family.checkpoints)


def look_up(name: str) -> Checkpoint | None:
    """The checkpoint of that name in the catalogue, or None."""
    return next((each for each in catalogue() if each.name == name), None)
