"""The local backend as the settings ask for it: what comes before its model, then the model.

In: settings, what is told how far it is, what calls it off. Out: an `Engine`.
"""

import threading

from vlm import families, memory
from vlm.backend import Report
from vlm.blueprint import read
from vlm.download import asking_nobody_in_vain
from vlm.engine import Engine
from vlm.errors import ModelError
from vlm.loading import fetch
from vlm.model_errors import model_errors
from vlm.prequantized import check_stored
from vlm.progress import Watch, watching
from vlm.settings import Settings
from vlm.sources import check_source, look_up
from vlm.workload import Workload


def open_engine(settings: Settings, watch: Watch | None = None) -> Engine:
    """The engine that the settings ask for. Raises ModelError, SettingError."""
    names = ("quantization", "device", "dtype", "tokenizer", "device_map")
    chosen = {name: getattr(settings, name) for name in names}
    return Engine.load(settings.model, **chosen, watch=watch)


def open_backend(settings: Settings, report: Report, cancel: threading.Event) -> Engine:
    """See `vlm.backend.open_backend`."""
    return open_engine(settings, _watch(report, cancel))


def prepare_backend(settings: Settings, report: Report, cancel: threading.Event) -> None:
    """Finds a model, refuses one that this machine can never hold, then fetches its files.

    Raises:
        ModelError: it is not there, cannot be fetched or read, or its weights are larger than all
            the memory there is.
        SettingError: no such device here.
    """
    _, source = look_up(settings.model)
    with (
        model_errors(source),
        watching(_watch(report, cancel)) as watch,
        asking_nobody_in_vain(source),
    ):
        watch.note("open")
        family = families.find(source)
        if family is None:
            check_source(source)
        whole = family is not None and family.inspect is None  # known only from its weights
        if whole:
            fetch(source, watch)
        _check(settings)
        if not whole:
            fetch(source, watch)
        watch.check()


def _check(settings: Settings) -> None:
    """Raises ModelError where a model is larger than all the memory there is, or is quantised in
    another way than is wanted or can be read here."""
    names = ("device", "dtype", "tokenizer")
    blueprint = read(settings.model, **{name: getattr(settings, name) for name in names})
    precisions = blueprint.precisions
    if blueprint.quantization != "none":
        check_stored(blueprint.source, blueprint.quantization, settings.quantization)
    wanted = settings.quantization if settings.quantization in precisions else precisions[-1]
    needed = blueprint.estimate(wanted, Workload(images=0)).weights
    spread = bool(settings.device_map)
    there = (
        memory.everywhere(memory.total_bytes) if spread else memory.total_bytes(blueprint.device)
    )
    if needed > there:
        raise ModelError("too_big", name=blueprint.name, needed=needed / 1e9, there=there / 1e9)


def _watch(report: Report, cancel: threading.Event) -> Watch:
    return Watch(lambda now: report(now.stage, now.current, now.total), cancel)
