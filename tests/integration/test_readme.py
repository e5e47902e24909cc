"""The README says what is true: its commands print what stands below them, its links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def test_the_first_command_prints_what_the_readme_shows():
    command = re.search(r"\$ make setup && \.venv/bin/flowleaf (.*)", TEXT)[1]
    shown = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)[1]
    done = subprocess.run(
        ["sh", "-c", f'python -c "from studio.cli import main; main()" {command}'],
        cwd=ROOT, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.stderr == ""
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_the_webhook_can_be_tried_as_the_readme_says():
    line = re.search(r"\$ \.venv/bin/flowleaf (run .*new_order_webhook.json.*)", TEXT)[1]
    done = subprocess.run(
        ["bash", "-c", f'python -c "from studio.cli import main; main()" {line}'],
        cwd=ROOT, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert '"order_id": "W-1"' in done.stdout


def environment() -> dict[str, str]:
    """The interpreter of these tests is `python`."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_file_of_the_page_on_workflow_files_runs(tmp_path):
    page = (ROOT / "docs/workflow_file.md").read_text()
    (tmp_path / "large_orders.json").write_text(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    line = re.search(r"\$ flowleaf (run .*)", page)[1]
    done = subprocess.run(
        ["bash", "-c", f'python -c "from studio.cli import main; main()" {line}'],
        cwd=tmp_path, capture_output=True, text=True, env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [{"total": 250}]
