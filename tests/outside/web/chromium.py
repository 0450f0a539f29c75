"""Headless Chromium for tests, spoken to over its debugging pipe: no package, no network port.

`Page(url)` opens an address; `evaluate` runs an expression in it, awaiting promises; `screenshot` is a PNG.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "install Chromium (apt-get install chromium), or run `make test` as root on Debian"
# SwiftShader draws WebGL on the CPU: the pictures do not depend on the machine's graphics card.
_FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
          "--ignore-gpu-blocklist", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
          "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe")

# Chromium reads commands from descriptor 3 and answers on 4; copies above both first, as either may be the other.
_LAUNCH = ("import fcntl, os, sys; a, b = (fcntl.fcntl(int(x), fcntl.F_DUPFD, 10) for x in sys.argv[1:3]); "
           "os.dup2(a, 3); os.dup2(b, 4); os.close(a); os.close(b); os.execv(sys.argv[3], sys.argv[3:])")


class PageError(RuntimeError):
    """The page raised, or did not answer in time."""


class Page:
    """One page of one browser; a context manager that ends the browser. `errors` collects uncaught exceptions."""

    def __init__(self, url: str, *, size: tuple[int, int] = (480, 832), seconds: float = 180.0,
                 phone: bool = False) -> None:
        self.errors: list[str] = []
        self.address = url
        self._seconds, self._buffer, self._last = seconds, b"", 0
        self._profile = tempfile.TemporaryDirectory(prefix="ani3d-chromium-", ignore_cleanup_errors=True)
        command_in, self._command = os.pipe()
        self._answers, answer_out = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LAUNCH, str(command_in), str(answer_out),
             str(PROGRAM), *_FLAGS, f"--user-data-dir={self._profile.name}",
             f"--window-size={size[0]},{size[1]}", "about:blank"],
            pass_fds=(command_in, answer_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_in)
        os.close(answer_out)
        self._session: str | None = None
        try:
            target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
            self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            self._call("Runtime.enable")
            self._call("Page.enable")
            # A phone: three pixels to each of the page's, a viewport as its meta tag says, fingers instead of a mouse.
            self._call("Emulation.setDeviceMetricsOverride",
                       {"width": size[0], "height": size[1], "deviceScaleFactor": 3 if phone else 1, "mobile": phone})
            if phone:
                self._call("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 5})
            self._call("Page.navigate", {"url": url})
            # "complete" comes after deferred scripts (modules) have run.
            self.wait_until("document.readyState == 'complete' && location.href != 'about:blank'")
        except BaseException:
            self.close()
            raise

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression; a promise is awaited. Raises `PageError` where the page does."""
        answer = self._call("Runtime.evaluate",
                            {"expression": expression, "awaitPromise": True, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def touch(self, *moments: list[tuple[float, float]]) -> None:
        """Fingers put down where the first moment says, moved through the others, lifted."""
        for index, points in enumerate(moments):
            self._call("Input.dispatchTouchEvent", {
                "type": "touchMove" if index else "touchStart",
                "touchPoints": [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]})
        self._call("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def screenshot(self, path: Path) -> None:
        """Write what the page shows as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", {"format": "png"})["data"]))

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()
        os.close(self._command)
        os.close(self._answers)
        self._profile.cleanup()

    def wait_until(self, condition: str) -> None:
        """Wait for an expression to be true; an exception while the page reloads counts as false."""
        deadline = time.monotonic() + self._seconds
        while True:
            with contextlib.suppress(PageError):
                if self.evaluate(condition):
                    return
            if time.monotonic() > deadline:
                raise PageError(f"{condition}: not true after {self._seconds:.0f} s; errors: {self.errors}")
            time.sleep(0.02)

    def _call(self, method: str, parameters: dict[str, Any] | None = None) -> Any:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters or {}}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._command, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._seconds
        while True:
            answer = self._receive(deadline)
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(answer["params"]["exceptionDetails"])[:2000])
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            if not chunk:
                raise PageError("the browser ended or did not answer in time")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A static server of a folder on a free local port; gives its address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
