"""Recordings whose states are written by hand, so that what a probe must find is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from probe.recording.recording import LayerRecording, Recording
from probe.recurrent.signals import Signal


def recording_of(
    states: np.ndarray, inputs: np.ndarray | None = None, lengths: Sequence[int] | None = None, layer: str = "rnn"
) -> Recording:
    """Return a recording of one signal, the hidden state.

    Args:
        states: its values, (batch, time, unit).
        inputs: what the layer read, (batch, time, feature); None for a number that no two sequences share.
        lengths: of the rows, or None.
        layer: what the layer is called.
    """
    if inputs is None:
        inputs = np.random.default_rng(1).normal(size=(*states.shape[:2], 1))
    signals = {Signal("hidden_state"): torch.tensor(states)}
    read = None if lengths is None else tuple(lengths)
    part = LayerRecording(layer, 0, signals, {}, read, inputs=torch.tensor(inputs))
    return Recording(None, (part,), None, (), 0.0)
