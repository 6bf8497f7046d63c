"""The Chat tab: drop photos, ask, read the answer as it is written.

In: what a person types and attaches. Out: the conversation of `vlm.chat.ChatSession`, drawn. The
panel holds no conversation of its own.
"""

import html
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.processing_utils import save_pil_to_cache

from vlm.backend import Event, Finished, Progress, TextDelta
from vlm.chat import ChatSession
from vlm.errors import VLMError
from vlm.images import open_image, preview
from vlm.messages import Image
from vlm.report import end_words, progress_words, stats_words
from vlm.settings import GenerationOptions
from vlm.strings import error_text, say
from vlm.ui.context import Context, Visit
from vlm.wire import messages_from_json

log = logging.getLogger(__name__)

EXAMPLES = ("cat", "coffee", "photographer", "astronaut")
"""Files in assets/examples; the question of each is `example.NAME` in the table of words."""

REMOTE_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)|<img\b[^>]*>", re.IGNORECASE)


def build(context: Context) -> None:
    """Fills the tab."""
    ChatPanel(context)


class ChatPanel:
    """The components of the tab and what happens when they are used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        words, settings = context.words, context.settings
        with gr.Column(elem_id="conversation"):
            self.chat = gr.Chatbot(
                elem_id="chat",
                show_label=False,
                height="100%",
                layout="bubble",
                buttons=["copy"],
                feedback_options=None,
                sanitize_html=True,
                latex_delimiters=[
                    {"left": "$$", "right": "$$", "display": True},
                    {"left": "\\(", "right": "\\)", "display": False},
                    {"left": "\\[", "right": "\\]", "display": True},
                ],
            )
            words.add(self.chat, label="chat.label")
            with gr.Column(elem_id="examples") as self.examples:
                self.welcome = gr.Markdown(elem_id="welcome")
                words.add(self.welcome, value="chat.empty")
                with gr.Row(elem_id="example-row"):
                    buttons = {name: self._example_button(name) for name in EXAMPLES}
                self.private = gr.Markdown(elem_id="private")
                words.add(self.private, value="app.hosted" if settings.hosted else "app.private")
            self.stats = gr.HTML(elem_id="stats", padding=False)
            self.notice = gr.HTML(elem_id="notice", padding=False)
            with gr.Column(elem_id="composer"):
                self.box = gr.MultimodalTextbox(
                    elem_id="message",
                    show_label=False,
                    container=False,
                    file_types=["image"],
                    file_count="multiple",
                    max_lines=8,
                    max_plain_text_length=10_000_000,  # a long paste stays text
                    autofocus=True,
                )
                words.add(self.box, label="box.label", placeholder="box.placeholder")
                with gr.Row(elem_id="actions"):
                    self.stop = gr.Button(elem_id="stop", size="sm", visible=False, variant="stop")
                    self.clear = gr.Button(elem_id="clear", size="sm", visible=False)
                words.add(self.stop, value="button.stop")
                words.add(self.clear, value="button.clear")
        self._connect(buttons)
        self._serve_api()

    def _example_button(self, name: str) -> gr.Button:
        picture = self.context.assets / "examples" / f"{name}.jpg"
        button = gr.Button(icon=picture, elem_classes="example", min_width=120)
        return self.context.words.add(button, value=f"example.{name}")

    def _connect(self, examples: dict[str, gr.Button]) -> None:
        visit, language = self.context.visit, self.context.language
        outputs = [
            self.chat,
            self.examples,
            self.stats,
            self.notice,
            self.box,
            self.stop,
            self.clear,
        ]
        running = {
            "outputs": outputs,
            "show_progress": "hidden",
            "concurrency_limit": None,
            "api_visibility": "private",
        }
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.box.submit(self.send, [self.box, visit, language], **running)
        for name, button in examples.items():
            button.click(self._send_example(name), [visit, language], **running)
        self.stop.click(self.stop_answer, [visit], None, **quiet)
        self.clear.click(self.forget, [visit, language], outputs, **quiet)

    def _send_example(self, name: str) -> Any:
        picture = str(self.context.assets / "examples" / f"{name}.jpg")

        def send(visit: Visit, language: str) -> Iterator[dict[Any, Any]]:
            question = {"text": say(f"example.{name}", language), "files": [picture]}
            yield from self.send(question, visit, language)

        return send

    def send(self, value: dict[str, Any], visit: Visit, language: str) -> Iterator[dict[Any, Any]]:
        """Asks, and draws the answer as it grows; what fails comes back into the box."""
        try:
            yield from self._answer(value, visit, language)
        except VLMError as error:
            yield self._failed(value, visit, language, error_text(error, language))
        except Exception as error:
            log.exception("an answer failed")
            words = say("error.unexpected", language, detail=type(error).__name__)
            yield self._failed(value, visit, language, words)

    def _answer(
        self, value: dict[str, Any], visit: Visit, language: str
    ) -> Iterator[dict[Any, Any]]:
        session, kept = visit.session, len(visit.session.turns)
        text, files = (value.get("text") or ""), (value.get("files") or [])
        said = self._rows(visit, session, language)
        question = self._question(text, [], visit)
        visit.cancel = threading.Event()
        yield {**self._running(), self.chat: [*said, *question]}
        images: list[Image] = []
        for number, path in enumerate(files, 1):
            waiting = progress_words(Progress("reading", number, len(files)), language)
            yield {self.chat: [*said, *question, _pending(waiting)]}
            images.append(open_image(path, limits=self.context.settings.image_limits))
        question = self._question(text, images, visit)
        events = session.send(text, images, GenerationOptions(), visit.cancel)
        for reply in _replies(events, language):
            if visit.session is not session:  # cleared meanwhile
                visit.cancel.set()
                return
            yield {self.chat: [*said, *question, reply]}
        ended = self._ended(visit, language)
        if len(session.turns) == kept:  # stopped before the first word: nothing to go on from
            ended[self.box] = gr.update(value=value, submit_btn=True)
        yield ended

    def _rows(self, visit: Visit, session: ChatSession, language: str) -> list[dict[str, Any]]:
        """The conversation so far, as the Chatbot takes it."""
        rows: list[dict[str, Any]] = []
        for turn in session.turns:
            rows += self._question(turn.question.text, turn.question.images, visit)
            rows.append(_reply(turn.answer, turn.finished, language))
        return rows

    def _question(self, text: str, images: Sequence[Image], visit: Visit) -> list[dict[str, Any]]:
        """A user's turn: its images in a row, then its words."""
        content: list[Any] = [
            gr.Image(
                self._preview(image, visit),
                alt_text=image.name,
                buttons=["fullscreen"],
                show_label=False,
                render=False,
            )
            for image in images
        ]
        content += [text] if text.strip() else []
        return [{"role": "user", "content": content}] if content else []

    def _preview(self, image: Image, visit: Visit) -> str:
        """A small copy without metadata, for the page only."""
        if image.sha256 not in visit.previews:
            small = preview(image, 1024)
            folder = self.chat.GRADIO_CACHE
            visit.previews[image.sha256] = save_pil_to_cache(small, folder, name="photo")
        return visit.previews[image.sha256]

    def _running(self) -> dict[Any, Any]:
        return {
            self.examples: gr.update(visible=False),
            self.stats: "",
            self.notice: "",
            self.box: gr.update(value=None, submit_btn=False),
            self.stop: gr.update(visible=True),
            self.clear: gr.update(visible=False),
        }

    def _ended(self, visit: Visit, language: str) -> dict[Any, Any]:
        """The conversation as it stands, and a box that can send again."""
        turns = visit.session.turns
        return {
            self.chat: self._rows(visit, visit.session, language),
            self.examples: gr.update(visible=not turns),
            self.stats: _line(stats_words(turns[-1].finished, language)) if turns else "",
            self.box: gr.update(submit_btn=True),
            self.stop: gr.update(visible=False),
            self.clear: gr.update(visible=bool(turns)),
        }

    def _failed(
        self, value: dict[str, Any], visit: Visit, language: str, words: str
    ) -> dict[Any, Any]:
        """The conversation as it was, the question back in the box, and why."""
        return {
            **self._ended(visit, language),
            self.notice: f'<div class="card" role="alert">{html.escape(words)}</div>',
            self.box: gr.update(value=value, submit_btn=True),
        }

    def stop_answer(self, visit: Visit) -> None:
        """Ends the answer that runs; what is written of it stays."""
        visit.cancel.set()

    def forget(self, visit: Visit, language: str) -> dict[Any, Any]:
        """A new conversation."""
        visit.cancel.set()
        visit.session = self.context.new_session()
        visit.previews.clear()
        return {**self._ended(visit, language), self.notice: ""}

    def _serve_api(self) -> None:
        """`/chat` for programs: the same engine, nothing kept between calls."""
        message = gr.MultimodalTextbox(file_count="multiple", label="message", visible=False)
        history = gr.JSON(label="history", value=[], visible=False)
        options = gr.JSON(label="settings", value={}, visible=False)
        reply = gr.Textbox(label="reply", visible=False)
        gr.Button(visible=False).click(
            self.answer_api,
            [message, history, options],
            reply,
            api_name="chat",
            concurrency_limit=None,
        )

    def answer_api(
        self,
        message: dict[str, Any],
        history: list[dict[str, Any]] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Iterator[str]:
        """Answers one message; yields the text so far.

        Args:
            message: {"text": ..., "files": [...]}.
            history: earlier messages as OpenAI JSON; images as data addresses.
            settings: options of the answer, such as {"temperature": 0.7, "seed": 1}.
        """
        limits = self.context.settings.image_limits
        cancel, answer = threading.Event(), ""
        try:
            said = messages_from_json(history or [], limits)
            images = [open_image(path, limits=limits) for path in message.get("files") or []]
            session = ChatSession.resume(
                self.context.backend, said, max_images=self.context.settings.max_images
            )
            given = GenerationOptions.from_json(settings or {})
            for event in session.send(message.get("text") or "", images, given, cancel):
                if isinstance(event, TextDelta):
                    answer += event.text
                    yield answer
            yield answer
        except VLMError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            cancel.set()


def _replies(events: Iterator[Event], language: str) -> Iterator[dict[str, Any]]:
    """The answer as it grows: what is happening, then the text so far."""
    answer = ""
    for event in events:
        if isinstance(event, TextDelta):
            answer += event.text
            yield _reply(answer)
        elif isinstance(event, Progress) and not answer:
            yield _pending(progress_words(event, language))


def _pending(words: str) -> dict[str, Any]:
    """What stands in the answer's place until its first word."""
    return {"role": "assistant", "content": f'<span class="pending">{html.escape(words)}</span>'}


def _reply(text: str, finished: Finished | None = None, language: str = "en") -> dict[str, Any]:
    """An answer as the Chatbot takes it. Pictures a model writes are named, never fetched."""
    safe = REMOTE_IMAGE.sub(lambda found: found.group(1) or "", text)
    end = end_words(finished, language) if finished else ""
    if finished and not text.strip():
        end = say("answer.empty", language)
    note = f'<span class="ended">{html.escape(end)}</span>' if end else ""
    return {"role": "assistant", "content": f"{safe}\n\n{note}" if note else safe}


def _line(words: str) -> str:
    return f'<p class="stats" role="status">{html.escape(words)}</p>'
