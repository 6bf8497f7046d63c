"""CLIP-ViT-L, a projector and Qwen v1 with LoRA, as WatchTower-Liu/VLM-learning trains them.

Its own code no longer runs; everything here is transformers' own or written as a difference from
it. Torch and transformers are imported only when a checkpoint is opened.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common
from vlm.families.clip_qwen.sources import SAVED, TOKENIZER, fetch, find_parts, recognises

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

    from vlm.backend import Stage
    from vlm.families.clip_qwen.configuration import ClipQwenConfig
    from vlm.families.clip_qwen.processing import ClipQwenProcessor
    from vlm.inspection import Figure

CHECKPOINTS: tuple[Checkpoint, ...] = ()
"""None can be named: the language model and the tower are published, the training output is not.
With one of one's own: Qwen/Qwen-7B-Chat+openai/clip-vit-large-patch14+FOLDER."""

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
        name="selected",
        module="model.multi_modal_projector",
        side="input",
        value="image_features",
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
    Tap(name="logits", side="output", value="logits", axes="batch, tokens, words"),
)


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint: its three parts, or one folder written by `save_pretrained`.

    Args:
        source: LLM+CLIP+ADAPTER, folders or hub ids in any order; or a folder with all three, or
            a saved one.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: not needed, as nothing is unpacked.

    Raises:
        ModelError: a part, a file or a tensor is missing, damaged, unexpected or of the wrong
            shape; the parts do not belong together; the adapter is not plain LoRA.
    """
    if common.model_type(source) == SAVED:
        return _open_saved(source, tokenizer)
    from vlm.families.clip_qwen import files
    from vlm.families.clip_qwen.configuration import from_published

    parts = find_parts(source)
    language, vision = (common.read_json(str(parts[part])) for part in ("llm", "clip"))
    config = from_published(language, vision, parts["llm"] / common.CONFIG)
    tensors = files.read_parts(parts, config)
    processor = _processor(config, tokenizer, parts["llm"])
    return Opened(
        config=config,
        processor=processor,
        weights=tensors,
        generation_config=_generation(parts["llm"], processor),
    )


def inspect(source: str, tokenizer: str | None = None) -> Opened:
    """A checkpoint without its weights, of which hub repositories keep the files."""
    from vlm.families.clip_qwen.configuration import ClipQwenConfig, from_published

    if common.model_type(source) == SAVED:
        folder = common.fetched_folder(source, ("*.json", "*.jinja"))
        config = ClipQwenConfig.from_pretrained(folder)
        return Opened(
            config=config, processor=_processor(config, tokenizer, folder), weights=folder
        )
    parts = find_parts(source, weights=False)
    language, vision = (common.read_json(str(parts[part])) for part in ("llm", "clip"))
    config = from_published(language, vision, parts["llm"] / common.CONFIG)
    return Opened(config=config, processor=_processor(config, tokenizer, parts["llm"]), weights={})


def _open_saved(source: str, tokenizer: str | None) -> Opened:
    from vlm.families.clip_qwen import files
    from vlm.families.clip_qwen.configuration import ClipQwenConfig

    local = Path(source).is_dir()
    folder = Path(source) if local else fetch(source, "*.json", "*.jinja", "*.safetensors")
    config = ClipQwenConfig.from_pretrained(folder)
    files.check_saved(folder, config)
    return Opened(config=config, processor=_processor(config, tokenizer, folder), weights=folder)


def _processor(
    config: "ClipQwenConfig", tokenizer: str | None, folder: Path
) -> "ClipQwenProcessor":
    """The processor; sets the number of the placeholder in the configuration."""
    from vlm.families.clip_qwen.processing import make_processor

    if tokenizer is None:
        words = folder
    else:
        words = Path(tokenizer) if Path(tokenizer).is_dir() else fetch(tokenizer, *TOKENIZER)
    processor = make_processor(config, words)
    config.image_token_id = cast(int, processor.image_token_id)
    return processor


def _generation(folder: Path, processor: "ClipQwenProcessor") -> "GenerationConfig":
    """The language model's own settings of answers, which end as in training."""
    from transformers import GenerationConfig

    known = GenerationConfig().to_dict()
    stored = common.read_json(str(folder), "generation_config.json")
    end = processor.tokenizer.eos_token_id
    own = {name: value for name, value in stored.items() if name in known}
    return GenerationConfig(**{**own, "eos_token_id": end, "pad_token_id": end})


def tiny(folder: Path) -> str:
    """Writes the three parts with random weights into one folder. Returns its source."""
    from vlm.families.clip_qwen.tiny import write

    write(folder)
    return str(folder)


def _published(size: str) -> Opened:
    from vlm.families.clip_qwen import published

    return published.open(size)


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.clip_qwen import figures

    return figures.draw(model)


FAMILY = Family(
    name="clip_qwen",
    recognises=recognises,
    open=open,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    figures=_figures,
    inspect=inspect,
    # Keys are rotated by a scale that the length of their prompt has chosen.
    states_depend_on=lambda text, tokens: text.ntk_level(tokens),
    published=tuple(
        Published(
            name=f"CLIP-ViT-L+Qwen-{size}",
            title=f"CLIP-ViT-L + Qwen {size}",
            open=partial(_published, size),
        )
        for size in ("1.8B", "7B")
    ),
)
