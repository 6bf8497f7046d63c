"""What is said of a stage and of the axes of its shape, by what is known of this very run.

In: a stage and the inspection that it belongs to. Out: sentences. They follow from shapes, from
how the images were cut and from the form of the model, never from its name.
"""

import math
from collections.abc import Sequence

from vlm.backend import Stage
from vlm.inspection import Inspection, pictures
from vlm.stage_pictures import GRIDS
from vlm.strings import say

FEATURES = ("images", "positions", "width")
OF_PATCHES = ("patch_positions", "patch_embedding", "vision_tower", "selected")
"""Stages whose positions are patches, perhaps with a class token."""
OF_TOKENS = ("pixel_shuffle", "projector")
"""Stages whose positions are visual tokens."""
STRIPS = {"height": "height.strip", "pixel_width": "pixel_width.strip"}
STAGE_WORDS = (
    "input_ids",
    "tgt_sizes",
    "patch_positions",
    "inputs_embeds",
    "attention_mask",
    "position_ids",
    "final_hidden",
    "logits",
)
"""Stages of which the same is said in every run; a family may name others, which then stand by
themselves."""
AXES = (
    *("images", "channels", "height", "width", "pixel_width", "positions", "queries", "batch"),
    *("tokens", "words", "sides", "patches", "values", "rows", "columns"),
)


def stage_words(stage: Stage, inspection: Inspection, language: str) -> str:
    """What a stage is; empty for one that nothing is known of."""
    told = {
        "pixel_values": _pixels,
        "stem": _stem,
        "patch_embedding": _embedded,
        "vision_tower": _tower,
        "selected": _selected,
        "pixel_shuffle": _shuffled,
        "projector": _projected,
    }
    if stage.name in told:
        return joined(told[stage.name](stage, inspection, language), language)
    return say(f"stage.{stage.name}", language) if stage.name in STAGE_WORDS else ""


def joined(sentences: Sequence[str], language: str) -> str:
    """One after the other; Chinese has no space between them."""
    return ("" if language == "zh" else " ").join(sentences)


def named_axes(stage: Stage) -> tuple[str, ...]:
    """The axes of a stage; the width of a picture is another one than that of features."""
    if stage.axes[-2:] == ("height", "width"):
        return (*stage.axes[:-1], "pixel_width")
    return stage.axes


def axis_words(stage: Stage, axis: str, inspection: Inspection, language: str) -> str:
    """What a number of a shape counts.

    Args:
        stage: it is of.
        axis: one of `named_axes(stage)`.
        inspection: the run.
        language: of the page.
    """
    if axis not in AXES:
        return axis
    if axis == "images":
        return say(f"axis.images{_cut(inspection)}", language)
    if axis == "positions":
        return _positions(stage, inspection, language)
    if axis in STRIPS and in_strips(inspection):
        return say(f"axis.{STRIPS[axis]}", language)
    if axis == "tokens" and stage.array.shape[stage.axes.index(axis)] == 1 < inspection.tokens:
        return say("axis.tokens.last", language)
    if is_about(stage, axis, inspection):
        return say("axis.tokens.about", language)
    return say(f"axis.{axis}", language)


def is_about(stage: Stage, axis: str, inspection: Inspection) -> bool:
    """Whether a number of a shape depends on words that were counted in bytes."""
    return axis == "tokens" and inspection.counts_bytes(stage)


def in_strips(inspection: Inspection) -> bool:
    """Whether pictures come as patches side by side, each with its own rows and columns."""
    return any(stage.axes == GRIDS for stage in inspection.stages)


def class_token(inspection: Inspection) -> bool | None:
    """Whether the first position of the tower stands for the whole picture; None: not known.

    Square pictures have a square of patches, so one position more is no patch.
    """
    named = {stage.name: stage for stage in inspection.stages}
    pixels, tower = named.get("pixel_values"), named.get("vision_tower")
    if pixels is None or tower is None or tower.axes != FEATURES or in_strips(inspection):
        return None
    if pixels.axes[-2:] != ("height", "width") or len(set(pixels.array.shape[-2:])) > 1:
        return None
    positions = tower.array.shape[1]
    if _is_square(positions):
        return False
    return True if _is_square(positions - 1) else None


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _cut(inspection: Inspection) -> str:
    """How photos became pictures, as the end of a key: cut or not, with thumbnails or not."""
    layouts = inspection.layouts
    if not layouts or any(layout.tiles is None for layout in layouts):
        return ""
    if any(layout.thumbnail for layout in layouts):
        return ".thumbnail"
    return ".tiles" if any(len(pictures(layout)) > 1 for layout in layouts) else ".whole"


def _before(stage: Stage, inspection: Inspection) -> Stage | None:
    """The last stage before one that holds features of positions."""
    found = None
    for each in inspection.stages:
        if each is stage:
            return found
        if each.axes == FEATURES:
            found = each
    return found


# ---- each stage: a list of sentences ----


def _pixels(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    if in_strips(inspection):
        kind = ".strip"
    elif stage.axes[-1] == "values":
        kind = ".patches"
    else:
        kind = {".whole": ".whole", "": ""}.get(_cut(inspection), ".tiles")
    parts = [say(f"stage.pixel_values{kind}", language), say("stage.pixel_values.alpha", language)]
    if stage.known and stage.axes[-1] == "width":
        kept = "colours" if inspection.pixel_scale is not None else "one_scale"
        parts.append(say(f"stage.pixel_values.{kept}", language))
    return parts


def _stem(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    rows, columns = stage.array.shape[-2:]
    return [say("stage.stem", language, rows=rows, columns=columns)]


def _embedded(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    parts = [say("stage.patch_embedding", language)]
    leading = bool(class_token(inspection)) and not _is_square(stage.array.shape[1])
    if stage.axes == FEATURES and class_token(inspection) is not None:
        pixels = next(each for each in inspection.stages if each.name == "pixel_values")
        side, across = math.isqrt(stage.array.shape[1] - leading), pixels.array.shape[-1]
        sizes = {"pixels": across, "side": side, "patch": across // side}
        parts.append(say("stage.patch_embedding.sizes", language, **sizes))
    if any(figure.name in ("table", "positions", "buckets") for figure in inspection.figures):
        parts.append(say("stage.patch_embedding.places", language))
    if leading and stage.axes == FEATURES:
        parts.append(say("stage.patch_embedding.class", language))
    return parts


def _tower(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    parts = [say("stage.vision_tower", language)]
    attends = inspection.tower.attends
    if attends is not None:
        parts.append(say(f"stage.vision_tower.{'attends' if attends else 'convolves'}", language))
    if stage.axes[0] == "images" and stage.array.shape[0] > 1:
        tiled = _cut(inspection) in (".thumbnail", ".tiles")
        parts.append(say(f"stage.vision_tower.{'tiles' if tiled else 'pictures'}", language))
    for figure in inspection.figures:
        if figure.name in ("table", "positions"):
            fits = "same" if figure.facts["stored"] == figure.facts["side"] else "resized"
            parts.append(say(f"stage.vision_tower.{fits}", language, **dict(figure.facts)))
        elif figure.name == "buckets":
            side = figure.facts["side"]
            parts.append(say("stage.vision_tower.buckets", language, side=side))
    return parts


def _selected(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    facts = inspection.tower
    layers, number = facts.layers, facts.selected
    if number is None or layers is None:
        parts = [say("stage.selected", language)]
    elif number == layers:
        parts = [say("stage.selected.last", language, layers=layers)]
    else:
        parts = [say("stage.selected.layer", language, layer=number, layers=layers)]
    before, leading = _before(stage, inspection), class_token(inspection)
    if before is None or stage.axes != FEATURES or leading is None:
        return parts
    had, kept = before.array.shape[1], stage.array.shape[1]
    if leading and kept == had - 1:
        parts.append(say("stage.selected.without", language, had=had, kept=kept))
    elif leading and kept == had:
        parts.append(say("stage.selected.with", language, kept=kept, patches=kept - 1))
    elif kept == had:
        parts.append(say("stage.selected.none", language, kept=kept))
    return parts


def _shuffled(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    parts = [say("stage.pixel_shuffle", language)]
    before = _before(stage, inspection)
    if before is None or stage.axes != FEATURES:
        return parts
    (_, had, narrow), (_, tokens, wide) = before.array.shape, stage.array.shape
    each, rest = divmod(wide, narrow)
    facts = {"tokens": tokens, "each": each, "patches": tokens * each, "had": had}
    if rest == 0 and had == tokens * each:
        parts.append(say("stage.pixel_shuffle.all", language, **facts))
    elif rest == 0 and had == tokens * each + 1 and class_token(inspection):
        parts.append(say("stage.pixel_shuffle.without", language, **facts))
    return parts


def _projected(stage: Stage, inspection: Inspection, language: str) -> list[str]:
    parts = [say("stage.projector", language)]
    if "queries" in stage.axes:
        queries = stage.array.shape[stage.axes.index("queries")]
        parts.append(say("stage.projector.queries", language, queries=queries))
    return parts


def _positions(stage: Stage, inspection: Inspection, language: str) -> str:
    if stage.name in OF_TOKENS:
        return say("axis.positions.tokens", language)
    leading = class_token(inspection)
    if stage.name not in OF_PATCHES or (leading is None and not in_strips(inspection)):
        return say("axis.positions", language)
    if in_strips(inspection):
        return say("axis.positions.strip", language)
    if inspection.tower.attends is False:
        return say("axis.positions.cells", language)
    count = stage.array.shape[stage.axes.index("positions")]
    if leading and not _is_square(count):
        return say("axis.positions.class", language, patches=count - 1)
    return say("axis.positions.patches", language)
