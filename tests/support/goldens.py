"""Golden vectors: where they lie, what a run is compared with, and how far off it may be.

A root holds `<family>/<case>/case.json` with `expected.safetensors`, tables under
`<family>_preprocess/` and `<family>/_tables/`, and `<family>/cases.json` for several cases that
share their files. A family's `tests/families/<family>/golden.py` runs them: `run(case, check)` and,
where it has tables, `run_table(table, check)`. Nothing here knows a case by name.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image as pillow
from safetensors import safe_open
from torch import Tensor

from vlm.backend import Stage
from vlm.loading import Loaded, load
from vlm.trace import trace

DEFAULT_ROOT = Path(__file__).parents[1] / "goldens"
CHECKPOINTS = sorted(DEFAULT_ROOT.glob("*/*/checkpoint"))
"""Those that lie here, each with a tokenizer."""

EXACT = (0.0, 0.0)
TOLERANCES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    # family: kind of quantity: (absolute, relative)
    "internvl15": {"pixels": (1e-5, 0), "features": (1e-4, 1e-4), "logits": (1e-3, 0)},
    "clip_qwen": {"pixels": (1e-5, 0), "features": (1e-4, 1e-4), "logits": (3e-3, 0)},
    "minimind_v": {"pixels": (1e-6, 0), "features": (5e-5, 0), "logits": (2e-4, 1e-4)},
    "minicpm_v26": {"pixels": (1e-6, 0), "features": (5e-5, 0), "logits": (2e-4, 1e-4)},
    "paligemma": {"pixels": (1e-6, 0), "features": (5e-5, 0), "logits": (2e-4, 1e-4)},
    "pocket": {
        "pixel_sum": (1e-2, 0),
        "tower": (2e-2, 0),
        "projector": (2e-3, 0),
        "logits": (2e-2, 0),
    },
}
"""As the README of the goldens has them. What is counted (ids, grids, positions) is exact."""

KINDS = {
    **dict.fromkeys(
        ["input_ids", "attention_mask", "position_ids", "position_ids_llm", "generated_ids"],
        "exact",
    ),
    **dict.fromkeys(["tgt_sizes", "vision_position_ids", "image_bound"], "exact"),
    **dict.fromkeys(["pixel_values", "pixel_values_u8"], "pixels"),
    **dict.fromkeys(
        ["vision_hidden_selected", "vision_last_hidden_state", "vision_features"], "features"
    ),
    **dict.fromkeys(["vision_tower_out", "patch_features", "pixel_shuffled"], "features"),
    **dict.fromkeys(["projector_output", "projector_out", "resampler_out"], "features"),
    **dict.fromkeys(["inputs_embeds", "merged_embeds_before_sqrt_hidden"], "features"),
    **dict.fromkeys(["prefill_logits", "prefill_logits_last32", "step_logits"], "logits"),
    # stands in for the logits where these would be large
    "final_hidden_prefill": "logits",
    # pocket's own
    "pixel_sum": "pixel_sum",
    "tower": "tower",
    "projector": "projector",
    "first_logits": "logits",
}
"""Name of a stored tensor, without the run before it and the number after it -> its kind."""


# ---- what is there ----


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run of a published system, stored.

    Attributes:
        family: the folder of the family, under `vlm/families`.
        name: `<family>/<case>`, for people.
        folder: with `checkpoint/` and `images/`.
        data: what case.json says.
        blank: whether its pictures are replaced by black ones.
        mine: beginnings of the names of its tensors, in a file that several cases share.
    """

    family: str
    name: str
    folder: Path
    data: Mapping[str, Any]
    blank: bool = False
    mine: tuple[str, ...] = ("",)

    @cached_property
    def expected(self) -> Mapping[str, Tensor]:
        """Every stored tensor by name."""
        with safe_open(self.folder / "expected.safetensors", framework="pt") as file:
            return {
                name: file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - this is no mapping
                if name.startswith(self.mine)
            }

    @cached_property
    def has_images(self) -> bool:
        """Whether anything in it is about a picture."""
        return bool(list(self.folder.glob("images/*"))) or bool(self.data.get("images"))

    def picture(self, file: str) -> pillow.Image:
        """One of its pictures, by its name with or without the folder, in its own mode."""
        path = next(
            each for each in (self.folder / "images" / file, self.folder / file) if each.is_file()
        )
        with pillow.open(path) as opened:
            opened.load()
        return pillow.new(opened.mode, opened.size) if self.blank else opened

    def load(self) -> Loaded:
        """The model and processor of its checkpoint, in float32 on the CPU."""
        return load_once(str(self.folder / "checkpoint"))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of inputs and what becomes of them.

    Attributes:
        family: the folder of the family.
        name: `<folder>/<file>`, for people.
        file: JSON, or safetensors; `case.json` goes with the `expected.safetensors` beside it.
    """

    family: str
    name: str
    file: Path

    @cached_property
    def data(self) -> Any:
        """What a JSON file says; None for tensors."""
        if self.file.suffix != ".json":
            return None
        return json.loads(self.file.read_text(encoding="utf-8"))

    @cached_property
    def expected(self) -> Mapping[str, Tensor]:
        """The tensors of the file, or of the one that goes with it; empty where there are none."""
        file = self.file
        if file.name == "case.json":
            file = file.with_name("expected.safetensors")
        if file.suffix != ".safetensors":
            return {}
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    @property
    def rows(self) -> int:
        """How many comparisons it takes at least: one a tensor and one a row of each list."""
        if not isinstance(self.data, dict):
            return max(len(self.expected), 1)
        lists = [len(each) for key, each in self.data.items() if "rows" in key]
        return max(len(self.expected) + sum(lists), 1)


@lru_cache(maxsize=2)
def load_once(source: str) -> Loaded:
    """A checkpoint in float32 on the CPU; the last two are kept."""
    return load(source, quantization="none", device="cpu", dtype="float32")


def roots() -> list[Path]:
    """The folders of goldens: `VLM_GOLDENS`, or those of this repository."""
    named = os.environ.get("VLM_GOLDENS")
    paths = [Path(each).resolve() for each in (named or "").split(os.pathsep) if each]
    return paths or [DEFAULT_ROOT]


def _named(root: Path, path: str) -> str:
    """A name for people; where there are several roots it begins with the root's."""
    return path if len(roots()) == 1 else f"{root.parent.name}/{root.name}:{path}"


def cases(places: Sequence[Path] = ()) -> Iterator[Case]:
    """Every case under every root, or under some places."""
    for root in places or roots():
        assert root.is_dir(), f"VLM_GOLDENS names {root}, which is no folder"
        for file in sorted(root.glob("*/*/case.json")):
            family, name = file.parts[-3:-1]
            yield Case(
                family=family,
                name=_named(root, f"{family}/{name}"),
                folder=file.parent,
                data=json.loads(file.read_text(encoding="utf-8")),
            )
        for file in sorted(root.glob("*/cases.json")):
            family = file.parent.name
            for name, data in json.loads(file.read_text(encoding="utf-8")).items():
                pictures = (Path(each).stem for each in data.get("images", ()))
                yield Case(
                    family=family,
                    name=_named(root, f"{family}/{name}"),
                    folder=file.parent,
                    data=data,
                    mine=tuple(f"{each}." for each in (name, *pictures)),
                )


def tables() -> Iterator[Table]:
    """Every table under every root."""
    for root in roots():
        files = [*root.glob("*_preprocess/*"), *root.glob("*/_tables/*")]
        for file in sorted(files):
            beside = file.with_name("case.json").exists() and file.name == "expected.safetensors"
            if file.suffix not in (".json", ".safetensors") or beside:
                continue
            folder = file.parent
            family = folder.parent if folder.name == "_tables" else folder
            yield Table(
                family=family.name.removesuffix("_preprocess"),
                name=_named(root, file.relative_to(root).as_posix()),
                file=file,
            )


# ---- how a run compares ----


@dataclass(frozen=True)
class Row:
    """One comparison: `difference` is the largest one, infinite where the shapes differ."""

    stage: str
    kind: str
    difference: float
    tolerance: tuple[float, float]
    ok: bool


@dataclass
class Check:
    """Collects the comparisons of one case or table.

    A stage that a family cannot show is simply never compared, and `uncompared` names it.
    """

    case: Case | Table
    found: list[Row] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)

    def stored(self, name: str, got: Any, where: Any = None) -> None:
        """Compares with the stored tensor of this name, in the kind that its name says.

        Args:
            name: of a tensor in expected.safetensors.
            got: of the same shape.
            where: True for the rows that mean something, in the shape of the first axes.
        """
        self.compared.add(name)
        kind = KINDS[base_name(name)]
        self.close(name, got, self.case.expected[name], kind, where)

    def close(self, stage: str, got: Any, expected: Any, kind: str, where: Any = None) -> None:
        """Compares numbers within the tolerance of a kind: exact, pixels, features, logits."""
        tolerance = EXACT if kind == "exact" else TOLERANCES[self.case.family][kind]
        left, right = _numbers(got), _numbers(expected)
        if left.shape != right.shape:
            stage = f"{stage} {left.shape} for {right.shape}"
            self.found.append(Row(stage, kind, float("inf"), tolerance, False))
            return
        if where is not None:
            left, right = left[_numbers(where) != 0], right[_numbers(where) != 0]
        gap = numpy.abs(left - right)
        ok = bool((gap <= tolerance[0] + tolerance[1] * numpy.abs(right)).all())  # NaN: False
        worst = float(gap.max(initial=0)) if not numpy.isnan(gap).any() else float("nan")
        self.found.append(Row(stage, kind, worst, tolerance, ok))

    def equal(self, stage: str, got: object, expected: object, kind: str = "exact") -> None:
        """Compares texts, counts and lists of whole numbers: the same or not."""
        same = got == expected
        self.found.append(Row(stage, kind, 0.0 if same else float("inf"), EXACT, same))

    def pixels(
        self,
        name: str,
        got: Any,
        sha256: str | None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        divides: bool = False,
    ) -> None:
        """Compares normalised pixels with whole numbers from 0 to 255 and what follows from them.

        Args:
            name: of the stored uint8 tensor, which may be absent.
            got: (..., channels, height, width), float32.
            sha256: of the float32 numbers that the whole ones stand for; None to leave it out.
            mean, std: of each channel.
            divides: whether the formula is (u8 / 255) in float32, and not float32(u8 * (1 / 255)).
        """
        ours = torch.as_tensor(got, dtype=torch.float32)
        middle, spread = (torch.tensor(each).view(-1, 1, 1) for each in (mean, std))
        whole = ((ours * spread + middle) * 255).round().clamp(0, 255).to(torch.uint8)
        scaled = whole.float() / 255 if divides else (whole.double() * (1 / 255)).float()
        again = (scaled - middle) / spread
        self.close(f"{name} (float)", ours, again, "pixels")
        if name in self.case.expected:
            self.compared.add(name)
            stored = self.case.expected[name]
            self.equal(name, whole.reshape(stored.shape).tolist(), stored.tolist(), "pixels")
        if sha256 is not None:
            digest = hashlib.sha256(again.numpy().tobytes()).hexdigest()
            self.equal(f"{name} (sha256)", digest, sha256, "pixels")

    @property
    def uncompared(self) -> list[str]:
        """Stored tensors that nothing was compared with."""
        return sorted(self.case.expected.keys() - self.compared)

    @property
    def missed(self) -> list[str]:
        """Stages further off than they may be."""
        return [row.stage for row in self.found if not row.ok]

    def missed_kinds(self) -> set[str]:
        """The kinds of quantities of which one is further off than it may be."""
        return {row.kind for row in self.found if not row.ok}

    def report(self) -> str:
        """A line for each comparison: case, stage, largest difference, tolerance."""
        return "\n".join(
            f"{self.case.name}  {row.stage:40}  {row.difference:9.2e}  "
            f"atol {row.tolerance[0]:g} rtol {row.tolerance[1]:g}  {'ok' if row.ok else 'MISSED'}"
            for row in self.found
        )


def base_name(tensor: str) -> str:
    """ "run1.pixel_values" and "pixel_values.1" -> "pixel_values"."""
    return next(part for part in tensor.split(".") if part in KINDS)


def _numbers(value: Any) -> numpy.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    array = numpy.asarray(value)
    return array.astype(numpy.float64 if array.dtype.kind == "f" else numpy.int64)


# ---- running a model ----


def stages(loaded: Loaded, inputs: Mapping[str, Any]) -> dict[str, numpy.ndarray]:
    """The stages of one prompt by name, from one run."""
    assert loaded.family is not None, "no family recognised this checkpoint"
    found: list[Stage] = trace(loaded.model, inputs, loaded.family.stages)
    return {stage.name: stage.array for stage in found}


@torch.inference_mode()
def greedy(loaded: Loaded, inputs: Mapping[str, Any], **settings: Any) -> tuple[Tensor, Tensor]:
    """(new ids (batch, steps), logits (batch, steps, words)) of taking the likeliest token.

    Args:
        inputs: of one prompt or a batch.
        **settings: of `generate`: max_new_tokens, eos_token_id.
    """
    out = loaded.model.generate(
        **inputs, do_sample=False, return_dict_in_generate=True, output_logits=True, **settings
    )
    logits = torch.stack(out.logits, dim=1)  # (batch, steps, words)
    return out.sequences[:, -logits.shape[1] :], logits
