"""Adapters of the package xlstm (2.0.6): its sLSTM and mLSTM layers.

Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", arXiv 2405.04517: the sLSTM is its equations 8 to 17, the
mLSTM 19 to 27. Both keep their memory divided by exp(m), where the stabiliser m keeps exponentials small. Here
`cell_state` is the memory itself, c exp(m) of the paper's c, and so is the `normaliser`: patch the two, as they are
compared between runs, rows and steps. The `stabiliser` says in which units the layer computes, and an edit of it
alone leaves the memory as it is. Where it passes 88 in float32 the memory is no number any more, and the run is
refused: take float64.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ProbeError
from ..recurrent.steps.step import State, Step
from .scaled import kept, memory, put_back


class SLSTMStep(Step):
    """One step of `xlstm.blocks.slstm.layer.sLSTMLayer`, on its vanilla backend.

    Its state is the hidden state y, the cell state c exp(m), the normaliser n exp(m) and the stabiliser m, (batch,
    unit) each, and the last inputs of its convolution, (batch, kernel size - 1, feature), where it has one.

    In xlstm 2.0.6 the module that is called `fgate` drives the input gate, and `igate` the forget gate; the adapter
    runs what the layer runs. A row whose n is zero throughout takes its new stabiliser from the input gate alone, as
    the layer does where the n of all rows are zero.
    """

    names: ClassVar = {
        "state.window": "convolution_window",
        "state.y": "hidden_state",
        "state.c": "cell_state",
        "state.n": "normaliser",
        "state.m": "stabiliser",
    }
    gauges: ClassVar = ("state.m",)
    _like: Tensor | None = None
    _window: Tensor | None = None
    _given: Tensor | None = None

    def inputs(
        self,
        x: Tensor,
        conv_state: Tensor | None = None,
        slstm_state: Tensor | None = None,
        return_last_state: bool = False,
        **rest: Any,
    ) -> Tensor:
        """Return the sequences, (batch, time, feature).

        Raises:
            ProbeError: the layer drops out, or runs on a fused CUDA kernel.
        """
        _refuse_dropout(self.module)
        cell = self.module.slstm_cell
        if not hasattr(cell, "pointwise"):
            raise ProbeError(
                f"This sLSTMLayer runs {type(cell).__name__}, a fused CUDA kernel that has no step of its own. Make "
                'it with sLSTMLayerConfig(backend="vanilla") and load the same weights.'
            )
        if cell.config.function != "slstm":
            raise ProbeError(
                f"This sLSTMLayer runs the function {cell.config.function!r}; probe runs the function 'slstm'."
            )
        self._like, self._window, self._given = x, conv_state, slstm_state
        return x

    def initial(self, batch: int) -> State:
        """Return the state that the call brings, or zeros."""
        like = self.module.fgate.weight if self._like is None else self._like
        zeros = like.new_zeros(4, batch, self.module.config.hidden_size)
        state = _opened(zeros if self._given is None else self._given.to(like.dtype))
        if not self._convolves:
            return state
        return {"window": _window(self.module.conv1d, batch, like, self._window), **state}

    @property
    def _convolves(self) -> bool:
        return bool(self.module.config.conv1d_kernel_size > 1)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the normed hidden state and the next state."""
        layer, cell, after = self.module, self.module.slstm_cell, {}
        filtered = x
        if layer.config.conv1d_kernel_size > 0:
            filtered, window = _convolved(layer.conv1d, x, state.get("window"))
            filtered = layer.conv_act_fn(filtered)
            after = {"window": window} if self._convolves else {}
        gates = (layer.fgate(filtered), layer.igate(filtered), layer.zgate(x), layer.ogate(x))
        heads, units = cell.config.num_heads, cell.config.head_dim
        kernel = cell._recurrent_kernel.view(heads, 4, units, units)  # (head, gate, to, from)
        back = torch.einsum("bhj,hgij->bghi", state["y"].view(-1, heads, units), kernel).flatten(2)
        raw = torch.stack(gates, 1) + back + cell._bias.view(4, -1)
        i, f, z, o = raw.unbind(1)
        stayed = state["m"] + functional.logsigmoid(f)
        fresh = (state["n"] == 0).all(-1, keepdim=True)
        m = torch.where(fresh, i, torch.maximum(i, stayed))
        enters, stays = (i - m).exp().clamp(max=1), (stayed - m).exp().clamp(max=1)
        c, n = (kept(state[name], state["m"]) for name in "cn")
        c, n = stays * c + enters * z.tanh(), stays * n + enters
        y = o.sigmoid() * c / n
        own = {"y": y, "c": memory(c, m), "n": memory(n, m), "m": m}
        normed = layer.group_norm(y.view(-1, heads, 1, units)).flatten(1)
        return normed, after | {name: value.to(state[name].dtype) for name, value in own.items()}

    def final(self, returned: Any) -> State | None:
        """Return the last state, where the layer was asked for it."""
        if not isinstance(returned, tuple):
            return None
        _, last = returned
        state = _opened(last["slstm_state"])
        if not self._convolves:
            return state
        return {"window": _window(self.module.conv1d, len(state["y"]), state["y"], last["conv_state"]), **state}

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs, and the last state where the layer was asked for it."""
        if not isinstance(returned, tuple):
            return outputs
        last, (_, c, n, m) = returned[1]["conv_state"], returned[1]["slstm_state"]
        window = state["window"][:, -last.shape[1] :] if self._convolves else last
        own = state["m"] == m  # elsewhere the stabiliser is another one, and so are the numbers
        c, n = (
            torch.where(own, put_back(one, state[name], m), kept(state[name], state["m"]))
            for name, one in (("c", c), ("n", n))
        )
        return outputs, {"conv_state": window, "slstm_state": torch.stack([state["y"], c, n, state["m"]])}


class MLSTMStep(Step):
    """One step of `xlstm.blocks.mlstm.layer.mLSTMLayer`.

    Its state is the matrix C exp(m), (batch, head, key, value), the normaliser n exp(m), (batch, head, key, 1), the
    stabiliser m, (batch, head, 1, 1), and the last inputs of its convolution, (batch, kernel size - 1, feature).

    The layer computes all steps at once, from the gates' largest products: m begins as far below them as its type
    goes, where the package's own step begins at 0. In float32 its sums over a thousand steps are some 1e-5 off, and
    `tolerance=` must allow that.
    """

    names: ClassVar = {
        "state.window": "convolution_window",
        "state.C": "cell_state",
        "state.n": "normaliser",
        "state.m": "stabiliser",
    }
    gauges: ClassVar = ("state.m",)

    def inputs(self, x: Tensor, **rest: Any) -> Tensor:
        """Return the sequences, (batch, time, feature).

        Raises:
            ProbeError: the layer drops out.
        """
        _refuse_dropout(self.module)
        return x

    def initial(self, batch: int) -> State:
        """Return zeros, and of m the lowest number."""
        layer = self.module
        weight, heads = layer.proj_up.weight, layer.config.num_heads
        units = layer.config._inner_embedding_dim // heads
        state = {
            "C": weight.new_zeros(batch, heads, units, units),
            "n": weight.new_zeros(batch, heads, units, 1),
            "m": weight.new_full((batch, heads, 1, 1), torch.finfo(weight.dtype).min),
        }
        if layer.config.conv1d_kernel_size < 2:
            return state
        return {"window": _window(layer.conv1d, batch, weight, None), **state}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the layer's output and the next state."""
        layer = self.module
        inner, z = layer.proj_up(x).chunk(2, -1)
        filtered, window = _convolved(layer.conv1d, inner, state.get("window"))
        filtered = layer.conv_act_fn(filtered)
        q, k, v = layer.q_proj(filtered), layer.k_proj(filtered), layer.v_proj(inner)
        held = (*(kept(state[name], state["m"]) for name in "Cn"), state["m"])
        h, (C, n, m) = layer.mlstm_cell.step(q[:, None], k[:, None], v[:, None], mlstm_state=held)
        h = (h[:, 0] + layer.learnable_skip * filtered) * layer.ogate_act_fn(z)
        after = {"window": window} if "window" in state else {}
        return layer.proj_down(h), after | {"C": memory(C, m), "n": memory(n, m), "m": m}


def _opened(parts: Any) -> dict[str, Tensor]:
    """Return the state of an sLSTM, (4, batch, unit), by its parts, with its memory as it is."""
    y, c, n, m = parts
    return {"y": y, "c": memory(c, m), "n": memory(n, m), "m": m}


def _refuse_dropout(layer: nn.Module) -> None:
    rate: Any = layer.get_submodule("dropout")
    if rate.training and rate.p:
        raise ProbeError(
            f"This {type(layer).__name__} drops out {rate.p:.0%} of its outputs in training mode, at random. Call "
            "model.eval() first."
        )


def _window(convolution: Any, batch: int, like: Tensor, given: Tensor | None) -> Tensor:
    """Return the last inputs of a convolution, (batch, kernel size - 1, feature); zeros stand for those before."""
    steps = convolution.config.kernel_size - 1
    rows = batch if given is None else len(given)
    window = like.new_zeros(rows, steps, convolution.config.feature_dim)
    return window if given is None else torch.cat([window, given.to(like.dtype)], 1)[:, -steps:]


def _convolved(convolution: Any, x: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what a causal convolution makes of one step, (batch, feature), and its next window."""
    every = x[:, None] if window is None else torch.cat([window, x[:, None]], 1)
    conv = convolution.conv
    filtered = functional.conv1d(every.transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
    return filtered[..., 0], every[:, 1:]
