"""Pictures that explain a family are drawn from its own code and tables."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from tests.support.fakes import photo
from vlm import families
from vlm.inspection import Figure
from vlm.loading import load
from vlm.messages import user_message
from vlm.unweighted import open_unweighted


def figures(name: str, size: tuple[int, int] = (600, 400)) -> dict[str, Figure]:
    """Of a published configuration."""
    found = open_unweighted(name).inspect([user_message("", [photo(size=size)])])
    return {each.name: each for each in found.figures}


@pytest.mark.parametrize(
    ("name", "side"), [("pocket", 8), ("OpenGVLab/Mini-InternVL-Chat-2B-V1-5", 32)]
)
def test_the_shuffle_gathers_blocks_of_neighbours_row_by_row(name: str, side: int) -> None:
    owner = figures(name)["gathered"].array
    half = side // 2
    blocks = numpy.arange(half * half).reshape(half, half).repeat(2, 0).repeat(2, 1)
    assert owner.tolist() == blocks.tolist()


def test_the_first_version_leaves_tokens_column_by_column() -> None:
    from vlm.families.internvl15 import published
    from vlm.families.internvl15.figures import _gathered
    from vlm.families.internvl15.modeling import PixelShuffle

    config = published.configuration("OpenGVLab/Mini-InternVL-Chat-2B-V1-5")
    config.ps_version = "v1"
    owner = _gathered(PixelShuffle(config), 4).array
    assert owner.tolist() == [[0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 3, 3], [1, 1, 3, 3]]


def test_positions_of_the_big_table_are_spread_evenly_and_the_same_each_time() -> None:
    first, again = (figures("openbmb/MiniCPM-V-2_6")["buckets"] for _ in range(2))
    assert first.array.shape == (70, 70)
    assert first.array.tolist() == again.array.tolist()
    found = open_unweighted("openbmb/MiniCPM-V-2_6").inspect(
        [user_message("", [photo(size=(600, 400))])]
    )
    sizes = next(stage.array for stage in found.stages if stage.name == "tgt_sizes")
    assert first.facts["patches"] == first.array.sum() == sizes.prod(1).sum()  # and no padding
    assert first.facts["used"] == (first.array > 0).sum() < first.facts["places"] == 4900
    small = figures("openbmb/MiniCPM-V-2_6", size=(448, 448))["buckets"].array
    rows = numpy.flatnonzero(small.sum(1))
    assert len(rows) == 32 == len(numpy.flatnonzero(small.sum(0)))
    assert set(numpy.diff(rows)) == {2, 3}  # 70 places for 32 rows: every second or third
    assert small.max() == 1


@pytest.fixture
def tiny_model(tmp_path: Path) -> Any:
    family = families.families()["internvl15"]
    source = family.tiny(tmp_path)
    return load(source, quantization="none", device="cpu", dtype="float32").model


def test_a_table_that_fits_is_used_as_it_is_stored(tiny_model: Any) -> None:
    from vlm.families.internvl15.figures import draw

    found = {each.name: each.array for each in draw(tiny_model)}
    table = tiny_model.model.vision_tower.embeddings.position_embeddings.detach()
    assert found["positions"].reshape(-1, 32).tolist() == table[0, 1:].tolist()
    assert found["positions_used"].tolist() == found["positions"].tolist()


def test_a_table_of_another_size_is_drawn_before_and_after(tiny_model: Any) -> None:
    from vlm.families.internvl15.figures import draw
    from vlm.families.internvl15.modeling import resized_table

    tiny_model.config.force_image_size = 56
    found = {each.name: each for each in draw(tiny_model)}
    table = tiny_model.model.vision_tower.embeddings.position_embeddings.detach()
    assert found["positions"].array.shape == (4, 4, 32)
    assert found["positions_used"].array.shape == (8, 8, 32)
    expected = resized_table(table, 8, 8)[0, 1:].reshape(8, 8, 32)
    torch.testing.assert_close(torch.from_numpy(found["positions_used"].array), expected)
    assert dict(found["positions_used"].facts) == {"side": 8, "stored": 4}
