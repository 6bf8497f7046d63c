"""Handlers of a section that say what fails, in its own notice, and lose nothing."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from vlm.errors import RequestError, VLMError
from vlm.strings import error_text, say
from vlm.ui.chat_view import card
from vlm.ui.context import Updates, Visit, action_button
from vlm.ui.drawer import problem_words

log = logging.getLogger(__name__)

Handler = Callable[..., Iterator[Updates]]


def gone_card(language: str) -> str:
    """Says that the page is older than the program, which knows nothing of its visit."""
    reload = action_button("reload", say("way.reload", language))
    return card(say("visit.gone", language), reload, language)


def safely(
    work: Handler,
    notice: gr.HTML,
    at_rest: Callable[[Visit, str], Updates],
    ways: Callable[[Visit, str], str] = lambda *_: "",
) -> Handler:
    """A handler of Gradio around one that may fail; its first inputs are visit and language.

    Args:
        work: yields updates; raises VLMError.
        notice: where it is said what failed.
        at_rest: (visit, language) -> everything else as it stands then.
        ways: (visit, language) -> buttons beside what failed.
    """

    def handler(visit: Visit | None, language: str, *rest: Any) -> Iterator[Updates]:
        if visit is None:
            yield {notice: gone_card(language)}
            return
        try:
            yield from work(visit, language, *rest)
            return
        except VLMError as error:
            is_number = error.key in ("option_type", "option_out_of_range")
            words = problem_words(error, language) if is_number else error_text(error, language)
        except Exception as error:
            log.exception("%s failed", getattr(work, "__name__", work))
            unexpected = RequestError("panel_unexpected", detail=type(error).__name__)
            words = error_text(unexpected, language)
        said = card(words, ways(visit, language), language)
        yield {**at_rest(visit, language), notice: said}

    return handler
