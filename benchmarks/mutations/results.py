"""What goes wrong with results: verdicts, intervals, findings, names, the command line."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/claims.py",
        "test_claim_errors.py",
        ("claims: pairs with a control not counted", "        if len(pairs) < rule.needs:\n", "        if False:\n"),
        ("claims: any verdict is read", 'if content["verdict"] not in get_args(Verdict):', "if False:"),
    ),
    *mutations_of(
        "probe/claims.py",
        "test_claims.py",
        ("claims: interval over points", "    if len(set(keys)) != len(keys):\n", "    if False:\n"),
        (
            "claims: control difference unpaired",
            "[(value, others[seed]) for (_, seed), value in values.items() if seed in others]",
            "list(zip(values.values(), others.values()))",
        ),
        ("claims: level not corrected", "1 - 0.05 / max(size, 1)", "0.95"),
        ("claims: checks counted in the family", "sum(not rule.check for rule in listed)", "len(listed)"),
        ("claims: family ignored", "family if family is not None else", "None or"),
        ("claims: needs ignored", "    if len(numbers) < rule.needs:\n", "    if False:\n"),
        ("claims: decoration never", "if difference[0] <= control.margin:", "if False:"),
        (
            "claims: the median decides against controls",
            "difference[0] <= control.margin",
            "sum(difference) / 2 <= control.margin",
        ),
        ("claims: margin ignored", "difference[0] <= control.margin", "difference[0] <= 0"),
        ("claims: a missing control passes", "        if not pairs:\n", "        if False:\n"),
        (
            "claims: lower ignored",
            "return other - trained if control.lower else trained - other",
            "return trained - other",
        ),
        (
            "claims: median decides",
            "if not rule.established_if.covers(interval):",
            "if sum(interval) / 2 not in rule.established_if:",
        ),
        ("claims: never refuted", "if rule.refuted_if.covers(interval):", "if False:"),
        ("claims: a check passes with one failure", 'if failing else ("passed"', 'if failing > 1 else ("passed"'),
        ("claims: open end closed", "value > self.low if self.open_low else value >= self.low", "value >= self.low"),
        (
            "claims: open upper end closed",
            "value < self.high if self.open_high else value <= self.high",
            "value <= self.high",
        ),
        (
            "claims: one end covers",
            "return interval[0] in self and interval[1] in self",
            "return interval[0] in self or interval[1] in self",
        ),
        (
            "claims: share judged as median",
            'if rule.statistic == "share" else np.median(numbers)',
            "if False else np.median(numbers)",
        ),
        ("claims: digest not compared", "if rule.digest != digest:", "if False:"),
        (
            "claims: a gap of exactly the margin exceeds it",
            "gap > control.margin for gap in gaps",
            "gap >= control.margin for gap in gaps",
        ),
        (
            "claims: untrained networks among the trained",
            '(table["subject"] == subject)',
            '(table["value"] == table["value"])',
        ),
    ),
    *mutations_of(
        "probe/statistics.py",
        "test_statistics.py",
        ("statistics: mean for median", "p=0.5", "p=0.4"),
        ("statistics: level ignored", ".confidence_interval(level)", ".confidence_interval(0.95)"),
        ("statistics: level of a share ignored", "proportion_ci(level, method", "proportion_ci(0.95, method"),
        ("statistics: share by Wilson", 'method="exact"', 'method="wilson"'),
        ("statistics: infinite ends are kept", "return ends if np.isfinite(ends).all() else None", "return ends"),
    ),
    *mutations_of(
        "probe/findings.py",
        "test_findings.py",
        ("findings: full precision in tables", 'float_format="%.6g"', 'float_format="%.9g"'),
        ("findings: full precision in claims", 'float(f"{value:.6g}")', 'float(f"{value:.9g}")'),
        ("findings: rules are rounded", 'key: item if key == "rule" else _rounded(item)', "key: _rounded(item)"),
        ("findings: units read as numbers", '"units": str, ', ""),
        ("findings: notes forgotten", '"notes": dict(self.notes)', '"notes": {}'),
        (
            "findings: damage not named",
            "(OSError, ValueError, KeyError, TypeError) as error",
            "(OSError, ValueError, TypeError) as error",
        ),
    ),
    *mutations_of(
        "probe/files.py",
        "test_files.py",
        ("files: written in place", "os.replace(temporary, path)", "path.write_bytes(data)"),
        ("files: not flushed to disk", "            os.fsync(file.fileno())\n", ""),
        ("files: private mode", "        os.chmod(temporary, 0o666 & ~_umask())\n", ""),
        ("files: umask changed", "    os.umask(mask)\n", ""),
        ("files: temporary file left", "            os.unlink(temporary)", "            pass"),
    ),
    *mutations_of(
        "probe/signals.py",
        "test_signals.py",
        ("signals: indices wrap", "if not -size <= place < size:", "if False:"),
        ("signals: one place twice", "    if len(set(resolved)) != len(resolved):\n", "    if False:\n"),
        ("signals: negative indices refused", "if not -size <= place < size:", "if not 0 <= place < size:"),
        ("signals: allowed ignored", "members = tuple(allowed)", "members = tuple(Signal)"),
        ("signals: doubles accepted", "len(set(indices)) != len(indices)", "False"),
    ),
    *mutations_of(
        "probe/__init__.py",
        "test_import_is_light.py",
        (
            "import: torch at once",
            "from importlib import import_module\n",
            "from importlib import import_module\n\nimport torch\n",
        ),
        ("import: a name left out of __all__", '    "intervene",\n    "judge",', '    "judge",'),
    ),
    *mutations_of(
        "probe/cli.py",
        "test_cli.py",
        ("cli: failed work exits with 0", "        return FAILED\n", "        return 0\n"),
        ("cli: usage exits with 1", "        return USAGE\n", "        return FAILED\n"),
        ("cli: errors on stdout", 'sys.stderr.write("rnn-probe: "', 'sys.stdout.write("rnn-probe: "'),
    ),
)
