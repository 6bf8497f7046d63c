"""One model at a time is made in this process, whichever thread makes it.

While transformers makes a model it changes the number type of new tensors, `torch.linspace` and the
tying of weights for the whole process, and then puts back what it found. Of two threads at once (a
model is loaded while the page estimates another) one finds what the other has changed and leaves it
behind: every later tensor is then in bfloat16, every later output head untied.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import modeling_utils

_ONE = threading.RLock()  # the parts of a model are made inside it, by the same thread
_own = modeling_utils.local_torch_dtype


@contextmanager
def _by_turns(dtype: torch.dtype, model_class_name: str | None = None) -> Iterator[None]:
    """As transformers' own; others wait. It is the first that every way of making one enters."""
    with _ONE, _own(dtype, model_class_name):
        yield


def make_by_turns() -> None:
    """From now on models are made one after another."""
    modeling_utils.local_torch_dtype = _by_turns
