"""The environment's variables as settings."""

import os
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DefinitionError
from engine.runtime.settings import Settings, load_settings

VARIABLES: dict[str, tuple[str, str, Any]] = {
    "FLOWLEAF_HOME": ("/srv/flowleaf", "home", Path("/srv/flowleaf")),
    "FLOWLEAF_HOST": ("0.0.0.0", "host", "0.0.0.0"),
    "FLOWLEAF_PORT": ("80", "port", 80),
    "FLOWLEAF_URL": ("https://flows.example.com", "url", "https://flows.example.com"),
    "FLOWLEAF_DATABASE_URL": ("postgresql://u:p@db/f", "database_url", "postgresql://u:p@db/f"),
    "FLOWLEAF_REDIS_URL": ("redis://:p@cache", "redis_url", "redis://:p@cache"),
    "FLOWLEAF_FILES": ("/a:b/c:", "files", (Path("/a"), Path("b/c"))),
    "FLOWLEAF_HTTP_ALLOW": ("10.0.0.0/8, db.local,", "http_allow", ("10.0.0.0/8", "db.local")),
    "FLOWLEAF_PASSWORD": ("hunter2", "password", "hunter2"),
    "FLOWLEAF_KEY": ("c2VjcmV0", "key", "c2VjcmV0"),
    "FLOWLEAF_SANDBOX": ("wall", "sandbox", "wall"),
    "FLOWLEAF_LOG": ("debug", "log", "debug"),
    "FLOWLEAF_HOOK_LIMIT_MB": ("32", "hook_limit_mb", 32),
}
DEFAULTS = {
    "home": Path(".flowleaf"),
    "host": "127.0.0.1",
    "port": 8000,
    "url": None,
    "database_url": None,
    "redis_url": None,
    "files": (),
    "http_allow": (),
    "password": None,
    "key": None,
    "sandbox": None,
    "log": "info",
    "hook_limit_mb": 16,
}


@pytest.mark.parametrize(("name", "case"), VARIABLES.items())
def test_a_variable_sets_its_field_and_no_other(name, case):
    text, field, value = case
    assert dict(load_settings({name: text})) == DEFAULTS | {field: value}


def test_every_field_has_its_variable():
    assert {f"FLOWLEAF_{field.upper()}" for field in Settings.model_fields} == set(VARIABLES)


def test_without_variables_all_is_at_its_default():
    assert dict(load_settings({})) == DEFAULTS


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_is_none(name):
    assert load_settings({name: ""}) == Settings()


def test_variables_of_others_are_passed_over():
    assert load_settings({"PATH": "/bin", "HOME": "/root", "XFLOWLEAF_PORT": "1"}) == Settings()


def test_the_environment_is_read_when_none_is_given(monkeypatch):
    for name in [name for name in os.environ if name.startswith("FLOWLEAF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLOWLEAF_PORT", "8123")
    assert load_settings().port == 8123


def test_file_nodes_may_touch_a_folder_below_home_unless_others_are_named():
    assert load_settings({"FLOWLEAF_HOME": "/srv/f"}).file_folders == (Path("/srv/f/files"),)
    assert load_settings({"FLOWLEAF_FILES": "/a:/b"}).file_folders == (Path("/a"), Path("/b"))


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).port = 1  # type: ignore[misc]


WRONG = [
    ({"FLOWLEAF_PROT": "1"}, ["FLOWLEAF_PROT is no setting"], "Did you mean 'FLOWLEAF_PORT'?"),
    ({"FLOWLEAF_PORT": "http"}, ["FLOWLEAF_PORT", "valid integer", "not 'http'"], None),
    ({"FLOWLEAF_PORT": "70000"}, ["FLOWLEAF_PORT", "less than or equal to 65535", "not '70000'"], None),
    ({"FLOWLEAF_HOOK_LIMIT_MB": "0"}, ["FLOWLEAF_HOOK_LIMIT_MB", "greater than or equal to 1"], None),
    ({"FLOWLEAF_": "1"}, ["FLOWLEAF_ is no setting"], "FLOWLEAF_"),
    (
        {"FLOWLEAF_PORT": "x", "FLOWLEAF_HOOK_LIMIT_MB": "y", "FLOWLEAF_HSOT": "z", "FLOWLEAF_LGO": "w"},
        ["FLOWLEAF_PORT: ", "FLOWLEAF_HOOK_LIMIT_MB: ", "FLOWLEAF_HSOT is no", "FLOWLEAF_LGO is no"],
        "Did you mean 'FLOWLEAF_HOST'? Did you mean 'FLOWLEAF_LOG'?",
    ),
]


@pytest.mark.parametrize(("environment", "parts", "hint"), WRONG)
def test_what_cannot_be_used_is_named_all_at_once(environment, parts, hint):
    with pytest.raises(DefinitionError) as caught:
        load_settings(environment)
    assert all(part in caught.value.message for part in parts)
    assert len(caught.value.message.split("; ")) == len(environment)
    assert caught.value.hint == hint or (hint and hint in str(caught.value.hint))


SECRETS = {
    "the password": {"FLOWLEAF_PASSWORD": "hunter2"},
    "the password beside a mistake": {"FLOWLEAF_PASSWORD": "hunter2", "FLOWLEAF_PORT": "x"},
    "a mistyped password": {"FLOWLEAF_PASWORD": "hunter2"},
    "a password for the database": {"FLOWLEAF_DATABASE_URL": "postgresql://u:hunter2@db/f"},
    "the key": {"FLOWLEAF_KEY": "hunter2"},
    "a password for Redis": {"FLOWLEAF_REDIS_URL": "redis://:hunter2@cache"},
}


@pytest.mark.parametrize("environment", SECRETS.values(), ids=SECRETS)
def test_nobody_is_shown(environment):
    try:
        shown = repr(load_settings(environment))
    except DefinitionError as error:
        shown = f"{error} {error.hint} {error.__cause__} {error.__cause__!r}"
    assert "hunter2" not in shown
