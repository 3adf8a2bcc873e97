"""The layouts, in the order in which they look for recurrent layers among arrays known by name and shape alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from .choices import Choices
from .layer_spec import Found
from .layouts import haiku_names, jax_names, keras_weights, tf1_names, torch_wrapped
from .rare import allennlp_names, chainer_names, dynet_names, keras1_arrays, mxnet_names, paddle_names

Finder = Callable[[Mapping[str, Tensor], Choices], list[Found]]


def layouts(facts: Mapping[str, Mapping[str, Any]] | None) -> tuple[Finder, ...]:
    """Return the layouts in the order in which they are tried.

    Args:
        facts: what a graph of TensorFlow says of its cells; None where there is none.
    """
    return (
        jax_names.find_equinox,
        paddle_names.find,
        torch_wrapped.find,
        allennlp_names.find,
        mxnet_names.find,
        keras_weights.find,
        keras1_arrays.find,
        lambda tensors, choices: tf1_names.find(tensors, choices, facts),
        dynet_names.find,
        jax_names.find_flax,
        haiku_names.find,
        chainer_names.find,
    )
