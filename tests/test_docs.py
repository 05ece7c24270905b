"""The documentation is true where a machine can tell: links, names, files, commands, options."""

from __future__ import annotations

import argparse
import re
from functools import cache
from pathlib import Path

import pytest

from homing.farm.commands.command_line import parser
from homing.farm.processes import balancer, farm, server

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIGURES = sorted((ROOT / "docs" / "figures").glob("*.svg"))
FOLDERS = ("balancer", "bench", "certs", "farm", "server", "shared", "tests")
NOT_DESCRIBED = {"--help", "--version", "--supervised", "--saved-as", "--at-once"}
GROUPS = {"bench", "servers"}
"""Commands that have commands of their own."""

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(FENCED.pattern + r"|^ {4}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"\]\(([^)\s]+\.py)\)((?:,? `[\w.]+`)+)")
"""A linked file, and what is said to be in it."""
COMMAND = re.compile(r"\bhoming ((?:(?:bench|servers) )?[a-z][\w-]*)([^\n`|&]*)")
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")

pytestmark = pytest.mark.skipif(
    not (ROOT / "server").exists(), reason="the sdist has the rooms inside homing/ alone"
)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings)


@cache
def commands() -> dict[str, frozenset[str]]:
    """The options of every command."""
    found = _subcommands(parser())
    for group in GROUPS:
        found |= {f"{group} {name}": one for name, one in _subcommands(found[group]).items()}
    options = {name: set(one._option_string_actions) for name, one in found.items()}
    for name, module in (("farm", farm), ("balancer", balancer), ("server", server)):
        usage = module.Options()
        options[name] |= {f"--{option.rstrip('=')}" for option in usage.longOpt}
        options[name] |= {f"-{letter}" for letter in usage.shortOpt.replace(":", "")}
    return {name: frozenset(each) for name, each in options.items()}


def _subcommands(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (each for each in command._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


@pages
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if "://" not in target:
            assert file.exists(), target
            assert not anchor or anchor in anchors(file.resolve()), target


@pages
def test_linked_files_have_what_is_said_to_be_in_them(page: Path) -> None:
    for target, names in NAMED.findall(page.read_text("utf-8")):
        source = (page.parent / target).read_text("utf-8")
        for name in re.findall(r"\w+", names):
            defined = re.compile(rf"^ *(class |def |async def |self\.)?{name}\b", re.MULTILINE)
            assert defined.search(source), f"{target}: {name}"


@pytest.mark.parametrize("page", [*PAGES, *FIGURES], ids=lambda page: str(page.relative_to(ROOT)))
def test_named_python_files_exist(page: Path) -> None:
    files = [
        f"/{path.relative_to(ROOT)}" for each in FOLDERS for path in (ROOT / each).rglob("*.py")
    ]
    for name in re.findall(r"\w[\w/]*\.py\b", page.read_text("utf-8").replace("\\_", "_")):
        assert any(file.endswith(f"/{name}") for file in files), name


@pages
def test_named_commands_and_options_exist(page: Path) -> None:
    for code in CODE.findall(page.read_text("utf-8")):
        for name, rest in COMMAND.findall(code):
            assert name in commands(), code
            assert set(OPTION.findall(rest)) <= commands()[name], code


@pytest.mark.parametrize("name", sorted(commands().keys() - GROUPS))
def test_every_command_and_option_is_described(name: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    _, found, rest = text.partition(f"\n### homing {name}\n")
    assert found
    options = {one for one in commands()[name] if one.startswith("--")} - NOT_DESCRIBED
    described = rest.partition("\n### ")[0]
    if "(#options-of-all-of-them)" in described:
        described += text.partition("\n### Options of all of them\n")[2].partition("\n### ")[0]
    assert options <= set(OPTION.findall(described))
