"""The repository as a whole: what no file may hold, and lists that have to agree with each other."""

import os
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"

FOREIGN = {
    "the address of a package registry": r"pypi\.org/simple|pythonhosted\.org|registry\.(?:npmjs|yarnpkg)\.",
    "an option that names a package registry": r"--(?:index-url|extra-index-url|default-index|find-links)\b",
    "a folder of somebody's machine": r"(?<![\w.-])/(?:home|Users)/\w[\w.-]*/|(?<![\w.-])/root[/]",
    "the place of this checkout": re.escape(str(ROOT)) if len(ROOT.parts) > 2 else r"(?!)",
}


def files() -> list[Path]:
    """Every file that is not ignored, tracked or not yet: a file is checked before it is committed."""
    ignored = [".git", *(ROOT / ".gitignore").read_text().replace("/\n", "\n").split()]
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name) for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]
    return found


def direct_dependencies() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [Requirement(line) for line in project["project"]["dependencies"] + project["dependency-groups"]["dev"]]


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_holds(what):
    pattern = re.compile(FOREIGN[what])
    holders = {
        str(file.relative_to(ROOT)): match[0]
        for file in files()
        if (match := pattern.search(file.read_text(encoding="utf-8", errors="replace")))
    }
    assert holders == {}


def test_the_lock_holds_names_versions_and_hashes_only():
    line = re.compile(r"[a-z0-9-]+==[\w.+]+( ; [\w '<>=!.()]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?| *#.*")
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    assert [text for text in lock if not line.fullmatch(text)] == []


def test_the_lock_fits_the_dependencies():
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    unfit = [
        str(needed)
        for needed in direct_dependencies()
        if (name := canonicalize_name(needed.name)) not in locked or locked[name] not in needed.specifier
    ]
    assert unfit == [], "make lock brings requirements.lock up to pyproject.toml"


def test_every_dependency_has_a_line_that_says_why():
    explained = re.findall(r"^\| `([\w-]+)` \|", (DECISIONS / "dependencies.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(d.name for d in direct_dependencies())


def test_every_decision_is_in_the_index():
    index = (DECISIONS / "README.md").read_text()
    pages = {page.name for page in DECISIONS.glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", index))
