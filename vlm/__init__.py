"""Diptych: chat with, compare and look inside vision-language models.

The values are imported at once; what needs torch is found on first use, so `import vlm` is quick.

    from vlm import ChatSession, Engine, open_image
"""

import importlib
from typing import TYPE_CHECKING

from vlm import strings as _strings  # gives errors their words
from vlm.errors import ImageError, ModelError, RequestError, SettingError, VLMError
from vlm.images import open_image
from vlm.messages import Image, Message, Text
from vlm.options import GenerationOptions
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.chat import ChatSession
    from vlm.engine import Engine

__version__ = "0.1.0"
__all__ = [
    "ChatSession",
    "Engine",
    "GenerationOptions",
    "Image",
    "ImageError",
    "Message",
    "ModelError",
    "RequestError",
    "SettingError",
    "Settings",
    "Text",
    "VLMError",
    "open_image",
]

_LATER = {"ChatSession": "vlm.chat", "Engine": "vlm.engine"}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'vlm' has no attribute {name!r}")


del _strings
