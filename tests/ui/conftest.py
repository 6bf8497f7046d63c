"""A real Gradio server over a scripted backend, and a real browser in front of it."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import gradio as gr
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.support.fakes import ScriptedBackend, Step
from vlm.backend import Backend, Capabilities, Report
from vlm.errors import ModelError
from vlm.model_slot import ModelSlot
from vlm.settings import FEWER_BITS, Settings
from vlm.ui import build_ui, launch

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "/usr/bin/chromium"
WAIT = 20_000  # milliseconds after which a state that never comes fails the test
expect.set_options(timeout=WAIT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a served page get further tries: on a busy machine browser or server may lag."""
    for item in items:
        if item.get_closest_marker("browser") or "serve" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=2))


@dataclass
class Served:
    """A page that is being served.

    Attributes:
        address: of the page.
        backend: what answers.
        page: to be closed before its time.
    """

    address: str
    backend: ScriptedBackend
    page: gr.Blocks


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """`serve("A ", gate, "cat.")` serves the page over that script; settings by name."""
    pages = []

    def start(*script: Step, backend: Backend | None = None, **settings: object) -> Served:
        answers = backend or ScriptedBackend(list(script) or ["Yes."])
        options = Settings(**{"port": free_port(), **settings})
        page = build_ui(ModelSlot(lambda *_: answers, options), options)
        launch(page, options, prevent_thread_lock=True, quiet=True)
        pages.append(page)
        return Served(f"http://127.0.0.1:{options.port}", answers, page)

    yield start
    for page in pages:
        page.close()


class Opening:
    """Opens a scripted backend for each model that is asked for.

    Attributes:
        asked: (model, quantization) of each, oldest first.
        go: where it is cleared, loading waits.
        failures: (model, quantization) -> what is raised.
        scripts: (model, quantization) -> scripts of its backend, where it does not say who it is.
        able: what all of them can do, but for their names and precisions.
        opened: the backends, oldest first.
        cancel: asks for the end of the loading that began last.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.go = threading.Event()
        self.go.set()
        self.failures: dict[tuple[str, str], Exception] = {}
        self.scripts: dict[tuple[str, str], tuple[list[Step], ...]] = {}
        memory = {"vision_tower": 2_000_000, "language_model": 30_000_000}
        self.able = Capabilities(name="", details=(), memory=memory)
        self.opened: list[ScriptedBackend] = []
        self.cancel = threading.Event()

    def __call__(
        self, settings: Settings, report: Report, cancel: threading.Event
    ) -> ScriptedBackend:
        wanted = (settings.model, settings.quantization)
        self.cancel = cancel
        self.asked.append(wanted)
        report("weights", 3, 12)
        while not self.go.wait(0.02):
            if cancel.is_set():
                raise ModelError("loading_cancelled")
        if wanted in self.failures:
            raise self.failures[wanted]
        kind = settings.quantization if settings.quantization in FEWER_BITS else "bf16"
        able = replace(self.able, name=settings.model, details=(kind, "CPU"))
        scripts = self.scripts.get(wanted, ([f"I am {settings.model}."],))
        self.opened.append(ScriptedBackend(*scripts, able=able))
        return self.opened[-1]


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def serve_models(opening: Opening) -> Iterator[Callable[..., Served]]:
    """`serve_models(**settings)` serves a page whose models `opening` opens, and `others`."""
    pages = []

    def start(others: Mapping[str, ModelSlot] | None = None, **settings: object) -> Served:
        options = Settings(**{"port": free_port(), "quantization": "none", **settings})
        page = build_ui(ModelSlot(opening, options), options, others)
        launch(page, options, prevent_thread_lock=True, quiet=True)
        pages.append(page)
        return Served(f"http://127.0.0.1:{options.port}", ScriptedBackend(), page)

    yield start
    for page in pages:
        page.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Missing, it fails the tests in CI and skips them elsewhere."""
    if not os.path.exists(CHROMIUM):
        words = "no chromium on this machine: `apt install chromium` to run the browser tests"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(words)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


class Tab:
    """One open page, by the parts a person would name; it keeps what must not happen.

    Attributes:
        page: playwright's page.
        page_errors: uncaught errors in the page.
        left_origin: addresses outside the app that it asked for.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page_errors: list[str] = []
        self.left_origin: list[str] = []
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address, wait_until="domcontentloaded")
        self.find(".status.ready").wait_for()

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.left_origin.append(url)

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    @property
    def box(self) -> Locator:
        return self.find("#message textarea")

    @property
    def answers(self) -> Locator:
        return self.find("#chat [data-testid=bot] .md")

    @property
    def attached(self) -> Locator:
        """The images in the box."""
        return self.find("#token-chip figure")

    @property
    def notice(self) -> Locator:
        return self.find("#notice .card")

    @property
    def stats(self) -> Locator:
        return self.find("#stats .stats")

    def attach(self, *files: dict[str, object] | str) -> None:
        """Puts files into the box as the attach button does, and waits until they are drawn."""
        before = self.attached.count()
        self.find("#message input[type=file]").set_input_files(list(files))
        self.attached.nth(before + len(files) - 1).wait_for()

    def ask(self, text: str) -> None:
        """Types and sends."""
        self.box.fill(text)
        self.box.press("Enter")

    def wait_for_answer(self, count: int = 1) -> None:
        """Until so many answers stand there and none runs."""
        self.answers.nth(count - 1).wait_for()
        self.stats.wait_for()
        self.find("#stop").wait_for(state="hidden")


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """`open_tab(address)` opens the page as a visitor of its own; options of the context by name.

    At the end no page may have thrown an error, or asked for anything outside the app.
    """
    contexts, tabs = [], []

    def start(address: str, **options: object) -> Tab:
        options.setdefault("locale", "en-US")
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        tabs.append(Tab(context, address))
        return tabs[-1]

    yield start
    for context in contexts:
        context.close()
    assert [tab.page_errors for tab in tabs] == [[] for _ in tabs]
    assert [tab.left_origin for tab in tabs] == [[] for _ in tabs]
