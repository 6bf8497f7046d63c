"""The published sizes on an empty model: every name and shape of the specification's patterns.

Recalled and not checked here, as the files cannot be had: the sizes of CLIP ViT-B/16 and of SigLIP2
base with patches of 32.
"""

import math
from typing import Any

import pytest

from tests.support.shapes import Shape, compare, expand
from vlm.families.minimind_v import published
from vlm.families.minimind_v.configuration import (
    TOWERS,
    MiniMindTextConfig,
    MiniMindVConfig,
    language_settings,
)
from vlm.families.minimind_v.files import published_shapes

TOWER = "vision_encoder.vision_model."
WORDS, VISION = 6400, 768


def full(generation: Any, **given: Any) -> dict[str, Shape]:
    """Of published settings; the head is tied and not listed."""
    text = MiniMindTextConfig(**language_settings(generation, given))
    return published_shapes(
        MiniMindVConfig(text_config=text, vision_config=dict(TOWERS[generation]))
    )


def encoder(layers: int = 12, inner: int = 3072) -> dict[str, Shape]:
    layer = f"{TOWER}encoder.layers.{{layer}}"
    table = {
        f"{layer}.self_attn.{{q,k,v,out}}_proj.weight": (VISION, VISION),
        f"{layer}.self_attn.{{q,k,v,out}}_proj.bias": (VISION,),
        f"{layer}.layer_norm{{1,2}}.{{weight,bias}}": (VISION,),
        f"{layer}.mlp.fc1.weight": (inner, VISION),
        f"{layer}.mlp.fc1.bias": (inner,),
        f"{layer}.mlp.fc2.weight": (VISION, inner),
        f"{layer}.mlp.fc2.bias": (VISION,),
        f"{TOWER}post_layernorm.{{weight,bias}}": (VISION,),
    }
    return expand(table, layer=layers)


CLIP = encoder() | expand(
    {
        f"{TOWER}embeddings.class_embedding": (VISION,),
        f"{TOWER}embeddings.patch_embedding.weight": (VISION, 3, 16, 16),
        f"{TOWER}embeddings.position_embedding.weight": (197, VISION),
        f"{TOWER}pre_layrnorm.{{weight,bias}}": (VISION,),
    }
)
SIGLIP = encoder() | expand(
    {
        f"{TOWER}embeddings.patch_embedding.weight": (VISION, 3, 32, 32),
        f"{TOWER}embeddings.patch_embedding.bias": (VISION,),
        f"{TOWER}embeddings.position_embedding.weight": (64, VISION),
    }
)


def projector(width: int) -> dict[str, Shape]:
    return {
        "vision_proj.vision_proj.0.weight": (width, VISION),
        "vision_proj.vision_proj.0.bias": (width,),
    }


def seed(width: int, layers: int, inner: int, experts: int = 0) -> dict[str, Shape]:
    """Eight heads, of which two of keys; the expert that all tokens share has no number."""
    layer = "layers.{layer}"
    parts = {
        f"{layer}.feed_forward.{{w1,w3}}.weight": (inner, width),
        f"{layer}.feed_forward.w2.weight": (width, inner),
    }
    if experts:
        places = ("experts.{expert}", "shared_experts")
        parts = {f"{layer}.feed_forward.gate.weight": (experts, width)}
        for place in places:
            parts[f"{layer}.feed_forward.{place}.{{w1,w3}}.weight"] = (inner, width)
            parts[f"{layer}.feed_forward.{place}.w2.weight"] = (width, inner)
    table = {
        "tok_embeddings.weight": (WORDS, width),
        "norm.weight": (width,),
        f"{layer}.attention.{{wq,wo}}.weight": (width, width),
        f"{layer}.attention.{{wk,wv}}.weight": (width // 4, width),
        f"{layer}.{{attention_norm,ffn_norm}}.weight": (width,),
    }
    whole = expand(table | parts, layer=layers, expert=experts)
    return whole | projector(width) | CLIP


def later(
    width: int, layers: int, inner: int, keys: int, experts: int = 0, shared: int = 0
) -> dict[str, Shape]:
    """The language model under the names of transformers."""
    layer = "model.layers.{layer}"
    parts = {
        f"{layer}.mlp.{{gate,up}}_proj.weight": (inner, width),
        f"{layer}.mlp.down_proj.weight": (width, inner),
    }
    if experts:
        places = ["experts.{expert}", *(["shared_experts.{shared}"] if shared else [])]
        parts = {f"{layer}.mlp.gate.weight": (experts, width)}
        for place in places:
            parts[f"{layer}.mlp.{place}.{{gate,up}}_proj.weight"] = (inner, width)
            parts[f"{layer}.mlp.{place}.down_proj.weight"] = (width, inner)
    table = {
        "model.embed_tokens.weight": (WORDS, width),
        "model.norm.weight": (width,),
        f"{layer}.self_attn.{{q,o}}_proj.weight": (width, width),
        f"{layer}.self_attn.{{k,v}}_proj.weight": (keys, width),
        f"{layer}.{{input,post_attention}}_layernorm.weight": (width,),
    }
    return expand(table | parts, layer=layers, expert=experts, shared=shared)


def head(width: int, layers: int, inner: int, experts: int = 0) -> dict[str, Shape]:
    """Eight heads, of which four of keys; no experts are shared."""
    norms = {"model.layers.{layer}.self_attn.{q,k}_norm.weight": (width // 8,)}
    deep = {
        "vision_proj.mlp.0.{weight,bias}": (VISION,),
        "vision_proj.mlp.1.weight": (width, VISION),
        "vision_proj.mlp.3.weight": (width, width),
        "vision_proj.mlp.{1,3}.bias": (width,),
    }
    language = later(width, layers, inner, width // 2, experts)
    return language | expand(norms, layer=layers) | expand(deep) | SIGLIP


def mid(width: int, layers: int, inner: int, experts: int = 0, shared: int = 0) -> dict[str, Shape]:
    language = later(width, layers, inner, width // 4, experts, shared)
    return language | projector(width) | CLIP


def millions(shapes: dict[str, Shape]) -> float:
    """Of the language model and the projector."""
    own = [shape for name, shape in shapes.items() if not name.startswith(TOWER)]
    return sum(math.prod(shape) for shape in own) / 1e6


EXPERTS = {"use_moe": True, "n_routed_experts": 4}
SEED, MID = {"dim": 512, "n_layers": 8}, {"hidden_size": 512, "num_hidden_layers": 8}
CASES = {
    "seed 26M": (full("seed", **SEED), seed(512, 8, 1408)),
    "seed 104M": (full("seed", dim=768, n_layers=16), seed(768, 16, 2048)),
    "seed with experts": (
        full("seed", **SEED, **EXPERTS, n_shared_experts=True),
        seed(512, 8, 1408, experts=4),
    ),
    "mid 26M": (full("mid", **MID), mid(512, 8, 1408)),
    "mid 104M": (full("mid", hidden_size=768, num_hidden_layers=16), mid(768, 16, 2048)),
    "mid with experts": (
        full("mid", **MID, **EXPERTS, n_shared_experts=2),
        mid(512, 8, 1408, experts=4, shared=2),
    ),
    "head": (full("head"), head(768, 8, 2432)),
    "head with experts": (full("head", use_moe=True, num_experts=4), head(768, 8, 2432, 4)),
}
"""Name -> what the model has, what the specification says."""


@pytest.mark.parametrize(("found", "table"), CASES.values(), ids=CASES)
def test_every_name_and_shape(found: dict[str, Shape], table: dict[str, Shape]) -> None:
    compare(found, table)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        (published.SEED, "seed 26M"),
        ("jingyaogong/MiniMind2-V", "mid 104M"),
        ("jingyaogong/minimind-3v", "head"),
        ("jingyaogong/minimind-3v-moe", "head with experts"),
    ],
)
def test_published_systems(name: str, table: str) -> None:
    compare(published_shapes(published.configuration(name)), CASES[table][1])


def test_sizes_that_the_names_promise() -> None:
    """Without the tower; those of minimind-3v follow from its published settings."""
    assert millions(seed(512, 8, 1408)) == pytest.approx(26, abs=0.7)
    for table in (seed(768, 16, 2048), mid(768, 16, 2048)):
        assert millions(table) == pytest.approx(104, abs=0.7)
    assert millions(head(768, 8, 2432)) == pytest.approx(65.1, abs=0.1)
    assert millions(head(768, 8, 2432, 4)) == pytest.approx(199.6, abs=0.1)
