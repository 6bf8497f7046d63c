"""How one picture lies on another: found to a pixel, or plainly not found."""

import threading

import numpy
import pytest
from PIL import Image as pillow

from vlm import alignment
from vlm.alignment import Alignment, align
from vlm.arrays import brightness, farthest_corner, scaling
from vlm.commands.compare_pairs import PHOTOS, similarity_matrix
from vlm.errors import RequestError
from vlm.images import made_image, open_image
from vlm.refinement import Template, local_detail, sampled, shifting

NAMES = ("astronaut", "cat", "coffee", "photographer")


def photo(name: str) -> pillow.Image:
    return open_image(PHOTOS / f"{name}.jpg").pixels.convert("RGB")


def seen_through(picture: pillow.Image, matrix: numpy.ndarray, size: tuple[int, int]):
    """What lies where the matrix (3, 3) puts it, in a frame of this size."""
    back = tuple(numpy.linalg.inv(matrix)[:2].ravel())
    return picture.transform(
        size, pillow.Transform.AFFINE, back, pillow.Resampling.BICUBIC, fillcolor=(90, 90, 90)
    )


def error(found: Alignment, matrix: numpy.ndarray, size: tuple[int, int]) -> float:
    """The largest distance of a corner from where it should lie."""
    return farthest_corner(found.matrix, matrix, size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(5, 1.1, (10, 5)), (-5, 0.9, (-20, 9)), (3, 1, (0, 0)), (0, 1, (7, -5)), (90, 1, (0, 0))],
)
def test_within_a_pixel(name, degrees, scale, shift):
    first = photo(name)
    matrix = similarity_matrix(first.size, degrees, scale, shift)
    found = align(made_image(first), made_image(seen_through(first, matrix, first.size)))
    assert found.state == "aligned"
    assert error(found, matrix, first.size) < 1
    assert found.rotation == pytest.approx(degrees, abs=0.1)
    assert found.scale == pytest.approx(scale, abs=0.002)
    assert found.shift == pytest.approx(tuple(matrix[:2, 2]), abs=1)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_upside_down_and_small_is_found_by_phase(name):
    first = photo(name)
    matrix = similarity_matrix(first.size, 140, 0.8, (0, 0))
    found = align(made_image(first), made_image(seen_through(first, matrix, first.size)))
    assert (found.state, found.method) == ("aligned", "phase")
    assert error(found, matrix, first.size) < 1


def test_a_small_part_enlarged_is_found_by_features():
    first = photo("coffee")
    part = first.crop((60, 40, 320, 400)).resize((780, 1080), pillow.Resampling.BICUBIC)
    found = align(made_image(first), made_image(part))
    assert (found.state, found.method) == ("aligned", "features")
    back = numpy.linalg.inv(found.matrix)  # within the part, in pixels of the first
    for corner in ((0, 0), (780, 0), (0, 1080), (780, 1080)):
        expected = (60 + corner[0] / 3, 40 + corner[1] / 3)
        assert (back @ (*corner, 1))[:2] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degrees", [-5, 3])
def test_a_part_of_another_shape_is_not_stretched(name, degrees):
    """Cut by other shares of its width and height, as one crops a photo by hand."""
    first = photo(name)
    width, height = first.size
    left, top, right, bottom = width // 12, height // 10, width - width // 12, height - height // 10
    matrix = similarity_matrix(first.size, degrees, 1, (0, 0))
    part = seen_through(first, matrix, first.size).crop((left, top, right, bottom))
    found = align(made_image(first), made_image(part))
    assert error(found, shifting(-left, -top) @ matrix, first.size) < 1
    assert found.rotation == pytest.approx(degrees, abs=0.1)
    assert found.scale == pytest.approx(1, abs=0.002)


def test_landscape_and_portrait_of_one_scene():
    whole = photo("astronaut")
    first, second = whole.crop((0, 100, 512, 400)), whole.crop((100, 0, 400, 512))
    found = align(made_image(first), made_image(second))
    assert error(found, shifting(-100, 100), first.size) < 1


@pytest.mark.parametrize("size", [(200, 200), (1024, 1024), (300, 400)])
def test_the_same_frame_in_another_size_needs_nothing(size):
    first = photo("astronaut")
    found = align(made_image(first), made_image(first.resize(size, pillow.Resampling.LANCZOS)))
    assert found.state == "same_frame"
    assert found.found
    numpy.testing.assert_allclose(found.matrix, scaling(first.size, size))


def test_a_large_change_and_another_exposure_do_not_pull():
    first = photo("astronaut")
    matrix = similarity_matrix(first.size, 4, 1.05, (6, -3))
    second = seen_through(first, matrix, first.size).point(lambda value: int(value * 0.55))
    second.paste(photo("coffee").crop((0, 0, 300, 400)), (20, 100))
    found = align(made_image(first), made_image(second))
    assert found.state == "aligned"
    assert error(found, matrix, first.size) < 1


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_pictures_of_different_things_do_not_align(first, second):
    found = align(made_image(photo(first)), made_image(photo(second)))
    assert found.state == ("same_frame" if first == second else "failed")
    assert found.found == (first == second)
    assert found.agreement in ((1.0,) if first == second else (0.0,))
    numpy.testing.assert_allclose(found.matrix, scaling(photo(first).size, photo(second).size))


def test_a_mirrored_picture_does_not_align():
    first = photo("coffee")
    mirrored = first.transpose(pillow.Transpose.FLIP_LEFT_RIGHT)
    assert align(made_image(first), made_image(mirrored)).state == "failed"


@pytest.mark.parametrize("size", [(1, 1), (15, 300), (300, 300)])
def test_too_little_to_align_by(size):
    blank = made_image(pillow.new("RGB", size, (200, 100, 50)))
    for pair in ((blank, made_image(photo("cat"))), (made_image(photo("cat")), blank)):
        found = align(*pair)
        assert (found.state, found.found) == ("no_detail", False)


def test_the_same_pair_gives_the_same_answer():
    first = photo("coffee")
    part = first.crop((200, 150, 460, 350)).resize((780, 600))
    one, other = (align(made_image(first), made_image(part)) for _ in range(2))
    assert one.matrix.tolist() == other.matrix.tolist()


def test_progress_and_cancel():
    heard: list[str] = []
    first, second = made_image(photo("cat")), made_image(photo("coffee"))
    align(first, second, progress=heard.append)
    assert heard == ["aligning"]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(RequestError, match="stopped"):
        align(first, second, cancel=cancel)


def test_cancel_is_heard_between_guesses(monkeypatch):
    cancel = threading.Event()
    asked = []

    def guesses(pair):
        asked.append(pair)
        cancel.set()
        yield numpy.eye(3)

    monkeypatch.setattr(alignment, "_as_framed", guesses)
    with pytest.raises(RequestError, match="stopped"):
        align(made_image(photo("cat")), made_image(photo("coffee")), cancel=cancel)
    assert len(asked) == 1


# ---- refinement ----


def test_local_detail_forgets_exposure():
    values = brightness(photo("cat"))
    one, other = local_detail(values), local_detail(0.5 * values + 0.3)
    assert numpy.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    assert numpy.corrcoef(values.ravel(), one.ravel())[0, 1] < 0.7


def test_refinement_finds_a_fraction_of_a_pixel():
    array = local_detail(brightness(photo("coffee")))
    matrix = shifting(2.3, -1.6)
    moved = sampled(array, numpy.linalg.inv(matrix), array.shape)
    found = Template(array).fit(moved, numpy.eye(3))
    assert found is not None
    numpy.testing.assert_allclose(found, matrix, atol=0.05)


def test_refinement_follows_most_of_the_picture():
    array = local_detail(brightness(photo("astronaut")))
    matrix = shifting(2.3, -1.6)
    moved = sampled(array, numpy.linalg.inv(matrix), array.shape)
    moved[:, :150] = sampled(array, shifting(3, 2), array.shape)[:, :150]  # it went elsewhere
    found = Template(array).fit(moved, numpy.eye(3))
    assert found is not None
    numpy.testing.assert_allclose(found[:2, 2], (2.3, -1.6), atol=0.3)
    numpy.testing.assert_allclose(found[:2, :2], numpy.eye(2), atol=0.001)


def test_refinement_says_when_pictures_no_longer_meet():
    array = local_detail(brightness(photo("coffee")))
    assert Template(array).fit(array, shifting(5000, 0)) is None


def test_sampled_tells_where_there_is_nothing():
    moved = sampled(numpy.ones((4, 6), numpy.float32), shifting(3, 0), (4, 6))
    assert numpy.isnan(moved[:, 3:]).all()
    assert (moved[:, :3] == 1).all()


def test_movement_is_that_of_the_middle():
    """A turn about the middle moves nothing; the corner, which `shift` tells of, does move."""
    turn = Alignment("aligned", similarity_matrix((200, 100), degrees=5, scale=1, shift=(0, 0)))
    assert turn.movement((200, 100), (200, 100)) == pytest.approx(0, abs=1e-6)
    moved = Alignment("aligned", numpy.array([[1, 0, 30], [0, 1, -40], [0, 0, 1.0]]))
    assert moved.movement((200, 100), (200, 100)) == pytest.approx(50)
