"""A server of files on this machine, for what is downloaded elsewhere."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


class Server(http.server.ThreadingHTTPServer):
    asked: list[str | None]
    folder: Path
    address: str


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and parts of its files; /cut/NAME breaks off, /old/NAME knows no parts,
    /wrong/NAME gives another part, /bad/NAME does not look at If-Range, /none/NAME says 416,
    /away/NAME sends to itself, and /away/http://ADDRESS there."""

    server: Server

    def do_GET(self):
        _, kind, name = self.path.split("/", 2)
        if kind == "away":
            self.server.asked.append(None)
            self.send_response(302)
            self.send_header("Location", name if "://" in name else f"/away/{name}")
            self.end_headers()
            return
        path = Path(self.directory) / name
        if not path.is_file():
            self.send_error(404, "Not Found")
            return
        data, start = path.read_bytes(), 0
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        version = self.headers.get("If-Range")
        if kind == "none":
            self.send_error(416)
            return
        if asked and kind != "old" and (version in (None, tag) or kind == "bad"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
        start = start and (5 if kind == "wrong" else start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = len(data) // 2 if kind == "cut" and not start else len(data)
        self.wfile.write(data[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as served:
        served.asked = []
        served.folder = folder
        served.address = f"http://127.0.0.1:{served.server_port}"
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()
