"""Our own studies, a folder each: `python -m analyses counter` or `flipflop`. Not part of the wheel."""

#: Each has `command.run`, which takes the words of a command line, and `report.report`, which builds its page.
STUDIES = ("counter", "flipflop")
