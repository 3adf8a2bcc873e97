"""README begins with what a stranger needs, and docs/commands.md has every command; test_docs.py runs the code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = (ROOT / "README.md").read_text().split("## ")[0]
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_readme_begins_with_what_it_is_and_the_two_commands() -> None:
    """Before the first heading stand what it is, the picture, both commands, which the Makefile knows, and code."""
    commands = re.findall(r"^    make (\w+)", HEAD, flags=re.MULTILINE)
    assert commands == ["report", "test"]
    assert set(commands) <= set(TARGETS)
    parts = ("rnn-probe shows", "(docs/start/three.png)", "make report", "```python run")
    places = [HEAD.index(part) for part in parts]
    assert places == sorted(places)


def test_every_command_of_make_is_explained() -> None:
    """docs/commands.md names each target that `make help` lists, and no other one."""
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "docs/commands.md").read_text())
    assert set(named) == set(TARGETS)
