"""Translates the activation functions of an ONNX node, with their parameters, into our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ProbeError
from ...recurrent.cells.nonlinearities import ACTIVATIONS

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_ARGUMENTS = {"LSTM": ("gate", "activation", "output"), "GRU": ("gate", "activation"), "RNN": ("activation",)}
_PLAIN = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}
#: The parameters that functions use, with their defaults: alpha, beta.
_PARAMETERS: Mapping[str, tuple[float | None, float | None]] = {
    "hardsigmoid": (0.2, 0.5),
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "scaledtanh": (1.0, 1.0),
    "elu": (1.0, None),
}


def functions_of(name: str, kind: str, given: Mapping[str, Any], way: int, ways: int) -> dict[str, str]:
    """Return the functions of one direction of a node, by the names of a spec's fields.

    Args:
        name: of the node, for messages.
        kind: LSTM, GRU or RNN.
        given: its attributes.
        way: which direction.
        ways: how many there are.

    Raises:
        ProbeError: a function is none of the cells here, or its parameters can be read in two ways.
    """
    defaults = _DEFAULTS[kind]
    every = [text(one).lower() for one in given.get("activations") or defaults * ways]
    if len(every) != len(defaults) * ways:
        raise ProbeError(f"{name!r} names {len(every)} functions for {ways} directions of {len(defaults)} each.")
    alphas = _assigned(name, every, list(given.get("activation_alpha") or ()), 0)
    betas = _assigned(name, every, list(given.get("activation_beta") or ()), 1)
    own = slice(way * len(defaults), (way + 1) * len(defaults))
    functions = zip(every[own], alphas[own], betas[own], strict=True)
    return dict(zip(_ARGUMENTS[kind], (_function(name, *one) for one in functions), strict=True))


def _assigned(name: str, functions: Sequence[str], values: list[float], which: int) -> list[float | None]:
    """Return the parameter of each function."""
    usual = [_PARAMETERS.get(function, (None, None))[which] for function in functions]
    using = [place for place, default in enumerate(usual) if default is not None]
    if len(values) > len(functions):
        raise ProbeError(
            f"{name!r} has {len(values)} parameters for {len(functions)} functions. The file is damaged."
        )
    by_use, by_place = list(usual), list(usual)
    for place, value in zip(using, values, strict=False):
        by_use[place] = value
    for place in using:
        if place < len(values):
            by_place[place] = values[place]
    # A list as long as the functions that use it can only be meant in one way.
    if by_use != by_place and len(values) != len(using):
        raise ProbeError(
            f"{name!r} has the functions {', '.join(functions)} and the parameters {values}, which can be read in "
            "two ways. Export it with a parameter for each function, or with the defaults."
        )
    return by_use


def _function(name: str, function: str, alpha: float | None, beta: float | None) -> str:
    if function in _PLAIN:
        return _PLAIN[function]
    if function == "affine" and (alpha, beta) == (1.0, 0.0):
        return "linear"
    if function == "hardsigmoid" and alpha is not None and beta is not None and abs(beta - 0.5) < 1e-6:
        if abs(alpha - 0.2) < 1e-6:
            return "hard_sigmoid_keras2"
        if abs(alpha - 1 / 6) < 1e-6:
            return "hard_sigmoid_keras3"
    parameters = "" if alpha is None else f" with alpha={alpha}, beta={beta}"
    raise ProbeError(
        f"{name!r} has the function {function!r}{parameters}, and the cells here have {', '.join(ACTIVATIONS)}. A "
        f"network with another function cannot be loaded as one of them; leave it out with names={{{name!r}: None}}."
    )


def text(value: Any) -> str:
    """Return an attribute as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
