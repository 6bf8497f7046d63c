"""The components of the Chat tab and where they stand; what they do is `vlm.ui.chat_panel`'s."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm import families
from vlm.ui.context import Context, channel, holder
from vlm.ui.drawer import Drawer

EXAMPLES = ("cat", "coffee", "photographer", "astronaut")
"""Files in assets/examples; the question of each is `example.NAME` in the table of words."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Every component of the tab, by what it is for.

    `redraw` shows nothing: a new value in it has what stands around the box drawn anew.
    """

    chat: gr.Chatbot
    examples: gr.Column
    example_buttons: dict[str, gr.Button]
    stats: gr.HTML
    notice: gr.HTML
    meter: gr.HTML
    editing: gr.HTML
    offer: gr.HTML
    changed: gr.HTML
    attached: gr.HTML
    redraw: gr.Textbox
    presets: gr.HTML
    webcam: gr.Image
    fetched: gr.State
    box: gr.MultimodalTextbox
    buttons: dict[str, gr.Button]
    drawer: Drawer
    export: gr.Button
    export_page: gr.Button
    file: gr.DownloadButton
    opened: gr.UploadButton
    keep: gr.Checkbox
    kept: gr.HTML
    forget: gr.Button
    channel: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What handlers of turns may update."""
        return [
            self.chat,
            self.examples,
            self.stats,
            self.notice,
            self.meter,
            self.editing,
            self.offer,
            self.changed,
            self.attached,
            self.redraw,
            self.presets,
            self.webcam,
            self.fetched,
            self.box,
            *self.buttons.values(),
            *self.drawer.controls,
            self.drawer.problem,
            self.kept,
        ]


def build_parts(context: Context) -> Parts:
    """Lays the tab out: the conversation, the box below it, the settings drawer beside it."""
    with gr.Column(elem_id="conversation"):
        chat = _chatbot(context)
        examples, example_buttons = _empty_state(context)
        stats = holder("stats")
        notice, meter = holder("notice"), holder("context-meter")
        with gr.Column(elem_id="composer"):
            editing, offer, changed = holder("editing"), holder("offer"), holder("changed")
            attached, presets = holder("token-chip"), holder("presets")
            webcam = context.words.add(
                gr.Image(
                    sources=["webcam"],
                    type="filepath",
                    elem_id="webcam",
                    height=240,
                    visible=False,
                ),
                label="camera.label",
            )
            box = _box(context)
            with gr.Row(elem_id="actions"):
                buttons = _buttons(context)
        with gr.Column(elem_id="settings"):
            drawer, transfer = _settings(context)
        hears = channel("conversation")
    return Parts(
        chat=chat,
        examples=examples,
        example_buttons=example_buttons,
        stats=stats,
        notice=notice,
        meter=meter,
        editing=editing,
        offer=offer,
        changed=changed,
        attached=attached,
        redraw=gr.Textbox(visible="hidden", elem_id="redraw"),
        presets=presets,
        webcam=webcam,
        fetched=gr.State(None),
        box=box,
        buttons=buttons,
        drawer=drawer,
        channel=hears,
        **transfer,
    )


def _chatbot(context: Context) -> gr.Chatbot:
    chat = gr.Chatbot(
        elem_id="chat",
        show_label=False,
        height="100%",
        layout="bubble",
        buttons=[],
        feedback_options=None,
        sanitize_html=True,
        latex_delimiters=[
            {"left": "$$", "right": "$$", "display": True},
            {"left": "\\(", "right": "\\)", "display": False},
            {"left": "\\[", "right": "\\]", "display": True},
        ],
    )
    return context.words.add(chat, label="chat.label")


def _empty_state(context: Context) -> tuple[gr.Column, dict[str, gr.Button]]:
    """What stands there before the first question."""
    words = context.words
    with gr.Column(elem_id="examples") as examples:
        words.add(gr.Markdown(elem_id="welcome"), value="chat.empty")
        with gr.Row(elem_id="example-row"):
            buttons = {name: _example(context, name) for name in EXAMPLES}
        if known := families.look_up(context.settings.model):
            words.add(gr.Markdown(elem_id="good-at"), value=known.good_at)
        private = "app.hosted" if context.settings.hosted else "app.private"
        words.add(gr.Markdown(elem_id="private"), value=private)
    return examples, buttons


def _example(context: Context, name: str) -> gr.Button:
    picture = context.assets / "examples" / f"{name}.jpg"
    button = gr.Button(icon=picture, elem_classes="example", min_width=120)
    return context.words.add(button, value=f"example.{name}")


def _box(context: Context) -> gr.MultimodalTextbox:
    box = gr.MultimodalTextbox(
        elem_id="message",
        show_label=False,
        container=False,
        file_types=["image"],
        file_count="multiple",
        max_lines=8,
        max_plain_text_length=10_000_000,  # a long paste stays text
        autofocus=True,
    )
    return context.words.add(box, label="box.label", placeholder="box.placeholder")


def _buttons(context: Context) -> dict[str, gr.Button]:
    """The row under the box. The style sheet hides those that cannot be used now.

    Not by `visible`, which takes a component out of the page and puts a new one in: an answer that
    ends at once can overtake that.
    """
    buttons = {
        "camera": gr.Button(elem_id="camera", size="sm"),
        "settings": gr.Button(elem_id="settings-toggle", size="sm"),
        **{
            name: gr.Button(elem_id=name, size="sm", interactive=False)
            for name in ("continue", "retry", "edit", "undo", "clear")
        },
        "stop": gr.Button(elem_id="stop", size="sm", interactive=False, variant="stop"),
    }
    for name, button in buttons.items():
        key = "settings.open" if name == "settings" else f"button.{name}"
        context.words.add(button, value=key)
    return buttons


def _settings(context: Context) -> tuple[Drawer, dict[str, Any]]:
    """The drawer: options of the answer, then what can be done with the conversation."""
    words = context.words
    with gr.Row(elem_id="settings-head"):
        words.add(gr.Markdown(elem_id="settings-title"), value="settings.open")
        close = gr.Button(elem_id="settings-close", size="sm")
        words.add(close, value="settings.close")
    close.click(None, js="() => window.diptych.drawer(false)")
    drawer = Drawer(context)
    words.add(gr.Markdown(elem_classes="heading"), value="settings.conversation")
    with gr.Row():
        export = words.add(gr.Button(elem_id="export", size="sm"), value="button.export")
        page = words.add(gr.Button(elem_id="export-page", size="sm"), value="button.export_page")
        opened = gr.UploadButton(elem_id="import", size="sm", file_types=[".zip"], type="filepath")
        words.add(opened, label="button.import")
    words.add(gr.Markdown(elem_classes="quiet"), value="export.info")
    file = gr.DownloadButton(elem_id="exported", visible="hidden")
    words.add(gr.Markdown(elem_classes="heading"), value="settings.privacy")
    keep = words.add(gr.Checkbox(elem_id="keep"), label="keep.label", info="keep.info")
    kept = holder("kept")
    forget = gr.Button(elem_id="forget", size="sm", variant="stop")
    words.add(forget, value="button.forget")
    words.add(gr.Markdown(elem_classes="quiet"), value="settings.keys")
    transfer = {
        "export": export,
        "export_page": page,
        "file": file,
        "opened": opened,
        "keep": keep,
        "kept": kept,
        "forget": forget,
    }
    return drawer, transfer
