"""Writes a cell state as the exact sum of what each step wrote, times what later forget gates kept of it.

An LSTM's cell state is linear in what is written, given its gates:

    c_T = c_0 prod_m f_m + sum_k i_k g_k prod_(m > k) f_m

and a GRU's hidden state is the same with f = z and i g = (1 - z) n. Nothing is approximated.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...recording.recording import LayerRecording, Recording
from ...recurrent.signals import Signal, within
from ..machines import Machine

_LSTM = (Signal.INPUT_GATE, Signal.CELL_CANDIDATE, Signal.FORGET_GATE)
_GRU = (Signal.CANDIDATE, Signal.UPDATE_GATE)


def kept(gate: Float[Tensor, "batch time unit"]) -> Float[Tensor, "batch time unit"]:
    """Return how much of what each step leaves is still there after the last one: the product of all later gates.

    Args:
        gate: what each step keeps of what was before: f of an LSTM, z of a GRU.
    """
    later = torch.cat([gate[:, 1:], torch.ones_like(gate[:, :1])], dim=1)
    return later.flip(1).cumprod(1).flip(1)


def contributions(
    written: Float[Tensor, "batch time unit"],
    gate: Float[Tensor, "batch time unit"],
    initial: Float[Tensor, "batch unit"],
) -> Float[Tensor, "batch part unit"]:
    """Return what the initial state and each step contribute to the last state; the parts sum to it.

    Args:
        written: what each step adds: i g of an LSTM, (1 - z) n of a GRU.
        gate: what each step keeps of what was before.
        initial: the state before the first step.

    Returns:
        The initial state's part first, then one part a step, (batch, 1 + time, unit).

    Reference:
        Levy et al. 2018, Long short-term memory as a dynamically computed element-wise weighted sum, section 2, the
        unrolled recurrence.
    """
    left = kept(gate)
    first = (initial * gate.prod(1)).unsqueeze(1)
    return torch.cat([first, written * left], dim=1)


def recorded_contributions(
    recording: Recording, *, layer: str | None = None, step: int | None = None
) -> Float[Tensor, "batch part unit"]:
    """Return what each step contributed to a recorded state: to c of an LSTM, to h of a GRU.

    Args:
        recording: every step of one call of a layer, its gates and candidate among the signals.
        layer: the layer's name, or None for the only one.
        step: the state after which step; None for the last one in the layer's own order.

    Returns:
        The initial state's part first, then one part for each step read, in the layer's own order.

    Raises:
        ProbeError: the layer is a plain RNN, which has no such algebra; its gates or some steps were not kept; it
            was called several times; or a row has ended at the step.
    """
    part = _only_part(recording, layer)
    kind = next((kind for kind in (_LSTM, _GRU) if set(kind) <= set(part.signals)), None)
    if kind is None:
        raise ProbeError(
            f"The recording of layer {part.layer!r} holds {', '.join(part.signals)}; the algebra needs "
            f"{', '.join(_LSTM)} of an LSTM or {', '.join(_GRU)} of a GRU. A plain RNN has none: its state is no "
            "sum of what was written."
        )
    values = [part.signals[signal] for signal in kind]
    backwards = part.layer.endswith(".reverse")
    length = max(value.shape[1] for value in values)
    last = (0 if backwards else length - 1) if step is None else within("step", (step,), length, "the recording")[0]
    if part.lengths is not None and (backwards or last >= min(part.lengths)):
        raise ProbeError(
            f"Rows of layer {part.layer!r} have {min(part.lengths)} to {max(part.lengths)} steps; choose a step= "
            "that every row of a forward layer has."
        )
    read = [value[:, last:].flip(1) if backwards else value[:, : last + 1] for value in values]
    if kind is _LSTM:
        i, g, f = read
        return contributions(i * g, f, part.initial[Signal.CELL_STATE])
    n, z = read
    return contributions((1 - z) * n, z, part.initial[Signal.HIDDEN_STATE])


def _only_part(recording: Recording, layer: str | None) -> LayerRecording:
    parts = [part for part in recording.parts if layer in (None, part.layer)]
    if len(parts) != 1 or recording.steps is not None:
        held = ", ".join(f"{name!r} ({calls} calls)" for name, calls in recording.calls.items())
        steps = "every step" if recording.steps is None else f"the steps {recording.steps}"
        raise ProbeError(
            f"The algebra needs every step of one call of one layer; the recording holds {steps} of {held}. Choose "
            "with layer= and recording.call(number), and record without steps=."
        )
    return parts[0]


def kept_to_the_end(machine: Machine) -> Float[Tensor, "batch time unit"]:
    """Return how much of what each step leaves in a state is still there at the end of the clean run.

    Raises:
        ProbeError: the layer is a plain RNN, which keeps nothing as it is.
    """
    gate = next((one for one in (Signal.FORGET_GATE, Signal.UPDATE_GATE) if one in machine.cell.signals), None)
    if gate is None:
        raise ProbeError(
            "A layer without forget_gate (LSTM) and update_gate (GRU) has no gate algebra; a plain RNN keeps nothing "
            "as it is."
        )
    return kept(machine.clean.recorded(gate))
