"""The app: settings -> backend -> page -> serve. `python app.py --help` lists the settings.

Importing this file builds `demo` and loads no model, so that hosts and tests can serve it.
"""

import sys
from dataclasses import replace

import gradio as gr

from vlm.backend import BACKENDS, open_backend, prepare_backend
from vlm.errors import SettingError, VLMError
from vlm.model_slot import ModelSlot
from vlm.settings import Settings, parse_program, read_settings, terminal_language
from vlm.strings import error_text, say
from vlm.ui import build_ui, launch, prepare

LEISURE = 10.0
"""Seconds from the moment the model is ready until what only some people need is imported, so that
a question that waited for the model is answered first."""


def build(settings: Settings) -> tuple[gr.Blocks, ModelSlot]:
    """The page and the backend behind it, which opens when it is first needed, as all others do."""

    def place(name: str) -> ModelSlot:
        of_it = replace(settings, backend=name)
        idle_seconds = settings.idle_minutes * 60
        return ModelSlot(open_backend, of_it, prepare_backend, idle_seconds=idle_seconds)

    backend = place(settings.backend)
    others = {name: place(name) for name in BACKENDS if name != settings.backend}
    return build_ui(backend, settings, others), backend


def serve(settings: Settings) -> None:
    """Serves the page and loads the model at the same time; returns when interrupted."""
    language = terminal_language(settings)
    page, backend = build(settings)
    backend.start()
    try:
        _, address, _ = launch(page, settings, prevent_thread_lock=True, quiet=True)
    except OSError as error:
        raise SettingError("port_taken", port=settings.port) from error
    print(say("cli.served", language, address=address), flush=True)
    try:
        able = backend.capabilities()
        print(say("cli.ready", language, model=" · ".join([able.name, *able.details])), flush=True)
    except VLMError as error:  # the page says so too, and goes on serving
        print(error_text(error, language), file=sys.stderr, flush=True)
    prepare(LEISURE)
    page.block_thread()
    backend.close()


def main() -> int:
    """Runs the app from the command line. Returns the exit status."""
    language = "en"
    try:
        settings = parse_program()
        language = terminal_language(settings)
        serve(settings)
    except VLMError as error:
        print(error_text(error, language), file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while the model is being loaded
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

demo, _ = build(read_settings())
