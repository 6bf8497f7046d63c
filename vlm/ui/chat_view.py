"""How a conversation is drawn: rows of the Chatbot, numbers, context meter, error cards.

In: the session and a language. Out: HTML and rows; nothing here changes anything.
"""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from vlm.backend import Event, Finished, ImageLayout, Progress, TextDelta
from vlm.chat import ChatSession, Turn
from vlm.errors import VLMError
from vlm.grounding import Grounded
from vlm.markup import readable, split_thinking, without_marks, without_pictures
from vlm.messages import Image, Message, images_of
from vlm.options import GenerationOptions
from vlm.report import Figure, context_words, end_words, figures, progress_words
from vlm.strings import error_text, say
from vlm.ui import places_view
from vlm.ui.context import Visit, action_button, copy_button
from vlm.ui.drawer import problem_words
from vlm.ui.sending import send_button

Row = dict[str, Any]
Layouts = places_view.Layouts
Ground = Callable[[str], Sequence[Grounded]]
"""An answer, also an unfinished one -> the places that it speaks of."""

NEARLY_FULL = 0.85


def rows(visit: Visit, language: str, layouts: Layouts, upto: int | None = None) -> list[Row]:
    """The conversation so far, or its first `upto` turns, as the Chatbot takes it."""
    session, drawn = visit.session, []
    for index, turn in enumerate(session.turns[:upto]):
        content = question(turn.question, turn.options, visit, language, layouts)
        if content:
            content[0]["content"] += _question_bar(session, index, language)
            drawn += content
        turn, seen, places = places_view.of_turn(visit, index, layouts)
        row = reply(turn.answer, turn.finished, language, places, str(index))
        below = places_view.figures(visit, places, seen, str(index), language)
        row["content"] = [row["content"], _answer_bar(session, index, turn, language, below)]
        drawn.append(row)
    return drawn


def question(
    message: Message, options: GenerationOptions, visit: Visit, language: str, layouts: Layouts
) -> list[Row]:
    """A user's turn: its images in a row, what the model gets of each, then the words."""

    def _sent(number: int, image: Image) -> str:
        return image_words(number, image, layouts(image, options), language)

    content: list[Any] = [
        gr.Image(
            visit.path(image),
            alt_text=image.name,
            buttons=["fullscreen"],
            show_label=False,
            render=False,
        )
        for image in message.images
    ]
    if message.images:
        lines = [
            f"<li>{html.escape(_sent(number, image))}{inspect_button(number, image, language)}</li>"
            for number, image in enumerate(message.images, 1)
        ]
        content.append(_html(f'<ol class="sent">{"".join(lines)}</ol>'))
    content += [without_pictures(message.text)] if message.text.strip() else []
    return [{"role": "user", "content": content}] if content else []


def image_words(number: int, image: Image, layout: ImageLayout | None, language: str) -> str:
    """What the model gets of an image: "1 · cat.jpg · 451 × 300 → 256 × 256 · 16 tokens"."""
    width, height = image.original_size
    facts = [str(number), image.name]
    if layout is None or layout.sent_size is None:
        facts.append(say("image.size", language, width=width, height=height))
    else:
        to_width, to_height = layout.sent_size
        sent = {"width": width, "height": height, "to_width": to_width, "to_height": to_height}
        facts.append(say("image.sent", language, **sent))
    if layout is not None:
        if layout.tiles is not None and len(layout.tiles) > 1:
            tiles = say("image.tiles", language, count=len(layout.tiles))
            extra = f" {say('image.thumbnail', language)}" if layout.thumbnail else ""
            facts.append(tiles + extra)
        facts.append(say("image.tokens", language, count=layout.placeholders))
        if layout.alpha != "none":
            facts.append(say(f"image.alpha.{layout.alpha}", language))
    return " · ".join(facts)


def inspect_button(number: int, image: Image, language: str) -> str:
    """A button that takes an image to where it can be looked into."""
    label = say("inspect.send.image", language, number=number)
    return send_button("inspect", [image], say("inspect.send", language), label)


def replies(
    events: Iterator[Event], language: str, begun: str = "", ground: Ground | None = None
) -> Iterator[Row]:
    """The answer as it grows: what is happening, then the text so far. `begun` came before."""
    answer = begun
    for event in events:
        if isinstance(event, TextDelta):
            answer += event.text
            yield reply(answer, None, language, ground(answer) if ground else ())
        elif isinstance(event, Progress) and answer == begun:
            row = pending(progress_words(event, language))
            if begun:
                places = ground(begun) if ground else ()
                row["content"] = f"{_drawn(begun, False, language, places)}\n\n{row['content']}"
            yield row


def pending(words: str) -> Row:
    """What stands in the answer's place until its first word."""
    return {"role": "assistant", "content": f'<span class="pending">{html.escape(words)}</span>'}


def reply(
    answer: str,
    finished: Finished | None,
    language: str,
    places: Sequence[Grounded] = (),
    key: str = "now",
) -> Row:
    """An answer: thoughts folded, phrases of places as buttons, pictures it names never fetched.

    Args:
        places: that it speaks of.
        key: what its places are named after.
    """
    drawn = _drawn(answer, finished is not None, language, places, key)
    end = end_words(finished, language) if finished else ""
    if finished and not answer.strip():
        end = say("answer.empty", language)
    note = f'<span class="ended">{html.escape(end)}</span>' if end else ""
    return {"role": "assistant", "content": f"{drawn}\n\n{note}" if note else drawn}


def _drawn(
    answer: str, complete: bool, language: str, places: Sequence[Grounded] = (), key: str = "now"
) -> str:
    thoughts, said = split_thinking(answer)
    shown = places_view.phrases(said, places, key, len(answer) - len(said))
    if not thoughts:
        return shown
    title = say("answer.thoughts" if complete or said else "answer.thinking", language)
    if thoughts.count("```") % 2:  # code that is left open would swallow the answer
        thoughts += "\n```"
    folded = f"<details><summary>{html.escape(title)}</summary>\n\n{readable(thoughts)}\n\n"
    return f"{folded}</details>\n\n{shown}"


def _html(markup: str) -> gr.HTML:
    return gr.HTML(markup, padding=False, render=False)


def _question_bar(session: ChatSession, index: int, language: str) -> list[gr.HTML]:
    """Compare and Edit, under a question; the last turn has its buttons below the box."""
    parts = []
    if index < session.dropped:
        parts.append(f'<span class="ended">{say("turn.dropped", language)}</span>')
    images = session.turns[index].question.images
    if images:
        parts.append(compare_button(images, language))
    if index < len(session.turns) - 1:
        label = say("turn.edit", language, number=index + 1)
        parts.append(action_button("edit", say("button.edit", language), label, turn=index))
    return [_html(f'<div class="bar">{"".join(parts)}</div>')] if parts else []


def compare_button(images: Sequence[Image], language: str) -> str:
    """Takes images to the Compare tab; empty without one."""
    if not images:
        return ""
    label = say("pair.send.one" if len(images) == 1 else "pair.send.label", language)
    return send_button("compare", images, say("pair.send", language), label)


def _answer_bar(
    session: ChatSession, index: int, turn: Turn, language: str, above: str = ""
) -> gr.HTML:
    """Versions, copy and retry under an answer, and what stands above them."""
    number, count = session.versions(index)
    parts = []
    if count > 1:
        words = say("turn.version", language, number=number, count=count)
        parts += [
            _version("turn.previous", "‹", index, number - 1 or count, language),
            f'<span class="versions">{words}</span>',
            _version("turn.next", "›", index, number % count + 1, language),
        ]
    copied = say("button.copied", language)
    plain = without_marks(split_thinking(turn.answer)[1])
    parts.append(copy_button(plain, say("button.copy", language), copied))
    parts.append(look_button(session, index, language))
    if index < len(session.turns) - 1:
        label = say("turn.retry", language, number=index + 1)
        parts.append(action_button("retry", say("button.retry", language), label, turn=index))
    return _html(f'{above}<div class="bar">{"".join(parts)}</div>')


def look_button(session: ChatSession, index: int, language: str) -> str:
    """Takes an answer to where it shows what it looked at; empty where there was no image."""
    if not session.turns[index].answer.strip() or not images_of(session.asked(index)):
        return ""
    label = say("looked.send.label", language, number=index + 1)
    return send_button("inspect", (), say("looked.send", language), label, turn=index)


def _version(key: str, words: str, index: int, version: int, language: str) -> str:
    label = say(key, language, number=index + 1)
    return action_button("choose", words, label, "arrow", turn=index, version=version, way=key)


def stats(turn: Turn | None, command: str, note: str, language: str) -> str:
    """The numbers of an answer, each explained, and a button that copies how to get it again.

    Args:
        command: the shell command line; empty for none.
        note: what to know about it.
    """
    if turn is None:
        return ""
    drawn = map(explained, figures(turn.finished, turn.options.seed, language))
    again = ""
    if command:
        done = note or say("stats.reproduce.done", language)
        again = copy_button(command, say("stats.reproduce", language), done, "reproduce")
    return f'<div class="stats" role="group">{" · ".join(drawn)} {again}</div>'


def explained(figure: Figure) -> str:
    """A number that says what it means when it is pointed at or has the focus."""
    return (
        f'<span class="figure" tabindex="0" data-why="{html.escape(figure.why, quote=True)}" '
        f'role="note" aria-label="{html.escape(f"{figure.value}. {figure.why}", quote=True)}">'
        f"{html.escape(figure.value)}</span>"
    )


def meter(session: ChatSession, limit: int | None, draft_tokens: int, language: str) -> str:
    """How much of the model's context is used, and what to do when little is left.

    Args:
        limit: of the model; None where it is not known.
        draft_tokens: that the box adds to what was said.
    """
    if limit is None or not session.turns:
        return ""
    used = session.used_tokens + draft_tokens
    words = html.escape(context_words(used, limit, language))
    bar = f'<meter min="0" max="{limit}" value="{min(used, limit)}" aria-label="{words}"></meter>'
    excess = session.too_many_for(used, limit)
    note = ""
    if excess > session.dropped:
        key = "context.too_long" if excess > 1 else "context.too_long_one"
        note = say(key, language, count=excess)
    elif used > NEARLY_FULL * limit:
        note = say("context.nearly_full", language)
        excess = session.dropped + 1
    ways = context_ways(session, excess, language) if note else ""
    warned = f'<span class="warned">{html.escape(note)}</span> {ways}' if note else ""
    return f'<div class="meter">{bar}<span>{words}</span> {warned}</div>'


def context_ways(session: ChatSession, count: int, language: str) -> str:
    """Buttons: leave out the oldest `count` turns, or start anew."""
    buttons = []
    if session.dropped < count < len(session.turns):
        words = say("context.drop" if count > 1 else "context.drop_one", language, count=count)
        buttons.append(action_button("drop", words, count=count))
    buttons.append(action_button("clear", say("context.anew", language)))
    return "".join(buttons)


def card(words: str, ways: str, language: str, kind: str = "error") -> str:
    """A card over the box: what happened, and buttons for the ways on.

    Args:
        kind: "error", or "note" for what is no failure.
    """
    role = "alert" if kind == "error" else "status"
    dismiss = action_button("dismiss", "×", say("way.dismiss", language), "dismiss")
    return (
        f'<div class="card {kind}" role="{role}"><p>{html.escape(words)}</p>'
        f'<div class="ways">{ways}</div>{dismiss}</div>'
    )


def ways_on(error: VLMError, session: ChatSession, language: str, again: Mapping[str, str]) -> str:
    """Buttons for what can be done about an error.

    Args:
        again: what asking again means here: the `act` of a button, and its facts.
    """
    key, facts = error.key, error.facts
    if again["act"] == "address_add":
        return action_button(words=say("way.retry", language), **again)
    if key == "context_full":
        tokens, limit = facts["got"], facts["limit"]
        assert isinstance(tokens, int)
        assert isinstance(limit, int)
        return context_ways(session, session.too_many_for(tokens, limit), language)
    if key == "too_many_images":
        words = say("way.remove_extra", language, limit=facts["limit"])
        return action_button("keep_first", words, count=facts["limit"])
    if key.startswith(("option_", "image_detail")):
        return action_button("settings", say("way.settings", language))
    if key.startswith("image_"):
        return action_button("remove_broken", say("way.remove_broken", language))
    if key in ANSWER_ERRORS:
        words = say("way.send" if again["act"] == "send" else "way.retry", language)
        return action_button(words=words, **again)
    if key in MODEL_ERRORS:
        return action_button("load", say("way.load", language))
    return ""


ANSWER_ERRORS = (
    "out_of_memory",
    "out_of_memory_answer",
    "out_of_memory_images",
    "answer_broke_off",
    "model_closed",
    "unexpected",
)
"""Errors of answers that another try may mend."""

MODEL_ERRORS = (
    "out_of_memory_loading",
    "out_of_memory_weights",
    "loading_cancelled",
    "disk_full",
    "cannot_load",
    "hub_unreachable",
    "hub_gated",
    "hub_missing",
    "file_missing",
    "file_damaged",
    "weights_damaged",
    "tensors_missing",
    "no_such_checkpoint",
)
"""Errors of loading that another try may mend."""


def error_card(
    error: VLMError, session: ChatSession, language: str, again: Mapping[str, str]
) -> str:
    """The card of an error, with its ways on."""
    is_number = error.key in ("option_type", "option_out_of_range")
    words = problem_words(error, language) if is_number else error_text(error, language)
    return card(words, ways_on(error, session, language, again), language)


def editing_note(index: int, language: str) -> str:
    """Says which question is in the box again, and how to leave it as it was."""
    words = html.escape(say("turn.editing", language, number=index + 1))
    leave = action_button("edit_end", say("turn.edit_end", language))
    return f'<div class="offer" role="status"><span>{words}</span> {leave}</div>'
