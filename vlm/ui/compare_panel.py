"""The Compare tab: a control that chooses what is compared, and one section for each choice."""

from collections.abc import Callable

import gradio as gr

from vlm.strings import say
from vlm.ui import compare_images
from vlm.ui.context import Context

SECTIONS: dict[str, Callable[[Context], None]] = {
    "images": compare_images.build,
}
"""Section name -> function that fills it. The label is `section.NAME` in the table of words.

All are in the page from the start and stay as they are while another one is looked at.
`Context.tab` is the Compare tab in all of them; images sent to it are in `Visit.sent["compare"]`.
"""

SHOW = """(name) => {
    for (const section of document.querySelectorAll('.compare-section'))
        section.classList.toggle('away', section.id !== `section-${name}`);
}"""


def build(context: Context) -> None:
    """Fills the tab."""
    first = next(iter(SECTIONS))
    with gr.Column(elem_id="compare"):
        chosen = gr.Radio(
            _choices("en"),
            value=first,
            elem_id="compare-section",
            elem_classes="segmented",
            container=False,
            visible=len(SECTIONS) > 1,
        )
        context.words.add(chosen, label="section.list")
        for name, fill in SECTIONS.items():
            classes = ["compare-section", *([] if name == first else ["away"])]
            with gr.Column(elem_id=f"section-{name}", elem_classes=classes):
                fill(context)
    chosen.change(None, [chosen], None, js=SHOW)

    def relabel(language: str) -> object:
        return gr.update(choices=_choices(language))

    context.refreshers.append((relabel, [context.language], [chosen]))


def _choices(language: str) -> list[tuple[str, str]]:
    return [(say(f"section.{name}", language), name) for name in SECTIONS]
