"""From the name of a checkpoint to a model and a processor in memory.

In: a folder, a hub id, parts joined by "+", or a name of the catalogue. Out: `Loaded`. Remote code
never runs, weights come from safetensors or restricted unpickling, and nothing missing is
initialised at random.
"""

import contextlib
import importlib.util
import logging
import pickle
import re
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub.errors as hub_errors
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from vlm import construction, download, families, memory
from vlm import quantization as bits
from vlm.errors import ModelError, SettingError, VLMError
from vlm.families import Family, Opened
from vlm.processors import load_processor
from vlm.progress import Watch, watching
from vlm.settings import CHOICES
from vlm.sources import check_source, look_up
from vlm.unfilled import check_filled, check_read

transformers.logging.set_verbosity_error()  # what matters is raised; the rest is noise to people
transformers.logging.disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
construction.make_by_turns()

SHORT_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}

ONE_AT_A_TIME = threading.Lock()
"""A load sets how the whole process keeps freed memory; two would undo each other's setting."""


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
    for name, child in _children(model).items():
        found.append(_count(name, child, seen))
    total = (
        sum(getattr(part, kind) for part in found) for kind in ("total", "trainable", "quantised")
    )
    return [*found, ModelPart("total", *total)]


def part_bytes(model: PreTrainedModel) -> dict[str, int]:
    """Memory of each of the `parts`, in bytes, scales and buffers included; shared ones once."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for name, child in _children(model).items():
        storages = bits.held_storages(child)
        found[name] = sum(size for place, size in storages.items() if place not in seen)
        seen |= storages.keys()
    return found


def _children(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The modules below the model's base, and its output head."""
    children = {**dict(model.base_model.named_children()), **dict(model.named_children())}
    return {name: child for name, child in children.items() if child is not model.base_model}


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
    device_map: str = "",
    watch: Watch | None = None,
) -> Loaded:
    """Loads a checkpoint.

    Args:
        source: a name of the catalogue, a folder, a hub id, or parts joined by "+".
        quantization: "none", "int8", "nf4", "fp4", or "auto": as it is stored where it is quantised
            already, else none where it fits, else int8, else nf4. Vision tower, projector and
            output head stay in 16 bits.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "bfloat16", "float16" or "float32", for what is not quantised.
        tokenizer: folder or hub id to take it from where the checkpoint has none of its own.
        device_map: "" for one device, or how accelerate spreads the model over all there are:
            "auto", "balanced", "balanced_low_0" or "sequential".
        watch: told how far it has come; can call it off.

    Raises:
        ModelError: the checkpoint is not there, not complete or not of a kind that can be loaded;
            or it was called off.
        SettingError: no such device here, or a word that means nothing.
    """
    _check_choice("quantization", quantization)
    _check_choice("dtype", dtype)
    _check_choice("device_map", device_map)
    place = choose_device(device)
    number_type = choose_dtype(dtype, place)
    name, source = look_up(source)
    tokenizer = tokenizer and str(Path(tokenizer).expanduser())
    try:
        with (
            ONE_AT_A_TIME,
            model_errors(source),
            memory.exact_pages(),
            watching(watch or Watch()) as watched,
        ):
            family = fetch(source, watched)
            model, processor, kind = _open_and_fill(
                source, family, tokenizer, quantization, number_type, place, device_map
            )
            return Loaded(model, processor, name, source, kind, family)
    except ModelError as error:
        for each in _chain(error):  # their frames hold whatever was loaded so far
            traceback.clear_frames(each.__traceback__)
        raise
    finally:
        memory.give_back()


def fetch(source: str, watch: Watch) -> Family | None:
    """Puts the files of a hub repository into the cache. Returns the family they belong to."""
    watch.note("open")
    family = families.find(source)
    if family is None:
        check_source(source)
    download.fetch(source, watch)
    watch.note("open")
    return family


def _open_and_fill(
    source: str,
    family: Family | None,
    tokenizer: str,
    quantization: str,
    dtype: torch.dtype,
    place: torch.device,
    device_map: str,
) -> tuple[PreTrainedModel, ProcessorMixin, str]:
    """(model, processor, what the weights are held in); unpacked weights are gone when it ends."""
    opened = open_checkpoint(source, dtype, family, tokenizer)
    model, kind = _fill(source, opened, quantization, dtype, place, device_map or {"": place})
    return model, opened.processor, kind


def _fill(
    source: str,
    opened: Opened,
    quantization: str,
    dtype: torch.dtype,
    place: torch.device,
    device_map: str | dict[str, torch.device],
) -> tuple[PreTrainedModel, str]:
    """(the model with its weights, what they are held in: "none", "int8", "nf4", ...)."""
    stored = bits.stored_kind(opened.config)
    skeleton = empty_model(opened.config, dtype)
    if stored is not None:
        bits.check_stored(source, stored, quantization)
        return _read_weights(source, type(skeleton), opened, dtype, device_map, None), stored
    if quantization == "auto":
        quantization = bits.choose_quantization(skeleton, place, dtype)
    intended = bits.layers_to_quantise(skeleton, quantization, place)
    settings = bits.configuration(skeleton, quantization, dtype, place)
    try:
        model = _read_weights(source, type(skeleton), opened, dtype, device_map, settings)
    except Exception as error:
        if not any(memory.ran_out(each) for each in _chain(error)):
            raise
        raise ModelError(
            "out_of_memory_weights",
            source=source,
            needed=bits.weight_bytes(skeleton, quantization, dtype, place) / 1e9,
            free=memory.free_bytes(place) / 1e9,
            precision=SHORT_NAMES[dtype] if quantization == "none" else quantization,
        ) from error
    bits.check_modules(model, intended, quantization)
    if intended:
        memory.drop_pages_between(bits.held_storages(model).items())
    return model, quantization


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


def empty_model(
    config: transformers.PreTrainedConfig, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """The model of a configuration without memory for its weights: names and shapes only."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(
            config, dtype=dtype or torch.float32, trust_remote_code=False
        )


def _read_weights(
    source: str,
    kind: type[PreTrainedModel],
    opened: Opened,
    dtype: torch.dtype,
    device_map: str | dict[str, torch.device],
    quantization_config: BitsAndBytesConfig | None,
) -> PreTrainedModel:
    """Fills the model; refuses tensors missing or of another shape, and layers left over."""
    from_memory = isinstance(opened.weights, dict)
    model, report = cast(Any, kind).from_pretrained(
        None if from_memory else opened.weights,
        config=opened.config,
        state_dict=opened.weights if from_memory else None,
        dtype=dtype,
        device_map=device_map,
        **({"quantization_config": quantization_config} if quantization_config else {}),
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        output_loading_info=True,
    )
    check_filled(model, report, source)
    check_read(model, report, source)
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
        if package := next(filter(None, map(_missing_package, chain)), None):
            raise ModelError("package_missing", source=source, package=package) from error
        words = str(error).strip() or "-"
        detail = f"{type(error).__name__}: {words.splitlines()[0][:200]}"
        raise ModelError("cannot_load", source=source, detail=detail) from error


CAUSES: dict[tuple[type[Exception], ...], str] = {
    (pickle.UnpicklingError,): "pickled_code",
    (hub_errors.GatedRepoError, hub_errors.RepositoryNotFoundError): "hub_refused",
    (hub_errors.RemoteEntryNotFoundError,): "hub_file_missing",
    (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled): "hub_unreachable",
}
"""What may lie behind an error of transformers, the first that fits -> what people are told."""

PACKAGE_WANTED = (
    r"requires the (\w+) library",
    r"image processor classes: (\w+): \w+\. None of these",
)
"""How transformers says which package is missing, where it does not let Python say so."""


def _missing_package(error: BaseException) -> str | None:
    """The package whose absence an error is about."""
    named = error.name if isinstance(error, ModuleNotFoundError) else None
    found = (re.search(pattern, str(error)) for pattern in PACKAGE_WANTED)
    name = named or next((each[1].lower() for each in found if each), "")
    package = name.partition(".")[0]
    return package if package and importlib.util.find_spec(package) is None else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
