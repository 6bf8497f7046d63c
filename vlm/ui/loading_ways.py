"""What can be done where a model did not come, as buttons: the same in fewer bits, another, again.

In: the error, what was to be loaded, the list of models. Out: HTML. Nothing is offered that is
bound to fail again.
"""

from collections.abc import Sequence
from typing import Any

from vlm import families
from vlm.errors import VLMError
from vlm.families import common
from vlm.picker import FEWER_BITS, LOADING_ERRORS, Row, found, largest_that_fits
from vlm.report import byte_words
from vlm.settings import Settings
from vlm.sources import page_of
from vlm.strings import say
from vlm.ui.context import action_button, escaped

WRONG_NAMES = ("no_model_named", "no_such_checkpoint", "hub_missing", "not_a_folder")
"""Errors of names: the one that was meant may be in the list."""

WRONG_FILES = (
    "needs_own_code",
    "pickled_code",
    "gguf_not_taken",
    "not_image_to_text",
    "no_processor",
    "no_config",
    "no_weights",
    "quantiser_missing",
    "package_missing",
)
"""Errors of what lies there, which no other try mends; a checkpoint of a like name may do."""

ELSEWHERE = ("hub_unreachable", "hub_gated", "hub_file_missing", "disk_full")
"""Errors of fetching: another try may mend them, and what is here already needs none."""


def ways_on(
    error: VLMError, settings: Settings, rows: Sequence[Row], here: str, language: str
) -> str:
    """Buttons for what can be done about a model that did not come.

    Args:
        error: why.
        settings: that it was to be loaded with.
        rows: the list of models, in what fits.
        here: name of the model that is loaded; empty where there is none.
        language: of the words.
    """
    key, model = error.key, settings.model
    others = [row for row in rows if row.checkpoint.name not in (model, here)]
    fitting = [row for row in others if row.verdict.kind == "fits"]
    if key in LOADING_ERRORS:
        tried = str(error.facts.get("precision", settings.quantization))  # what "auto" came to
        return _fewer_bits(model, tried, language) + _instead([largest_that_fits(others)], language)
    if key == "already_quantised":
        return _load(say("way.load_as_stored", language), model, "auto")
    at_hand = [row for row in fitting if row.here]
    if key in (*WRONG_NAMES, *WRONG_FILES):
        names = [row for row in rows if row.checkpoint.name != model]
        like = found(names, model)[:3] if model.strip() else []
        if like:
            return _instead(like, language)
        ways = _on_this_machine(largest_that_fits(at_hand), others, here, language)
        return ways or _instead([largest_that_fits(others)], language)
    again = _load(say("way.try_again", language), model, settings.quantization)
    if key not in ELSEWHERE:
        return again
    if key == "disk_full":
        free = float(str(error.facts["free"])) * 1e9
        small = [row for row in fitting if row.here or row.disk_bytes < free]
        return again + _on_this_machine(largest_that_fits(small), others, here, language)
    pages = "".join(_page(part, language) for part in common.parts(model)) if key != _LOST else ""
    return pages + again + _on_this_machine(largest_that_fits(at_hand), others, here, language)


def _on_this_machine(best: Row | None, others: Sequence[Row], here: str, language: str) -> str:
    """A button for what needs no network: another model, or else the one that is loaded still."""
    kept = [row for row in others if row.here and row.verdict.kind != "too_big"]
    best = best or min(kept, key=lambda row: row.verdict.estimate.total, default=None)
    if best is not None:
        return _instead([best], language)
    if not here:
        return ""
    words = say("way.go_on", language, name=families.title(here))
    return action_button("go_to", words, tab="chat")


_LOST = "hub_unreachable"
"""No page can be opened then."""


def _fewer_bits(model: str, tried: str, language: str) -> str:
    names = {"int8": "way.load_eight_bits", "nf4": "way.load_four_bits"}
    kinds = FEWER_BITS.get(tried, ())
    return "".join(_load(say(names[kind], language), model, kind) for kind in kinds)


def _instead(rows: Sequence[Row | None], language: str) -> str:
    """Buttons for other models of the list."""
    return "".join(
        _load(_other(row, language), row.checkpoint.name, row.verdict.quantization)
        for row in rows
        if row is not None
    )


def _other(row: Row, language: str) -> str:
    """What a button for another model says; with what would be fetched."""
    key = "way.load_smaller" if row.here else "way.fetch_smaller"
    size = byte_words(row.disk_bytes)
    return say(key, language, name=row.checkpoint.title, size=size)


def _load(words: str, model: str, quantization: str) -> str:
    facts: dict[str, Any] = {"model": model, "quantization": quantization}
    return action_button("load", words, **facts)


def _page(part: str, language: str) -> str:
    """A link to the page of a hub repository; nothing for a folder."""
    address = page_of(part)
    if address is None:
        return ""
    words = escaped(say("way.hub_page", language, name=part))
    return (
        f'<a class="act" href="{escaped(address)}" target="_blank" rel="noopener noreferrer">'
        f"{words}</a>"
    )
