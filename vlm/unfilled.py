"""What transformers reports of filling a model with a checkpoint's tensors, and what is refused.

In: a model and the report of its `from_pretrained`. Nothing may be missing or of another shape,
and no layer may stay unread because the configuration counts fewer.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from vlm.errors import ModelError

Report = Mapping[str, Any]
"""Of `from_pretrained(..., output_loading_info=True)`."""


def unfilled(report: Report) -> list[str]:
    """Tensors of the model that the checkpoint lacks or has in another shape, by name."""
    return sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})


def check_filled(model: nn.Module, report: Report, source: object) -> None:
    """Refuses a checkpoint that does not fill a model.

    Args:
        model: just loaded, its mismatched tensors left out.
        report: of loading it.
        source: of the checkpoint, for people.

    Raises:
        ModelError: a tensor is missing, or of another shape.
    """
    if report["mismatched_keys"]:
        name, found, expected = min(report["mismatched_keys"])
        raise ModelError(
            "tensor_shape", file=source, name=name, found=tuple(found), expected=tuple(expected)
        )
    if missing := unfilled(report):
        needed = len(_names(model))
        raise ModelError(
            "tensors_missing",
            folder=source,
            found=needed - len(missing),
            expected=needed,
            names=", ".join(missing[:3]),
        )


def check_read(model: nn.Module, report: Report, source: object) -> None:
    """Refuses a checkpoint with more layers, or experts, than its configuration counts.

    Other tensors without a use are let through: published files often carry what only training
    needed, such as a second head, and those change no answer.

    Raises:
        ModelError: a layer would stay unread.
    """
    names = _names(model)
    last: dict[str, int] = {}
    for name in names:
        for place, number in _numbered(name):
            last[place] = max(number, last.get(place, number))
    unread = sorted(
        name
        for name in report["unexpected_keys"]
        if any(number > last.get(place, number) for place, number in _numbered(name))
    )
    if unread:
        raise ModelError(
            "tensors_unexpected",
            file=source,
            found=len(names) + len(report["unexpected_keys"]),
            expected=len(names),
            names=", ".join(unread[:3]),
        )


def _names(model: nn.Module) -> set[str]:
    parts = (*model.named_parameters(), *model.named_buffers())
    return {name for name, _ in parts}


def _numbered(name: str) -> Iterable[tuple[str, int]]:
    """("layers.*.norm", 3) of "layers.3.norm": the name without each of its numbers, and that."""
    for found in re.finditer(r"(?<=\.)\d+(?=\.)", name):
        yield f"{name[: found.start()]}*{name[found.end() :]}", int(found[0])
