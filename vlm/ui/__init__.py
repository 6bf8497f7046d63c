"""The web page: a frame, and one panel per tab. Only this package and app.py import gradio."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from vlm.model_slot import ModelSlot
from vlm.settings import Settings
from vlm.ui import chat_panel, compare_panel, frame, inspect_panel, look, models_panel
from vlm.ui.compare_room import prepare
from vlm.ui.context import Context

__all__ = ["build_ui", "launch", "prepare"]

ASSETS = Path(__file__).parents[2] / "assets"

PANELS: dict[str, Callable[[Context], None]] = {
    "chat": chat_panel.build,
    "compare": compare_panel.build,
    "inspect": inspect_panel.build,
    "models": models_panel.build,
}
"""Tab name -> function that fills the tab. The label is `tab.NAME` in the table of words."""


def build_ui(
    backend: ModelSlot, settings: Settings, others: Mapping[str, ModelSlot] | None = None
) -> gr.Blocks:
    """The whole page; nothing is loaded yet. Start it with `launch`.

    Args:
        backend: the place of the app's own model.
        settings: of the app.
        others: name of every other backend -> the place of its model; these can be compared with.
    """
    # From where they are: copies among the uploads would go when a visitor's equal upload goes.
    gr.set_static_paths([ASSETS / "examples"])
    with gr.Blocks(
        title="Diptych", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)
    ) as page:
        context = Context(page, backend, settings, ASSETS, others or {})
        header = frame.build_header(context)
        context.model_status = header.model_status
        with gr.Tabs(elem_id="tabs"):
            for name, build in PANELS.items():
                with gr.Tab(id=name) as tab:
                    context.words.add(tab, label=f"tab.{name}")
                    context.tab = tab
                    build(context)
        frame.connect(context, header)
        _apart(page, gr.HTML(visible="hidden"))
    return page.queue(max_size=64, default_concurrency_limit=None)


def _apart(page: gr.Blocks, place: gr.HTML) -> None:
    """Leaves Gradio's marks of running events to one part of the page that nobody sees.

    They are hidden anyway, but at each step of an event Gradio goes in the browser through every
    component that any event has marked before, which took most of the time of an answer.
    """
    for event in page.fns.values():
        event.show_progress_on = [place]


def launch(page: gr.Blocks, settings: Settings, **overrides: Any) -> tuple[Any, str, str]:
    """Serves the page as the settings say. `overrides` go to `gradio.Blocks.launch`."""
    return page.launch(
        **{
            "server_name": settings.host,
            "server_port": settings.port,
            "inbrowser": settings.open_browser,
            "theme": look.theme(),
            "css_paths": ASSETS / "style.css",
            "head": look.head(ASSETS),
            "max_file_size": _largest_upload(settings),
            "share": False,
            "run_history": False,  # it would keep questions in the browser
            "footer_links": [],
            "ssr_mode": False,
            "pwa": False,
            "mcp_server": False,
            "favicon_path": ASSETS / "mark.svg",
            **overrides,
        }
    )


def _largest_upload(settings: Settings) -> int:
    """In bytes. Which kind of file it is shows only when it is opened, which has its own limit."""
    megabytes = max(settings.max_file_megabytes, settings.max_conversation_megabytes)
    return int(megabytes * 1_000_000)
