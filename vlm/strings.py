"""Every word that a person sees, once, in English and Simplified Chinese.

`say(key, language, **facts)` gives a sentence; errors carry a key into the same table. Braces
name facts. Keys are grouped by their first word; a test checks that both languages are there and
name the same facts.
"""

from collections.abc import Mapping

from vlm.errors import VLMError, set_lookup
from vlm.words.chat import CHAT
from vlm.words.checkpoint_errors import CHECKPOINT_ERRORS
from vlm.words.compare import COMPARE
from vlm.words.errors import ERRORS
from vlm.words.image_errors import IMAGE_ERRORS
from vlm.words.inspect import INSPECT
from vlm.words.models import MODELS
from vlm.words.page import PAGE
from vlm.words.places import PLACES
from vlm.words.stages import STAGES
from vlm.words.terminal import TERMINAL
from vlm.words.versus import VERSUS

LANGUAGES = {"en": "English", "zh": "简体中文"}

TABLE: Mapping[str, tuple[str, str]] = {
    **PAGE,
    **CHAT,
    **COMPARE,
    **INSPECT,
    **STAGES,
    **PLACES,
    **MODELS,
    **VERSUS,
    **TERMINAL,
    **IMAGE_ERRORS,
    **CHECKPOINT_ERRORS,
    **ERRORS,
}


def say(key: str, language: str = "en", /, **facts: object) -> str:
    """The sentence of a key in "en" or "zh", its facts filled in. KeyError for an unknown key."""
    return TABLE[key][list(LANGUAGES).index(language)].format(**facts)


def error_text(error: VLMError, language: str = "en") -> str:
    """What a person reads of an error."""
    return say(f"error.{error.key}", language, **error.facts)


def choose_language(tag: str) -> str:
    """The language to show for a tag such as "zh-CN", "zh_TW.UTF-8" or an Accept-Language list."""
    return "zh" if tag.strip().lower().startswith("zh") else "en"


set_lookup(lambda key, facts: say(f"error.{key}", "en", **facts))
