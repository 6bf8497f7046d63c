"""Checkpoints whose files are quantised already: how, what reads them, which layers are plain.

In: a configuration, the headers of safetensors files. Out: facts, and a configuration whose list of
plain layers is that of the files. Nothing here quantises anything.
"""

import copy
import importlib.util
import json
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_safetensors_metadata
from huggingface_hub.errors import NotASafetensorsRepoError
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from vlm import quantization as bits
from vlm.errors import ModelError
from vlm.families import common

PACKAGES: Mapping[str, Mapping[str, str]] = {
    "gptq": {
        "gptqmodel": "gptqmodel==7.3.*",
        "optimum": "optimum",
        "torchvision": "torchvision",
    },
    "awq": {"gptqmodel": "gptqmodel==7.3.*", "torchvision": "torchvision"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "torchao": {"torchao": "torchao"},
    "aqlm": {"aqlm": "aqlm"},
    "eetq": {"eetq": "eetq"},
    "auto-round": {"auto_round": "auto-round"},
}
"""`quant_method` of a checkpoint -> modules that read it -> what pip is told to install.

Later versions of gptqmodel want a torch and a pillow that this app does not run with yet."""

PLAIN_LAYERS = {"bitsandbytes": "llm_int8_skip_modules", "compressed-tensors": "ignore"}
"""`quant_method` -> where its configuration lists layers that are not quantised."""
OTHERS_PLAIN_LAYERS = "modules_to_not_convert"
"""The same for all other methods that have such a list."""

UNPACKED = ("compressed-tensors", "fp8")
"""Methods whose weights are small on disk only: they are unpacked to 16 bits on the way in.

transformers unpacks the first within the first answer at the latest, and the second wherever its
kernels, which it would fetch from the hub, cannot run."""

_QUANTISED = re.compile(r"(.+)\.(?:weight_packed|weight_scale|qweight|SCB|weight\.absmax)")
"""Tensors that only a quantised layer has: of compressed-tensors, of 8-bit floats in blocks, of
GPTQ and AWQ, of bitsandbytes in 8 and 4 bits."""


def stored_kind(config: PreTrainedConfig) -> str | None:
    """How a checkpoint is quantised already: "nf4", "fp4", "int8" or another method's name.

    None where it is not.
    """
    facts = _facts(config)
    if not facts:
        return None
    method = _method(facts)
    if method != "bitsandbytes":
        return method
    if facts.get("load_in_8bit") or facts.get("_load_in_8bit"):
        return "int8"
    return str(facts.get("bnb_4bit_quant_type") or "fp4")


def _facts(config: PreTrainedConfig) -> dict[str, Any]:
    stored = getattr(config, "quantization_config", None) or {}
    return stored if isinstance(stored, dict) else stored.to_dict()


def _method(facts: Mapping[str, Any]) -> str:
    method = str(facts.get("quant_method") or "bitsandbytes")
    return "bitsandbytes" if method.startswith("bitsandbytes") else method


def check_stored(source: str, kind: str, wanted: str) -> None:
    """Whether a checkpoint that is quantised already can be loaded as it is wanted.

    Args:
        source: for the sentence.
        kind: as `stored_kind` says.
        wanted: "auto", "none", "int8", "nf4" or "fp4".

    Raises:
        ModelError: it is held in other bits than are wanted, or a package is needed that is not
            here.
    """
    if wanted not in ("auto", kind):
        raise ModelError("already_quantised", source=source, got=kind, wanted=wanted)
    missing = [name for module, name in PACKAGES.get(kind, {}).items() if not _is_here(module)]
    if missing:
        package = " ".join(f'"{name}"' if "=" in name else name for name in missing)
        raise ModelError("quantiser_missing", source=source, got=kind, package=package)


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


# ---- which layers are plain ----


def quantised_layers(model: PreTrainedModel, source: str) -> set[str]:
    """The layers that a checkpoint's files hold quantised, by full dotted path in the model.

    Empty where its tensors are of a kind that is not known here.

    Args:
        model: of its configuration, on the meta device.
        source: the folder, or a hub id whose files are here.
    """
    folder = common.kept_folder(source)
    files = [] if folder is None else folder.glob("*.safetensors")
    found = [_QUANTISED.match(name) for file in files for name in _header(file)]
    return set(_in_model({each[1] for each in found if each}, model)) & _linear_layers(model)


def to_read(
    config: PreTrainedConfig, model: PreTrainedModel, quantised: Collection[str]
) -> PreTrainedConfig:
    """The configuration with which a checkpoint's files are read as they are.

    Every layer is listed as plain that is not quantised in the files. Published lists name layers
    as they lie on disk ("visual", "vision_tower.layers.0.fc1") or as an older transformers called
    them. Tensors are renamed on their way in, these lists are not, so a tower in 16 bits would be
    taken for a quantised one, and the first image would fail.

    Args:
        config: of a checkpoint that is quantised already; left as it is.
        model: of that configuration, on the meta device.
        quantised: as `quantised_layers` found them.
    """
    changed, facts = copy.copy(config), dict(_facts(config))
    if quantised:
        key = PLAIN_LAYERS.get(_method(facts), OTHERS_PLAIN_LAYERS)
        facts[key] = sorted({*(facts.get(key) or ()), *(_linear_layers(model) - set(quantised))})
    if _method(facts) in UNPACKED:  # of layers that are packed in several ways it takes but one
        facts["dequantize"] = len(facts.get("config_groups") or ()) < 2
    changed.quantization_config = facts
    return changed


def _linear_layers(model: PreTrainedModel) -> set[str]:
    return {name for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)}


def _in_model(modules: Collection[str], model: PreTrainedModel) -> Iterator[str]:
    """What modules of a file are called in the model: as transformers renames their tensors."""
    mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    prefix, tensors = model.base_model_prefix, model.state_dict()
    for module in modules:
        name = f"{module}.weight"
        renamed, _ = rename_source_key(name, renamings, converters, prefix, tensors)
        if renamed not in tensors:
            renamed, _ = rename_source_key(name, [], [], prefix, tensors)
        yield renamed.removesuffix(".weight")


# ---- bytes ----


def weight_bytes(model: PreTrainedModel, source: str, kind: str, dtype: torch.dtype) -> int:
    """Bytes of a checkpoint's parameters, scales and buffers once loaded.

    Args:
        model: of its configuration, on the meta device.
        source: the folder or hub id.
        kind: as `stored_kind` says.
        dtype: of what is not quantised.
    """
    if kind in UNPACKED:
        return bits.weight_bytes(model, "none", dtype)
    return stored_bytes(source)


def stored_bytes(source: str) -> int:
    """Bytes of all tensors in the safetensors files of a folder or hub id; headers alone are read.

    0 where it has none. Of a hub id that is not on this machine the hub sends the headers.
    """
    folder = common.kept_folder(source)
    if folder is None:
        try:
            headers = get_safetensors_metadata(source).files_metadata.values()
        except NotASafetensorsRepoError:
            return 0
        return sum(
            each.data_offsets[1] - each.data_offsets[0]
            for header in headers
            for each in header.tensors.values()
        )
    headers = map(_header, folder.glob("*.safetensors"))
    spans = [each["data_offsets"] for header in headers for each in header.values()]
    return sum(end - start for start, end in spans)


def _header(file: Path) -> dict[str, Any]:
    """What the header of a safetensors file says of each tensor, by name."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return header
