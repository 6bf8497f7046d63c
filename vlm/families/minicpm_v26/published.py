"""The published configuration, to look into without its files.

Widths, the number of words and of queries are those of the published code; the sizes of the
language model are recalled, as the file cannot be had here. The tokenizer is one of single bytes.
"""

from collections.abc import Mapping
from typing import Any

from vlm.families import Opened, common
from vlm.families.minicpm_v26 import modeling, processing  # noqa: F401 - registers its class
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig

NAME = "openbmb/MiniCPM-V-2_6"

PUBLISHED: Mapping[str, Any] = {
    # from the published code
    "model_type": "minicpmv",
    "version": 2.6,
    "hidden_size": 3584,
    "vocab_size": 151666,
    "query_num": 64,
    "tie_word_embeddings": False,
    # recalled, not verified against the published file
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32768,
    "drop_vision_last_layer": False,
    "slice_config": {"max_slice_nums": 9, "patch_size": 14},
}


def open() -> Opened:
    """The checkpoint without its files."""
    config = MiniCPMVConfig(**PUBLISHED)
    tokenizer = common.byte_tokenizer({}, processing.TOKENS)
    tokenizer.bos_token, tokenizer.eos_token = processing.TURN, processing.TURN_END
    tokenizer.pad_token, tokenizer.unk_token = processing.TEXT_END, processing.PLACEHOLDER
    with common.folder_of(tokenizer) as words:
        processor = processing.make_processor(config, words, words)
    config.image_token_id = processor.image_token_id
    return Opened(config=config, processor=processor, weights=NAME)
