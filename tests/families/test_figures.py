"""Pictures that explain a family are drawn from its own code and tables."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from tests.support.fakes import photo
from vlm import families
from vlm.families.common import stored_positions
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


# ---- CLIP + Qwen, MiniMind-V ----


@pytest.mark.parametrize(
    ("name", "class_rows"), [("clip_qwen", 1), ("minimind_v", 1), ("paligemma", 0)]
)
def test_the_towers_table_is_drawn_as_its_grid(tmp_path: Path, name: str, class_rows: int) -> None:
    family = families.families()[name]
    model: Any = load(
        family.tiny(tmp_path), quantization="none", device="cpu", dtype="float32"
    ).model
    drawn = {each.name: each for each in family.figures(model, ())}["positions"]
    table = model.model.vision_tower.embeddings.position_embedding.weight.detach()
    side = drawn.facts["stored"]
    assert side == drawn.facts["side"]
    assert side**2 == len(table) - class_rows > 1
    assert drawn.array.tolist() == table[class_rows:].reshape(side, side, -1).tolist()


def test_a_table_without_a_class_token_is_drawn_whole() -> None:
    table = torch.arange(12.0).reshape(4, 3)
    (drawn,) = stored_positions(table, 2)
    assert drawn.array.tolist() == table.reshape(2, 2, 3).tolist()
    assert dict(drawn.facts) == {"stored": 2, "side": 2}


@pytest.mark.parametrize(
    ("side", "line"), [(2, [0, 1]), (4, [0, 0, 1, 1]), (3, [0, 1, 1]), (1, [1])]
)
def test_without_weights_it_is_told_which_places_patches_lie_over(
    side: int, line: list[int]
) -> None:
    (drawn,) = stored_positions(torch.empty(5, 3, device="meta"), side, before=1)
    assert drawn.name == "table"
    assert dict(drawn.facts) == {"stored": 2, "side": side}
    assert drawn.array.tolist() == [[2 * row + column for column in line] for row in line]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("OpenGVLab/InternVL-Chat-V1-5", 32),
        ("google/paligemma-3b-mix-224", 16),
        ("google/paligemma-3b-mix-448", 32),
        ("CLIP-ViT-L+Qwen-7B", 16),
        ("jingyaogong/MiniMind2-V", 14),
        ("jingyaogong/minimind-3v", 8),
    ],
)
def test_every_table_is_known_without_weights(name: str, stored: int) -> None:
    drawn = figures(name)["table"]
    assert dict(drawn.facts) == {"stored": stored, "side": stored}
    assert sorted(drawn.array.ravel().tolist()) == list(range(stored**2))  # a place for each patch


def test_a_tile_of_another_size_than_the_table_is_told_without_weights() -> None:
    from vlm.families.internvl15 import published
    from vlm.families.internvl15.figures import draw
    from vlm.loading import empty_model

    config = published.configuration("OpenGVLab/Mini-InternVL-Chat-2B-V1-5")
    config.force_image_size = 224
    (drawn, _) = draw(empty_model(config))
    assert (drawn.name, dict(drawn.facts)) == ("table", {"stored": 32, "side": 16})


def test_siglip_has_no_class_token() -> None:
    from vlm.families.minimind_v import published
    from vlm.families.minimind_v.figures import draw
    from vlm.loading import empty_model

    config = published.configuration("jingyaogong/minimind-3v")
    model: Any = empty_model(config)
    table = torch.rand(64, config.vision.hidden_size)
    model.model.vision_tower.embeddings.position_embedding.weight = torch.nn.Parameter(table)
    (drawn,) = draw(model)
    assert drawn.array.reshape(64, -1).tolist() == table.tolist()


def test_rows_of_the_first_minimind_are_reordered_by_pairs() -> None:
    found = figures("MiniMind2-V-seed")
    assert "positions" not in found  # no weights
    stored, loaded = found["pairs"].array.tolist()
    assert stored == [0, 0, 1, 1, *(n for n in range(2, 32) for _ in range(2))]
    assert loaded == [*range(32), *range(32)]
    assert dict(found["pairs"].facts) == {"rows": 64, "pairs": 32}
    assert "pairs" not in figures("jingyaogong/MiniMind2-V")  # stored as they are turned


def test_slow_pairs_never_turn_further_than_in_training() -> None:
    turns = figures("CLIP-ViT-L+Qwen-7B")["turns"]
    assert dict(turns.facts) == {"trained": 8192, "pairs": 64, "longest": 8}
    plain, scaled = turns.array  # (lengths, pairs)
    assert plain.shape == (4, 64)
    for times, alpha, row, other in zip((1, 2, 4, 8), (1, 3, 7, 15), scaled, plain, strict=True):
        assert other.tolist() == [times] * 64
        assert row[0] == times  # the fastest pair goes on as ever
        assert row[-1] == pytest.approx(times / alpha)  # the slowest by the rule of the paper
        assert (numpy.diff(row) <= 0).all()
    from vlm.families.clip_qwen.figures import _turns
    from vlm.families.clip_qwen.published import configuration

    config = configuration("1.8B").text
    config.use_dynamic_ntk = False
    assert _turns(config) == []
