"""The Compare tab: what is compared, one section for each choice."""

from collections.abc import Callable

import gradio as gr

from vlm.ui import compare_grid, compare_images, compare_models
from vlm.ui.context import Context

SECTIONS: dict[str, Callable[[Context], None]] = {
    "images": compare_images.build,
    "grid": compare_grid.build,
    "models": compare_models.build,
}
"""Section name -> function that fills it. The label is `section.NAME` in the table of words.

`Context.tab` is the Compare tab in all of them; images sent to it are in `Visit.sent["compare"]`.
"""


def build(context: Context) -> None:
    """Fills the tab."""
    with gr.Column(elem_id="compare"), gr.Tabs(elem_id="compare-sections"):
        for name, fill in SECTIONS.items():
            with gr.Tab(id=f"compare-{name}") as section:
                context.words.add(section, label=f"section.{name}")
                fill(context)
