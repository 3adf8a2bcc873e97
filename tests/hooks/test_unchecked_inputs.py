"""What a user without a type checker reads, in a process of its own: the suite checks every annotation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

PREPARE = """
import numpy as np, torch, probe
lstm = torch.nn.LSTM(3, 5, batch_first=True)
x = torch.randn(4, 7, 3)
own = probe.record(lstm, x)
def message(call):
    try:
        call()
    except probe.ProbeError as error:
        print(error)
"""
#: Runs what each line of its input says, after the preparation, and answers with what that printed or raised.
ANSWER = """
import contextlib, io, json, sys, traceback
prepared = dict(globals())
for line in sys.stdin:
    out, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), dict(prepared))
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([out.getvalue(), error]), flush=True)
"""
Printed = Callable[[str], str]


@pytest.fixture(scope="module")
def printed() -> Iterator[Printed]:
    """Return a function that returns what code prints in a process where nothing is checked."""
    command = [sys.executable, "-c", PREPARE + ANSWER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.sep) as process:
        into, out = process.stdin, process.stdout
        assert into is not None
        assert out is not None

        def run(code: str) -> str:
            _ = into.write(json.dumps(code) + "\n")
            into.flush()
            found, error = json.loads(out.readline())
            assert error == ""
            return found

        yield run
        into.close()
        assert process.wait(timeout=60) == 0


def test_an_error_in_the_other_process_would_be_noticed(printed: Printed) -> None:
    """The control arm: code that fails there fails the test, and the next code runs as if it had not been."""
    with pytest.raises(AssertionError, match="1 > 2"):
        _ = printed("found = 3\nassert 1 > 2, '1 > 2'")
    assert printed("print('found' in globals())") == "False\n"


def test_what_is_no_model_edit_or_index_is_named(printed: Printed) -> None:
    """Each wrong type is refused with what was given and what is wanted."""
    code = """
message(lambda: probe.record("model", x))
message(lambda: probe.inspect(torch.jit.script(lstm)))
message(lambda: probe.record(lstm, x, steps=1.5))
message(lambda: probe.patch("cell_state", own, units="3"))
message(lambda: probe.patch("cell_state", own, units=[(0.5, 1)]))
message(lambda: probe.patch("cell_state", own, units=[1, (2, 3)]))
def wrong():
    with probe.intervene(lstm, "patch"):
        lstm(x)
message(wrong)
"""
    with_what = printed(code).splitlines()
    assert with_what[0] == "A model must be a torch.nn.Module; this is a str."
    assert "RecursiveScriptModule, which torch lets nobody look into" in with_what[1]
    assert with_what[2] == "steps=1.5 must be a whole number or several of them."
    assert with_what[3] == "units='3' must be a whole number or several of them."
    assert with_what[4] == "units=(0.5, 1) must be a whole number or several of them."
    assert with_what[5] == "units=[1, (2, 3)] must be a whole number or several of them."
    assert with_what[6] == "An edit is made by probe.clamp, ablate, patch, steer or edit; this is a str."
    assert len(with_what) == 7


@pytest.mark.parametrize(
    "index", ["np.int64(3)", "np.array([3])", "torch.tensor([3])", "torch.tensor(3)", "[np.int32(3)]"]
)
def test_indices_of_numpy_and_torch_are_indices(index: str, printed: Printed) -> None:
    """Steps and units that come out of an array choose what the plain number chooses."""
    code = f"""
some = probe.record(lstm, x, steps={index})
assert torch.equal(some["cell_state"], own["cell_state"][:, 3:4])
assert some.steps == (3,) and type(some.steps[0]) is int
edit = probe.patch("cell_state", own, steps={index}, units={index}, rows={index}, source_rows={index})
assert edit == probe.patch("cell_state", own, steps=3, units=3, rows=3, source_rows=3)
print("same")
"""
    assert printed(code) == "same\n"


@pytest.mark.parametrize("steps", ["1.5", "('last',)", "((1,),)", "[None]", "True"])
def test_what_is_no_step_of_a_readout_is_named(steps: str, printed: Printed) -> None:
    """Each wrong type is refused with what was given and what is allowed."""
    found = printed(f"message(lambda: probe.Readout('count', weight=np.ones((1, 5)), steps={steps}))")
    assert found.startswith(f"steps={steps} must be 'last' or 'every'.")


def test_what_is_no_rule_or_table_is_named(printed: Printed) -> None:
    """One rule instead of several, other things among them, and what is no table are refused by name."""
    code = """
import dataclasses, pandas as pd
from probe.evidence import Range, Rule, judge
inside = Range.at_least(0.9)
rule = Rule("1a", "It counts.", "accuracy", "d", "s", inside, inside)
message(lambda: judge(pd.DataFrame(), rule))
message(lambda: judge(pd.DataFrame(), 3))
message(lambda: judge(pd.DataFrame(), ["1a"]))
message(lambda: judge({"value": [1]}, [rule]))
message(lambda: judge(pd.DataFrame(), [rule], family="two"))
message(lambda: dataclasses.replace(rule, statistic="mean"))
message(lambda: dataclasses.replace(rule, needs=2.5))
message(lambda: Range(high="1"))
"""
    lines = printed(code).splitlines()
    assert lines[0] == "rules is the one rule '1a' and must be several: give [rule]."
    assert lines[1] == "rules must be several probe.evidence.Rule; this is a int."
    assert lines[2] == "rules must be several probe.evidence.Rule; one of them is a str."
    assert lines[3] == "The table must be a pandas.DataFrame of measurements; this is a dict."
    assert lines[4].startswith("family='two' must be how many rules are decided together")
    assert lines[5] == "Rule '1a': There is no statistic 'mean'; there is 'median', 'share'. Did you mean 'median'?"
    assert lines[6] == "Rule '1a' has needs=2.5; a verdict needs a whole number of networks, at least 1."
    assert lines[7] == "A range of low=-inf and high='1' has no inside; give two numbers, low <= high."
    assert len(lines) == 8


def test_what_is_no_network_or_input_is_named(printed: Printed) -> None:
    """A number or a bare module instead of subjects, and inputs that are no tensors are refused."""
    code = """
from probe.evidence.measurements import Network
from probe.questions.states import single_units
from probe.subjects.subject import Subject
network, concept = Network("net", "trained", lstm), torch.zeros(4, 7)
message(lambda: Network("net", "trained", "lstm"))
message(lambda: single_units.measure(3))
message(lambda: single_units.measure([lstm]))
message(lambda: Subject.of(network, x[0], concept))
message(lambda: Subject.of(network, x, concept.tolist()))
"""
    lines = printed(code).splitlines()
    assert lines[0] == "Network 'net' has a str as its model; give a torch.nn.Module."
    assert lines[1].startswith("This is a int, and no Subject. Make one of a module")
    assert lines[2].startswith("This is a LSTM, and no Subject.")
    assert lines[3].startswith("x is a Tensor of shape (7, 3); it must be a tensor (batch, time, input)")
    assert lines[4].startswith("The concept is a list; it must be a tensor with one value for each sequence and step")
    assert len(lines) == 5


def test_wrong_options_and_keys_of_a_recording_are_named(printed: Printed) -> None:
    """One edit instead of several, a tolerance in words, and keys of another form."""
    code = """
message(lambda: probe.record(lstm, x, edits=probe.patch("cell_state", own)))
message(lambda: probe.record(lstm, x, tolerance="small"))
message(lambda: own[3])
message(lambda: own["[0]", "cell_state", 0])
message(lambda: probe.rollout(lstm, None, 1, edits=probe.patch("cell_state", own), act=lambda *given: given))
"""
    lines = printed(code).splitlines()
    assert lines[0] == lines.pop() == "edits is a Patch and must be several edits: edits=[probe.patch(...)]."
    assert lines[1] == "tolerance='small' must be a number such as 1e-5, or None."
    assert lines[2] == "A recording has no 3; ask for recording[signal] or recording[layer, signal]."
    assert lines[3].startswith("A recording has no ('[0]', 'cell_state', 0)")
    assert len(lines) == 4


def test_what_is_no_recording_is_named(printed: Printed) -> None:
    """A model instead of its recording, and one control instead of controls by name."""
    code = """
message(lambda: probe.linear_probe(lstm, x))
message(lambda: probe.linear_probe(own, x[..., 0], controls=own))
message(lambda: probe.single_units(own, x[..., 0], controls={"other": lstm}))
"""
    lines = printed(code).splitlines()
    assert lines[0].startswith("recording is a LSTM; give what probe.record(model, x) returned, or")
    assert lines[1].startswith("controls= is a Recording; give recordings by name, such as probe.random_weights(")
    assert lines[2].startswith("The control 'other' is a LSTM; give what probe.record(model, x) returned")
    assert len(lines) == 3


def test_options_of_a_wrong_type_are_named(printed: Printed) -> None:
    """Before the model runs, where torch would fail with words about something else."""
    code = """
message(lambda: probe.record(lstm, x, dtype="float64"))
message(lambda: probe.record(lstm, x, device="nope"))
message(lambda: probe.record(lstm, x, tolerance="x"))
message(lambda: probe.record(lstm, x, check="no"))
message(lambda: probe.record(lstm, x, signals=3))
message(lambda: probe.record(lstm, x, kwargs=[1]))
message(lambda: probe.record(lstm, x, gradient_of="sum"))
message(lambda: probe.clamp("cell_state", 0.0, layer=["[0]"]))
message(lambda: probe.ablate("cell_state", kind="resample", reference=own, seed=1.5))
def tolerant():
    with probe.intervene(lstm, probe.clamp("cell_state", 0.0), tolerance="x"):
        lstm(x)
message(tolerant)
"""
    lines = printed(code).splitlines()
    assert lines[0] == "dtype='float64' must be a floating type, such as torch.float64."
    assert lines[1].startswith("device='nope' cannot hold the values (Expected one of cpu")
    assert lines[2] == "tolerance='x' must be a number such as 1e-5, or None."
    assert lines[3] == "check='no' must be True or False."
    assert lines[4].startswith("signals='3' must be several names")
    assert lines[5] == "kwargs is a list and must be the model's keyword arguments: a dict."
    assert lines[6] == "gradient_of='sum' must be a function of the model's output to a scalar."
    assert lines[7] == "layer=['[0]'] must be one layer's name, a text; make an edit for each layer."
    assert lines[8] == "seed=1.5 must be a whole number."
    assert lines[9] == "tolerance='x' must be a number such as 1e-5, or None."
    assert len(lines) == 10


def test_what_is_no_section_and_no_row_is_named(printed: Printed) -> None:
    """A page's sections and a table's rows are checked when the value is made."""
    code = """
import pandas as pd
from probe.report import Page, Table, Text
message(lambda: Page("t", "l", [Text("x")]))
message(lambda: Table(["x", "y"], pd.DataFrame({"x": [1], "y": [2]}), "c"))
"""
    assert printed(code).splitlines() == [
        "A page is made of sections, and one of them is a Text. Put blocks into a Section(title, [blocks], key=...).",
        "The rows of a table are rows of cells; a DataFrame's are Table.from_frame(frame, caption).",
    ]


def test_choices_of_another_type_are_named(printed: Printed) -> None:
    """What decides an open choice of a file is a number or a word, and a readout's transposed a truth value."""
    code = """
message(lambda: probe.load("w.pt", forget_bias="1"))
message(lambda: probe.load("w.pt", gate_order=3))
message(lambda: probe.load("w.pt", forget_bias=True))
message(lambda: probe.Readout("ones", weight="w", transposed=1))
"""
    assert printed(code).splitlines() == [
        "forget_bias='1' is a str; it must be a number, such as 1.0.",
        "gate_order=3 is a int; it must be a word, see probe.load.",
        "forget_bias=True is a bool; it must be a number, such as 1.0.",
        "transposed=1 must be True or False, and speaks of weight.",
    ]


def test_what_is_no_path_and_no_names_is_named(printed: Printed) -> None:
    """A path is a text or a Path, and names= are a dict of texts, whatever takes them."""
    code = """
from probe import Finding
for path in (b"w.pt", 3, ["w.pt"], None):
    for take in (probe.load, probe.load_recording, Finding.read, own.save):
        message(lambda: take(path))
for names in (["a"], "a", {1: "a"}, {"a": 1}, 3):
    message(lambda: probe.load("w.pt", names=names))
message(lambda: probe.load("w.pt", into={}))
"""
    said = printed(code).splitlines()
    assert len(said) == 4 * 4 + 6
    assert all("give a text or a pathlib.Path" in one for one in said[:16])
    assert all("must be a dict" in one for one in said[16:21])
    assert said[21] == "into= is a dict; give a torch.nn.Module, which takes the file's arrays."
