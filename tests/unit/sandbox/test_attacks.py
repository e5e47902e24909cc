"""What reaches for more than code nodes have fails, and for the reason that was meant."""

from pathlib import Path

import pytest

from tests.support.sandbox import failure, programs

ATTACKS = programs("attacks.txt")


@pytest.mark.parametrize(("source", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_fails_with_a_reason(source, reason):
    assert reason.strip() in failure(source)["message"]


def test_no_attack_left_a_file():
    assert not list(Path("/tmp").glob("flowleaf-was-here*"))
