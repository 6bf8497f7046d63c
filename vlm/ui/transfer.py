"""Conversations out of the page and back in: export, import, keeping in the browser, clearing.

In: a press of a button, a file, or what the browser kept. Out: a file, or the visit's new session.
"""

import base64
import binascii
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from vlm.chat import ChatSession
from vlm.errors import RequestError, VLMError
from vlm.report import byte_words
from vlm.strings import error_text, say
from vlm.transcript import Conversation, from_zip, to_html, to_zip
from vlm.ui import chat_view
from vlm.ui.chat_parts import Parts
from vlm.ui.context import QUIET, RUNNING, Context, Draft, Updates, Visit, action_button
from vlm.ui.drawer import shortened

KEPT_BYTES = 50_000_000
"""The largest conversation to keep in a browser; its share of the disk is not ours to fill."""

FILE_NAME = "conversation"
DOWNLOAD = "() => setTimeout(() => document.querySelector('#exported')?.click(), 100)"
REMEMBER_KEEPING = "(keep) => localStorage.setItem('diptych-keep', keep ? '1' : '0')"
RESTORE_KEEPING = """async () => [
    localStorage.getItem('diptych-keep') === '1', JSON.stringify(await window.diptych.list())]"""
KEEP = """async (record) => {
    try {
        if (record && localStorage.getItem('diptych-keep') === '1')
            await window.diptych.keep(JSON.parse(record));
        return JSON.stringify(await window.diptych.list());
    } catch (error) {
        return JSON.stringify({problem: error.name});
    }
}"""
FORGET = """async () => {
    for (const name of Object.keys(localStorage))
        if (name.startsWith('diptych-')) localStorage.removeItem(name);
    await window.diptych.forget();
    return '[]';
}"""


class Transfer:
    """The part of the drawer that is about whole conversations.

    Args:
        at_rest: (visit, language) -> what is shown of a conversation.
    """

    def __init__(
        self, context: Context, parts: Parts, at_rest: Callable[[Visit, str], Updates]
    ) -> None:
        self.context = context
        self.parts = parts
        self.at_rest = at_rest
        self._record = gr.Textbox(visible="hidden")
        self.acts: dict[str, Callable[[Draft, dict[str, str]], Iterator[Updates]]] = {
            "open_kept": self.open_kept,
            "delete_kept": self.delete_kept,
            "bring_back": self.bring_back,
        }

    def connect(self) -> None:
        """Connects the buttons, and what the browser does after an answer."""
        parts, visit, language = self.parts, self.context.visit, self.context.language
        record = self._record
        listing = gr.Textbox(visible="hidden")
        made = [parts.file, parts.notice]
        parts.export.click(self.export_zip, [visit, language], made, **RUNNING).success(
            None, js=DOWNLOAD
        )
        parts.export_page.click(self.export_page, [visit, language], made, **RUNNING).success(
            None, js=DOWNLOAD
        )
        parts.opened.upload(
            self.import_file, [parts.opened, visit, language], parts.shown, **RUNNING
        )
        parts.forget.click(
            self.forget, [visit, language], [*parts.shown, parts.keep], **QUIET
        ).then(None, None, [listing], js=FORGET)
        gr.on(
            [parts.stats.change, parts.keep.change],
            self.record,
            [parts.keep, visit, language],
            [record, parts.notice],
            trigger_mode="multiple",  # `Composer.look` waits already: see QUIET
            **QUIET,
        ).then(None, [record], [listing], js=KEEP)
        parts.keep.input(None, [parts.keep], None, js=REMEMBER_KEEPING)
        listing.change(self.listed, [listing, language], [parts.kept, parts.notice], **QUIET)
        self.context.page.load(None, None, [parts.keep, listing], js=RESTORE_KEEPING)

    # ---- files ----

    def export_zip(self, visit: Visit, language: str) -> Updates:
        """The conversation as a file that can be opened again."""
        return self._file(visit, language, "zip", lambda kept: to_zip(kept))

    def export_page(self, visit: Visit, language: str) -> Updates:
        """The conversation as a page to read."""
        return self._file(visit, language, "html", lambda kept: to_html(kept, language).encode())

    def _file(
        self, visit: Visit, language: str, kind: str, write: Callable[[Conversation], bytes]
    ) -> Updates:
        if not visit.session.turns:
            card = chat_view.card(say("export.nothing", language), "", language, "note")
            return {self.parts.notice: card, self.parts.file: None}
        try:
            data = write(self._conversation(visit))
        except VLMError as error:
            return {self.parts.notice: _failure(error, language), self.parts.file: None}
        visit.folder.mkdir(parents=True, exist_ok=True)
        path = visit.folder / f"{FILE_NAME}.{kind}"
        path.write_bytes(data)
        return {self.parts.file: str(path), self.parts.notice: ""}

    def _conversation(self, visit: Visit) -> Conversation:
        session = visit.session
        able = self.context.backend.able
        model = able.name if able else ""
        return Conversation(session.start, model, session.system_prompt, session.dropped)

    def import_file(self, path: str | None, visit: Visit, language: str) -> Updates:
        """Goes on with an exported conversation; the one before can be brought back."""
        if path is None:
            return gr.skip()
        try:
            data = Path(path).read_bytes()
            return self._open(data, visit, language)
        except VLMError as error:
            return {self.parts.notice: _failure(error, language)}
        finally:
            Path(path).unlink(missing_ok=True)

    def _open(self, data: bytes, visit: Visit, language: str) -> Updates:
        settings = self.context.settings
        limits = settings.conversation_limits
        kept = from_zip(data, limits=limits, max_bytes=limits.file_bytes)
        if visit.busy:
            raise RequestError("busy")
        session = ChatSession(
            self.context.backend,
            system_prompt=kept.system_prompt,
            max_images=settings.max_images,
            start=kept.start,
        )
        session.drop_oldest(kept.dropped)
        visit.begin(session)
        count = len(session.turns)
        words = say("import.done", language, count=count, model=kept.model or "?")
        return {
            **self.at_rest(visit, language),
            self.parts.drawer.system_prompt: kept.system_prompt,
            self.parts.notice: chat_view.card(words, way_back(visit, language), language, "note"),
        }

    def bring_back(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """The conversation before this one."""
        if draft.visit.before is not None:
            draft.visit.begin(draft.visit.before)
        yield {**self.at_rest(draft.visit, draft.language), self.parts.notice: ""}

    # ---- keeping in the browser ----

    def record(self, keep: bool, visit: Visit | None, language: str) -> Updates:
        """What the browser is to keep, as JSON; empty for nothing."""
        if not keep or visit is None or visit.busy or not visit.session.turns:
            return {self._record: ""}
        try:
            data = to_zip(self._conversation(visit))
        except VLMError as error:
            return {self._record: "", self.parts.notice: _failure(error, language)}
        if len(data) > KEPT_BYTES:
            sizes = {"got": byte_words(len(data)), "limit": byte_words(KEPT_BYTES)}
            words = say("keep.too_large", language, **sizes)
            card = chat_view.card(words, "", language, "note")
            return {self._record: "", self.parts.notice: card}
        title = shortened(visit.session.turns[0].question.text, 60) or "…"
        record = {"id": visit.session.key, "title": title}
        return {self._record: json.dumps({**record, "data": base64.b64encode(data).decode()})}

    def listed(self, listing: str, language: str) -> Updates:
        """What the browser says that it keeps, or why it cannot."""
        kept = json.loads(listing or "[]")
        if isinstance(kept, dict):
            words = say("keep.failed", language, reason=kept.get("problem", "?"))
            return {self.parts.notice: chat_view.card(words, "", language)}
        return {self.parts.kept: self.list_kept(kept, language)}

    def list_kept(self, records: list[Any], language: str) -> str:
        """The kept conversations, each with buttons to open and to delete it."""
        lines = [_kept_line(record, language) for record in records if isinstance(record, dict)]
        title = html.escape(say("keep.list", language))
        return f'<div class="kept"><p>{title}</p><ul>{"".join(lines)}</ul></div>' if lines else ""

    def open_kept(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """A conversation that the browser kept; what it kept is checked like any file."""
        try:
            data = base64.b64decode(facts.get("data", ""), validate=True)
        except binascii.Error:
            data = b""
        opened = self._open(data, draft.visit, draft.language)
        draft.visit.session.key = facts["id"]  # from now on it is kept in its old place
        yield opened

    def delete_kept(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """The browser has deleted one; this is what is left."""
        left = json.loads(facts.get("list") or "[]")
        yield {self.parts.kept: self.list_kept(left, draft.language)}

    def forget(self, visit: Visit, language: str) -> Updates:
        """Everything of this visit, here and in the browser."""
        self.context.forget(visit)
        visit.session, visit.before, visit.editing = self.context.new_session(), None, None
        visit.left_as_text.clear()
        words = chat_view.card(say("forget.done", language), "", language, "note")
        drawer = self.parts.drawer
        emptied = {
            field: value for name in drawer.names for field, value in drawer.reset(name).items()
        }
        return {
            **self.at_rest(visit, language),
            **emptied,
            self.parts.box: gr.update(value={"text": "", "files": []}),
            self.parts.keep: False,
            self.parts.kept: "",
            self.parts.notice: words,
        }


def _failure(error: VLMError, language: str) -> str:
    return chat_view.card(error_text(error, language), "", language)


def way_back(visit: Visit, language: str) -> str:
    """A button that brings back the conversation before, where there was one."""
    if visit.before is None or not visit.before.turns:
        return ""
    return action_button("bring_back", say("way.bring_back", language))


def _kept_line(record: dict[str, Any], language: str) -> str:
    title, saved = str(record.get("title", "")), str(record.get("saved", ""))[:16]
    id = str(record.get("id", ""))
    opens = action_button("open_kept", title, say("keep.open", language, title=title), id=id)
    deletes = action_button("delete_kept", "×", say("keep.delete", language, title=title), id=id)
    return f"<li>{opens} <time>{html.escape(saved.replace('T', ' '))}</time> {deletes}</li>"
