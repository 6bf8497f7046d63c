"""The families of models that need more than transformers' own classes, one folder each.

`find(source)` tells which family a checkpoint belongs to, by what lies in its folder or hub
repository; None means that transformers knows it. Families are imported when they are needed.
"""

import importlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlm.families import common
from vlm.messages import ALL_ROLES, Role
from vlm.options import Preset

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedConfig, ProcessorMixin

    from vlm.backend import Stage
    from vlm.inspection import Figure

NAMES = ("pocket", "paligemma", "internvl15", "minimind_v", "clip_qwen", "minicpm_v26")
"""Folders in this package, asked in this order."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published checkpoint, for the list of models.

    Attributes:
        name: what a person types: a short name or a hub id.
        title: what the page shows.
        source: the folder or hub id that is loaded, or several joined by "+".
        revision: of the hub repository that was looked at; None where none was.
        parameters: how many, in millions.
        license: its SPDX name or a few words; empty where only its page tells.
        languages: it answers in, as codes of BCP 47.
        context_length: tokens of prompt and answer together, as its configuration says.
        images: the most in one prompt, as its makers say; None: several, no limit stated.
        good_at: key of a sentence in the table of words.
        agreement: "int8", "nf4" or "fp4" -> share of tokens that are as likely first as in 16 bits,
            where it was measured (`python -m vlm compare-precision`).
    """

    name: str
    title: str
    source: str
    revision: str | None = None
    parameters: float
    license: str
    languages: tuple[str, ...]
    context_length: int
    images: int | None = None
    agreement: Mapping[str, float] = field(default_factory=dict)
    good_at: str


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A stage of a model, and where one run of it shows the stage's array. See `vlm.trace`.

    Attributes:
        name: of the stage.
        module: dotted path of a module below the model; "" is the model itself.
        side: whether the array goes into the module's `forward` or comes out of it.
        value: name of the argument, or of the field of what comes out; "" where a tensor comes out.
        axes: their names in order, "images, positions, width"; other layouts after "|".
    """

    name: str
    module: str = ""
    side: Literal["input", "output"]
    value: str = ""
    axes: str


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
class Published:
    """A published configuration that is known without the network; see `vlm.unweighted`.

    Attributes:
        name: of the checkpoint, as in the catalogue where it stands there.
        title: what the page shows.
        open: () -> Opened without weights. Where the published tokenizer is not at hand, one of
            single bytes takes its place: images take as many tokens, words take more.
        words: whether its tokenizer is the published one.
    """

    name: str
    title: str
    open: Callable[[], Opened]
    words: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the loader asks of a family.

    Attributes:
        name: of its folder.
        recognises: whether a folder, a hub id or several joined by "+" are one of its
            checkpoints. Reads what `common` reads: no network, neither torch nor transformers.
        open: (source, tokenizer=None, dtype=None) -> Opened. `tokenizer` is another folder or
            hub id to take the tokenizer from. `dtype` is what the model will be loaded in;
            families whose files must be unpacked make tensors of that type.
        checkpoints: published ones.
        stages: from pixels to logits, in order.
        tiny: (an empty folder) -> source. Writes a small checkpoint with random weights, just as
            the family's own are laid out; for tests, offline, in a second or two. The layers of
            its language model are multiples of 64 wide, so that 4 bits can hold them.
        inspect: (source, tokenizer) -> Opened without its weights, for what memory they would
            take; `weights` is an empty dict where `open` would unpack them into one. None where
            `open` itself reads none.
        roles: of the messages that its prompts have a place for.
        needs_image: whether it was made for questions about images alone.
        reuses_prompts: whether a token's states depend on earlier tokens alone, so that they can
            be kept for a prompt that goes on in another way.
        presets: further options of an answer that it was published with.
        states_depend_on: (configuration of the language model, tokens of a prompt) -> what else
            the states of a prompt of that length depend on; they are kept only for prompts with
            the same.
        published: configurations that can be looked into without their files.
        figures: (model, stages of a run) -> what a picture explains about this family, from the
            model's own code and tables; a model on the meta device has no tables. See
            `vlm.inspection.Figure` for the names.
    """

    name: str
    recognises: Callable[[str], bool]
    open: Callable[..., Opened]
    checkpoints: tuple[Checkpoint, ...]
    stages: tuple[Tap, ...]
    tiny: Callable[[Path], str]
    inspect: Callable[[str, str | None], Opened] | None = None
    roles: tuple[Role, ...] = ALL_ROLES
    needs_image: bool = False
    reuses_prompts: bool = True
    presets: tuple[Preset, ...] = ()
    states_depend_on: Callable[..., Hashable] = lambda *_: None
    published: tuple[Published, ...] = ()
    figures: "Callable[[Any, Sequence[Stage]], list[Figure]]" = lambda *_: []


def families() -> Mapping[str, Family]:
    """All families by name."""
    return {name: importlib.import_module(f"{__name__}.{name}").FAMILY for name in NAMES}


def find(source: str) -> Family | None:
    """The family of the checkpoint at `source`, or None where transformers must know it.

    Args:
        source: a folder, a hub id, or a tower, adapter and language model joined by "+".
    """
    common.fetch_config(source)
    return next((each for each in families().values() if each.recognises(source)), None)


def catalogue() -> tuple[Checkpoint, ...]:
    """Every checkpoint that a family declares, then the well-known ones of no family."""
    from vlm.families import well_known

    own = (each for family in families().values() for each in family.checkpoints)
    return (*own, *well_known.CHECKPOINTS)


def look_up(name: str) -> Checkpoint | None:
    """The checkpoint of that name in the catalogue, or None."""
    return next((each for each in catalogue() if each.name == name), None)


def title(name: str) -> str:
    """What people call a model: its title in the catalogue, or the name itself."""
    known = look_up(name)
    return known.title if known else name


def published() -> tuple[Published, ...]:
    """Every configuration that can be looked into without its files, by family."""
    return tuple(each for family in families().values() for each in family.published)
