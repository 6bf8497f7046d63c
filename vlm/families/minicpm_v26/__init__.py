"""MiniCPM-V 2.6: slices of an image, SigLIP over patches of any number, a resampler, Qwen2.

Its own code no longer runs under transformers 5, or runs and answers wrongly; everything here is
transformers' own or written as a difference from it. Torch and transformers are imported only
when a checkpoint is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common
from vlm.options import Preset

if TYPE_CHECKING:
    import torch

    from vlm.backend import Stage
    from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
    from vlm.inspection import Figure

CHECKPOINTS = (
    Checkpoint(
        name="openbmb/MiniCPM-V-2_6",
        title="MiniCPM-V 2.6",
        source="openbmb/MiniCPM-V-2_6",
        revision="6c04d9e3022bcff6e6738dfb1fc19a5cfd2a855f",
        parameters=8099,
        license="MiniCPM Model License",
        languages=("en", "zh", "de", "fr", "it", "ko"),
        context_length=32768,
        good_at="model.minicpm_v26.good_at",
    ),
)

PRESETS = (
    Preset(name="beams", values={"temperature": 0, "num_beams": 3, "repetition_penalty": 1.2}),
)
"""What the published code does when it is told not to draw."""

VERSION = "2.6"

WEIGHTS = ("*.safetensors",)
TOKENIZER = ("*.json", "*.txt")

STAGES = (
    Tap(name="input_ids", side="input", value="input_ids", axes="batch, tokens"),
    Tap(
        name="pixel_values",
        side="input",
        value="pixel_values",
        axes="images, channels, height, width",
    ),
    Tap(name="tgt_sizes", side="input", value="tgt_sizes", axes="images, sides"),
    Tap(
        name="patch_positions",
        module="model.vision_tower.embeddings.positions",
        side="output",
        axes="images, positions",
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
        module="model.resampler",
        side="output",
        axes="images, queries, width",
    ),
    Tap(
        name="inputs_embeds",
        module="model.language_model",
        side="input",
        value="inputs_embeds",
        axes="batch, tokens, width",
    ),
    Tap(
        name="attention_mask",
        module="model.language_model",
        side="input",
        value="attention_mask",
        axes="batch, tokens",
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
    """Whether a folder or hub id has a configuration of this family.

    Other models share the `model_type`; they have another version, or another language model.
    """
    config = common.read_json(source)
    version = str(config.get("version", VERSION))
    return config.get("model_type") == "minicpmv" and version == VERSION


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint, published or written by `save_pretrained`.

    Args:
        source: its folder or hub id.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: not needed, as nothing is unpacked.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape; the
            tokenizer does not know a token of the prompt; the files contradict each other.
    """
    from transformers import GenerationConfig

    from vlm.families.minicpm_v26 import modeling, processing, weights
    from vlm.families.minicpm_v26.configuration import MiniCPMVConfig

    folder = common.fetched_folder(source, WEIGHTS, TOKENIZER)
    config = MiniCPMVConfig.from_pretrained(folder)
    words_of = common.fetched_folder(tokenizer, TOKENIZER) if tokenizer else folder
    processor = processing.make_processor(config, folder, words_of)
    config.image_token_id = processor.image_token_id
    weights.check_files(folder, modeling.MiniCPMVForConditionalGeneration, config)
    ends = (processing.TURN_END, processing.TEXT_END)
    return Opened(
        config=config,
        processor=processor,
        weights=folder,
        generation_config=GenerationConfig(  # as the published code draws, whatever the files say
            bos_token_id=processor.tokenizer.convert_tokens_to_ids(processing.TURN),
            eos_token_id=[processor.tokenizer.convert_tokens_to_ids(token) for token in ends],
            pad_token_id=processing.PADDING,
            do_sample=True,
            temperature=0.7,
            top_p=0.8,
            top_k=100,
            repetition_penalty=1.05,
            max_new_tokens=2048,
        ),
    )


def inspect(source: str, tokenizer: str | None = None) -> Opened:
    """A checkpoint without its weights, of which a hub repository keeps the largest files."""
    from vlm.families.minicpm_v26 import modeling, processing  # noqa: F401 - registers its class
    from vlm.families.minicpm_v26.configuration import MiniCPMVConfig

    folder = common.fetched_folder(source, TOKENIZER)
    config = MiniCPMVConfig.from_pretrained(folder)
    words_of = common.fetched_folder(tokenizer, TOKENIZER) if tokenizer else folder
    processor = processing.make_processor(config, folder, words_of)
    config.image_token_id = processor.image_token_id
    return Opened(config=config, processor=processor, weights=folder)


def tiny_config(words: int) -> "MiniCPMVConfig":
    """Of a model of the same form for tests: slices of about 56 x 56 pixels, 4 tokens each.

    Args:
        words: in the vocabulary.
    """
    from vlm.families.minicpm_v26.configuration import MiniCPMVConfig

    return MiniCPMVConfig(
        vocab_size=words,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 980,
            "patch_size": 14,
        },
        query_num=4,
        vision_batch_size=3,
        slice_config={"max_slice_nums": 4, "patch_size": 14, "scale_resolution": 56},
    )


def tiny(folder: Path) -> str:
    """Writes a checkpoint of `tiny_config` with random weights. Returns its source."""
    import torch

    from vlm.families.minicpm_v26 import modeling, processing

    # Words first: the token 0 is "!", as in the published vocabulary.
    tokenizer = common.byte_tokenizer({}, processing.TOKENS)
    tokenizer.bos_token, tokenizer.eos_token = processing.TURN, processing.TURN_END
    tokenizer.pad_token, tokenizer.unk_token = processing.TEXT_END, processing.PLACEHOLDER
    model = modeling.MiniCPMVForConditionalGeneration(tiny_config(len(tokenizer)))
    common.randomise(model)
    with torch.no_grad():  # or the last word would outshine the few visual tokens
        for parameter in model.model.language_model.parameters():
            parameter.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _published() -> Opened:
    from vlm.families.minicpm_v26 import published

    return published.open()


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.minicpm_v26 import figures

    return figures.draw(model, stages)


FAMILY = Family(
    name="minicpm_v26",
    recognises=recognises,
    open=open,
    inspect=inspect,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    presets=PRESETS,
    published=(Published(name=CHECKPOINTS[0].name, title=CHECKPOINTS[0].title, open=_published),),
    figures=_figures,
)
