"""`open_image` takes every accepted format and tells what it refuses; no other error leaks."""

import builtins
import hashlib
import io
import math
import os
import struct
import threading
import zlib

import numpy
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, ImageFile
from PIL import Image as pillow
from PIL.PngImagePlugin import PngInfo
from pillow_heif import from_pillow

from vlm.errors import ImageError
from vlm.images import (
    DEFAULT_LIMITS,
    OPENERS,
    ImageLimits,
    begins_like_image,
    clean_name,
    open_image,
    preview,
)
from vlm.strings import error_text

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # about damaged files

ROWS, COLUMNS = numpy.mgrid[:16, :24]
GRADIENT = numpy.stack([COLUMNS * 10, ROWS * 15, ROWS + COLUMNS], axis=-1).astype(numpy.uint8)
"""A picture 24 wide and 16 high that looks different from every side."""


def picture(mode: str = "RGB") -> pillow.Image:
    return pillow.fromarray(GRADIENT).convert(mode)


def encoded(image: pillow.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    if kind == "HEIC":
        from_pillow(image).save(file, **options)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


def tiff(array: numpy.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def refused(source, key: str, limits: ImageLimits = DEFAULT_LIMITS, **options) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(source, limits=limits, **options)
    assert caught.value.key == key
    numbers = [fact for fact in caught.value.facts.values() if isinstance(fact, int | float)]
    for language in ("en", "zh"):
        sentence = error_text(caught.value, language)
        assert all(f"{number:g}" in sentence for number in numbers), sentence
    return caught.value


def png_of_zeros(width: int, height: int) -> bytes:
    """A whole, valid grey PNG, packed row by row so that it never lies in memory unpacked."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


# ---- what is accepted ----

LOSSLESS = {
    "PNG": encoded(picture(), "PNG"),
    "BMP": encoded(picture(), "BMP"),
    "TIFF": encoded(picture(), "TIFF"),
    "TIFF, LZW": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "BigTIFF": encoded(picture(), "TIFF", big_tiff=True),
    "WebP": encoded(picture(), "WEBP", lossless=True),
}
LOSSY = {
    "JPEG": encoded(picture(), "JPEG", quality=95, subsampling=0),
    "MPO": encoded(
        picture(), "MPO", save_all=True, append_images=[pillow.new("RGB", (24, 16))], quality=95
    ),
    "WebP": encoded(picture(), "WEBP", quality=95),
    "AVIF": encoded(picture(), "AVIF", quality=95),
    "HEIC": encoded(picture(), "HEIC", quality=95),
}
EVERY_FORMAT = {**LOSSLESS, **LOSSY, "GIF": encoded(picture(), "GIF")}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_exact_formats_give_exact_pixels_and_the_same_hash(kind):
    image = open_image(LOSSLESS[kind])
    assert numpy.array_equal(numpy.asarray(image.pixels), GRADIENT)
    assert image.sha256 == open_image(LOSSLESS["PNG"]).sha256
    assert image.original_size == (24, 16)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_give_nearly_the_same_pixels(kind):
    pixels = open_image(LOSSY[kind]).pixels
    assert (pixels.mode, pixels.size) == ("RGB", (24, 16))
    difference = numpy.asarray(pixels).astype(int) - GRADIENT
    assert abs(difference).mean() < 8


def test_avif_may_call_itself_a_general_container():
    data = LOSSY["AVIF"]
    assert data[4:12] == b"ftypavif"
    assert open_image(data[:8] + b"mif1" + data[12:]) == open_image(data)


def test_hash_tells_pictures_modes_shapes_and_palettes_apart():
    pictures = [
        pillow.new("L", (4, 6)),
        pillow.new("L", (6, 4)),
        pillow.new("P", (4, 6)),
        pillow.new("L", (4, 6), 1),
        pillow.new("1", (4, 6)),
    ]
    red = pillow.new("P", (4, 6))
    red.putpalette([255, 0, 0])
    hashes = {open_image(encoded(image, "PNG")).sha256 for image in (*pictures, red)}
    assert len(hashes) == 6


def test_palette_picture_hashes_alike_in_gif_png_and_bmp():
    image = pillow.fromarray(numpy.array([[0, 1], [2, 1]], numpy.uint8), "L")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    opened = [open_image(encoded(image, kind)) for kind in ("GIF", "PNG", "BMP")]
    assert {image.pixels.mode for image in opened} == {"P"}
    assert len({image.sha256 for image in opened}) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_png_keeps_its_mode(mode):
    original = picture(mode)
    if mode in ("RGBA", "LA"):
        original.putalpha(pillow.fromarray(GRADIENT[..., 0]))
    pixels = open_image(encoded(original, "PNG")).pixels
    assert pixels.mode == mode
    assert numpy.array_equal(pixels.convert("RGBA"), original.convert("RGBA"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_kept(kind):
    pixels = open_image(encoded(picture("CMYK"), kind)).pixels
    assert pixels.mode == "CMYK"
    difference = numpy.asarray(pixels.convert("RGB")).astype(int) - GRADIENT
    assert abs(difference).mean() < 12


def test_see_through_palette_colours_stay_so():
    image = pillow.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    one = open_image(encoded(image, "PNG", transparency=1)).pixels
    graded = open_image(encoded(image, "PNG", transparency=bytes([255, 100]))).pixels
    solid = open_image(encoded(image, "PNG")).pixels
    assert (one.mode, graded.mode, solid.mode) == ("P", "RGBA", "P")
    alphas = [list(pixels.convert("RGBA").getdata(3)) for pixels in (one, graded, solid)]
    assert alphas == [[255, 0], [255, 100], [255, 255]]


def test_see_through_colour_is_kept_and_hashed():
    see_through = open_image(
        encoded(pillow.new("RGB", (2, 2), "red"), "PNG", transparency=(255, 0, 0))
    )
    solid = open_image(encoded(pillow.new("RGB", (2, 2), "red"), "PNG"))
    assert see_through.pixels.convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 0)
    assert see_through != solid


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_keeps_the_high_byte(order):
    values = numpy.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], numpy.uint16)
    pixels = open_image(tiff(values, byteorder=order)).pixels
    assert (pixels.mode, list(pixels.getdata())) == ("L", [0, 0, 1, 0x12, 0x80, 0xFF])


def test_16_bit_png_keeps_the_high_byte():
    values = numpy.array([[0x01FF, 0x1234]], numpy.uint16)
    pixels = open_image(encoded(pillow.fromarray(values), "PNG")).pixels
    assert (pixels.mode, list(pixels.getdata())) == ("L", [1, 0x12])


def test_floats_are_stretched_and_what_is_no_number_has_a_place():
    values = numpy.array([[-1.0, 0.0, 1.0], [math.nan, math.inf, -math.inf]], numpy.float32)
    pixels = open_image(tiff(values)).pixels
    assert (pixels.mode, list(pixels.getdata())) == ("L", [0, 128, 255, 0, 255, 0])


@pytest.mark.parametrize("value", [0.0, 7.5, math.nan, 3e38])
def test_floats_all_alike_are_black(value):
    pixels = open_image(tiff(numpy.full((2, 3), value, numpy.float32))).pixels
    assert list(pixels.getdata()) == [0] * 6


def test_32_bit_integers_are_stretched():
    values = numpy.array([[-(2**31), 0, 2**31 - 1]], numpy.int32)
    pixels = open_image(tiff(values)).pixels
    assert (pixels.mode, list(pixels.getdata())) == ("L", [0, 128, 255])


def test_lab_becomes_rgb():
    assert open_image(encoded(pillow.new("LAB", (4, 4), (200, 0, 0)), "TIFF")).pixels.mode == "RGB"


@pytest.mark.parametrize(("kind", "options"), [
    ("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("AVIF", {}),
])  # fmt: skip
def test_first_frame_of_what_moves(kind, options):
    frames = [pillow.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pillow.open(io.BytesIO(data)).n_frames == 3
    red, green, blue = open_image(data).pixels.convert("RGB").getpixel((4, 4))
    assert red > 240 > 15 > max(green, blue)


def test_long_thin_strip_is_accepted():
    assert open_image(encoded(pillow.new("RGB", (1, 5000)), "PNG")).original_size == (1, 5000)


def test_extension_is_not_believed(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(LOSSLESS["PNG"])
    assert open_image(path) == open_image(LOSSLESS["PNG"])
    path.write_bytes(b"%PDF-1.7 ...")
    refused(str(path), "image_format")


# ---- upright and clean ----


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_set_upright(orientation, kind):
    # Where the first row and the first column of the stored picture belong, by the EXIF standard.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }[orientation]
    exif = pillow.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = open_image(encoded(picture(), kind, exif=exif, quality=95))
    expected = undo(GRADIENT)
    assert image.original_size == (expected.shape[1], expected.shape[0])
    assert abs(numpy.asarray(image.pixels).astype(int) - expected).mean() < 8


def test_heic_is_turned_once():
    exif = pillow.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = open_image(encoded(picture(), "HEIC", exif=exif.tobytes(), quality=95))
    expected = GRADIENT.transpose(1, 0, 2)[:, ::-1]
    assert image.original_size == (16, 24)
    assert abs(numpy.asarray(image.pixels).astype(int) - expected).mean() < 8


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b""])
def test_nonsense_in_exif_does_not_matter(exif):
    assert open_image(encoded(picture(), "JPEG", exif=exif)).original_size == (24, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_metadata_is_gone(kind):
    exif = pillow.Exif()
    exif[ExifTags.Base.Make] = "SECRETCAMERA"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    options = {"exif": exif.tobytes(), "xmp": b"<x:xmpmeta>SECRETCAMERA</x:xmpmeta>"}
    if kind == "PNG":
        options = {"exif": exif, "pnginfo": PngInfo(), "icc_profile": b"SECRETCAMERA"}
        options["pnginfo"].add_text("comment", "SECRETCAMERA")
    data = encoded(picture(), kind, **options)
    assert pillow.open(io.BytesIO(data)).getexif() if kind != "HEIC" else b"SECRETCAMERA" in data
    image = open_image(data)
    assert image.pixels.info == {}
    assert not image.pixels.getexif()
    assert type(image.pixels) is pillow.Image
    for again in ("JPEG", "PNG", "WEBP", "TIFF"):
        for pixels in (image.pixels, preview(image)):
            assert b"SECRETCAMERA" not in encoded(pixels, again)


# ---- names ----


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("/tmp/上海 🌆.png", "上海 🌆.png"),
        ("a\nb\x1b[31m\0.png", "ab[31m.png"),
        ("cat\u202egnp.exe", "catgnp.exe"),
        ("caf\udce9.png", "caf.png"),
        ("..", "image"),
        ("folder/", "image"),
        ("", "image"),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_are_harmless(given, shown):
    assert clean_name(given) == shown
    assert open_image(LOSSLESS["PNG"], name=given).name == shown


def test_name_comes_from_the_file(tmp_path):
    path = tmp_path / "{0} 猫.png"
    path.write_bytes(LOSSLESS["PNG"])
    assert open_image(path).name == "{0} 猫.png"
    path.write_bytes(LOSSLESS["PNG"][:50])
    assert "{0} 猫.png" in str(refused(path, "image_damaged"))


# ---- what is refused ----


def test_bomb_is_refused_by_its_header(monkeypatch):
    bomb = png_of_zeros(20000, 20000)
    assert len(bomb) < 1_000_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for limits in (DEFAULT_LIMITS, ImageLimits(side=30000), ImageLimits(megapixels=500)):
        error = refused(bomb, "image_too_big", limits)
        assert (error.facts["width"], error.facts["height"]) == (20000, 20000)


def test_pillow_own_limit_does_not_matter(monkeypatch):
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 10)
    assert open_image(LOSSLESS["PNG"]).original_size == (24, 16)


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_limits_hold_for_every_format(kind):
    data = EVERY_FORMAT[kind]
    exactly = ImageLimits(megapixels=384e-6, side=24, file_megabytes=len(data) / 1e6)
    assert open_image(data, limits=exactly).original_size == (24, 16)
    refused(data, "image_too_big", ImageLimits(megapixels=383e-6))
    refused(data, "image_too_big", ImageLimits(side=23))
    refused(data, "image_file_too_large", ImageLimits(file_megabytes=(len(data) - 1) / 1e6))


def test_large_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(20_000_001)
    monkeypatch.setattr(builtins, "open", lambda *arguments: pytest.fail("opened"))
    error = refused(path, "image_file_too_large")
    assert "20.1 MB" in str(error)


NOT_PICTURES = {
    "SVG": b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HTML": b"\n <!DOCTYPE html><html><body><svg></svg></body></html>",
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "ZIP": b"PK\x03\x04\x14\0\0\0",
    "MP4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "QuickTime": b"\0\0\0\x14ftypqt  \0\0\2\0qt  ",
    "WebM": b"\x1a\x45\xdf\xa3\x01\0\0\0",
    "AVI": b"RIFF\0\0\0\0AVI LIST",
    "JPEG XL": b"\xff\x0a\0\0",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "Photoshop PSD": b"8BPS\0\1",
}


@pytest.mark.parametrize("kind", NOT_PICTURES)
def test_known_files_that_are_no_pictures_are_named(kind):
    error = refused(NOT_PICTURES[kind], "image_format", name="thing.png")
    for language in ("en", "zh"):
        sentence = error_text(error, language)
        assert all(word in sentence for word in ("thing.png", kind, *OPENERS))


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "image_empty"),
        (b"What is in this picture?\n", "image_text"),
        ("这张图片里有什么？".encode() * 400, "image_text"),
        (b"BMW builds motorbikes.", "image_text"),
        (b"\0\1\2\3\4", "image_unknown"),
        (b"\xff" * 9000, "image_unknown"),
        (b"\x89PNG\r\n\x1a\n", "image_damaged"),
        (png_of_zeros(0, 5), "image_damaged"),
        (b"II*\0\x08\0\0\0\0\0", "image_damaged"),
    ],
)
def test_other_bytes_are_refused(data, key):
    refused(data, key)


def test_files_that_begin_like_pictures(tmp_path):
    file = tmp_path / "file"
    for kind, data in EVERY_FORMAT.items():
        file.write_bytes(data)
        assert begins_like_image(file), kind
    for data in (b"", b"text", *NOT_PICTURES.values()):
        file.write_bytes(data)
        assert not begins_like_image(file)
    assert not begins_like_image(tmp_path)
    assert not begins_like_image(tmp_path / "none.png")


@pytest.mark.parametrize("channels", [2, 5, 7, 13])
def test_tiff_with_unknown_channels_says_how_many(channels):
    array = numpy.zeros((8, 9, channels), numpy.uint8)
    data = tiff(array, photometric="minisblack", planarconfig="contig")
    error = refused(data, "image_channels")
    assert (error.facts["channels"], error.facts["bits"]) == (channels, 8)


def test_tiff_with_colours_and_more_channels_is_opened():
    array = numpy.concatenate([GRADIENT, numpy.zeros((16, 24, 2), numpy.uint8)], axis=-1)
    data = tiff(array, photometric="rgb", planarconfig="contig")
    assert numpy.array_equal(numpy.asarray(open_image(data).pixels), GRADIENT)


def test_paths_that_are_no_pictures(tmp_path):
    refused(tmp_path, "image_folder")
    refused(tmp_path / "none.png", "image_missing")
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "none.png", "image_missing")
    refused(tmp_path / "file", "image_empty")
    refused("nul\0.png", "image_unreadable")
    refused("x" * 5000, "image_unreadable")
    assert "example.org" in str(refused("HTTPS://example.org/a.png?key=1", "image_is_address"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "image_unreadable")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_forbidden_file_is_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(LOSSLESS["PNG"])
    path.chmod(0)
    refused(path, "image_unreadable")


def only_image_errors(data: bytes) -> None:
    try:
        image = open_image(data, limits=ImageLimits(megapixels=1, side=2000))
    except ImageError as error:
        assert error_text(error, "en") and error_text(error, "zh")
    else:
        assert image.pixels.convert("RGB").tobytes()
        preview(image, 8)


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_cut_anywhere_gives_a_picture_or_an_image_error(kind):
    data = EVERY_FORMAT[kind]
    for length in {*range(0, len(data), max(1, len(data) // 150)), len(data) - 1}:
        only_image_errors(data[:length])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WebP", "JPEG", "AVIF", "HEIC"])
def test_cut_in_half_is_refused(kind):
    data = EVERY_FORMAT[kind]
    refused(data[: len(data) // 2], "image_damaged")


@pytest.mark.parametrize("kind", EVERY_FORMAT)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12))
def test_changed_bytes_give_a_picture_or_an_image_error(kind, changes):
    data = bytearray(EVERY_FORMAT[kind])
    for position, value in changes:
        data[position % len(data)] = value
    only_image_errors(bytes(data))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    magic=st.sampled_from([data[:size] for data in EVERY_FORMAT.values() for size in (16, 40)]),
    rest=st.binary(max_size=300),
)
def test_nonsense_after_a_valid_start_gives_an_image_error(magic, rest):
    only_image_errors(magic + rest)


# ---- state ----


def test_pixels_are_a_copy_that_outlives_the_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(LOSSLESS["PNG"])
    image = open_image(path)
    path.unlink()
    assert numpy.array_equal(numpy.asarray(image.pixels), GRADIENT)


def test_nothing_global_changes():
    before = (pillow.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(pillow.ID))
    for data in (*EVERY_FORMAT.values(), LOSSLESS["PNG"][:60]):
        only_image_errors(data)
    assert before == (pillow.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(pillow.ID))


def test_threads_do_not_disturb_each_other():
    expected = {kind: open_image(data).sha256 for kind, data in EVERY_FORMAT.items()}
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            for kind, data in EVERY_FORMAT.items():
                if open_image(data).sha256 != expected[kind]:
                    wrong.append(kind)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- showing ----


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("RGB", "RGB"), ("L", "RGB"), ("1", "RGB"), ("P", "RGB"), ("RGBA", "RGBA"), ("LA", "RGBA")],
)
def test_preview_fits_and_keeps_alpha(mode, shown):
    image = open_image(encoded(picture(mode), "PNG"))
    small = preview(image, 12)
    assert (small.mode, small.size) == (shown, (12, 8))
    assert preview(image).size == (24, 16)
    assert image.pixels.size == (24, 16)
    for kind in ("PNG", "WEBP"):
        assert encoded(small, kind)


def test_preview_of_cmyk_and_of_a_see_through_palette():
    assert preview(open_image(encoded(picture("CMYK"), "JPEG"))).mode == "RGB"
    see_through = open_image(encoded(picture("P"), "GIF", transparency=0))
    assert preview(see_through).mode == "RGBA"


def test_preview_of_a_strip_keeps_a_pixel():
    strip = open_image(encoded(pillow.new("RGB", (1, 5000)), "PNG"))
    assert preview(strip, 100).size == (1, 100)


def test_hash_is_of_mode_size_and_pixels():
    image = open_image(LOSSLESS["PNG"])
    assert image.sha256 == hashlib.sha256(b"RGB 24x16 None " + GRADIENT.tobytes()).hexdigest()
