"""How much memory a run of a model takes besides its weights, found out by running it on nothing.

In: a model on the meta device, and inputs. Out: the most bytes of tensors that were alive at once.
Numbers that decide the course (token ids, sizes of grids) are real; everything else has a shape and
no values, so billions of parameters cost no memory and a second or two.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

Result = TypeVar("Result")

ROUNDING = 64
"""Bytes to which allocators round up at least; tells a tensor of nothing from none."""


class _Ledger(TorchDispatchMode):
    """Sees every operation below it and keeps count of the storages that are alive.

    An operation on real tensors alone is carried out. Where a tensor of the meta device takes part,
    all of them are treated as such. Whole numbers stay real, as shapes follow from them.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        held = [*model.parameters(), *model.buffers()]
        self._known = {each.untyped_storage()._cdata: 0 for each in held}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), settings: Any = None
    ) -> Any:
        settings = dict(settings or {})
        if function is torch.ops.aten.index.Tensor:
            arguments = (arguments[0], _all_chosen(arguments[1]))
        if function is torch.ops.aten.nonzero.default and arguments[0].is_meta:
            # which are chosen depends on values: all, as that is the most there can be
            arguments = (torch.ones(arguments[0].shape, dtype=torch.bool),)
        given = [each for each in tree_flatten((arguments, settings))[0] if _is_tensor(each)]
        if function is torch.ops.aten._to_copy.default:
            settings.pop("device", None)  # floats stay shapes, whole numbers stay real
        elif any(each.is_meta for each in given):
            arguments, settings = tree_map_only(Tensor, _to_meta, (arguments, settings))
        elif _makes_numbers(function, settings):
            settings.pop("device", None)
        result = function(*arguments, **settings)
        for each in tree_flatten(result)[0]:
            if _is_tensor(each):
                self._count(each)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = -(storage.nbytes() // -ROUNDING) * ROUNDING
        self.now += self._known[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


class _AsOnADevice(TorchFunctionMode):
    """Attention as on a real device: no matrix of all pairs of tokens is ever written.

    Numbers that a model writes down as a tensor stay real, like those that it works out.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), settings: Any = None
    ) -> Any:
        settings = settings or {}
        if function is torch.nn.functional.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), arguments, strict=False)) | settings
            query, value = named["query"], named["value"]
            # (batch, heads, tokens, value dim)
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        if function is torch.tensor and settings.get("device") is not None:
            made = function(*arguments, **{**settings, "device": "cpu"})
            return made.to(settings["device"])  # to a shape only where it is no whole number
        return function(*arguments, **settings)


def rehearse(model: torch.nn.Module, run: Callable[[], Result]) -> tuple[int, Result]:
    """(most bytes alive at once while `run` works with a model of the meta device, what it gave).

    The model itself does not count.

    Raises:
        Exception: whatever the model raises where its course depends on values that are not there.
    """
    ledger = _Ledger(model)
    with torch.no_grad(), ledger, _AsOnADevice():
        result = run()
    return ledger.peak, result


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _to_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")


def _all_chosen(indices: list[Tensor | None]) -> list[Tensor | None]:
    """Indices with every mask that has no values taken to choose everything: the most it can."""
    chosen: list[Tensor | None] = []
    for each in indices:
        if each is not None and each.is_meta and each.dtype == torch.bool:
            chosen.extend(torch.ones(each.shape, dtype=torch.bool).nonzero().unbind(1))
        else:
            chosen.append(each)
    return chosen


def _makes_numbers(function: Any, settings: Mapping[str, Any]) -> bool:
    """Whether an operation would make whole numbers out of nothing on the meta device."""
    device, dtype = settings.get("device"), settings.get("dtype")
    if device is None or torch.device(device).type != "meta":
        return False
    if dtype is None:  # then most make floats
        return function.overloadpacket in (torch.ops.aten.arange, torch.ops.aten.full)
    return not dtype.is_floating_point
