"""Servers that drip, that never end, that never begin."""

import http.server
import re
import threading
import time

import pytest

import download
from advrob.errors import UserError
from advrob.job import transfer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            getattr(self, self.path[1:])()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def head(self, length=None):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def whole(self):
        self.head(3_000_000)
        self.wfile.write(bytes(3_000_000))
        # The connection stays open.

    def empty(self):
        self.head(0)

    def slow_head(self):
        for letter in b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100:
            self.wfile.write(bytes([letter]))
            time.sleep(0.05)

    def drip(self):
        self.head(10**6)
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def silent(self):
        self.head(10**6)
        time.sleep(3)

    def endless(self):
        self.head()
        while True:
            self.wfile.write(bytes(10**6))

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    monkeypatch.setattr(transfer, "LARGEST", 10**8)


def test_what_is_received_is_what_was_sent(server):
    started = time.monotonic()
    blocks = list(transfer.download(f"{server}/whole"))
    assert b"".join(blocks) == bytes(3_000_000)
    assert time.monotonic() - started < 0.5, "it did not wait for a connection to be closed"
    assert list(transfer.download(f"{server}/empty")) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("slow_head", r"it did not answer within 0 s"),
        ("drip", r"it sent \d+ bytes in \d s, expected 100 kB a second"),
        ("silent", r"timed out"),
        ("endless", r"it sent more than 100 MB and did not end"),
    ],
)
def test_a_server_that_keeps_one_waiting_is_left(server, tmp_path, name, reason):
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        download.main(url=f"{server}/{name}", sha256="0" * 64, file=str(tmp_path / "x"))
    assert re.search(rf"/{name}: cannot be downloaded \((.*{reason}.*)\). Check", str(error.value))
    assert "Or fetch it on another machine" in str(error.value)
    assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_a_slow_but_steady_server_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(transfer, "RATE", 5)
    blocks = transfer.download(f"{server}/drip")
    # 20 bytes a second, until it ends too early; the digest tells.
    assert sum(map(len, blocks)) == 100
