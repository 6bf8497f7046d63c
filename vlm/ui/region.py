"""A region that somebody marks on the photo in Inspect, to be asked about in Chat.

In: shares of the photo, from assets/region.js. Out: the cut on its way to Chat, or why there is
none. It is cut here, out of the photo's own pixels.
"""

import math
from collections.abc import Sequence

import gradio as gr

from vlm.errors import RequestError, VLMError
from vlm.images import made_image
from vlm.messages import Image
from vlm.strings import error_text, say
from vlm.ui.answered import Sent
from vlm.ui.chat_view import card
from vlm.ui.context import QUIET, Context, Visit, action_button, escaped

LEAST_SIDE = 8
"""Pixels of a region's shorter side."""
ACT = "ask_region"


def tools(image: Image, language: str) -> str:
    """The buttons below a photo on which a region can be marked, as HTML."""

    def own(name: str) -> str:
        """A button that the page hears by itself."""
        words = escaped(say(f"region.{name}", language))
        hidden = "" if name == "mark" else " hidden"
        return f'<button type="button" class="act" data-region="{name}"{hidden}>{words}</button>'

    ask = action_button(ACT, say("region.ask", language), image=image.sha256, box="")
    ask = ask.replace("<button ", "<button hidden ", 1)
    frame = escaped(say("region.frame", language, left="{l}", top="{t}", width="{w}", height="{h}"))
    return (
        f'<div class="cutting" data-frame="{frame}"><div class="bar">{own("mark")}{ask}'
        f'{own("end")}</div><p class="quiet how" role="status" hidden>'
        f"{escaped(say('region.how', language))}</p></div>"
    )


def connect(context: Context, channel: gr.HTML, notice: gr.HTML) -> None:
    """Cuts what was marked and takes it to Chat.

    Args:
        context: of the page.
        channel: what hears of the buttons.
        notice: where it is said why there is nothing to be cut.
    """

    def send(event: gr.EventData, visit: Visit | None, language: str) -> object:
        facts = event._data
        if visit is None or facts.get("act") != ACT:
            return gr.skip()
        try:
            image = visit.known(str(facts.get("image", "")))
            if image is None:
                raise RequestError("region_without_photo")
            region = cut(image, numbers(facts.get("box")))
            visit.sent["chat"] = Sent(sent(image, region, context))
        except VLMError as error:
            return card(error_text(error, language), "", language)
        return ""

    cutting = channel.click(send, [context.visit, context.language], [notice], **QUIET)
    cutting.then(None, [notice], None, js="(notice) => window.diptych.region.sent(notice)")


def sent(image: Image, region: Image, context: Context) -> list[Image]:
    """The region, after the whole picture where the model takes several."""
    able = context.backend.able
    limit = able.images_per_turn if able is not None else None
    several = (limit is None or limit > 1) and context.settings.max_images > 1
    return [image, region] if several else [region]


def numbers(written: object) -> list[float]:
    """The four numbers of a box, as the page sends them. Raises RequestError."""
    words = str(written or "").split()
    try:
        found = [float(word) for word in words]
    except ValueError as error:
        raise RequestError("region_wrong", got=str(written)[:60]) from error
    if len(found) != 4 or not all(math.isfinite(each) for each in found):
        raise RequestError("region_wrong", got=str(written)[:60])
    return found


def cut(image: Image, box: Sequence[float]) -> Image:
    """A part of an image, as an image of its own.

    Args:
        image: to be cut.
        box: left, top, right, bottom in shares of it, 0 to 1.

    Raises:
        RequestError: it is no part of the image, or too small to show anything.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise RequestError("region_wrong", got=" ".join(f"{each:g}" for each in box))
    width, height = image.pixels.size
    pixels = (
        math.floor(left * width),
        math.floor(top * height),
        math.ceil(right * width),
        math.ceil(bottom * height),
    )
    size = pixels[2] - pixels[0], pixels[3] - pixels[1]
    if min(size) < LEAST_SIDE:
        raise RequestError("region_small", width=size[0], height=size[1], least=LEAST_SIDE)
    part = image.pixels.crop(pixels)
    if part.mode == "P":  # a file of such pixels would lose what is transparent
        part = part.convert("RGBA" if part.has_transparency_data else "RGB")
    return made_image(part, f"region-{image.name}")
