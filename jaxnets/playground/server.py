"""The playground's server: pages, lessons and training sessions, for this computer alone.

It listens on 127.0.0.1. Any page that is open in the browser could still send requests there, so a request has to name
this server as its host, against names of other servers that were made to lead here (DNS rebinding), and what is not
merely read needs an origin, which has to be this server too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any

from jaxnets.extras import needed_for
from jaxnets.playground import backprop, logic, rules
from jaxnets.playground.session import Message, Session

with needed_for("the playground"):
    from aiohttp import WSCloseCode, WSMsgType, web

MAX_SESSIONS = 16
"""How many pages may train at once."""
MAX_BYTES = 2**16
"""Of what a page sends."""
PAGES = {"/": "playground.html", "/neuron": "neuron.html", "/backprop": "backprop.html"}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LESSONS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "threshold": lambda values: logic.threshold(logic.ThresholdSettings.from_dict(values)),
    "points": lambda values: rules.points(rules.RuleSettings.from_dict(values)),
    "learn": lambda values: rules.learn(rules.RuleSettings.from_dict(values)),
    "backprop": lambda values: backprop.worked_example(backprop.BackpropSettings.from_dict(values)),
}
"""What the two pages beside the playground ask, by the name in `/lesson/NAME`."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SESSIONS: Any = web.AppKey("sessions", dict)
"""Of an application: the session of every open connection."""


def make_app(port: int) -> web.Application:
    """Make the application of a server that listens on this port of 127.0.0.1."""
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")] + (
        ["127.0.0.1", "localhost"] if port == 80 else []
    )
    origins = [f"http://{host}" for host in hosts]

    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if message := refusal(request, hosts, origins):
            return web.Response(status=403, text=message + "\n", headers=HEADERS)
        return await handler(request)

    app = web.Application(middlewares=[web.middleware(guard)], client_max_size=MAX_BYTES)
    app[SESSIONS] = {}
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_sessions)
    files = {file.name: file.read_bytes() for file in (resources.files(__package__) / "pages").iterdir()}
    for path, name in PAGES.items():
        app.router.add_get(path, serve(name, files[name]))
    for name, content in files.items():
        app.router.add_get(f"/static/{name}", serve(name, content))
    app.router.add_get("/live", live)
    app.router.add_post("/lesson/{name}", lesson)
    return app


def refusal(request: web.Request, hosts: list[str], origins: list[str]) -> str | None:
    """Why a request is not answered, or None."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if host.lower() not in hosts:
        return f"this server is {origins[0]} and answers no other name, got {host!r}"
    if origin is not None and origin not in origins:
        return f"pages of other origins may not talk to this server, got {origin!r}"
    if origin is None and (
        request.method not in ("GET", "HEAD") or "upgrade" in request.headers.get("Connection", "").lower()
    ):
        return "this request needs the header Origin, as browsers send it"
    return None


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Keep the pages to themselves."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def serve(name: str, content: bytes) -> Handler:
    """Make the handler of a file."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type=TYPES[name.rpartition(".")[2]], charset="utf-8")

    return handler


async def lesson(request: web.Request) -> web.StreamResponse:
    """Answer a question of the pages about one neuron and about backpropagation."""
    function = LESSONS.get(request.match_info["name"])
    if function is None:
        return web.json_response({"error": f"the lessons are {', '.join(LESSONS)}"}, status=404)
    try:
        values = json.loads(await request.text())
        if not isinstance(values, dict):
            raise TypeError("a lesson takes an object of settings")
        answer = await asyncio.to_thread(function, values)
    except (ValueError, TypeError, RecursionError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response(answer)


async def live(request: web.Request) -> web.StreamResponse:
    """Connect a page with a session of its own, until either goes."""
    socket = web.WebSocketResponse(max_msg_size=MAX_BYTES, heartbeat=30, compress=False)
    await socket.prepare(request)
    sessions = request.app[SESSIONS]
    if len(sessions) >= MAX_SESSIONS:
        message = f"{MAX_SESSIONS} pages are open already; close one of them and load this one again"
        await socket.send_str(json.dumps({"kind": "error", "message": message}))
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
        return socket
    loop, outgoing = asyncio.get_running_loop(), asyncio.Queue[Message]()

    def send(message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
            loop.call_soon_threadsafe(outgoing.put_nowait, message)

    session = sessions[socket] = Session(send)
    sender = asyncio.create_task(forward(outgoing, socket))
    try:
        async for received in socket:
            if received.type is WSMsgType.TEXT:
                session.receive(received.data)
    except queue.Full:
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many commands at once")
    finally:
        session.stop()
        sender.cancel()
        del sessions[socket]
    return socket


async def forward(outgoing: asyncio.Queue[Message], socket: web.WebSocketResponse) -> None:
    """Send what the session says."""
    while not socket.closed:
        message = await outgoing.get()
        try:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        except ConnectionError:  # the page is gone
            return


async def close_sessions(app: web.Application) -> None:
    """Say goodbye to all pages."""
    for socket, session in list(app[SESSIONS].items()):
        session.stop()
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server ends")
