"""How a comparison is drawn: the strip of pictures, the viewer, figures, the list of regions.

In: images, a comparison, a language. Out: HTML; nothing here changes anything. What moves (slider,
blink, zoom) is done in the page by assets/compare.js, which goes by the classes and data here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm.difference_words import alignment_words, brightness_words, region_places
from vlm.errors import VLMError
from vlm.images import thumbnail
from vlm.messages import Image
from vlm.strings import error_text, say
from vlm.ui.compare_scale import model_scale, pixel_scale
from vlm.ui.context import action_button, escaped
from vlm.ui.sending import send_button

if TYPE_CHECKING:
    from vlm.compare import Comparison, Region
    from vlm.feature_difference import FeatureDifference

VIEWS = ("slider", "blink", "beside", "heat", "model")


@dataclass(frozen=True)
class Pair:
    """Two images as they are shown.

    Attributes:
        numbers: in the strip, from 1.
        images: first and second.
        found: what differs.
        pictures: address of "first", "second", "heat", and "model" where the model was asked.
        seen: what the model sees, where it was asked.
        unseen: why the model could not be asked.
    """

    numbers: tuple[int, int]
    images: tuple[Image, Image]
    found: "Comparison"
    pictures: Mapping[str, str]
    seen: "FeatureDifference | None" = None
    unseen: VLMError | None = None

    @property
    def key(self) -> str:
        """Another one for other pictures, which are seen from afar at first."""
        return self.pictures["first"] + self.pictures["second"]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first, in whose pixels regions are."""
        return self.images[0].original_size

    def places(self, language: str) -> "list[tuple[Region, str]]":
        """Every region with where it is."""
        regions = self.found.regions
        return list(zip(regions, region_places(regions, self.size, language), strict=True))

    @property
    def identical(self) -> bool:
        """Whether no pixel differs."""
        return self.images[0] == self.images[1]


def address(path: str) -> str:
    """Where the page finds a file of its visit."""
    return f"gradio_api/file={path}"


# ---- the row above ----


def strip(images: Sequence[Image], pair: tuple[int, int], language: str) -> str:
    """The images, numbered; where there are more than two, which stands left and which right.

    Args:
        pair: indices of those that are compared.
    """
    if not images:
        return ""
    cards = [
        _card(number, image, pair if len(images) > 2 else None, language)
        for number, image in enumerate(images, 1)
    ]
    label = escaped(say("pair.images", language))
    to_chat = send_button("chat", images, say("pair.to_chat", language))
    return (
        f'<div class="pictures" role="group" aria-label="{label}">{"".join(cards)}{to_chat}</div>'
    )


def _card(number: int, image: Image, pair: tuple[int, int] | None, language: str) -> str:
    width, height = image.original_size
    size = say("image.size", language, width=width, height=height)
    sides = ""
    if pair is not None:
        buttons = [
            _side(number, side, pair[at] == number - 1, language)
            for at, side in enumerate(("first", "second"))
        ]
        sides = f'<span class="sides">{"".join(buttons)}</span>'
    remove = action_button(
        "remove", "×", say("pair.remove", language, number=number), number=number
    )
    return (
        f'<figure class="picture"><img src="{thumbnail(image, 160)}" alt="">'
        f"<figcaption><b>{number}</b> {escaped(image.name)}"
        f'<span class="size">{escaped(size)}</span>{sides}</figcaption>{remove}</figure>'
    )


def _side(number: int, side: str, chosen: bool, language: str) -> str:
    """Puts an image left or right."""
    words = say(f"pair.as_{side}", language)
    label = say(f"pair.as_{side}.label", language, number=number)
    button = action_button("choose", words, label, "side", number=number, side=side)
    return button.replace("<button ", f'<button aria-pressed="{str(chosen).lower()}" ', 1)


def waiting_for_second(image: Image, language: str) -> str:
    """The first picture in its half, while the other is empty."""
    return (
        f'<figure class="half"><img src="{thumbnail(image, 640)}" alt="{escaped(image.name)}">'
        f"<figcaption>{escaped(say('pair.one_more', language))}</figcaption></figure>"
    )


# ---- the pictures ----


def viewer(pair: Pair, language: str) -> str:
    """The pictures with their numbered boxes, in every view."""
    width, height = pair.size
    one, two = (
        f"{number} · {image.name}" for number, image in zip(pair.numbers, pair.images, strict=True)
    )
    label = escaped(say("pair.viewer", language))
    slider = escaped(say("pair.slider", language))
    return (
        f'<div class="viewer" data-key="{escaped(pair.key)}" data-view="slider" role="group" '
        f'aria-label="{label}" style="--aspect: {width / height:.5f}">{_bar(language)}'
        f'<div class="panes"><div class="pane one">{_pane(pair, language)}'
        '<span class="divider" aria-hidden="true"><span class="grip"></span></span>'
        f"{_sheet('labels', _labels(pair))}"
        '<input type="range" id="compare-slider" min="0" max="100" step="1" value="50" '
        f'aria-label="{slider}"><span class="tag left">{escaped(one)}</span>'
        f'<span class="tag right">{escaped(two)}</span></div>'
        f'<div class="pane two">{_second_pane(pair, language)}'
        f'<span class="tag left">{escaped(two)}</span></div></div>'
        f'<div class="scale heat">{pixel_scale(language)}</div>'
        '<div class="scale model"></div></div>'
    )


def _bar(language: str) -> str:
    """The segmented control of views, and zoom."""
    views = [
        f'<button type="button" class="segment" data-view="{name}" '
        f'aria-pressed="{str(name == "slider").lower()}"{" disabled" * (name == "model")}>'
        f"{escaped(say(f'pair.view.{name}', language))}</button>"
        for name in VIEWS
    ]
    tools = [
        _tool("blink", "", "pair.blink.pause", language),
        _tool("out", "−", "pair.zoom_out", language),
        _tool("in", "+", "pair.zoom_in", language),
        _tool("fit", "", "pair.zoom_fit", language),
        f'<label><input type="checkbox" data-do="boxes" checked> '
        f"{escaped(say('pair.boxes', language))}</label>",
        f'<span class="figure keys" tabindex="0" role="note" '
        f'data-why="{escaped(say("pair.keys", language))}" '
        f'aria-label="{escaped(say("pair.keys", language))}">?</span>',
    ]
    label = escaped(say("pair.view", language))
    return (
        f'<div class="viewbar"><div class="segments" role="group" aria-label="{label}">'
        f'{"".join(views)}</div><div class="tools">{"".join(tools)}</div></div>'
    )


def _tool(name: str, sign: str, key: str, language: str) -> str:
    words = escaped(say(key, language))
    play = escaped(say("pair.blink.play", language))
    more = f' data-pause="{words}" data-play="{play}"' if name == "blink" else ""
    named = f' aria-label="{words}" title="{words}"' if sign else ""
    return (
        f'<button type="button" class="act" data-do="{name}"{named}{more}>{sign or words}</button>'
    )


def _pane(pair: Pair, language: str) -> str:
    """All layers on each other; the style sheet shows those of the view."""
    first, second = (escaped(image.name) for image in pair.images)
    heat, model = (escaped(say(f"pair.{name}.alt", language)) for name in ("heat", "model"))
    sheets = [
        f'<img class="layer" src="{pair.pictures["first"]}" alt="{first}" draggable="false">',
        f'<img class="layer" src="{pair.pictures["second"]}" alt="{second}" draggable="false">',
        f'<img class="layer" src="{pair.pictures["heat"]}" alt="{heat}" id="compare-diff" '
        'draggable="false">',
        f'<img class="layer" alt="{model}" draggable="false">',
        _boxes(pair, language, reachable=True),
    ]
    names = ("first", "second", "heat", "model", "boxes")
    return "".join(map(_sheet, names, sheets))


def _second_pane(pair: Pair, language: str) -> str:
    """The second picture once more, for side by side."""
    picture = (
        f'<img class="layer" src="{pair.pictures["second"]}" alt="{escaped(pair.images[1].name)}" '
        'draggable="false">'
    )
    boxes = _boxes(pair, language, reachable=False)
    sheets = {"second": picture, "boxes": boxes, "labels": _labels(pair)}
    return "".join(_sheet(name, content) for name, content in sheets.items())


def _sheet(name: str, content: str) -> str:
    return f'<div class="sheet {name}"><div class="scene">{content}</div></div>'


def _boxes(pair: Pair, language: str, *, reachable: bool) -> str:
    """Frames to press; those of the second pane are for the eye and the pointer only."""
    hidden = "" if reachable else ' tabindex="-1" aria-hidden="true"'
    return "".join(
        f'<button type="button" class="box" data-region="{region.number}" '
        f'style="{_position(region, pair.size)}"{hidden} '
        f'aria-label="{escaped(region_words(region, place, language))}"></button>'
        for region, place in pair.places(language)
    )


def _labels(pair: Pair) -> str:
    """The numbers of the frames, in a sheet of their own: above the handle of the slider."""
    return "".join(
        f'<span class="number" aria-hidden="true" style="{_position(region, pair.size)}">'
        f"<b>{region.number}</b></span>"
        for region in pair.found.regions
    )


def _position(region: "Region", size: tuple[int, int]) -> str:
    left, top, right, bottom = region.box
    parts = {
        "left": left / size[0],
        "top": top / size[1],
        "width": (right - left) / size[0],
        "height": (bottom - top) / size[1],
    }
    return "; ".join(f"{name}: {100 * part:.3f}%" for name, part in parts.items())


def region_words(region: "Region", place: str, language: str) -> str:
    """A region for a screen reader: "Region 1: upper left, 4.2 %"."""
    area = f"{100 * region.area:.1f}"
    return say("pair.region", language, number=region.number, place=place, area=area)


# ---- beside the pictures ----


def side(pair: Pair, language: str) -> str:
    """Figures, what became of the alignment, the regions."""
    model = f' data-model="{pair.pictures["model"]}"' if "model" in pair.pictures else ""
    sentences = "".join(f"<p>{escaped(words)}</p>" for words in sentences_of(pair, language))
    scale = ""
    if pair.seen is not None:  # for the script, which puts it below the picture
        scale = model_scale(pair.seen, pair.size, language)
        scale = f'<div class="model-scale" hidden>{scale}</div>'
    unseen = ""
    if pair.unseen is not None:
        why = error_text(pair.unseen, language)
        unseen = f'<p class="quiet">{escaped(say("pair.unseen", language, why=why))}</p>'
    return (
        f'<div class="findings"{model}>{_figures(pair, language)}'
        f'<div class="sentences">{sentences}</div>{_regions(pair, language)}{unseen}{scale}</div>'
    )


def _figures(pair: Pair, language: str) -> str:
    found, count = pair.found, len(pair.found.regions)
    values = {
        "similarity": f"{found.similarity:.3f}",
        "changed": say("pair.share", language, value=f"{100 * found.changed_share:.1f}"),
        "regions": str(count),
    }
    parts = []
    for name, value in values.items():
        one = name == "regions" and count == 1
        words = say("pair.regions.one" if one else f"pair.{name}", language)
        why = say(f"pair.why.{name}", language)
        parts.append(
            f'<span class="figure" tabindex="0" role="note" data-why="{escaped(why)}" '
            f'aria-label="{escaped(f"{value} {words}. {why}")}"><b>{escaped(value)}</b> '
            f"{escaped(words)}</span>"
        )
    label = escaped(say("pair.figures", language))
    return f'<div class="figures" role="group" aria-label="{label}">{"".join(parts)}</div>'


def sentences_of(pair: Pair, language: str) -> list[str]:
    """What there is to say: identical or not, alignment, brightness, overlap."""
    if pair.identical:
        return [say("pair.identical", language)]
    found = pair.found
    sizes = (pair.images[0].original_size, pair.images[1].original_size)
    sentences = [alignment_words(found.alignment, sizes, language)]
    if not found.regions:
        sentences.append(say("pair.no_change", language))
    sentences += filter(None, [brightness_words(found.brightness, language)])
    if found.overlap < 0.995:
        sentences.append(say("pair.overlap", language, share=f"{100 * found.overlap:.0f}"))
    return sentences


def _regions(pair: Pair, language: str) -> str:
    """Every region with its place and size; a press goes there."""
    if not pair.found.regions:
        return ""
    items = "".join(_region(region, place, language) for region, place in pair.places(language))
    label = escaped(say("pair.region.list", language))
    return f'<ol class="regions" aria-label="{label}">{items}</ol>'


def _region(region: "Region", place: str, language: str) -> str:
    left, top, right, bottom = region.box
    pixels = say("pair.region.size", language, width=right - left, height=bottom - top)
    area = say("pair.share", language, value=f"{100 * region.area:.1f}")
    hardly = ""
    if region.hardly_seen:
        hardly = f'<span class="hardly">{escaped(say("pair.hardly", language))}</span>'
    return (
        f'<li><button type="button" class="act region" data-region="{region.number}" '
        f'data-hardly="{str(bool(region.hardly_seen)).lower()}"><b>{region.number}</b>'
        f'<span class="place">{escaped(place)}</span>'
        f'<span class="area" title="{escaped(say("pair.region.area", language))}">'
        f'{escaped(area)}</span><span class="pixels">{escaped(pixels)}</span>'
        f"{hardly}</button></li>"
    )


# ---- while it works ----


def progress(stage: str, language: str) -> str:
    """What is happening now, and how to end it."""
    cancel = action_button("cancel", say("pair.cancel", language), style="cancel")
    kind = "looking" if stage == "looking" else "working"
    words = escaped(say(f"pair.{stage}", language))
    return (
        f'<div class="working {kind}"><span class="pending" role="status">{words}</span>'
        f"{cancel}</div>"
    )
