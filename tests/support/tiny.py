"""Tiny random checkpoints of native architectures, saved to disk as a hub repository would be.

Each is a few hundred kB: one or two layers, width 32 to 64, a byte-level tokenizer of our own.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4ImageProcessor,
    Gemma4Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
)

from vlm import families
from vlm.engine import Engine

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def tokenizer(image_marker: str, **special: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; `special` names extra tokens, such as image_token="<image>"."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|start|>", "<|end|>", *special.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|end|>",
        pad_token="<|end|>",
        extra_special_tokens=special,
        chat_template=TEMPLATE.replace("IMAGE", image_marker),
    )


def _text(words: int, **changes: object) -> dict[str, object]:
    return {
        "vocab_size": words,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": 257,
        "pad_token_id": 257,
        **changes,
    }


def llava(folder: Path, **text: object) -> None:
    """CLIP tower, one linear-GELU-linear projector, Llama; `text` changes its configuration."""
    words = tokenizer("<image>", image_token="<image>")
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 64,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config={"model_type": "llama", **_text(len(words), **text)},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    pixels = CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_convert_rgb=True
    )
    LlavaProcessor(
        image_processor=pixels,
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=words.chat_template,
    ).save_pretrained(folder)
    _save(LlavaForConditionalGeneration, config, folder)


def smolvlm(folder: Path) -> None:
    """SigLIP-like tower with image splitting, pixel shuffle, Llama."""
    words = tokenizer(
        "<image>",
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
        video_token="<video>",
    )
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    config = SmolVLMConfig(
        vision_config=vision,
        text_config={"model_type": "llama", **_text(len(words))},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=257,
    )
    pixels = SmolVLMImageProcessor(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    _save_processor(SmolVLMProcessor, pixels, words, folder, image_seq_len=4)
    _save(SmolVLMForConditionalGeneration, config, folder)


def qwen2_5_vl(folder: Path) -> None:
    """Window-attention tower of native resolution, patch merger, Qwen2 with rotary positions."""
    words = tokenizer(
        "<|vision_start|><|image_pad|><|vision_end|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start="<|vision_start|>",
        vision_end="<|vision_end|>",
    )
    ids = {
        name: words.convert_tokens_to_ids(text) for name, text in words.special_tokens_map.items()
    }
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 64,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        text_config=_text(
            len(words),
            rope_parameters={
                "rope_type": "default",
                "mrope_section": [2, 3, 3],
                "rope_theta": 10000.0,
            },
        ),
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    pixels = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16})
    _save_processor(Qwen2_5_VLProcessor, pixels, words, folder)
    _save(Qwen2_5_VLForConditionalGeneration, config, folder)


def gemma3(folder: Path) -> None:
    """SigLIP tower, average pooling to 4 tokens, Gemma 3 with sliding-window layers."""
    words = tokenizer(
        "<start_of_image>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    config = Gemma3Config(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config=_text(len(words), head_dim=16, sliding_window=16),
        image_token_id=words.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_id=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_id=words.convert_tokens_to_ids("<end_of_image>"),
        mm_tokens_per_image=4,
    )
    pixels = Gemma3ImageProcessor(size={"height": 32, "width": 32})
    Gemma3Processor(
        pixels, words, chat_template=words.chat_template, image_seq_length=4
    ).save_pretrained(folder)
    _save(Gemma3ForConditionalGeneration, config, folder)


def gemma4(folder: Path) -> None:
    """Tower of 70 tokens a picture, embeddings of each layer, layers that share keys and values."""
    words = tokenizer(
        "<|image|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        audio_token="<|audio|>",
        video_token="<|video|>",
    )
    ids = {
        name: words.convert_tokens_to_ids(text) for name, text in words.special_tokens_map.items()
    }
    config = Gemma4Config(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 16,
            "patch_size": 4,
            "position_embedding_size": 1024,
        },
        text_config=_text(
            len(words),
            num_hidden_layers=4,
            layer_types=["sliding_attention", "full_attention"] * 2,
            num_kv_shared_layers=2,
            use_double_wide_mlp=True,
            head_dim=16,
            global_head_dim=32,
            sliding_window=16,
            hidden_size_per_layer_input=64,
            vocab_size_per_layer_input=len(words),
        ),
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [8, 4],
            "output_proj_dims": 32,
        },
        image_token_id=ids["image_token"],
        boi_token_id=ids["boi_token"],
        eoi_token_id=ids["eoi_token"],
        audio_token_id=ids["audio_token"],
        boa_token_id=ids["boa_token"],
        eoa_token_index=ids["eoa_token"],
        video_token_id=ids["video_token"],
    )
    pixels = Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70)
    _save_processor(Gemma4Processor, pixels, words, folder)
    _save(Gemma4ForConditionalGeneration, config, folder)


def minicpm_v4_6(folder: Path) -> None:
    """SigLIP-like tower with slices, two mergers, Qwen3.5 with a recurrent layer.

    Its processor has no file but preprocessor_config.json, as the published one.
    """
    words = tokenizer(
        "<|image_pad|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        image_start_token="<image>",
        image_end_token="</image>",
        slice_start_token="<slice>",
        slice_end_token="</slice>",
        image_id_start_token="<image_id>",
        image_id_end_token="</image_id>",
    )
    config = MiniCPMV4_6Config(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 8,
        },
        text_config={
            "model_type": "qwen3_5_text",
            **_text(
                len(words),
                head_dim=32,
                layer_types=["linear_attention", "full_attention"],
                linear_key_head_dim=16,
                linear_value_head_dim=4,
                linear_num_key_heads=2,
                linear_num_value_heads=32,
            ),
        },
        insert_layer_id=0,
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
    )
    words.save_pretrained(folder)
    settings = {
        "image_processor_type": "MiniCPMV4_6ImageProcessor",
        "processor_class": "MiniCPMV4_6Processor",
        "max_slice_nums": 4,
        "scale_resolution": 64,
        "patch_size": 8,
        "use_image_id": True,
        "slice_mode": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    _save(MiniCPMV4_6ForConditionalGeneration, config, folder)


def _save_processor(
    kind: type[ProcessorMixin], pixels: object, words: object, folder: Path, **extra: int
) -> None:
    """Writes the files of a processor whose class wants parts for video or audio."""
    from vlm.processor_parts import UnusedPart, image_text_only

    parts = {"image_processor": pixels, "tokenizer": words}
    whole = {name: parts.get(name) or UnusedPart(name) for name in kind.get_attributes()}
    template = getattr(words, "chat_template", None)
    image_text_only(kind)(**whole, chat_template=template, **extra).save_pretrained(folder)


def _save(kind: type, config: object, folder: Path) -> None:
    torch.manual_seed(0)
    model = kind(config).to(torch.float32)
    model.generation_config.eos_token_id = 257
    model.generation_config.pad_token_id = 257
    model.save_pretrained(folder)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "llava": llava,
    "smolvlm": smolvlm,
    "qwen2_5_vl": qwen2_5_vl,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "minicpm_v4_6": minicpm_v4_6,
}

EVERY_MODEL = (*families.NAMES, *sorted(BUILDERS))
"""Families and native architectures."""


@contextmanager
def tiny_engine(
    name: str, checkpoints: Mapping[str, Path], folders: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The tiny model of a name of `EVERY_MODEL`, loaded in 32 bits."""
    if name in families.NAMES:
        source = families.families()[name].tiny(folders.mktemp(name))
    else:
        source = str(checkpoints[name])
    engine = Engine.load(source, quantization="none", device="cpu", dtype="float32")
    try:
        yield engine
    finally:
        engine.close()
