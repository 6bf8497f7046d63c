"""From the name of a checkpoint to a model and a processor in memory.

In: a folder, a hub id, parts joined by "+", or a name of the catalogue. Out: `Loaded`. Remote code
never runs, weights come from safetensors or restricted unpickling, and nothing missing is
initialised at random.
"""

import contextlib
import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub.errors as hub_errors
import torch
import transformers
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from vlm import families, memory
from vlm.errors import ModelError, SettingError, VLMError
from vlm.families import Family, Opened
from vlm.processors import load_processor
from vlm.settings import CHOICES

transformers.logging.set_verbosity_error()  # what matters is raised; the rest is noise to people
transformers.logging.disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

SHORT_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
CPU_BLOCK = (32, 64)
"""bitsandbytes lays 4-bit weights out in such blocks on CPUs with AVX512-BF16; others crash it."""
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pth")


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer.

    Attributes:
        model: in evaluation mode, on its device.
        processor: messages and images to the tensors of `model.generate`.
        name: for people.
        source: the folder or hub id it came from.
        quantization: "none", "int8", "nf4" or "fp4".
        family: that it belongs to; None where transformers knows it by itself.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    name: str
    source: str
    quantization: str
    family: Family | None = None

    @property
    def precision(self) -> str:
        """What the weights are held in: a number type, or the kind of quantisation."""
        if self.quantization != "none":
            return self.quantization
        return SHORT_NAMES[self.model.dtype]


@dataclass(frozen=True)
class ModelPart:
    """One part of a model and its counts of parameters."""

    name: str
    total: int
    trainable: int
    quantised: int


def parts(model: PreTrainedModel) -> list[ModelPart]:
    """The parts below the model's base, its output head, and the sum of all.

    Packed weights count as the numbers they stand for. A tied head shares its weights and counts
    0.
    """
    found: list[ModelPart] = []
    seen: set[int] = set()
    children = {**dict(model.base_model.named_children()), **dict(model.named_children())}
    for name, child in children.items():
        if child is model.base_model:
            continue
        found.append(_count(name, child, seen))
    total = (
        sum(getattr(part, kind) for part in found) for kind in ("total", "trainable", "quantised")
    )
    return [*found, ModelPart("total", *total)]


def _count(name: str, module: torch.nn.Module, seen: set[int]) -> ModelPart:
    total = trainable = quantised = 0
    for parameter in module.parameters():
        if id(parameter) in seen:
            continue
        seen.add(id(parameter))
        packed = getattr(parameter, "quant_state", None)  # 4-bit: the shape it stands for
        number = packed.shape.numel() if packed is not None else parameter.numel()
        total += number
        trainable += number if parameter.requires_grad else 0
        quantised += number if packed is not None or parameter.dtype == torch.int8 else 0
    return ModelPart(name, total, trainable, quantised)


def load(
    source: str,
    *,
    quantization: str = "auto",
    device: str = "auto",
    dtype: str = "auto",
    tokenizer: str = "",
) -> Loaded:
    """Loads a checkpoint.

    Args:
        source: a name of the catalogue, a folder, a hub id, or parts joined by "+".
        quantization: "none", "int8", "nf4", "fp4", or "auto": none where it fits, else int8, else
            nf4. Vision tower, projector and output head stay in 16 bits.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "bfloat16", "float16" or "float32", for what is not quantised.
        tokenizer: folder or hub id to take it from where the checkpoint has none of its own.

    Raises:
        ModelError: the checkpoint is not there, not complete or not of a kind that can be loaded.
        SettingError: no such device here, or a word that means nothing.
    """
    _check_choice("quantization", quantization)
    _check_choice("dtype", dtype)
    place = choose_device(device)
    number_type = choose_dtype(dtype, place)
    name, source = look_up(source)
    tokenizer = tokenizer and str(Path(tokenizer).expanduser())
    with model_errors(source):
        family = families.find(source)
        opened = open_checkpoint(source, number_type, family, tokenizer)
        skeleton = empty_model(opened.config)
        if quantization == "auto":
            quantization = memory.choose_quantization(skeleton, place, number_type)
        settings = _bitsandbytes(skeleton, quantization, number_type, place)
        model = _read_weights(type(skeleton), opened, number_type, place, settings)
    return Loaded(model, opened.processor, name, source, quantization, family)


def look_up(source: str) -> tuple[str, str]:
    """(name for people, folder or hub id) of what a person calls a model."""
    known = families.look_up(source)
    if known is not None:
        return known.title, known.source
    source = _expanded(source)
    return Path(families.common.parts(source)[0]).name, source


def _expanded(source: str) -> str:
    """A source with the home folder written out, also in each of several joined by "+"."""
    whole = Path(source).expanduser()
    if whole.exists():
        return str(whole)
    return "+".join(str(Path(part).expanduser()) for part in families.common.parts(source))


def answers_about_images(config: transformers.PreTrainedConfig) -> bool:
    """Whether transformers has a model of this configuration that reads images and writes text."""
    return type(config) in AutoModelForImageTextToText._model_mapping


def open_checkpoint(
    source: str, dtype: torch.dtype, family: Family | None, tokenizer: str = ""
) -> Opened:
    """Configuration and processor of a checkpoint, and where its weights are.

    Raises:
        ModelError: a folder that holds no checkpoint.
    """
    if family is not None:
        return family.open(source, tokenizer=tokenizer or None, dtype=dtype)
    check_source(source)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    if not answers_about_images(config):
        raise ModelError("not_image_to_text", source=source, got=config.model_type)
    return Opened(
        config=config, processor=load_processor(source, config, tokenizer), weights=source
    )


def empty_model(config: transformers.PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration without memory for its weights: names and shapes only."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config, trust_remote_code=False)


def unquantised_modules(model: PreTrainedModel, block: tuple[int, int] = (1, 1)) -> list[str]:
    """Full dotted names of the modules that keep 16 bits: all but the language model's layers.

    They are found by structure: what does not lie inside the text decoder (vision tower,
    projector), and the output head.

    Args:
        model: may be on the meta device.
        block: (rows, columns) of which a layer's weight must be a multiple to be quantised.
    """
    names = {module: name for name, module in model.named_modules()}
    decoder = names[model.get_decoder()]
    kept: list[str] = []
    for name, module in model.named_modules():
        inside = name == decoder or name.startswith(decoder + ".")
        if not inside and isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
            kept.append(_outermost(name, decoder))
        elif isinstance(module, torch.nn.Linear) and (
            module.out_features % block[0] or module.in_features % block[1]
        ):
            kept.append(name)
    return sorted(set(kept))


def _outermost(name: str, decoder: str) -> str:
    """The longest way up from a module that does not also hold the decoder."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        prefix = ".".join(parts[:end])
        if prefix != decoder and not decoder.startswith(prefix + "."):
            return prefix
    return name


def _bitsandbytes(
    skeleton: PreTrainedModel, quantization: str, dtype: torch.dtype, device: torch.device
) -> BitsAndBytesConfig | None:
    if quantization == "none":
        return None
    if quantization == "int8":
        kept = unquantised_modules(skeleton)
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    kept = unquantised_modules(skeleton, CPU_BLOCK if device.type == "cpu" else (1, 1))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


def _read_weights(
    kind: type[PreTrainedModel],
    opened: Opened,
    dtype: torch.dtype,
    device: torch.device,
    quantization_config: BitsAndBytesConfig | None,
) -> PreTrainedModel:
    """Fills the model; refuses a checkpoint with tensors missing or of another shape."""
    from_memory = isinstance(opened.weights, dict)
    model, report = cast(Any, kind).from_pretrained(
        None if from_memory else opened.weights,
        config=opened.config,
        state_dict=opened.weights if from_memory else None,
        dtype=dtype,
        device_map={"": device},
        quantization_config=quantization_config,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        output_loading_info=True,
    )
    missing = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if missing:
        names = ", ".join(missing[:5])
        raise ModelError("weights_missing", count=len(missing), names=names)
    if opened.generation_config is not None:
        model.generation_config = opened.generation_config
    return model.eval()


def _check_choice(name: str, value: str) -> None:
    if value not in CHOICES[name]:
        raise SettingError(
            "setting_not_understood", name=name, got=value, accepted=", ".join(CHOICES[name])
        )


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes an accelerator where there is one."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    here = ["cpu"]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise SettingError(
            "setting_not_understood", name="device", got=name, accepted=", ".join(["auto", *here])
        )
    return torch.device(wanted)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type of a name; "auto" is bfloat16, or float16 on devices that lack it."""
    if name != "auto":
        return getattr(torch, name)
    old = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    return torch.float16 if old or device.type == "mps" else torch.bfloat16


def check_source(source: str) -> None:
    """Says what is wrong with a folder before transformers takes it for a hub id.

    Raises:
        ModelError: no such folder or repository, or nothing in it that could be loaded.
    """
    path = Path(source)
    if not path.exists():
        _check_hub(source)
        return
    if not path.is_dir():
        raise ModelError("not_a_folder", source=source)
    found = sorted(each.name for each in path.iterdir())
    if "config.json" not in found:
        raise ModelError("no_config", source=source, found=", ".join(found[:8]) or "-")
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ModelError("no_weights", source=source, found=", ".join(found[:8]))
    for index in path.glob("*.index.json"):
        shards = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
        if absent := sorted(set(shards) - set(found)):
            raise ModelError("file_missing", file=absent[0], index=index.name)


def _check_hub(source: str) -> None:
    """Fails at once where the hub's client would try an unreachable network for half a minute."""
    looks_like_path = source.startswith((".", "/", "~")) or "\\" in source
    try:
        if looks_like_path or source.count("/") != 1:
            raise hub_errors.HFValidationError
        cached = try_to_load_from_cache(source, "config.json")
    except hub_errors.HFValidationError as error:
        known = ", ".join(each.name for each in families.catalogue() if "/" not in each.name)
        raise ModelError("no_such_checkpoint", source=source, known=known) from error
    if isinstance(cached, str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json"))
    except hub_errors.HfHubHTTPError:
        raise  # the hub did answer
    except Exception as error:
        raise ModelError("hub_unreachable", source=source) from error


@contextlib.contextmanager
def model_errors(source: str) -> Iterator[None]:
    """Turns what libraries raise about a checkpoint into a sentence."""
    try:
        yield
    except VLMError:
        raise
    except Exception as error:  # transformers has no class for what is wrong with a checkpoint
        chain = list(_chain(error))
        for kinds, key in CAUSES.items():
            if any(isinstance(each, kinds) for each in chain):
                raise ModelError(key, source=source) from error
        if any(memory.ran_out(each) for each in chain):
            raise ModelError("out_of_memory_loading", source=source) from error
        if "trust_remote_code" in str(error):
            raise ModelError("needs_own_code", source=source) from error
        words = str(error).strip() or "-"
        detail = f"{type(error).__name__}: {words.splitlines()[0][:200]}"
        raise ModelError("cannot_load", source=source, detail=detail) from error


CAUSES: dict[tuple[type[Exception], ...], str] = {
    (pickle.UnpicklingError,): "pickled_code",
    (hub_errors.GatedRepoError, hub_errors.RepositoryNotFoundError): "hub_refused",
    (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled): "hub_unreachable",
}
"""What may lie behind an error of transformers, the first that fits -> what people are told."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
