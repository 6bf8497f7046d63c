"""What a list of models says about each before anything is loaded, and whether it fits.

In: the catalogue, a precision, the memory that is free. Out: a `Row` each. What lies on this
machine is read; of what lies elsewhere only the catalogue's figures are known, and the row says so.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from vlm import families, measured
from vlm.families import Checkpoint, common
from vlm.workload import Workload

if TYPE_CHECKING:
    from vlm.blueprint import Blueprint
    from vlm.estimate import Advice, Verdict
    from vlm.model_slot import ModelSlot
    from vlm.settings import Settings

LOADING_ERRORS = ("too_big", "out_of_memory_weights", "out_of_memory_loading")
"""Errors of loading that fewer bits or a smaller model may mend."""
FEWER_BITS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("none", "bf16", "fp16", "fp32"), ("int8", "nf4")),
    "int8": ("nf4",),
}
"""Precision that was too large -> those that a model can be loaded in instead."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A checkpoint in the list.

    Attributes:
        checkpoint: facts of the catalogue.
        disk_bytes: of its files: here, or as large as its parameters in 16 bits.
        here: whether the files are on this machine: in a folder, or in the hub's cache.
        verdict: in the precision that was asked for.
        agreement: "int8", "nf4" or "fp4" -> share of tokens that stay the same, where it was
            measured: on this machine, or by whoever wrote the catalogue.
    """

    checkpoint: Checkpoint
    disk_bytes: int
    here: bool
    verdict: "Verdict"
    agreement: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of a checkpoint that was read.

    Attributes:
        verdicts: of every precision.
        advice: the largest setting that fits, if any.
        wanted: what was asked for, as far as the model takes it.
        agreement: as of a `Row`.
    """

    verdicts: "list[Verdict]"
    advice: "Advice | None"
    wanted: "Workload"
    agreement: Mapping[str, float]


class Picker:
    """Judges checkpoints for the memory of this machine; remembers what it has read.

    Args:
        settings: device and number type that models are loaded with.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._blueprints: dict[tuple[str, str, str], Blueprint] = {}
        self.asked = False
        """Whether anybody has asked for the list."""

    def freed(self, slot: "ModelSlot") -> int:
        """Bytes that another model could take besides those that are free, as the one here goes.

        Its weights, what is kept of its answers, and what libraries hold since it runs, which every
        estimate counts anew.
        """
        if slot.state != "ready" or slot.able is None or not slot.able.memory:
            return 0
        from vlm.blueprint import RUNTIME
        from vlm.loading import choose_device

        kind = choose_device(self._settings.device).type
        held = slot.held()
        kept = held.besides["states"] + held.besides["features"] if held else 0
        return sum(slot.able.memory.values()) + kept + RUNTIME.get(kind, RUNTIME["cuda"])

    def rows(self, quantization: str, dtype: str, freed: int) -> list[Row]:
        """The catalogue.

        Args:
            quantization: "auto", "none", "int8" or "nf4".
            dtype: of what is not quantised, or "auto".
            freed: see the method of that name.
        """
        self.asked = True
        return [self._row(each, quantization, dtype, freed) for each in families.catalogue()]

    def _row(self, checkpoint: Checkpoint, quantization: str, dtype: str, freed: int) -> Row:
        source = checkpoint.source
        kept = [common.kept_folder(part) for part in common.parts(source)]
        folders = [folder for folder in kept if folder is not None]
        here = len(folders) == len(kept)
        # To read what only the hub's cache holds takes seconds: it is asked for by `check`.
        read = Path(source).exists() or (source, dtype, "") in self._blueprints
        judged = self._judged if read else self._roughly
        size = sum(map(_bytes_below, folders)) if here else int(checkpoint.parameters * 2e6)
        return Row(
            checkpoint=checkpoint,
            disk_bytes=size,
            here=here,
            verdict=_chosen(judged(checkpoint, dtype, freed), quantization),
            agreement={**checkpoint.agreement, **measured.agreement(source)},
        )

    def _judged(self, checkpoint: Checkpoint, dtype: str, freed: int) -> "list[Verdict]":
        """Without advice, which tries many settings where nothing fits, and takes seconds."""
        from vlm import memory
        from vlm.blueprint import Workload
        from vlm.estimate import judge

        blueprint = self.blueprint(checkpoint.source, dtype)
        return judge(blueprint, Workload(), memory.free_bytes(blueprint.device) + freed)

    def check(self, source: str, dtype: str, freed: int) -> Checked:
        """One checkpoint, read from its files or from the hub.

        Raises:
            ModelError: it cannot be read.
        """
        from vlm import memory
        from vlm.estimate import advise, judge

        blueprint, known = self.blueprint(source, dtype), families.look_up(source)
        published = known.agreement if known else {}
        free, workload = memory.free_bytes(blueprint.device) + freed, Workload()
        return Checked(
            verdicts=judge(blueprint, workload, free),
            advice=advise(blueprint, workload, free),
            wanted=blueprint.fitted(workload),
            agreement={**published, **measured.agreement(blueprint.source)},
        )

    def blueprint(self, source: str, dtype: str, tokenizer: str = "") -> "Blueprint":
        """A checkpoint without its weights, read once. Raises ModelError."""
        from vlm.blueprint import read

        known = families.look_up(source)
        key = (known.source if known else source, dtype, tokenizer)
        if key not in self._blueprints:
            self._blueprints[key] = read(
                source, device=self._settings.device, dtype=dtype, tokenizer=tokenizer
            )
        return self._blueprints[key]

    def _roughly(self, checkpoint: Checkpoint, dtype: str, freed: int) -> "list[Verdict]":
        from vlm import memory
        from vlm.estimate import roughly
        from vlm.loading import choose_device, choose_dtype

        device = choose_device(self._settings.device)
        free = memory.free_bytes(device) + freed
        return roughly(checkpoint.parameters, choose_dtype(dtype, device), device, free)


def _chosen(verdicts: "list[Verdict]", quantization: str) -> "Verdict":
    """The verdict of a precision; with "auto" of the first that fits, or else of the last."""
    by_name: Mapping[str, Verdict] = {each.quantization: each for each in verdicts}
    if quantization == "fp4" and {"none", "nf4"} <= by_name.keys():  # other values, as many bits
        like = by_name["nf4"]
        return replace(like, quantization="fp4", estimate=replace(like.estimate, precision="fp4"))
    if quantization in by_name:
        return by_name[quantization]
    return next((each for each in verdicts if each.kind != "too_big"), verdicts[-1])


def largest_that_fits(rows: Sequence[Row], below: float = math.inf) -> Row | None:
    """The row with the most parameters of those that fit; fewer than so many millions."""
    fitting = [row for row in rows if row.verdict.kind == "fits"]
    fewer = [row for row in fitting if row.checkpoint.parameters < below]
    return max(fewer, key=lambda row: row.checkpoint.parameters, default=None)


def found(rows: Sequence[Row], text: str) -> list[Row]:
    """The rows of the list that somebody looks for, by title, family or hub id in any spelling.

    Capitals and signs do not count, and words may stand in any order: "name 1.5" finds Name-V1-5.
    Where no row has all the words, those that look most like them are found, and maybe none.
    """
    words = [_plain(word) for word in re.split(r"[\s/_-]+", text)]
    every = [row for row in rows if all(word in _spelled(row.checkpoint) for word in words)]
    return every or closest(text, rows, 3)


def _spelled(checkpoint: Checkpoint) -> str:
    """Title and name without capitals and signs, to be looked for in."""
    owner = checkpoint.name.rpartition("/")[0]
    return " ".join(map(_plain, (owner, checkpoint.name, checkpoint.title)))


def closest(name: str, rows: Sequence[Row], count: int = 2) -> list[Row]:
    """The rows of the list whose names look most like one that was typed; the best first."""
    titles: dict[str, Row] = {}
    for row in rows:
        for each in (row.checkpoint.name, row.checkpoint.title):
            titles[_plain(each)] = row
    found = [titles[each] for each in get_close_matches(_plain(name), titles, 2 * count, 0.7)]
    return list({row.checkpoint.name: row for row in found}.values())[:count]


def _plain(name: str) -> str:
    """A name without its owner, capitals and signs between words."""
    return re.sub(r"[\W_]+", "", name.rpartition("/")[2].lower())


def _bytes_below(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
