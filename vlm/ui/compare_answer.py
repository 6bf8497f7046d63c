"""How an answer about several pictures is drawn: its parts, their numbers, how it was asked."""

from vlm.backend import Finished
from vlm.compare_ask import Plan, Reply
from vlm.report import progress_words
from vlm.strings import error_text, say
from vlm.ui import chat_view
from vlm.ui.context import escaped


def answer(reply: Reply, language: str, *, ended: bool = False) -> str:
    """An answer as Markdown: its parts under their pictures, and what it waits for.

    Args:
        ended: nothing more comes; what has no end of its own was stopped.
    """
    drawn: list[str] = []
    for number, part in enumerate(reply.parts, 1):
        if len(reply.parts) > 1 or part.number is not None:
            head = say("pair.joined", language)
            if part.number is not None:
                head = say("pair.part", language, number=part.number)
            drawn.append(f"**{head}**")
        last = number == len(reply.parts)
        finished = part.turn.finished if part.turn else Finished("cancelled") if ended else None
        if last and reply.waiting is not None and not ended:
            row = chat_view.pending(progress_words(reply.waiting, language))
        elif ended and part.turn is None and not part.text:
            row = {
                "content": f'<span class="ended">{escaped(say("answer.stopped", language))}</span>'
            }
        else:
            row = chat_view.reply(part.text, finished, language)
        drawn.append(row["content"])
    if reply.unjoined is not None:
        why = error_text(reply.unjoined, language)
        drawn.append(
            f'<span class="ended">{escaped(say("pair.unjoined", language, why=why))}</span>'
        )
    return "\n\n".join(drawn)


def stats(reply: Reply, language: str) -> str:
    """The numbers of each part of an answer."""
    return "".join(
        chat_view.stats(part.turn, "", "", language) for part in reply.parts if part.turn
    )


def how_asked(asked: Plan, images: int, regions: int, limit: int | None, language: str) -> str:
    """What went to the model.

    Args:
        regions: how many there are.
        limit: images that the model takes in one turn.
    """
    if not asked.together:
        words = say("pair.one_by_one", language, limit=limit)
    elif asked.regions:
        facts = {"count": images, "regions": asked.regions, "all": regions}
        words = say("pair.asked.crops", language, **facts)
    else:
        words = say("pair.asked", language, count=images)
    return f'<p class="quiet">{escaped(words)}</p>'
