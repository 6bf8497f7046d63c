"""What images are called: by their number in their question, as Chat numbers them.

In: messages of a conversation. Out: a `Numbered` for each image, and its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm.messages import Message
from vlm.strings import say


@dataclass(frozen=True)
class Numbered:
    """The place of an image in a conversation.

    Attributes:
        number: in its question, from 1.
        question: which one, from 1; 0 where all images came with one question.
    """

    number: int
    question: int = 0

    def words(self, language: str) -> str:
        """ "2", or "2 of question 3"."""
        if not self.question:
            return str(self.number)
        return say("looked.number", language, number=self.number, turn=self.question)

    @property
    def mark(self) -> str:
        """In a few letters: "2", or "3.2" of question 3."""
        return f"{self.question}.{self.number}" if self.question else str(self.number)


def numbered(messages: Sequence[Message], before: int = 0) -> list[Numbered]:
    """The place of each image of a conversation, in order.

    Args:
        messages: of the conversation.
        before: questions that are no longer among them, but still shown.
    """
    several = sum(bool(message.images) for message in messages) > 1
    turn, found = before, list[Numbered]()
    for message in messages:
        turn += message.role == "user"
        for number, _ in enumerate(message.images, 1):
            found.append(Numbered(number, turn if several else 0))
    return found


def in_a_row(count: int) -> list[Numbered]:
    """So many images of one question."""
    return [Numbered(number) for number in range(1, count + 1)]
