"""`python -m vlm compare`: figures in words and JSON, pictures, and the check of itself."""

import json

import numpy
import pytest
from PIL import Image as pillow

from vlm.commands import compare_check
from vlm.commands.compare_check import boxes, matches, measure, overlap
from vlm.commands.compare_pairs import (
    KINDS,
    LEAST_AREA,
    NOTICED,
    PHOTOS,
    large_pair,
    make_pair,
)

CAT = str(PHOTOS / "cat.jpg")


@pytest.fixture
def edited(tmp_path) -> str:
    """The cat with a blue square, scaled to half its size."""
    picture = pillow.open(CAT)
    picture.paste((10, 40, 220), (300, 100, 400, 200))
    picture.resize((226, 150)).save(tmp_path / "edited.png")
    return str(tmp_path / "edited.png")


def test_figures_in_words(run, edited):
    ran = run("compare", CAT, edited)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0] == "Both show the same frame."
    assert lines[1].startswith("structural similarity: 0.")
    assert lines[2].endswith(" % of what is compared; regions: 1")
    assert lines[-1].startswith("1: right, box ")
    share = lines[2].removeprefix("changed: ").split(" ")[0]
    assert lines[-1].endswith(f", {share} % of what is compared")  # the only region is all of it
    assert ran.err == "aligning …\ncomparing …\noutlining what changed …\n"


def test_figures_in_chinese(run, edited):
    ran = run("compare", CAT, edited, "--language", "zh")
    assert ran.out.startswith("两张图片取景相同。")
    assert "结构相似度" in ran.out
    assert ran.err.startswith("正在对齐")


def test_figures_in_json(run, edited):
    found = json.loads(run("compare", CAT, edited, "--json").out)
    (region,) = found["regions"]
    assert numpy.abs(numpy.array(region["box"]) - (300, 100, 400, 200)).max() <= 6
    assert region["area"] == pytest.approx(100 * 100 / (451 * 300), rel=0.15)
    assert region["hardly_seen"] is None
    assert found["alignment"]["state"] in ("same_frame", "aligned")
    assert numpy.shape(found["alignment"]["matrix"]) == (3, 3)
    assert 0.5 < found["similarity"] < 1
    assert found["overlap"] == pytest.approx(1, abs=0.02)


def test_states_are_said_plainly(run, tmp_path):
    pillow.new("RGB", (30, 30)).save(tmp_path / "black.png")
    ran = run("compare", CAT, str(PHOTOS / "coffee.jpg"))
    assert ran.out.startswith("Could not be aligned: they do not seem")
    ran = run("compare", CAT, str(tmp_path / "black.png"))
    assert ran.out.startswith("Could not be aligned: there is too little in one of them")


def test_pictures_are_written(run, edited, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert run("compare", CAT, edited, "--out", str(folder)).status == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["aligned.png", "difference.png", "regions.png"]
    assert {pillow.open(folder / name).size for name in names} == {(226, 150)}


def test_the_model_marks_what_it_hardly_sees(run, edited, tmp_path):
    words = ["--features", "--json", "--device", "cpu", "--out", str(tmp_path / "out")]
    ran = run("compare", CAT, edited, *words)
    (region,) = json.loads(ran.out)["regions"]
    assert region["hardly_seen"] is False
    assert region["feature_distance"] > 0.1
    heat = numpy.asarray(pillow.open(tmp_path / "out" / "model.png")).astype(int)
    colour = numpy.ptp(heat, axis=2)  # (height, width); grey is 0
    left, top, right, bottom = (side // 2 for side in region["box"])
    assert colour[top:bottom, left:right].mean() > 4 * colour.mean()
    assert ran.err.endswith("loading the model …\nshowing both to the model …\n")


@pytest.mark.parametrize("images", [[], [CAT], [CAT] * 3])
def test_two_images_are_needed(run, images):
    ran = run("compare", *images)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"{len(images)} images were given")


def test_a_folder_that_cannot_be_written(run, edited, tmp_path):
    (tmp_path / "file").write_text("")
    ran = run("compare", CAT, edited, "--out", str(tmp_path / "file"))
    assert ran.status == 1
    assert "cannot be written" in ran.err


def test_no_images_with_check(run):
    ran = run("compare", "--check", CAT)
    assert (ran.status, ran.out) == (1, "")
    assert "--check" in ran.err


# ---- the check ----


@pytest.fixture
def small(monkeypatch):
    """A check of few kinds and of a picture that is not large."""
    monkeypatch.setattr(compare_check, "KINDS", ("removed", "recompressed"))
    monkeypatch.setattr(compare_check, "LARGE", (800, 600))


def test_check_prints_tables(run, small):
    ran = run("compare", "--check", "--pairs", "2")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("| edit | pairs | precision | recall |")
    assert lines[2].startswith("| removed | 2 | 1.00 | 1.00 |")
    assert lines[3].startswith("| recompressed | 2 |  |  |  |  | 0 | 0 |")
    assert "12 megapixels each: " in lines[-1]
    assert "cores" in lines[-1]


def test_check_in_json_with_features(run, small):
    words = ["--check", "--pairs", "1", "--features", "--json", "--device", "cpu"]
    found = json.loads(run("compare", *words).out)
    assert [row["kind"] for row in found["kinds"]] == ["removed", "recompressed"]
    assert found["kinds"][1]["precision"] is None
    rows = {row["kind"]: row for row in found["features"]}
    assert rows["recompressed"]["median_ratio"] < 1 < rows["removed"]["median_ratio"]
    assert found["large"]["error"] < 1
    assert found["large"]["seconds"] > 0


def test_boxes_of_connected_parts():
    mask = numpy.zeros((10, 12), bool)
    mask[1:3, 2:5] = mask[5:9, 7:11] = True
    assert boxes(mask) == [(2, 1, 5, 3), (7, 5, 11, 9)]


@pytest.mark.parametrize(
    ("found", "true", "right"),
    [
        ([], [(0, 0, 10, 10)], 0),
        ([(0, 0, 10, 10)], [], 0),
        ([(0, 0, 10, 10)], [(0, 0, 10, 10)], 1),
        ([(0, 0, 10, 10)], [(0, 0, 10, 20)], 1),
        ([(0, 0, 10, 10)], [(0, 0, 10, 21)], 0),
        ([(0, 0, 10, 10), (0, 0, 10, 11)], [(0, 0, 10, 10)], 1),  # one true box counts once
        ([(0, 0, 10, 10)], [(0, 0, 10, 10), (0, 0, 10, 11)], 1),
        ([(0, 0, 10, 12), (0, 0, 10, 10)], [(0, 0, 10, 10), (0, 0, 10, 16)], 2),
    ],
)
def test_matches(found, true, right):
    assert matches(found, true) == right


def test_overlap_of_boxes_apart():
    assert overlap((0, 0, 2, 2), (5, 5, 6, 6)) == 0
    assert overlap((0, 0, 2, 2), (2, 0, 4, 2)) == 0


def test_a_wrong_region_and_a_missed_edit_lower_the_figures(monkeypatch):
    true = measure("moved", 2).as_json()
    monkeypatch.setattr(compare_check, "boxes", lambda mask: [*boxes(mask)[:1], (0, 0, 5, 5)])
    wrong = measure("moved", 2).as_json()
    assert (true["precision"], true["recall"]) == (1, 1)
    assert (wrong["precision"], wrong["recall"]) == (0.5, 0.5)


# ---- the pairs ----


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_come_from_their_seed(kind):
    one, same, other = (make_pair(kind, seed) for seed in (1, 1, 2))
    assert (one.first.sha256, one.second.sha256) == (same.first.sha256, same.second.sha256)
    assert one.first.sha256 != other.first.sha256
    assert one.second.sha256 != one.first.sha256


@pytest.mark.parametrize("kind", ["removed", "recoloured", "moved"])
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_is_what_differs(kind, seed):
    pair = make_pair(kind, seed)
    one, other = (numpy.asarray(image.pixels).astype(int) for image in (pair.first, pair.second))
    differs = numpy.abs(one - other).max(-1) > NOTICED
    assert pair.edited.mean() >= 0.9 * LEAST_AREA
    assert (differs & pair.edited).sum() >= 0.7 * pair.edited.sum()
    rim = numpy.roll(pair.edited, 2, 0) | numpy.roll(pair.edited, -2, 0)
    rim |= numpy.roll(pair.edited, 2, 1) | numpy.roll(pair.edited, -2, 1) | pair.edited
    assert not (differs & ~rim).any()
    assert len(boxes(pair.edited)) == (2 if kind == "moved" else 1)


def test_large_pair_is_large():
    pair = large_pair((1000, 750), 1)
    assert pair.first.pixels.size == pair.second.pixels.size == (1000, 750)
