"""Downloads from a server on this machine that misbehaves as mirrors do."""

import contextlib
import hashlib
import http.server
import sys
import threading

import pytest

from jaxnets.data.download import download

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RIGHT = {"size": len(CONTENT), "sha256": SHA256}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` in the way that the path names, and notes the ranges asked for."""

    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        way = self.path.strip("/")
        if way.isdigit() and len(self.server.ranges) <= self.server.refusals:
            self.send_response(int(way))
            self.send_header("Retry-After", "7")
            self.end_headers()
            return
        if way == "missing":
            self.send_error(404)
            return
        content, start = self.server.content, 0
        if self.headers.get("Range") and way != "no_range":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            said = start + 1 if way == "wrong_range" else start
            end = min(start + 30_000, len(content)) if way == "pieces" else len(content)
            self.send_header("Content-Range", f"bytes {said}-{end - 1}/{len(content)}")
            content = content[:end]
        else:
            self.send_response(200)
        body = content[start:]
        if way != "no_length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "cut" and len(self.server.ranges) <= 2:
            body = body[: len(body) // 2]
        if way == "always_cut":
            body = b""
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(content=CONTENT):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.ranges, server.refusals = content, [], 2
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", ["plain", "no_length"])
def test_whole_file(tmp_path, way, capsys):
    path = tmp_path / "new" / "folder" / "a.bin"
    with serving() as server:
        download([f"{server.url}/{way}"], path, **RIGHT)
        assert server.ranges == [None]
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["a.bin"]
    assert "downloading a.bin (102,400 bytes) from 127.0.0.1" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with serving() as server:
        download([f"{server.url}/plain"], tmp_path / "a.bin", **RIGHT)
    shown = capsys.readouterr().err
    assert "102.4/102.4 kB" in shown
    assert "downloading" not in shown


def test_no_bar_without_rich(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with serving() as server:
        download([f"{server.url}/plain"], tmp_path / "a.bin", **RIGHT)
    assert "downloading a.bin" in capsys.readouterr().err


def test_present_file_is_left_alone(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    download(["http://127.0.0.1:1/"], tmp_path / "a.bin", **RIGHT)
    assert (tmp_path / "a.bin").read_bytes() == b"mine"


def test_cut_connection_is_resumed_within_one_call(tmp_path):
    with serving() as server:
        download([f"{server.url}/cut"], tmp_path / "a.bin", **RIGHT)
        assert server.ranges == [None, "bytes=51200-", "bytes=76800-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_what_an_earlier_call_left_is_resumed_at_another_mirror(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    with serving() as server:
        download([f"{server.url}/missing", f"{server.url}/plain"], tmp_path / "a.bin", **RIGHT)
        assert server.ranges == ["bytes=1000-", "bytes=1000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("way", ["no_range", "wrong_range"])
def test_server_that_does_not_resume(tmp_path, way):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    with serving() as server:
        download([f"{server.url}/{way}"], tmp_path / "a.bin", **RIGHT)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_that_sends_pieces(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    with serving() as server:
        download([f"{server.url}/pieces"], tmp_path / "a.bin", **RIGHT)
        assert server.ranges == ["bytes=1000-", "bytes=31000-", "bytes=61000-", "bytes=91000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["no_range", "plain", "no_length"])
def test_a_page_instead_of_the_file_does_not_cost_what_has_come(tmp_path, way):
    """As from a network that asks to log in first; and another mirror goes on where the file was cut."""
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:50_000])
    with serving(b"<html>log in</html>") as page, pytest.raises(ConnectionError):
        download([f"{page.url}/{way}"], tmp_path / "a.bin", **RIGHT)
    assert names(tmp_path) == ["a.bin.part"]
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:50_000]
    with serving(b"<html>log in</html>") as page, serving() as server:
        download([f"{page.url}/{way}", f"{server.url}/plain"], tmp_path / "a.bin", **RIGHT)
        assert server.ranges == ["bytes=50000-"]
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_wrong_rest_of_an_earlier_call_is_thrown_away(tmp_path, left):
    (tmp_path / "a.bin.part").write_bytes(left)
    with serving() as server:
        download([f"{server.url}/plain"], tmp_path / "a.bin", **RIGHT)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_complete_part_needs_no_network(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    download(["http://127.0.0.1:1/"], tmp_path / "a.bin", **RIGHT)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "way", "message"),
    [
        (CONTENT[:-1] + b"x", "plain", "SHA-256 .* was expected"),
        (CONTENT + b"x", "plain", "announces 102401 bytes where 102400"),
        (CONTENT + b"x", "no_length", "more than the expected 102400 bytes"),
        (CONTENT[:-1], "plain", "announces 102399 bytes"),
        (b"<html>pay for this network</html>", "plain", "announces 33 bytes"),
        (CONTENT, "missing", "404"),
    ],
)
def test_wrong_files_leave_nothing(tmp_path, content, way, message):
    with serving(content) as server, pytest.raises(ConnectionError, match=message):
        download([f"{server.url}/{way}"], tmp_path / "a.bin", **RIGHT)
    assert names(tmp_path) == []


def test_short_file_without_a_length_is_not_put_in_place(tmp_path):
    with serving(CONTENT[:500]) as server, pytest.raises(ConnectionError, match="has nothing after the first 500"):
        download([f"{server.url}/no_length"], tmp_path / "a.bin", **RIGHT)
    assert "a.bin" not in names(tmp_path)


def test_server_that_never_sends_is_given_up(tmp_path):
    with serving() as server, pytest.raises(ConnectionError, match="sent 0 bytes where 102400"):
        download([f"{server.url}/always_cut"], tmp_path / "a.bin", **RIGHT)
    assert "a.bin" not in names(tmp_path)


def test_next_mirror_is_tried_after_a_wrong_file(tmp_path):
    with serving(b"x" * len(CONTENT)) as bad, serving() as good:
        download([f"{bad.url}/plain", f"{good.url}/plain"], tmp_path / "a.bin", **RIGHT)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_no_network_names_every_mirror(tmp_path):
    with pytest.raises(ConnectionError, match=r"(?s)127\.0\.0\.1:1/a.*127\.0\.0\.1:1/b"):
        download(["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"], tmp_path / "a.bin", **RIGHT)


def test_silent_server_times_out(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError, match="timed out"):
        download([f"http://127.0.0.1:{silent.getsockname()[1]}/"], tmp_path / "a.bin", **RIGHT, timeout=0.2)


def test_folder_that_cannot_be_made_is_no_network_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        download(["http://127.0.0.1:1/"], tmp_path / "file" / "a.bin", **RIGHT)


@pytest.mark.skipif(sys.platform == "win32", reason="no fcntl")
def test_threads_download_once(tmp_path):
    with serving() as server:
        threads = [
            threading.Thread(target=download, args=([f"{server.url}/plain"], tmp_path / "a.bin"), kwargs=RIGHT)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.ranges == [None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_the_time_that_it_names(tmp_path, monkeypatch, code):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    with serving() as server:
        download([f"{server.url}/{code}"], tmp_path / "a", **RIGHT)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert waited == [7.0, 7.0]


def test_a_server_that_stays_busy_is_given_up_for_the_next_mirror(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving() as busy, serving() as other:
        busy.refusals = 100
        download([f"{busy.url}/503", f"{other.url}/whole"], tmp_path / "a", **RIGHT)
        assert len(busy.ranges) == 4
    assert (tmp_path / "a").read_bytes() == CONTENT
