"""How long Silero's voice detector remembers, and what resets of its state change: docs/howto/memory.md.

    python -m benchmarks.silero

In the folder that the page's commands make: the source of a package, with its weights and two recordings of talk.
"""

from __future__ import annotations

import sys
import warnings
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import probe
from probe.command_line.shell import command, emit, run
from probe.errors import ProbeError

SOURCE = Path("silero_vad-6.2.3")
ARCHIVE = SOURCE / "src/silero_vad/data/silero_vad.jit"
TALKS, NAMES = ("examples/c++/aepyx.wav", "tests/data/test.wav"), ("talk", "other talk")
#: Samples a second, of a chunk, and before it.
RATE, CHUNK, BEFORE = 16_000, 512, 64
#: After how many chunks the state is reset, again and again: 32 ms to 30 s.
EVERY = (1, 5, 31, 156, 938)
#: How long nobody speaks, in seconds; how loud the noise then is, of 1; how many decisions are compared after it.
PAUSES, LEVELS, AFTER = (5, 10, 20, 60), (0.0, 0.01), 156


def opened() -> Any:
    """Return the network for 16 kHz in the package's archive.

    Raises:
        ProbeError: the package is not in this folder.
    """
    if not ARCHIVE.is_file():
        raise ProbeError(f"There is no {str(ARCHIVE)!r} here; the commands of docs/howto/memory.md make it.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load: the archive is what it loads
        return torch.jit.load(ARCHIVE)._model


def heard(talk: str) -> Tensor:
    """Return a recording's samples, from -1 to 1."""
    with wave.open(str(SOURCE / talk)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return torch.from_numpy(np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(2**15))


def windows(samples: Tensor) -> Tensor:
    """Return each chunk after the samples before it, (chunk, sample)."""
    return nn.functional.pad(samples, (BEFORE, 0)).unfold(0, BEFORE + CHUNK, CHUNK)


@torch.no_grad()
def features(archive: Any, samples: Tensor) -> Tensor:
    """Return what the archive's own convolutions make of each chunk, (1, chunk, 128)."""
    return archive.encoder(archive.stft(windows(samples)))[None, ..., 0]


class Detector(nn.Module):
    """The rest of the archive, from its LSTM on, as modules of torch, which edits can reach."""

    def __init__(self, archive: Any) -> None:
        super().__init__()
        self.rnn = nn.LSTM(128, 128, batch_first=True)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(128, 1, 1), nn.Sigmoid())
        tensors = archive.decoder.state_dict()
        self.load_state_dict({name + "_l0" * name.startswith("rnn"): value for name, value in tensors.items()})
        _ = self.eval().requires_grad_(False)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return how probable it is that somebody speaks, (batch, chunk)."""
        return self.decoder(self.rnn(x, state)[0].mT)[:, 0]


def paused(archive: Any, talk: Tensor, level: float, random: torch.Generator) -> Iterator[float]:
    """Yield how many decisions change where a pause comes in between, for each length, and where a reset does.

    There is noise under the talk, and in the pause it is alone; each of many places is one row.
    """
    detector, x = Detector(archive), features(archive, talk + level * torch.randn(len(talk), generator=random))
    times = torch.arange(100, x.shape[1] - AFTER, 40)
    after = times[:, None] + torch.arange(1, AFTER + 1)
    run = probe.record(detector, x)
    state = tuple(run[signal][:, times] for signal in ("hidden_state", "cell_state"))
    noise = (features(archive, level * torch.randn(RATE * seconds, generator=random)) for seconds in PAUSES)
    led = [detector.rnn(pause.expand(len(times), -1, -1), state)[1] for pause in noise]
    for one in (*led, None):
        changed = (detector(x[0, after], one) > 0.5) != (detector(x)[0, after] > 0.5)
        yield changed.sum(1).float().mean().item()


def lines() -> Iterator[str]:
    """Yield what the page shows."""
    archive, random = opened(), torch.Generator().manual_seed(0)
    detector, talks = Detector(archive), {name: heard(file) for name, file in zip(NAMES, TALKS, strict=True)}
    yield "decisions that change: reset every 1, 5, 31 (1 s), 156 (5 s), 938 (30 s) chunks"
    for name, talk in talks.items():
        found = probe.memory(detector, features(archive, talk), times=1, decide="half", every=EVERY)
        assert found.schedules is not None
        shares = (f"{100 * share:.2g}%" for share in found.schedules["changed"])
        yield f"{f'  {name}, {len(talk) / RATE:.0f} s:':<20}{' '.join(shares)}"
    # Repeated, so that the end of the run does not come before that of an effect.
    x = features(archive, torch.cat(list(talks.values()) * 3))
    found = probe.memory(detector, x, times=range(100, 7_000, 200), tolerance=0.01)
    seconds = found.groups["state"].quantile(0.5) * CHUNK / RATE
    yield f"a reset moves answers by over 0.01 for {seconds:.0f} s (median)"
    yield f"decisions that change, of {AFTER}: after a pause of {', '.join(map(str, PAUSES))} s; after a reset"
    for level in LEVELS:
        for name, talk in talks.items():
            label = f"  {name}, {f'noise of {level}' if level else 'silence'}:"
            yield f"{label:<29}{' '.join(f'{count:.1f}' for count in paused(archive, talk, level, random))}"


app = command("python -m benchmarks.silero")


@app.default
def main() -> None:
    """Measure how long the detector remembers, and print what docs/howto/memory.md shows (minutes)."""
    for line in lines():
        emit(line)


if __name__ == "__main__":
    sys.exit(run(app))
