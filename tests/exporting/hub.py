"""A server that speaks as much of the Hugging Face hub's API as an upload needs, and keeps what it was sent."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_test"
LICENSES = {"apache-2.0", "cc-by-4.0"}
LARGE = (".onnx", ".safetensors", ".bin")  # stored by Git LFS


@dataclass
class Hub:
    """url: of the server. repositories: OWNER/NAME -> whether it is private. files: of the last commit of each."""

    url: str = ""
    repositories: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def answer(self, status: int, content: Any = None) -> None:
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"]))

        def do_HEAD(self) -> None:
            self.answer(200)

        def do_PUT(self) -> None:
            content = self.body()
            hub.large[hashlib.sha256(content).hexdigest()] = content
            self.answer(200)

        def do_POST(self) -> None:
            content = self.body()
            if self.path == "/api/validate-yaml":
                return self.answer(*validated(json.loads(content)["content"]))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self.answer(401, {"error": "Invalid username or password."})
            if self.path == "/api/repos/create":
                return self.answer(*created(hub, json.loads(content)))
            name, action = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/.]+)(?:\.git/info)?/(\w+).*", self.path).groups()  # type: ignore[union-attr]
            known = {"preupload": sorted_by_size, "lfs": places_to_upload, "commit": committed}
            return self.answer(200, known[action](hub, name, content))

    return Handler


def validated(readme: str) -> tuple[int, Any]:
    license = re.search(r"^license: (.*)$", readme, flags=re.MULTILINE)
    if license and license[1] not in LICENSES:
        return 400, f'"license" must be one of [{", ".join(sorted(LICENSES))}]'
    return 200, {"warnings": [], "errors": []}


def created(hub: Hub, asked: dict[str, Any]) -> tuple[int, Any]:
    name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
    if name.startswith("other/"):
        return 403, {"error": "You don't have the rights to create a model under the namespace other"}
    if name in hub.repositories:
        return 409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"}
    hub.repositories[name] = bool(asked.get("private") or asked.get("visibility") == "private")
    return 200, {"url": f"{hub.url}/{name}"}


def sorted_by_size(_: Hub, name: str, content: bytes) -> Any:
    files = [file["path"] for file in json.loads(content)["files"]]
    modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in files}
    return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}


def places_to_upload(hub: Hub, name: str, content: bytes) -> Any:
    objects = json.loads(content)["objects"]
    actions = [{**each, "actions": {"upload": {"href": f"{hub.url}/put/{each['oid']}"}}} for each in objects]
    return {"transfer": "basic", "objects": actions}


def committed(hub: Hub, name: str, content: bytes) -> Any:
    files = hub.files.setdefault(name, {})
    for line in map(json.loads, content.splitlines()):
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
    return {"success": True, "commitUrl": f"{hub.url}/{name}/commit/1", "commitOid": "1"}
