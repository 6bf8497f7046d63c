"""The stages of one run of a model, from pixels to logits, as numpy arrays with named axes.

In: a model, the inputs of one prompt, and taps that say where each stage shows. Out: `Stage`s.
Families declare their taps as data; for other models they follow from the form of the model. All
hooks are set here.
"""

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy
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
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
INPUT_IDS = Tap(name="input_ids", side="input", value="input_ids", axes="batch, tokens")


class Cancelled(Exception):
    """Raised by a hook to leave a run half-way. Never seen by people."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a hook saw of one call.

    Attributes:
        tensor: on the CPU; None on the meta device, where there is a shape only.
        device: where it was.
        seconds: from the beginning of the run.
    """

    tensor: Tensor | None
    shape: torch.Size
    dtype: torch.dtype
    device: str
    seconds: float


Found = dict[Tap, list[Seen]]


@torch.inference_mode()
def trace(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    taps: Sequence[Tap],
    should_stop: Callable[[], bool] | None = None,
) -> list[Stage]:
    """Runs a prompt through the model once and keeps what the taps show, in their order.

    A stage that this prompt does not reach (a vision tower without images) is left out. The calls
    of a module that runs several times are joined along their first axis; calls that do not fit
    together give a stage each, of the same name.

    Args:
        model: in evaluation mode.
        inputs: of its `forward`, on its device: `input_ids` (1, tokens) and the like.
        taps: see `vlm.families.Tap`.
        should_stop: asked before every layer; the stages are those that were there by then.
    """
    with watched(model, taps, should_stop) as found, contextlib.suppress(Cancelled):
        model(**first_step(model, inputs))
    return stages(found)


@contextlib.contextmanager
def watched(
    model: nn.Module,
    taps: Sequence[Tap],
    should_stop: Callable[[], bool] | None = None,
    reached: Callable[[int], None] | None = None,
) -> Iterator[Found]:
    """While it is open, what each tap shows of every call of its module, on the CPU.

    Args:
        model: with the modules that the taps name.
        taps: see `vlm.families.Tap`.
        should_stop: asked before every module runs; once it is true, `Cancelled` is raised there.
        reached: told how many of the taps have shown something.
    """
    found: Found = {tap: [] for tap in taps}
    begun = time.perf_counter()

    def note(tap: Tap, tensor: Tensor) -> None:
        first = not found[tap]
        found[tap].append(_seen(tensor, begun))
        if first and reached is not None:
            reached(sum(map(bool, found.values())))

    def check(*_: object) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled

    hooks = [_watch(model.get_submodule(tap.module), tap, partial(note, tap)) for tap in found]
    if should_stop is not None:
        hooks += [module.register_forward_pre_hook(check) for module in model.modules()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def stages(found: Found) -> list[Stage]:
    """What was seen, in the order of the taps; see `trace` for calls of one module."""
    return [_stage(tap, calls) for tap, seen in found.items() for calls in _groups(seen)]


def first_step(model: Any, inputs: Mapping[str, Any], last_logits: bool = False) -> dict[str, Any]:
    """What `generate` would call the model with for this prompt: positions that know padding.

    Only that nothing is kept for a next step.

    Args:
        model: see `trace`.
        inputs: see `trace`.
        last_logits: whether those of the last token are enough, where a model can be asked so;
            for a long prompt all of them are gigabytes.
    """
    rest = {**inputs, "use_cache": False}
    ids = rest.pop("input_ids")
    rest.setdefault("position_ids", model._prepare_position_ids_for_generation(ids, rest))
    first = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **rest)
    first = {name: value for name, value in first.items() if name != "logits_to_keep"}
    if last_logits and _keeps_logits(type(model)):
        first["logits_to_keep"] = 1
    return first


def _keeps_logits(kind: type) -> bool:
    """Whether a class takes `logits_to_keep`, or hands what it does not know to one that does."""
    for each in kind.__mro__:
        if "forward" in vars(each):
            taken = inspect.signature(vars(each)["forward"]).parameters
            if "logits_to_keep" in taken:
                return True
            if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
                return False
    return False


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
        if (patches := _patches(tower)) is not None:
            taps.append(_output("patch_embedding", names[patches], "", FEATURES))
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


def _patches(tower: nn.Module) -> nn.Module | None:
    """What makes patches of pixels: the module of a tower's one convolution over colours.

    None in a tower of convolutions, which has no patches, and where it is the tower itself.
    """
    modules = dict(tower.named_modules())
    convolutions = [each for each, module in modules.items() if isinstance(module, CONVOLUTIONS)]
    over_colours = [each for each in convolutions if modules[each].in_channels == 3]
    if len(convolutions) > 1 or not over_colours:
        return None
    parent = over_colours[0].rpartition(".")[0]
    return modules[parent] if parent else None


def _output(name: str, module: str, value: str, axes: str) -> Tap:
    return Tap(name=name, module=module, side="output", value=value, axes=axes)


def _watch(module: nn.Module, tap: Tap, note: Callable[[Tensor], None]) -> Any:
    """Sets the hook of one tap; what it sees is handed to `note`."""
    hook = partial(_hand, module, tap, note)
    if tap.side == "input":
        return module.register_forward_pre_hook(
            lambda _, args, kwargs: hook(_argument(module, tap.value, args, kwargs)),
            with_kwargs=True,
        )
    return module.register_forward_hook(lambda _, args, output: hook(_field(output, tap.value)))


def _hand(module: nn.Module, tap: Tap, note: Callable[[Tensor], None], value: object) -> None:
    if isinstance(value, list | tuple) and all(isinstance(each, Tensor) for each in value):
        for each in value:
            note(each)
    elif isinstance(value, Tensor):
        note(value)
    elif value is not None:
        raise TypeError(f"{tap.name}: a tensor is expected, {type(module)} has a {type(value)}")


def _seen(tensor: Tensor, begun: float) -> Seen:
    """A call. The copy to the CPU waits for an accelerator, so that its work is in the time."""
    copy = None if tensor.is_meta else tensor.detach().cpu()
    place = str(tensor.device)
    return Seen(copy, tensor.shape, tensor.dtype, place, time.perf_counter() - begun)


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


def _groups(seen: list[Seen]) -> list[list[Seen]]:
    """Calls that make one stage together."""
    if len({each.shape[1:] for each in seen}) == 1:
        return [seen] if seen[0].shape else [[each] for each in seen]
    return [[each] for each in seen]


def _stage(tap: Tap, calls: Sequence[Seen]) -> Stage:
    first, last = calls[0], calls[-1]
    shape = first.shape
    if len(calls) > 1:
        shape = (sum(each.shape[0] for each in calls), *shape[1:])
    layouts = [tuple(name.strip() for name in each.split(",")) for each in tap.axes.split("|")]
    axes = next((each for each in layouts if len(each) == len(shape)), None)
    if axes is None:
        raise ValueError(f"{tap.name} has the shape {tuple(shape)}, not {tap.axes}")
    dtype, seconds = str(first.dtype).removeprefix("torch."), last.seconds
    tensors = [each.tensor for each in calls if each.tensor is not None]
    if len(tensors) < len(calls):
        nothing = numpy.zeros((), numpy.float32 if first.dtype.is_floating_point else numpy.int64)
        array = numpy.broadcast_to(nothing, tuple(shape))  # a shape that takes no memory
        return Stage(tap.name, array, axes, dtype, first.device, seconds, known=False)
    tensor = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return Stage(tap.name, array, axes, dtype, first.device, seconds)
