"""Saves what a balancer routes by: started without the registry, it routes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.saved_form import LARGEST, from_bytes, to_bytes
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import LARGEST_VALUE, Batch, Item, Transaction

PAUSE = 1.0
"""Seconds at least between two times of saving."""
RETRY = 60.0
"""Seconds until saving is tried again after it failed."""
_MOST_CHANGES = 60
_REST = 10
"""How many times as long as saving took the pause is, if that is more."""

InThread = Callable[[Callable[[], None]], Deferred[None]]
"""Calls something in a thread; fires when that has returned."""


class Saved(Service):
    """Keeps the file `path` up to date with the batches that it is told of.

    `replace` writes a file as a whole, and `read` returns what it holds; they raise OSError, or
    HomingError when it is not ours alone.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        path: Path,
        read: Callable[[Path], bytes],
        replace: Callable[[Path, bytes], None],
    ) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._path = path
        self._read = read
        self._replace = replace
        self._revision = 0
        self._items: dict[str, Item] = {}
        self._changed = False
        self._not_before = 0.0
        self._due: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._fails = False

    def load(self) -> Batch | None:
        """What was saved; None, and a line in the log, where that is of no use."""
        try:
            if self._path.stat().st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST} bytes")
            batch = from_bytes(self._read(self._path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, HomingError) as error:
            self._log.error("{path} is ignored: {error}", path=str(self._path), error=error)
            return None
        self._revision, self._items = batch.revision, dict(batch.puts)
        return batch

    @property
    def has_farm(self) -> bool:
        """Whether it knows what a farm agrees on."""
        return keys.FARM in self._items

    def lost(self, view: View) -> Iterator[Transaction]:
        """What puts everything back into a registry that has begun anew.

        The farm's own key comes last: before that, nobody assigns anything.
        """
        some = [key for key in self._items if not view.revision_of(key) and key != keys.FARM]
        for chunk in self._chunks(some):
            puts = {key: self._items[key].value for key in chunk}
            yield Transaction(dict.fromkeys((*chunk, keys.FARM), 0), puts)
        yield Transaction({keys.FARM: 0}, {keys.FARM: self._items[keys.FARM].value})

    def _chunks(self, some: Iterable[str]) -> Iterator[list[str]]:
        """As many of these keys at a time as one transaction takes."""
        chunk: list[str] = []
        size = 0
        for key in some:
            more = len(self._items[key].value)
            if chunk and (len(chunk) == _MOST_CHANGES or size + more > LARGEST_VALUE):
                yield chunk
                chunk, size = [], 0
            chunk.append(key)
            size += more
        if chunk:
            yield chunk

    def note(self, batch: Batch) -> None:
        """The registry has changed: save that soon."""
        items = {key: item for key, item in batch.puts.items() if key.startswith(keys.ROUTING)}
        if batch.is_whole:
            changed = items != self._items
            self._items = items
        else:
            gone = batch.deletes & self._items.keys()
            changed = bool(items or gone)
            self._items |= items
            for key in gone:
                del self._items[key]
        self._revision = batch.revision
        if changed:
            self._changed = True
            self._soon()

    def _soon(self) -> None:
        if self._due is None and self._writing is None:
            pause = max(0.0, self._not_before - self._clock.seconds())
            self._due = self._clock.callLater(pause, self._write)

    def _write(self) -> Deferred[None]:
        """Write a copy of what there is now, in a thread; fires when that is over."""
        self._due, self._changed = None, False
        revision, items, begun = self._revision, dict(self._items), self._clock.seconds()
        writing = self._writing = self._in_thread(
            lambda: self._replace(self._path, to_bytes(revision, items))
        )
        writing.addCallbacks(self._succeeded, self._failed)
        return writing.addCallback(lambda _: self._rest(begun))

    def _rest(self, begun: float) -> None:
        self._writing = None
        now = self._clock.seconds()
        pause = RETRY if self._fails else PAUSE
        self._not_before = now + max(pause, _REST * (now - begun))
        if self._changed and self.running:
            self._soon()

    def _succeeded(self, _: None) -> None:
        if self._fails:
            self._log.info("{path} is saved again", path=str(self._path))
        self._fails = False

    def _failed(self, failure: Failure) -> None:
        """Go on without: what was saved before is still there, and what changes is saved later."""
        if not self._fails:
            self._log.error(
                "{path} cannot be saved: {error}; a balancer that starts without the registry "
                "would route by what was saved before",
                path=str(self._path),
                error=failure.getErrorMessage(),
            )
        self._fails = self._changed = True

    async def _finish(self) -> None:
        if self._writing is not None:
            await self._writing
        if self._due is not None:
            self._due.cancel()
        if self._changed:
            await self._write()

    def stopService(self) -> Deferred[None]:
        """Save what is not saved yet."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())
