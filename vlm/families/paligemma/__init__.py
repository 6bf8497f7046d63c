"""PaliGemma: a SigLIP tower, one linear layer, Gemma. The classes are transformers' own.

What is not: the loss (`modeling`) and prompts (`processing`). Torch and transformers are imported
only when a checkpoint is opened.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common

if TYPE_CHECKING:
    import torch
    from transformers import PaliGemmaConfig

    from vlm.backend import Stage
    from vlm.inspection import Figure

LANGUAGES = ("en", "zh", "es", "fr", "de", "hi", "it", "ja", "pt", "ru")
"""The ones that the mix checkpoints are usually asked in; more than thirty were in training."""


def _mix(side: int, parameters: float, revision: str) -> Checkpoint:
    name = f"google/paligemma-3b-mix-{side}"
    return Checkpoint(
        name=name,
        title=f"PaliGemma 3B mix {side}",
        source=name,
        revision=revision,
        parameters=parameters,
        license="Gemma terms of use",
        languages=LANGUAGES,
        context_length=8192,
        good_at=f"model.paligemma.good_at_{side}",
    )


CHECKPOINTS = (
    _mix(224, 2923, "d1d8734c9c3ad0ccfeea4afc270faa356c2ba515"),
    _mix(448, 2924, "ead2d9a35598cb89119af004f5d023b311d1c4a1"),
)

WEIGHTS = ("*.safetensors",)
TOKENIZER = ("*.json", "*.model", "*.txt")

STAGES = (
    Tap(name="input_ids", side="input", value="input_ids", axes="batch, tokens"),
    Tap(
        name="pixel_values",
        side="input",
        value="pixel_values",
        axes="images, channels, height, width",
    ),
    Tap(
        name="patch_embedding",
        module="model.vision_tower.embeddings",
        side="output",
        axes="images, positions, width",
    ),
    Tap(
        name="vision_tower",
        module="model.vision_tower",
        side="output",
        value="last_hidden_state",
        axes="images, positions, width",
    ),
    Tap(
        name="projector",
        module="model.multi_modal_projector",
        side="output",
        axes="images, positions, width",
    ),
    Tap(
        name="inputs_embeds",
        module="model.language_model",
        side="input",
        value="inputs_embeds",
        axes="batch, tokens, width",
    ),
    Tap(
        name="position_ids",
        module="model.language_model",
        side="input",
        value="position_ids",
        axes="batch, tokens",
    ),
    Tap(
        name="final_hidden",
        module="model.language_model",
        side="output",
        value="last_hidden_state",
        axes="batch, tokens, width",
    ),
    Tap(name="logits", side="output", value="logits", axes="batch, tokens, words"),
)


def recognises(source: str) -> bool:
    """Whether a folder or hub id has a configuration of this family."""
    return common.model_type(source) == "paligemma"


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint, published or written by `save_pretrained`.

    Args:
        source: its folder or hub id.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: not needed, as nothing is unpacked.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape; the
            language model is no Gemma; the tokenizer has another number for the placeholder than
            the model.
    """
    from vlm.families.paligemma import files

    folder = common.fetched_folder(source, WEIGHTS, TOKENIZER)
    opened = _opened(folder, source, tokenizer)
    files.check_files(folder, cast("PaliGemmaConfig", opened.config))
    return opened


def inspect(source: str, tokenizer: str | None = None) -> Opened:
    """A checkpoint without its weights, of which a hub repository keeps the largest files."""
    return _opened(common.fetched_folder(source, TOKENIZER), source, tokenizer)


def _opened(folder: Path, source: str, tokenizer: str | None) -> Opened:
    from vlm.families.paligemma import files, processing

    config = files.read_config(folder)
    processor = processing.make_processor(config, source, tokenizer)
    return Opened(config=config, processor=processor, weights=folder)


def tiny_config(words: int, image_token_id: int) -> "PaliGemmaConfig":
    """Of a model of the same form for tests: 4 placeholders an image.

    Args:
        words: in the vocabulary.
        image_token_id: of the placeholder.
    """
    from transformers import PaliGemmaConfig

    special: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return PaliGemmaConfig(
        image_token_index=image_token_id,
        projection_dim=64,
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "image_size": 28,
            "patch_size": 14,
            "projection_dim": 64,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "gemma",
            "vocab_size": words,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "max_position_embeddings": 2048,
        },
        **special,
    )


def tiny(folder: Path) -> str:
    """Writes a checkpoint of `tiny_config` with random weights. Returns its source."""
    from safetensors.torch import load_file, save_file

    from vlm.families.paligemma.modeling import PaliGemmaForConditionalGeneration

    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    tokenizer = common.byte_tokenizer(names, ("<image>",))
    image_token_id = tokenizer.get_vocab()["<image>"]
    model = PaliGemmaForConditionalGeneration(
        tiny_config(len(tokenizer) + common.PADDING_ROWS, image_token_id)
    )
    common.randomise(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file, tower = folder / "model.safetensors", "vision_tower."
    published = {
        name.replace(tower, f"{tower}vision_model."): tensor
        for name, tensor in load_file(file).items()
    }
    save_file(published, file, metadata={"format": "pt"})
    return str(folder)


def _published(side: int) -> Opened:
    from vlm.families.paligemma import published

    return published.open(side)


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.paligemma import figures

    return figures.draw(model)


FAMILY = Family(
    name="paligemma",
    recognises=recognises,
    open=open,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    inspect=inspect,
    roles=("user", "assistant"),
    needs_image=True,  # the published processor insists on one
    # The prompt is read in both directions: its first states already know its last words.
    reuses_prompts=False,
    figures=_figures,
    published=tuple(
        Published(name=each.name, title=each.title, open=partial(_published, side))
        for each, side in zip(CHECKPOINTS, (224, 448), strict=True)
    ),
)
