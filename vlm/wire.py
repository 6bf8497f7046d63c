"""Messages as the JSON of OpenAI's chat API, and back. Images travel inside, as data addresses."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, cast

from vlm.errors import RequestError
from vlm.images import ImageLimits, open_image
from vlm.messages import Image, Message, Part, Role, Text

ROLES = ("system", "user", "assistant")


def messages_from_json(items: object, limits: ImageLimits) -> list[Message]:
    """Messages of `[{"role": "user", "content": "..." or [parts]}]`.

    A part is `{"type": "text", "text": ...}` or `{"type": "image_url", "image_url": {"url":
    "data:image/png;base64,..."}}`; other addresses are never fetched from here.

    Raises:
        RequestError: the JSON has another form.
        ImageError: an image that cannot be used.
    """
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise RequestError("history_form", got=type(items).__name__)
    return [_message(item, limits) for item in items]


def _message(item: object, limits: ImageLimits) -> Message:
    if not isinstance(item, Mapping) or item.get("role") not in ROLES:
        raise RequestError("history_form", got=str(item)[:60])
    content = item.get("content")
    if isinstance(content, str):
        return Message(cast(Role, item["role"]), (Text(content),))
    if not isinstance(content, Sequence):
        raise RequestError("history_form", got=str(content)[:60])
    return Message(cast(Role, item["role"]), tuple(_part(part, limits) for part in content))


def _part(part: Any, limits: ImageLimits) -> Part:
    try:
        if part["type"] == "text" and isinstance(part["text"], str):
            return Text(part["text"])
        if part["type"] == "image_url":
            return _image(str(part["image_url"]["url"]), limits)
    except (KeyError, TypeError):
        pass  # said below
    raise RequestError("history_form", got=str(part)[:60])


def _image(address: str, limits: ImageLimits) -> Image:
    head, _, data = address.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise RequestError("history_form", got=address[:60])
    try:
        return open_image(base64.b64decode(data, validate=True), limits=limits)
    except ValueError:  # no base64
        raise RequestError("history_form", got=address[:60]) from None
