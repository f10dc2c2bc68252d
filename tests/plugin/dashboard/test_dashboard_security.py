"""Who may ask the dashboard, and what stands on every answer."""

import hashlib
import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from detailed_balance import Transition, TransitionStore
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store.reading import find_excerpts
from detailed_balance.dashboard import build_app, make_server
from detailed_balance.dashboard._records import open_store
from detailed_balance.dashboard._security import HEADERS
from tests.callbacks.store.test_store import postgres_url  # noqa: F401 - a fixture
from tests.support.dashboards import fake, path_store

STATIC = Path(__file__).parents[3] / "plugin/dashboard/static"
TOKEN = "a-token-of-more-than-sixteen"  # noqa: S105 - of these tests alone
LOOP = "abcabcabca"


def make_app(**settings):
    return build_app(path_store(LOOP), make_monitor=fake(), **settings)


def make_client(app):
    return TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)


@pytest.fixture(scope="module")
def open_app():
    return make_app()


@pytest.fixture(scope="module")
def locked_app():
    return make_app(token=TOKEN)


@pytest.fixture
def client(open_app):
    return make_client(open_app)


@pytest.fixture
def locked(locked_app):
    return make_client(locked_app)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_this_machine_is_a_known_host(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example"],
)
def test_another_name_led_to_this_address_is_refused(client, host):
    assert client.get("/api/overview", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["evil.example@127.0.0.1", "127.0.0.1/evil", "", "127.0.0.1:x", "[::1", "[", "a\\b"]
)
def test_a_host_that_is_none_is_refused_without_a_traceback(client, host, caplog):
    assert client.get("/api/overview", headers={"host": host}).status_code == 400
    assert caplog.text == ""


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "x" * 1000, "//", "http://a]b"])
def test_an_origin_that_is_none_is_refused_without_a_traceback(client, origin, caplog):
    assert client.get("/api/overview", headers={"origin": origin}).status_code == 403
    assert caplog.text == ""


def test_a_name_that_was_allowed_is_a_known_host():
    client = make_client(make_app(hosts={"dash.example"}))
    assert client.get("/", headers={"host": "dash.example:80"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_another_origin_is_refused(client, origin):
    assert client.get("/api/overview", headers={"origin": origin}).status_code == 403


def test_the_page_itself_may_ask(client):
    headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    assert client.get("/api/overview", headers=headers).status_code == 200


def test_another_site_may_link_here_but_not_fetch(client):
    site = {"sec-fetch-site": "cross-site"}
    assert client.get("/", headers={**site, "sec-fetch-mode": "navigate"}).status_code == 200
    assert (
        client.get("/api/overview", headers={**site, "sec-fetch-mode": "cors"}).status_code == 403
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_allowed(client, method):
    assert client.request(method, "/api/overview").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/", "/api/overview", "/api/none", "/static/app.js", "/static/none.js", "/api/finding/none",
     "/api/landscape?top=x", "/api/export/states.csv", "/api/export/none.csv", "/nowhere"],
)  # fmt: skip
def test_every_answer_has_the_headers(client, path):
    answer = client.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {"host": "evil.example"}), ("POST", {}), ("GET", {"origin": "http://evil.example"})],
)
def test_refusals_have_the_headers_too(client, method, headers):
    answer = client.request(method, "/", headers=headers)
    assert answer.status_code >= 400
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_a_failure_inside_has_the_headers_and_tells_nothing(caplog):
    class Broken(type(fake()(path_store(LOOP), ()))):
        def status(self):
            raise RuntimeError("secret of the inside")

    app = build_app(path_store(LOOP), make_monitor=Broken)
    answer = TestClient(app, base_url="http://127.0.0.1").get("/api/overview")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret of the inside" in caplog.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
     "/static/....//app.py", "/static/vendor/../../app.py", "/static/app.js%00.css", "/static/",
     "/static/vendor", "/static/vendor/ORIGIN.md", "/api/export/..%2f..%2fetc%2fpasswd.csv"],
)  # fmt: skip
def test_no_path_leads_out_of_the_files_that_are_served(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert "import" not in answer.text


def test_without_a_token_nothing_is_told(locked):
    for path in ("/", "/api/overview", "/static/app.js", "/nowhere"):
        assert locked.get(path).status_code == 401


@pytest.mark.parametrize("given", ["wrong-token-of-some-length", "", TOKEN[:-1], TOKEN + "x", "ü"])
def test_a_wrong_token_is_refused(locked, given):
    assert locked.get("/", params={"token": given}).status_code == 401
    header = {"authorization": b"Bearer " + given.encode()}
    assert locked.get("/", headers=header).status_code == 401
    cookie = {"cookie": b"detailed_balance_8765=" + given.encode()}
    assert locked.get("/", headers=cookie).status_code == 401


def test_the_token_opens_by_header(locked):
    answer = locked.get("/api/overview", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(locked):
    answer = locked.get(f"/compare?a=x&token={TOKEN}&b=y%26z")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/compare?a=x&b=y%26z"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert locked.get("/api/overview").status_code == 200  # the client kept the cookie


def test_a_redirect_never_leads_to_another_host(locked):
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
        answer = locked.get(f"http://127.0.0.1:8765{path}?token={TOKEN}")
        assert not re.match(r"(/[/\\]|\w+:)", answer.headers["location"])


def test_two_tokens_open_nothing(locked):
    assert locked.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 401


def test_the_cookie_is_worth_nothing_as_a_token(locked):
    session = locked.get(f"/?token={TOKEN}").cookies["detailed_balance_8765"]
    locked.cookies.clear()
    assert locked.get("/", params={"token": session}).status_code == 401


@pytest.mark.parametrize("host", ["::", "192.0.2.1", "dash.example"])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(InvalidInputError, match="--token"):
        make_server(path_store(LOOP), host=host)
    with pytest.raises(InvalidInputError, match="--token"):
        make_server(path_store(LOOP), hosts=[host])  # a proxy stands before it
    assert make_server(path_store(LOOP), host=host, token=TOKEN).config.host == host


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "line\nend of a token", "ü" * 20])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token):
    with pytest.raises(InvalidInputError, match="16 printable"):
        build_app(path_store(LOOP), token=token)


def test_a_web_socket_is_refused(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/events"):
        pass


def test_the_database_refuses_to_be_written_to(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    with TransitionStore(url) as store:
        store.append([Transition("a", "b")])
    with open_store(url) as store:
        with pytest.raises(OperationalError, match="readonly"):
            store.append([Transition("b", "a")])
        assert store.counts().total == 1
    with sqlite3.connect(tmp_path / "runs.db") as file:
        assert file.execute("SELECT count(*) FROM detailed_balance_transitions").fetchone() == (1,)


def test_no_file_of_the_page_can_run_a_text():
    for path in STATIC.glob("*.js"):
        code = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                     "new Function", "DOMParser", "http://", "https://"):  # fmt: skip
            allowed = word == "http://" and "http://www.w3.org/2000/svg" in code
            assert allowed or word not in code, (path.name, word)
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    assert re.findall(r"(?:src|href)=\"(?![/#])", page) == []


def test_the_vendored_files_are_those_of_their_packages():
    lines = (STATIC / "vendor/ORIGIN.md").read_text().splitlines()
    rows = [re.findall("`([^`]+)`", line) for line in lines if line.startswith("| `")]
    assert len(rows) == 3
    for name, digest in rows:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_postgresql_refuses_to_be_written_to(postgres_url):  # noqa: F811 - the fixture
    with TransitionStore(postgres_url) as store:
        store.append([Transition("a", "b", "run")])
    with open_store(postgres_url) as store:
        with pytest.raises(SQLAlchemyError, match="read-only"):
            store.append([Transition("b", "a")])
        assert store.counts().total == 1
        assert find_excerpts(store, [("a", "b")])[0].moves == (("a", "b"),)


def test_a_port_that_is_taken_is_said_plainly():
    with make_server(path_store(LOOP), port=0).open_socket() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port}: .*choose another"):
            make_server(path_store(LOOP), port=port).open_socket()
