"""What takes images and answers from one tab to another: buttons in HTML, and who hears of them."""

from collections.abc import Sequence

import gradio as gr

from vlm.messages import Image
from vlm.ui.answered import Answered, Sent
from vlm.ui.context import QUIET, Context, Visit, action_button


def connect_sending(context: Context, channel: gr.HTML) -> None:
    """Lets `send_button`s that a channel hears of take images or an answer to another tab.

    The other tab finds them in `Visit.sent` under its name when it is selected.
    """

    def send(event: gr.EventData, visit: Visit | None) -> None:
        if visit is None:
            return
        facts = event._data
        images = [visit.known(each) for each in str(facts.get("images", "")).split()]
        turn = str(facts.get("turn", ""))
        answered = Answered.of_turn(visit.session, int(turn)) if turn.isdecimal() else None
        found = [image for image in images if image is not None]
        visit.sent[str(facts.get("tab", ""))] = Sent(found, answered)

    sent = channel.submit(send, [context.visit], None, **QUIET)
    sent.then(None, js="() => window.diptych.arrive()")


def send_button(
    tab: str, images: Sequence[Image], words: str, label: str = "", turn: int | None = None
) -> str:
    """A button in HTML that takes images, or the answer of a turn, to another tab and goes there.

    Args:
        tab: where to.
        images: to take along.
        words: that it shows.
        label: see `action_button`.
        turn: index of the turn of the conversation; None: no answer goes along.
    """
    digests = " ".join(image.sha256 for image in images)
    facts = {} if turn is None else {"turn": turn}
    return action_button("send_to", words, label, "", tab=tab, images=digests, **facts)
