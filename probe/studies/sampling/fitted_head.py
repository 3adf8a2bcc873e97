"""The fitted head: a control with random weights whose head alone was fitted to the network's answers."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch
from torch import nn

from ...methods.probing.linear import fit_linear
from ...recurrent.layers import find_layers
from ...recurrent.signals import Signal
from ..definition.prepared import Prepared
from ..definition.readouts import CLASSES, NUMBER, Head
from .answers import answered_rows
from .network_states import run
from .random_weights import random_weights

#: The bias of a class that no sequence has, so that it is never the answer.
_NEVER = -50.0


def fitted_head(prepared: Prepared) -> Prepared | None:
    """Return the study of a network with random weights and a fitted head; None if no head can be fitted.

    The states of a random network are some function of its inputs, and a head that is fitted to them may answer well.
    What a search finds in such a network was not made by training.

    Args:
        prepared: the study, with a readout.

    Reference:
        docs/science.md, "Controls".
    """
    if prepared.read is None or prepared.head is None:
        return None
    rows, (_, model) = answered_rows(prepared), next(random_weights(prepared.opened.model, 1, seed=prepared.seed))
    right = prepared.answered.values[rows, prepared.lengths[rows] - 1]
    if len(np.unique(right)) < 2:
        return None
    lengths, name = prepared.lengths[rows], prepared.read.name
    recording = run(model, prepared.x[rows], lengths, name, [Signal.HIDDEN_STATE])
    hidden = recording[name, Signal.HIDDEN_STATE]
    last = hidden[torch.arange(len(rows)), torch.as_tensor(lengths - 1)].double().numpy()
    numbers = prepared.head.kind == NUMBER
    linear = _line(last, right) if numbers else _classes(last, right, prepared.head.values.numpy())
    head = Head(linear, NUMBER if numbers else CLASSES, prepared.head.values.numpy())
    opened = dataclasses.replace(prepared.opened, model=model)
    return dataclasses.replace(prepared, opened=opened, read=find_layers(model, [name])[0], head=head)


def _line(last: np.ndarray, right: np.ndarray) -> nn.Linear:
    fitted = fit_linear(last, right[:, None])
    return _linear(fitted.weight, fitted.bias)


def _classes(last: np.ndarray, right: np.ndarray, values: np.ndarray) -> nn.Linear:
    """Return a logistic head with one score for each answer of the readout."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    spread = last.std(0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    places = np.abs(right[:, None] - values).argmin(1)
    with warnings.catch_warnings():
        # A fit that stops early gives a worse head, and its answers show that.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # The same holds for a fit on few sequences of each answer.
        warnings.filterwarnings("ignore", "The number of unique classes")
        model = LogisticRegression(C=100.0, max_iter=1_000).fit((last - last.mean(0)) / scale, places)
    both = len(model.classes_) == 2
    coefficients = np.concatenate([-model.coef_, model.coef_]) / 2 if both else model.coef_
    intercept = np.concatenate([-model.intercept_, model.intercept_]) / 2 if both else model.intercept_
    weight, bias = np.zeros((len(values), last.shape[1])), np.full(len(values), _NEVER)
    weight[model.classes_] = coefficients / scale
    bias[model.classes_] = intercept - weight[model.classes_] @ last.mean(0)
    return _linear(weight, bias)


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    head = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(weight))
        head.bias.copy_(torch.as_tensor(bias))
    return head
