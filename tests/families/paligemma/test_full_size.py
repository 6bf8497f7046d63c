"""The published sizes on an empty model: names and shapes of every tensor, as on the hub.

Recalled and not checked here, as the files cannot be had: the sizes of the parts of PaliGemma 3B.
Those of siglip-base-patch16-224 stand in the published code of the hand-written tower.
"""

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForImageTextToText,
    PaliGemmaConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.shapes import Shape, compare, expand
from vlm.families.paligemma.published import configuration
from vlm.loading import empty_model


def tower(width: int, inner: int, patch: int, positions: int, before: str = "") -> dict[str, Shape]:
    """Rows of the table for a SigLIP without its pooling head."""
    layer = f"{before}encoder.layers.{{layer}}"
    return {
        f"{before}embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{before}embeddings.patch_embedding.bias": (width,),
        f"{before}embeddings.position_embedding.weight": (positions, width),
        f"{layer}.self_attn.{{q,k,v,out}}_proj.weight": (width, width),
        f"{layer}.self_attn.{{q,k,v,out}}_proj.bias": (width,),
        f"{layer}.layer_norm{{1,2}}.{{weight,bias}}": (width,),
        f"{layer}.mlp.fc1.weight": (inner, width),
        f"{layer}.mlp.fc1.bias": (inner,),
        f"{layer}.mlp.fc2.weight": (width, inner),
        f"{layer}.mlp.fc2.bias": (width,),
        f"{before}post_layernorm.{{weight,bias}}": (width,),
    }


def language(
    words: int, width: int, inner: int, heads: tuple[int, int], dim: int
) -> dict[str, Shape]:
    """Gemma; its head is tied and absent."""
    layer = "language_model.model.layers.{block}"
    return {
        "language_model.model.embed_tokens.weight": (words, width),
        f"{layer}.self_attn.q_proj.weight": (heads[0] * dim, width),
        f"{layer}.self_attn.{{k,v}}_proj.weight": (heads[1] * dim, width),
        f"{layer}.self_attn.o_proj.weight": (width, heads[0] * dim),
        f"{layer}.mlp.{{gate,up}}_proj.weight": (inner, width),
        f"{layer}.mlp.down_proj.weight": (width, inner),
        f"{layer}.{{input,post_attention}}_layernorm.weight": (width,),
        "language_model.model.norm.weight": (width,),
    }


def projector(vision: int, width: int) -> dict[str, Shape]:
    return {
        "multi_modal_projector.linear.weight": (width, vision),
        "multi_modal_projector.linear.bias": (width,),
    }


HUB = (
    # beginning on the hub, in the model
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("language_model.model.", "model.language_model."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
)


def in_the_model(name: str) -> str:
    """The name in the model of a tensor on the hub."""
    theirs, ours = next(row for row in HUB if name.startswith(row[0]))
    return ours + name.removeprefix(theirs)


@pytest.mark.parametrize("side", [224, 448])
def test_paligemma_3b(side: int) -> None:
    model = empty_model(configuration(side))
    shapes = {
        name: tuple(each.shape)
        for name, each in model.state_dict().items()
        if name not in model.all_tied_weights_keys
    }
    rows = tower(1152, 4304, 14, (side // 14) ** 2, "vision_tower.vision_model.")
    rows |= projector(1152, 2048) | language(257216, 2048, 16384, (8, 1), 256)
    table = expand(rows, layer=27, block=18)
    compare(shapes, {in_the_model(name): shape for name, shape in table.items()})
    assert set(model.all_tied_weights_keys) == {"lm_head.weight"}
    assert not any("vision_tower.head" in name for name in shapes)


def test_names_on_the_hub_are_what_the_loader_takes(tmp_path) -> None:
    """The same table for a small model, written to a file under these names and loaded."""
    config = PaliGemmaConfig(
        projection_dim=16,
        image_token_index=30,
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 12,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "projection_dim": 16,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "gemma",
            "vocab_size": 40,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 8,
        },
    )
    rows = tower(12, 20, 14, 4, "vision_tower.vision_model.") | projector(12, 16)
    table = expand(rows | language(40, 16, 24, (4, 1), 8), layer=2, block=3)
    tensors = {name: torch.randn(shape) for name, shape in table.items()}
    config.save_pretrained(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    state = model.state_dict()
    assert all(torch.equal(state[in_the_model(name)], each) for name, each in tensors.items())


def test_siglip_base() -> None:
    config = SiglipVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=224,
        patch_size=16,
    )
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in SiglipVisionModel(config).state_dict().items()}
    head = {
        "head.probe": (1, 1, 768),
        "head.attention.in_proj_weight": (3 * 768, 768),
        "head.attention.in_proj_bias": (3 * 768,),
        "head.attention.out_proj.weight": (768, 768),
        "head.attention.out_proj.bias": (768,),
        "head.layernorm.{weight,bias}": (768,),
        "head.mlp.fc1.weight": (3072, 768),
        "head.mlp.fc1.bias": (3072,),
        "head.mlp.fc2.weight": (768, 3072),
        "head.mlp.fc2.bias": (768,),
    }
    compare(shapes, expand(tower(768, 3072, 16, 196) | head, layer=12))
    assert sum(torch.Size(each).numel() for each in shapes.values()) == 92_884_224
