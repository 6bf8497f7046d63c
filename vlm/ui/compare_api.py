"""`/compare` for programs: the figures of two or more pictures as JSON, and an answer if asked."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from vlm.compare_ask import Reply, ask, crops, plan
from vlm.errors import RequestError, VLMError
from vlm.images import open_image
from vlm.messages import Image
from vlm.strings import error_text
from vlm.ui.context import Context

if TYPE_CHECKING:
    from vlm.compare import Comparison


def serve(context: Context) -> None:
    """Adds the endpoint to the page that is being built."""

    def compare_files(
        files: list[str], question: str = "", closer: bool = False, aligned: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Compares the first picture with each of the others; asks about all of them.

        Args:
            files: two or more pictures.
            question: about all of them together; empty for none.
            closer: whether the changed regions of the first two go along as crops.
            aligned: whether each is laid on the first before they are compared.

        Returns:
            {"pairs": [{"first": 1, "second": 2, "alignment": {...}, "similarity": 0 to 1,
            "changed_share": 0 to 1 of what is compared, "overlap": 0 to 1, "brightness": in CIE
            L*, "regions": [{"number", "box" in pixels of the first picture, "area": its part of
            "changed_share", ...}]}], "answer": text or null, "asked": {"together": whether in one
            prompt, "parts": what was said of each picture where not, "unjoined": why these were
            not joined, or null}, or null}.
        """
        cancel = threading.Event()
        try:
            images = _opened(context, files or [])
            found = _compared(images, aligned, cancel)
            pairs = [
                {"first": 1, "second": number, **each.to_json()}
                for number, each in enumerate(found, 2)
            ]
            told: dict[str, Any] = {"pairs": pairs, "answer": None, "asked": None}
            if question and question.strip():
                regions = len(found[0].regions) if closer else 0
                most = context.settings.max_images
                how = plan(context.backend.capabilities(), len(images), regions, most)
                cut = crops(images[0], images[1], found[0], how.regions, (1, 2))
                replies = ask(
                    context.backend, question, images, cut, together=how.together, cancel=cancel
                )
                told |= _answered(list(replies)[-1], how.together)
            yield told
        except VLMError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            cancel.set()

    gr.Button(visible=False).click(
        compare_files,
        [
            gr.File(file_count="multiple", type="filepath", label="files", visible=False),
            gr.Textbox(label="question", value="", visible=False),
            gr.Checkbox(label="closer", value=False, visible=False),
            gr.Checkbox(label="aligned", value=True, visible=False),
        ],
        gr.JSON(label="comparison", visible=False),
        api_name="compare",
        concurrency_limit=None,
    )


def _opened(context: Context, files: Sequence[str]) -> list[Image]:
    """The pictures. Raises RequestError for too few or too many, before any is decoded."""
    most = context.settings.max_images
    if len(files) > most:
        raise RequestError("too_many_images", got=len(files), limit=most)
    if len(files) < 2:
        raise RequestError("compare_needs_two", got=len(files))
    return [open_image(path, limits=context.settings.image_limits) for path in files]


def _compared(
    images: Sequence[Image], aligned: bool, cancel: threading.Event
) -> "list[Comparison]":
    """The first picture against each of the others."""
    from vlm.compare import compare  # see `vlm.ui.compare_room.prepare`

    return [compare(images[0], other, aligned=aligned, cancel=cancel) for other in images[1:]]


def _answered(reply: Reply, together: bool) -> dict[str, Any]:
    """The answer, and how it came about."""
    whole = next((part.text for part in reply.parts if part.number is None), None)
    return {
        "answer": whole,
        "asked": {
            "together": together,
            "parts": [part.text for part in reply.parts if part.number is not None],
            "unjoined": error_text(reply.unjoined) if reply.unjoined else None,
        },
    }
