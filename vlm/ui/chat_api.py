"""`/chat` for programs: the same engine as the page, and nothing kept between calls."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr

from vlm.backend import TextDelta
from vlm.chat import ChatSession
from vlm.errors import RequestError, VLMError
from vlm.images import open_image
from vlm.markup import PlainText
from vlm.options import GenerationOptions
from vlm.ui.context import Context
from vlm.wire import messages_from_json


def serve(context: Context) -> None:
    """Adds the endpoint to the page that is being built."""

    def answer(
        message: dict[str, Any],
        history: list[dict[str, Any]] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Iterator[str]:
        """Answers one message; yields the text so far, boxes and points as numbers.

        What was yielded is the beginning of all that follows: a program can print what is new.

        Args:
            message: {"text": ..., "files": [...]}.
            history: earlier messages as OpenAI JSON; images as data addresses.
            settings: options of the answer, such as {"temperature": 0.7, "seed": 1}.
        """
        limits, text, reply = context.settings.image_limits, PlainText(), ""
        cancel = threading.Event()
        try:
            said = messages_from_json(history or [], limits)
            files, most = message.get("files") or [], context.settings.max_images
            if len(files) > most:  # told before any of them is decoded
                raise RequestError("too_many_images", got=len(files), limit=most)
            images = [open_image(path, limits=limits) for path in files]
            session = ChatSession.resume(
                context.backend, said, max_images=context.settings.max_images
            )
            given = GenerationOptions.from_json(settings or {})
            for event in session.send(message.get("text") or "", images, given, cancel):
                if isinstance(event, TextDelta):
                    reply += text.push(event.text)
                    yield reply
            yield reply + text.finish()
        except VLMError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            cancel.set()

    gr.Button(visible=False).click(
        answer,
        [
            gr.MultimodalTextbox(file_count="multiple", label="message", visible=False),
            gr.JSON(label="history", value=[], visible=False),
            gr.JSON(label="settings", value={}, visible=False),
        ],
        gr.Textbox(label="reply", visible=False),
        api_name="chat",
        concurrency_limit=None,
    )
