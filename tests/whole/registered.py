"""A farm's registry, looked at and changed from outside, beside the farm's own processes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from homing.farm.registries import Place, open_registry
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import PartValue
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Batch, Registry, RegistryError, Transaction
from tests.reactor import call, eventually, reactor

_T = TypeVar("_T")

SQLITE = "sqlite:registry.sqlite"


@attrs.frozen
class Registered:
    """The registry at `place`."""

    place: Place

    @classmethod
    def of(cls, folder: Path) -> Registered:
        """That of a farm whose state folder is `folder`."""
        return cls(Place(SQLITE, folder))

    def _do(self, work: Callable[[Registry], Coroutine[Any, Any, _T]]) -> _T:
        async def once() -> _T:
            registry = open_registry(reactor(), self.place)
            try:
                return await work(registry)
            finally:
                await registry.close()

        done: _T = call(once)
        return done

    def batch(self) -> Batch:
        """All there is."""
        return self._do(lambda registry: registry.read())

    def view(self) -> View:
        """All there is, understood."""
        view = View()
        view.apply(self.batch())
        return view

    def put(self, changes: Mapping[str, bytes | None]) -> None:
        """Write something by hand, or delete it where there is None."""
        expected = {key: item.revision for key, item in self.batch().puts.items()}
        puts = {key: value for key, value in changes.items() if value is not None}
        one = Transaction(
            {key: expected.get(key, 0) for key in changes}, puts, frozenset(changes - puts.keys())
        )
        assert self._do(lambda registry: registry.commit(one)) is not None

    def eventually(self, condition: Callable[[View], object], within: float = 60) -> None:
        """Wait until the farm's state is as it should be."""

        def holds() -> bool:
            try:
                return bool(condition(self.view()))
            except RegistryError:
                return False

        eventually(holds, str(condition), within)

    def settles(self) -> None:
        """Wait until a manager is there and nothing is on the way."""
        self.eventually(lambda view: view.single(keys.MANAGER) is not None and not moving(view))


def moving(view: View) -> list[PartValue]:
    """The parts that are on their way."""
    return [known.value for known in view.parts.values() if known.value.next is not None]


def drawn(view: View) -> dict[int, str]:
    """By the number of a part that is drawn from, whose it is."""
    return {number: known.value.owner for number, known in view.parts.items() if known.value.drawn}


def owners(view: View) -> dict[int, str]:
    """By the number of every part, whose it is."""
    return {number: known.value.owner for number, known in view.parts.items()}
