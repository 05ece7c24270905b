"""What the tests of etcd share."""

from __future__ import annotations

from tests.reactor import _clean_reactor  # noqa: F401
