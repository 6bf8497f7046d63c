"""Maps of an explanation: places, words, pictures."""

from dataclasses import replace

import numpy
import pytest

from tests.support.fakes import photo
from vlm.backend import Tile
from vlm.errors import RequestError
from vlm.explain import (
    cells,
    contrast,
    find_word,
    heat,
    heats,
    map_picture,
    strength,
    tokens_within,
    values,
    word_maps,
    words,
)
from vlm.explanation import Explanation, Grain, Sight, TokenChance


def sight(weights, *tiles: Tile, size=(40, 20), grain: Grain = "token") -> Sight:
    tiles = tiles or (Tile(box=(0, 0, *size), rows=2, columns=2),)
    array = numpy.array(weights, numpy.float32)
    return Sight(original_size=size, grain=grain, tiles=tiles, weights=array)


def explanation(*texts: str) -> Explanation:
    tokens, place = [], 0
    for text in texts:
        tokens.append(
            TokenChance(
                text=text,
                start=place,
                end=place + len(text),
                probability=0.5,
                likeliest=((text, 0.5),),
                kept=1,
                possible=True,
            )
        )
        place += len(text)
    return Explanation(answer="".join(texts), tokens=tuple(tokens), method="attention", sights=())


ONE = sight([[0.1, 0.2, 0.3, 0.0], [0.0, 0.0, 0.1, 0.2]])


def test_tokens_are_averaged_and_losses_added():
    assert values(ONE) == pytest.approx([0.05, 0.1, 0.2, 0.1])
    assert values(ONE, [1]) == pytest.approx([0, 0, 0.1, 0.2])
    lost = sight([[1, -2, 0, 0], [1, 0, 0, 3]], grain="patch")
    assert values(lost) == pytest.approx([2, -2, 0, 3])


@pytest.mark.parametrize("size", [(40, 20), (2, 2), (7, 5), (80, 80)])
def test_a_map_adds_up_to_the_share_of_attention(size):
    map_ = heat(ONE, [0], size)
    assert map_.shape == size[::-1]
    assert map_.dtype == numpy.float32
    assert map_.sum() == pytest.approx(0.6, rel=1e-5)


def test_every_place_has_the_value_of_its_cell():
    quarters = heat(ONE, [0], (2, 2))
    assert quarters == pytest.approx(numpy.array([[0.1, 0.2], [0.3, 0.0]]))
    assert heat(ONE, [0], (4, 2))[0] == pytest.approx([0.05, 0.05, 0.1, 0.1])


def test_tiles_and_thumbnail_add_up():
    left, right = (Tile(box=(20 * n, 0, 20 * n + 20, 20), rows=1, columns=1) for n in (0, 1))
    whole = Tile(box=(0, 0, 40, 20), rows=1, columns=2)
    both = sight([[0.1, 0.2, 0.3, 0.4]], left, right, whole)
    assert heat(both, None, (2, 1)) == pytest.approx(numpy.array([[0.4, 0.6]]))


def test_what_lies_in_padding_is_not_on_the_picture():
    padded = sight([[0.5, 0.1, 0.2, 0.2]], Tile(box=(0, -20, 40, 60), rows=4, columns=1))
    assert heat(padded, None, (4, 2)).sum() == pytest.approx(0.1)


def test_losses_are_not_spread():
    lost = sight([[1, -2, 0, 3]], grain="patch")
    assert heat(lost, None, (4, 4))[0] == pytest.approx([1, 1, -2, -2])


def test_a_smooth_map_has_no_steps_and_the_same_middles():
    map_ = heat(ONE, [0], (40, 20), smooth=True)
    steps = numpy.abs(numpy.diff(map_, axis=1)).max()
    hard = numpy.abs(numpy.diff(heat(ONE, [0], (40, 20)), axis=1)).max()
    assert 0 < steps < hard / 5
    assert map_.argmax() // 40 >= 15  # the largest cell is below on the left
    assert map_[15:, :10].mean() == pytest.approx(0.3 / 200, rel=0.01)


def test_cells_to_draw():
    found = cells(ONE, [0])
    assert [each.box for each in found] == [
        (0, 0, 20, 10),
        (20, 0, 40, 10),
        (0, 10, 20, 20),
        (20, 10, 40, 20),
    ]
    assert [each.value for each in found] == pytest.approx([0.1, 0.2, 0.3, 0.0])
    assert [each.strength for each in found] == pytest.approx([1 / 3, 2 / 3, 1, 0])
    lost = cells(sight([[-1, -2, 0, 0]], grain="patch"))
    assert [each.strength for each in lost] == [0, 0, 0, 0]


def test_contrast_is_what_a_word_has_beyond_the_rest():
    both = sight([[0.4, 0.1, 0, 0], [0.04, 0, 0.01, 0]])
    beyond = contrast(both)
    assert values(beyond, [1]) == pytest.approx([0, -0.1, 0.1, 0], abs=1e-6)
    assert numpy.abs(values(beyond)).max() < 1e-6
    lost = sight([[1, 2, 3, 4]], grain="patch")
    assert contrast(lost) is lost


def test_strength():
    assert strength(numpy.array([[2.0, -1.0], [1.0, 0.0]])).tolist() == [[1, 0], [0.5, 0]]
    assert strength(numpy.zeros((2, 2))).max() == 0


# ---- words ----


def test_words_are_found_alone_first_whatever_their_case():
    said = explanation("Cat", "alog", " of", " a", " c", "at", ".")
    assert find_word(said, "cat") == (4, 5)
    assert find_word(said, "catalog") == (0, 1)
    assert find_word(said, "OF A") == (2, 3)
    for word in ("dog", "", " "):
        with pytest.raises(RequestError) as caught:
            find_word(said, word)
        assert caught.value.key == "word_not_in_answer"


def test_tokens_of_a_range_of_characters():
    said = explanation("A", " cat", ".")
    assert tokens_within(said, 2, 4) == (1,)
    assert tokens_within(said, 0, 6) == (0, 1, 2)
    with pytest.raises(RequestError):
        tokens_within(said, 9, 10)


def test_an_answer_in_words():
    said = explanation("A", " t", "abby", " cat", ",", " \u732b", "!")
    assert words(said) == [
        ("A", (0,)),
        (" tabby", (1, 2)),
        (" cat", (3,)),
        (",", (4,)),
        (" \u732b", (5,)),
        ("!", (6,)),
    ]
    assert "".join(text for text, _ in words(said)) == said.answer


# ---- pictures ----


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_a_picture_is_brightest_where_the_model_looked(mode):
    image = photo(mode, (40, 20))
    picture = map_picture(image, ONE, [1])
    assert (picture.mode, picture.size) == ("RGB", (40, 20))
    warmth = numpy.asarray(picture, float)[..., 0]
    assert warmth[12:, 25:].mean() > warmth[:8, :15].mean() + 30


def test_maps_of_several_groups_are_those_of_each():
    left, right = (Tile(box=(20 * n, 0, 20 * n + 20, 20), rows=1, columns=2) for n in (0, 1))
    both = sight([[0.1, 0.2, 0.3, 0.4], [0.4, 0, 0, 0.1]], left, right)
    groups = [None, (1,), (0, 1)]
    for smooth in (False, True):
        together = heats(both, groups, (7, 5), smooth)
        assert together.dtype == numpy.float32
        apart = numpy.stack([heat(both, group, (7, 5), smooth) for group in groups])
        assert together == pytest.approx(apart)


def test_word_maps_are_as_fine_as_the_cells_and_no_finer_than_asked():
    tiles = [Tile(box=(20 * n, 0, 20 * n + 20, 20), rows=4, columns=4) for n in (0, 1)]
    thumbnail = Tile(box=(0, 0, 40, 20), rows=2, columns=2)
    found = explanation("A", " cat")
    weights = numpy.random.default_rng(0).random((2, 36))
    fine = replace(found, sights=(sight(weights, *tiles, thumbnail),))
    (maps,) = word_maps(fine, 48)
    assert (maps.own.shape, maps.own.dtype) == ((3, 4, 8), numpy.uint8)
    assert maps.shares == pytest.approx([weights.sum(1).mean(), *weights.sum(1)], rel=1e-5)
    exact = heat(fine.sights[0], [1], (8, 4))
    assert maps.own[2] == pytest.approx(exact / exact.max() * 255, abs=0.51)
    assert word_maps(fine, 3)[0].own.shape == (3, 3, 3)
    coarse = replace(
        found, sights=(sight([[1], [1]], Tile(box=(0, 0, 40, 20), rows=1, columns=1)),)
    )
    assert word_maps(coarse, 48)[0].own.tolist() == [[[255]]] * 3


def test_word_maps_of_several_images_have_one_scale():
    """By part of an image, whatever the size of the image and of its map."""
    large, small = sight([[0.1, 0, 0, 0]]), sight([[0.2] + [0] * 15], *FINE, size=(10, 10))
    found = replace(explanation("cat"), sights=(large, small))
    first, second = word_maps(found, 48)
    assert second.own[1].max() == 255
    assert first.own[1].max() == pytest.approx(255 * (0.1 * 4) / (0.2 * 16), abs=0.51)
    assert second.shares == pytest.approx([0.2, 0.2])


FINE = (Tile(box=(0, 0, 10, 10), rows=4, columns=4),)


def test_word_maps_of_losses_are_in_nats_and_not_below_none():
    lost = sight([[1, -2, 0, 4], [-1, -1, -1, -1]], grain="patch")
    found = replace(explanation("A", " cat"), sights=(lost,), method="occlusion")
    (maps,) = word_maps(found, 48)
    assert maps.own[1].tolist() == [[64, 0], [0, 255]]
    assert maps.own[2].max() == 0
    assert maps.shares == pytest.approx([3, 4, -1])
    assert word_maps(explanation("A"), 48) == []
