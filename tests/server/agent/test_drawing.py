"""What a server draws from follows the farm's scheme, whatever its own farm.toml says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from homing.server.agent.applying import Applying
from homing.server.agent.drawing import Drawing
from homing.server.agent.duties import Duties
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import FarmValue, Live, Names, PartValue
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from homing.shared.part import Part
from homing.shared.registry.interface import Batch, Item
from homing.shared.schemes import SCHEMES

DIVIDED = sorted(name for name, scheme in SCHEMES.items() if scheme.cut is not None)
MINE = IdRange.of_prefix(b"mine")


def state(scheme: str, *parts: int, **values: object) -> View:
    """A farm by that scheme, in which the server s1 has these parts."""
    prefix = "484f4d45" if SCHEMES[scheme].cut is not None else ""
    values[keys.FARM] = FarmValue(scheme, prefix, 10 if prefix else 0)
    values |= {keys.part(number): PartValue("s1", drawn=True) for number in parts}
    view = View()
    view.apply(Batch(1, {key: Item(encode(one), 1) for key, one in values.items()}, is_whole=True))
    return view


class Issuer:
    """Notes what it is to draw from."""

    until = 0.0
    sessions = 0
    nearly_used_up = False

    def __init__(self) -> None:
        self.parts: Mapping[int, Part] = {}

    def use(self, parts: Mapping[int, Part], until: float) -> None:
        self.parts, self.until = parts, until

    def live(self, part: int) -> Live:
        return Live(part, 0, 0.0)

    def listing(self, part: int) -> tuple[bytes, ...] | None:
        return ()

    def note_unknown(self, part: int) -> None:
        pass


def applying(drawing: Drawing, issuer: Issuer) -> tuple[Applying, list[str]]:
    complaints: list[str] = []
    return Applying(drawing, issuer, lambda parts: None, lambda: 0.0, complaints.append), complaints


@pytest.mark.parametrize("scheme", DIVIDED)
def test_what_a_server_without_a_farm_toml_draws_is_routed_to_it(scheme: str) -> None:
    view = state(scheme, 3, 7)
    issuer = Issuer()
    using, _ = applying(Drawing("s1", "range"), issuer)
    using.follow(view, Duties({3: frozenset(), 7: frozenset()}, (), {}), False, 100.0)
    locate = SCHEMES[scheme].locate
    farm = view.farm
    assert farm is not None
    assert locate is not None
    for number, part in issuer.parts.items():
        assert (
            locate(farm.division)(part.draw(lambda below: below // 2, lambda one: False)) == number
        )


def test_a_list_that_stays_is_not_made_again_at_every_look() -> None:
    view, issuer = state("list", 3, 7), Issuer()
    using, _ = applying(Drawing("s1", "list"), issuer)
    using.follow(view, Duties({3: frozenset()}, (), {}), False, 100.0)
    first = issuer.parts[3]
    using.follow(view, Duties({3: frozenset(), 7: frozenset()}, (), {}), False, 100.0)
    assert issuer.parts[3] is first
    assert issuer.parts.keys() == {3, 7}


def test_a_server_that_does_not_know_the_farms_function_says_what_it_needs() -> None:
    view = state("hash", **{keys.NAMES: Names(("s1", "s2"))})
    for drawing in (Drawing("s1", "range"), Drawing("s1", "keyed", lambda names: MINE)):
        assert not drawing.has_parts(view.farm or FarmValue("range"))
        issuer = Issuer()
        using, complaints = applying(drawing, issuer)
        using.follow(view, Duties({}, (), {}), True, 100.0)
        assert issuer.parts == {}
        assert '"hash"' in complaints[0]
        with pytest.raises(HomingError):
            drawing.whole(view)


def test_a_server_that_knows_the_farms_function_draws_by_it() -> None:
    view = state("hash", **{keys.NAMES: Names(("s1", "s2"))})
    assert [*Drawing("s1", "hash", lambda names: MINE).whole(view).values()] == [MINE]
