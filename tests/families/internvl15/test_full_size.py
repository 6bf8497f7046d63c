"""The published sizes on an empty model: every name and shape of the specification's table.

Recalled and not checked here, as the files cannot be had: the sizes of InternLM2 2B and of Phi3
(their vocabulary, width, layers, heads); `published.py` says so too.
"""

import pytest
import torch

from tests.support.shapes import Shape, compare, expand
from vlm.families.internvl15 import published
from vlm.families.internvl15.files import published_shapes


def tower(
    width: int, inner: int, layers: int, norms: bool, biases: bool, tokens: int = 1025
) -> dict[str, Shape]:
    """InternViT: RMS norms have no bias, layer norms do."""
    layer = "vision_model.encoder.layers.{layer}"
    qkv = {f"{layer}.attn.qkv.bias": (3 * width,)} if biases else {}
    normed = {f"{layer}.attn.{{q_norm,k_norm}}.weight": (width,)} if norms else {}
    shifts = {} if norms else {f"{layer}.{{norm1,norm2}}.bias": (width,)}
    table = {
        "vision_model.embeddings.class_embedding": (1, 1, width),
        "vision_model.embeddings.position_embedding": (1, tokens, width),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": (width,),
        f"{layer}.attn.qkv.weight": (3 * width, width),
        f"{layer}.attn.proj.weight": (width, width),
        f"{layer}.attn.proj.bias": (width,),
        f"{layer}.{{norm1,norm2}}.weight": (width,),
        f"{layer}.{{ls1,ls2}}": (width,),
        f"{layer}.mlp.fc1.weight": (inner, width),
        f"{layer}.mlp.fc1.bias": (inner,),
        f"{layer}.mlp.fc2.weight": (width, inner),
        f"{layer}.mlp.fc2.bias": (width,),
    }
    return expand(table | qkv | normed | shifts, layer=layers)


def projector(vision: int, width: int) -> dict[str, Shape]:
    """Behind a shuffle of 2 x 2 positions."""
    table = {
        "mlp1.0.{weight,bias}": (4 * vision,),
        "mlp1.1.weight": (width, 4 * vision),
        "mlp1.3.weight": (width, width),
        "mlp1.{1,3}.bias": (width,),
    }
    return expand(table)


def internlm2(width: int, inner: int, layers: int, heads: int, groups: int) -> dict[str, Shape]:
    layer, dim = "language_model.model.layers.{layer}", width // heads
    table = {
        "language_model.model.tok_embeddings.weight": (92553, width),
        f"{layer}.attention.wqkv.weight": ((heads + 2 * groups) * dim, width),
        f"{layer}.attention.wo.weight": (width, heads * dim),
        f"{layer}.feed_forward.{{w1,w3}}.weight": (inner, width),
        f"{layer}.feed_forward.w2.weight": (width, inner),
        f"{layer}.{{attention_norm,ffn_norm}}.weight": (width,),
        "language_model.model.norm.weight": (width,),
        "language_model.output.weight": (92553, width),
    }
    return expand(table, layer=layers)


def phi3(width: int, inner: int, layers: int, words: int) -> dict[str, Shape]:
    """As many heads of keys as of queries."""
    layer = "language_model.model.layers.{layer}"
    table = {
        "language_model.{model.embed_tokens,lm_head}.weight": (words, width),
        f"{layer}.self_attn.qkv_proj.weight": (3 * width, width),
        f"{layer}.self_attn.o_proj.weight": (width, width),
        f"{layer}.mlp.gate_up_proj.weight": (2 * inner, width),
        f"{layer}.mlp.down_proj.weight": (width, inner),
        f"{layer}.{{input,post_attention}}_layernorm.weight": (width,),
        "language_model.model.norm.weight": (width,),
    }
    return expand(table, layer=layers)


TOWER_6B = tower(3200, 12800, 45, norms=True, biases=False)
TOWER_300M = tower(1024, 4096, 24, norms=False, biases=True)
TABLES = {
    "OpenGVLab/InternVL-Chat-V1-5": (
        TOWER_6B | projector(3200, 6144) | internlm2(6144, 16384, 48, 48, 8)
    ),
    "OpenGVLab/Mini-InternVL-Chat-4B-V1-5": (
        TOWER_300M | projector(1024, 3072) | phi3(3072, 8192, 32, 32020)
    ),
    "OpenGVLab/Mini-InternVL-Chat-2B-V1-5": (
        TOWER_300M | projector(1024, 2048) | internlm2(2048, 8192, 24, 16, 8)
    ),
}


def count(shapes: dict[str, Shape]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def test_all_published_systems_have_a_table() -> None:
    assert TABLES.keys() == published.SYSTEMS.keys()


@pytest.mark.parametrize("name", TABLES)
def test_every_name_and_shape(name: str) -> None:
    compare(published_shapes(published.configuration(name)), TABLES[name])


def test_sizes_that_the_names_promise() -> None:
    """6 billion and 300 million for the towers, 26 billion for the whole."""
    assert count(TOWER_6B) == pytest.approx(5.54e9, rel=0.01)
    assert count(TOWER_300M) == pytest.approx(304e6, rel=0.01)
    assert count(TABLES["OpenGVLab/InternVL-Chat-V1-5"]) == pytest.approx(25.5e9, rel=0.01)


def test_biases_of_internlm2() -> None:
    config = published.configuration("OpenGVLab/Mini-InternVL-Chat-2B-V1-5")
    text = dict(published.INTERNLM2_2B) | {"bias": True}
    config = type(config)(vision_config=dict(published.VISION_300M), llm_config=text)
    layer = "language_model.model.layers.{layer}.attention"
    biases = {f"{layer}.wqkv.bias": ((16 + 2 * 8) * 128,), f"{layer}.wo.bias": (2048,)}
    table = TABLES["OpenGVLab/Mini-InternVL-Chat-2B-V1-5"] | expand(biases, layer=24)
    compare(published_shapes(config), table)
