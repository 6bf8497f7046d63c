"""MiniMind-V: CLIP or SigLIP, a projector, and a small language model; three generations of it.

February 2025 ("seed"), MiniMind2-V with the names of transformers ("mid"), minimind-3v ("head").
Their own code no longer runs as an export. Torch and transformers are imported only when a
checkpoint is opened.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common
from vlm.families.minimind_v.sources import recognises

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from vlm.backend import Stage
    from vlm.inspection import Figure

CLIP = "openai/clip-vit-base-patch16"
SIGLIP = "jingyaogong/siglip2-base-p32-256-ve"

MOST_IMAGES = {"seed": 2, "mid": 2, "head": None}
"""In one conversation: as many as were in training; later any number."""


def _published(
    name: str, title: str, tower: str, parameters: float, key: str, generation: str = "head"
) -> Checkpoint:
    return Checkpoint(
        name=name,
        title=title,
        source=f"{name}+{tower}",
        parameters=parameters,
        license="Apache-2.0",
        languages=("zh", "en"),
        context_length=32768,
        images=MOST_IMAGES[generation],
        good_at=f"model.minimind_v.{key}",
    )


CHECKPOINTS = (
    _published("jingyaogong/MiniMind2-V", "MiniMind2-V 104M", CLIP, 190, "good_at_mid", "mid"),
    _published("jingyaogong/minimind-3v", "minimind-3v", SIGLIP, 153, "good_at_head"),
    _published("jingyaogong/minimind-3v-moe", "minimind-3v MoE", SIGLIP, 287, "good_at_moe"),
)
"""Parameters with the tower. The first generation was only ever published as `.pth`."""

STAGES = (
    Tap(
        name="input_ids",
        module="model.language_model.embed_tokens",
        side="input",
        value="input",
        axes="batch, tokens",
    ),
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
        value="features",
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
        name="final_hidden",
        module="model.language_model",
        side="output",
        value="last_hidden_state",
        axes="batch, tokens, width",
    ),
    Tap(name="logits", side="output", value="logits", axes="batch, tokens, words"),
)


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint, published or written by `save_pretrained`.

    Args:
        source: see `sources`.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: not needed, as nothing is unpacked.

    Raises:
        ModelError: the tower or the tokenizer is missing or another model's; a file or a tensor is
            missing, damaged, unexpected or of the wrong shape.
    """
    from vlm.families.minimind_v import files, processing, sources

    parts = sources.locate(source, tokenizer)
    config, weights = files.read(parts)
    saved = parts.language if isinstance(weights, Path) else None
    processor = processing.make_processor(config, saved or parts.tower, parts.words, parts.language)
    return Opened(
        config=config,
        processor=processor,
        weights=weights,
        generation_config=generation_config(config.generation, processor.tokenizer),
    )


SAMPLING: dict[str, dict[str, Any]] = {
    "seed": {"temperature": 0.65, "top_p": 0.85, "top_k": 0},
    # What `generate` of that time did by itself unless told otherwise.
    "mid": {"temperature": 0.65, "top_p": 0.85, "top_k": 50},
    "head": {"temperature": 0.7, "top_p": 0.85, "top_k": 50},
}
"""How each generation is asked by its own scripts."""


def generation_config(generation: str, tokenizer: "PreTrainedTokenizerBase") -> "GenerationConfig":
    """Defaults for answers."""
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        **SAMPLING[generation],
    )


# ---- for tests ----

TINY_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}{{ '<s>system\\nBe kind.</s>\\n' }}{% endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {{- message['content'] + '</s>\\n' -}}
    {%- else -%}
        {{- '<s>' + message['role'] + '\\n' + message['content'] + '</s>\\n' -}}
        {{- '<s>assistant\\n' if message['role'] == 'user' -}}
    {%- endif -%}
{%- endfor -%}
"""
"""In the form of the first generation, which asks for an answer after every question."""


def tiny(folder: Path) -> str:
    """Writes a checkpoint of the first generation, with experts, laid out as its repository is.

    Returns:
        The folder: the `.pth` lies in out/, tower and tokenizer below model/.
    """
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    from vlm.families.minimind_v import configuration, modeling, weights

    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = common.byte_tokenizer(names, template=TINY_TEMPLATE)
    tokenizer.pad_token = "<unk>"
    sizes = {"dim": 64, "n_layers": 2, "hidden_dim": 128, "vocab_size": len(tokenizer)}
    experts = {"use_moe": True, "n_routed_experts": 4, "n_shared_experts": True}
    text = configuration.language_settings("seed", sizes | experts)
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=224,
        patch_size=16,
    )
    config = configuration.MiniMindVConfig(
        text_config=configuration.MiniMindTextConfig(**text), vision_config=vision
    )
    model = modeling.MiniMindVForConditionalGeneration(config)
    common.randomise(model)
    norms = ("norm.weight", "norm1.weight", "norm2.weight")
    for name, parameter in model.named_parameters():
        if name.endswith(norms):  # small ones would leave little of an image in an answer
            parameter.data.fill_(1.0)
    tower = model.model.vision_tower
    assert isinstance(tower, CLIPVisionModel)
    tower.save_pretrained(folder / "model" / "vision_model" / "clip-vit-base-patch16")
    tokenizer.save_pretrained(folder / "model" / "minimind_tokenizer", save_jinja_files=False)
    (folder / "out").mkdir()
    torch.save(weights.published_state(model), folder / "out" / "sft_vlm_64_moe.pth")
    return str(folder)


def _without_files(name: str) -> Opened:
    from vlm.families.minimind_v import published

    return published.open(name)


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.minimind_v import figures

    return figures.draw(model)


FAMILY = Family(
    name="minimind_v",
    recognises=recognises,
    open=open,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    figures=_figures,
    published=tuple(
        Published(name=name, title=title, open=partial(_without_files, name))
        for name, title in (
            ("MiniMind2-V-seed", "MiniMind-V 26M (2025-02)"),
            *((each.name, each.title) for each in CHECKPOINTS),
        )
    ),
)
