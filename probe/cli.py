"""The command line: a thin shell over the library's functions.

Results go to stdout, errors to stderr. Exit codes: 0, 1 for failed work, 2 for wrong usage, 130 when interrupted.
Everything heavy is imported inside a command, so that `rnn-probe --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from .errors import ProbeError

if TYPE_CHECKING:
    from .claims import Claim
    from .recording import Recording

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = App(
    name="rnn-probe",
    help="Look at recordings and claims about recurrent networks.",
    version=lambda: version("rnn-probe"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `run` says that it was interrupted, and with which code
    help_formatter="plain",  # no boxes and no colour: NO_COLOR holds, and pipes get what a terminal gets
)

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Nonlinearity = Literal["tanh", "relu"]
Several = Parameter(consume_multiple=True, negative=())


@Parameter(name="*")
@dataclass(frozen=True)
class Said:
    """What a file of weights leaves open, as of `probe.load`.

    Attributes:
        forget_bias: what an LSTM cell of TensorFlow 1 or DyNet adds to its forget gate at run time.
        gate_activation: of gates, such as sigmoid or hard_sigmoid_keras2, where weights alone do not say it.
        activation: of a plain RNN's state, or of a gated layer's candidate.
        reset: where a GRU without biases resets, before or after the product.
        gate_order: of arrays with torch's names, where it is not torch's, such as "i o f g".
        names: what arrays are to be called, as ARRAY=NAME; ARRAY= leaves an array or a layer out.
    """

    forget_bias: float | None = None
    gate_activation: str | None = None
    activation: str | None = None
    reset: Literal["before", "after"] | None = None
    gate_order: str | None = None
    names: Annotated[tuple[str, ...], Several] = ()


#: The dataclass is unpacked into options; none given is as good as all left out.
Choices = Annotated[Said | None, Parameter(name="*")]


@app.command
def show(file: Path, /, *, as_json: AsJson = False) -> None:
    """Describe a saved recording: layers, calls, signals, shapes, largest error.

    Args:
        file: what `Recording.save` wrote.
        as_json: print JSON instead of text.
    """
    from .recording_files import load_recording

    described = _describe(load_recording(file))
    _emit(_to_json(described) if as_json else _recording_text(described))


@app.command
def claims(folder: Path, /, *, as_json: AsJson = False) -> None:
    """Print what a finding's folder claims, one line a claim.

    Args:
        folder: a folder that an analysis wrote.
        as_json: print JSON instead of a table.
    """
    from .findings import Finding

    judged = Finding.read(folder).claims
    _emit(_to_json([claim.to_dict() for claim in judged]) if as_json else _claims_text(judged))


@app.command
def inspect(
    file: Path,
    /,
    *,
    nonlinearity: Nonlinearity | None = None,
    said: Choices = None,
    as_json: AsJson = False,
) -> None:
    """Describe the recurrent networks in a file of weights: layers, sizes, signals, and the tensors not used.

    Args:
        file: whatever `probe.load` reads: .pt, .safetensors, .npz, .h5, .keras, .onnx, .pb, .index and others.
        nonlinearity: of plain RNNs of torch, whose file does not say it.
        said: what else the file leaves open.
        as_json: print JSON instead of text.
    """
    from .network_files import describe_networks, load_as_said, networks_text

    networks = load_as_said(file, nonlinearity, vars(said or Said()))
    _emit(_to_json(describe_networks(networks)) if as_json else networks_text(networks))


@app.command
def record(
    file: Path,
    inputs: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    network: str | None = None,
    signals: Annotated[list[str] | None, Several] = None,
    steps: Annotated[list[int] | None, Several] = None,
    nonlinearity: Nonlinearity | None = None,
    said: Choices = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run a network of a file of weights, and write every gate and state at every step.

    Args:
        file: whatever `probe.load` reads: .pt, .safetensors, .npz, .h5, .keras, .onnx, .pb, .index and others.
        inputs: a .npy file of floats, (batch, time, input).
        out: where the recording goes: .safetensors, .npz or .csv.
        network: which network of the file, where it holds several.
        signals: which signals to keep, such as cell_state; all but the pre-activations unless given.
        steps: which steps to keep, from 0; negative ones count from the end.
        nonlinearity: of a plain RNN of torch, whose file does not say it.
        said: what else the file leaves open.
        overwrite: replace the file that the recording goes to.
    """
    from .network_files import record_file

    recording = record_file(
        file,
        inputs,
        out,
        network=network,
        signals=signals,
        steps=steps,
        nonlinearity=nonlinearity,
        said=vars(said or Said()),
        overwrite=overwrite,
    )
    _emit(_recording_text(_describe(recording)) + f"\nwritten: {out}")


@app.command
def report(
    study: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    seed: int | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask everything about a network of your own, and write the page that says what came out.

    An interrupted run goes on where it stopped: each answer is kept as soon as it is known.

    Args:
        study: a .toml file, as new-study writes one, or a .py file that defines study = probe.Study(...).
        out: the folder that gets index.html, and findings/ with the numbers.
        seed: of everything that is drawn, instead of the study's own.
        overwrite: replace the report of another study in that folder.
        quiet: show no progress on stderr.
    """
    from .studies.command import report as written

    _emit(written(study, out, seed=seed, overwrite=overwrite, quiet=quiet))


@app.command
def new_study(
    file: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("study.toml"),
    nonlinearity: Nonlinearity | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write a commented study file for a file of weights: what is in it, and what is to be filled in.

    Args:
        file: .safetensors, or what torch.save wrote of a state_dict: .pt, .pth, .bin.
        out: where the study file goes.
        nonlinearity: of a plain RNN, whose file does not say it.
        overwrite: replace a study file that is there.
    """
    from .studies.starting import new_study as write

    path = write(file, out, nonlinearity=nonlinearity, overwrite=overwrite)
    _emit(f"{path} {path.stat().st_size} bytes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: the words after the program's name; None for those that the process was started with.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _complain(" ".join(str(error).split()))
        return USAGE
    except ProbeError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left (`rnn-probe ... | head`): nothing is wrong, and the last flush must not say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _emit(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def _complain(message: str) -> None:
    sys.stderr.write("rnn-probe: " + " ".join(message.split("\n")) + "\n")


def _to_json(value: Any) -> str:
    import json

    return json.dumps(_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)


def _jsonable(value: Any) -> Any:
    """Return plain JSON values: JSON has no infinity and no NaN, so these become words."""
    import math

    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value


def _describe(recording: Recording) -> dict[str, Any]:
    parts = [
        {
            "layer": part.layer,
            "call": part.call,
            "signals": {str(signal): list(value.shape) for signal, value in part.signals.items()},
        }
        for part in recording.parts
    ]
    return {
        "parts": parts,
        "steps": None if recording.steps is None else list(recording.steps),
        "not_called": list(recording.not_called),
        "max_error": recording.max_error,
    }


def _recording_text(described: Mapping[str, Any]) -> str:
    lines = []
    for part in described["parts"]:
        lines.append(f"layer {part['layer']}, call {part['call']}")
        width = max(map(len, part["signals"]), default=0)
        for signal, shape in part["signals"].items():
            lines.append(f"  {signal:<{width}}  {' x '.join(map(str, shape))}")
    steps = described["steps"]
    lines.append("steps: " + ("all" if steps is None else " ".join(map(str, steps))))
    if described["not_called"]:
        lines.append("not called: " + ", ".join(described["not_called"]))
    lines.append(f"largest error: {described['max_error']:.3g}")
    return "\n".join(lines)


def _claims_text(judged: Sequence[Claim]) -> str:
    rows = [("rule", "verdict", "value", "interval", "n", "statement")]
    for claim in judged:
        ends = "" if claim.interval is None else f"{claim.interval[0]:.3g} to {claim.interval[1]:.3g}"
        rows.append((claim.rule.key, claim.verdict, f"{claim.value:.3g}", ends, str(claim.n), claim.rule.statement))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    main()
