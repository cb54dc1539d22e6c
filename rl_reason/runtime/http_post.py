"""One POST over HTTP that ends at its time limit, whatever the server does."""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST = 64 << 20
"""Bytes of an answer."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes


class NoAnswer(Exception):
    """No HTTP came; the message says why. `kind`: "unreachable", "timeout" or "nonsense"."""

    def __init__(self, message: str, kind: str):
        super().__init__(message)
        self.kind = kind


class Watch:
    """Ends a connection when the time is up, or earlier. A socket's own limit begins anew with each byte that comes."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.is_over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self.end)
        self._timer.daemon = True

    def end(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # It may be closed already.
                # Not TLS's own, which takes away what another thread is reading by.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def hold(self, connected: socket.socket) -> None:
        self._socket = connected
        if self.is_over:
            raise TimeoutError

    def __enter__(self) -> Watch:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        self._socket = None


def post(url: str, body: bytes, headers: Mapping[str, str], watch: Watch) -> Reply:
    """The reply, of whatever status.

    Proxies are those of the environment (`https_proxy`, `no_proxy`), but for an address of this machine. A redirection
    is not followed: it would carry the headers, and a key among them, to somebody else.

    Args:
        url: an http or https address.
        body: what is sent.
        headers: of the request.
        watch: running; its time goes from the connection to the last byte.

    Raises:
        NoAnswer: nobody is there, the time is up, or what came is not HTTP.
    """
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    opener = urllib.request.OpenerDirector()
    if not _is_here(request.host):
        opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(_Http(watch))
    opener.add_handler(_Https(watch))
    try:
        with opener.open(request, timeout=watch.seconds) as reply:
            content = reply.read(LARGEST + 1)
        if watch.is_over:  # What was cut off may look whole.
            raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        raise _explain(error, watch) from None
    if len(content) > LARGEST:
        raise NoAnswer(f"answered more than {LARGEST >> 20} MiB", "nonsense")
    return Reply(reply.status, reply.headers, content)


def _connection(kind: type[http.client.HTTPConnection], watch: Watch) -> type[http.client.HTTPConnection]:
    class Connection(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            watch.hold(self.sock)

    return Connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: Watch):
        super().__init__()
        self._connection = _connection(http.client.HTTPConnection, watch)

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: Watch):
        super().__init__()
        self._connection = _connection(http.client.HTTPSConnection, watch)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request, context=_trusted())  # type: ignore[arg-type]


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates of this machine, which take a while to read."""
    return ssl.create_default_context()


def _is_here(host: str) -> bool:
    name = host.rpartition(":")[0].strip("[]") if ":" in host.rpartition("]")[2] else host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _explain(error: OSError | http.client.HTTPException, watch: Watch) -> NoAnswer:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if watch.is_over or isinstance(reason, TimeoutError):
        return NoAnswer(f"no answer within {watch.seconds:g} s", "timeout")
    told = " ".join(str(reason).split()) or type(reason).__name__
    if isinstance(error, OSError):
        return NoAnswer(f"cannot be reached: {told}", "unreachable")
    return NoAnswer(f"answered what is not HTTP: {told:.200}", "nonsense")
