"""The 4-bit base is taken from GGUF without changing a number."""

from pathlib import Path

import numpy
import pytest
import torch

from vlm.families.pocket import CHECKPOINTS, weights

gguf = pytest.importorskip("gguf")
pack = pytest.importorskip("vlm.families.pocket.pack")


def test_blocks_mean_what_gguf_means() -> None:
    kind = gguf.GGMLQuantizationType.Q4_1
    rows = numpy.random.default_rng(0).normal(size=(6, 96)).astype(numpy.float32)
    data = gguf.quants.quantize(rows, kind)  # (6, 60), uint8
    ours = weights.dequantize(*pack.split_blocks(torch.from_numpy(data)))
    assert torch.equal(ours, torch.from_numpy(gguf.quants.dequantize(data, kind)))


def test_rows_of_a_head_are_restored() -> None:
    stored = torch.tensor([0, 2, 1, 3, 4, 6, 5, 7]).unsqueeze(1)  # two heads of four rows
    assert pack.restore_rows(stored, heads=2).squeeze(1).tolist() == list(range(8))


def test_embedded_files_can_be_kept_in_git() -> None:
    sizes = [file.stat().st_size for file in Path(CHECKPOINTS[0].source).iterdir()]
    assert max(sizes) < 50e6
    assert sum(sizes) < 150e6
