"""Small multiples as files: a table for spreadsheets, and one page of HTML to read.

In: `Multiples`. Out: bytes of CSV, or HTML without scripts that fetches nothing. What models,
people and files say is text here: never a formula, never markup of the page.
"""

import csv
import html
import io
import unicodedata
from collections.abc import Sequence

from vlm.markup import split_thinking, without_marks
from vlm.multiples import Card, Multiples, figure
from vlm.report import end_words, stats_words
from vlm.strings import error_text, say
from vlm.transcript.page import folded_thoughts, markdown_html, note, whole_page

COLUMNS = (
    *("file", "width", "height", "state", "answer", "error", "model", "seconds"),
    *("first_token_seconds", "tokens_per_second", "prompt_tokens", "image_tokens"),
    *("answer_tokens", "answer_characters", "seed", "system_prompt", "question"),
)

FORMULA_SIGNS = "=+-@＝＋－＠"
"""What makes a spreadsheet take a cell for a formula, full-width forms included."""
UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")
"""Categories of signs that a spreadsheet may leave out at the start of a cell."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fff; --soft: #5b6470; --line: #d9dde2;
  --wrong: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --paper: #15181b; --soft: #a3abb5;
  --line: #343a41; --wrong: #fca5a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem 1rem 3rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, "Noto Sans CJK SC", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; white-space: pre-wrap; }
h2 { font-size: 0.9rem; margin: 0; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr));
  gap: 1rem; align-items: start; }
article { border: 1px solid var(--line); border-radius: 0.5rem; overflow: hidden; }
article > div { padding: 0.7rem 0.9rem; }
img { display: block; width: 100%; height: 14rem; object-fit: contain; background: #8882; }
.note { color: var(--soft); font-size: 0.85rem; margin: 0.3rem 0 0; }
.wrong { color: var(--wrong); }
pre, table { display: block; overflow-x: auto; max-width: 100%; }
@media print { article { break-inside: avoid; } }
"""


def to_csv(multiples: Multiples, cards: Sequence[Card]) -> bytes:
    """A line for each card, in UTF-8 with the mark by which spreadsheets know it.

    Args:
        cards: of `multiples`, in the order of the lines.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for card in cards:
        writer.writerow([harmless(value) for value in _row(multiples, card)])
    return b"\xef\xbb\xbf" + file.getvalue().encode("utf-8", "replace")


def _row(multiples: Multiples, card: Card) -> list[object]:
    asked = multiples.asked
    width, height = card.size if card.is_picture else ("", "")
    figures = [
        figure(card, name)
        for name in ("seconds", "first_token", "speed", "tokens_in", "image_tokens", "tokens_out")
    ]
    return [
        card.name,
        width,
        height,
        card.state,
        without_marks(card.answer),
        error_text(card.error) if card.error else "",
        card.model,
        *(round(value, 3) if isinstance(value, float) else value for value in figures),
        figure(card, "length"),
        asked.options.seed if asked else "",
        asked.system_prompt if asked else "",
        asked.question if asked else "",
    ]


def harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what looks so."""
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "")
    seen = (sign for sign in text if unicodedata.category(sign) not in UNSEEN)
    risky = next(seen, "") in (*FORMULA_SIGNS,) or text[:1] in ("\t", "\r", "\n")
    return "'" + text if risky else text


def to_page(multiples: Multiples, cards: Sequence[Card], language: str = "en") -> str:
    """One page with a card for each image, its picture small inside it.

    Args:
        cards: of `multiples`, in the order of the page.
        language: of the words around them, "en" or "zh".
    """
    asked = multiples.asked
    question = asked.question if asked else ""
    title = question or say("section.grid", language)
    system_prompt = asked.system_prompt if asked else ""
    body = [
        f"<h1>{html.escape(title)}</h1>",
        note(_system_words(system_prompt, language)),
        note(" / ".join(dict.fromkeys(card.model for card in cards if card.model))),
        "<main>",
        *(_article(card, language) for card in cards),
        "</main>",
    ]
    return whole_page(title, STYLE, body, language)


def _system_words(system_prompt: str, language: str) -> str:
    label = say("transcript.system_prompt", language)
    return f"{label}: {system_prompt}" if system_prompt else ""


def _article(card: Card, language: str) -> str:
    name = html.escape(card.name)
    # Nothing but what `thumbnail` made itself gets into an address.
    picture = f'<img src="{html.escape(card.thumbnail)}" alt="{name}">' if card.thumbnail else ""
    thoughts, answer = split_thinking(card.answer)
    folded = folded_thoughts(thoughts, language)
    error = ""
    if card.error is not None:
        error = f'<p class="wrong">{html.escape(error_text(card.error, language))}</p>'
    told = ""
    if (finished := card.finished) is not None:
        told = note(end_words(finished, language)) + note(stats_words(finished, language))
    return (
        f"<article>{picture}<div><h2>{name}</h2>{folded}{markdown_html(answer)}{error}{told}"
        "</div></article>"
    )
