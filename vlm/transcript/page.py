"""A conversation as one page to read, send and print: no script, nothing fetched.

In: a `Conversation`. Out: HTML. What models and people wrote is text here, never markup of the
page.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_it import MarkdownIt

from vlm.backend import Finished
from vlm.chat import Turn
from vlm.images import data_address, preview
from vlm.markup import readable, split_thinking
from vlm.messages import Image
from vlm.report import end_words, stats_words
from vlm.strings import say
from vlm.transcript.form import Conversation

LANGUAGE_TAGS = {"en": "en", "zh": "zh-CN"}
PREVIEW_SIDE = 1024
"""The longest side of a picture on the page, in pixels."""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fff; --soft: #5b6470; --line: #d9dde2;
  --question: #eef3f1; --link: #0b5f4a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --paper: #15181b; --soft: #a3abb5;
  --line: #343a41; --question: #20302b; --link: #7fd6ba; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem 3rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.6 system-ui, "Noto Sans CJK SC", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; }
h2 { font-size: 0.85rem; margin: 0 0 0.3rem; color: var(--soft); }
a { color: var(--link); }
article { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.system { margin-bottom: 1rem; }
.question { background: var(--question); border-radius: 0.6rem; padding: 0.7rem 1rem;
  margin-bottom: 1rem; }
.asked { white-space: pre-wrap; margin: 0.4rem 0 0; }
.question img { display: block; max-width: 100%; height: auto; max-height: 26rem;
  width: auto; border-radius: 0.3rem; margin: 0.4rem 0; }
.answer pre, .answer table { display: block; overflow-x: auto; max-width: 100%; }
.answer pre { padding: 0.7rem; border: 1px solid var(--line); border-radius: 0.3rem; }
.answer td, .answer th { border: 1px solid var(--line); padding: 0.2rem 0.5rem; }
.answer table { border-collapse: collapse; }
.note, summary { color: var(--soft); font-size: 0.85rem; margin: 0.4rem 0 0; }
summary { cursor: pointer; }
blockquote { border-left: 3px solid var(--line); margin-left: 0; padding-left: 1rem; }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #444; --line: #bbb;
  --question: #f2f2f2; --link: #000; }
  body { max-width: none; padding: 0; } h2 { break-after: avoid; }
  .answer pre { white-space: pre-wrap; }
  .question img { break-inside: avoid; } }
"""


def to_html(conversation: Conversation, language: str = "en") -> str:
    """A page of the turns that are shown, with their images and numbers.

    Args:
        language: of the words around the turns, "en" or "zh".
    """
    turns = [branch.turn for branch in conversation.start.path() if branch.turn is not None]
    title = say("transcript.title", language, model=conversation.model)
    pictures: dict[str, str] = {}
    articles = [
        _article(conversation, turn, number, pictures, language)
        for number, turn in enumerate(turns)
    ]
    body = [
        f"<main><h1>{html.escape(title)}</h1>",
        _said_before(conversation.system_prompt, language),
        *(articles or [note(say("transcript.empty", language))]),
        "</main>",
    ]
    return whole_page(title, STYLE, body, language)


def whole_page(title: str, style: str, body: Iterable[str], language: str) -> str:
    """A page of HTML without scripts, which fetches nothing.

    Args:
        title: as text.
        style: of its own sheet.
        body: pieces of HTML.
        language: "en" or "zh".
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="{LANGUAGE_TAGS[language]}">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{style}</style></head>",
            "<body>",
            *body,
            "</body></html>",
            "",
        ]
    )


def _article(
    conversation: Conversation, turn: Turn, number: int, pictures: dict[str, str], language: str
) -> str:
    """One turn. A system prompt of its own is told where it is not the conversation's."""
    dropped = number < conversation.dropped
    own_prompt = turn.system_prompt != conversation.system_prompt
    images = [_picture(image, pictures) for image in turn.question.images]
    asked = html.escape(turn.question.text)
    thoughts, answer = split_thinking(turn.answer)
    notes = [_end(turn.finished, answer, language), stats_words(turn.finished, language)]
    lines = [
        "<article>",
        note(say("transcript.dropped", language)) if dropped else "",
        _said_before(turn.system_prompt, language) if own_prompt else "",
        f'<section class="question"><h2>{say("transcript.question", language)}</h2>',
        *images,
        f'<p class="asked">{asked}</p>' if asked else "",
        "</section>",
        f'<section class="answer"><h2>{html.escape(conversation.model)}</h2>',
        folded_thoughts(thoughts, language),
        markdown_html(answer),
        *map(note, notes),
        "</section></article>",
    ]
    return "\n".join(filter(None, lines))


def _end(finished: Finished, answer: str, language: str) -> str:
    words = end_words(finished, language)
    return words or ("" if answer.strip() else say("answer.empty", language))


def _said_before(system_prompt: str, language: str) -> str:
    if not system_prompt:
        return ""
    label = say("transcript.system_prompt", language)
    asked = html.escape(system_prompt)
    return f'<section class="system"><h2>{label}</h2><p class="asked">{asked}</p></section>'


def folded_thoughts(thoughts: str, language: str) -> str:
    """What a model thought before it answered, folded; empty where it did not."""
    if not thoughts:
        return ""
    label = html.escape(say("answer.thoughts", language))
    return f"<details><summary>{label}</summary>{markdown_html(thoughts)}</details>"


def note(words: str) -> str:
    """Quiet words as a paragraph; empty where there are none."""
    return f'<p class="note">{html.escape(words)}</p>' if words else ""


def _picture(image: Image, pictures: dict[str, str]) -> str:
    """The picture inside the page, small; each is packed once."""
    if image.sha256 not in pictures:
        small = preview(image, PREVIEW_SIDE)
        source, (width, height) = data_address(small, quality=82), small.size
        pictures[image.sha256] = f'src="{source}" width="{width}" height="{height}"'
    return f'<img {pictures[image.sha256]} alt="{html.escape(image.name)}">'


# ---- Markdown ----


def _markdown() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    reader.disable("image")
    reader.add_render_rule("link_open", _link_open)
    return reader


def _link_open(renderer: Any, tokens: Sequence[Any], index: int, options: Any, _: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    return renderer.renderToken(tokens, index, options, {})


MARKDOWN = _markdown()


def markdown_html(text: str) -> str:
    """An answer as HTML; tags that a model writes are shown as text."""
    return MARKDOWN.render(readable(text))
