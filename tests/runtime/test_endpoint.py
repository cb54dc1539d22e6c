"""The client for OpenAI's API against a real server that answers, hangs, refuses and talks nonsense."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.runtime import endpoint as module
from rl_reason.runtime.endpoint import CHAT, TEXT, Answer, Endpoint, EndpointError
from tests.servers import KEY, Server, completion

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.02)


def client(server, **changes):
    options = {"url": server.url, "model": "tiny", "timeout": 5.0, "tries": 3} | changes
    return Endpoint(settings.Endpoint(**options))


def ask(made, request=HELLO, route=CHAT):
    return made.submit(route, request).result(timeout=30)


def test_a_chat_and_a_text_are_answered():
    def answer(path, request, number):
        if path == "/v1/completions":
            choice = {"text": f"{request['prompt']} 3", "finish_reason": "length"}
            return {"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}
        return completion("four words of it")

    with Server(answer) as server, client(server) as made:
        chat, text = ask(made), ask(made, {"prompt": "1 2"}, TEXT)
        assert chat == Answer("four words of it", "stop", prompt_tokens=10, completion_tokens=4)
        assert (text.text, text.finish) == ("1 2 3", "length")
        assert server.requests[0] == {"model": "tiny", **HELLO}
        counts = {"calls": 2, "cache_hits": 0, "retries": 0, "failures": 0, "prompt_tokens": 12, "completion_tokens": 5}
        assert made.take_counts() == counts and set(made.take_counts().values()) == {0}


def test_log_probabilities_as_chats_and_texts_have_them_and_as_the_cache_keeps_them(tmp_path):
    tops = [{"token": "A", "logprob": -0.25}, {"token": "B", "logprob": -1.5}]
    of_chat = {"content": [{"token": "A", "logprob": -0.25, "top_logprobs": tops}]}
    of_text = {"tokens": ["A", "!"], "token_logprobs": [-0.25, -1], "top_logprobs": [{"A": -0.25, "B": -1.5}, None]}
    said = [of_chat, of_text, {"content": [{"token": "A"}]}, "none", None]

    def answer(path, request, number):
        made = completion("A")
        made["choices"][0]["logprobs"] = said[request["place"]]
        return made

    with Server(answer) as server, client(server, cache=str(tmp_path)) as made:
        for _ in range(2):
            likely = [ask(made, HELLO | {"place": place}).likely for place in range(len(said))]
            first = ("A", {"A": -0.25, "B": -1.5})
            assert likely == [(first,), (first, ("!", {})), (), (), ()]
        assert len(server.requests) == len(said)


def test_thoughts_stand_before_what_is_said():
    thinking = [completion("So 4.", reasoning_content="2 and 2"), completion("", "length", content=None)]
    with Server(lambda path, request, number: thinking[number]) as server, client(server) as made:
        assert ask(made).text == "<think>\n2 and 2\n</think>\n\nSo 4."
        cut = ask(made)
        assert (cut.text, cut.finish) == ("", "length")


@pytest.mark.parametrize("header", [{"Retry-After": "0.4"}, {"Retry-After": "date"}])
def test_429_and_500_are_tried_again_and_retry_after_is_kept(header):
    def answer(path, request, number):
        if number == 0:
            moment = email.utils.formatdate(time.time() + 2, usegmt=True)
            return 429, {"Retry-After": moment if header["Retry-After"] == "date" else "0.4"}, b"slowly"
        return (500, {}, b"oops") if number == 1 else completion("at last")

    with Server(answer) as server, client(server) as made:
        assert ask(made).text == "at last"
        assert server.times[1] - server.times[0] >= (0.4 if header["Retry-After"] != "date" else 0.9)
        counts = made.take_counts()
        assert (counts["calls"], counts["retries"], counts["failures"]) == (3, 2, 0)


def test_tries_are_bounded_and_pauses_grow_with_the_seed():
    with Server(lambda *_: (503, {}, b'{"error": {"message": "loading"}}')) as server:
        with client(server, tries=4) as made, pytest.raises(EndpointError) as caught:
            ask(made)
        assert str(caught.value) == f"{server.url}/chat/completions: answered with status 503: 'loading'"
        assert len(server.requests) == 4 and made.take_counts()["failures"] == 1
    pauses = {}
    for seed in (0, 0, 1):
        with Endpoint(settings.Endpoint(url="http://127.0.0.1:1", model="m"), seed=seed) as made:
            found = [made._pause(number, "digest", EndpointError("", "status")) for number in range(1, 20)]
        assert pauses.setdefault(seed, found) == found
        for number, pause in enumerate(found):
            longest = min(0.02 * 2**number, module.LONGEST_PAUSE)
            assert longest / 2 <= pause <= longest
    assert pauses[0] != pauses[1]


def test_a_pause_without_measure_is_not_waited_for():
    with Server(lambda *_: (429, {"Retry-After": "86400"}, b"")) as server, client(server) as made:
        began = time.monotonic()
        with pytest.raises(EndpointError, match="a pause of 86400 s"):
            ask(made)
        assert len(server.requests) == 1 and time.monotonic() - began < 5


@pytest.mark.parametrize("status, kind", [(400, "refused"), (422, "refused"), (401, "status"), (404, "status")])
def test_what_another_try_cannot_mend_is_tried_once(status, kind):
    with Server(lambda *_: (status, {}, b'{"error": {"message": "no such model"}}')) as server, client(server) as made:
        with pytest.raises(EndpointError, match="no such model") as caught:
            ask(made)
        assert caught.value.kind == kind and len(server.requests) == 1


NONSENSE = [
    b"<html>Welcome</html>",
    b"",
    b"[]",
    b'{"choices": []}',
    b'{"choices": [{"message": {"content": 5}}]}',
    b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}',
    b"\xff\xfe",
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", NONSENSE, ids=lambda content: content[:20].decode("latin1"))
def test_nonsense_is_a_failure(content):
    with Server(lambda *_: (200, {}, content)) as server, client(server, tries=2) as made:
        with pytest.raises(EndpointError, match="expected a completion in JSON") as caught:
            ask(made)
        assert caught.value.kind == "nonsense" and len(server.requests) == 2 and len(str(caught.value)) < 400


def test_what_is_not_http_is_a_failure():
    def gibberish(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    with Server(lambda *_: gibberish) as server, client(server, tries=1) as made:
        with pytest.raises(EndpointError, match="not HTTP") as caught:
            ask(made)
        assert caught.value.kind == "nonsense"


def drip(handler):
    """A byte now and then, for ever: no pause is as long as the limit."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"y")
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [60.0, drip, drip_headers], ids=["says nothing", "drips", "drips headers"])
def test_a_server_that_hangs_costs_the_limit(answer):
    with Server(lambda *_: answer) as server, client(server, timeout=0.5, tries=2) as made:
        began = time.monotonic()
        with pytest.raises(EndpointError, match="no answer within 0.5 s") as caught:
            ask(made)
        assert caught.value.kind == "timeout" and len(server.requests) == 2
        assert 1.0 <= time.monotonic() - began < 2.5


def test_nobody_there_and_while_nobody_is_one_try_each():
    with Server(lambda *_: completion("x")) as server:
        url = server.url
    with Endpoint(settings.Endpoint(url=url, model="m", tries=3)) as made:
        for _ in range(3):
            with pytest.raises(EndpointError, match="cannot be reached") as caught:
                ask(made)
        assert caught.value.kind == "unreachable"
        assert made.take_counts()["calls"] == 3 + 1 + 1


def test_a_redirection_is_not_followed():
    with Server(lambda *_: completion("stolen")) as other:
        moved = lambda *_: (307, {"Location": f"{other.url}/chat/completions"}, b"")  # noqa: E731
        with Server(moved) as server, client(server) as made, pytest.raises(EndpointError, match="status 307"):
            ask(made)
        assert other.requests == []


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Server(lambda *_: completion("here")) as server, client(server, tries=1) as made:
        assert ask(made).text == "here"
    with Endpoint(settings.Endpoint(url="http://no-such-host.invalid/v1", model="m", tries=1)) as made:
        with pytest.raises(EndpointError, match="Connection refused"):  # by the proxy, not by the name
            ask(made)


def test_requests_under_way_are_bounded_and_closing_ends_them():
    slow = threading.Event()

    def answer(path, request, number):
        slow.wait(0.1)
        return completion(request["messages"][0]["content"])

    with Server(answer) as server, client(server, concurrency=3) as made:
        requests = [{"messages": [{"role": "user", "content": str(i)}]} for i in range(12)]
        answers = [one.result(timeout=30).text for one in [made.submit(CHAT, request) for request in requests]]
        assert answers == [str(i) for i in range(12)] and server.most_at_once == 3
    with Server(lambda *_: 60.0) as server:
        made = client(server, timeout=50.0, concurrency=2)
        waiting = [made.submit(CHAT, HELLO) for _ in range(4)]
        while len(server.requests) < 2:
            time.sleep(0.01)
        began = time.monotonic()
        made.close()
        ended = [one.cancelled() or isinstance(one.exception(timeout=10), EndpointError) for one in waiting]
        assert all(ended) and time.monotonic() - began < 5


def test_the_cache_answers_what_was_asked_before(tmp_path):
    cache = {"cache": str(tmp_path / "cache")}
    with Server(lambda path, request, number: completion(f"answer {number}")) as server:
        with client(server, **cache) as made:
            assert ask(made, {"temperature": 1, **HELLO}).text == "answer 0"
            assert ask(made, {**HELLO, "temperature": 1}).text == "answer 0"
            assert ask(made).text == "answer 1"  # another request
            counts = made.take_counts()
            assert (counts["calls"], counts["cache_hits"], counts["completion_tokens"]) == (2, 1, 4)
        with client(server, model="other", **cache) as made:
            assert ask(made).text == "answer 2"
            assert made.probe(CHAT, HELLO).text == "answer 3"
        for file in (tmp_path / "cache").rglob("*.json"):
            file.write_bytes(file.read_bytes()[:7])
        with client(server, **cache) as made:
            assert ask(made).text == "answer 4"
        assert len(list((tmp_path / "cache").rglob("*"))) == 3 + len({p.parent for p in tmp_path.rglob("*.json")})
    with client(server, **cache) as made:  # nobody is there any more
        assert ask(made).text == "answer 4"


def test_failures_are_not_cached(tmp_path):
    bad = [(200, {}, b"{}"), (400, {}, b""), completion("good")]
    with Server(lambda path, request, number: bad[number]) as server:
        with client(server, cache=str(tmp_path), tries=1) as made:
            for _ in range(2):
                with pytest.raises(EndpointError):
                    ask(made)
            assert ask(made).text == "good"


def test_threads_share_a_cache(tmp_path):
    with Server(lambda *_: completion("x " * 2000)) as server:
        made = [client(server, cache=str(tmp_path)) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda i: ask(made[i % 4]).text, range(40)))
        assert set(texts) == {"x " * 2000} and len(list(tmp_path.rglob("*.*"))) == 1
        for one in made:
            one.close()


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("TEACHERS_KEY", KEY)
    tells = [completion(f"your key is {KEY}"), (401, {}, f"bad key {KEY}".encode()), (200, {}, KEY.encode())]
    with Server(lambda path, request, number: tells[number]) as server:
        with client(server, key_variable="TEACHERS_KEY", cache=str(tmp_path), tries=1) as made:
            assert ask(made).text == "your key is [key]"
            for text in ("b", "c"):
                with pytest.raises(EndpointError) as caught:
                    ask(made, {"messages": text})
                assert "[key]" in str(caught.value) and KEY not in str(caught.value)
        assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 3
        assert KEY not in json.dumps(server.requests)
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"url": ""}, "config.endpoint.url=''"),
        ({"url": "127.0.0.1:8000/v1"}, "such as 'http://127.0.0.1:8000/v1'"),
        ({"url": "ftp://host/v1"}, "ftp://host/v1"),
        ({"url": "http://host:port/v1"}, "such as 'http"),
        ({"url": "http://höst/v1"}, "such as 'http"),
        ({"url": "http://host/v1?key=1"}, "such as 'http"),
        ({"url": f"http://user:{KEY}@host/v1"}, "(not shown)"),
        ({"model": ""}, "config.endpoint.model=''"),
        ({"key_variable": KEY}, "(not shown)"),
        ({"key_variable": "NO_SUCH_VARIABLE"}, "the environment has no such variable"),
        ({"key_variable": "TWO_LINES"}, "cannot stand in a header"),
        ({"timeout": 0.0}, "config.endpoint.timeout=0.0"),
        ({"tries": 0}, "config.endpoint.tries=0"),
        ({"concurrency": 0}, "config.endpoint.concurrency=0"),
        ({"cache": __file__}, "config.endpoint.cache="),
    ],
)
def test_wrong_options(changes, told, monkeypatch):
    monkeypatch.setenv("TWO_LINES", f"{KEY}\nX-Other: 1")
    with pytest.raises(UsageError) as caught:
        Endpoint(settings.Endpoint(**{"url": "http://127.0.0.1:9/v1", "model": "m"} | changes))
    assert told in str(caught.value) and KEY not in str(caught.value)
