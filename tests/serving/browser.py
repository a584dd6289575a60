"""A headless Chromium, driven through the pipe of its DevTools protocol: real keys, files and screens, no driver."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
KEYS = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    **{key: ord(key) - 32 for key in "sdnlku"},
}
SECONDS = 20.0


class Browser:
    """One page of a Chromium of its own. Every method waits until the browser has answered."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        (there, self._to), (self._from, back) = os.pipe(), os.pipe()
        command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(  # it reads commands from 3 and writes answers to 4
            ["bash", "-c", f'exec "$@" 3<&{there} 4>&{back} 2>/dev/null', "bash", *command], pass_fds=(there, back)
        )
        os.close(there)
        os.close(back)
        self._number, self._read, self._session = 0, b"", {}
        [page] = [found for found in self._call("Target.getTargets")["targetInfos"] if found["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show an address on a screen of this size, in pixels, and wait until the page has loaded."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        self._call("Page.navigate", url=address)
        self.wait_for(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(address)})")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(f"!!({condition})"):
            assert time.monotonic() < end, f"{condition} did not come true: {self.run('document.body.innerText')}"
            time.sleep(0.02)

    def downloaded(self, folder: Path, script: str, name: str) -> bytes:
        """Return what a script makes the page download under this name."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.run(script)
        end = time.monotonic() + SECONDS
        while not (folder / name).is_file() or not (folder / name).stat().st_size:
            assert time.monotonic() < end, f"{name} is not among {list(folder.iterdir())}"
            time.sleep(0.02)
        return (folder / name).read_bytes()

    def press(self, *keys: str) -> None:
        """Press keys of KEYS one after another."""
        for key in keys:
            event = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"text": "\r"} if key == "Enter" else {}
            self._call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
            self._call("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self._call("Input.insertText", text=text)

    def choose(self, selector: str, file: Path) -> None:
        """Give a file to an input, as its dialog would."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file: Path, whole: bool = True) -> None:
        """Write the page, or what is on the screen of it, as PNG."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass  # events
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._from], [], [], SECONDS)[0], "the browser does not answer"
            self._read += os.read(self._from, 1 << 20)
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
