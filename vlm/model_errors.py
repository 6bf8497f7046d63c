"""What libraries raise about a checkpoint, as a sentence with a way on.

In: whatever transformers, huggingface_hub or torch raise while a checkpoint is found, fetched, read
or loaded. Out: a `ModelError` whose key says what people can do.
"""

import contextlib
import importlib.util
import pickle
import re
from collections.abc import Iterator

import httpx2  # what huggingface_hub asks with
import huggingface_hub.errors as hub_errors
import torch
from safetensors import SafetensorError

from vlm import memory
from vlm.errors import ModelError, VLMError

CAUSES: dict[tuple[type[Exception], ...], str] = {
    (pickle.UnpicklingError,): "pickled_code",
    (SafetensorError,): "weights_damaged",
    (hub_errors.GatedRepoError,): "hub_gated",  # before the next, whose kind it is
    (hub_errors.RepositoryNotFoundError,): "hub_missing",
    (hub_errors.RemoteEntryNotFoundError,): "hub_file_missing",
    (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled): "hub_unreachable",
    (httpx2.TransportError,): "hub_unreachable",
}
"""What may lie behind an error of transformers, the first that fits -> what people are told."""


@contextlib.contextmanager
def model_errors(source: str) -> Iterator[None]:
    """Turns what libraries raise about a checkpoint into a sentence."""
    try:
        yield
    except VLMError:
        raise
    except Exception as error:  # transformers has no class for what is wrong with a checkpoint
        causes = list(chain(error))
        for kinds, key in CAUSES.items():
            if any(isinstance(each, kinds) for each in causes):
                raise ModelError(key, source=source) from error
        if any(memory.ran_out(each) for each in causes):
            # of weights `vlm.loading` says it itself, with what they need
            free = memory.free_bytes(torch.device("cpu")) / 1e9
            raise ModelError("out_of_memory_loading", source=source, free=free) from error
        if "trust_remote_code" in str(error):
            raise ModelError("needs_own_code", source=source) from error
        if package := next(filter(None, map(_missing_package, causes)), None):
            raise ModelError("package_missing", source=source, package=package) from error
        words = str(error).strip() or "-"
        detail = f"{type(error).__name__}: {words.splitlines()[0][:200]}"
        raise ModelError("cannot_load", source=source, detail=detail) from error


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


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
