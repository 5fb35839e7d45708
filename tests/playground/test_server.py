"""The server answers its own pages and nobody else, and ends when it is told to."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import subprocess
from importlib import resources

import pytest

from jaxnets.playground.command import listen
from tests.playground.live import COMMAND, ROOT, read_frame, serving

aiohttp = pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def port():
    with serving() as (_, port):
        yield port


def ask(port, method="GET", path="/", body=None, **headers):
    """Status, headers and text of an answer; a header of None is not sent."""
    headers = {"Host": f"127.0.0.1:{port}"} | headers
    content = b"" if body is None else json.dumps(body).encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in (headers | ({"Content-Length": str(len(content))} if content else {})).items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


@pytest.mark.parametrize("path", ["/", "/neuron", "/backprop", "/static/style.css", "/static/playground.js"])
def test_pages_are_served_with_headers_that_keep_them_apart(port, path):
    status, headers, text = ask(port, path=path)
    assert (status, len(text) > 500) == (200, True)
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_pages_load_nothing_from_elsewhere():
    """They work offline. The one address in them is the name of SVG's elements."""
    for file in (resources.files("jaxnets.playground") / "pages").iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, file.name
        assert "//cdn" not in text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil", "", None]
)
def test_names_that_were_made_to_lead_here_are_refused(port, host):
    """DNS rebinding: the browser believes that the page of evil.example talks to its own server."""
    host = None if host is None else host.format(port=port)
    for path in ("/", "/static/style.css", "/live"):
        status, _, text = ask(port, path=path, Host=host, Origin=f"http://{host}")
        assert status in ((403,) if host is not None else (400, 403))
        assert "jaxnets" not in text
    assert ask(port, "POST", "/lesson/threshold", {}, Host=host, Origin=f"http://{host}")[0] in (400, 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "null", "", None]
)
def test_pages_of_other_origins_may_not_talk_to_it(port, origin):
    origin = None if origin is None else origin.format(port=port)
    assert ask(port, "POST", "/lesson/threshold", {}, Origin=origin)[0] == 403
    upgrade = {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    status, headers, _ = ask(port, path="/live", Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", Origin=origin, **upgrade)
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_its_own_pages_may(port, name):
    headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
    status, _, text = ask(port, "POST", "/lesson/threshold", {"gate": "or"}, **headers)
    assert (status, [row["output"] for row in json.loads(text)["rows"]]) == (200, [0, 1, 1, 1])


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/lesson/threshold", {"gate": "nand"}, 400, "gate must be one of"),
        ("/lesson/learn", {"picks": 10**9}, 400, "picks must be from 1 to 400"),
        ("/lesson/backprop", [1], 400, "takes an object"),
        ("/lesson/other", {}, 404, "the lessons are threshold, points, learn, backprop"),
        ("/lesson/threshold", {"gate": "x" * 2**17}, 413, ""),
        ("/static/../session.py", None, 404, ""),
        ("/static/%2e%2e/session.py", None, 404, ""),
    ],
)
def test_what_it_refuses(port, path, body, status, words):
    found, _, text = ask(port, "GET" if body is None else "POST", path, body, Origin=f"http://127.0.0.1:{port}")
    assert found == status
    assert words in text


def test_nobody_else_on_the_network_can_reach_it():
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


async def play(port, epochs):
    """Open a network as a page does, and train it; returns the last message."""
    async with (
        aiohttp.ClientSession(headers={"Origin": f"http://127.0.0.1:{port}"}) as client,
        client.ws_connect(f"http://127.0.0.1:{port}/live") as socket,
    ):
        await socket.send_json({"do": "open", "settings": {"data": "gauss", "hidden": []}})
        await socket.send_json({"do": "play", "goal": epochs})
        while True:
            message = await asyncio.wait_for(socket.receive(), 60)
            if message.type is aiohttp.WSMsgType.BINARY:
                read_frame(message.data)
                await socket.send_json({"do": "drawn"})
            elif (found := json.loads(message.data))["kind"] == "paused" and found["epoch"] == epochs:
                return found


def test_pages_that_are_open_together_have_networks_of_their_own(port):
    async def both():
        return await asyncio.gather(play(port, 3), play(port, 5))

    first, second = asyncio.run(both())
    assert (first["epoch"], second["epoch"]) == (3, 5)
    assert first["fingerprint"] != second["fingerprint"]


def test_it_ends_by_an_interrupt_while_a_page_trains():
    with serving() as (server, port):

        async def interrupt():
            async with (
                aiohttp.ClientSession(headers={"Origin": f"http://127.0.0.1:{port}"}) as client,
                client.ws_connect(f"http://127.0.0.1:{port}/live") as socket,
            ):
                await socket.send_json({"do": "open", "settings": {}})
                await socket.send_json({"do": "play"})
                assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
                server.send_signal(signal.SIGINT)
                while (message := await asyncio.wait_for(socket.receive(), 30)).type is not aiohttp.WSMsgType.CLOSE:
                    assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
                return message.data

        assert asyncio.run(interrupt()) == 1001  # the server goes away
        output, errors = server.communicate(timeout=30)
        assert (server.returncode, errors) == (0, "")
        assert "ended" in output


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(number)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    words = "is taken; choose another one by --port, or --port 0 for any that is free"
    assert done.stderr == f"python -m jaxnets playground: port {number} {words}\n"


def test_ports_that_do_not_exist_are_refused():
    done = subprocess.run([*COMMAND, "--port", "65536"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "must be a whole number from 0 to 65535, got '65536'" in done.stderr
