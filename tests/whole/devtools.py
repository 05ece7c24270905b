"""Chromium as a puppet, by the Chrome DevTools Protocol over a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from tests.whole.conversation import Conversation, conversation

# The pipe's two ends have to be the descriptors 3 and 4
_RENUMBERED = 'exec "$@" 3<&0 4>&1 </dev/null >&2'

Message = dict[str, Any]


@attrs.define
class DevTools:
    """What a browser is told, and what it tells."""

    _browser: Conversation
    _calls: int = 0
    _events: list[Message] = attrs.field(factory=list)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Message:
        """Have `method` done, by the page of `session` if it is a page's; returns its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._browser.say(json.dumps(message).encode() + b"\0")
        answer = self._hear(lambda told: told.get("id") == self._calls)
        assert "result" in answer, f"{method}: {answer}"
        result: Message = answer["result"]
        return result

    def wait_for(self, method: str, **parameters: Any) -> None:
        """Wait for an event that has these among its parameters; older events are forgotten."""

        def is_it(told: Message) -> bool:
            return told.get("method") == method and parameters.items() <= told["params"].items()

        if not any(map(is_it, self._events)):
            self._hear(is_it)
        self._events.clear()

    def _hear(self, wanted: Callable[[Message], bool]) -> Message:
        while True:
            told: Message = json.loads(self._browser.hear(b"\0")[:-1])
            if wanted(told):
                return told
            self._events.append(told)


class Window:
    """One window of a browser, in a context of its own: it shares no TLS session with others."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools
        self._context = tools.call("Target.createBrowserContext")["browserContextId"]
        target = tools.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        attached = tools.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._page = attached["sessionId"]
        tools.call("Page.enable", self._page)
        tools.call("Page.setLifecycleEventsEnabled", self._page, enabled=True)

    def navigate(self, url: str) -> Message:
        """Open a page."""
        return self._tools.call("Page.navigate", self._page, url=url)

    def load(self, url: str) -> None:
        """Open a page, and wait until it has loaded."""
        opened = self.navigate(url)
        assert "errorText" not in opened, f"{url}: {opened['errorText']}"
        self._tools.wait_for("Page.lifecycleEvent", name="load", loaderId=opened["loaderId"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = self._tools.call(
            "Runtime.evaluate", self._page, expression=expression, returnByValue=True
        )
        return told["result"].get("value")

    def close(self) -> None:
        """Forget all of it."""
        self._tools.call("Target.disposeBrowserContext", browserContextId=self._context)


@contextmanager
def browser(folder: Path, options: Sequence[str]) -> Iterator[DevTools]:
    """A headless Chromium whose profile is in `folder`; closed in good order."""
    command = ["sh", "-c", _RENUMBERED, "sh", "chromium", "--headless", "--remote-debugging-pipe"]
    command += ["--no-sandbox"]  # which root cannot have
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost", "--no-proxy-server"]
    command += [f"--user-data-dir={folder / 'profile'}", *options]
    with (
        TemporaryDirectory(prefix="h", dir="/tmp") as short,  # or its socket's path is too long
        conversation(command, os.environ | {"HOME": str(folder), "TMPDIR": short}) as process,
    ):
        tools = DevTools(process)
        yield tools
        tools.call("Browser.close")
        process.hear_out()
