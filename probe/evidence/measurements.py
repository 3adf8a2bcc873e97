"""The table that every question returns, one row a value, and `Network`: a model and its role in the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, require

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

COLUMNS = (
    "question",
    "metric",
    "subject",
    "network",
    "seed",
    "layer",
    "signal",
    "units",
    "step",
    "value",
)
#: A network's part in a comparison.
SUBJECTS = ("trained", "untrained", "readout", "template", "planted", "other", "null")
#: What a reader is shown where a value alone does not say what was done to the network.
ROLE_NAMES = {"untrained": "own initialisation", "readout": "fitted head"}


@dataclass(frozen=True)
class Network:
    """A network under study.

    Attributes:
        name: its name in tables, such as `counter/seed-3`.
        subject: its part: `trained`, or a control such as `untrained`, which is the network before training; a
            control of one network shares its seed.
        model: the module.
        seed: what the comparison pairs it by, or None for a network that stands alone.
    """

    name: str
    subject: str
    model: nn.Module
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.subject not in SUBJECTS:
            raise ProbeError(f"subject={self.subject!r} is none of {', '.join(SUBJECTS)}.")
        from torch import nn

        if not isinstance(self.model, nn.Module):
            raise ProbeError(
                f"Network {self.name!r} has a {type(self.model).__name__} as its model; give a torch.nn.Module."
            )


def role_name(subject: object) -> str:
    """Return how figures and pages call the networks of a subject."""
    return ROLE_NAMES.get(str(subject), str(subject))


def as_networks(networks: Any) -> tuple[Network, ...]:
    """Return several networks as a tuple.

    Raises:
        ProbeError: a single network is given, or something else than networks.
    """
    if isinstance(networks, Network):
        raise ProbeError(f"networks is the one network {networks.name!r} and must be several: give [network].")
    if not isinstance(networks, Iterable):
        raise ProbeError(f"networks must be several Network; this is a {type(networks).__name__}.")
    listed = tuple(networks)
    for network in listed:
        if not isinstance(network, Network):
            raise ProbeError(
                f"networks must be several Network; one of them is a {type(network).__name__}. "
                "Wrap a module: Network(name, subject, module)."
            )
    return listed


def measurement(
    question: str,
    metric: str,
    network: Network,
    value: float,
    *,
    layer: str = "",
    signal: str = "",
    units: str = "",
    step: int | None = None,
) -> dict[str, Any]:
    """Return one row of the table.

    Args:
        question: the question that measures.
        metric: what was measured.
        network: on which network.
        value: the number.
        layer: at which layer.
        signal: at which signal.
        units: at which units, such as `3`, or another subdivision that the metric defines.
        step: at which step, the first being 0.
    """
    return {
        "question": question,
        "metric": metric,
        "subject": network.subject,
        "network": network.name,
        "seed": network.seed,
        "layer": layer,
        "signal": str(signal),
        "units": units,
        "step": step,
        "value": float(value),
    }


def tabulate(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as one table with the fixed columns; seed and step are missing where they do not apply."""
    require("A table of measurements", "study", "pandas")
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return table.astype({"seed": "Int64", "step": "Int64", "value": float, "units": str})
