"""What reaches for more than code nodes have fails, and for the reason that was meant."""

from pathlib import Path

import pytest

from engine.sandbox.namespace import import_for_c
from tests.support.sandbox import failure, programs

ATTACKS = programs("attacks.txt")


@pytest.mark.parametrize(("source", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_fails_with_a_reason(source, reason):
    assert reason.strip() in failure(source)["message"]


def test_c_code_may_import_only_what_it_needs():
    assert import_for_c("_strptime").__name__ == "_strptime"
    with pytest.raises(ImportError, match="'ftplib' is not available"):
        import_for_c("ftplib")


def test_no_attack_left_a_file():
    assert not list(Path("/tmp").glob("flowleaf-was-here*"))
