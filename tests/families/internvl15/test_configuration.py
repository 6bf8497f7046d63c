"""The published config.json: what is understood, what is tolerated, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, LlamaConfig, Phi3Config, Qwen2Config

from vlm.errors import ModelError
from vlm.families.internvl15.configuration import (
    InternLM2Config,
    InternViTConfig,
    InternVLChatConfig,
)

from .conftest import language_model, small_config


def test_defaults_are_those_of_the_published_code() -> None:
    config = InternVLChatConfig()
    assert (config.ps_version, config.select_layer, config.downsample_ratio) == ("v1", -1, 0.5)
    assert not config.dynamic_image_size
    assert not config.use_thumbnail
    assert (config.min_dynamic_patch, config.max_dynamic_patch) == (1, 6)
    vision = InternViTConfig()
    assert (vision.hidden_size, vision.num_attention_heads, vision.num_hidden_layers) == (
        3200,
        25,
        48,
    )
    assert vision.use_qk_norm
    assert not vision.attention_bias
    text = InternLM2Config()
    assert text.attention_bias
    assert (text.vocab_size, text.num_key_value_heads) == (103168, 32)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("InternLM2ForCausalLM", InternLM2Config),
        ("LlamaForCausalLM", LlamaConfig),
        ("Phi3ForCausalLM", Phi3Config),
        ("Qwen2ForCausalLM", Qwen2Config),
    ],
)
def test_the_first_architecture_chooses(name: str, kind: type) -> None:
    config = InternVLChatConfig(llm_config=language_model(name))
    assert type(config.llm_config) is kind
    assert config.get_text_config() is config.text_config is config.llm_config


@pytest.mark.parametrize(
    "published", [{"architectures": ["BloomForCausalLM"]}, {"model_type": "x"}]
)
def test_other_language_models_are_refused(published: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"is a (BloomForCausalLM|x); known are: InternLM2"):
        InternVLChatConfig(llm_config=published)


def test_what_is_said_about_flash_attention_and_remote_code_is_dropped() -> None:
    how = {
        "attn_implementation": "flash_attention_2",
        "auto_map": {"AutoConfig": "x.Y"},
        "_commit_hash": None,
    }
    config = InternVLChatConfig(
        vision_config={"use_flash_attn": True, **how},
        llm_config=language_model("InternLM2ForCausalLM") | how,
        **how,
    )
    for part in (config, config.vision, config.text):
        assert part._attn_implementation is None
        assert not hasattr(part, "auto_map")


def test_nothing_is_tied_whatever_the_file_says() -> None:
    tied = language_model("Qwen2ForCausalLM", tie_word_embeddings=True)
    config = InternVLChatConfig(llm_config=tied, tie_word_embeddings=True)
    assert not config.tie_word_embeddings
    assert not config.text.tie_word_embeddings


def test_old_way_of_scaling_positions() -> None:
    scaled = {"rope_scaling": {"type": "dynamic", "factor": 3.0}, "rope_theta": 1000000}
    config = InternVLChatConfig(llm_config=language_model("InternLM2ForCausalLM", **scaled))
    rope = config.text.rope_parameters
    assert (rope["rope_type"], rope["factor"], rope["rope_theta"]) == ("dynamic", 3.0, 1000000)


@pytest.mark.parametrize(
    ("force", "size", "patch", "ratio", "tokens"),
    [
        (448, 224, 14, 0.5, 256),
        (None, 448, 14, 0.5, 256),
        (28, 28, 7, 0.5, 4),
        (28, 28, 7, 1.0, 16),
    ],
)
def test_tokens_of_a_tile(force: Any, size: int, patch: int, ratio: float, tokens: int) -> None:
    vision = {"image_size": size, "patch_size": patch}
    config = InternVLChatConfig(
        vision_config=vision, force_image_size=force, downsample_ratio=ratio
    )
    assert config.tokens_per_tile == tokens == config.tile_side**2
    assert config.tile_size == (force or size)


def test_is_saved_in_the_published_form(tmp_path: Path) -> None:
    config = small_config(select_layer=-2, llm_config={"bias": True})
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["model_type"] == "internvl_chat"
    assert written["llm_config"]["bias"] is True
    assert written["vision_config"]["qk_normalization"] is True
    again = AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is InternVLChatConfig
    differ = {
        name
        for name, value in again.to_dict().items()
        if name not in ("transformers_version", "_name_or_path")
        and value != config.to_dict().get(name)
    }
    assert differ == set()
