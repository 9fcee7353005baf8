"""Serving: in a block, until a signal, as a process; announced once, and stopped promptly."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import manager
from manager.mock_provider import Behaviour, serve, serving
from manager.mock_provider.server import print_url

ROOT = Path(manager.__file__).parents[1]
SERVE = "from manager.mock_provider import serve; serve(); print('the end')"


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_block_serves_with_its_own_behaviour_and_then_no_more() -> None:
    with serving(Behaviour(error_rate=1, error_status=503), ["the-only-key"]) as url:
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        for key, status in [("the-only-key", 503), ("another-key", 401)]:
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
            connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5)


def test_a_block_does_not_wait_for_held_streams() -> None:
    with serving(Behaviour(hold_after=1)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": "Bearer any-key"})
        stream = connection.getresponse()
        stream.readline()
        leaving = time.monotonic()

    assert time.monotonic() - leaving < 5
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        stream.read()
    connection.close()


def test_the_address_is_printed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_url("http://127.0.0.1:9000")

    assert capsys.readouterr().out == "mock provider listening on http://127.0.0.1:9000\n"


def test_an_address_in_use_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        serve(port=taken.getsockname()[1])


@pytest.mark.parametrize(("host", "number"), [("127.0.0.1", signal.SIGINT), ("::1", signal.SIGTERM)])
def test_serving_ends_on_a_signal_and_the_caller_goes_on(host: str, number: signal.Signals) -> None:
    if ":" in host and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
    announced: list[str] = []

    def stop_at_once(url: str) -> None:
        announced.append(url)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    serve(host, 0, announce=stop_at_once)

    assert signal.getsignal(number) is before
    assert urlsplit(announced[0]).hostname == host
    assert int(urlsplit(announced[0]).port or 0) > 0


def test_a_process_announces_itself_and_stops_promptly_with_a_stream_held() -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        netloc = urlsplit(process.stdout.readline().rsplit(" ", 1)[-1].strip()).netloc
        connection = http.client.HTTPConnection(netloc, timeout=10)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True})
        headers = {"authorization": "Bearer any-key", "x-mock-behaviour": '{"hold_after": 1}'}
        connection.request("POST", "/v1/chat/completions", body, headers)
        stream = connection.getresponse()
        stream.readline()

        process.terminate()

        assert process.wait(timeout=15) == 0
        assert process.stdout.read() == "the end\n"
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            stream.read()
        connection.close()
