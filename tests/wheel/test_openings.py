"""An LSTM is opened to the same values whether steps are taken one by one or in stretches, whatever is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import probe
from probe.recurrent.cells import cell, scan
from probe.recurrent.finding import find_layers
from probe.recurrent.signals import Signal


def drawn(time: int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is written, forget gates of which some are 0 and some 1, and a state to begin with."""
    generator = torch.Generator().manual_seed(time)
    written, f = torch.randn(2, time, 3, 5, generator=generator, dtype=torch.float64)
    f = (4 * f).sigmoid()
    f[:, 0], f[:, 1, 0], f[::3, 2] = 1e-9, 1, 0
    return written.to(dtype), f.to(dtype), torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype)


def one_by_one(written: Tensor, f: Tensor, c: Tensor) -> Tensor:
    """Return c at every step, in float64."""
    states, c = [], c.double()
    for now, forgotten in zip(written.double(), f.double(), strict=True):
        c = forgotten * c + now
        states.append(c)
    return torch.stack(states)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("time", [1, 2, 63, 64, 65, 80, 81, 1000])
def test_every_length_gives_what_single_steps_give(time: int, turned: bool) -> None:
    """Stretches that do not divide the steps too, and arrays with the units first in memory."""
    written, f, c = drawn(time)
    wanted = one_by_one(written, f, c)
    if turned:
        written, f = (array.permute(2, 0, 1).contiguous().permute(1, 2, 0) for array in (written, f))
    before = f.clone()
    last = scan.scan(written, f, c, bounded=True)
    torch.testing.assert_close(written.double(), wanted, rtol=1e-5, atol=1e-5)  # as far as single steps in float32
    assert torch.equal(last, written[-1])
    assert torch.equal(f, before)


def test_stretches_are_taken_where_steps_are_many_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 alone, and where products of f stay finite: all else is one step after the other, to the bit."""
    taken: list[int] = []
    stretches = scan._scan_stretches
    monkeypatch.setattr(scan, "_scan_stretches", lambda *given: taken.append(len(given[0])) or stretches(*given))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for time, bounded in ((63, True), (64, False), (64, True)):
            written, f, c = drawn(time, dtype=dtype)
            wanted, own = c, written.clone()
            _ = scan.scan(own, f, c, bounded=bounded)
            if taken:
                assert (dtype, time, bounded) == (torch.float32, 64, True)
                assert taken.pop() == 64
                continue
            assert (dtype, time, bounded) != (torch.float32, 64, True)
            for t in range(time):
                wanted = f[t] * wanted + written[t]
                assert torch.equal(own[t], wanted)


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("place", [-1, 0, 40, 199])
def test_a_number_that_is_none_reaches_all_later_steps_of_its_unit(place: int, number: str) -> None:
    """NaN goes on as in single steps, from the state before them and from one of them, and nobody is warned."""
    written, f, c = drawn(200)
    if place < 0:
        c[1, 2] = float(number)
    else:
        written[place, 1, 2] = float(number)
    wanted = one_by_one(written, f, c).isfinite()
    _ = scan.scan(written, f, c, bounded=True)
    assert torch.equal(written.isfinite(), wanted)
    assert not wanted.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("projected", [0, 3])
@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 70, 5), (300, 4, 12), (3, 70, 33), (1, 2, 20)])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_no_bit_depends_on_what_is_kept(
    shape: tuple[int, int, int], projected: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal alone is what it is beside all others, in one stretch and in several."""
    batch, time, units = shape
    layer, x = nn.LSTM(3, units, proj_size=projected).to(dtype), torch.randn(time, batch, 3, dtype=dtype)
    for chunk in (cell.CHUNK, 4 * units * batch * max(1, time // 3)):
        monkeypatch.setattr(cell, "CHUNK", chunk)
        whole = probe.record(layer, x, signals=Signal).parts[0].signals
        for signal, value in whole.items():
            assert torch.equal(probe.record(layer, x, signals=[signal])[signal], value)
            assert torch.equal(probe.record(layer, x, signals=[signal], check=False)[signal], value)


@pytest.mark.parametrize("units", [12, 20])
@pytest.mark.parametrize("steps_at_once", [1, 5])
def test_another_hidden_state_is_seen_at_its_step(
    units: int, steps_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few units lie otherwise in memory than many; in both, one changed number is an error of its step and row."""
    monkeypatch.setattr(cell, "CHUNK", 4 * units * 2 * steps_at_once)
    (layer,) = find_layers(nn.LSTM(3, units))
    x, zeros = torch.randn(5, 2, 3), torch.zeros(2, units)
    with torch.no_grad():
        h = layer.module(x)[0]
        h[4, 1, 7] += 0.5
        initial = {Signal.HIDDEN_STATE: zeros, Signal.CELL_STATE: zeros}
        _, errors, _ = layer.cell.open(x, h, initial, (Signal.INPUT_GATE,))
    assert errors[4, 1].item() == pytest.approx(0.5, abs=1e-5)
    errors[4, 1] = 0
    assert errors.max() < 1e-5
