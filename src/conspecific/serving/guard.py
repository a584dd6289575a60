"""What every answer of the server says to browsers, and which requests it does not take."""

import json
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}


class Guard:
    """Wraps an application: sets the security headers, and refuses requests for names that are not its own.

    A website can let its own name point to this machine (DNS rebinding) and would then be allowed by the browser to
    read answers. It cannot make an address or `localhost` its own, so that these and the given names are taken.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self._app, self._names = app, {"localhost", *(name.lower().rstrip(".") for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.decode("latin-1").lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        asked = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._is_own(host_name(asked)):
            await self._app(scope, receive, guarded)
            return
        sentence = f"This server does not answer for {asked or 'a request without a Host header'}: "
        body = json.dumps({"error": f"{sentence}open it by its address, or start it with names=[NAME]."}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await guarded({"type": "http.response.start", "status": 421, "headers": headers})
        await guarded({"type": "http.response.body", "body": body})

    def _is_own(self, name: str) -> bool:
        try:
            ip_address(name)
        except ValueError:
            return name in self._names
        return True


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without its port.

    >>> host_name("localhost:8000"), host_name("[::1]:8000"), host_name("[::1]"), host_name("Birds.local.")
    ('localhost', '::1', '::1', 'birds.local')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
