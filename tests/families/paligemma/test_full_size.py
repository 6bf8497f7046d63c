"""The published sizes on an empty model: names and shapes of every tensor.

Recalled and not checked here, as the files cannot be had: the sizes of the parts of PaliGemma 3B.
Those of siglip-base-patch16-224 stand in the published code of the hand-written tower.
"""

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from vlm.families.paligemma.published import configuration
from vlm.loading import empty_model


def test_paligemma_3b() -> None:
    shapes = {
        name: tuple(each.shape) for name, each in empty_model(configuration()).state_dict().items()
    }
    tower, decoder = "model.vision_tower", "model.language_model"
    for name, shape in {
        f"{tower}.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
        f"{tower}.embeddings.patch_embedding.bias": (1152,),
        f"{tower}.embeddings.position_embedding.weight": (256, 1152),
        f"{tower}.encoder.layers.26.self_attn.q_proj.weight": (1152, 1152),
        f"{tower}.encoder.layers.26.self_attn.out_proj.bias": (1152,),
        f"{tower}.encoder.layers.26.layer_norm2.bias": (1152,),
        f"{tower}.encoder.layers.26.mlp.fc1.weight": (4304, 1152),
        f"{tower}.encoder.layers.26.mlp.fc2.weight": (1152, 4304),
        f"{tower}.post_layernorm.weight": (1152,),
        "model.multi_modal_projector.linear.weight": (2048, 1152),
        "model.multi_modal_projector.linear.bias": (2048,),
        f"{decoder}.embed_tokens.weight": (257216, 2048),
        f"{decoder}.layers.17.self_attn.q_proj.weight": (8 * 256, 2048),
        f"{decoder}.layers.17.self_attn.k_proj.weight": (256, 2048),
        f"{decoder}.layers.17.self_attn.o_proj.weight": (2048, 8 * 256),
        f"{decoder}.layers.17.mlp.gate_proj.weight": (16384, 2048),
        f"{decoder}.layers.17.mlp.down_proj.weight": (2048, 16384),
        f"{decoder}.layers.17.input_layernorm.weight": (2048,),
        f"{decoder}.norm.weight": (2048,),
        "lm_head.weight": (257216, 2048),  # tied: not in the files
    }.items():
        assert shapes[name] == shape, name
    assert len(shapes) == 3 + 27 * 16 + 2 + 2 + 1 + 18 * 9 + 1 + 1
    assert not any(name.startswith(f"{tower}.head") for name in shapes)


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
    for name, shape in {
        "embeddings.patch_embedding.weight": (768, 3, 16, 16),
        "embeddings.position_embedding.weight": (196, 768),
        "encoder.layers.11.self_attn.v_proj.weight": (768, 768),
        "encoder.layers.11.mlp.fc1.weight": (3072, 768),
        "post_layernorm.weight": (768,),
        "head.probe": (1, 1, 768),
    }.items():
        assert shapes[name] == shape, name
    assert sum(torch.Size(each).numel() for each in shapes.values()) == 92_884_224
