"""Published settings under both sets of names, and full sizes."""

import math
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from vlm.families.minimind_v.configuration import (
    DEFAULTS,
    STEPPED,
    TOWERS,
    MiniMindTextConfig,
    MiniMindVConfig,
    inner_width,
    language_settings,
    rope_parameters,
)
from vlm.families.minimind_v.modeling import MiniMindTextModel

from .conftest import small_config

LATER = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 16,
    "original_max_position_embeddings": 2048,
    "attention_factor": 1.0,
    "type": "yarn",
}
EARLIER = {
    "beta_fast": 4,
    "beta_slow": 1,
    "factor": 4,
    "original_max_position_embeddings": 2048,
    "type": "yarn",
}


@pytest.mark.parametrize(
    ("generation", "width", "inner"),
    [("seed", 512, 1408), ("mid", 768, 2048), ("head", 768, 2432), ("seed", 24, 64)],
)
def test_inner_width(generation: Any, width: int, inner: int) -> None:
    assert inner_width(generation, width) == inner


def test_both_sets_of_names_mean_the_same() -> None:
    seed = {"dim": 64, "n_layers": 3, "n_heads": 4, "n_kv_heads": 1, "norm_eps": 1e-4}
    mid = {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-4,
    }
    same = {"max_position_embeddings": 99, "generation": ""}
    assert language_settings("seed", seed) | same == language_settings("mid", mid) | same


def test_defaults_of_the_generations() -> None:
    seed, mid, head = (language_settings(name, {}) for name in ("seed", "mid", "head"))
    assert (seed["hidden_size"], seed["head_dim"], seed["num_key_value_heads"]) == (512, 64, 2)
    assert (seed["max_position_embeddings"], mid["max_position_embeddings"]) == (8192, 32768)
    config = MiniMindTextConfig(**head)
    assert (config.head_dim, config.num_attention_heads, config.num_key_value_heads) == (96, 8, 4)
    assert (config.rms_norm_eps, MiniMindTextConfig(**seed).rms_norm_eps) == (1e-6, 1e-5)
    assert (config.num_experts_per_tok, mid["num_experts_per_tok"]) == (1, 2)
    assert DEFAULTS.keys() == TOWERS.keys()


def test_experts_count_only_if_they_are_used() -> None:
    given = {"n_routed_experts": 4, "n_shared_experts": 1, "use_moe": False}
    assert language_settings("mid", given)["num_experts"] == 0
    assert language_settings("mid", given | {"use_moe": True})["num_experts"] == 4
    seed = given | {"use_moe": True, "n_shared_experts": 0}
    assert language_settings("seed", seed)["shared_experts"] == 1  # "is not None" upstream
    none = seed | {"n_shared_experts": None}
    assert MiniMindTextConfig(**language_settings("seed", none)).shared_experts == 0


@pytest.mark.parametrize(
    ("generation", "top_k", "asked", "does"),
    [
        ("seed", 1, True, False),
        ("mid", 2, True, True),
        ("mid", 2, False, False),
        ("head", 1, True, True),
        ("head", 1, False, False),
    ],
)
def test_when_weights_of_experts_add_up(
    generation: str, top_k: int, asked: bool, does: bool
) -> None:
    config = MiniMindTextConfig(
        generation=generation, num_experts_per_tok=top_k, norm_topk_prob=asked
    )
    assert config.renormalises is does


def test_an_export_is_read_by_transformers(tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "minimind-v", "hidden_size": 64, "num_hidden_layers": 3, '
        '"n_routed_experts": 4, "use_moe": true, "n_shared_experts": 2, "vocab_size": 300, '
        '"auto_map": {"AutoConfig": "model_vlm.VLMConfig"}}'
    )
    config: Any = AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
    assert isinstance(config, MiniMindVConfig)
    assert (config.generation, config.text.hidden_size) == ("mid", 64)
    assert (config.text.num_experts, config.text.shared_experts) == (4, 2)
    assert (config.image_token_id, config.text_token_id) == (300, 34)
    assert config.image_seq_length == 196


# ---- stretched positions ----


def frequencies(given: dict[str, Any], head_dim: int = 96, longest: int = 32768) -> torch.Tensor:
    rope = rope_parameters(given, longest)
    config = small_config("head", head_dim=head_dim).text
    config.rope_parameters, config.max_position_embeddings = rope, longest
    model = MiniMindTextModel(config)
    assert model.rotary_emb.attention_scaling == 1
    return model.rotary_emb.inv_freq


def plain(head_dim: int = 96) -> torch.Tensor:
    return 1e6 ** (-torch.arange(0, head_dim, 2).double() / head_dim)


def test_positions_are_not_stretched_unless_it_is_asked_for() -> None:
    torch.testing.assert_close(frequencies({}).double(), plain())
    short = {"inference_rope_scaling": True, "rope_scaling": LATER}
    torch.testing.assert_close(frequencies(short, longest=2048).double(), plain())


@pytest.mark.parametrize(
    "given", [{"inference_rope_scaling": True}, {"rope_scaling": LATER}], ids=["flag", "rows"]
)
def test_ramp(given: dict[str, Any]) -> None:
    def place(turns: float) -> float:
        return 96 * math.log(2048 / (turns * 2 * math.pi)) / (2 * math.log(1e6))

    low, high = max(math.floor(place(32)), 0), min(math.ceil(place(1)), 47)
    ramp = ((torch.arange(48).double() - low) / (high - low)).clamp(0, 1)
    expected = plain() * (1 - ramp + ramp / 16)
    torch.testing.assert_close(frequencies(given).double(), expected, rtol=1e-5, atol=0)


def test_steps() -> None:
    given = {"inference_rope_scaling": True, "rope_scaling": EARLIER}
    assert rope_parameters(given, 32768)["rope_type"] == STEPPED
    expected = plain()
    for i in range(48):
        beta = 1 + 3 * i / 47
        long = 2 * math.pi / expected[i] > 2048
        expected[i] *= 1 / 4 if long else (beta * 4 - beta + 1) / (beta * 4)
    torch.testing.assert_close(frequencies(given).double(), expected, rtol=1e-5, atol=0)
