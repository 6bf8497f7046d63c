"""Conversations as files: a zip to open again, and a page to read.

In: a `Conversation`. Out: bytes or HTML, and back from bytes; nothing is read from or written to
disk here.
"""

from vlm.transcript.archive import MAX_BYTES, from_zip, to_zip
from vlm.transcript.form import Conversation
from vlm.transcript.page import to_html

__all__ = ["MAX_BYTES", "Conversation", "from_zip", "to_html", "to_zip"]
