"""The page on localhost, made anew where the files of its runs have changed since it was made."""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.runtime.report.folders import read_runs
from rl_reason.runtime.report.page import make_page

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")


class PageServer(ThreadingHTTPServer):
    """Answers "/" with the page of these folders.

    Raises:
        UsageError: the port is not free, or is none.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], port: int):
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            found = "is taken" if taken else str(error)
            raise UsageError(f"--port={port}: {found}; expected a free port, or 0 for any") from None
        self._folders = folders
        self._lock = threading.Lock()
        self._made: tuple[list, bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def page(self) -> bytes:
        """Raises `UsageError` where a folder is gone, or is no run's any more."""
        with self._lock:
            stamp = [
                (file, file.stat().st_mtime_ns, file.stat().st_size)
                for folder in self._folders
                for file in sorted(folder.glob("*.json*"))
            ]
            if self._made is None or self._made[0] != stamp:
                self._made = stamp, make_page(read_runs(self._folders)).encode("utf-8")
            return self._made[1]


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        # A page of another site whose name leads here too must not read what a model wrote.
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
            return self._answer(HTTPStatus.FORBIDDEN, b"expected localhost\n", "text/plain")
        if self.path.partition("?")[0] != "/":
            return self._answer(HTTPStatus.NOT_FOUND, b"no such page\n", "text/plain")
        try:
            self._answer(HTTPStatus.OK, self.server.page(), "text/html")
        except UsageError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n".encode(), "text/plain")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A line for each request would bury the address."""
