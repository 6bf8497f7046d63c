"""Pictures by their names: natural order, folders, what counts once, names that differ."""

import os
import random
from pathlib import Path

import pytest

from tests.support.fakes import photo_bytes
from vlm.commands.pictures import Picture, named_pictures, natural_order, pictures_in
from vlm.errors import RequestError, VLMError


def fill(folder: Path, *names: str, data: bytes | None = None) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo_bytes() if data is None else data)


def names(pictures: list[Picture]) -> list[str]:
    return [picture.name for picture in pictures]


@pytest.mark.parametrize(
    "ordered",
    [
        ["img1.png", "img2.png", "img10.png"],
        ["IMG1.png", "img2.png", "Img10.png", "img11.PNG"],
        ["img.png", "img1.png", "img2/a.png", "img10/a.png"],
        ["a/2.png", "a/10.png", "b/1.png"],
        ["v1.2.png", "v1.10.png"],
        ["A.png", "a.png", "B.png"],  # the same but for the case: the larger letter first
        ["第2张.png", "第10张.png"],
    ],
)
def test_natural_order(ordered):
    for seed in range(5):
        shuffled = random.Random(seed).sample(ordered, len(ordered))
        assert natural_order(shuffled) == ordered


def test_files_of_a_folder(tmp_path):
    fill(tmp_path, "img10.png", "img2.png", ".hidden.png", "sub/img1.png", ".git/img3.png")
    found = pictures_in(str(tmp_path))
    assert names(found) == ["img2.png", "img10.png"]
    assert [Path(picture.source) for picture in found] == [
        tmp_path / "img2.png",
        tmp_path / "img10.png",
    ]
    found = pictures_in(str(tmp_path), recursive=True)
    assert names(found) == ["img2.png", "img10.png", "sub/img1.png"]


def test_links_to_files_count_and_links_to_folders_do_not(tmp_path):
    fill(tmp_path / "photos", "a.png")
    (tmp_path / "photos" / "b.png").symlink_to(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos")
    os.mkfifo(tmp_path / "photos" / "c.png")
    assert names(pictures_in(str(tmp_path / "photos"), recursive=True)) == ["a.png", "b.png"]


def test_a_file_that_is_not_meant_is_left_out(tmp_path):
    fill(tmp_path, "a.png", "answers.jsonl")
    (tmp_path / "link").symlink_to(tmp_path)
    assert names(pictures_in(str(tmp_path), without=[f"{tmp_path}/link/answers.jsonl"])) == [
        "a.png"
    ]


@pytest.mark.parametrize(
    ("files", "folder", "key"),
    [
        ([], "nowhere", "folder_missing"),
        (["a.png"], "a.png", "folder_is_file"),
        ([], ".", "folder_empty"),
        (["sub/a.png"], ".", "folder_empty"),
        (["sub/a.png", "notes.txt"], ".", "folder_without_images"),
    ],
)
def test_no_pictures_there(files, folder, key, tmp_path):
    for name in files:
        fill(tmp_path, name, data=b"text" if name.endswith(".txt") else None)
    with pytest.raises(VLMError) as caught:
        pictures_in(str(tmp_path / folder))
    assert caught.value.key == key


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    fill(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(pictures_in(str(tmp_path))) == ["a.png"]
    with pytest.raises(RequestError, match=r"locked cannot be read \(Permission denied\)"):
        pictures_in(str(tmp_path), recursive=True)


def test_the_name_is_shown_without_what_a_terminal_would_act_upon():
    assert Picture("x", "a\x1b[31m\n.png").shown == "a\ufffd[31m\ufffd.png"


def test_names_that_are_no_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(photo_bytes())
    (picture,) = pictures_in(str(tmp_path))
    assert picture.name == "caf\\xe9.png"
    assert os.fsencode(picture.source) == path
    assert named_pictures([os.fsdecode(path)])[0].name == "caf\\xe9.png"


# ---- files, folders and addresses together ----


def test_in_the_order_they_are_named(tmp_path, monkeypatch):
    fill(tmp_path, "b/2.png", "b/10.png", "b/sub/3.png", "a.png")
    monkeypatch.chdir(tmp_path)
    address = "https://example.org/c.png?size=1"
    found = named_pictures(["b", "a.png", address, "./a.png", "b/2.png", "none.png"])
    assert found == [
        Picture("b/2.png", "2.png"),
        Picture("b/10.png", "10.png"),
        Picture("a.png", "a.png"),
        Picture(address, address),
        Picture("none.png", "none.png"),  # opening it will say so
    ]
    assert names(named_pictures(["b"], recursive=True)) == ["2.png", "10.png", "sub/3.png"]


def test_where_names_are_the_same_the_paths_are_taken(tmp_path, monkeypatch):
    fill(tmp_path, "x/a.png", "y/a.png", "z/x/a.png", "b.png")
    monkeypatch.chdir(tmp_path)
    found = named_pictures(["x/a.png", "y", "z", "b.png"], recursive=True)
    assert names(found) == ["x/a.png", "y/a.png", "z/x/a.png", "b.png"]
