"""The model on its own: tower, shuffle, positions, cache, padding, training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForImageTextToText

from vlm.errors import RequestError
from vlm.families.internvl15.modeling import (
    InternLM2RotaryEmbedding,
    PixelShuffle,
    resized_table,
)

from .conftest import LANGUAGE_MODELS, PLACEHOLDER, Build, language_model, small_config

# ---- tower ----


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_shuffle_is_the_one_of_the_specification(version: str) -> None:
    hidden = torch.randn(2, 1 + 36, 5)  # (tiles, 1 + patches, dim)
    got = PixelShuffle(small_config(ps_version=version))(hidden)
    grid = hidden[:, 1:].reshape(2, 6, 6, 5)
    for row in range(3):
        for column in range(3):
            number = column * 3 + row if version == "v1" else row * 3 + column
            block = [grid[:, 2 * row + r, 2 * column + c] for r in range(2) for c in range(2)]
            assert torch.equal(got[:, number], torch.cat(block, dim=1))


def test_positions_are_interpolated_in_float32() -> None:
    table = torch.randn(1, 17, 8)
    grid = table[0, 1:].T.reshape(1, 8, 4, 4)
    wanted = functional.interpolate(grid, (6, 3), mode="bicubic", align_corners=False)
    got = resized_table(table, 6, 3)
    assert torch.equal(got[:, 0], table[:, 0])
    torch.testing.assert_close(got[0, 1:], wanted.reshape(8, 18).T)
    assert resized_table(table, 4, 4) is table
    half = resized_table(table.bfloat16(), 6, 3)
    assert torch.equal(half, resized_table(table.bfloat16().float(), 6, 3).bfloat16())


def test_resizing_the_table_for_good_changes_nothing_else(
    small: Any, prompt: Any, tmp_path: Path
) -> None:
    pixels = torch.randn(2, 3, 56, 56)
    before = small.model.vision_tower(pixels).last_hidden_state
    small.resize_pos_embeddings(28, 56, 7)
    assert small.model.vision_tower.embeddings.position_embeddings.shape == (1, 65, 32)
    torch.testing.assert_close(small.model.vision_tower(pixels).last_hidden_state, before)
    small.save_pretrained(tmp_path)
    again = _load(tmp_path)
    assert (again.config.vision.image_size, again.config.force_image_size) == (56, 56)
    assert again.config.tokens_per_tile == 16
    assert torch.equal(again.model.vision_tower(pixels).last_hidden_state, before)
    with pytest.raises(ValueError, match="has 65 rows; for 28: 17"):
        small.resize_pos_embeddings(28, 56, 7)


def test_tower_takes_pixels_or_embeddings(small: Any) -> None:
    tower, pixels = small.model.vision_tower, torch.randn(2, 3, 28, 28)
    out = tower(pixels)
    again = tower(pixel_embeds=tower.embeddings(pixels))
    assert torch.equal(out.last_hidden_state, again.last_hidden_state)
    assert torch.equal(out.pooler_output, out.last_hidden_state[:, 0])
    with pytest.raises(ValueError, match="neither pixel_values nor pixel_embeds"):
        tower()
    with pytest.raises(ValueError, match=r"\(3, 28, 28\)"):
        tower(pixels[0])


def test_norms_of_queries_and_keys_span_all_heads(build: Build) -> None:
    vision = {"layer_norm_eps": 1e-3, "norm_type": "layer_norm", "qk_normalization": True}
    attention: Any = build(vision_config=vision).model.vision_tower.encoder.layer[0].attention
    x = torch.randn(2, 5, 32)
    wanted = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3) * attention.q_norm.weight
    torch.testing.assert_close(attention.q_norm(x), wanted)
    plain: Any = build(vision_config={"qk_normalization": False}).model.vision_tower
    assert not any("q_norm" in name for name, _ in plain.named_parameters())


@pytest.mark.parametrize("layer", [-1, -2, -4, 0, 2])
def test_the_chosen_hidden_state_is_used(build: Build, layer: int) -> None:
    model: Any = build(select_layer=layer)
    pixels = torch.randn(2, 3, 28, 28)
    hidden = [model.model.vision_tower.embeddings(pixels)]
    for block in model.model.vision_tower.encoder.layer:
        hidden.append(block(hidden[-1]))
    wanted = model.model.multi_modal_projector(model.model.shuffle(hidden[layer]))
    torch.testing.assert_close(model.get_image_features(pixels).pooler_output, wanted)


# ---- positions ----


def frequencies(rotary: Any, length: int) -> torch.Tensor:
    """What an angle grows by at each position, of a prompt of that length."""
    cosine, sine = rotary(torch.zeros(1), torch.arange(length)[None])
    return torch.atan2(sine, cosine)[0, 1, : cosine.shape[-1] // 2]


def rotary_of(kind: str, factor: float, longest: int) -> Any:
    scaling = {"rope_scaling": {"type": kind, "factor": factor}, "rope_theta": 1000.0}
    llm = {**scaling, "max_position_embeddings": longest, "rope_parameters": None}
    text: Any = small_config(llm_config=llm).text
    return InternLM2RotaryEmbedding(text)


@pytest.mark.parametrize("length", [9, 64, 65, 130])
def test_dynamic_scaling_is_the_one_of_the_specification(length: int) -> None:
    rotary, dim = rotary_of("dynamic", 3.0, 64), 16
    growth = max(3.0 * length / 64 - 2.0, 1.0)
    base = 1000.0 * growth ** (dim / (dim - 2))
    wanted = base ** (-torch.arange(0, dim, 2) / dim)
    torch.testing.assert_close(frequencies(rotary, length), wanted)


def test_a_long_prompt_leaves_nothing_behind() -> None:
    rotary = rotary_of("dynamic", 3.0, 64)
    lengths = (100, 70, 20)
    fresh = [frequencies(rotary_of("dynamic", 3.0, 64), length) for length in lengths]
    for length, wanted in zip(lengths, fresh, strict=True):
        assert torch.equal(frequencies(rotary, length), wanted)


def test_linear_scaling_divides_positions() -> None:
    plain, divided = rotary_of("default", 1.0, 64), rotary_of("linear", 4.0, 64)
    torch.testing.assert_close(frequencies(divided, 10), frequencies(plain, 10) / 4)


def test_positions_are_there_after_loading(build: Build, prompt: Any, tmp_path: Path) -> None:
    """They are in no file: made on the meta device they would be uninitialised memory."""
    model = build()
    model.save_pretrained(tmp_path)
    rotary = _load(tmp_path).model.language_model.rotary_emb
    assert torch.equal(rotary.inv_freq, model.model.language_model.rotary_emb.inv_freq)


# ---- the whole ----


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_cache_changes_nothing(build: Build, prompt: Any, name: str) -> None:
    model = build(llm_config=language_model(name))
    whole = model(**prompt).logits  # (1, 14, words)
    cut = 12
    first = model(
        input_ids=prompt["input_ids"][:, :cut], pixel_values=prompt["pixel_values"], use_cache=True
    )
    rest = model(input_ids=prompt["input_ids"][:, cut:], past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits, whole[:, cut:], rtol=1e-4, atol=1e-4)


def test_generate_is_the_same_without_cache(small: Any, prompt: Any) -> None:
    settings = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 2}
    assert torch.equal(
        small.generate(**prompt, **settings, use_cache=True),
        small.generate(**prompt, **settings, use_cache=False),
    )


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_left_padded_batch_equals_single_prompts(build: Build, prompt: Any, name: str) -> None:
    model: Any = build(llm_config=language_model(name))
    short = prompt["input_ids"][:, -8:]  # one tile
    padded = functional.pad(short, (6, 0), value=2)
    batch = {
        "input_ids": torch.cat((prompt["input_ids"], padded)),
        "attention_mask": torch.cat((prompt["attention_mask"], (padded != 2).long())),
        "pixel_values": torch.cat((prompt["pixel_values"], prompt["pixel_values"][:1])),
    }
    settings = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 2}
    both = model.generate(**batch, **settings)
    one = model.generate(**prompt, **settings)
    two = model.generate(input_ids=short, pixel_values=prompt["pixel_values"][:1], **settings)
    assert torch.equal(both[0, -6:], one[0, -6:])
    assert torch.equal(both[1, -6:], two[0, -6:])


def test_labels_give_the_loss_of_the_next_token(small: Any, prompt: Any) -> None:
    ids = prompt["input_ids"]
    outputs = small(**prompt, labels=ids)
    wanted = ids.masked_fill(ids == PLACEHOLDER, -100)
    loss = functional.cross_entropy(outputs.logits[0, :-1], wanted[0, 1:])
    torch.testing.assert_close(outputs.loss, loss)


def test_gradients_reach_the_projector(small: Any, prompt: Any) -> None:
    small.train()
    small.model.vision_tower.requires_grad_(False)
    with torch.enable_grad():
        small(**prompt, labels=prompt["input_ids"]).loss.backward()
    for parameter in small.model.multi_modal_projector.parameters():
        assert parameter.grad.abs().max() > 0
    assert small.model.vision_tower.embeddings.cls_token.grad is None


@pytest.mark.parametrize(("start", "found"), [(3, 7), (0, 8)])
def test_wrong_count_of_placeholders_names_both_numbers(
    small: Any, prompt: Any, start: int, found: int
) -> None:
    pixels = prompt["pixel_values"][: 2 if found == 7 else 1]
    with pytest.raises(RequestError, match=f"has {found} placeholders .* take {len(pixels) * 4}"):
        small(input_ids=prompt["input_ids"][:, start:], pixel_values=pixels)


def test_the_placeholder_must_be_known(build: Build, prompt: Any) -> None:
    with pytest.raises(ValueError, match="image_token_id is None"):
        build(image_token_id=None)(**prompt)


def test_head_is_not_tied(small: Any) -> None:
    assert small.lm_head.weight is not small.model.language_model.embed_tokens.weight


def test_splits_only_between_whole_layers(small: Any) -> None:
    assert set(small._no_split_modules) == {"InternVLVisionLayer", "LlamaDecoderLayer"}


def test_sixteen_bits_throughout(small: Any, prompt: Any, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    half = _load(tmp_path, torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert half(**prompt).logits.isfinite().all()


def _load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForImageTextToText.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
