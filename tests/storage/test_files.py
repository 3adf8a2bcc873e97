"""Files whole or not at all, at paths and in encodings that nobody expects, and after an interrupt at any moment."""

from __future__ import annotations

import copy
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited
from refusing import refused
from torch import Tensor, nn
from torch.nn.modules import module as torchs

import probe
from probe import Finding, ProbeError
from probe.command_line.verify import verify
from probe.hooks import sessions
from probe.storage.files import write_atomically


def test_text_and_bytes_are_written_for_others_to_read(tmp_path: Path) -> None:
    """In UTF-8 with plain line ends, in folders that are made, with the mode that the umask says."""
    previous = os.umask(0o022)
    path = write_atomically(tmp_path / "a" / "b.txt", "ä\n")
    assert os.umask(previous) == 0o022
    assert path == tmp_path / "a" / "b.txt"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b"\xc3\xa4\n"
    assert write_atomically(str(path), b"\x00\x01").read_bytes() == b"\x00\x01"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails in mid-write, the old content stays and nothing else is left; a file is no folder."""
    path = write_atomically(tmp_path / "a.txt", "old")
    with refused():
        _ = write_atomically(path / "b.txt", "new")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with refused():
        _ = write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync comes before the rename: the other order leaves an empty file after a power cut."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    _ = write_atomically(tmp_path / "a.txt", "new")
    assert order == ["fsync", "replace"]


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
TAKE: dict[str, Callable[[Any], object]] = {
    "load": probe.load,
    "load_recording": probe.load_recording,
    "Finding.read": Finding.read,
    "verify": verify,
    "save": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1)).save(path),
    "out": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1), out=path),
}


@pytest.mark.parametrize("take", TAKE.values(), ids=TAKE)
@pytest.mark.parametrize("path", ["", "a\0b"], ids=["empty", "zero"])
def test_what_is_no_path_is_refused(
    take: Callable[[Any], object], path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty path is not the current folder, and no error of Python's comes through."""
    monkeypatch.chdir(tmp_path)
    np.save("weight_ih_l0.npy", np.ones((4, 1), np.float32))
    np.save("weight_hh_l0.npy", np.ones((4, 1), np.float32))
    with refused():
        _ = take(path)


def fifo(path: Path) -> Path:
    """Make a pipe that nobody writes to, in the place of what was there."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@POSIX
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in a folder, or in the place of a file, is refused: nobody knows whether anything ever comes out."""
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", np.ones(2))
    _ = fifo(tmp_path / "arrays" / "b.npy")
    (tmp_path / "finding").mkdir()
    _ = fifo(tmp_path / "finding" / "finding.json")
    TAKE["out"](tmp_path / "run")
    parts = next((tmp_path / "run").glob("0.*.npy"))
    cases: list[tuple[str, Path]] = [
        ("load", tmp_path / "arrays"),
        ("load", fifo(tmp_path / "w.safetensors")),
        ("load", fifo(tmp_path / "w.pt")),
        ("load_recording", fifo(tmp_path / "run.safetensors")),
        ("load_recording", fifo(parts).parent),
        ("load_recording", fifo(tmp_path / "run" / "recording.json").parent),
        ("Finding.read", tmp_path / "finding"),
    ]
    for take, path in cases:
        with refused():
            TAKE[take](path)


def command(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line through a shell, with what stands behind it there."""
    quoted = " ".join(f"'{word}'" for word in (sys.executable, "-m", "probe.command_line.main", *words))
    return subprocess.run(
        f"{quoted} {shell}", shell=True, capture_output=True, check=False, timeout=120, env=os.environ | environment
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a file of weights with a name that not every encoding has."""
    state = {f"enc_ä€.{name}": value for name, value in nn.GRU(2, 3).state_dict().items()}
    torch.save(state, tmp_path / "w€.pt")
    return tmp_path / "w€.pt"


@POSIX
@pytest.mark.parametrize(
    ("shell", "message", "words"),
    [
        (">&-", "standard output is closed", ["--version"]),
        ("> /dev/full", "standard output cannot be read or written: No space left on device", ["--help"]),
        (">&-", "standard output is closed", ["inspect", "w€.pt", "--json"]),
        ("> /dev/full", "standard output cannot be read or written: No space left on device", ["inspect", "w€.pt"]),
    ],
)
def test_output_that_goes_nowhere_is_one_sentence(shell: str, message: str, words: list[str], weights: Path) -> None:
    """The exit code is 1, and nothing of Python's is printed."""
    done = command(*(word.replace("w€.pt", str(weights)) for word in words), shell=shell)
    assert done.returncode == 1
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@POSIX
def test_errors_that_go_nowhere_leave_the_exit_code(tmp_path: Path) -> None:
    """A closed or full stderr hides the sentence, and not that the work failed."""
    for shell in ("2>&-", "2> /dev/full"):
        assert command("show", str(tmp_path / "missing"), shell=shell).returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_every_encoding_gets_the_names(encoding: str, weights: Path) -> None:
    """What a terminal has no letter for is written as its number, and JSON stays JSON."""
    done = command("inspect", str(weights), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "enc_ä€".encode(encoding, "backslashreplace") in done.stdout
    done = command("inspect", str(weights), "--json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["networks"][0]["network"] == "enc_ä€"


WRITES = """
import sys
from probe import Finding
from probe.evidence import Range, Rule, judge
from probe.evidence.measurements import Network, measurement, tabulate
import torch
network = Network("netz ä", "trained", torch.nn.LSTM(1, 1), pair=0)
table = tabulate([measurement("q", "m", network, 1.0)])
rule = Rule("1", "Zählt es? ≥ 8", "m", "median", "ä", Range.at_least(0.5), Range.at_most(0.1))
finding = Finding("q", "Zählt es? ≥", table, judge(table, [rule]), notes={"n": "ä ≥"})
back = Finding.read(finding.write(sys.argv[1]))
assert (back.title, back.claims[0].rule.statement, back.notes["n"]) == ("Zählt es? ≥", "Zählt es? ≥ 8", "ä ≥")
"""


def test_files_have_their_own_encoding(tmp_path: Path) -> None:
    """A finding is written and read the same where the locale has no umlauts."""
    code = tmp_path / "writes.py"
    _ = code.write_text(WRITES, encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for number, environment in enumerate((plain, {})):
        words = [sys.executable, str(code), str(tmp_path / f"finding{number}")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | environment)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / f"finding{number}" / "finding.json").read_bytes() for number in (0, 1))
    assert one == two


@pytest.fixture
def model() -> Reader:
    """Return a model that contexts are entered for."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


def ours() -> list[Any]:
    """Return the hooks of this library that are installed."""
    hooks = [*torchs._global_forward_hooks.values(), *torchs._global_forward_pre_hooks.values()]
    return [hook for hook in hooks if hook.__module__.startswith("probe.")]


LOCKED = ("probe.hooks.sessions._add", "probe.hooks.sessions._remove_the_dead")


def interrupted(work: Callable[[], Any], at: int) -> bool:
    """Run work with a KeyboardInterrupt at an operation of this library's sessions, or return False at its end.

    Where Python is just closing a generator that nobody waits for, it drops the interrupt and goes on.
    """
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        place = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
        # Python takes an interrupt when a call ends, so never between a lock and the block under it.
        if not place.startswith(("probe.hooks.sessions", "probe.hooks.intervene", "contextlib")) or place in LOCKED:
            return None
        frame.f_trace_opcodes = True
        count += 1
        if count == at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return count >= at


@pytest.fixture
def _uncovered() -> Iterator[None]:
    """Measure no coverage meanwhile: its tracer would be replaced."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


def _entered(model: nn.Module, x: Tensor) -> None:
    with suppress(ProbeError), probe.intervene(model, EDIT):
        pass  # the edit has not acted


WORK: dict[str, tuple[Callable[[Any, Tensor], Any], int]] = {
    "intervene": (_entered, 1),
    "record": (lambda model, x: probe.record(model, x, edits=[EDIT]), 11),
    "check=False": (lambda model, x: probe.record(model, x, check=False), 7),
    "sweep": (lambda model, x: probe.sweep(model, x, edits=[EDIT]), 13),
}


@pytest.mark.usefixtures("_uncovered")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt that Python dropped
@pytest.mark.parametrize("every", [61, pytest.param(7, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_at_any_moment_leaves_a_plain_model(name: str, every: int, model: Reader, x: Tensor) -> None:
    """Wherever it comes, no edit acts afterwards, on the model or a copy, and no hook is left for long."""
    work, stride = WORK[name]  # neither may be a multiple of 5, or no context would take what is left
    stride *= every
    plain, wanted, at = model(x), edited(model, x), 1
    while interrupted(lambda: work(model, x), at):
        assert torch.equal(model(x), plain), f"edited after an interrupt at operation {at}"
        assert torch.equal(copy.deepcopy(model)(x), plain)
        if at % 5 == 0:
            # The next context works, and takes what was left of the interrupted one.
            assert torch.equal(edited(model, x), wanted)
            gc.collect()
            assert not ours()
            assert not torchs._has_any_global_hook()
            assert "forward" not in vars(model.rnn)
        at += stride
    assert at > 100


def test_nothing_is_left_when_the_last_context_ends(model: Reader, x: Tensor) -> None:
    """Torch calls modules without hooks again; the hooks of others stay."""
    handle = torchs.register_module_forward_hook(lambda *_: None)
    with probe.watch(model):
        assert len(ours()) == 3
        probe.record(model, x)
        assert len(ours()) == 3
    assert not ours()
    assert list(torchs._global_forward_hooks) == [handle.id]
    handle.remove()


class _Interrupting:
    """A context variable that an interrupt keeps from being set, once it is told so."""

    def __init__(self, variable: Any) -> None:
        self.get, self.reset, self._set, self.told = variable.get, variable.reset, variable.set, False

    def set(self, value: Any) -> Any:
        """Set it, or raise."""
        if self.told:
            raise KeyboardInterrupt
        return self._set(value)


def test_a_session_that_is_over_never_answers(model: Reader, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between the last two things that a context does leaves it among those that are open."""
    plain, variable = model(x), _Interrupting(sessions._open_here)
    monkeypatch.setattr(sessions, "_open_here", variable)
    held = list[sessions.Session]()
    with suppress(KeyboardInterrupt), probe.intervene(model, EDIT):
        held += sessions.sessions()
        assert not torch.equal(model(x), plain)
        variable.told = True
    variable.told = False
    assert len(held) == 1
    assert torch.equal(model(x), plain)
    assert torch.equal(edited(model, x), edited(model, x))
