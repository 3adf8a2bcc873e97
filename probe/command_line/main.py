"""Declares the commands of `rnn-probe` and their options; each calls a function of the library.

Everything heavy is imported inside a command, so that `rnn-probe --help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import ProbeError
from . import output, shell
from .shell import AsJson, UsageError, Whole, at_least_one, command, emit

app = command(
    "rnn-probe",
    help="Inspect, record and convert the recurrent networks in files of weights, report on a study of one, and show "
    "and verify what was written.",
)
Several = Parameter(consume_multiple=True)


@Parameter(name="*")
@dataclass(frozen=True)
class Choices:
    """What a file of weights may leave open, see `probe.load`; `inspect` says what a file does.

    Attributes:
        forget_bias: what an LSTM cell of TensorFlow 1 adds to its forget gate at run time.
        gate_activation: of gates, such as sigmoid or hard_sigmoid_keras2.
        activation: of a plain RNN, or of a gated layer's candidate, such as tanh or relu.
        reset: where a GRU resets, before or after the product.
        gate_order: of arrays with torch's names, such as "i o f g".
        names: OLD=NEW, what an array is to be called that is not recognised; OLD= leaves it out.
        memory: the most bytes that loading may take at its peak, three times those of the arrays.
    """

    forget_bias: float | None = None
    gate_activation: str | None = None
    activation: str | None = None
    reset: Literal["before", "after"] | None = None
    gate_order: str | None = None
    names: Annotated[list[str] | None, Several] = None
    memory: Whole | None = None

    def given(self) -> dict[str, Any]:
        """Return those that were made, as arguments of `probe.load`.

        Raises:
            UsageError: a name is not of the form OLD=NEW.
        """
        found = {name: value for name, value in vars(self).items() if value is not None}
        for one in found.pop("names", ()):
            old, between, new = one.rpartition("=")
            if not between or not old:
                raise UsageError(f"--names {one!r} must be OLD=NEW, or OLD= to leave an array out.")
            found.setdefault("names", {})[old] = new or None
        return found


#: Where nothing was chosen.
NONE = Choices()
#: What messages call as Python does, and the command line has options for.
_ARGUMENTS = (*Choices.__dataclass_fields__, "key", "lengths")
#: What says to torch's and numpy's libraries how many threads they may use, once, when they are imported.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@app.command
def show(file: Path, /, *, as_json: AsJson = False) -> None:
    """Describe a saved recording: layers, calls, signals, shapes, largest error.

    Args:
        file: what `Recording.save` wrote.
        as_json: print JSON instead of text.
    """
    from ..recording.reading import load_recording

    described = output.describe(load_recording(file))
    emit(output.to_json(described) if as_json else output.recording_text(described))


@app.command
def verify(path: Path, /, *, as_json: AsJson = False) -> None:
    """Read reports, recordings, findings and converted networks whole, and compare them with the digests of what was
    written.

    Args:
        path: one of them, or a folder with some of them.
        as_json: print JSON instead of a line each.
    """
    from .verify import verify as verified

    found = verified(path)
    damaged = [one for one in found if one.damage]
    lines = [f"{'damaged' if one.damage else 'whole  '}  {one.kind}  {one.path}" for one in found]
    emit(output.to_json([vars(one) for one in found]) if as_json else "\n".join(lines))
    if damaged:
        raise ProbeError(f"{len(damaged)} of {len(found)} are damaged, first of all: {damaged[0].damage}")


@app.command
def inspect(file: Path, /, *, choices: Choices = NONE, as_json: AsJson = False) -> None:
    """Describe the recurrent networks in a file of weights, and the choices that it leaves open.

    Args:
        file: weights of PyTorch, Keras, TensorFlow, ONNX, numpy and others, see probe.load.
        as_json: print JSON instead of text.
    """
    from ..loading.load import survey
    from .network_files import describe_networks, networks_text

    found = survey(file, choices.given())
    emit(output.to_json(describe_networks(*found)) if as_json else networks_text(*found))


@app.command
def convert(
    file: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    choices: Choices = NONE,
    overwrite: bool = False,
) -> None:
    """Write the networks of a file of weights as model.safetensors and config.json, which leave nothing open.

    The folder can be read by probe.load and uploaded to the Hugging Face hub as it is.

    Args:
        file: weights of PyTorch, Keras, TensorFlow, ONNX, numpy and others, see probe.load.
        out: the folder.
        overwrite: replace what an earlier conversion wrote there.
    """
    from ..loading.converted import convert as written
    from ..loading.load import load

    path = written(load(file, **choices.given()), out, overwrite=overwrite)
    emit(f"{path} {path.stat().st_size} bytes")


@app.command
def record(
    file: Path,
    inputs: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    network: str | None = None,
    key: str | None = None,
    lengths: Path | None = None,
    signals: Annotated[list[str] | None, Several] = None,
    steps: Annotated[list[Whole] | None, Several] = None,
    choices: Choices = NONE,
    threads: Whole | None = None,
    overwrite: bool = False,
) -> None:
    """Run a network of a file of weights, and write every gate and state at every step.

    Args:
        file: weights of PyTorch, Keras, TensorFlow, ONNX, numpy and others, see probe.load.
        inputs: floats, (batch, time, input), in a .npy or .npz file; or a .csv file with the columns sequence and
            step, and one for each feature.
        out: where the recording goes: .safetensors, .npz or .csv; or .npy, of one signal of one layer.
        network: which network of the file, where it holds several.
        key: which array of an .npz file, where it holds several.
        lengths: a .npy file of how many steps each sequence has, where they differ; a .csv file says it itself.
        signals: which signals to keep, such as cell_state; all but the pre-activations unless given.
        steps: which steps to keep, from 0; negative ones count from the end.
        threads: how many threads to use; one unless given, or as OMP_NUM_THREADS says: a step of a small network is
            too little to share.
        overwrite: replace the file that the recording goes to.
    """
    _use(threads)
    from .network_files import record_file

    recording = record_file(
        file,
        inputs,
        out,
        given=choices.given(),
        network=network,
        key=key,
        lengths=lengths,
        signals=signals,
        steps=steps,
        overwrite=overwrite,
    )
    emit(output.recording_text(output.describe(recording)) + f"\nwritten: {out}")


@app.command
def report(
    study: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    seed: Whole | None = None,
    threads: Whole | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    jobs: Whole = 1,
    figures: Path | None = None,
    up: str = "",
    as_json: AsJson = False,
) -> None:
    """Study a network of your own, or many of one task, and write the page that says what came out.

    An interrupted run goes on where it stopped: each answer is kept as soon as it is known.

    Args:
        study: a .toml file, as new-study writes one, or a .py file that defines study = probe.Study(...). Python
            files, and those that a .toml file names, are run: give none that you do not trust.
        out: the folder that gets index.html, and findings/ with the numbers.
        seed: of everything that is drawn, instead of the study's own.
        threads: how many threads to use; one unless given, or as OMP_NUM_THREADS says: a step of a small network is
            too little to share.
        overwrite: replace the report of another study in that folder.
        quiet: show no progress on stderr.
        jobs: of many networks, how many are measured at a time, each in a process on one thread.
        figures: a folder that gets every figure of a study for papers and talks, as SVG, PDF and PNG.
        up: the address of the page above this one, such as ../index.html, which then is linked from its top.
        as_json: print JSON instead of text: the page, and each answer with its verdicts and the files of its figures.
    """
    _use(threads)
    from .report_command import report as written

    at_least_one("--jobs", jobs)
    told = written(
        study, out, seed=seed, overwrite=overwrite, quiet=quiet, jobs=jobs, figures=figures, up=up, as_json=as_json
    )
    emit(told)


@app.command
def new_study(
    file: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("study.toml"),
    choices: Choices = NONE,
    overwrite: bool = False,
) -> None:
    """Write a commented study file for a file of weights: what is in it, and what is to be filled in.

    Args:
        file: weights of PyTorch, Keras, TensorFlow, ONNX, numpy and others, see probe.load.
        out: where the study file goes.
        overwrite: replace a study file that is there.
    """
    from .new_study import new_study as write

    path = write(file, out, given=choices.given(), overwrite=overwrite)
    emit(f"{path} {path.stat().st_size} bytes")


@app.command
def site(
    folders: list[Path],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    title: str | None = None,
) -> None:
    """Write an index of several studies that lie in one folder: a static site, opened from a disk or served.

    Args:
        folders: each of them with an index.html, as report writes it; they stand in the index in this order.
        out: the site's folder, in which they lie.
        title: of the index.
    """
    from ..studies.pages.site import TITLE, write_site

    path = write_site(folders, out, title=TITLE if title is None else title)
    emit(f"{path} {path.stat().st_size} bytes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: the words after the program's name; None for those that the process was started with.
    """
    shell.leave(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    again = "The same command goes on from here." if words[:1] == ["report"] else ""
    return shell.run(app, words, explain=lambda message: message + _where_said(message, words), again=again)


def _where_said(message: str, words: Sequence[str]) -> str:
    """Return how the arguments of Python that a message names are said here: as options, or in a study's file."""
    if words[0] == "report":
        return ""  # a study says them as Python does, or as its file
    named = [name for name in _ARGUMENTS if re.search(rf"\b{name}=", message)]
    options = [f"--{name.replace('_', '-')}{' OLD=NEW' * (name == 'names')}" for name in named]
    return f" At the command line: {', '.join(options)}." if named else ""


def _use(threads: int | None) -> None:
    """Set how many threads the libraries use that are imported after this.

    Raises:
        UsageError: it is no number of threads.
    """
    if threads is not None:
        at_least_one("--threads", threads)
    for name in _THREADS:
        if threads is not None:
            os.environ[name] = str(threads)
        else:
            os.environ.setdefault(name, os.environ.get(_THREADS[0], "1"))


if __name__ == "__main__":
    main()
