"""What README shows runs as it stands there."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_readme_code_runs_in_order_and_says_the_truth():
    """Both examples run in one session; the patch leaves earlier steps alone and moves later ones."""
    assert len(BLOCKS) == 2
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    moved = names["moved"]
    assert torch.equal(moved[:5], torch.zeros(5))
    assert (moved[5:] > 0).all()
    assert names["gates"].shape == (256, 20, 8)
    assert set(names["table"]["subject"]) == {"trained", "untrained"}


def test_readme_begins_with_what_it_is_and_the_two_commands():
    """The first screen has the sentence, the picture and both commands, which the Makefile knows."""
    head = README.split("## ")[0]
    targets = re.findall(r"^    make (\w+)", head, flags=re.MULTILINE)
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert targets == ["report", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
