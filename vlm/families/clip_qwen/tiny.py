"""A small checkpoint in the published layout, with random weights, for tests.

Three folders, `llm`, `clip` and `adapter`, just as the published ones are laid out: pickled
adapter and projector, CLIP with its text tower, a file of ranks for the tokenizer.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from vlm.families.clip_qwen import files
from vlm.families.clip_qwen.configuration import ClipQwenConfig, from_published
from vlm.families.clip_qwen.sources import ADAPTER_CONFIG, ADAPTERS, PROJECTOR
from vlm.families.clip_qwen.tokenizer import RANKS, SPECIAL
from vlm.families.common import randomise

MERGED = (b"ab", b"th", b"the", b" the", b"\xe4\xbd", b"\xe4\xbd\xa0")
"""Tokens of several bytes: enough that text is cut and merged."""

LANGUAGE: Mapping[str, Any] = {
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {"AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel"},
    "model_type": "qwen",
    "vocab_size": 256 + len(MERGED) + len(SPECIAL),
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "kv_channels": 16,
    "layer_norm_epsilon": 1e-6,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "max_position_embeddings": 8192,
    "seq_length": 2048,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "no_bias": True,
}
VISION: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "image_size": 28,
    "patch_size": 14,
    "projection_dim": 8,
}
CLIP_TEXT: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 20,
    "max_position_embeddings": 8,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "projection_dim": 8,
}
ADAPTER: Mapping[str, Any] = {
    "base_model_name_or_path": "Qwen/Qwen-7B-Chat",
    "bias": "none",
    "lora_alpha": 32,
    "lora_dropout": 0.1,
    "peft_type": "LORA",
    "r": 8,
    "target_modules": ["c_attn", "w1", "w2"],
    "task_type": "CAUSAL_LM",
}
GENERATION: Mapping[str, Any] = {"chat_format": "chatml", "max_new_tokens": 512}


def write(folder: Path) -> None:
    """Writes the three folders below one."""
    config = from_published(LANGUAGE, {"vision_config": VISION})
    random = torch.Generator().manual_seed(0)
    _write_language(folder / "llm", config, random)
    _write_tower(folder / "clip")
    _write_adapter(folder / "adapter", config, random)


def _write_language(folder: Path, config: ClipQwenConfig, random: torch.Generator) -> None:
    folder.mkdir(parents=True)
    tensors = _tensors(files.language_shapes(config.text), random)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", LANGUAGE)
    _write_json(folder / "generation_config.json", GENERATION)
    tokens = [*(bytes([byte]) for byte in range(256)), *MERGED]
    rows = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / RANKS).write_text("\n".join(rows) + "\n", encoding="ascii")


def _write_tower(folder: Path) -> None:
    model = CLIPModel(CLIPConfig(text_config=dict(CLIP_TEXT), vision_config=dict(VISION)))
    randomise(model)
    model.save_pretrained(folder)


def _write_adapter(folder: Path, config: ClipQwenConfig, random: torch.Generator) -> None:
    folder.mkdir(parents=True)
    layers = files.adapted_layers(folder, ADAPTER["target_modules"], config.text)
    adapter = _tensors(files.adapter_shapes(layers, ADAPTER["r"], config.text), random)
    torch.save(adapter, folder / ADAPTERS[-1])
    torch.save(_tensors(files.projector_shapes(config), random), folder / PROJECTOR)
    _write_json(folder / ADAPTER_CONFIG, ADAPTER)


def _tensors(shapes: Mapping[str, files.Shape], random: torch.Generator) -> dict[str, Tensor]:
    return {name: torch.randn(shape, generator=random) * 0.2 for name, shape in shapes.items()}


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")
