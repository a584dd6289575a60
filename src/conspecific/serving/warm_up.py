"""One search before the first: what is built when it is first used would otherwise double the time of that answer."""

from io import BytesIO

from PIL import Image
from starlette.types import ASGIApp, Message


async def warm_up(app: ASGIApp) -> int:
    """Send an image through the whole application, without a network between; return the status of the answer."""
    buffer, statuses = BytesIO(), []
    Image.new("RGB", (640, 480)).save(buffer, "JPEG")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/search",
        "raw_path": b"/api/search",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"image/jpeg")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": buffer.getvalue(), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(message["status"]))

    await app(scope, receive, send)
    return statuses[0]
