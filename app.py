"""The app: settings -> backend -> page -> serve. `python app.py --help` lists the settings.

Importing this builds `demo` and loads no model, so that hosts and tests can serve it themselves.
"""

from vlm.backend import DeferredBackend, open_backend
from vlm.settings import parse_program, read_settings
from vlm.ui import build_ui, launch

settings = parse_program() if __name__ == "__main__" else read_settings()
backend = DeferredBackend(lambda: open_backend(settings))
demo = build_ui(backend, settings)

if __name__ == "__main__":
    backend.start()
    launch(demo, settings)
    backend.close()
