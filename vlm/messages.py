"""What a conversation is made of: messages of text and images. Plain values, no torch here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL.Image import Image as Pixels

Role = Literal["system", "user", "assistant"]
ALL_ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True)
class Text:
    """A piece of text in a message."""

    text: str


@dataclass(frozen=True, eq=False)
class Image:
    """One picture, upright, without metadata. Made by `vlm.images.open_image` only.

    Attributes:
        pixels: the decoded picture in its own mode; 8 bits a channel; alpha is kept.
        sha256: of mode, size and pixels, so that equal pictures are known again by content.
        name: the file name for people, without its folder.
        original_size: (width, height) in pixels, upright.
    """

    pixels: Pixels
    sha256: str
    name: str
    original_size: tuple[int, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


Part = Text | Image


@dataclass(frozen=True)
class Message:
    """One entry of a conversation: who speaks, and text and images in the order the model reads."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text of the message, its parts joined by line breaks."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the message, in order."""
        return tuple(part for part in self.parts if isinstance(part, Image))


def user_message(text: str, images: Sequence[Image] = ()) -> Message:
    """A user's turn: its images first, then the text, as the models were trained."""
    return Message("user", (*images, *([Text(text)] if text else [])))


def system_messages(prompt: str) -> list[Message]:
    """What a conversation with this system prompt begins with; nothing where it is empty."""
    return [Message("system", (Text(prompt),))] if prompt else []


def images_of(messages: Iterable[Message]) -> list[Image]:
    """Every image of a conversation, in the order the model meets them."""
    return [image for message in messages for image in message.images]
