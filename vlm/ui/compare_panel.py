"""The Compare tab: its sections, one file each. (Until the other sections are merged.)"""

from collections.abc import Callable

import gradio as gr

from vlm.ui import compare_grid, compare_models
from vlm.ui.context import Context

SECTIONS: dict[str, Callable[[Context], None]] = {
    "grid": compare_grid.build,
    "models": compare_models.build,
}
"""Name -> function that fills the section."""

TITLES = {"grid": "tab.grid", "models": "tab.versus"}


def build(context: Context) -> None:
    """Fills the tab."""
    with gr.Tabs(elem_id="compare-sections"):
        for name, fill in SECTIONS.items():
            with gr.Tab(id=f"compare-{name}") as section:
                context.words.add(section, label=TITLES[name])
                fill(context)
