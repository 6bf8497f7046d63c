"""Makes the pictures in assets/screenshots from the real app and the embedded model.

    .venv/bin/python -m tests.screenshots

Needs chromium, as the browser tests do.
"""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from app import build
from tests.ui.conftest import CHROMIUM
from vlm.settings import Settings
from vlm.ui import launch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "assets" / "examples"
DESKTOP = {"width": 1200, "height": 860}
PHONE = {"width": 390, "height": 844}


def attach(page: Page, *names: str) -> None:
    """Puts example photos into the box and waits until each says what the model will see."""
    before = page.locator("#token-chip figure").count()
    files = [str(EXAMPLES / f"{name}.jpg") for name in names]
    page.locator("#message input[type=file]").set_input_files(files)
    page.locator("#token-chip figure").nth(before + len(names) - 1).wait_for()


def ask(page: Page, text: str) -> None:
    """Asks and waits for the whole answer."""
    page.locator("#message textarea").fill(text)
    page.locator("#message textarea").press("Enter")
    page.locator("#stop").wait_for(state="visible")
    page.locator("#stop").wait_for(state="hidden")


def conversation(page: Page) -> None:
    """A photo, an answer, its numbers; another photo waits in the box."""
    attach(page, "coffee")
    ask(page, "What is in this picture?")
    attach(page, "cat", "astronaut")
    page.locator("#message textarea").fill("What do these two have in common?")


def settings(page: Page) -> None:
    """The drawer with changed values, and a second version of an answer."""
    attach(page, "cat")
    page.locator("#settings-toggle").click()
    page.locator("#temperature input, #temperature textarea").fill("0.8")
    page.locator("#max-tokens input, #max-tokens textarea").fill("60")
    page.keyboard.press("Escape")
    ask(page, "Describe the image.")
    page.locator("#retry").click()
    page.locator(".versions").wait_for()
    page.locator("#settings-toggle").click()
    page.locator("#settings").wait_for()


def phone(page: Page) -> None:
    """An answer on a narrow screen, in Chinese and in the dark."""
    page.locator(".example").nth(1).click()
    page.locator("#stats .stats").wait_for()
    page.locator("#stop").wait_for(state="hidden")


def failure(page: Page) -> None:
    """Too many images: why, and a button for the way on."""
    attach(page, *["cat", "coffee", "astronaut"] * 3)
    page.locator("#message textarea").fill("What is in all of these?")
    page.locator("#message textarea").press("Enter")
    page.locator("#notice .card").wait_for()
    page.wait_for_function("document.querySelectorAll('#token-chip figure').length === 9")


def compare(page: Page) -> None:
    """Before and after the coffee: the slider, the regions, and what the model says of it."""
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-examples .example").first.click()
    page.locator(".segment[data-view=model]:enabled").wait_for()
    page.mouse.move(5, 5)
    page.locator("#compare-ask textarea").fill("What is different in the second picture?")
    page.locator("#compare-ask textarea").press("Enter")
    page.locator("#compare-stats .stats").wait_for()


def inspect(page: Page) -> None:
    """A photo in tiles for a model whose weights are not here; a tile and its tokens lit up."""
    page.locator("#tabs button[role=tab][data-tab-id=inspect]").click()
    page.locator("#inspect-examples [data-name=coffee]").click()
    page.locator("#inspect-model input").click()
    page.get_by_role("option", name="InternVL Chat V1.5 26B (no weights)").click()
    page.locator(".picture .tile").nth(5).wait_for()
    page.locator("#trace").click()
    page.locator(".stage-row").last.wait_for()
    page.locator(".picture .tile").nth(2).focus()
    page.evaluate("scrollTo(0, 0)")


def looked(page: Page) -> None:
    """An answer from Chat: where the model looked for a word, and what else it could have said."""
    attach(page, "astronaut")
    ask(page, "Describe the image.")
    page.locator("#chat button[data-tab=inspect][data-turn]").click()
    page.locator(".looked[data-state=explained]").wait_for()
    page.locator(".looked .word").nth(4).click()
    page.evaluate("document.querySelector('.looked').scrollIntoView()")


def models(page: Page) -> None:
    """What is loaded, and what each model of the list would take in 4 bits."""
    page.locator("#model-status .status").click()
    page.locator("#quantization").get_by_label("4 bit", exact=True).check()
    page.locator("#fit-table thead").get_by_text("4 bit").wait_for()


def section(page: Page, name: str) -> None:
    """Opens a section of the Compare tab."""
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.get_by_role("tab", name=name, exact=True).click()


def grid(page: Page) -> None:
    """The same question about four photos, the longest answer first."""
    section(page, "Many images")
    names = ("coffee", "cat", "astronaut", "photographer")
    files = [str(EXAMPLES / f"{name}.jpg") for name in names]
    page.locator("#grid-files input[type=file]").set_input_files(files)
    page.locator("#grid-cards article").nth(3).wait_for()
    page.locator("#grid-question textarea").fill("Describe the image.")
    page.locator("#grid-run").click()
    page.locator("#grid-csv").wait_for(state="visible", timeout=120_000)
    page.locator("#grid-sort input").click()
    page.get_by_role("option", name="length of the answer", exact=True).click()
    page.locator("#grid-largest input").check()


def models_compared(page: Page) -> None:
    """The embedded model in 16 and in 4 bits about one photo: what differs, and what it took."""
    section(page, "Models and settings")
    picture = str(EXAMPLES / "astronaut.jpg")
    page.locator("#versus-files input[type=file]").set_input_files([picture])
    page.locator("#versus-images figure").wait_for()
    page.locator("#versus-prompt textarea").fill("Describe the image.")
    page.locator("#versus-precision-b input").click()
    page.get_by_role("option", name="4 bit", exact=True).click()
    page.locator("#versus-run").click()
    page.locator("#versus-status p:not(.pending)").wait_for(timeout=240_000)


PICTURES: dict[str, tuple[Callable[[Page], None], dict[str, object]]] = {
    "chat": (conversation, {"viewport": DESKTOP, "locale": "en-US"}),
    "settings": (settings, {"viewport": DESKTOP, "locale": "en-US"}),
    "phone": (phone, {"viewport": PHONE, "locale": "zh-CN", "color_scheme": "dark"}),
    "failure": (failure, {"viewport": DESKTOP, "locale": "en-US"}),
    "compare": (compare, {"viewport": DESKTOP, "locale": "en-US"}),
    "inspect": (inspect, {"viewport": DESKTOP, "locale": "en-US"}),
    "looked": (looked, {"viewport": DESKTOP, "locale": "en-US"}),
    "models": (models, {"viewport": DESKTOP, "locale": "en-US"}),
    "grid": (grid, {"viewport": DESKTOP, "locale": "en-US"}),
    "models-compared": (models_compared, {"viewport": DESKTOP, "locale": "en-US"}),
}


@contextmanager
def served() -> Iterator[str]:
    """The address of the app, its model loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = Settings(port=port)
    page, backend = build(options)
    backend.start()
    launch(page, options, prevent_thread_lock=True, quiet=True)
    backend.opened()
    yield f"http://127.0.0.1:{port}"
    page.close()
    backend.close()


def take(browser: Browser, address: str, name: str, folder: Path) -> None:
    """One picture, in a page of its own."""
    prepare, options = PICTURES[name]
    context = browser.new_context(device_scale_factor=1.5, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(address, wait_until="domcontentloaded")
    page.locator(".status.ready").wait_for()
    prepare(page)
    page.wait_for_timeout(500)  # fonts and scrolling come to rest
    page.screenshot(path=folder / f"{name}.png")
    context.close()


def main() -> int:
    """Makes all pictures, or those named after the folder; its default is assets/screenshots."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "assets" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for name in sys.argv[2:] or PICTURES:
            take(browser, address, name, folder)
            print(folder / f"{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
