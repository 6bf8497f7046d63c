"""What lies in the files: which generation, how large, and whether all of it is there.

In: the parts of a checkpoint. Out: its configuration and a state dict under the published names, in
which tensors stay where they lie on disk. Everything is compared with what the model needs first.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, SiglipVisionConfig
from transformers.core_model_loading import revert_weight_conversion

from vlm.errors import ModelError
from vlm.families import common
from vlm.families.minimind_v import weights
from vlm.families.minimind_v.configuration import (
    Generation,
    MiniMindTextConfig,
    MiniMindVConfig,
    language_settings,
)
from vlm.families.minimind_v.modeling import MiniMindVForConditionalGeneration
from vlm.families.minimind_v.sources import TOWERS, Parts
from vlm.families.stored import (
    Shape,
    Stored,
    check,
    headers,
    reader,
    stored_tensors,
    unpickle,
)

TOKENS = {"seed": 196, "mid": 196, "head": 64}
"""Placeholders of an image, in training."""

TOWER_KINDS: dict[str, tuple[str, type]] = {
    "seed": ("CLIP ViT-B/16", CLIPVisionConfig),
    "mid": ("CLIP ViT-B/16", CLIPVisionConfig),
    "head": ("SigLIP2 base patch 32, 256 pixels", SiglipVisionConfig),
}
TOWER_IDS = {
    "seed": "openai/clip-vit-base-patch16",
    "mid": "openai/clip-vit-base-patch16",
    "head": "jingyaogong/siglip2-base-p32-256-ve",
}
INSIDE = "vision_encoder."
WITHIN = f"{INSIDE}vision_model."
"""Before the names of what is stored with a language model: CLIP or SigLIP, and its tower."""

TOWER = re.compile(
    r"^(?:vision_model\.)?((?:embeddings|encoder|pre_layrnorm|post_layernorm)\.(?!position_ids).+)$"
)
"""Names that a tower needs."""

UNUSED = re.compile(
    r"^(?:text_model\.|text_projection\.|visual_projection\.|logit_scale$|logit_bias$"
    r"|(?:vision_model\.)?(?:head\.|embeddings\.position_ids$))"
)
"""Names that its files may have besides: a text encoder, pooling, positions in order."""

MEASURED = {
    "embeddings.patch_embedding.weight": 4,
    "embeddings.position_embedding.weight": 2,
    "encoder.layers.0.mlp.fc1.weight": 2,
}
"""Tensors by which a tower without a configuration is measured, and their axes."""

EXTRA: dict[str, dict[str, Any]] = {"seed": {}, "mid": {}, "head": {"vision_use_head": False}}
"""Arguments of a tower's configuration besides the stored ones: nothing of it is pooled."""

HEAD_WIDTH = 64
"""Of every published tower."""


# ---- which generation, how large ----


def find_generation(found: Mapping[str, Stored], file: Path) -> Generation:
    """By the names and shapes of tensors.

    Raises:
        ModelError: none of this family, or the layout of March 2026, which is not supported.
    """
    first = found.get("vision_proj.mlp.0.weight")
    if first is not None and len(first.shape) > 1:
        raise ModelError("minimind_march", file=file)
    if weights.EMBEDDINGS["seed"] in found:
        return "seed"
    if weights.EMBEDDINGS["mid"] not in found:
        raise ModelError("not_minimind", file=file, names=", ".join(sorted(found)[:3]) or "-")
    deep = first is not None or any(name.endswith(".q_norm.weight") for name in found)
    return "head" if deep else "mid"


def sizes(
    found: Mapping[str, Stored], generation: Generation, given: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """What shapes tell of the language model, under the names of its configuration.

    Raises:
        ModelError: the rows of the attention cannot be divided among so many heads.
    """
    shapes = {name.removeprefix("model."): each.shape for name, each in found.items()}
    names = SEED_PARTS if generation == "seed" else PARTS
    told: dict[str, Any] = {}
    embedding = found[weights.EMBEDDINGS[generation]].shape
    if len(embedding) == 2:
        told["vocab_size"], told["hidden_size"] = embedding
    layers = [int(match[1]) for name in shapes if (match := re.match(r"layers\.(\d+)\.", name))]
    told["num_hidden_layers"] = 1 + max(layers, default=-1)
    gate = shapes.get(f"layers.0.{names['mlp']}.gate.weight")
    told["num_experts"] = gate[0] if gate else 0
    told["shared_experts"] = _count_shared(shapes, names["mlp"])
    inner = "experts.0." if gate else ""
    if up := shapes.get(f"layers.0.{names['mlp']}.{inner}{names['up']}.weight"):
        told["intermediate_size"] = told["moe_intermediate_size"] = up[0]
    rows = [shapes.get(f"layers.0.{names[part]}.weight") for part in ("query", "key")]
    if rows[0] and rows[1]:
        norm = shapes.get("layers.0.self_attn.q_norm.weight")
        told |= _heads(rows[0][0], rows[1][0], norm, given, file)
    return told


SEED_PARTS = {
    "query": "attention.wq",
    "key": "attention.wk",
    "mlp": "feed_forward",
    "up": "w1",
}
PARTS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "mlp": "mlp",
    "up": "gate_proj",
}


def _count_shared(shapes: Mapping[str, Shape], mlp: str) -> int:
    """Experts that all tokens share: one without a number, or a list."""
    inside = f"layers.0.{mlp}.shared_experts."
    parts = {
        name.removeprefix(inside).partition(".")[0] for name in shapes if name.startswith(inside)
    }
    return sum(part.isdigit() for part in parts) or min(len(parts), 1)


def _heads(
    queries: int, keys: int, norm: Shape | None, given: Mapping[str, Any], file: Path
) -> dict[str, int]:
    """Heads of queries and of keys; only a norm tells how wide they are, else there are 8."""
    heads = given.get("num_attention_heads") or given.get("n_heads") or 8
    if norm:
        heads = max(queries // norm[0], 1)
    width = norm[0] if norm else queries // heads
    if not width or width % 2 or queries != heads * width or keys % width:
        raise ModelError("heads_do_not_fit", file=file, queries=queries, keys=keys, heads=heads)
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": keys // width,
        "head_dim": width,
    }


def tower_config(parts: Parts, inside: Mapping[str, Stored], generation: Generation) -> Any:
    """Of the vision tower: as its folder says, else as the shapes of its tensors tell.

    Args:
        parts: where the tower lies.
        inside: tensors of a tower that is stored with the language model, by their own names.
        generation: decides which kind is needed.

    Raises:
        ModelError: there is no tower, or one that the generation was not trained with.
    """
    name, kind = TOWER_KINDS[generation]
    if parts.tower is None:
        if not inside:
            place = TOWERS[1 if generation == "head" else 0]
            raise ModelError(
                "tower_missing",
                source=parts.language,
                wanted=name,
                place=place,
                example=f"{parts.language}+{TOWER_IDS[generation]}",
            )
        return kind(**_tower_sizes(inside, parts.language), **EXTRA[generation])
    whole = common.model_type(str(parts.tower))
    if whole not in (kind.model_type, kind.model_type.removesuffix("_vision_model")):
        raise _wrong_tower(parts.tower, whole, generation)
    said = common.read_json(str(parts.tower))
    said = said.get("vision_config", said)
    known = kind().to_dict().keys() - {"model_type", "dtype", "architectures", "vision_use_head"}
    config = kind(**{name: said[name] for name in said.keys() & known}, **EXTRA[generation])
    tokens = (config.image_size // config.patch_size) ** 2
    if tokens != TOKENS[generation]:
        raise _wrong_tower(parts.tower, f"{whole}, {tokens} tokens", generation)
    return config


def _wrong_tower(folder: Path, got: str, generation: Generation) -> ModelError:
    wanted, example = TOWER_KINDS[generation][0], TOWER_IDS[generation]
    return ModelError("tower_differs", source=folder, got=got, wanted=wanted, example=example)


def _tower_sizes(inside: Mapping[str, Stored], file: Path) -> dict[str, int]:
    """Arguments of a tower's configuration, by the shapes of its tensors. Raises ModelError."""
    if missing := sorted(MEASURED.keys() - inside.keys()):
        count, names = len(inside), ", ".join(missing)
        raise ModelError(
            "tensors_missing",
            folder=file,
            found=count,
            expected=f"> {count}",
            names=names,
        )
    for name, axes in MEASURED.items():
        if len(shape := inside[name].shape) != axes:
            wanted = f"{axes} axes"
            raise ModelError("tensor_shape", file=file, name=name, found=shape, expected=wanted)
    width, _, patch, _ = inside["embeddings.patch_embedding.weight"].shape
    positions = inside["embeddings.position_embedding.weight"].shape[0]
    layers = [int(match[1]) for n in inside if (match := re.match(r"encoder\.layers\.(\d+)\.", n))]
    return {
        "hidden_size": width,
        "patch_size": patch,
        "image_size": int(positions**0.5) * patch,  # a class token does not change the root
        "intermediate_size": inside["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": 1 + max(layers),
        "num_attention_heads": max(width // HEAD_WIDTH, 1),
    }


# ---- all of it ----


def read(parts: Parts) -> tuple[MiniMindVConfig, dict[str, Tensor] | Path]:
    """The configuration of a checkpoint, and its weights: tensors by their published names.

    A folder that `save_pretrained` wrote comes back as it is.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape; there
            is no tower, or the wrong one; the layout is not one of this family.
    """
    if "text_config" in parts.settings:
        config = MiniMindVConfig.from_pretrained(parts.language)
        _check_saved(parts.language, config)
        return config, parts.language
    found = _headers(parts.language)
    found = {name: each for name, each in found.items() if "mask" not in name}
    file = next(iter(found.values())).file if found else parts.language
    generation = find_generation(found, file)
    language = {name: each for name, each in found.items() if not name.startswith(INSIDE)}
    tower = {name: each for name, each in found.items() if name.startswith(INSIDE)}
    tower_file = file
    inside = {own: tower[name] for own, name in _tower_names(tower).items()}
    told = sizes(language, generation, parts.settings, file)
    config = MiniMindVConfig(
        text_config=MiniMindTextConfig(**language_settings(generation, parts.settings, told)),
        vision_config=tower_config(parts, inside, generation),
        tie_word_embeddings=parts.settings.get("tie_word_embeddings", True),
    )
    if not inside:
        assert parts.tower is not None
        tower, tower_file = _headers(parts.tower), parts.tower
    names = _tower_names(tower)
    expected = published_shapes(config)
    _check_language(config, language, expected, file)
    check(
        {own: tower[name] for own, name in names.items()},
        {n.removeprefix(WITHIN): each for n, each in expected.items() if n.startswith(WITHIN)},
        tower_file,
    )
    state = _tensors(language)
    held = _tensors({name: tower[name] for name in names.values()})
    state |= {WITHIN + own: held[name] for own, name in names.items()}
    _tie(config, state)
    return config, state


def _headers(path: Path) -> dict[str, Stored]:
    """The tensors of a `.pth` or of a folder."""
    return stored_tensors(path) if path.is_dir() else headers(path)


def _tower_names(found: Iterable[str]) -> dict[str, str]:
    """Tensors of a tower: own name -> name on disk. What is of no known use keeps its name."""
    names: dict[str, str] = {}
    for name in found:
        plain = name.removeprefix(INSIDE)
        if match := TOWER.match(plain):
            names[match[1]] = name
        elif not UNUSED.match(plain):
            names[plain] = name
    return names


def published_shapes(config: MiniMindVConfig) -> dict[str, Shape]:
    """Every tensor of the model by its published name, the tower inside; no head if it is tied."""
    model = _skeleton(config)
    model._weight_conversions = weights.published(config.generation)
    tied = model.all_tied_weights_keys
    tensors = {name: each for name, each in model.state_dict().items() if name not in tied}
    plain = revert_weight_conversion(model, tensors)
    return {name: tuple(tensor.shape) for name, tensor in plain.items()}


def _skeleton(config: MiniMindVConfig) -> MiniMindVForConditionalGeneration:
    with torch.device("meta"):
        return MiniMindVForConditionalGeneration(config)


def _check_language(
    config: MiniMindVConfig,
    found: Mapping[str, Stored],
    expected: Mapping[str, Shape],
    file: Path,
) -> None:
    """Compares the language model and the projector with what they must be."""
    wanted = {name: each for name, each in expected.items() if not name.startswith(WITHIN)}
    head = weights.HEADS[config.generation]
    if head in found:  # also where it is the embedding once more
        wanted[head] = wanted[weights.EMBEDDINGS[config.generation]]
    for name in ("vision_proj.vision_proj.0.weight", "vision_proj.mlp.1.weight"):
        projector = found.get(name)
        if projector is not None and len(projector.shape) == 2 and name in wanted:
            takes, gives = projector.shape[1], config.vision.hidden_size
            if takes != gives:
                raise ModelError("tower_width", file=file, takes=takes, gives=gives)
    check(found, wanted, file)


def _check_saved(folder: Path, config: MiniMindVConfig) -> None:
    """Compares a folder that `save_pretrained` wrote with its configuration.

    Files that are quantised already are left to the loader.
    """
    if getattr(config, "quantization_config", None):
        return
    found = stored_tensors(folder)
    expected = published_shapes(config)
    if any(name.startswith("model.language_model.") for name in found):
        model = _skeleton(config)
        shapes = {name: tuple(each.shape) for name, each in model.state_dict().items()}
        tied = model.all_tied_weights_keys
        expected = {name: shape for name, shape in shapes.items() if name not in tied}
    check(found, expected, folder)


def _tensors(found: Mapping[str, Stored]) -> dict[str, Tensor]:
    """The tensors themselves, by their names on disk; they stay there until they are used."""
    state: dict[str, Tensor] = {}
    for file in {each.file for each in found.values()}:
        here = {name: each for name, each in found.items() if each.file == file}
        if file.suffix == ".safetensors":
            read = reader(here)
            state |= {name: read(name) for name in here}
        else:
            whole = unpickle(file)
            state |= {name: whole[name] for name in here}
    return state


def _tie(config: MiniMindVConfig, state: dict[str, Tensor]) -> None:
    """Leaves out a head that is the embedding once more; one that is not stays and is used."""
    head = weights.HEADS[config.generation]
    if head not in state:
        return
    tied = torch.equal(state[head], state[weights.EMBEDDINGS[config.generation]])
    config.tie_word_embeddings = config.text.tie_word_embeddings = tied
    if tied:
        del state[head]
