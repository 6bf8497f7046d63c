"""Configuration of MiniMind-V, all generations: a CLIP or SigLIP tower, a projector, MiniMind.

The language model is written as a difference from Qwen3: without the norms of queries and keys it
is a Llama, which the two older generations are. Published files have flat fields under two sets of
names, or nothing at all (a `.pth`); `language_settings` reads both.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, Qwen3Config
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

Generation = Literal["seed", "mid", "head"]
"""February 2025; MiniMind2-V with the names of transformers; minimind-3v."""

MODEL_TYPE = "minimind-v"
AT = 34
"""The number of "@" in the vocabulary of the older generations."""
STEPPED = "minimind_stepped"
"""Name of the first way to stretch rotary positions; the second is transformers' "yarn"."""


@strict
class MiniMindTextConfig(Qwen3Config):
    """The language model.

    Attributes:
        generation: decides on norms of queries and keys, on the casts of RMS norms, and on how the
            weights of experts are made.
        num_experts: to choose from in every layer; 0: one feed-forward layer instead.
        num_experts_per_tok: chosen for a token.
        shared_experts: that see every token.
        norm_topk_prob: whether the weights of the chosen experts are made to add up to 1. The
            older generations never do that for a single one.
        aux_loss_alpha: weight of the loss that spreads tokens over the experts; 0: without it.
        seq_aux: whether that loss looks at each sequence by itself.
    """

    model_type = "minimind_v_text"
    base_config_key = "text_config"

    generation: str = "head"
    vocab_size: int = 6400
    hidden_size: int = 768
    intermediate_size: int = 2432
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int | None = 4
    head_dim: int = 96
    tie_word_embeddings: bool = True
    num_experts: int = 0
    num_experts_per_tok: int = 1
    moe_intermediate_size: int | None = None
    shared_experts: int = 0
    norm_topk_prob: bool = True
    aux_loss_alpha: float | int = 5e-4
    seq_aux: bool = False

    @property
    def renormalises(self) -> bool:
        """Whether the weights of the chosen experts add up to 1."""
        return self.norm_topk_prob and (self.generation == "head" or self.num_experts_per_tok > 1)


@strict
class MiniMindVConfig(PreTrainedConfig):
    """The whole model.

    Attributes:
        image_token_id: of the placeholder. In the older generations it is the first number past
            the vocabulary, so that an "@" in a text stays one.
        text_token_id: what a placeholder is read as where no image stands: "@", as published.
        image_seq_length: placeholders of an image.
    """

    model_type = MODEL_TYPE
    sub_configs_defaults: ClassVar[dict] = {
        "text_config": MiniMindTextConfig,
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="siglip_vision_model"),
    }
    vision_feature_layer: ClassVar[int] = -1

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 12
    text_token_id: int = 12
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        if self.text_config is None and FLAT & kwargs.keys():  # a published export
            generation = generation_of(kwargs)
            self.text_config = MiniMindTextConfig(**language_settings(generation, kwargs))
            if self.vision_config is None:
                self.vision_config = TOWERS[generation]
            if generation != "head":
                self.image_token_id, self.text_token_id = self.text.vocab_size, AT
            kwargs = {name: value for name, value in kwargs.items() if name in KEPT}
        super().__post_init__(**kwargs)
        self.text.tie_word_embeddings = self.tie_word_embeddings

    @property
    def text(self) -> MiniMindTextConfig:
        """Of the language model."""
        assert isinstance(self.text_config, MiniMindTextConfig)
        return self.text_config

    @property
    def vision(self) -> Any:
        """Of the tower: a CLIPVisionConfig or SiglipVisionConfig."""
        return self.vision_config

    @property
    def generation(self) -> str:
        """Of the language model and what goes with it."""
        return self.text.generation

    @property
    def image_side(self) -> int:
        """Rows, and columns, of visual tokens."""
        return self.vision.image_size // self.vision.patch_size

    @property
    def image_seq_length(self) -> int:
        """Placeholders of an image."""
        return self.image_side**2


# ---- published settings ----

_CLIP = {"model_type": "clip_vision_model", "patch_size": 16}
_SIGLIP = {
    "model_type": "siglip_vision_model",
    "image_size": 256,
    "patch_size": 32,
    "vision_use_head": False,
}
TOWERS: dict[str, dict[str, Any]] = {"seed": _CLIP, "mid": _CLIP, "head": _SIGLIP}
"""The towers of the generations, as far as they are not the defaults of their classes."""

_OLDER = {
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "num_experts_per_tok": 2,
    "aux_loss_alpha": 0.1,
    "seq_aux": True,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "seed": _OLDER | {"max_position_embeddings": 8192},
    "mid": _OLDER | {"max_position_embeddings": 32768},
    "head": {"max_position_embeddings": 32768},
}
"""What is published for a generation where no file says otherwise."""

SEED_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "max_seq_len": "max_position_embeddings",
}
OTHER_NAMES = {
    "n_routed_experts": "num_experts",
    "n_shared_experts": "shared_experts",
    "router_aux_loss_coef": "aux_loss_alpha",
}
"""Names of settings in the seed generation, in all of them -> here."""

KEPT = ("architectures", "dtype", "transformers_version", "_name_or_path", "_commit_hash")
"""Fields of a published file that stay as they are."""

FLAT = frozenset({*SEED_NAMES, *OTHER_NAMES, "hidden_size", "num_hidden_layers", "use_moe"})
"""Fields that are at the top of published files and not of ours."""


def generation_of(settings: Mapping[str, Any]) -> Generation:
    """The generation that published settings are written for."""
    if "dim" in settings:
        return "seed"
    return "mid" if "n_routed_experts" in settings else "head"


def language_settings(
    generation: Generation,
    given: Mapping[str, Any],
    inferred: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of `MiniMindTextConfig`.

    Args:
        generation: of the checkpoint.
        given: published settings under either set of names; may be empty.
        inferred: sizes that the shapes of tensors tell, for what is not given.
    """
    names = OTHER_NAMES | (SEED_NAMES if generation == "seed" else {})
    said = {names.get(name, name): value for name, value in given.items() if value is not None}
    if said.get("use_moe") is False:
        said |= {"num_experts": 0, "shared_experts": 0}
    elif "use_moe" not in said:  # then the numbers are there, but do not count
        said = {k: v for k, v in said.items() if k not in ("num_experts", "shared_experts")}
    elif generation == "seed" and "shared_experts" in said:
        said["shared_experts"] = 1  # whatever is written there, even 0
    found = {**DEFAULTS[generation], **(inferred or {}), **said, "generation": generation}
    width = found.setdefault("hidden_size", 512 if generation != "head" else 768)
    heads = found.setdefault("num_attention_heads", 8)
    found.setdefault("head_dim", width // heads)
    found.setdefault("intermediate_size", inner_width(generation, width))
    if generation != "head":  # they have one width for all
        found["moe_intermediate_size"] = found["intermediate_size"]
    found["rope_parameters"] = rope_parameters(given, found["max_position_embeddings"])
    taken = MiniMindTextConfig().to_dict().keys() - {"model_type", "dtype", "transformers_version"}
    return {name: value for name, value in found.items() if name in taken}


def inner_width(generation: Generation, width: int) -> int:
    """Width of a feed-forward layer where it is not given."""
    if generation == "head":
        return math.ceil(width * math.pi / 64) * 64
    inner = int(8 * width / 3)
    return -(-inner // 64) * 64


def rope_parameters(given: Mapping[str, Any], longest: int) -> dict[str, Any]:
    """How rotary positions are made, in transformers' terms.

    They are stretched only if `inference_rope_scaling` is set and the table of positions is longer
    than what was trained, then at every length.
    """
    theta = float(given.get("rope_theta") or 1e6)
    plain = {"rope_type": "default", "rope_theta": theta}
    stretch = given.get("rope_scaling")
    if not stretch and not given.get("inference_rope_scaling"):
        return plain
    stretch = dict(stretch or {"attention_factor": 1.0})
    stepped = "attention_factor" not in stretch  # the later way came together with it
    trained = stretch.get("original_max_position_embeddings", 2048)
    if longest <= trained:
        return plain
    return {
        "rope_type": STEPPED if stepped else "yarn",
        "rope_theta": theta,
        "factor": float(stretch.get("factor", 4 if stepped else 16)),
        "beta_fast": float(stretch.get("beta_fast", 4 if stepped else 32)),
        "beta_slow": float(stretch.get("beta_slow", 1)),
        "original_max_position_embeddings": trained,
        **({} if stepped else {"attention_factor": float(stretch["attention_factor"])}),
    }


def stepped_frequencies(
    config: MiniMindTextConfig, device: torch.device | None = None, **_: object
) -> tuple[torch.Tensor, float]:
    """Rotary frequencies of late 2025: those that turn less than once in training step down.

    f'_i = f_i / s from the first i whose wave is longer than the trained length, and before it
    f_i (b_i s - b_i + 1) / (b_i s), where b_i rises evenly from `beta_slow` to `beta_fast`.

    Returns:
        (head dim / 2,), and 1, the factor of cosine and sine.
    """
    rope: Any = config.rope_parameters
    half = config.head_dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=device)
    frequencies = 1.0 / rope["rope_theta"] ** (2 * steps / config.head_dim)  # (head dim / 2,)
    long = 2 * math.pi / frequencies > rope["original_max_position_embeddings"]
    rise = (rope["beta_fast"] - rope["beta_slow"]) * steps / max(half - 1, 1)
    beta, factor = rope["beta_slow"] + rise, rope["factor"]
    scale = (beta * factor - beta + 1) / (beta * factor)
    return frequencies * torch.where(long, 1.0 / factor, scale), 1.0


ROPE_INIT_FUNCTIONS[STEPPED] = stepped_frequencies
for _config in (MiniMindTextConfig, MiniMindVConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
