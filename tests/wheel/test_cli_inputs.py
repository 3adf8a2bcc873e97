"""The inputs of `rnn-probe record`: arrays, archives and tables, of sequences of one length or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ran, refused

import probe


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 7), np.float32), "of shape (4, 7); they must be numbers, (batch, time, 3)"),
        (
            np.zeros((4, 7, 2), np.float32),
            "have shape (4, 7, 2); the network reads 3 features a step, so they must be (batch, time, 3)",
        ),
        (
            np.zeros((0, 7, 3), np.float32),
            "of shape (0, 7, 3); they must be numbers, (batch, time, 3), with at least one of each",
        ),
        (
            np.zeros((4, 0, 3), np.float32),
            "of shape (4, 0, 3); they must be numbers, (batch, time, 3), with at least one of each",
        ),
        (np.zeros((4, 7), np.int64), "tokens must be embedded first"),
        (np.zeros((4, 7, 3), complex), "are complex128 of shape (4, 7, 3); they must be numbers"),
        (
            np.full((4, 7, 3), np.nan, np.float32),
            "x.npy' are nan at sequence 0, step 0 (28 steps in all). Give finite",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    array: np.ndarray, message: str, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their shape or type is named, beside what is expected."""
    np.save(inputs, array)
    assert message in refused(capsys, "record", weights, inputs, "-o", inputs.with_name("out.csv"))


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_inputs_that_cannot_be_read_are_refused(
    content: bytes | None, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, empty, damaged: the message says what to give."""
    inputs.unlink()
    if content is not None:
        _ = inputs.write_bytes(content)
    error = refused(capsys, "record", weights, inputs, "-o", inputs.with_name("out.csv"))
    assert ("there is no file" if content is None else "x.npy' cannot be read (") in error
    assert "Give a .npy file that numpy.save wrote, " in error


def test_an_archive_is_read_and_nothing_pickled_is_opened(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an archive the only array is taken, or the one that is named; objects are refused."""
    archive, out, expected = (inputs.with_name(name) for name in ("x.npz", "out.npz", "expected.npz"))
    _ = ran(capsys, "record", weights, inputs, "-o", expected)
    np.savez(archive, x=np.load(inputs))
    _ = ran(capsys, "record", weights, archive, "-o", out)
    assert out.read_bytes() == expected.read_bytes()
    np.savez(archive, x=np.zeros((4, 7, 3)), y=np.load(inputs))
    words = ["record", weights, archive, "-o", out, "--overwrite"]
    assert "is an archive of 'x', 'y'. Say which array with key=. At the command line: --key." in refused(
        capsys, *words
    )
    assert "There is no array 'z'; there is 'x', 'y'" in refused(capsys, *words, "--key", "z")
    _ = ran(capsys, *words, "--key", "y")
    assert out.read_bytes() == expected.read_bytes()
    np.save(inputs, np.array([{"a": 1}], dtype=object))
    assert "cannot be read (Object arrays" in refused(capsys, "record", weights, inputs, "-o", out, "--overwrite")


def test_a_table_of_sequences_of_several_lengths_is_what_packed_sequences_are(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .csv has a row for each step, in any order; it says what --lengths says of a padded array."""
    x, lengths = np.load(inputs).astype(np.float32), [7, 3, 5, 1]
    rows = [
        {"sequence": f"s{row}", "step": step + 1, "a": x[row, step, 0], "b": x[row, step, 1], "c": x[row, step, 2]}
        for row in range(4)
        for step in range(lengths[row])
    ]
    mixed = [rows[0], *(rows[place] for place in np.random.default_rng(1).permutation(np.arange(1, len(rows))))]
    mixed.sort(key=lambda one: one["sequence"])
    table, ends, out, expected = (inputs.with_name(name) for name in ("x.csv", "n.npy", "out.csv", "expected.csv"))
    pd.DataFrame(mixed).to_csv(table, index=False)
    np.save(inputs, x)
    np.save(ends, np.array(lengths))
    _ = ran(capsys, "record", weights, table, "-o", out)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", expected)
    assert out.read_bytes() == expected.read_bytes()
    assert pd.read_csv(out)["cell_state"].notna().sum() == 5 * sum(lengths)
    words = ["record", weights, table, "-o", out, "--overwrite"]
    assert "says itself how long its sequences are" in refused(capsys, *words, "--lengths", ends)
    for wrong, message in (
        (mixed[1:], "steps of sequence 's0' are not one after the other, each once, from the table's first step, 1"),
        ([*mixed, mixed[3]], "are not one after the other"),
        ([{**one, "step": 0.5} for one in mixed], "a whole number, in every row; the column step is of float64"),
        ([{"sequence": 1, "a": 1.0}], "has no column 'step'; it has 'sequence', 'a'"),
        ([{"sequence": 1, "step": 1}], "has 1 row and no feature in them"),
        ([{**one, "c": "x"} for one in mixed], "are <U12 of shape (4, 7, 3); they must be numbers"),
    ):
        pd.DataFrame(wrong).to_csv(table, index=False)
        assert message in refused(capsys, *words)


def test_lengths_that_do_not_fit_are_refused(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another number of sequences, no whole numbers, or longer than the time axis."""
    ends, out = inputs.with_name("n.npy"), inputs.with_name("out.csv")
    words = ["record", weights, inputs, "--lengths", ends, "-o", out]
    for wrong in (np.array([7, 7, 7]), np.array([7.0] * 4)):
        np.save(ends, wrong)
        assert "they must be whole numbers, one for each of the 4 sequences" in refused(capsys, *words)
    for number in (8, 0):
        np.save(ends, np.array([7, 7, number, 7]))
        assert f"Sequence 2 has the length {number}; the inputs have 7 steps, so it must be 1 to 7" in refused(
            capsys, *words
        )


def test_padding_may_be_anything(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies beyond a sequence's length is not looked at, and whole numbers are numbers."""
    ends, out, expected = (inputs.with_name(name) for name in ("n.npy", "out.npz", "expected.npz"))
    x = np.random.default_rng(0).integers(0, 2, (4, 7, 3))
    np.save(ends, np.array([7, 3, 5, 1]))
    np.save(inputs, x)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", expected)
    padded = np.where(np.arange(7)[:, None] < np.array([7, 3, 5, 1])[:, None, None], x, np.nan)
    np.save(inputs, padded)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", out)
    assert out.read_bytes() == expected.read_bytes()


def test_npy_holds_one_signal_of_one_layer(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several are refused, with their names."""
    out, archive = inputs.with_name("out.npy"), inputs.with_name("out.npz")
    words = ["record", weights, inputs, "-o"]
    assert "can hold one array, and the recording has 6: rnn[0].input_gate" in refused(capsys, *words, out)
    _ = ran(capsys, *words, out, "--signals", "cell_state")
    _ = ran(capsys, *words, archive)
    assert np.array_equal(np.load(out), np.load(archive)["rnn[0].cell_state"])


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2", np.longdouble])
def test_inputs_of_any_float_are_converted(
    dtype: Any, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other byte order and long doubles, which torch lacks, give what the same numbers in float32 give."""
    x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float16)
    states = []
    for given in (np.float32, dtype):
        np.save(inputs, x.astype(given))
        out = inputs.with_name("out.safetensors")
        _ = ran(capsys, "record", weights, inputs, "-o", out, "--overwrite")
        states.append(probe.load_recording(out)["hidden_state"])
    assert states[0].dtype == torch.float32
    assert torch.equal(states[0], states[1])
