"""`python -m vlm embed IMAGE... --out FILE`: what a tower or a projector makes of images.

One float32 tensor an image, named by its file, in a safetensors file; its metadata says model,
stage, sizes and shapes.
stdout holds a line an image: its name and the shape of its tensor.
"""

import json
import os
import sys
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm.commands.pictures import Picture, named_pictures, open_source
from vlm.commands.tensors import TensorFile
from vlm.commands.terminal import INTERRUPTED, NOBODY_READS, Meter, interrupt_sets
from vlm.errors import ImageError, RequestError, VLMError
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import error_text, say

if TYPE_CHECKING:
    from vlm.embedding import Embedder

STAGES = ("tower", "projector")
POOLED = ":pooled"
"""After the name of an image, in the name of its one vector."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=say("flag.images_and_folders"))
    parser.add_argument("--stage", choices=STAGES, default="tower", help=say("flag.stage"))
    parser.add_argument("--pooled", action="store_true", help=say("flag.pooled"))
    parser.add_argument("--recursive", action="store_true", help=say("flag.recursive"))
    parser.add_argument(
        "--out", required=True, metavar="FILE.safetensors", help=say("flag.embeddings")
    )
    parser.add_argument("--force", action="store_true", help=say("flag.force"))
    parser.add_generation_options("image_detail")


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Writes the embeddings. Returns 0, 1 if an image failed, 130 when it was interrupted."""
    if arguments.pooled and arguments.stage != "tower":
        raise RequestError("pooled_of_projector", got=arguments.stage)
    if os.path.exists(arguments.out) and not arguments.force:
        raise RequestError("embeddings_there", file=arguments.out)
    detail = generation_options(vars(arguments)).image_detail
    pictures = named_pictures(arguments.images, recursive=arguments.recursive)
    try:
        file = TensorFile(arguments.out)
    except OSError as error:
        raise _unwritable(arguments.out, error) from error
    work = _Run(arguments, settings, pictures, file)
    with closing(file):
        try:
            from vlm.embedding import open_embedder  # torch takes seconds: not for `--help`

            print(say("progress.loading", work.language), file=sys.stderr)
            embedder = open_embedder(settings, arguments.stage, detail)
            return work.finish(embedder) if work.do(embedder) else work.stop()
        except KeyboardInterrupt:  # while the model is loaded
            return work.stop()
        except BrokenPipeError:
            return NOBODY_READS
        except OSError as error:
            raise _unwritable(arguments.out, error) from error


def _unwritable(file: str, error: OSError) -> RequestError:
    return RequestError("embeddings_unwritable", file=file, detail=error.strerror or str(error))


class _Run:
    """One run over some pictures."""

    def __init__(
        self,
        arguments: SimpleNamespace,
        settings: Settings,
        pictures: list[Picture],
        file: TensorFile,
    ) -> None:
        self.language = terminal_language(settings)
        self._arguments, self._settings = arguments, settings
        self._pictures, self._file = pictures, file
        self._images: dict[str, dict[str, object]] = {}
        self._own_pooling = True

    def do(self, embedder: "Embedder") -> bool:
        """Looks at every picture; False if it was interrupted."""
        cancel = threading.Event()
        with interrupt_sets(cancel), closing(Meter(len(self._pictures), 0, self.language)) as meter:
            for picture in self._pictures:
                try:
                    row = self._embed(embedder, picture)
                except (ImageError, RequestError) as error:
                    meter.hide()
                    print(self._sentence(picture, error), file=sys.stderr, flush=True)
                else:
                    meter.hide()
                    print(row, flush=True)
                if cancel.is_set():
                    return False
                meter.step()
        return True

    def _embed(self, embedder: "Embedder", picture: Picture) -> str:
        """Keeps the embedding of one picture. Returns what is printed of it."""
        image = open_source(picture.source, self._settings)
        embedding = embedder.embed(image)
        shape = list(embedding.features.shape)
        self._file.add(picture.name, embedding.features.numpy())
        facts: dict[str, object] = {"size": list(image.original_size), "shape": shape}
        if self._arguments.pooled and embedding.pooled is not None:
            self._file.add(picture.name + POOLED, embedding.pooled.numpy())
            facts["pooled_shape"] = list(embedding.pooled.shape)
            self._own_pooling = self._own_pooling and embedding.own_pooling
        self._images[picture.name] = {**facts, "axes": list(embedding.axes)}
        axes = zip(shape, embedding.axes, strict=True)
        return f"{picture.shown}\t" + " x ".join(f"{size} {name}" for size, name in axes)

    def _sentence(self, picture: Picture, error: VLMError) -> str:
        sentence = error_text(error, self.language)
        return sentence if picture.shown in sentence else f"{picture.shown}: {sentence}"

    def finish(self, embedder: "Embedder") -> int:
        """Makes the file and says how it went. Returns the exit status."""
        done, total = len(self._images), len(self._pictures)
        facts = {"total": total, "failed": total - done, "file": self._arguments.out}
        if not done:
            print(say("embed.nothing", self.language, **facts), file=sys.stderr)
            return 1
        metadata = {
            "model": self._settings.model,
            "stage": self._arguments.stage,
            "computed_in": embedder.precision,
            "images": json.dumps(self._images),
        }
        if self._arguments.pooled:
            metadata["pooled"] = "own" if self._own_pooling else "mean"
            if not self._own_pooling:
                print(say("embed.mean", self.language, name=embedder.name), file=sys.stderr)
        self._file.finish(metadata)
        print(say("embed.summary", self.language, done=done, **facts), file=sys.stderr)
        return 1 if done < total else 0

    def stop(self) -> int:
        """Says that nothing is left of it. Returns the exit status."""
        done, total = len(self._images), len(self._pictures)
        print(say("embed.stopped", self.language, done=done, total=total), file=sys.stderr)
        return INTERRUPTED
