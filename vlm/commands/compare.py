"""`python -m vlm compare FIRST SECOND`: figures of what differs; `--check` measures itself.

Figures go to stdout, progress to stderr. With `--out FOLDER` a heat map, the aligned second image
and the first with numbered boxes are written there; with `--features` also a heat map of what the
model sees.
"""

import json
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vlm.commands.pictures import open_source
from vlm.difference_words import alignment_words, region_places
from vlm.errors import RequestError
from vlm.messages import Image
from vlm.settings import Parser, Settings, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.arrays import Size
    from vlm.compare import Comparison
    from vlm.feature_difference import FeatureDifference

MOST_PAIRS = 1000


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=say("flag.compare_images"))
    parser.add_argument("--json", action="store_true", help=say("flag.json"))
    parser.add_argument("--out", metavar="FOLDER", help=say("flag.out"))
    parser.add_argument("--features", action="store_true", help=say("flag.features"))
    parser.add_argument("--check", action="store_true", help=say("flag.compare_check"))
    parser.add_count("--pairs", default=40, most=MOST_PAIRS, text=say("flag.pairs"))


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Compares two images, or pairs with known edits."""
    language = terminal_language(settings)
    if arguments.check:
        from vlm.commands import compare_check  # it draws pictures: not for `--help`

        if arguments.images or arguments.out is not None:
            raise RequestError("check_has_images")
        return compare_check.run(arguments, settings)
    if len(arguments.images) != 2:
        raise RequestError("compare_two_images", got=len(arguments.images))
    from vlm.compare import compare  # scikit-image takes half a second: not for `--help`

    first, second = (open_source(source, settings) for source in arguments.images)
    found = compare(first, second, progress=lambda stage: _tell(f"pair.{stage}", language))
    seen = None
    if arguments.features:
        found, seen = _with_features(first, second, found, settings)
    if arguments.out is not None:
        _write(Path(arguments.out), first, found, seen)
    if arguments.json:
        print(json.dumps(found.to_json()))
    else:
        sizes = (first.original_size, second.original_size)
        print("\n".join(_lines(found, sizes, language)))
    return 0


def _tell(key: str, language: str) -> None:
    print(say(key, language), file=sys.stderr)


def _with_features(
    first: Image, second: Image, found: "Comparison", settings: Settings
) -> tuple["Comparison", "FeatureDifference"]:
    """The comparison with its regions marked by what the model of the settings sees, and that."""
    from vlm.feature_difference import look, marked
    from vlm.opening import open_engine  # torch takes seconds

    language = terminal_language(settings)
    _tell("progress.loading", language)
    with closing(open_engine(settings)) as engine:
        _tell("pair.looking", language)
        seen = look(engine, first, second, found)
    return marked(found, seen), seen


def _write(
    folder: Path, first: Image, found: "Comparison", seen: "FeatureDifference | None"
) -> None:
    """Writes the pictures of a comparison. Raises RequestError where that is not possible."""
    from vlm.difference_pictures import boxed, heat_map
    from vlm.feature_difference import feature_heat

    pictures = {
        "difference.png": heat_map(first, found),
        "aligned.png": found.aligned,
        "regions.png": boxed(first, found),
    }
    if seen is not None:
        heat = feature_heat(seen, found.aligned.size, first.original_size)
        pictures["model.png"] = heat_map(first, found, heat)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            picture.save(folder / name)
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise RequestError("folder_not_writable", folder=str(folder), detail=detail) from error


def _lines(found: "Comparison", sizes: "tuple[Size, Size]", language: str) -> Iterable[str]:
    """The figures in words.

    Args:
        sizes: (width, height) of both images.
    """
    yield alignment_words(found.alignment, sizes, language)
    yield say("compare.similarity", language, value=f"{found.similarity:.3f}")
    yield say(
        "compare.changed",
        language,
        share=f"{100 * found.changed_share:.1f}",
        count=len(found.regions),
    )
    yield say("compare.overlap", language, share=f"{100 * found.overlap:.0f}")
    yield say("compare.brightness", language, value=f"{found.brightness:+.1f}")
    places = region_places(found.regions, sizes[0], language)
    for region, place in zip(found.regions, places, strict=True):
        box = ", ".join(map(str, region.box))
        line = say(
            "compare.region",
            language,
            number=region.number,
            place=place,
            box=box,
            area=f"{100 * region.area:.1f}",
        )
        yield line + (say("compare.hardly_seen", language) if region.hardly_seen else "")
