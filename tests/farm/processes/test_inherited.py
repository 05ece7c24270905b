"""Processes that are started again agree with those that were not."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import attrs
import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.sections import BalancerSection
from homing.farm.plan import plan
from homing.farm.processes.inherited import InheritedConfig, inherited_config


def test_a_process_is_started_with_what_is_in_force_whatever_the_files_say_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, listed = tmp_path / "farm.toml", tmp_path / "ids"
    listed.write_text("aabb\nccdd\n")
    path.write_text(
        '[session_ids]\nstore = "redis://:secret@localhost"\n'
        '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\nids = { list_file = "ids" }\n'
        '[[server]]\nname = "s2"\naddress = "unix:s2.sock"\n'
    )
    config = load(path)
    before = plan(config)
    handed = InheritedConfig(config)
    listed.unlink()
    path.unlink()
    for _ in range(2):  # one process after the other
        read = inherited_config(os.dup(handed.descriptor))
        assert read == handed.config
        assert plan(read).records == before.records
        assert plan(read).table.entries == before.table.entries
    changed = attrs.evolve(read, path=Path("elsewhere"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", Mock(side_effect=OSError))
        with pytest.raises(OSError, match=r"^$"):
            handed.replace(changed)
    assert inherited_config(os.dup(handed.descriptor)) == handed.config == read
    handed.replace(changed)
    assert inherited_config(os.dup(handed.descriptor)) == changed
    os.close(handed.descriptor)


def test_a_process_of_a_newer_version_gets_the_defaults_of_keys_that_its_parent_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "farm.toml"
    path.write_text('[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n')
    with monkeypatch.context() as older:
        older.setattr(BalancerSection, "__getstate__", lambda _: {"policy": "random"})
        handed = InheritedConfig(load(path))
    assert inherited_config(handed.descriptor).balancer == BalancerSection(policy="random")
