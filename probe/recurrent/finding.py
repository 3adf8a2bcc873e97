"""Finds the recurrent layers inside any module, and names them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import NoRecurrenceError, ProbeError, another_cell, unknown
from .cells.checking import check_cell
from .layers import Layer, LoopLayer, OwnModule, StepLayer, Turning
from .named_network import Around
from .steps.forms import may_be_a_cell, method_of, registered
from .steps.methods import cell_of, steps_in
from .steps.registry import adapter_of

#: Somebody's own modules whose formulas were tried.
_CHECKED: WeakSet[nn.Module] = WeakSet()
#: What torch calls its recurrent modules.
_RECURRENT = {"LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"}


def find_layers(model: nn.Module, names: Iterable[str] | None = None) -> tuple[Layer, ...]:
    """Return the recurrent layers of a model, in the order in which its modules are registered.

    Args:
        model: any module that contains recurrent layers.
        names: the layers wanted, or None for all of them.

    Raises:
        ProbeError: the model has no recurrent layer, a name does not exist, or nobody can look into the model.
    """
    _check_module(model)
    found: dict[str, Layer] = {}
    turned = {inner for one in model.modules() if isinstance(one, Turning) for inner in one.turned().modules()}
    inside: set[nn.Module] = set()
    for path, module in _unwrapped(model).named_modules():
        if module in inside:
            continue  # what an adapter runs is a part of its layer, and what is scripted is looked at whole
        if isinstance(module, torch.jit.ScriptModule):
            if not _has_no_recurrence(module):
                raise ProbeError(
                    f"{path or 'The model'!r} is a {type(module).__name__}, which torch lets nobody look into. "
                    "Give the Python module that it was made from."
                )
            inside |= set(module.modules())
            continue
        for layer in _layers_of(path, module, module in turned):
            inside |= set(module.modules()) if isinstance(layer, StepLayer) else set()
            if layer.name in found:
                raise ProbeError(
                    f"Two layers of {type(model).__name__} would both be called {layer.name!r}. Rename the module "
                    f"{path!r}: a name that holds brackets reads like a layer's."
                )
            found[layer.name] = layer
    if not found:
        found = _perhaps(model)
    if not found:
        raise NoRecurrenceError(
            f"{type(model).__name__} contains no recurrent layer (torch.nn.LSTM, GRU, RNN, or one of their cells; "
            "or probe.recurrent.CustomLSTM, CustomGRU, CustomRNN). Give the module that holds the layer itself; a "
            f"quantized one must be opened before it was quantized. {another_cell()}"
        )
    wanted = list(found) if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise ProbeError(unknown("layer", name, found) + _of_a_cell(model, name))
    chosen = tuple(layer for name, layer in found.items() if name in wanted)
    for layer in chosen:
        _check_own(layer)
    return chosen


def _has_no_recurrence(module: torch.jit.ScriptModule) -> bool:
    """Return whether the graph of a scripted or traced module shows that it hands nothing on from step to step.

    It reads one input, has no loop, sets no attribute, runs nothing of torch's that is recurrent, and reads each of
    its weights once: a loop that was traced is written out, and reads its weights at each step.
    """
    kinds = {getattr(one, "original_name", "") for one in module.modules()}
    try:
        graph: Any = module.inlined_graph
    except (RuntimeError, AttributeError):  # it has no forward, or several
        return False
    told = re.search(r"prim::(Loop|SetAttr|CallMethod|CallFunction)|aten::\w*(lstm|gru|rnn)", str(graph))
    if told or len(list(graph.inputs())) != 2 or kinds & _RECURRENT:
        return False
    weights = {name for name, _ in module.named_parameters()}
    read = Counter[str]()
    for node in graph.findAllNodes("prim::GetAttr"):
        read[_path(node.output())] += len(node.output().uses())
    return all(read[name] <= 1 for name in weights)


def _path(value: Any) -> str:
    """Return the name of what a value in a graph is read from, such as `head.weight`."""
    node = value.node()
    if node.kind() != "prim::GetAttr":
        return ""
    return f"{_path(node.input())}.{node.s('name')}".strip(".")


def _check_module(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ProbeError(f"A model must be a torch.nn.Module; this is a {type(model).__name__}.{_held(model)}")


def _held(given: Any) -> str:
    """Return which modules stand in something that is none, as a trainer or an estimator keeps its network."""
    own = dict(getattr(given, "__dict__", {}))
    for name in (*own, "model", "module", "module_", "policy", "network"):
        try:
            own[name] = getattr(given, name)
        except Exception:  # noqa: BLE001 (a property may raise anything, where it has no network yet)
            own.pop(name, None)
    held = [f".{name}" for name, one in own.items() if isinstance(one, nn.Module)]
    return f" It holds one as {' and '.join(held)}: give that." if held else ""


def check_forward(model: nn.Module, what: str) -> None:
    """Raise ProbeError where a model cannot be called, as a container of modules cannot.

    Args:
        model: the model.
        what: calls it, as the caller wrote it.
    """
    _check_module(model)
    if type(model).forward is nn.Module.forward and "forward" not in vars(model):
        raise ProbeError(
            f"{type(model).__name__} has no forward, and {what} calls the model. Give the module that is called; or "
            "call its layers yourself inside probe.watch(model), or probe.intervene(model, edit)."
        )


def _of_a_cell(model: nn.Module, name: str) -> str:
    """Return what to do where a name is that of a module which might be a cell, in words."""
    module = dict(_unwrapped(model).named_modules()).get(name)
    if module is None or not may_be_a_cell(module):
        return ""
    kind = type(module).__name__
    return f" Beside layers of torch a cell of your own is opened once it is registered: probe.register({kind}, ...)."


def _perhaps(model: nn.Module) -> dict[str, Layer]:
    """Return what could be cells of somebody's own, modules and methods; a run tells which of them are.

    A module whose forward loops over its input is no cell, and a method that the loop calls may be one, unless it
    holds modules that could be cells: then the method calls those. Other methods count where there is nothing else.
    """
    root, found, others = _unwrapped(model), dict[str, Layer](), dict[str, Layer]()
    cells = {one for one in root.modules() if may_be_a_cell(one)}
    for path, one in root.named_modules():
        steps = {} if any(part in cells for part in one.modules() if part is not one) else steps_in(one)
        over = _methods(path, one, [name for name, over in steps.items() if over])
        found |= over
        if path and not over and one in cells:
            found[path] = LoopLayer(path, one)
        others |= _methods(path, one, list(steps))
    if not found and root in cells:
        return {"[0]": LoopLayer("[0]", root)}
    return found or others


def _methods(path: str, module: nn.Module, names: Sequence[str]) -> dict[str, Layer]:
    """Return layers for methods of one module: one alone has the module's name."""
    if len(names) == 1:
        return {path or "[0]": LoopLayer(path or "[0]", cell_of(module, names[0]))}
    return {one: LoopLayer(one, cell_of(module, name)) for name in names for one in [f"{path}.{name}".strip(".")]}


def _check_own(layer: Layer) -> None:
    """Try the formulas of somebody's own module when it is first looked at; those of this library are tested.

    They are tried with other weights too: the module's own may hide what a formula reads, as zeros do.
    """
    module = layer.module
    if (
        not isinstance(module, OwnModule)
        or module.make_cell.__module__ == "probe.recurrent.custom"
        or module in _CHECKED
    ):
        return
    if any(parameter.is_meta for parameter in module.parameters()):
        return  # there are no numbers to try them with
    for tried in (layer, replace(layer, module=_redrawn(module, torch.Generator().manual_seed(0)))):
        cell = tried.cell
        sizes = {cell.size(signal) for signal in cell.states}
        if sizes != {module.hidden_size} or getattr(module, "states", len(cell.states)) != len(cell.states):
            raise ProbeError(
                f"{type(module).__name__} of layer {layer.name!r} has hidden_size {module.hidden_size} and states = "
                f"{getattr(module, 'states', len(cell.states))}; its cell hands on {', '.join(cell.states)}, of "
                f"{', '.join(map(str, sorted(sizes)))} units. Both must say the same."
            )
        check_cell(cell, layer.name, cell.weights.W.shape[1], tried.learned)
    _CHECKED.add(module)


@torch.no_grad()
def _redrawn(module: nn.Module, generator: torch.Generator) -> Any:
    """Return a module with other weights, which shares everything else with the one given."""
    drawn = object.__new__(type(module))  # copy.copy refuses a parametrized module
    own = vars(drawn)
    own.update(vars(module))
    own["_modules"] = {name: part and _redrawn(part, generator) for name, part in module._modules.items()}
    own["_parameters"] = {
        name: one if one is None or not one.is_floating_point() else _drawn(one, generator)
        for name, one in module._parameters.items()
    }
    return drawn


def _drawn(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Return a parameter with half to one and a half of each number, and of zeros what a new layer could have."""
    drawn = (torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1).to(parameter)
    usual = drawn / max(1, parameter.shape[-1] if parameter.dim() > 1 else 1) ** 0.5
    return torch.where(parameter == 0, usual, parameter * (1 + drawn / 2))


def _layers_of(path: str, module: nn.Module, turned: bool) -> list[Layer]:
    step = adapter_of(module)
    if step is not None:
        return [StepLayer(path or "[0]", module, step=step)]
    method = method_of(module)
    if method is not None:
        return [LoopLayer(path or "[0]", cell_of(module, method[0]))]
    if registered(module):
        return [LoopLayer(path or "[0]", module)]
    if isinstance(module, nn.RNNCellBase):
        return [Layer(path or "[0]", module)]
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN, OwnModule)):
        return []
    one = Layer(path, module)
    return [
        Layer(f"{path}[{level}]" + (".reverse" if reverse != turned else ""), module, level, reverse, turned)
        for level in range(one.levels)
        for reverse in (False, True)[: one.directions]
    ]


def whole_module(layer: Layer) -> tuple[Layer, ...]:
    """Return every layer of the module that a layer belongs to, in torch's order of h_n."""
    if isinstance(layer, (StepLayer, LoopLayer)):
        return (layer,)
    reverse = ".reverse" if layer.reverse or layer.turned else ""
    end = "" if layer.is_cell else f"[{layer.level}]{reverse}"
    return tuple(_layers_of(layer.name.removesuffix(end), layer.module, layer.turned))


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside our own wrapper, torch.compile's, DataParallel or DistributedDataParallel.

    The type decides, not the name of the attribute: a model of one's own may call a part `module` and have others.
    """
    compiler = sys.modules.get("torch._dynamo.eval_frame")  # asking for the type would load the compiler
    wrappers = (Around, nn.DataParallel, nn.parallel.DistributedDataParallel)
    kinds = wrappers if compiler is None else (*wrappers, compiler.OptimizedModule)
    while isinstance(model, kinds) and len(parts := list(model.children())) == 1:
        (model,) = parts
    return model
