"""The published configurations of the three generations, to look into without their files.

Numbers of layers and widths are those of the published code. The tokenizer is one of single bytes,
filled up to the published number of words.
"""

from collections.abc import Mapping
from typing import Any

from vlm.families import Opened, common
from vlm.families.minimind_v import TINY_TEMPLATE, modeling, processing  # noqa: F401 - registers its class
from vlm.families.minimind_v.configuration import (
    TOWERS,
    Generation,
    MiniMindTextConfig,
    MiniMindVConfig,
    language_settings,
)

SEED = "MiniMind2-V-seed"

TEMPLATE = TINY_TEMPLATE.replace("Be kind.", "你是 MiniMind，是一个有用的人工智能助手。")
"""The form of the first generation with its published system text; later ones write it alike."""

SYSTEMS: Mapping[str, tuple[Generation, Mapping[str, Any]]] = {
    SEED: ("seed", {"dim": 512, "n_layers": 8}),
    "jingyaogong/MiniMind2-V": ("mid", {"hidden_size": 768, "num_hidden_layers": 16}),
    "jingyaogong/minimind-3v": ("head", {"hidden_size": 768, "num_hidden_layers": 8}),
    "jingyaogong/minimind-3v-moe": (
        "head",
        {"hidden_size": 768, "num_hidden_layers": 8, "use_moe": True, "num_experts": 4},
    ),
}
"""Name -> generation and settings of its language model."""


def configuration(name: str) -> MiniMindVConfig:
    """The configuration of a name of `SYSTEMS`."""
    generation, given = SYSTEMS[name]
    text = MiniMindTextConfig(**language_settings(generation, given))
    return MiniMindVConfig(text_config=text, vision_config=dict(TOWERS[generation]))


def open(name: str) -> Opened:
    """A name of `SYSTEMS` without its files."""
    config = configuration(name)
    words = config.text.vocab_size
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    if config.generation == "head":  # where its placeholder has to have the number 12
        token, number = processing.READ_AS["head"]
        special |= {f"unused_{at}": f"<reserved {at}>" for at in range(len(special), number)}
        special["image_token"] = token
    tokenizer = common.byte_tokenizer(special, template=TEMPLATE, words=words)
    tokenizer.pad_token = "<unk>"
    with common.folder_of(tokenizer) as folder:
        processor = processing.make_processor(config, None, folder, folder)
    return Opened(config=config, processor=processor, weights=name)
