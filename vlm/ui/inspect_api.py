"""`/inspect` for programs: how photos are cut up, the prompt, stages with shapes, next tokens."""

import threading
from typing import Any

import gradio as gr

from vlm.errors import RequestError, VLMError
from vlm.images import open_image
from vlm.inspection import Inspection, Piece, TileSpan, folded, tile_spans
from vlm.messages import user_message
from vlm.options import GenerationOptions
from vlm.stage_pictures import numbers
from vlm.ui.context import Context
from vlm.ui.inspect_parts import LOADED
from vlm.ui.shelf import Shelf


def serve(context: Context, shelf: Shelf) -> None:
    """Adds the endpoint to the page that is being built.

    Args:
        context: of the page.
        shelf: opens models without weights.
    """

    def inspect(files: list[str] | None, prompt: str = "", model: str = LOADED) -> dict[str, Any]:
        """Looks into one run of a model.

        Args:
            files: the photos, in order.
            prompt: the question about them.
            model: "loaded", or the name of one to show without weights.
        """
        try:
            if not files:
                raise RequestError("no_photo")
            if len(files) > (most := context.settings.max_images):
                raise RequestError("too_many_images", got=len(files), limit=most)
            limits = context.settings.image_limits
            messages = [user_message(prompt, [open_image(file, limits=limits) for file in files])]
            if model in ("", LOADED):
                options, cancel = GenerationOptions(), threading.Event()
                *_, found = context.backend.inspect(messages, options, cancel)
                assert isinstance(found, Inspection)
                return as_json(found)
            if context.settings.hosted and model not in shelf.names:
                raise RequestError("hosted_model")
            return as_json(shelf.open(model).inspect(messages))
        except VLMError as error:
            raise gr.Error(str(error), print_exception=False) from error

    gr.Button(visible=False).click(
        inspect,
        [
            gr.File(label="files", visible=False, type="filepath", file_count="multiple"),
            gr.Textbox(label="prompt", visible=False),
            gr.Textbox(label="model", value=LOADED, visible=False),
        ],
        gr.JSON(label="inspection", visible=False),
        api_name="inspect",
        concurrency_limit=None,
    )


def as_json(found: Inspection) -> dict[str, Any]:
    """An inspection as JSON: everything but the arrays themselves."""
    return {
        "model": found.model,
        "weights": not found.weightless,
        "complete": found.complete,
        "images": [_image(found, number) for number in range(1, len(found.layouts) + 1)],
        "prompt": folded(found.pieces),
        "pieces": [_piece(each) for each in found.pieces],
        "tokens": found.tokens,
        "image_tokens": found.image_tokens,
        "context_length": found.context_length,
        "words_are_bytes": found.byte_words,
        "memory": dict(found.memory),
        "stages": [
            {
                "name": stage.name,
                "shape": list(stage.array.shape),
                "axes": list(stage.axes),
                "dtype": stage.dtype,
                "device": stage.device,
                "seconds": stage.seconds,
                **numbers(stage),
            }
            for stage in found.stages
        ],
        "likeliest": [
            {"text": word.text, "id": word.number, "probability": word.probability}
            for word in found.words
        ],
    }


def _image(found: Inspection, number: int) -> dict[str, Any]:
    layout = found.layouts[number - 1]
    spans = [span for span in tile_spans(found.layouts, found.pieces) if span.image == number]
    return {
        "original_size": list(layout.original_size),
        "sent_size": list(layout.sent_size) if layout.sent_size else None,
        "tokens": layout.placeholders,
        "alpha": layout.alpha,
        "tiles": [_span(span) for span in spans if span.tile],
        "thumbnail": next((_span(span) for span in spans if not span.tile), None),
    }


def _span(span: TileSpan) -> dict[str, Any]:
    return {
        "tile": span.tile,
        "box": list(span.shown.box),
        "rows": span.shown.rows,
        "columns": span.shown.columns,
        "tokens": [list(each) for each in span.ranges],
    }


def _piece(piece: Piece) -> dict[str, Any]:
    return {
        "text": piece.text,
        "start": piece.start,
        "stop": piece.stop,
        "image": piece.placeholder,
    }
