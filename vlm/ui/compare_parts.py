"""The components of "Compare images" and where they stand; `compare_images` connects them."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm.strings import say
from vlm.ui.compare_examples import PAIRS
from vlm.ui.context import Context, channel, holder


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Every component of the section, by what it is for."""

    left: gr.File
    right: gr.File
    half: gr.HTML
    strip: gr.HTML
    swap: gr.Button
    align: gr.Checkbox
    clear: gr.Button
    examples: dict[str, gr.Button]
    notice: gr.HTML
    progress: gr.HTML
    viewer: gr.HTML
    side: gr.HTML
    question: gr.Textbox
    crops: gr.Checkbox
    stop: gr.Button
    how: gr.HTML
    answer: gr.Markdown
    stats: gr.HTML
    channel: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What handlers update."""
        return [
            self.left,
            self.right,
            self.half,
            self.strip,
            self.align,
            self.notice,
            self.progress,
            self.viewer,
            self.side,
            self.question,
            self.stop,
            self.how,
            self.answer,
            self.stats,
        ]


def build_parts(context: Context) -> Parts:
    """Lays the section out: pictures on the left, what is said of them on the right."""
    with gr.Column(elem_id="compare-images"):
        row = _row(context)
        notice, progress = holder("compare-notice"), holder("compare-progress")
        empty = _empty(context)
        with gr.Row(elem_id="compare-stage"):
            with gr.Column(elem_id="compare-pictures", scale=1, min_width=280):
                viewer = holder("compare-viewer")
                asking = _asking(context)
            with gr.Column(elem_id="compare-side", scale=0, min_width=280):
                side = holder("compare-findings")
                said = _said(context)
        hears = channel("compare-images")
    return Parts(
        notice=notice,
        progress=progress,
        viewer=viewer,
        side=side,
        channel=hears,
        **row,
        **empty,
        **asking,
        **said,
    )


def _row(context: Context) -> dict[str, Any]:
    """Above the pictures: which there are, and what is done with them."""
    words = context.words
    with gr.Row(elem_id="compare-row"):
        strip = holder("compare-strip")
        with gr.Row(elem_id="compare-tools"):
            add = words.add(gr.Button(elem_id="compare-add", size="sm"), value="pair.add")
            swap = words.add(gr.Button(elem_id="compare-swap", size="sm"), value="pair.swap")
            align = gr.Checkbox(
                True, elem_id="compare-align", container=False, min_width=72, interactive=True
            )
            words.add(align, label="pair.align")
            clear = words.add(gr.Button(elem_id="compare-clear", size="sm"), value="pair.clear")
    add.click(None, js="() => window.diptych.compare.pick()")
    return {"strip": strip, "swap": swap, "align": align, "clear": clear}


def _empty(context: Context) -> dict[str, Any]:
    """Before there are two: a place for each, and pairs to try."""
    words, limit = context.words, context.settings.max_images
    with gr.Column(elem_id="compare-empty"):
        words.add(gr.Markdown(elem_id="compare-welcome"), value="pair.empty")
        with gr.Row(elem_id="compare-halves"):
            half = holder("compare-half")
            left, right = (_place(context, name) for name in ("left", "right"))
        information = gr.Markdown(elem_classes="quiet")

        def inform(language: str) -> str:
            return say("pair.empty.info", language, limit=limit)

        information.value = inform("en")
        context.refreshers.append((inform, [context.language], [information]))
        words.add(gr.Markdown(elem_classes="quiet"), value="pair.example")
        with gr.Row(elem_id="compare-examples"):
            examples = {name: _example(context, name) for name in PAIRS}
    return {"half": half, "left": left, "right": right, "examples": examples}


def _place(context: Context, side: str) -> gr.File:
    """Where files are dropped or chosen. What they are shows when they are opened."""
    place = gr.File(
        file_count="multiple",
        file_types=["image"],
        type="filepath",
        elem_id=f"compare-{side}",
        height=240,
    )
    return context.words.add(place, label="pair.first" if side == "left" else "pair.second")


def _example(context: Context, name: str) -> gr.Button:
    picture = context.assets / "examples" / f"{name}.jpg"
    button = gr.Button(icon=picture, elem_classes="example", min_width=160)
    return context.words.add(button, value=f"pair.example.{name}")


def _asking(context: Context) -> dict[str, Any]:
    """Below the pictures: the question."""
    words = context.words
    with gr.Column(elem_id="compare-question"):
        question = gr.Textbox(
            say("pair.question.first"),
            lines=1,
            max_lines=4,
            elem_id="compare-ask",
            container=False,
            submit_btn=say("pair.ask"),
        )
        words.add(question, label="pair.question", submit_btn="pair.ask")
        crops = gr.Checkbox(False, elem_id="compare-crops", container=False)
        words.add(crops, label="pair.crops")
        stop = gr.Button(elem_id="compare-stop", size="sm", interactive=False, variant="stop")
        words.add(stop, value="button.stop")
    return {"question": question, "crops": crops, "stop": stop}


def _said(context: Context) -> dict[str, Any]:
    """Beside the pictures: the answer."""
    with gr.Column(elem_id="compare-said"):
        answer = gr.Markdown(elem_id="compare-answer", sanitize_html=True, container=False)
        stats = holder("compare-stats")
        how = holder("compare-how")
    context.words.add(answer, label="pair.answer")
    return {"answer": answer, "stats": stats, "how": how}
