"""Credentials are sealed for one place and one key, and the key is kept from others."""

import base64
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CredentialError
from engine.runtime.credentials.vault import Vault, load_key

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SECRET = "canary-4711"
FIELDS = {"name": "x-api-key", "value": SECRET, "tolerance_s": 300, "note": "Grüße ✓"}


def shown(error: BaseException) -> str:
    """All that a log could print of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(getattr(error, "hint", ""))


def test_what_was_sealed_opens_again():
    assert Vault(KEY).open(Vault(KEY).seal(FIELDS, context="p/c"), context="p/c") == FIELDS


def test_nothing_of_a_secret_is_seen_in_a_sealed_row():
    sealed = Vault(KEY).seal(FIELDS, context="p/c")
    assert SECRET.encode() not in sealed
    assert b"x-api-key" not in sealed


def test_the_same_fields_are_never_sealed_alike():
    rows = {Vault(KEY).seal(FIELDS, context="p/c") for _ in range(100)}
    assert len({row[9:21] for row in rows}) == 100


@pytest.mark.parametrize("context", ["p/d", "q/c", "", "p/c "])
def test_a_row_that_was_moved_to_another_credential_does_not_open(context):
    with pytest.raises(CredentialError, match="moved here"):
        Vault(KEY).open(Vault(KEY).seal(FIELDS, context="p/c"), context=context)


def test_another_key_is_told_apart_from_damage():
    sealed = Vault(KEY).seal(FIELDS, context="p/c")
    with pytest.raises(CredentialError, match=f"{Vault(KEY).key_id}.*{Vault(OTHER_KEY).key_id}") as caught:
        Vault(OTHER_KEY).open(sealed, context="p/c")
    assert "enter the credentials anew" in str(caught.value.hint)


def test_a_row_of_a_newer_release_says_so():
    sealed = Vault(KEY).seal(FIELDS, context="p/c")
    with pytest.raises(CredentialError, match="form 2, which this release does not know"):
        Vault(KEY).open(b"\x02" + sealed[1:], context="p/c")


def test_a_change_of_any_bit_is_noticed():
    sealed = Vault(KEY).seal({"token": SECRET}, context="p/c")
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CredentialError) as caught:
            Vault(KEY).open(bytes(damaged), context="p/c")
        assert SECRET not in shown(caught.value)


def test_a_row_that_was_cut_is_noticed():
    sealed = Vault(KEY).seal(FIELDS, context="p/c")
    for size_bytes in range(len(sealed)):
        with pytest.raises(CredentialError):
            Vault(KEY).open(sealed[:size_bytes], context="p/c")


@given(st.binary(max_size=200), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_foreign_bytes_open(data, context):
    with pytest.raises(CredentialError):
        Vault(KEY).open(data, context=context)


def test_a_vault_does_not_show_its_key():
    vault = Vault(KEY)
    for text in (repr(vault), str(vault), f"{vault}"):
        assert vault.key_id in text
        assert KEY.hex() not in text
        assert vault.key_id not in KEY.hex()


def test_a_key_of_another_length_is_refused_unseen():
    with pytest.raises(CredentialError, match="32 bytes, and this one has 31") as caught:
        Vault(KEY[:31])
    assert KEY[:31].hex() not in shown(caught.value)


FORMS = {
    "base64": base64.b64encode(KEY).decode(),
    "base64 without padding": base64.b64encode(KEY).decode().rstrip("="),
    "base64 for addresses": base64.urlsafe_b64encode(KEY).decode(),
    "hex": KEY.hex(),
    "hex in capitals": KEY.hex().upper(),
    "with a line break": KEY.hex() + "\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_environment_gives_the_key_and_no_file_is_made(tmp_path, text):
    assert load_key(tmp_path, text) == KEY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["canary!", KEY.hex()[:-1], base64.b64encode(KEY[:16]).decode(), "ключ", "=" * 44])
def test_a_malformed_key_is_refused_unseen(tmp_path, text):
    with pytest.raises(CredentialError, match="FLOWLEAF_KEY holds") as caught:
        load_key(tmp_path, text)
    assert text not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert "openssl rand" in str(caught.value.hint)


def test_the_file_is_made_on_first_use_for_its_owner_alone(tmp_path):
    home = tmp_path / "new" / "home"
    key = load_key(home)
    assert [path.name for path in home.iterdir()] == ["key"]
    assert (home / "key").stat().st_mode & 0o777 == 0o600
    assert len(key) == 32
    assert load_key(home) == key
    assert load_key(tmp_path / "other") != key


def test_the_text_of_the_file_works_as_the_variable(tmp_path):
    key = load_key(tmp_path)
    assert load_key(tmp_path / "elsewhere", (tmp_path / "key").read_text()) == key


def test_the_mode_holds_whatever_the_umask(tmp_path):
    before = os.umask(0o277)
    try:
        load_key(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644])
def test_a_file_open_to_others_is_refused_with_the_remedy(tmp_path, mode):
    load_key(tmp_path)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(CredentialError, match=f"mode {mode:o}") as caught:
        load_key(tmp_path)
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def keep(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.mark.parametrize("data", [b"", b"canary\xff", b"canary", base64.b64encode(KEY)[:20], KEY, b"A" * 5000])
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path, data):
    keep(tmp_path / "key", data)
    with pytest.raises(CredentialError, match=r"the key file .*key holds") as caught:
        load_key(tmp_path)
    assert "enter the credentials anew" in str(caught.value.hint)
    assert "canary" not in shown(caught.value)
    assert (tmp_path / "key").read_bytes() == data


def test_a_folder_or_a_pipe_is_no_key(tmp_path):
    (tmp_path / "a" / "key").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "key", 0o600)
    for home in ("a", "b"):
        with pytest.raises(CredentialError, match=r"is no file|cannot be used"):
            load_key(tmp_path / home)


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(CredentialError, match="cannot be used: ") as caught:
        load_key(tmp_path / "home")
    assert "FLOWLEAF_KEY" in str(caught.value.hint)


def test_processes_that_start_at_once_get_one_key(tmp_path):
    program = "import sys, pathlib; from engine.runtime.credentials.vault import load_key, Vault\n"
    program += "print('ready', flush=True); sys.stdin.read(); print(Vault(load_key(pathlib.Path(sys.argv[1]))).key_id)"
    root = Path(__file__).parents[3]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "home")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
            text=True,
        )
        for _ in range(4)
    ]
    said = []
    assert [process.stdout.readline() for process in started] == ["ready\n"] * len(started)
    for process in started:
        process.stdin.close()
    for process in started:
        with process:
            said.append(process.stdout.read())
        assert process.returncode == 0
    assert len(set(said)) == 1
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["key"]
