"""Adapters of the package ncps (1.0): liquid networks, whose steps may last different times."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.steps.step import State, Step


class _Timed(Step):
    """A layer that loops over steps itself: a cell, and with mixed memory an LSTM's cell before it.

    The state is the hidden state, (batch, unit), and with mixed memory the cell state too. What `timespans` says of a
    step are its last features. Where `return_sequences=False`, the outputs before the last are those of the steps.
    """

    names: ClassVar = {"state": "hidden_state", "state[0]": "hidden_state", "state[1]": "cell_state"}
    _given: Any = None
    _like: Tensor | None = None
    _timed = False

    def inputs(self, input: Tensor, hx: Any = None, timespans: Tensor | None = None) -> Tensor:
        """Return the sequences, (batch, time, feature), and the time that each step lasts behind the features.

        Raises:
            ProbeError: the layer drops out, or times cannot be told by rows.
        """
        dropout = [one for one in self.module.modules() if isinstance(one, nn.Dropout) and one.training and one.p]
        if dropout:
            raise ProbeError(
                f"This {type(self.module).__name__} drops out in its backbone in training mode, at random. Call "
                "model.eval() first."
            )
        self._batched, self._given = input.dim() == 3, hx
        x = self._by_row(input)
        self._like = x
        if timespans is None:
            self._x = x
            return x
        spans = self._by_row(timespans)
        spans = spans.reshape(*x.shape[:2], -1)
        if len(x) > 1 and spans.shape[2] == 1:
            raise ProbeError(
                f"timespans {tuple(timespans.shape)} were given with {len(x)} rows: ncps 1.0.1 takes a row's time "
                "for a unit's. Run one row at a time, or give a time for each unit, (batch, time, unit)."
            )
        self._timed, self._x = True, torch.cat([x, spans.to(x.dtype)], -1)
        return self._x

    def _by_row(self, value: Tensor) -> Tensor:
        if not self._batched:
            return value[None]
        return value if self.module.batch_first else value.transpose(0, 1)

    def initial(self, batch: int) -> State:
        """Return the state that the call brings, or zeros, (batch, unit) each part."""
        mixed, given = self.module.use_mixed, self._given
        if given is not None:
            return self._in_rows(given)
        like = next(self.module.parameters()) if self._like is None else self._like
        zeros = like.new_zeros(batch, self.module.state_size)
        return (zeros, torch.zeros_like(zeros)) if mixed else zeros

    def _in_rows(self, state: State) -> State:
        parts = tuple(state) if self.module.use_mixed else (state,)
        parts = parts if self._batched else tuple(part[None] for part in parts)
        return parts if self.module.use_mixed else parts[0]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the layer's output and the next state."""
        module, lasts = self.module, 1.0
        if self._timed:
            features = self._like.shape[-1] if self._like is not None else 0
            x, lasts = x[:, :features], x[:, features:]
        if not module.use_mixed:
            y, h = module.rnn_cell.forward(x, state, lasts)
            return self._read(y), h
        h, c = module.lstm.forward(x, state)
        y, h = module.rnn_cell.forward(x, h, lasts)
        return self._read(y), (h, c)

    def _read(self, y: Tensor) -> Tensor:
        return y

    def outputs(self, returned: Any) -> Tensor:
        """Return the outputs of all steps, (batch, time, unit)."""
        own = returned[0]
        if self.module.return_sequences:
            return self._by_row(own)
        state, ys = self.initial(len(self._x)), []
        for x in self._x.unbind(1):
            y, state = self.step(x, state)
            ys.append(y)
        return torch.stack([*ys[:-1], own if self._batched else own.reshape(ys[-1].shape)], 1)

    def final(self, returned: Any) -> State:
        """Return the last state."""
        return self._in_rows(returned[1])

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs, or the last one, and the last state, in the form of the call."""
        if not self.module.return_sequences:
            outputs = outputs[:, -1] if self._batched else outputs[0, -1].reshape(returned[0].shape)
        elif self._batched:
            outputs = outputs if self.module.batch_first else outputs.transpose(0, 1)
        else:
            outputs = outputs[0]
        parts = state if self.module.use_mixed else (state,)
        parts = parts if self._batched else tuple(part[0] for part in parts)
        return outputs, parts if self.module.use_mixed else parts[0]


class CfCStep(_Timed):
    """One step of `ncps.torch.cfc.CfC`, wired or not.

    Hasani et al. 2022, "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, equation 10.
    """

    def _read(self, y: Tensor) -> Tensor:
        return self.module.fc(y)


class LTCStep(_Timed):
    """One step of `ncps.torch.ltc.LTC`, which solves its equation in some unfolded parts.

    Hasani et al. 2021, "Liquid Time-constant Networks", arXiv 2006.04439, equation 1 and algorithm 1.
    """
