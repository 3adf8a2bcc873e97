"""Lists the layers in a Keras model's configuration, those of nested models and wrappers included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..readers import DEEPEST

MODELS = ("Sequential", "Functional", "Model")
#: The packages that Keras's own classes are from.
_KERAS = ("keras", "tf_keras", "tensorflow")
#: Layers whose outputs carry no mask on, by how Keras names them.
_ENDS = ("Flatten", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Dot")


@dataclass(frozen=True, eq=False)
class Described:
    """One layer of a configuration.

    Attributes:
        name: as Keras calls it; of a nested model's layer, after the model's name and a slash.
        kind: its class.
        config: its options.
        top: the name of the layer of the outermost model that it lies in.
        path: where its arrays lie in a .keras or .weights.h5 file, such as `layers/lstm_1`.
        wrapped: of a `Bidirectional`, the layers of its two directions; of a `TimeDistributed`, the one inside.
        hidden_by: what hides steps from it, or "".
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    top: str
    path: str
    wrapped: tuple[Described, ...] = ()
    hidden_by: str = ""


@dataclass(frozen=True)
class _Place:
    """Where a model lies: what its layers' names and paths begin with, its outermost layer, what hides its steps."""

    start: str = ""
    path: str = ""
    top: str = ""
    hidden_by: str = ""


@dataclass
class _Masks:
    """Which layers' outputs carry a mask, by the layer's name; and the last one, of a sequential model."""

    of: dict[str, str] = field(default_factory=dict)
    last: str = ""


def described(config: Any) -> list[Described]:
    """Return the layers of a model's configuration.

    Raises:
        ValueError: it is no configuration of a model.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("the configuration describes no model")
    if not isinstance(_layers(config), list):
        raise ValueError(
            f"the configuration is of a {str(config['class_name'])[:40]!r}, whose layers it does not list"
        )
    return list(_walk(config, _Place(), 0))


def _layers(model: Mapping[str, Any]) -> Any:
    inside = model.get("config")
    return inside if isinstance(inside, list) else inside.get("layers") if isinstance(inside, dict) else None


def _walk(model: Any, at: _Place, depth: int) -> Iterator[Described]:
    if depth > DEEPEST:
        raise ValueError(f"models more than {DEEPEST} deep")
    used: dict[str, int] = {}
    masks = _Masks(last=at.hidden_by)
    for layer in _layers(model):
        kind, config = class_of(layer), layer["config"]
        options = config if isinstance(config, dict) else {}
        own = str(layer.get("name") or options.get("name") or kind)
        stem = snake_case(str(layer["class_name"]))
        used[stem] = used.get(stem, -1) + 1
        below = f"{at.path}layers/{stem}{f'_{used[stem]}' if used[stem] else ''}"
        reached = at.hidden_by if kind == "InputLayer" else _reached(layer, masks)
        name = f"{at.start}{own}"
        if kind in MODELS:
            inside = [*_walk(layer, _Place(f"{name}/", f"{below}/", at.top or own, reached), depth + 1)]
            yield from inside
            made = (_passed_on(one.kind, one.config, one.name, one.hidden_by) for one in inside)
            passed = next(filter(None, (reached, *made)), "")
        else:
            yield _one(Described(name, kind, options, at.top or own, below, hidden_by=reached))
            passed = _passed_on(kind, options, own, reached)
        masks.last = masks.of[own] = passed


def _reached(layer: Mapping[str, Any], masks: _Masks) -> str:
    """Return what hides steps of a layer's input: a mask of any layer that its connections name."""
    if "inbound_nodes" not in layer:
        return masks.last
    nodes = [*_inside(layer["inbound_nodes"], 0)]
    named = next((masks.of[one] for one in nodes if isinstance(one, str) and masks.of.get(one)), "")
    given = any(isinstance(one, dict) and one.get("mask") is not None for one in nodes)
    return named or ("the mask that its call is given in the model" if given else "")


def _inside(nodes: Any, depth: int) -> Iterator[Any]:
    """Yield a layer's connections and all that they hold."""
    if depth > DEEPEST:
        raise ValueError("connections nested too deep")
    yield nodes
    for below in nodes.values() if isinstance(nodes, dict) else nodes if isinstance(nodes, list) else ():
        yield from _inside(below, depth + 1)


def _passed_on(kind: str, options: Mapping[str, Any], name: str, reached: str) -> str:
    """Return what hides steps of a layer's output. Where Keras would drop a mask that is kept here, all ones do."""
    if kind == "Masking":
        return f"{kind} {name!r} (steps where all features are {options.get('mask_value', 0.0)})"
    if kind == "Embedding" and options.get("mask_zero"):
        return f"{kind} {name!r} (steps where its input is 0)"
    inner = options.get("layer")
    inside = inner.get("config", {}) if isinstance(inner, dict) else options
    if (is_recurrent(kind) or kind == "Bidirectional") and not inside.get("return_sequences", False):
        return ""
    return "" if kind in _ENDS else reached


def _one(layer: Described) -> Described:
    """Return a layer with the layers that it wraps."""
    inner = layer.config.get("layer")
    if layer.kind not in ("Bidirectional", "TimeDistributed") or not isinstance(inner, dict):
        return layer
    other = layer.config.get("backward_layer") or inner
    ways = ("forward_layer", "backward_layer") if layer.kind == "Bidirectional" else ("layer",)
    wrapped = tuple(
        replace(
            layer,
            name=f"{layer.name}/{way}",
            kind=class_of(one),
            config=one["config"],
            path=f"{layer.path}/{way}",
        )
        for way, one in zip(ways, (inner, other), strict=False)
    )
    return replace(layer, wrapped=wrapped)


def class_of(layer: Mapping[str, Any]) -> str:
    """Return a layer's class; of a recurrent one that is none of Keras, with where it is from.

    Somebody's own class may have the name of one of Keras, and compute something else.
    """
    name, module = str(layer["class_name"]), layer.get("module")
    recurrent = is_recurrent(name) or name in ("Bidirectional", "TimeDistributed")
    # Keras's own have no registered name, but for some that are private to it; older files have neither word.
    own = module is not None or layer.get("registered_name") is not None
    if not recurrent or not own or str(module).partition(".")[0] in _KERAS:
        return name
    return f"{module or '__main__'}.{name}"


def is_recurrent(kind: str) -> bool:
    """Return whether a class's name is one of a recurrent layer, known or not."""
    return bool(re.search(r"LSTM|GRU|RNN", kind))


def snake_case(name: str) -> str:
    """Return the name that Keras's saving gives to a class (keras/src/utils/naming.py)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
