"""The command `jaxnets playground`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence

import jax

from jaxnets.console import library_command
from jaxnets.errors import UserError
from jaxnets.extras import needed_for, require

PORT = 8321
ADDRESS = "127.0.0.1"


def main(words: Sequence[str]) -> None:
    """Serve the playground until Ctrl-C."""
    asked = make_parser().parse_args(words)
    require("the playground", "aiohttp")
    jax.config.update("jax_platforms", "cpu")  # networks as small as these are slower on a GPU
    serve(listen(asked.port), browser=not asked.no_browser)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    found = argparse.ArgumentParser(
        prog=f"{library_command()} playground",
        description="Open a page in the browser that trains small networks, one that shows a single neuron, and one "
        "with backpropagation by hand. Only this computer can reach it.",
    )
    found.add_argument(
        "--port", type=port, default=PORT, help=f"of the page (default: {PORT}); 0 takes any that is free"
    )
    found.add_argument("--no-browser", action="store_true", help="only print the address")
    return found


def port(text: str) -> int:
    """Read a port.

    Example:
        >>> port("8321")
        8321
    """
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def listen(number: int) -> socket.socket:
    """Listen on a port of this computer, which others cannot reach.

    Raises:
        UserError: if that is not possible.
    """
    listener = socket.socket()
    try:
        if sys.platform != "win32":  # there it would allow a second server on the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, number))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(why(error, number)) from None
    return listener


def why(error: OSError, number: int) -> str:
    """Why one cannot listen, in words."""
    if error.errno == errno.EADDRINUSE:
        return f"port {number} is taken; choose another one by --port, or --port 0 for any that is free"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {number} is not allowed; choose one from 1024 on by --port"
    return f"cannot listen on port {number}: {error.strerror}"


def serve(listener: socket.socket, *, browser: bool) -> None:
    """Serve on a socket until the process is interrupted."""
    from jaxnets.playground.server import make_app

    with needed_for("the playground"):
        from aiohttp import web

    number = listener.getsockname()[1]
    address = f"http://{ADDRESS}:{number}/"
    print(f"the playground is at {address}   (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        web.run_app(make_app(number), sock=listener, print=None, access_log=None, shutdown_timeout=2.0)
    print("\nthe playground has ended")
