"""What a client can take from the dashboard, asked over real sockets."""

import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from detailed_balance.dashboard import _api
from detailed_balance.dashboard._monitors import MonitorPool
from detailed_balance.dashboard._records import Records
from detailed_balance.dashboard.server import TimedProtocol
from tests.support.dashboards import fake, path_store, served

PATIENCE = 120.0


def connect(address, data=b""):
    parts = urlsplit(address)
    line = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    line.sendall(data)
    return line


def request(path, host="127.0.0.1", more=""):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode("latin-1")


def read_status(line):
    head = b""
    while b"\r\n" not in head:
        part = line.recv(1024)
        assert part, "hung up"
        head += part
    return int(head.split()[1])


def is_hung_up(line):
    """Wait until the other side hangs up."""
    try:
        while line.recv(1024):
            pass
    except ConnectionResetError:
        pass
    return True


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_page_that_stays_open_has_a_place_before_it_is_answered(monkeypatch):
    monkeypatch.setattr(_api, "STREAMS", 2)
    read, free, asked = _api.DashboardApi._read, threading.Event(), threading.Semaphore(0)

    def read_late(self, request):
        asked.release()
        assert free.wait(PATIENCE)
        return read(self, request)

    monkeypatch.setattr(_api.DashboardApi, "_read", read_late)
    with served(path_store("abca"), make_monitor=fake()) as address:
        events = request("/api/events")
        first = [connect(address, events) for _ in range(2)]
        assert all(asked.acquire(timeout=PATIENCE) for _ in first)  # they wait for an answer
        with closing(connect(address, events)) as third:
            assert read_status(third) == 503
        free.set()
        assert [read_status(line) for line in first] == [200, 200]
        with closing(connect(address, events)) as fourth:
            assert read_status(fourth) == 503

        first[0].close()

        def has_place():
            with closing(connect(address, events)) as line:
                return read_status(line) == 200

        wait_for(has_place)
        first[1].close()


def test_a_request_that_fails_gives_its_place_back(monkeypatch):
    monkeypatch.setattr(_api, "STREAMS", 2)
    with served(path_store("abca"), make_monitor=fake()) as address:
        for _ in range(5):
            with closing(connect(address, request("/api/events?since=x"))) as line:
                assert read_status(line) == 400
        with closing(connect(address, request("/api/events"))) as line:
            assert read_status(line) == 200


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost: 127", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"]
)
def test_a_request_that_never_ends_is_hung_up_on(monkeypatch, begun):
    monkeypatch.setattr(TimedProtocol, "deadline", 0.5)
    with (
        served(path_store("abca"), make_monitor=fake()) as address,
        closing(connect(address, begun)) as line,
    ):
        assert is_hung_up(line)


@pytest.mark.parametrize("before", [b"", request("/api/contexts")])
def test_a_header_that_comes_byte_by_byte_does_not_put_it_off(monkeypatch, before):
    monkeypatch.setattr(TimedProtocol, "deadline", 2.0)
    with (
        served(path_store("abca"), make_monitor=fake()) as address,
        closing(connect(address, before)) as line,
    ):
        if before:
            assert read_status(line) == 200
        line.sendall(b"GET / HTTP/1.1\r\nX: ")

        def is_refused():
            try:
                line.sendall(b"x")
            except OSError:
                return True
            return False

        wait_for(is_refused)


def test_a_page_that_is_open_has_all_the_time(monkeypatch):
    monkeypatch.setattr(TimedProtocol, "deadline", 2.0)
    with (
        served(path_store("abca"), make_monitor=fake(), every=0.1) as address,
        closing(connect(address, request("/api/events"))) as line,
    ):
        assert read_status(line) == 200
        line.settimeout(5)
        with pytest.raises(TimeoutError):  # silent, and not hung up
            assert is_hung_up(line)


@pytest.mark.parametrize(
    ("host", "more", "status"),
    [
        ("[::1", "", 400),
        ("a b", "", 400),
        ("127.0.0.1:99999999", "", 400),
        ("\xff\xfe", "", 400),
        ("127.0.0.1", "Host: 127.0.0.1\r\n", 400),
        ("127.0.0.1", "Origin: http://[\r\n", 403),
        ("127.0.0.1", "Origin: \xff\r\n", 403),
        ("127.0.0.1", "Origin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n", 403),
    ],
)
def test_a_malformed_host_or_origin_is_refused_without_a_traceback(host, more, status, caplog):
    with (
        served(path_store("abca"), make_monitor=fake()) as address,
        closing(connect(address, request("/", host, more))) as line,
    ):
        assert read_status(line) == status
    assert "Traceback" not in caplog.text


def test_counts_of_ranges_are_kept_as_far_as_there_is_room():
    with Records(path_store(*["abcdefgh"] * 3)) as records:
        pool = MonitorPool(records, fake(), most_bytes=20_000)
        sizes = [pool.count((), float(i)).size for i in range(20)]
        kept = sum(found.size for _, found in pool._ranges.values())
        assert kept <= 20_000 < sum(sizes)
        assert pool._ranges
        assert pool.count((), 19.0) is pool.count((), 19.0)
        tiny = MonitorPool(records, fake(), most_bytes=1)
        assert tiny.count((), 0.0).counts.total == 21
        assert not tiny._ranges
