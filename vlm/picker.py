"""What a list of models says about each before anything is loaded, and whether it fits.

In: the catalogue, a precision, the memory that is free. Out: a `Row` each. What lies on this
machine is read; of what lies elsewhere only the catalogue's figures are known, and the row says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlm import families
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
        here: whether the files are on this machine.
        verdict: in the precision that was asked for.
    """

    checkpoint: Checkpoint
    disk_bytes: int
    here: bool
    verdict: "Verdict"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of a checkpoint that was read.

    Attributes:
        verdicts: of every precision.
        advice: the largest setting that fits, if any.
        wanted: what was asked for, as far as the model takes it.
    """

    verdicts: "list[Verdict]"
    advice: "Advice | None"
    wanted: "Workload"


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

        Its weights; and what libraries hold since it runs, which every estimate counts anew.
        """
        if slot.state != "ready" or slot.able is None or not slot.able.memory:
            return 0
        from vlm.blueprint import RUNTIME
        from vlm.loading import choose_device

        kind = choose_device(self._settings.device).type
        return sum(slot.able.memory.values()) + RUNTIME.get(kind, RUNTIME["cuda"])

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
        folders = [Path(part) for part in common.parts(checkpoint.source)]
        here = all(folder.exists() for folder in folders)
        if here:
            verdicts = self._judged(checkpoint.source, dtype, freed)
            size = sum(_bytes_below(folder) for folder in folders)
        else:
            verdicts = self._roughly(checkpoint, dtype, freed)
            size = int(checkpoint.parameters * 2e6)
        return Row(
            checkpoint=checkpoint,
            disk_bytes=size,
            here=here,
            verdict=_chosen(verdicts, quantization),
        )

    def _judged(self, source: str, dtype: str, freed: int) -> "list[Verdict]":
        """Without advice, which tries many settings where nothing fits, and takes seconds."""
        from vlm import memory
        from vlm.blueprint import Workload
        from vlm.estimate import judge

        blueprint = self.blueprint(source, dtype)
        return judge(blueprint, Workload(), memory.free_bytes(blueprint.device) + freed)

    def check(self, source: str, dtype: str, freed: int) -> Checked:
        """One checkpoint, read from its files or from the hub.

        Raises:
            ModelError: it cannot be read.
        """
        from vlm import memory
        from vlm.estimate import advise, judge

        blueprint = self.blueprint(source, dtype)
        free, workload = memory.free_bytes(blueprint.device) + freed, Workload()
        return Checked(
            verdicts=judge(blueprint, workload, free),
            advice=advise(blueprint, workload, free),
            wanted=blueprint.fitted(workload),
        )

    def blueprint(self, source: str, dtype: str, tokenizer: str = "") -> "Blueprint":
        """A checkpoint without its weights, read once. Raises ModelError."""
        from vlm.blueprint import read

        key = (source, dtype, tokenizer)
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
    if quantization == "fp4" and "nf4" in by_name:  # other values, as many bits
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


def _bytes_below(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
