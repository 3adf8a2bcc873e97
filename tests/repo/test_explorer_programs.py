"""The page's rival programs against Python's: random ones on random strings, and the four that the analysis asks."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyses.counter.programs import REFERENCE, balance, ones, zeros_backwards
from probe.explorer import ExplorerProgram
from probe.explorer.rival_programs import described
from probe.methods.abstraction.programs import agreement, as_tuples

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = "01a<\U0001d7d8"
FOUR = {
    "ones": ExplorerProgram("ones", 0, {"0": 0, "1": 1}),
    "zeros backwards": ExplorerProgram("zeros backwards", REFERENCE, {"0": -1, "1": 0}),
    "balance": ExplorerProgram("balance", REFERENCE / 2, {"0": -0.5, "1": 0.5}),
    "ones with a drift": ExplorerProgram("ones with a drift", 0.4 * REFERENCE, {"0": -0.4, "1": 0.6}),
}


def answered(programs: Sequence[ExplorerProgram], strings: Sequence[str], folder: Path) -> list[list[dict[str, Any]]]:
    """Return what the page's script gives, by program and string: `answers` after each symbol, and who `agrees`."""
    node = shutil.which("node")
    if node is None and os.environ.get("CI"):
        pytest.fail("CI must run the page's programs, but node is not installed")
    if node is None:
        pytest.skip("node is not installed; install Node.js 20 or later")
    asked = {"programs": [described(program) for program in programs], "strings": list(strings)}
    _ = (folder / "asked.json").write_text(json.dumps(asked))
    command = [node, str(ROOT / "js" / "answers.mjs"), str(folder / "asked.json")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_the_page_answers_as_python_does(tmp_path: Path) -> None:
    """Thirty random programs on random strings, after every symbol: the same floats, and the same classes agree."""
    rng = np.random.default_rng(0)

    def number() -> float:
        return float(rng.normal() if rng.random() < 0.5 else rng.integers(-3, 4))

    def step() -> float | tuple[float, float]:
        return number() if rng.random() < 0.5 else (number(), number())

    programs = [ExplorerProgram(f"p{k}", number(), {symbol: step() for symbol in SYMBOLS}) for k in range(30)]
    strings = ["".join(rng.choice(list(SYMBOLS), size=int(rng.integers(1, 30)))) for _ in range(25)]
    found = answered(programs, strings, tmp_path)
    agreeing = 0
    for program, rows in zip(programs, found, strict=True):
        for string, row in zip(strings, rows, strict=True):
            assert row["answers"] == [program(string[: end + 1]) for end in range(len(string))]
            answer = np.array([program(string)])
            shares = [agreement(np.array([place]), answer).share == 1 for place in range(11)]
            assert row["agrees"] == shares
            agreeing += sum(shares)
    assert 100 < agreeing < 30 * 25


def test_a_half_agrees_with_both_of_its_neighbours(tmp_path: Path) -> None:
    """And not where it is half and a millionth."""
    halves = [ExplorerProgram("half", start, {"1": 0}) for start in (3.5, 3.500001, -0.5)]
    found = [rows[0]["agrees"] for rows in answered(halves, ["1"], tmp_path)]
    assert [[place for place in range(11) if row[place]] for row in found] == [[3, 4], [4], [0]]


def test_the_four_programs_of_the_analysis_can_be_written(tmp_path: Path) -> None:
    """On every string of 6, 10 and 13 bits, in Python and in the page."""
    written = {
        "ones": ones,
        "zeros backwards": zeros_backwards,
        "balance": balance,
        "ones with a drift": lambda bits: ones(bits) + 0.4 * (REFERENCE - len(bits)),
    }
    lists = [torch.tensor(list(itertools.product((0.0, 1.0), repeat=length))[::7]) for length in (6, 10, 13)]
    rows = [row for x in lists for row in as_tuples(x)]
    found = answered(list(FOUR.values()), ["".join(map(str, row)) for row in rows], tmp_path)
    for (name, program), answers in zip(FOUR.items(), found, strict=True):
        expected = [written[name](row) for row in rows]
        assert [program(row) for row in rows] == pytest.approx(expected, abs=1e-12)
        assert [answer["answers"][-1] for answer in answers] == pytest.approx(expected, abs=1e-12)
    ten = [row for row in rows if len(row) == REFERENCE]
    assert all(program(row) == pytest.approx(ones(row)) for program in FOUR.values() for row in ten)
