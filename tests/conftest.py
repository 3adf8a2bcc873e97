"""What tests have around them, the networks and files that many of them use, and one process for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from around import nothing_is_lost, one_colour_one_meaning, tidy  # first: it says how many threads torch has

# isort: split
import numpy as np
import pytest
import torch
from refusing import pytest_addoption
from safetensors.torch import save_file
from studied import Report, bits, planted, report_of, study_of, without_pictures
from torch import Tensor, nn
from xdist.scheduler import LoadFileScheduling

__all__ = ["nothing_is_lost", "one_colour_one_meaning", "pytest_addoption", "tidy"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Give a file's tests to one process (`-n 2`), so that what a module makes is made once."""
    return LoadFileScheduling(config, log)


INPUTS, UNITS, BATCH, TIME = 3, 5, 4, 7


class Tagger(nn.Module):
    """An LSTM with a head on its last hidden state, and a counter of its calls."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, 3)
        self.times_called = 0
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return three scores a sequence."""
        self.times_called += 1
        h, _ = self.lstm(x)
        return self.head(h[:, -1])


class Pair(nn.Module):
    """Two LSTMs in a row; the second one is called twice, the third one never."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.LSTM(INPUTS, UNITS, batch_first=True)
        self.high = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.idle = nn.LSTM(INPUTS, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states of the second call of the upper layer."""
        h, _ = self.low(x)
        h, state = self.high(h)
        h, _ = self.high(h, state)
        return h


@pytest.fixture
def no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does: under autograd torch's float32 kernel adds in another order."""
    with torch.no_grad():
        yield


@pytest.fixture
def double(no_grad: None) -> Iterator[None]:
    """The same in double precision, where only rounding is left to differ."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def lstm() -> nn.LSTM:
    """Return a small LSTM, batch first."""
    return nn.LSTM(INPUTS, UNITS, batch_first=True)


@pytest.fixture
def tagger() -> Tagger:
    """Return a model that holds one LSTM named `lstm[0]`."""
    return Tagger()


@pytest.fixture
def make_tagger() -> Callable[..., Tagger]:
    """Return the class of `tagger`, for another dtype."""
    return Tagger


@pytest.fixture
def pair() -> Pair:
    """Return a model of three LSTMs: called once, called twice, never called."""
    return Pair()


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, INPUTS)


@pytest.fixture
def other() -> Tensor:
    """Return other inputs of the same shape."""
    return torch.randn(BATCH, TIME, INPUTS, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def of_planted(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report on the network whose unit 0 holds the count, with two rival programs."""
    study = study_of(planted(), programs={"count": sum, "length": len})
    return report_of(study, tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def of_bare(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report on the same network without a readout."""
    study = study_of(planted(), inputs=bits(64), readout=None)
    return report_of(study, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def of_random(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report on a network that nobody trained, without pictures."""
    torch.manual_seed(3)
    with without_pictures():
        return report_of(study_of(nn.LSTM(1, 6, batch_first=True)), tmp_path_factory.mktemp("random"))


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Leave every figure empty; see studied.py."""
    with without_pictures():
        yield


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Return a file of inputs, (4, 7, 3), in float64, as numpy makes them."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(4, 7, 3)))
    return tmp_path / "x.npy"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return the file of one LSTM inside a model."""
    save_file({f"rnn.{name}": one for name, one in nn.LSTM(3, 5).state_dict().items()}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"
