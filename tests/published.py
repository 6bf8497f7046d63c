"""The published systems at their full size, without weights: what README's table says of memory.

`python -m tests.published` prints it: parameters, and the memory of the weights in each precision,
worked out from names and shapes on the meta device. The entries of the published config.json files
that no specification confirms are recalled; `published.py` of each family says which.
"""

import importlib
from collections.abc import Callable, Mapping

import transformers
from transformers import AutoConfig

from vlm import families
from vlm.families import pocket
from vlm.families.clip_qwen import published as clip_qwen
from vlm.families.internvl15 import published as internvl15
from vlm.families.minicpm_v26 import published as minicpm_v26
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minimind_v import published as minimind_v
from vlm.families.paligemma import published as paligemma
from vlm.loading import empty_model
from vlm.quantization import weight_bytes

SYSTEMS: Mapping[str, Callable[[], transformers.PreTrainedConfig]] = {
    "Pocket": lambda: AutoConfig.from_pretrained(pocket.CHECKPOINTS[0].source),
    "InternVL-Chat-V1-5 26B": lambda: internvl15.configuration("OpenGVLab/InternVL-Chat-V1-5"),
    "Mini-InternVL 4B": lambda: internvl15.configuration("OpenGVLab/Mini-InternVL-Chat-4B-V1-5"),
    "Mini-InternVL 2B": lambda: internvl15.configuration("OpenGVLab/Mini-InternVL-Chat-2B-V1-5"),
    "PaliGemma 3B": paligemma.configuration,
    "MiniCPM-V 2.6": lambda: MiniCPMVConfig(**minicpm_v26.PUBLISHED),
    "MiniMind2-V, seed 26M": lambda: minimind_v.configuration(minimind_v.SEED),
    "MiniMind2-V 104M": lambda: minimind_v.configuration("jingyaogong/MiniMind2-V"),
    "minimind-3v": lambda: minimind_v.configuration("jingyaogong/minimind-3v"),
    "minimind-3v MoE": lambda: minimind_v.configuration("jingyaogong/minimind-3v-moe"),
    "CLIP-L + Qwen 1.8B": lambda: clip_qwen.configuration("1.8B"),
    "CLIP-L + Qwen 7B": lambda: clip_qwen.configuration("7B"),
}
"""Title -> its configuration."""


def sizes(title: str) -> list[str]:
    """Cells of a system's row: millions of parameters, GB in 16, 8 and 4 bits."""
    for name in families.NAMES:  # which registers its classes
        importlib.import_module(f"vlm.families.{name}.modeling")
    model = empty_model(SYSTEMS[title]())
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    bits = (weight_bytes(model, each) / 1e9 for each in ("none", "int8", "nf4"))
    return [f"{count:,.0f} M", *(f"{each:.2f}" for each in bits)]


def main() -> None:
    """Prints the table."""
    print("| system | parameters | 16 bit | 8 bit | 4 bit |\n|---|---|---|---|---|")
    for title in SYSTEMS:
        print(f"| {' | '.join([title, *sizes(title)])} |")


if __name__ == "__main__":
    main()
