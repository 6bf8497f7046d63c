"""`/models` and `/load` for programs: the list of models as JSON, and the exchange of the model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from vlm import families
from vlm.errors import ModelError, VLMError
from vlm.model_slot import ModelSlot
from vlm.picker import Picker, Row
from vlm.ui.context import Context

STEP = 0.2
"""Seconds between two looks at a loading."""


def serve(context: Context, picker: Picker) -> None:
    """Adds the endpoints to the page that is being built; on a shared server only the list."""

    def models(quantization: str = "auto") -> list[dict[str, Any]]:
        """The catalogue, with what each model would take of this machine's memory.

        Args:
            quantization: "auto", "none", "int8" or "nf4".
        """
        freed = picker.freed(context.backend)
        return [_as_json(row) for row in picker.rows(quantization, context.settings.dtype, freed)]

    def load(model: str, quantization: str = "auto") -> Iterator[str]:
        """Loads a model in place of the one that is there; yields stages, then its name.

        Args:
            model: a name of the catalogue, a hub id or a folder.
            quantization: "auto", "none", "int8" or "nf4".
        """
        slot = context.backend
        try:
            loading = slot.exchange(
                replace(slot.settings, model=model, quantization=quantization, tokenizer="")
            )
            while not loading.over.wait(STEP):
                stage, current, total = loading.progress
                yield f"{stage} {current}/{total}" if total else stage
            if loading.error is not None:
                raise loading.error
            if loading.cancel.is_set():
                raise _cancelled(slot, model)
            yield slot.capabilities().name
        except VLMError as error:
            raise gr.Error(str(error), print_exception=False) from error

    wanted = gr.Textbox(label="quantization", value="auto", visible=False)
    gr.Button(visible=False).click(
        models, [wanted], gr.JSON(label="models", visible=False), api_name="models"
    )
    if context.settings.hosted:
        return
    gr.Button(visible=False).click(
        load,
        [gr.Textbox(label="model", visible=False), wanted],
        gr.Textbox(label="stage", visible=False),
        api_name="load",
        concurrency_limit=None,
    )


def _cancelled(slot: ModelSlot, model: str) -> ModelError:
    """What a program is told that waited for a model somebody has called off."""
    if slot.able is None or slot.state == "failed":
        return ModelError("loading_cancelled")
    return ModelError("loading_cancelled_kept", name=families.title(model), kept=slot.able.name)


def _as_json(row: Row) -> dict[str, Any]:
    each, estimate = row.checkpoint, row.verdict.estimate
    return {
        "name": each.name,
        "title": each.title,
        "parameters": each.parameters * 1e6,
        "license": each.license,
        "languages": list(each.languages),
        "context_length": each.context_length,
        "images": each.images,
        "disk_bytes": row.disk_bytes,
        "here": row.here,
        "precision": estimate.precision,
        "bytes": estimate.total,
        "free_bytes": row.verdict.free,
        "verdict": row.verdict.kind,
        "rough": estimate.rough or not row.here,
    }
