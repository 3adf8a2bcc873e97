"""Write files of Flax and Haiku, and what they compute from them themselves: `python make_jax.py`.

In an environment of its own, with flax, dm-haiku and safetensors; none of them is needed to test.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import flax.linen as nn
import haiku
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, serialization
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(BATCH, TIME, INPUTS)).astype("float32")


def numbers(tree: Any) -> Any:
    """Return a tree of the same shapes with random numbers, biases too."""
    return jax.tree.map(lambda leaf: jnp.asarray(DRAWN.normal(size=leaf.shape).astype("float32")), tree)


class Networks(nn.Module):
    """Layers of every kind of cell beside each other."""

    @nn.compact
    def __call__(self, x: Any) -> dict[str, Any]:
        """Return the hidden states of each layer by its name."""
        kinds = {"lstm": nn.LSTMCell, "optimized": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "simple": nn.SimpleCell}
        named = {name: nn.RNN(kind(UNITS, name=name))(x) for name, kind in kinds.items()}
        alone = {"OptimizedLSTMCell_0": nn.RNN(nn.OptimizedLSTMCell(UNITS))(x)}
        return {**named, **alone, "dense": nn.Dense(2, name="head")(x)}


def of_flax(references: dict[str, Any]) -> None:
    """Write msgpack of linen's parameters, and safetensors of them; and of nnx's."""
    model = Networks()
    params = numbers(model.init(jax.random.key(0), X))
    _ = (HERE / "flax.msgpack").write_bytes(serialization.to_bytes(params))
    flat = {".".join(path): np.asarray(value) for path, value in flatten_dict(params).items()}
    save_file(flat, HERE / "flax.safetensors")
    outputs: Any = model.apply(params, X)
    references |= {f"flax.{name}": np.asarray(value) for name, value in outputs.items() if name != "dense"}
    kinds = {"lstm": nnx.LSTMCell, "optimized": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "simple": nnx.SimpleCell}
    arrays: dict[str, Any] = {}
    for name, kind in kinds.items():
        layer = nnx.RNN(kind(INPUTS, UNITS, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
        graph, state, rest = nnx.split(layer, nnx.Param, ...)
        state = numbers(state)
        references[f"nnx.{name}"] = np.asarray(nnx.merge(graph, state, rest)(X))
        flat = flatten_dict(nnx.to_pure_dict(state))
        arrays |= {"/".join([name, *map(str, path)]): np.asarray(value) for path, value in flat.items()}
    np.savez(HERE / "flax_nnx.npz", **arrays)


def of_haiku(references: dict[str, Any]) -> None:
    """Write a pickle of Haiku's parameters, as jax arrays, and one of numpy's."""

    def networks(x: Any) -> dict[str, Any]:
        cores = {"lstm": haiku.LSTM(UNITS), "gru": haiku.GRU(UNITS), "plain": haiku.VanillaRNN(UNITS)}
        cores["single"] = haiku.VanillaRNN(UNITS, double_bias=False)
        run = {"head": haiku.Linear(2)(x)}
        for name, core in cores.items():
            run[name], _ = haiku.dynamic_unroll(core, x, core.initial_state(BATCH), time_major=False)
        return run

    model = haiku.without_apply_rng(haiku.transform(networks))
    params = numbers(model.init(jax.random.key(0), X))
    _ = (HERE / "haiku.pkl").write_bytes(pickle.dumps(params))
    _ = (HERE / "haiku_numpy.pkl").write_bytes(pickle.dumps({"params": jax.tree.map(np.asarray, params)}, 2))
    references |= {f"haiku.{name}": np.asarray(h) for name, h in model.apply(params, X).items() if name != "head"}


def main() -> None:
    """Write everything."""
    references: dict[str, Any] = {"x": X}
    of_flax(references)
    of_haiku(references)
    np.savez(HERE / "jax.npz", **references)


if __name__ == "__main__":
    main()
