"""Secrets of URLs are shown nowhere, whatever the URL looks like."""

import logging

import pytest
from sqlalchemy import make_url

from detailed_balance import TransitionStore, analyze, read_transitions
from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store.engine import open_engine

HOSTILE = [
    "postgresql://me:hunter2@host/runs",
    "postgresql+psycopg://me:hunter2@host:5432/runs?sslmode=require",
    "postgresql://me:hun@hunter2@host/runs",
    "postgresql://me:hun/hunter2@host/runs",
    "postgresql://me:hun/hun@hunter2@host/runs",
    "postgresql://me:hun?hunter2@host/runs",
    "postgresql://me:hun#hunter2@host/runs",
    "postgresql://me:12345/hunter2@host/runs",
    "postgresql://me:hun hunter2@host/runs",
    "postgresql://me:hun\nhunter2@host/runs",
    "postgresql://me:hunter2@host:port/runs",
    "postgresql://me:hunter2@[::1/runs",
    "postgresql://:hunter2@host/runs",
    "postgresql://me:hunter2@/runs?host=a&host=b",
    "postgresql:///runs?host=a&password=hunter2",
    "postgresql:///runs?user=me&PASSWORD=hunter2&sslmode=disable",
    "postgresql:///runs?pass%77ord=hunter2",
    "postgresql:///runs?sslpassword=hunter2;x=1",
    "postgresql:///runs?password='hun hunter2'",
    "postgresql:///runs?passfile=hunter2",
    "host=db password=hunter2 dbname=runs",
    "host=db password = 'hun\\' hunter2' dbname=runs",
    "https://hunter2@host/hook",
    "https://me:hunter2@host/hook",
    "https://host/hook?token=hunter2",
    "https://host/hook?api_key=hunter2#x",
    "https://host/hook#access_token=hunter2",
    "HTTPS://host/hook?X-Amz-Signature=hunter2",
    "duckdb:///runs.db?motherduck_token=hunter2",
    "nonsense://me:hunter2@",
    "mysql://me:hunter2@host/runs",
    " postgresql://me:hunter2@host/runs",
]

HARMLESS = [
    "sqlite:///runs.db",
    "sqlite:////tmp/a@b:c/runs.db",
    "sqlite:///file:runs.db?mode=ro&uri=true",
    "postgresql+psycopg://me@host:5432/runs",
    "postgresql://host:5432/runs?user=me@work",
    "postgresql:///runs?host=/tmp&target_session_attrs=any&keepalives=1",
    "https://host:8080/hook?channel=ops",
    "runs.db",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_secret_is_hidden_alone_and_in_a_message(url):
    assert "hunter2" not in hide_secrets(url)
    assert "***" in hide_secrets(url)
    if not set(url.strip()) & set(" \n"):
        assert "hunter2" not in hide_secrets(f"cannot open {url!r}: me@work was refused")


@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_no_secret_is_shown_as_it_is(url):
    assert hide_secrets(url) == url


def test_url_of_sqlalchemy_is_shown_like_its_text():
    url = make_url("postgresql://me:hunter2@host/runs?sslpassword=x")
    assert hide_secrets(url) == "postgresql://me:***@host/runs?sslpassword=***"


USES = {
    "store": TransitionStore,
    "store that is only read": lambda url: TransitionStore(url, create=False),
    "analyze": analyze,
    "read_transitions": lambda url: list(read_transitions(url)),
    "checkpoints": lambda url: list(read_transitions(url, format="langgraph")),
    "engine": lambda url: open_engine(url, create=False),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("url", [url for url in HOSTILE if "://" in url])
def test_no_error_shows_a_secret(use, url, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    url = url.replace("@host", "@127.0.0.1:9").replace("host=a", "host=127.0.0.1&port=9")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of which kind, says the next line
        USES[use](url)
    error = raised.value
    assert isinstance(error, DetailedBalanceError), repr(error)
    while error is not None:
        assert "hunter2" not in f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_log_of_a_store_that_cannot_be_opened_shows_no_secret(monkeypatch, caplog):
    from detailed_balance.callbacks.recorder.record import ProcessRecorder

    monkeypatch.setattr(ProcessRecorder, "_only", None)
    monkeypatch.setenv("DETAILED_BALANCE_STORE", "postgresql://me:hunter2@host:x/r?token=hunter2")
    with caplog.at_level(logging.WARNING):
        ProcessRecorder()
    monkeypatch.setattr(ProcessRecorder, "_only", None)
    assert "nothing is stored" in caplog.text
    assert "hunter2" not in caplog.text
