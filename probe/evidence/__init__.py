"""The table of measurements, intervals over networks, rules and their verdicts, findings as folders."""

from .claims import Claim, Control, Range, Rule, judge
from .findings import DataFigure
from .measurements import Network, measurement

__all__ = ["Claim", "Control", "DataFigure", "Network", "Range", "Rule", "judge", "measurement"]
