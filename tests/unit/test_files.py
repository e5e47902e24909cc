"""The folders that file nodes may touch."""

import os
from pathlib import Path

import pytest

from engine.errors import NodeError
from engine.files import Folders


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two allowed folders, and one beside them that is not."""
    for name in ("first/sub", "second", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "first" / "orders.csv").write_text("first")
    (tmp_path / "first" / "sub" / "deep.csv").write_text("deep")
    (tmp_path / "second" / "orders.csv").write_text("second")
    (tmp_path / "second" / "other.csv").write_text("other")
    (tmp_path / "secret" / "key").write_text("secret")
    (tmp_path / "secret" / "first").mkdir()
    return tmp_path


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders([home / "first", home / "second"])


FOUND = [
    ("orders.csv", "first"),
    ("other.csv", "other"),
    ("sub/deep.csv", "deep"),
    ("./sub/../orders.csv", "first"),
    ("../second/other.csv", "other"),
]


@pytest.mark.parametrize(("path", "text"), FOUND)
def test_a_file_is_found_in_the_first_folder_that_has_it(folders, path, text):
    with folders.open(path) as file:
        assert file.read().decode() == text


def test_an_absolute_path_below_a_folder_is_found(home, folders):
    assert folders.find(str(home / "second" / "other.csv")) == home / "second" / "other.csv"


def test_a_link_to_a_file_below_a_folder_is_followed(home, folders):
    (home / "first" / "link.csv").symlink_to(home / "second" / "other.csv")
    assert folders.find("link.csv") == home / "second" / "other.csv"


def test_a_folder_that_is_a_link_is_allowed_as_what_it_leads_to(home):
    (home / "alias").symlink_to(home / "first")
    assert Folders([home / "alias"]).find("orders.csv") == home / "first" / "orders.csv"


OUTSIDE = ["../secret/key", "sub/../../secret/key", "/etc/passwd", "..", "../first2/x", "link/key", "link"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_folders_is_found(home, path):
    (home / "first" / "link").symlink_to(home / "secret")
    with pytest.raises(NodeError, match="lies outside the folders") as caught:
        Folders([home / "first"]).find(path)
    assert "FLOWLEAF_FILES" in str(caught.value.hint)
    assert not caught.value.retryable


def test_a_folder_whose_name_begins_alike_is_outside(home):
    (home / "first2").mkdir()
    (home / "first2" / "x").write_text("x")
    with pytest.raises(NodeError, match="outside"):
        Folders([home / "first"]).find(str(home / "first2" / "x"))


@pytest.mark.parametrize("path", ["orders.cvs", "sub/none/x", "orders.csv/x", "~/x", "$HOME"])
def test_a_file_that_is_not_there_is_named_with_the_places_looked_in(home, folders, path):
    with pytest.raises(NodeError) as caught:
        folders.find(path)
    assert caught.value.message == f"there is no file {path}"
    assert str(home / "first") in str(caught.value.hint)
    assert str(home / "second") in str(caught.value.hint)


def test_an_absolute_path_to_nothing_below_a_folder_is_no_file(home, folders):
    with pytest.raises(NodeError, match="there is no file"):
        folders.find(str(home / "first" / "none.csv"))


@pytest.mark.parametrize("path", ["sub", ".", "./sub/"])
def test_a_folder_is_no_file(folders, path):
    with pytest.raises(NodeError, match="is a folder, not a file"):
        folders.find(path)


def test_a_pipe_is_no_file(home, folders):
    os.mkfifo(home / "first" / "pipe")
    with pytest.raises(NodeError, match="pipe is no ordinary file"):
        folders.open("pipe")


def test_a_link_that_leads_to_itself_is_no_file(home, folders):
    (home / "first" / "loop").symlink_to(home / "first" / "loop")
    with pytest.raises(NodeError, match="no file"):
        folders.find("loop")


@pytest.mark.parametrize(
    "path", ["", "  ", "a\0b", "x" * 5_000, "\ud800"], ids=["empty", "blank", "NUL", "long", "half"]
)
def test_a_name_that_is_none_is_refused(folders, path):
    with pytest.raises(NodeError, match="no file"):
        folders.find(path)


def test_without_folders_every_file_is_outside(home):
    with pytest.raises(NodeError, match="outside"):
        Folders([]).find(str(home / "first" / "orders.csv"))


class Vanishing(Folders):
    """Folders whose files are gone as soon as they were found."""

    def find(self, path: str) -> Path:
        found = super().find(path)
        found.unlink()
        return found


def test_a_file_that_cannot_be_opened_is_named(home):
    with pytest.raises(NodeError, match=r"orders\.csv cannot be read: No such file"):
        Vanishing([home / "first"]).open("orders.csv")


def test_a_file_that_is_gone_has_no_stamp(home):
    assert Vanishing([home / "first"]).stamp("orders.csv") is None


def test_a_stamp_changes_with_the_contents(home, folders):
    before = folders.stamp("orders.csv")
    assert before == folders.stamp("orders.csv")
    (home / "first" / "orders.csv").write_text("first, and more")
    assert folders.stamp("orders.csv") not in (before, None)


@pytest.mark.parametrize("path", ["none.csv", "../secret/key", "sub", "a\0b"])
def test_what_is_no_file_has_no_stamp(folders, path):
    assert folders.stamp(path) is None
