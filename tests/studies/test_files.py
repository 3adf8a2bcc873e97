"""Study files: what each key may say, networks and modules beside them, tables, and the first file for a network."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from studied import STUDY, UNITS, bits, ones, parts, planted, study_of, without_pictures, written
from torch import nn

import probe
from probe import Finding, Study
from probe.command_line import main
from probe.loading.checkpoint import Source
from probe.questions.states import held_inputs
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 9)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

def make():
    torch.manual_seed(0)
    return Net()

net = make()

def wrong():
    return 3
"""
PLAIN = STUDY.partition("[readout]")[0]
NETWORK, INPUTS, ONES = 'file = "weights.safetensors"', '"inputs.npy"', 'function = "functions.py:ones"'
FILES = {
    "planted": STUDY,
    "open": PLAIN.replace(NETWORK, 'file = "rnn.safetensors"\nactivation = "relu"'),
    "tables": PLAIN.replace(INPUTS, '"data.csv"\nkey = ["bit"]').replace(ONES, 'file = "data.csv"\nkey = "seen"'),
    "module": 'questions = ["answers"]\n' + PLAIN.replace(NETWORK, 'module = "net.py:make"'),
}
LENGTHS = np.arange(160) % 8 + 1


def table(x: np.ndarray, lengths: np.ndarray) -> pd.DataFrame:
    """Return inputs and how many ones there were so far as rows."""
    return pd.DataFrame(
        {"sequence": row, "step": step, "bit": x[row, step, 0], "seen": x[row, : step + 1, 0].sum()}
        for row, length in enumerate(lengths)
        for step in range(length)
    )


def study_file(folder: Path, kind: str = "planted") -> Path:
    """Write a study of a kind and all files that any of them names, and return the study's path."""
    path = written(folder, FILES[kind])
    (folder / "net.py").write_text(NET)
    table(bits(), LENGTHS).to_csv(folder / "data.csv", index=False)
    table(bits(), np.full(160, 8)).drop(columns="bit").to_csv(folder / "other.csv", index=False)
    np.savez(folder / "two.npz", a=bits(), b=bits())
    torch.manual_seed(0)
    save_file({f"rnn.{key}": one for key, one in nn.RNN(1, 4).state_dict().items()}, folder / "rnn.safetensors")
    for name in ("trained", "initial"):
        (folder / name).mkdir()
        for seed in range(3):
            model = nn.ModuleDict({"rnn": nn.GRU(1, 4), "head": nn.Linear(4, 9)})
            torch.save(model.state_dict(), folder / name / f"seed-{seed}.pt")
    return path


#: What stands in a study file, and what is written in its place.
WRONG: dict[str, list[tuple[str, str]]] = {
    "planted": [
        ("[network]", "[netwrk]"),
        ("[network]", "[network"),
        (NETWORK, ""),
        (INPUTS, '"inputs.npy"\nlengths = "two.npz"'),
        (ONES, 'file = "two.npz"'),
        ("functions.py:ones", "functions.py:once"),
        ("functions.py:ones", "ones"),
        ("functions.py:ones", "function.py:ones"),
        (INPUTS, '"input.npy"'),
        ("functions.py:count", "functions.py:nonsense"),
        ("[readout]", "[readout]\ninterchange_step = 8"),
        *(("[readout]", f"[readout]\nsteps = {steps}") for steps in ('"some"', "[]", "[1, 3]", "true", "3")),
        ("[concepts.ones]", "[concepts.ones]\nkind = 'nominal'"),
        ("[concepts.ones]", "[concepts.ones]\nfile = 'inputs.npy'"),
    ],
    "open": [
        ('activation = "relu"', line)
        for line in (
            "",
            "forget_bias = '1'",
            "memory = 10",
            "names = {a = 1}",
            "activation = 'relu'\nreset = 'after'",
        )
    ],
    "tables": [
        ('key = "seen"', 'key = "sen"'),
        ('key = "seen"', ""),
        ('"data.csv"\nkey = "seen"', '"other.csv"'),
        ('key = ["bit"]', 'key = ["bit"]\nlengths = "lengths.npy"'),
        ('"data.csv"\nkey = ["bit"]', '"inputs.npy"\nkey = ["bit"]'),
    ],
    "module": [
        ('"net.py:make"', line)
        for line in (
            '"net.py:wrong"',
            '"net.py:make"\nforget_bias = 1.0',
            '"net.py:make"\n[network.controls]\nother = "initial/*.pt"',
            '"net.py:make"\nfile = "trained/*.pt"\nnames = {"head.bias" = ""}',
        )
    ],
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_study_file_that_does_not_fit_is_refused(kind: str, tmp_path: Path) -> None:
    """One sentence in the words of the file, whatever is wrong, and no folder is made."""
    path = study_file(tmp_path, kind)
    for old, new in WRONG[kind]:
        assert old in FILES[kind]
        path.write_text(FILES[kind].replace(old, new))
        with refused():
            read_study(path).run(tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_what_is_no_study_is_told(tmp_path: Path) -> None:
    """Another ending, no file, and Python files without a study."""
    texts = {"study.txt": "", "none.py": "x = 3", "three.py": "study = 3", "broken.py": "1 / 0"}
    for name in (*texts, "missing.toml"):
        _ = (tmp_path / name).write_text(texts[name]) if name in texts else None
        with refused():
            _ = read_study(tmp_path / name)


def test_a_python_file_is_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported as a TOML file is; figures are written for papers too, and found by their line of Python."""
    _ = written(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nimport probe\nfrom functions import ones\nhere = Path(__file__).parent\n"
        "given = here / 'weights.safetensors', here / 'inputs.npy', {'ones': ones}\n"
        "study = probe.Study(*given, questions=['gates', 'reading-ones'])\n"
    )
    words = ["report", str(tmp_path / "mine.py"), "-o", str(tmp_path / "report"), "--quiet", "--up", "../index.html"]
    assert main.run([*words, "--figures", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out.splitlines()
    finding = Finding.read(tmp_path / "report" / "findings" / "gates")
    files = set(tmp_path.glob("figures/gates/*"))
    wanted = {f"{one.name}.{form}" for one in finding.figures for form in ("svg", "pdf", "png")}
    assert {file.name for file in files} == wanted
    page = tmp_path / "report" / "index.html"
    assert '<a href="../index.html">All pages</a>' in page.read_text()
    lines = [finding.lines()[0], f"{page} {page.stat().st_size} bytes", *map(str, files)]
    assert {line.strip() for line in said}.issuperset(lines)
    title, row, last = said[-3:]
    assert title.startswith(("All units together", "Nor do all units"))
    assert row.split()[:3] == ["all", "units", "together"]
    assert last == lines[1]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    answer = {"question": "gates", "answer": finding.notes["answer"], "claims": []}
    svg = [str(tmp_path / f"report/findings/gates/figures/{one.name}.svg") for one in finding.figures]
    assert (told["page"], told["findings"][0]) == (str(page), {**answer, "figures": svg})
    with contextlib.chdir(tmp_path / "report"):
        exec(finding.python(0).replace("; ", "; got = "), given := {})
    assert given["got"].svg == finding.figures[0].svg


def test_a_choice_in_a_study_file_is_loads_own(tmp_path: Path) -> None:
    """The page names it, as of what `probe.load` returned; seed and tolerance are read too."""
    path = study_file(tmp_path, "open")
    path.write_text(path.read_text().replace("[network]\n", "seed = 5\n[network]\ntolerance = 1e-4\n"))
    study = read_study(path)
    (subject,) = prepare(study)
    loaded, x = probe.load(tmp_path / "rnn.safetensors", activation="relu"), torch.tensor(bits())
    assert torch.equal(subject.model(x)[0], loaded.choose()[1](x)[0])
    assert subject.card["decided by whoever wrote the study"].startswith("activation='relu' for 'rnn.weight")
    assert (subject.card["file"], len(subject.card["SHA-256 of the file"])) == ("rnn.safetensors", 64)
    assert (study.seed, read_study(path, 7).seed) == (5, 7)
    assert study.tolerance == subject.tolerance == 1e-4


def test_steps_and_symbols_of_a_study_file_are_read(tmp_path: Path) -> None:
    """What is not said is the last step; other steps, or names of inputs, make another study."""
    changes = {"": "", "last": 'steps = "last"', "every": 'steps = "every"', "n": "symbols = {n = 0, e = 1}"}
    found = {}
    for name, line in changes.items():
        after = INPUTS if name == "n" else '"head.bias"'
        (found[name],) = prepare(read_study(written(tmp_path, STUDY.replace(after, f"{after}\n{line}"))))
    assert [one.asked.steps for one in found.values()] == ["last", "last", "every", "last"]
    assert {name: one.tolist() for name, one in found["n"].symbols.items()} == {"n": [0], "e": [1]}
    silent, *others = map(parts, found.values())
    assert [[part for part in silent if silent[part] != one[part]] for one in others] == [[], ["readout"], ["inputs"]]


def test_a_head_is_read_as_its_framework_writes_it() -> None:
    """Keras and TensorFlow write (unit, score), torch (score, unit); a square one of nobody must be told."""

    def read(framework: str, weight: torch.Tensor, **more: Any) -> torch.Tensor:
        layer = {"rnn": nn.LSTM(1, UNITS, batch_first=True)}
        loaded = probe.Checkpoint(layer, {"w": weight}, Source(framework, "a file"))
        readout = probe.Readout("ones", weight="w", **more)
        found: Any = prepare(study_of(loaded, inputs=bits(8, UNITS - 1), readout=readout))[0].head
        return found.inner.weight.float()

    square = torch.arange(float(UNITS**2)).view(UNITS, UNITS)
    with refused():
        _ = read("unknown", square)
    assert torch.equal(read("unknown", torch.cat([square, square[:1]]).T)[:UNITS], square)
    for framework in ("Keras", "TensorFlow", "PyTorch"):
        assert torch.equal(read(framework, square), square if framework == "PyTorch" else square.T)
        assert torch.equal(read(framework, square, transposed=True), square.T)
        assert torch.equal(read(framework, square, transposed=False), square)


def test_inputs_and_concepts_in_a_table_are_those_of_arrays(tmp_path: Path) -> None:
    """One .csv may hold both, a column each; sequences of several lengths need no other file."""
    x = bits()
    (subject,) = prepare(read_study(study_file(tmp_path, "tables")))
    assert subject.lengths.tolist() == LENGTHS.tolist()
    padded = np.where(np.arange(8) < LENGTHS[:, None], x[:, :, 0], 0)
    assert np.array_equal(subject.x[:, :, 0].numpy(), padded)
    expected = np.where(np.arange(8) < LENGTHS[:, None], padded.cumsum(1), np.nan)
    assert np.array_equal(subject.concepts["ones"].values, expected, equal_nan=True)
    table(x, LENGTHS).drop(columns="seen").to_csv(tmp_path / "bits.csv", index=False)
    by_path = Study(planted(), tmp_path / "bits.csv", {"seen": ones})
    assert prepare(by_path)[0].lengths.tolist() == LENGTHS.tolist()


def test_a_study_file_names_a_module_of_ones_own(tmp_path: Path) -> None:
    """A function or a class that makes it, or the module itself; its output is the readout, and inputs have names."""
    path = study_file(tmp_path, "module")
    for named in ("make", "Net", "net"):
        path.write_text(FILES["module"].replace("net.py:make", f"net.py:{named}") + "[inputs.fixed]\nrest = [0]\n")
        study = read_study(path)
        (subject,) = prepare(study)
        assert (type(subject.model).__name__, subject.asked.concept) == ("Net", "ones")
        assert [layer.name for layer in subject.layers] == ["rnn[0]"]
        assert study.fixed_inputs == {"rest": [0]}
    held, _ = held_inputs.inputs_of(subject)
    assert {name: value.tolist() for name, value in held.items()} == {"the input “rest”": [0.0]}
    other = study_of(planted(), fixed_inputs=[[0.0]])
    assert parts(subject)["fixed_inputs"] != parts(prepare(other)[0])["fixed_inputs"]


def test_a_study_file_says_how_a_module_is_called_and_which_item_answers(tmp_path: Path) -> None:
    """A function of a file calls it, and a place in a tuple is its answer."""
    path = study_file(tmp_path, "module")
    (tmp_path / "calls.py").write_text("def call(model, x, lengths):\n    return x, model(x)\n")
    asked = path.read_text().replace("make", 'make"\ncall = "calls.py:call')
    path.write_text(asked + '[readout]\nconcept = "ones"\noutput = 1\n')
    (subject,) = prepare(read_study(path))
    assert subject.card["its output"].startswith("item 1 of what it returns, taken as its answer to “ones”")
    path.write_text(asked + '[readout]\nconcept = "ones"\noutput = 1.5\n')
    with refused():
        _ = read_study(path)


def test_files_of_weights_go_into_the_module_in_each_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Networks and heads are those of their files, and named by them; no other process knows the module's class."""
    path = study_file(tmp_path, "module")
    text = FILES["module"].replace("make", 'make"\nfile = "trained/*.pt')
    controls = '[network.controls]\n"own initialisation" = "initial/*.pt"\n[inputs]'
    bare = '[readout]\nconcept = "ones"\nweight = "head.weight"\nbias = "head.bias"\n'
    for study in (text, text.replace('module = "net.py:make"\n', "") + bare):
        path.write_text(study.replace("[inputs]", controls))
        subjects = prepare(read_study(path))
        names = [(one.network.name, one.network.pair) for one in subjects[2:4]]
        assert names == [("seed-2", "seed-2"), ("seed-0/own initialisation", "seed-0")]
        one: Any
        for one, file in zip(subjects[:3], sorted((tmp_path / "trained").iterdir()), strict=True):
            given, layer = torch.load(file), one.layers[0].module
            assert all(torch.equal(given[f"rnn.{key}"], value) for key, value in layer.state_dict().items())
            assert study is text or torch.equal(one.head.inner.weight.float(), given["head.weight"])
    path.write_text(text)
    with without_pictures():
        for jobs in "12":
            assert main.run(["report", str(path), "-o", str(tmp_path / jobs), "--jobs", jobs]) == 0
            told = re.findall(r"^\d of \d +\d+\.\d s  (.+)$", capsys.readouterr().err, re.MULTILINE)
            assert sorted(told) == [f"{tmp_path}/{jobs}/index.html", "answers", "seed-0", "seed-1", "seed-2"]
    one, two = (tmp_path / jobs / "findings" / "answers" / "measurements.csv" for jobs in "12")
    assert one.read_bytes() == two.read_bytes()
    found = Finding.read(one.parent).measurements
    assert set(found[found["role"] == "trained"]["network"]) == {"seed-0", "seed-1", "seed-2"}


def test_what_stands_before_the_recurrence_of_a_file_needs_its_module(tmp_path: Path) -> None:
    """Where the recurrence alone cannot read the inputs, an embedding and a front end of the file are named."""
    fronts: dict[str, tuple[nn.Module, np.ndarray]] = {
        "words": (nn.Embedding(9, 4), np.arange(84).reshape(12, 7) % 9),
        "front": (nn.Linear(1, 4), bits(12)),
    }
    for name, (front, inputs) in fronts.items():
        whole = nn.ModuleDict({name: front, "rnn": nn.GRU(4, 3), "head": nn.Linear(3, 2)})
        path = tmp_path / f"{name}.pt"
        torch.save(whole.state_dict(), path)
        with refused() as raised:
            _ = prepare(Study(path, inputs, {"ones": np.ones(inputs.shape[:2])}))
        assert f"'{name}.weight'" in str(raised.value)
        assert 'module = "' in str(raised.value)
        assert "head" not in str(raised.value)


def test_a_first_study_file_says_what_is_in_a_file_and_asks_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks, sizes and possible heads, the likeliest first; choices that were given stand in it; it can be run."""
    monkeypatch.chdir(tmp_path)
    _ = study_file(tmp_path)

    def first(file: str, *words: str) -> str:
        assert main.run(["new-study", file, "-o", "first.toml", *words]) == 0
        text = Path("first.toml").read_text()
        assert main.run(["new-study", file, "-o", "first.toml"]) == 1  # what exists is kept
        Path("first.toml").unlink()
        # Uncommented, every line that is written as one of TOML is one.
        lines = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# \w+ = (?!\.)", line)]
        assert all(map(tomllib.loads, lines))
        return text

    text = first("weights.safetensors")
    assert "[0]: LSTM, 1 input, 6 units" in text
    assert '# weight = "head.weight"   # could be: (score, unit) = (9, 6)' in text
    assert "# activation = ...   # FILL IN, without the #; usual are" in first("rnn.safetensors")
    text = first("rnn.safetensors", "--activation", "relu", "--names", "rnn.bias*=")
    assert 'activation = "relu"\n' in text
    assert 'names = {"rnn.bias*" = ""}' in text
    np.save("concept.npy", np.cumsum(bits()[:, :, 0], axis=1))
    Path("study.toml").write_text(text)
    assert prepare(read_study(tmp_path / "study.toml"))[0].network.name == "rnn"
    # Several networks must be chosen from, and the line to be filled in is no comment.
    tensors = {f"{name}.{key}": value for name in ("a", "b") for key, value in nn.GRU(1, 3).state_dict().items()}
    save_file({**tensors, "more": torch.zeros(3)}, "two.safetensors")
    text = first("two.safetensors")
    assert '\nname = "a"   # FILL IN which of them' in text
    assert "b[0]: GRU, 1 input, 3 units" in text
    with refused():
        _ = prepare(Study("two.safetensors", bits(), {"ones": ones}))
    (subject,) = prepare(Study("two.safetensors", bits(), {"ones": ones}, name="b"))
    assert [layer.name for layer in subject.layers] == ["b[0]"]
    names = ("a.wte.weight", "b.lookup.weight", "c.lm_head.weight", "token_embedding")
    tensors = {f"rnn.{key}": value for key, value in nn.GRU(1, 3).state_dict().items()}
    save_file({**tensors, **{name: torch.zeros(9, 3) for name in names}}, "one.safetensors")
    assert '# weight = "c.lm_head.weight"   # could be: (score, unit) = (9, 3)' in first("one.safetensors")
