"""The model: the worked example, chunks and padding, variants, what counts as a repetition."""

import re
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForImageTextToText, RepetitionPenaltyLogitsProcessor

from tests.support.fakes import photo
from vlm.errors import ModelError, RequestError
from vlm.families.minicpm_v26 import CHECKPOINTS, tiny_config
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minicpm_v26.modeling import (
    MiniCPMVForConditionalGeneration,
    attended_positions,
)
from vlm.families.minicpm_v26.pictures import SlicingImageProcessor
from vlm.families.minicpm_v26.processing import MiniCPMVProcessor
from vlm.families.minicpm_v26.published import PUBLISHED
from vlm.families.minicpm_v26.tower import PatchPositions
from vlm.families.minicpm_v26.weights import published_shapes
from vlm.loading import Loaded
from vlm.messages import user_message
from vlm.quantization import unquantised_modules
from vlm.reading import PromptReader

from .conftest import PLACEHOLDER, Build, small_config

CPU = torch.device("cpu")


# ---- the worked example ----


def test_a_photo_of_640_by_480_at_the_published_settings(processor: Any) -> None:
    published: Any = SlicingImageProcessor()
    full = MiniCPMVProcessor(published, processor.tokenizer, image_feature_size=64)
    image = photo(size=(640, 480)).pixels
    assert published.plan(640, 480, {}).grid == (2, 1)
    text = "x" * 14 + "(<image>./</image>)"  # a token a byte
    inputs = full(images=[image], text=text, return_tensors="pt")
    assert inputs["tgt_sizes"].tolist() == [[28, 37], [39, 26], [39, 26]]
    bounds = full.image_bounds(inputs["input_ids"][0].tolist())
    assert bounds == [(18, 82), (84, 148), (150, 214)]
    ids = PatchPositions(70)(inputs["tgt_sizes"].tolist(), 1036, CPU)  # (3, 1036)
    assert ids[0, -3:].tolist() == [4754, 4756, 4758]
    assert not ids[1, 39 * 26 :].any()
    assert inputs["pixel_values"].shape == (3, 3, 14, 14 * 1036)


# ---- the full size ----

D, M, E, F, V, Q, KV = 1152, 4304, 3584, 18944, 151666, 64, 512

TABLE: dict[str, tuple[int, ...]] = {
    r"llm\.(model\.embed_tokens|lm_head)\.weight": (V, E),
    r"llm\.model\.layers\.N\.self_attn\.q_proj\.weight": (E, E),
    r"llm\.model\.layers\.N\.self_attn\.q_proj\.bias": (E,),
    r"llm\.model\.layers\.N\.self_attn\.[kv]_proj\.weight": (KV, E),
    r"llm\.model\.layers\.N\.self_attn\.[kv]_proj\.bias": (KV,),
    r"llm\.model\.layers\.N\.self_attn\.o_proj\.weight": (E, E),
    r"llm\.model\.layers\.N\.mlp\.(gate|up)_proj\.weight": (F, E),
    r"llm\.model\.layers\.N\.mlp\.down_proj\.weight": (E, F),
    r"llm\.model\.layers\.N\.(input|post_attention)_layernorm\.weight": (E,),
    r"llm\.model\.norm\.weight": (E,),
    r"vpm\.embeddings\.patch_embedding\.weight": (D, 3, 14, 14),
    r"vpm\.embeddings\.patch_embedding\.bias": (D,),
    r"vpm\.embeddings\.position_embedding\.weight": (4900, D),
    r"vpm\.encoder\.layers\.N\.self_attn\.(q|k|v|out)_proj\.weight": (D, D),
    r"vpm\.encoder\.layers\.N\.self_attn\.(q|k|v|out)_proj\.bias": (D,),
    r"vpm\.encoder\.layers\.N\.layer_norm[12]\.(weight|bias)": (D,),
    r"vpm\.encoder\.layers\.N\.mlp\.fc1\.weight": (M, D),
    r"vpm\.encoder\.layers\.N\.mlp\.fc1\.bias": (M,),
    r"vpm\.encoder\.layers\.N\.mlp\.fc2\.weight": (D, M),
    r"vpm\.encoder\.layers\.N\.mlp\.fc2\.bias": (D,),
    r"vpm\.post_layernorm\.(weight|bias)": (D,),
    r"resampler\.query": (Q, E),
    r"resampler\.proj": (E, E),
    r"resampler\.kv_proj\.weight": (E, D),
    r"resampler\.attn\.in_proj_weight": (3 * E, E),
    r"resampler\.attn\.in_proj_bias": (3 * E,),
    r"resampler\.attn\.out_proj\.weight": (E, E),
    r"resampler\.attn\.out_proj\.bias": (E,),
    r"resampler\.ln_(q|kv|post)\.(weight|bias)": (E,),
}
"""Pattern of a published name, N being a number -> the shape."""


def full_size(**changes: Any) -> MiniCPMVForConditionalGeneration:
    """The published model without memory for its weights."""
    with torch.device("meta"):
        return MiniCPMVForConditionalGeneration(MiniCPMVConfig(**{**PUBLISHED, **changes}))


def test_the_published_size_has_the_published_tensors() -> None:
    shapes = published_shapes(full_size())
    for name, shape in shapes.items():
        known = [each for each in TABLE if re.fullmatch(each.replace("N", r"\d+"), name)]
        assert len(known) == 1, name
        assert shape == TABLE[known[0]], name
    for pattern in TABLE:
        assert any(re.fullmatch(pattern.replace("N", r"\d+"), name) for name in shapes), pattern
    layers = [
        {int(n) for n in re.findall(part, " ".join(shapes))}
        for part in (r"llm\S*layers\.(\d+)", r"vpm\S*layers\.(\d+)")
    ]
    assert layers == [set(range(28)), set(range(27))]
    assert len(shapes) == 3 + 28 * 12 + 5 + 27 * 16 + 13


def test_the_catalogue_has_the_right_number_of_parameters() -> None:
    total = sum(parameter.numel() for parameter in full_size().parameters())
    assert CHECKPOINTS[0].parameters == round(total / 1e6)


def test_heads_of_the_published_resampler() -> None:
    model = full_size()
    assert model.model.resampler.attn.num_heads == 28
    kept = unquantised_modules(model)
    assert kept == ["lm_head", "model.resampler", "model.vision_tower"]


def test_nothing_is_kept_in_buffers_that_meta_loading_would_lose() -> None:
    buffers = [name for name, _ in full_size().named_buffers()]
    assert buffers
    assert all("rotary_emb" in name for name in buffers)


# ---- variants ----


def test_a_file_that_says_nothing_drops_the_last_layer_of_the_tower() -> None:
    config = MiniCPMVConfig(hidden_size=128, num_attention_heads=4)
    assert config.drop_vision_last_layer is True
    assert (config.vision.hidden_size, config.vision.num_hidden_layers) == (1152, 27)
    assert (config.max_slice_nums, config.scale_resolution, config.query_num) == (1, 448, 64)


@pytest.mark.parametrize(("drops", "layers"), [(True, 2), (False, 3)])
def test_the_last_layer_of_the_tower(build: Build, drops: bool, layers: int) -> None:
    tower = build(drop_vision_last_layer=drops).model.vision_tower
    assert len(tower.encoder.layers) == layers  # pyright: ignore


def test_a_tower_as_wide_as_the_language_model_needs_no_projection(build: Build) -> None:
    wide = build(vision_config={"hidden_size": 128, "num_attention_heads": 4}).model.resampler
    assert isinstance(wide.kv_proj, nn.Identity)
    assert isinstance(build().model.resampler.kv_proj, nn.Linear)


def test_embedded_words_are_scaled_where_the_file_says_so(build: Build) -> None:
    ids = torch.tensor([[1, 2, 3]])
    plain, scaled = (build(scale_emb=scale).get_input_embeddings()(ids) for scale in (None, 12))
    torch.testing.assert_close(scaled, plain * 12)


@pytest.mark.parametrize("width", [64, 126, 130, 257])
def test_a_width_that_the_resampler_cannot_have_is_refused(width: int) -> None:
    with pytest.raises(ModelError, match=f"hidden_size {width}"):
        small_config(hidden_size=width)


def test_published_entries_about_code_are_left_out() -> None:
    config = MiniCPMVConfig(**{**PUBLISHED, "auto_map": {"AutoModel": "x.Y"}})
    assert "auto_map" not in config.to_dict()


# ---- chunks and padding ----


def pictures(*sizes: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Strips of noise; after the last patch 0."""
    torch.manual_seed(0)
    longest = max(high * wide for high, wide in sizes)
    strips = torch.randn(len(sizes), 3, 14, 14 * longest)
    for strip, (high, wide) in zip(strips, sizes, strict=True):
        strip[:, :, 14 * high * wide :] = 0
    return {"pixel_values": strips, "tgt_sizes": torch.tensor(sizes)}


SIZES = ((2, 3), (4, 4), (1, 1), (3, 2), (5, 1))


@pytest.mark.parametrize("together", [1, 2, 5, 16])
def test_chunks_change_nothing(build: Build, together: int) -> None:
    given = pictures(*SIZES)
    one, other = (
        build(vision_batch_size=number).model.get_image_features(**given)
        for number in (together, 100)
    )
    torch.testing.assert_close(one.last_hidden_state, other.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.pooler_output, other.pooler_output, atol=1e-5, rtol=1e-5)


def test_a_picture_is_read_as_if_it_were_alone(build: Build) -> None:
    model, given = build().model, pictures(*SIZES)
    together = model.get_image_features(**given).pooler_output
    for number, (high, wide) in enumerate(SIZES):
        strip = given["pixel_values"][number : number + 1, :, :, : 14 * high * wide]
        alone = model.get_image_features(strip, torch.tensor([[high, wide]])).pooler_output
        torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=1e-5)


def test_what_stands_after_the_last_patch_is_not_seen(build: Build) -> None:
    model, given = build().model, pictures(*SIZES)
    expected = model.get_image_features(**given)
    given["pixel_values"][2, :, :, 14:] = 7.0
    found = model.get_image_features(**given)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output)
    assert not found.last_hidden_state[2, 1:].any()


def test_places_in_a_picture_matter(build: Build) -> None:
    model, given = build().model, pictures((2, 3))
    one = model.get_image_features(**given).pooler_output
    given["tgt_sizes"] = torch.tensor([[3, 2]])
    assert (model.get_image_features(**given).pooler_output - one).abs().max() > 1e-3


# ---- prompts ----


def prompt(**changes: Any) -> dict[str, torch.Tensor]:
    """Two pictures, 4 placeholders each, among words."""
    ids = torch.tensor([[1, 20, *[PLACEHOLDER] * 4, 21, *[PLACEHOLDER] * 4, 22, 0, 24]])
    mask = (ids != 0).long()
    return {"input_ids": ids, "attention_mask": mask, **pictures((2, 3), (4, 4)), **changes}


def test_a_wrong_count_of_placeholders_names_both_numbers(build: Build) -> None:
    with pytest.raises(RequestError, match=r"has 8 placeholders .* take 4"):
        build()(**prompt(**pictures((2, 3))))


def test_pixels_without_sizes_are_refused(build: Build) -> None:
    given = prompt()
    del given["tgt_sizes"]
    with pytest.raises(ValueError, match="without tgt_sizes"):
        build()(**given)


def test_a_model_that_does_not_know_its_placeholder_says_so(build: Build) -> None:
    model = build(image_token_id=None)
    with pytest.raises(ValueError, match="image_token_id is None"):
        model(**prompt())


def test_positions_skip_what_is_not_attended_to() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]])
    assert attended_positions(mask).tolist() == [[1, 1, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5]]


def test_positions_follow_from_the_mask_where_none_are_given(build: Build) -> None:
    model, given = build(), prompt()
    places = attended_positions(given["attention_mask"])
    expected = model(**given, position_ids=places).logits
    assert torch.equal(model(**given).logits, expected)
    counted = torch.arange(places.shape[1])[None]
    assert (model(**given, position_ids=counted).logits - expected).abs().max() > 1e-3


def test_a_word_that_is_not_attended_to_changes_nothing_after_it(build: Build) -> None:
    model, one, other = build(), prompt(), prompt()
    at = int((one["input_ids"][0] == 0).nonzero())
    other["input_ids"][0, at] = 30
    last = [model(**given).logits[0, -1] for given in (one, other)]
    torch.testing.assert_close(*last, rtol=0, atol=0)


# ---- repetitions ----


def test_only_what_the_model_says_counts_as_a_repetition(build: Build) -> None:
    model = build()
    config = model.generation_config
    config.repetition_penalty = 1.5
    found = model._get_logits_processor(config, 3, model_kwargs={})
    (penalty,) = [p for p in found if isinstance(p, RepetitionPenaltyLogitsProcessor)]
    scores = penalty(torch.tensor([[1, 2, 3, 4]]), torch.ones(1, 6))  # pyright: ignore
    assert [round(float(score), 3) for score in scores[0]] == [1, 1, 1, 1, 0.667, 1]


def test_words_of_the_prompt_are_as_likely_as_without_a_penalty(build: Build) -> None:
    model, settings = build(), {"do_sample": False, "max_new_tokens": 1, "pad_token_id": 0}
    ids = torch.arange(1, 290)[None]  # nearly every word
    results = [
        model.generate(
            ids, repetition_penalty=p, output_scores=True, return_dict_in_generate=True, **settings
        ).scores[0]
        for p in (1.0, 2.0)
    ]
    torch.testing.assert_close(*results)


def test_beams_read_every_picture_of_the_prompt(loaded: Loaded) -> None:
    """Features of several pictures are repeated for each beam as a whole, in order."""
    reader = PromptReader(loaded.model, loaded.processor)
    inputs = reader.prepare([user_message("What?", [photo(size=(150, 60)), photo(seed=2)])], {})
    model: Any = loaded.model
    settings = {"do_sample": False, "max_new_tokens": 1, "min_new_tokens": 1}
    scores = [
        model.generate(
            **inputs, num_beams=beams, output_logits=True, return_dict_in_generate=True, **settings
        ).logits[0]
        for beams in (1, 3)
    ]
    for beam in scores[1]:
        torch.testing.assert_close(beam, scores[0][0], rtol=1e-4, atol=1e-4)


def test_the_class_is_found_by_its_configuration() -> None:
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(tiny_config(300), trust_remote_code=False)
    assert type(model) is MiniCPMVForConditionalGeneration
