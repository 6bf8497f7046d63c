"""The header above the tabs: mark, name, the model that is loaded, language, light or dark."""

import contextlib
import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm import families
from vlm.errors import VLMError
from vlm.strings import LANGUAGES, choose_language, error_text, say
from vlm.ui.context import QUIET, RUNNING, Context

BROWSER_LANGUAGE = "() => localStorage.getItem('diptych-language') || navigator.language"
REMEMBER_LANGUAGE = """(language) => {
    localStorage.setItem('diptych-language', language);
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
    return language;
}"""
SWITCH_THEME = """() => {
    const dark = document.body.classList.toggle('dark');
    localStorage.setItem('diptych-theme', dark ? 'dark' : 'light');
}"""
RESTORE_THEME = """() => {
    const theme = localStorage.getItem('diptych-theme');
    if (theme) document.body.classList.toggle('dark', theme === 'dark');
}"""


LOOK_SECONDS = 5.0
"""Between two looks whether another visitor has exchanged the model."""


@dataclass(frozen=True)
class Header:
    """The components of the header."""

    model_status: gr.HTML
    language: gr.Radio
    theme: gr.Button


def build_header(context: Context) -> Header:
    """One thin row; the controls are connected later, once every panel has named its words."""
    mark = (context.assets / "mark.svg").read_text(encoding="utf-8")
    with gr.Row(elem_id="header"):
        gr.HTML(f'<h1 class="brand">{mark}<span>Diptych</span></h1>', padding=False)
        status = gr.HTML(_status("…", "loading"), elem_id="model-status", padding=False)
        language = gr.Radio(
            [(name, code) for code, name in LANGUAGES.items()],
            value="en",
            elem_id="language",
            container=False,
            label=say("app.language"),
        )
        theme = gr.Button("◐", elem_id="theme", size="sm", min_width=44)
        context.words.add(theme, value="app.theme")
    return Header(status, language, theme)


def connect(context: Context, header: Header) -> None:
    """The first load of the page, and the two switches."""
    words, page = context.words, context.page
    relabelled = [context.language, *words.components]
    browser_language = gr.Textbox(visible=False)

    def relabel(language: str) -> list[Any]:
        return [language, *words.updates(language)]

    def arrive(tag: str, request: gr.Request) -> list[Any]:
        setting = context.settings.language
        language = choose_language(tag) if setting == "auto" else setting
        return [context.arrive(request), language, *relabel(language)]

    arrived = page.load(
        arrive,
        [browser_language],
        [context.visit, header.language, *relabelled],
        js=BROWSER_LANGUAGE,
        **QUIET,
    )
    page.unload(context.leave)
    page.load(None, js=RESTORE_THEME)

    def watch(language: str) -> Iterator[str]:
        yield from watch_model(context, language)

    ready = arrived.then(watch, [context.language], [header.model_status], **RUNNING)
    changed = header.language.input(
        relabel, [header.language], relabelled, js=REMEMBER_LANGUAGE, **QUIET
    )

    def show_model(language: str) -> str:
        return model_words(context, language)

    for exchanged in context.exchanges:  # also after one that failed, which says nothing itself
        exchanged.then(show_model, [context.language], [header.model_status], **QUIET)
    for refresh, inputs, outputs in context.refreshers:
        ready.then(refresh, inputs, outputs, **QUIET)
        changed.then(refresh, inputs, outputs, **QUIET)
        for exchanged in context.exchanges:
            exchanged.then(refresh, inputs, outputs, **QUIET)
    header.theme.click(None, js=SWITCH_THEME)
    _hear_of_others(context, header)


def _hear_of_others(context: Context, header: Header) -> None:
    """The model that another visitor loads or puts away is told of, everywhere on the page.

    One small request every few seconds; what it finds unchanged changes nothing.
    """
    seen, moved = gr.State(""), gr.Textbox(visible="hidden")

    def look(before: str, language: str) -> tuple[Any, Any, Any]:
        slot = context.backend
        now = f"{slot.revision} {slot.state}"
        if now == before:
            return gr.skip(), gr.skip(), gr.skip()
        if not before:  # the page has just come, and is told by `watch_model`
            return now, gr.skip(), gr.skip()
        return now, now, model_words(context, language)

    timer = gr.Timer(LOOK_SECONDS)
    outputs = [seen, moved, header.model_status]
    timer.tick(look, [seen, context.language], outputs, **QUIET)
    for refresh, inputs, shown in context.refreshers:
        moved.change(refresh, inputs, shown, trigger_mode="multiple", **QUIET)


def watch_model(context: Context, language: str) -> Iterator[str]:
    """Says what is being loaded, then what is loaded."""
    if context.backend.state != "ready":
        words = say("model.loading", language, name=_wanted(context))
        yield _status(words, "loading")
    with contextlib.suppress(VLMError):  # it is told below
        context.backend.capabilities()
    yield model_words(context, language)


def model_words(context: Context, language: str) -> str:
    """What is loaded now, or why nothing is."""
    slot = context.backend
    if slot.state == "loading" and (loading := slot.loading) is not None:
        words = say("model.loading", language, name=families.title(loading.settings.model))
        return _status(words, "loading")
    if (error := slot.error) is not None:
        words = say("model.failed", language, name=_wanted(context))
        why = error_text(error, language) if isinstance(error, VLMError) else repr(error)
        return _status(words, "failed", why)
    if slot.able is None:
        return _status(say("model.loading", language, name=_wanted(context)), "loading")
    return _status(" · ".join([slot.able.name, *slot.able.details]), "ready")


def _wanted(context: Context) -> str:
    """The name of the model that the settings ask for."""
    return families.title(context.backend.settings.model)


def _status(words: str, state: str, detail: str = "") -> str:
    title = f' title="{html.escape(detail, quote=True)}"' if detail else ""
    return (
        f'<button type="button" class="status {state}" aria-live="polite"{title}>'
        f"{html.escape(words)}</button>"
    )
