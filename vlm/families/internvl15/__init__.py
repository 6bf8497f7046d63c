"""InternVL-Chat-V1-5 and its kin: InternViT, pixel shuffle, InternLM2 or another language model.

Their own code no longer runs; everything here is transformers' own or written as a difference
from it. Torch and transformers are imported only when a checkpoint is opened.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common

if TYPE_CHECKING:
    import torch

    from vlm.backend import Stage
    from vlm.families.internvl15.configuration import InternVLChatConfig
    from vlm.inspection import Figure

CHECKPOINTS = (
    Checkpoint(
        name="OpenGVLab/InternVL-Chat-V1-5",
        title="InternVL Chat V1.5 26B",
        source="OpenGVLab/InternVL-Chat-V1-5",
        revision="ec2f554291898c0952f867f70236345bdfb3a1a9",
        parameters=25514,
        license="MIT",
        languages=("en", "zh"),
        context_length=32768,
        good_at="model.internvl15.good_at_26b",
    ),
    Checkpoint(
        name="OpenGVLab/Mini-InternVL-Chat-4B-V1-5",
        title="Mini-InternVL Chat V1.5 4B",
        source="OpenGVLab/Mini-InternVL-Chat-4B-V1-5",
        revision="6f97087daec17e4b033d4d846c0b64c09c4268cd",
        parameters=4147,
        license="MIT",
        languages=("en", "zh"),
        context_length=131072,
        good_at="model.internvl15.good_at_4b",
    ),
    Checkpoint(
        name="OpenGVLab/Mini-InternVL-Chat-2B-V1-5",
        title="Mini-InternVL Chat V1.5 2B",
        source="OpenGVLab/Mini-InternVL-Chat-2B-V1-5",
        revision="77ef069f9bfc63c127d638eb864f3d8f35993d39",
        parameters=2206,
        license="MIT",
        languages=("en", "zh"),
        context_length=32768,
        good_at="model.internvl15.good_at_2b",
    ),
)

WEIGHTS = ("*.safetensors",)
TOKENIZER = ("*.json", "*.txt", "tokenizer.model")

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
        module="model.shuffle",
        side="input",
        value="hidden",
        axes="images, positions, width",
    ),
    Tap(
        name="pixel_shuffle",
        module="model.shuffle",
        side="output",
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


def recognises(source: str) -> bool:
    """Whether a folder or hub id has a configuration of this family."""
    return common.model_type(source) == "internvl_chat"


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint, published or written by `save_pretrained`.

    Args:
        source: its folder or hub id.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: not needed, as nothing is unpacked.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape; the
            language model, the prompt format or a token of it is unknown.
    """
    from transformers import GenerationConfig

    from vlm.families.internvl15 import files, processing, templates
    from vlm.families.internvl15.configuration import InternVLChatConfig

    folder = common.fetched_folder(source, WEIGHTS, TOKENIZER)
    config = InternVLChatConfig.from_pretrained(folder, name_or_path=str(folder))
    files.check_config(config, folder / common.CONFIG)
    template = templates.find_template(config.template, source)
    words_of = common.fetched_folder(tokenizer, TOKENIZER) if tokenizer else folder
    processor = processing.make_processor(config, source, words_of)
    config.image_token_id = cast(int, processor.image_token_id)
    files.check_files(folder, config)
    words = processor.tokenizer
    return Opened(
        config=config,
        processor=processor,
        weights=folder,
        generation_config=GenerationConfig(
            bos_token_id=words.bos_token_id,
            # The one token of the prompt format, as published: </s> alone does not end an answer.
            eos_token_id=words.convert_tokens_to_ids(template.stop_token),
            pad_token_id=words.pad_token_id,
            do_sample=False,
        ),
    )


def inspect(source: str, tokenizer: str | None = None) -> Opened:
    """A checkpoint without its weights, of which a hub repository keeps the largest files."""
    from vlm.families.internvl15 import modeling, processing  # noqa: F401 - registers its class
    from vlm.families.internvl15.configuration import InternVLChatConfig

    folder = common.fetched_folder(source, TOKENIZER)
    config = InternVLChatConfig.from_pretrained(folder, name_or_path=str(folder))
    words_of = common.fetched_folder(tokenizer, TOKENIZER) if tokenizer else folder
    processor = processing.make_processor(config, source, words_of)
    config.image_token_id = cast(int, processor.image_token_id)
    return Opened(config=config, processor=processor, weights=folder)


def _published(name: str) -> Opened:
    from vlm.families.internvl15 import published

    return published.open(name)


def tiny_config(words: int) -> "InternVLChatConfig":
    """Of a model of the same form for tests: tiles of 28 pixels, 4 placeholders each.

    Args:
        words: in the vocabulary.
    """
    from vlm.families.internvl15.configuration import InternVLChatConfig

    return InternVLChatConfig(
        vision_config={
            "image_size": 28,
            "patch_size": 7,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
        },
        llm_config={
            "architectures": ["InternLM2ForCausalLM"],
            "bias": False,
            "vocab_size": words,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
            "rope_theta": 1000000,
        },
        force_image_size=28,
        ps_version="v2",
        template="internlm2-chat",
        dynamic_image_size=True,
        use_thumbnail=True,
        max_dynamic_patch=6,
    )


def tiny(folder: Path) -> str:
    """Writes a checkpoint of `tiny_config` with random weights. Returns its source."""
    import torch

    from vlm.families.internvl15 import modeling

    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    more = ("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
    tokenizer = common.byte_tokenizer(names, more)
    torch.manual_seed(0)
    model = modeling.InternVLChatForConditionalGeneration(tiny_config(len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.internvl15 import figures

    return figures.draw(model)


FAMILY = Family(
    name="internvl15",
    recognises=recognises,
    open=open,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    inspect=inspect,
    published=tuple(
        Published(name=each.name, title=each.title, open=partial(_published, each.name))
        for each in CHECKPOINTS
    ),
    figures=_figures,
)
