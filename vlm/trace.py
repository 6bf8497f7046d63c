"""The stages of one run of a model, from pixels to logits, as numpy arrays with named axes.

In: a model, the inputs of one prompt, and taps that say where each stage shows. Out: `Stage`s.
Families declare their taps as data; for other models they follow from the form of the model. All
hooks are set here.
"""

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlm.backend import Stage
from vlm.families import Tap

PIXELS = (
    "images, channels, height, width|batch, images, channels, height, width|"
    "images, patches, values|patches, values"
)
FEATURES = "images, positions, width|positions, width|images, width, rows, columns"
INPUT_IDS = Tap(name="input_ids", side="input", value="input_ids", axes="batch, tokens")


@torch.inference_mode()
def trace(model: PreTrainedModel, inputs: Mapping[str, Any], taps: Sequence[Tap]) -> list[Stage]:
    """Runs a prompt through the model once and keeps what the taps show, in their order.

    A stage that this prompt does not reach (a vision tower without images) is left out. The calls
    of a module that runs several times are joined along their first axis; calls that do not fit
    together give a stage each, of the same name.

    Args:
        model: in evaluation mode.
        inputs: of its `forward`, on its device: `input_ids` (1, tokens) and the like.
        taps: see `vlm.families.Tap`.
    """
    with watched(model, taps) as found:
        model(**first_step(model, inputs))
    return stages(found)


@contextlib.contextmanager
def watched(model: nn.Module, taps: Sequence[Tap]) -> Iterator[dict[Tap, list[Tensor]]]:
    """While it is open, what each tap shows of every call of its module, on the CPU."""
    found: dict[Tap, list[Tensor]] = {tap: [] for tap in taps}
    hooks = [_watch(model.get_submodule(tap.module), tap, calls) for tap, calls in found.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def stages(found: Mapping[Tap, list[Tensor]]) -> list[Stage]:
    """What was seen, in the order of the taps; see `trace` for calls of one module."""
    return [_stage(tap, array) for tap, calls in found.items() for array in _joined(calls)]


def first_step(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What `generate` would call the model with for this prompt: positions that know padding.

    Only that the logits of all tokens are asked for, and nothing is kept for a next step.
    """
    rest = {**inputs, "use_cache": False}
    ids = rest.pop("input_ids")
    rest.setdefault("position_ids", model._prepare_position_ids_for_generation(ids, rest))
    first = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **rest)
    return {name: value for name, value in first.items() if name != "logits_to_keep"}


def native_taps(model: PreTrainedModel) -> tuple[Tap, ...]:
    """The stages of a model without a family, as far as its structure tells them.

    The vision tower and the text decoder are those that transformers names; a projector is what
    lies beside them, if it is one module.
    """
    names = {module: name for name, module in model.named_modules()}
    base, tower, decoder = (
        model.base_model,
        model.get_encoder(modality="image"),
        model.get_decoder(),
    )
    taps = [INPUT_IDS, Tap(name="pixel_values", side="input", value="pixel_values", axes=PIXELS)]
    if tower in names and tower not in (model, base):
        taps.append(_output("vision_tower", names[tower], "last_hidden_state", FEATURES))
    beside = [
        module
        for module in base.children()
        if module not in (tower, decoder) and any(True for _ in module.parameters())
    ]
    if len(beside) == 1 and decoder not in beside[0].modules():
        taps.append(_output("projector", names[beside[0]], "", FEATURES))
    if decoder in names and decoder not in (model, base):
        embeds = Tap(
            name="inputs_embeds",
            module=names[decoder],
            side="input",
            value="inputs_embeds",
            axes="batch, tokens, width",
        )
        hidden = _output(
            "final_hidden", names[decoder], "last_hidden_state", "batch, tokens, width"
        )
        taps += [embeds, hidden]
    return (*taps, _output("logits", "", "logits", "batch, tokens, words"))


def _output(name: str, module: str, value: str, axes: str) -> Tap:
    return Tap(name=name, module=module, side="output", value=value, axes=axes)


def _watch(module: nn.Module, tap: Tap, calls: list[Tensor]) -> Any:
    """Sets the hook of one tap; what it sees is appended to `calls`."""
    hook = partial(_note, module, tap, calls)
    if tap.side == "input":
        return module.register_forward_pre_hook(
            lambda _, args, kwargs: hook(_argument(module, tap.value, args, kwargs)),
            with_kwargs=True,
        )
    return module.register_forward_hook(lambda _, args, output: hook(_field(output, tap.value)))


def _note(module: nn.Module, tap: Tap, calls: list[Tensor], value: object) -> None:
    if isinstance(value, list | tuple) and all(isinstance(each, Tensor) for each in value):
        calls.extend(each.detach().cpu() for each in value)
    elif isinstance(value, Tensor):
        calls.append(value.detach().cpu())
    elif value is not None:
        raise TypeError(f"{tap.name}: a tensor is expected, {type(module)} has a {type(value)}")


def _argument(module: nn.Module, name: str, args: tuple, kwargs: Mapping[str, Any]) -> object:
    """An argument of a call by its name, however it was passed."""
    if name in kwargs:
        return kwargs[name]
    return inspect.signature(module.forward).bind_partial(*args).arguments.get(name)


def _field(output: Any, name: str) -> object:
    """A field of what a module returned; the tensor itself where it returned nothing else."""
    if isinstance(output, Tensor):
        return output
    return getattr(output, name) if name else output[0]


def _joined(calls: list[Tensor]) -> list[Tensor]:
    if len({call.shape[1:] for call in calls}) == 1:
        return [torch.cat(calls)] if calls[0].ndim else calls
    return calls


def _stage(tap: Tap, tensor: Tensor) -> Stage:
    layouts = [tuple(name.strip() for name in each.split(",")) for each in tap.axes.split("|")]
    axes = next((each for each in layouts if len(each) == tensor.ndim), None)
    if axes is None:
        raise ValueError(f"{tap.name} has the shape {tuple(tensor.shape)}, not {tap.axes}")
    return Stage(tap.name, (tensor.float() if tensor.is_floating_point() else tensor).numpy(), axes)
