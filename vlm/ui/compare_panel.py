"""The Compare tab: what is compared, one section for each choice."""

from collections.abc import Callable

import gradio as gr

from vlm.ui import compare_grid, compare_images, compare_models
from vlm.ui.compare_offer import Section
from vlm.ui.context import Context

SECTIONS: dict[str, Callable[[Context, Section], None]] = {
    "images": compare_images.build,
    "grid": compare_grid.build,
    "models": compare_models.build,
}
"""Section name -> function that fills it. The label is `section.NAME` in the table of words.

`Context.tab` is the Compare tab in all of them. Images sent to it are in `Visit.sent["compare"]`:
"images" takes them and comes into sight, the others offer to use what it has.
"""


def build(context: Context) -> None:
    """Fills the tab."""
    with gr.Column(elem_id="compare"), gr.Tabs(elem_id="compare-sections") as tabs:
        for name, fill in SECTIONS.items():
            with gr.Tab(id=f"compare-{name}") as tab:
                context.words.add(tab, label=f"section.{name}")
                fill(context, Section(name, tab, tabs))
