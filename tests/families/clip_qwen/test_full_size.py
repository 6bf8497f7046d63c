"""The published sizes on an empty model: names and shapes of every tensor.

Recalled and not checked here, as the files cannot be had: the entries of the config.json files of
Qwen-7B-Chat, Qwen-1.8B-Chat and CLIP-ViT-L/14.
"""

from typing import Any

import pytest
import torch

from vlm.families.clip_qwen import files, published
from vlm.loading import empty_model
from vlm.quantization import unquantised_modules

PARAMETERS = {"7B": 7721e6, "1.8B": 1837e6}


full_size = published.configuration


def count(shapes: dict[str, Any]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())


@pytest.mark.parametrize("name", published.QWEN)
def test_shapes_on_disk(name: str) -> None:
    config = full_size(name)
    language = files.language_shapes(config.text)
    wide, layers = published.QWEN[name]["hidden_size"], published.QWEN[name]["num_hidden_layers"]
    inside = published.QWEN[name]["intermediate_size"] // 2
    block = f"transformer.h.{layers - 1}"
    for tensor, shape in {
        "transformer.wte.weight": (151936, wide),
        f"{block}.ln_1.weight": (wide,),
        f"{block}.ln_2.weight": (wide,),
        f"{block}.attn.c_attn.weight": (3 * wide, wide),
        f"{block}.attn.c_attn.bias": (3 * wide,),
        f"{block}.attn.c_proj.weight": (wide, wide),
        f"{block}.mlp.w1.weight": (inside, wide),
        f"{block}.mlp.w2.weight": (inside, wide),
        f"{block}.mlp.c_proj.weight": (wide, inside),
        "transformer.ln_f.weight": (wide,),
        "lm_head.weight": (151936, wide),
    }.items():
        assert language[tensor] == shape, tensor
    assert len(language) == 3 + layers * 8
    assert count(language) == pytest.approx(PARAMETERS[name], rel=0.001)
    assert files.projector_shapes(config) == {
        "0.weight": (wide, 1024),
        "0.bias": (wide,),
        "2.weight": (wide, wide),
        "2.bias": (wide,),
    }


def test_shapes_of_the_tower_on_disk() -> None:
    vision = files.vision_shapes(full_size("7B"))
    layer = "vision_model.encoder.layers.23"
    for tensor, shape in {
        "vision_model.embeddings.class_embedding": (1024,),
        "vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, 1024),
        "vision_model.pre_layrnorm.weight": (1024,),
        "vision_model.post_layernorm.bias": (1024,),
        f"{layer}.self_attn.q_proj.weight": (1024, 1024),
        f"{layer}.self_attn.out_proj.bias": (1024,),
        f"{layer}.layer_norm1.weight": (1024,),
        f"{layer}.layer_norm2.bias": (1024,),
        f"{layer}.mlp.fc1.weight": (4096, 1024),
        f"{layer}.mlp.fc2.weight": (1024, 4096),
    }.items():
        assert vision[tensor] == shape, tensor
    assert len(vision) == 7 + 24 * 16
    assert count(vision) == pytest.approx(303e6, rel=0.005)


@pytest.mark.parametrize("name", published.QWEN)
def test_shapes_of_a_published_adapter(name: str) -> None:
    text = full_size(name).text
    layers = files.adapted_layers(files.Path("x"), ["c_attn", "w1", "w2"], text)
    shapes = files.adapter_shapes(layers, 128, text)
    wide, inside = text.hidden_size, text.intermediate_size
    block = "base_model.model.transformer.h.0"
    assert shapes[f"{block}.attn.c_attn.lora_A.weight"] == (128, wide)
    assert shapes[f"{block}.attn.c_attn.lora_B.weight"] == (3 * wide, 128)
    assert shapes[f"{block}.mlp.w2.lora_B.weight"] == (inside, 128)
    assert len(shapes) == text.num_hidden_layers * 3 * 2


@pytest.mark.parametrize("name", published.QWEN)
def test_the_model_has_what_is_on_disk(name: str) -> None:
    config = full_size(name)
    model = empty_model(config)
    parts = (
        files.language_shapes(config.text),
        files.vision_shapes(config),
        files.projector_shapes(config),
    )
    assert sum(each.numel() for each in model.parameters()) == sum(map(count, parts))
    assert config.image_context_length == 256
    kept = unquantised_modules(model)
    assert {"model.vision_tower", "model.multi_modal_projector", "lm_head"} <= set(kept)
    assert not [each for each in kept if "language_model.layers" in each]
