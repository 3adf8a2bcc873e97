"""Finds recurrent layers by torch's names, `encoder.rnn.weight_ih_l0_reverse` or shorter ones like `enc_w_ih`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ...recurrent.cells.nonlinearities import ACTIVATIONS
from ...recurrent.custom import CustomRNN
from ..choices import LETTERS, Choices, order_of
from ..layer_spec import DTYPES, Found, rows
from ..readers import listed

NONLINEARITIES = ("tanh", "relu")
_NAME = re.compile(
    r"(?:(?P<network>.*)\.)?(?P<kind>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(?P<level>\d+)(?:_reverse)?)?"
)
#: What people write who save arrays by hand: `enc_w_ih`, `decoder/b_hh`, `rnn.W_ih_l0`.
_SHORT = re.compile(
    r"(?:(?P<network>.*?)[._/])?(?P<kind>w|b|weight|bias|weights)_?(?P<side>ih|hh)(?P<level>_l\d+(?:_reverse)?)?",
    re.IGNORECASE,
)
_STACKS: dict[int, Any] = {4: nn.LSTM, 3: nn.GRU, 1: nn.RNN}
_CELLS: dict[int, Any] = {4: nn.LSTMCell, 3: nn.GRUCell, 1: nn.RNNCell}


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose weights have torch's names, with copies of these weights.

    What they are follows from their shapes: the recurrent weights of an LSTM are (4 x units, units), of a GRU
    (3 x units, units), of a plain RNN (units, units).

    Args:
        tensors: the weights by name.
        choices: `activation` of plain RNNs, `gate_order` where it is not torch's.

    Raises:
        ProbeError: a tensor is missing, has the wrong shape or dtype or belongs to another kind of network, or there
            is a plain RNN and no activation was chosen.
    """
    written = _in_full(tensors)
    renamed = _undropped(written, choices)
    matches = {name: match for name in renamed if (match := _NAME.fullmatch(name))}
    networks = dict.fromkeys(
        match["network"] or "" for match in matches.values() if match["kind"] in ("weight_ih", "weight_hh")
    )
    found = []
    for network in networks:
        own = {name: tensors[at] for name, at in renamed.items() if name.rpartition(".")[0] == network}
        if any(written.get(name, name) != name for name in own):
            choices.assume(f"{network or 'the network'}: arrays named w_ih, w_hh are in torch's layout")
        by_hand = any(renamed[name] in choices.renamed for name in own)
        module, order = _built(network, own, choices, by_hand=by_hand)
        _check_alone(network, type(module).__name__, [name for name in renamed if name not in own])
        arrays = tuple(renamed[name] for name in own)
        found.append(Found(network, module, arrays, f"torch {type(module).__name__}", order))
    return found


def _in_full(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the file's names by torch's own ones, where short ones are written in full."""
    full: dict[str, str] = {}
    for name in tensors:
        match = None if _NAME.fullmatch(name) else _SHORT.fullmatch(name)
        if match:
            kind = "weight" if match["kind"].lower().startswith("w") else "bias"
            # Saved by hand, of a layer or of a cell: a layer runs over sequences, and is what a cell in a loop
            # computes.
            written = f"{kind}_{match['side'].lower()}{match['level'] or '_l0'}"
            full[f"{match['network']}.{written}" if match["network"] else written] = name
        else:
            full[name] = name
    return full if len(full) == len(tensors) else {name: name for name in tensors}


def _check_alone(network: str, kind: str, others: Iterable[str]) -> None:
    """Raise ProbeError where arrays lie inside a network, as those of a cell with layer norms do."""
    inside = [name for name in others if network and name.startswith(f"{network}.")]
    # What weight drop overwrote has the name of a weight.
    inside = [name for name in inside if "." in name.removeprefix(f"{network}.")]
    if inside:
        child = f"{network}.{inside[0].removeprefix(f'{network}.').partition('.')[0]}"
        raise ProbeError(
            f"{inside[0]!r} lies inside {network!r}, and torch's {kind} has no modules inside it: this is another "
            "kind of network, such as one with layer norms. Build it with its own class and give it to probe.record, "
            f"or leave the arrays out: names={{{child + '.*'!r}: None}}."
        )


def _undropped(full: dict[str, str], choices: Choices) -> dict[str, str]:
    """Return names without the weights that weight drop overwrote in training, each with the raw one in its place."""
    kept = dict(full)
    for name, at in full.items():
        start, _, own = name.removesuffix("_raw").rpartition(".")
        if not name.endswith("_raw") or not _NAME.fullmatch(own):
            continue
        inner = f"{start}.module." if start else "module."
        holder = inner if any(other.startswith(f"{inner}weight_ih") for other in full) else name[: -len(own) - 4]
        del kept[name]
        kept[holder + own] = at
        choices.assume(f"{(holder + own)!r} is {at!r}: without the dropout of weights that trained it")
    return kept


def _built(network: str, tensors: Mapping[str, Tensor], choices: Choices, *, by_hand: bool) -> tuple[nn.Module, str]:
    """Return the module that has just these tensors, and its order of gates."""
    matches = {name: _NAME.fullmatch(name) for name in tensors}
    for name, match in matches.items():
        if match is None:
            raise ProbeError(
                f"{name!r} stands beside {listed(other for other in matches if matches[other])}, and torch's "
                "LSTM, GRU and RNN have no such parameter: this is another kind of network. Build it with its own "
                f"class and give it to probe.record, or leave the array out: names={{{name!r}: None}}."
            )
    start = f"{network}." if network else ""
    short = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    dtype = _dtype(tensors)
    made = _made(start, short, {"dtype": dtype, "device": "meta"}, choices)
    expected = made.state_dict()
    for name, tensor in expected.items():
        if name not in short:
            raise ProbeError(_missing(start + name, tensors))
        if short[name].shape != tensor.shape:
            raise ProbeError(
                _wrong(start + name, short[name], f"{tuple(tensor.shape)}, as the other weights have it")
            )
        bad = int((~torch.isfinite(short[name])).sum())
        if bad:
            raise ProbeError(
                f"{start + name!r} holds {bad} values that are not finite (NaN or infinite). The training broke, or "
                "the file is damaged."
            )
    extra = [start + name for name in short if name not in expected]
    if extra:
        raise ProbeError(
            f"{extra[0]!r} is no parameter of the {type(made).__name__} that the other weights make, which has "
            f"{listed(start + name for name in expected)}."
        )
    gates = short[next(name for name in short if name.startswith("weight_ih"))].shape[0] // made.hidden_size
    written = " ".join(LETTERS.get(gates, ""))
    order = _order(network or "the network", gates, choices, by_hand=by_hand) if gates > 1 else None
    if order is not None:
        written, places = order, order_of(order, gates)
        short = {name: tensor if "hr" in name else rows(tensor, places, gates) for name, tensor in short.items()}
    # Made without memory first, so that no random numbers are drawn.
    made = made.to_empty(device="cpu")
    made.load_state_dict(short, strict=True)
    return made.eval(), written


def _order(where: str, gates: int, choices: Choices, *, by_hand: bool) -> str | None:
    """Return how the gates follow each other in a network's arrays, or None where they do as torch has them."""
    if not by_hand:
        return choices.get("gate_order", where)
    why = "names= gave its arrays torch's names, and no file says how the gates follow each other in them"
    others = "'i f c o' (Keras's) and 'i o f g'" if gates == 4 else "'z r n' (Keras's)"
    return choices.need("gate_order", where, why, f"{' '.join(LETTERS[gates])!r} (torch's), {others}")


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    first, dtype = next((name, tensor.dtype) for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ProbeError(
                f"{name!r} has dtype {_word(tensor.dtype)}; expected one of {', '.join(map(_word, DTYPES))}. "
                "A quantized network must be saved before it is quantized."
            )
        if tensor.dtype != dtype:
            raise ProbeError(
                f"{name!r} has dtype {_word(tensor.dtype)}; expected {_word(dtype)}, as {first!r} has it. "
                "Convert them to one dtype."
            )
    return dtype


def _made(start: str, tensors: Mapping[str, Tensor], options: dict[str, Any], choices: Choices) -> Any:
    """Return the module without its numbers, as far as its first layer and the names of the others say it."""
    levels = {int(match["level"]) for name in tensors if (match := _NAME.fullmatch(name)) and match["level"]}
    full = {start + name: tensor for name, tensor in tensors.items()}
    for level in range(len(levels)):
        if level not in levels:
            raise ProbeError(_missing(f"{start}weight_ih_l{level}", full))
    end = "_l0" if levels else ""
    for name in (f"weight_ih{end}", f"weight_hh{end}"):
        if name not in tensors:
            raise ProbeError(_missing(start + name, full))
        if tensors[name].dim() != 2 or 0 in tensors[name].shape:
            raise ProbeError(_wrong(start + name, tensors[name], "two axes, (gates x units, inputs), none of them 0"))
    gates, units, projected = _sizes(start, tensors, end)
    options |= {"input_size": tensors[f"weight_ih{end}"].shape[1], "hidden_size": units}
    options |= {"bias": any(name.startswith("bias_") for name in tensors)}
    if gates == 1:
        name = start + "weight_hh" + end
        options |= {"nonlinearity": plain_function(repr(name), choices)}
    if not levels:
        return _CELLS[gates](**options)
    options |= {"num_layers": len(levels), "bidirectional": any(name.endswith("_reverse") for name in tensors)}
    options |= {"proj_size": projected} if projected else {}
    return _STACKS[gates](**options, batch_first=True)


def plain_function(where: str, choices: Choices) -> str:
    """Return the function of a plain RNN of torch, which no file says.

    Raises:
        ProbeError: it was not chosen, or torch has no RNN with it.
    """
    why = "it is a plain RNN, whose nonlinearity is not in the file"
    activation = choices.need("activation", where, why, "'tanh' (torch's default) and 'relu'")
    if activation not in NONLINEARITIES:
        raise ProbeError(
            f"{where} is of a plain RNN, and torch's RNN has {' or '.join(NONLINEARITIES)}, not {activation!r}. Give "
            f"one of the two; {CustomRNN.__name__} has {', '.join(ACTIVATIONS)}."
        )
    return activation


def _sizes(start: str, tensors: Mapping[str, Tensor], end: str) -> tuple[int, int, int]:
    """Return how many gates and units a network has, and to how many units it is projected, 0 for not at all."""
    recurrent = tensors[f"weight_hh{end}"]
    projection = tensors.get(f"weight_hr{end}") if end else None
    if projection is not None:
        if projection.dim() != 2 or not 0 < projection.shape[0] < projection.shape[1]:
            expected = "(projected units, units), with fewer projected units than units"
            raise ProbeError(_wrong(f"{start}weight_hr{end}", projection, expected))
        return 4, projection.shape[1], projection.shape[0]
    height, units = recurrent.shape
    if height % units or height // units not in _STACKS:
        kinds = ", ".join(f"{(gates * units, units)} for {kind.__name__}" for gates, kind in _STACKS.items())
        raise ProbeError(_wrong(f"{start}weight_hh{end}", recurrent, kinds))
    return height // units, units, 0


def _wrong(name: str, tensor: Tensor, expected: str) -> str:
    return f"{name!r} has shape {tuple(tensor.shape)}; expected {expected}. The file is damaged, or of another kind."


def _missing(name: str, tensors: Iterable[str]) -> str:
    return (
        f"{name!r} is missing beside {listed(tensors)}. Save the whole state_dict; of a network with weight norm, "
        "after the norm is removed."
    )


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
