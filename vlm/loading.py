"""From the name of a checkpoint to a model and a processor in memory.

In: a folder, a hub id, parts joined by "+", or a name of the catalogue. Out: `Loaded`. Remote code
never runs, weights come from safetensors or restricted unpickling, and nothing missing is
initialised at random.
"""

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from vlm import construction, download, families, memory, prequantized
from vlm import quantization as bits
from vlm.errors import ModelError, SettingError
from vlm.families import Family, Opened
from vlm.model_errors import chain, model_errors
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


def precision_name(kind: str, dtype: torch.dtype) -> str:
    """What weights are held in, in a word: a number type, or the kind of quantisation.

    Args:
        kind: "none", "int8", "nf4", "fp4", or another way in which files are quantised already.
        dtype: of what is not quantised.
    """
    if kind == "none":
        return SHORT_NAMES[dtype]
    return f"{SHORT_NAMES[dtype]} ({kind})" if kind in prequantized.UNPACKED else kind


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
        return precision_name(self.quantization, self.model.dtype)


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
            download.asking_nobody_in_vain(source),
            memory.exact_pages(),
            watching(watch or Watch()) as watched,
        ):
            family = fetch(source, watched)
            model, processor, kind = _open_and_fill(
                source, family, tokenizer, quantization, number_type, place, device_map
            )
            return Loaded(model, processor, name, source, kind, family)
    except ModelError as error:
        for each in chain(error):  # their frames hold whatever was loaded so far
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
    stored = prequantized.stored_kind(opened.config)
    skeleton, spread = empty_model(opened.config, dtype), isinstance(device_map, str)
    if stored is not None:
        prequantized.check_stored(source, stored, quantization)
        quantization = stored
        needed = prequantized.weight_bytes(skeleton, source, stored, dtype)
        intended, settings = prequantized.quantised_layers(skeleton, source), None
        config = prequantized.to_read(opened.config, skeleton, intended)
        opened = replace(opened, config=config)
    else:
        if quantization == "auto":
            quantization = bits.choose_quantization(skeleton, place, dtype, spread=spread)
        needed = bits.weight_bytes(skeleton, quantization, dtype, place)
        intended = bits.layers_to_quantise(skeleton, quantization, place)
        settings = bits.configuration(skeleton, quantization, dtype, place)
    with _enough_memory(source, needed, quantization, dtype, place, spread):
        model = _read_weights(source, type(skeleton), opened, dtype, device_map, settings)
    if stored is None or (intended and stored in bits.KINDS):
        bits.check_modules(model, intended, quantization)
        bits.avoid_kernels(model)
    if intended and stored is None:
        memory.drop_pages_between(bits.held_storages(model).items())
    return model, quantization


@contextlib.contextmanager
def _enough_memory(
    source: str, needed: int, kind: str, dtype: torch.dtype, place: torch.device, spread: bool
) -> Iterator[None]:
    """Around the reading of weights: refuses what can never fit, which Linux would end the process
    for, and says what it takes where memory runs out all the same. Raises ModelError."""
    precision = precision_name(kind, dtype)

    def refusal(free: int) -> ModelError:
        return ModelError(
            "out_of_memory_weights",
            source=source,
            needed=needed / 1e9,
            free=free / 1e9,
            precision=precision,
        )

    most = memory.everywhere(memory.most_bytes) if spread else memory.most_bytes(place)
    if needed > most:
        raise refusal(most)
    try:
        yield
    except Exception as error:
        if not any(memory.ran_out(each) for each in chain(error)):
            raise
        raise refusal(memory.free_bytes(place)) from error


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
