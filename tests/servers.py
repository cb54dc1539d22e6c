"""A real HTTP server on the loopback address that speaks OpenAI's API, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-Secret-0123"


def completion(text: str, finish: str = "stop", **message: object) -> dict:
    """What a server answers, with as many tokens as the text has words."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": len(text.split()), "total_tokens": 10 + len(text.split())}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # Where the machine is busy, connections wait; those beyond the five that are usual would be turned away.
    request_queue_size = 128


class Server:
    """A context manager: answers each POST with what `answer(path, request, number)` returns: a dictionary, as JSON of
    status 200; (status, headers, bytes); or a number of seconds to say nothing for. Keeps what came."""

    def __init__(self, answer: Callable[[str, dict, int], object]):
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once, lock = 0, threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(server.requests)
                    server.requests.append(request)
                    server.headers.append(dict(self.headers))
                    server.times.append(time.monotonic())
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                try:
                    self._reply(answer(self.path, request, number))
                except (BrokenPipeError, ConnectionResetError):
                    pass
                finally:
                    with lock:
                        server._at_once -= 1

            def _reply(self, made: object) -> None:
                if callable(made):
                    made(self)
                    return
                if isinstance(made, float):
                    server.stopped.wait(made)
                    return
                status, headers, content = made if isinstance(made, tuple) else (200, {}, json.dumps(made).encode())
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self.stopped = threading.Event()
        self._http = _Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
