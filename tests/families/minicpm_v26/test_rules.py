"""Every rule of weights, positions and prompts matters: break it, and the stored numbers tell."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from tests.families.minicpm_v26 import golden
from tests.support.goldens import Case, Check, tables
from vlm.families.minicpm_v26 import modeling, pictures, processing, resampler, slicing, tower
from vlm.families.minicpm_v26.processing import MiniCPMVProcessor
from vlm.families.minicpm_v26.resampler import MiniCPMVResampler
from vlm.families.minicpm_v26.tower import MiniCPMVVisionModel

Break = Callable[[pytest.MonkeyPatch], None]


def run(case: Case) -> Check:
    check = Check(case)
    golden.run(replace(case), check)
    return check


def run_tables(word: str) -> list[str]:
    """The rows of the tables with a word in their name that were missed."""
    missed: list[str] = []
    found = [t for t in tables() if t.family == "minicpm_v26" and word in t.file.name]
    for table in found:
        check = Check(table)
        golden.run_table(table, check)
        missed += check.missed
    assert found
    return missed


# ---- what each broken rule would do ----


def transposed_projection(patch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, hidden: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        broken = nn.Module.__new__(type(self))
        broken.__dict__ = {**self.__dict__, "_parameters": dict(self._parameters)}
        broken._parameters["proj"] = nn.Parameter(self.proj.T)
        return right(broken, hidden, sizes)

    right = MiniCPMVResampler.forward
    patch.setattr(MiniCPMVResampler, "forward", forward)


def with_positions(change: Callable[[torch.Tensor], torch.Tensor]) -> Break:
    """The resampler's positions (pictures, patches, width) changed."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        right = resampler.grid_positions
        patch.setattr(resampler, "grid_positions", lambda *given: change(right(*given)))

    return broken


def halves_swapped(positions: torch.Tensor) -> torch.Tensor:
    return torch.cat(positions.chunk(2, dim=-1)[::-1], dim=-1)


def cosines_first(positions: torch.Tensor) -> torch.Tensor:
    parts = positions.chunk(4, dim=-1)
    return torch.cat([parts[1], parts[0], parts[3], parts[2]], dim=-1)


def interleaved(positions: torch.Tensor) -> torch.Tensor:
    halves = [half.unflatten(-1, (2, -1)).mT.flatten(-2) for half in positions.chunk(2, dim=-1)]
    return torch.cat(halves, dim=-1)


def attention(change: Callable[..., tuple[Any, ...]]) -> Break:
    """Queries, keys, values and the mask of the resampler's attention changed."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        class Changed(nn.MultiheadAttention):
            pass

        right = nn.MultiheadAttention.forward

        def forward(self: Any, query: Any, key: Any, value: Any, **settings: Any) -> Any:
            mask = settings.pop("key_padding_mask")
            query, key, value, mask = change(query, key, value, mask)
            return right(self, query, key, value, key_padding_mask=mask, **settings)

        patch.setattr(nn.MultiheadAttention, "forward", forward)

    return broken


def packed_in_another_order(patch: pytest.MonkeyPatch) -> None:
    right = nn.MultiheadAttention.forward

    def forward(self: Any, *given: Any, **settings: Any) -> Any:
        before = self.in_proj_weight
        query, key, value = before.chunk(3)
        self.in_proj_weight = nn.Parameter(torch.cat([key, query, value]))
        try:
            return right(self, *given, **settings)
        finally:
            self.in_proj_weight = before

    patch.setattr(nn.MultiheadAttention, "forward", forward)


def tower_without_a_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tower, "create_bidirectional_mask", lambda **_: None)


def tower_without_its_last_norm(patch: pytest.MonkeyPatch) -> None:
    right = MiniCPMVVisionModel.forward

    def forward(self: Any, *given: Any, **settings: Any) -> Any:
        norm = self.post_layernorm
        self.post_layernorm = nn.Identity()
        try:
            return right(self, *given, **settings)
        finally:
            self.post_layernorm = norm

    patch.setattr(MiniCPMVVisionModel, "forward", forward)


def rows_and_columns_of_places_swapped(patch: pytest.MonkeyPatch) -> None:
    right = tower.PatchPositions.forward

    def forward(self: Any, sizes: Any, length: int, device: torch.device) -> torch.Tensor:
        ids = right(self, sizes, length, device)
        return ids % self.side * self.side + ids // self.side

    patch.setattr(tower.PatchPositions, "forward", forward)


def every_word_attended_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MiniCPMVProcessor, "attended", lambda self, ids, **_: [1] * len(ids))


def positions(change: Callable[[torch.Tensor], torch.Tensor]) -> Break:
    """Positions that follow from the attention mask (batch, tokens) in another way."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(modeling, "attended_positions", change)

    return broken


def strips_of_columns(patch: pytest.MonkeyPatch) -> None:
    def broken(pixels: numpy.ndarray, side: int) -> numpy.ndarray:
        channels, height, width = pixels.shape
        blocks = pixels.reshape(channels, height // side, side, width // side, side)
        return blocks.transpose(0, 2, 3, 1, 4).reshape(channels, side, -1)

    patch.setattr(pictures, "strip", broken)


def prompt(change: Callable[[str], str]) -> Break:
    def broken(patch: pytest.MonkeyPatch) -> None:
        right = processing.image_text
        patch.setattr(processing, "image_text", lambda *given: change(right(*given)))

    return broken


def numbers_from_one(patch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> str:
        before, *others = text.split(processing.MARK)
        pieces = [f"<image_id>{n + 1}</image_id>{processing.MARK}" for n in range(len(others))]
        return before + "".join(a + b for a, b in zip(pieces, others, strict=True))

    patch.setattr(processing, "numbered", broken)


def no_numbers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(processing, "numbered", lambda text: text)


BROKEN: dict[str, Break] = {
    "proj transposed": transposed_projection,
    "row before column": with_positions(halves_swapped),
    "cosines before sines": with_positions(cosines_first),
    "sines and cosines in turn": with_positions(interleaved),
    "no positions in the resampler": with_positions(torch.zeros_like),
    "values with positions": attention(lambda q, k, v, mask: (q, k, k, mask)),
    "keys without positions": attention(lambda q, k, v, mask: (q, v, v, mask)),
    "padding seen by the resampler": attention(lambda q, k, v, mask: (q, k, v, None)),
    "keys before queries": packed_in_another_order,
    "padding seen by the tower": tower_without_a_mask,
    "no norm after the tower": tower_without_its_last_norm,
    "places of patches transposed": rows_and_columns_of_places_swapped,
    "every word attended to": every_word_attended_to,
    "padding at position 0": positions(
        lambda mask: (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 0)
    ),
    "what is masked is counted": positions(lambda mask: torch.ones_like(mask).cumsum(-1) - 1),
    "strips of columns": strips_of_columns,
    "a line break before the first slice": prompt(
        lambda text: text.replace("><slice", ">\n<slice")
    ),
    "a line break after the last row": prompt(lambda text: text + "\n"),
    "no line break between rows": prompt(lambda text: text.replace("\n", "")),
    "numbers from one": numbers_from_one,
    "no numbers": no_numbers,
}


def test_unbroken_rules_meet_the_stored_numbers(stored: Case) -> None:
    assert run(stored).missed == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told(name: str, stored: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[name](monkeypatch)
    assert run(stored).missed


def test_rules_of_order_are_told_by_the_numbers_not_only_the_tokens(
    stored: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_word_attended_to(monkeypatch)
    missed = run(stored).missed
    assert {"attention_mask", "position_ids_llm", "prefill_logits", "step_logits"} <= set(missed)
    assert "inputs_embeds" not in missed


# ---- tables ----


def in_double(patches: int, side: int) -> numpy.ndarray:
    """As if the step were not rounded to float32."""
    places = torch.arange(0, 1 - 1e-6, 1 / patches, dtype=torch.float32)
    borders = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32)
    return torch.bucketize(places, borders, right=True).numpy()


def exact(patches: int, side: int) -> numpy.ndarray:
    """As if places were worked out in whole numbers."""
    return numpy.array([at * side // patches for at in range(patches)])


def right_closed(patches: int, side: int) -> numpy.ndarray:
    """As if a patch on a border belonged to the place before."""
    step = float(numpy.float32(1) / numpy.float32(patches))
    places = torch.arange(0, 1 - 1e-6, step, dtype=torch.float32)
    borders = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32)
    return torch.bucketize(places, borders, right=False).numpy()


@pytest.mark.parametrize("broken", [in_double, exact, right_closed])
def test_places_in_another_way_are_told(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_tables("position_ids") == []
    monkeypatch.setattr(golden, "buckets", broken)
    assert run_tables("position_ids")


def test_a_step_in_double_moves_patches_in_pictures_of_common_sizes() -> None:
    moved = [m for m in range(1, 101) if (in_double(m, 70) != tower.buckets(m, 70)).any()]
    assert moved == [25, 49, 50, 55, 58, 82, 86, 94, 95, 98, 100]


@pytest.mark.parametrize("change", [halves_swapped, cosines_first, interleaved])
def test_positions_in_another_order_are_told(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_tables("pos_embed") == []
    right = golden.grid_positions
    monkeypatch.setattr(golden, "grid_positions", lambda *given: change(right(*given)))
    assert run_tables("pos_embed")


choose_grid, fitted = slicing.choose_grid, slicing.fitted


def last_of_equals(size: Any, scale: int, most: int) -> Any:
    """As if the last of equally near grids were taken."""
    shape = math.log(size[0] / size[1])
    wanted = min(math.ceil(size[0] * size[1] / scale**2), most)
    counts = [count for count in (wanted - 1, wanted, wanted + 1) if 1 < count <= most]
    grids = [(m, k // m) for k in counts for m in range(1, k + 1) if k % m == 0]
    near = [abs(shape - math.log(columns / rows)) for columns, rows in grids]
    best = [grid for grid, gap in zip(grids, near, strict=True) if gap == min(near)]
    return best[-1] if wanted > 1 else None


def one_slice_counts(size: Any, scale: int, most: int) -> Any:
    """As if a single slice were a grid, too."""
    return choose_grid(size, scale, most) or (1, 1)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("choose_grid", last_of_equals),
        ("choose_grid", one_slice_counts),
        ("choose_grid", lambda size, scale, most: choose_grid(size[::-1], scale, most)),
        (
            "nearest_multiple",
            lambda length, step: max(math.floor(length / step + 0.5) * step, step),
        ),
        ("nearest_multiple", lambda length, step: max(math.floor(length / step) * step, step)),
        (
            "fitted",
            lambda size, scale, patch, enlarge: fitted(size, scale, patch, enlarge=False),
        ),
    ],
)
def test_slices_in_another_way_are_told(
    name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_tables("slicing") == []
    monkeypatch.setattr(slicing, name, broken)
    assert run_tables("slicing")
