"""The rules of the house, kept by reading the code: imports, sizes, comparisons, docstrings, texts, links."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import probe

ROOT = Path(__file__).resolve().parents[2]
#: What each package may import of the others; `reports` builds pages from folders and recomputes nothing.
MAY_IMPORT = {
    "probe": set(),
    "models": {"probe"},
    "analyses": {"probe", "models", "reports"},
    "reports": {"probe"},
}
COMPARISONS = re.compile(r"^(all_?close|is_?close|equal|array_equal|array_equiv|eq|frame_equal|identical|equals)$")


@functools.cache
def tracked(ending: str = "") -> tuple[Path, ...]:
    """Return the files that git knows, or would add, with that ending."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = (ROOT / name for name in listed.split("\0") if name.endswith(ending))
    return tuple(sorted(file for file in files if file.is_file()))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def sources(*folders: str) -> list[Path]:
    """Return the Python files below folders of the repository."""
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in folders]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level package of every absolute import, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value.split(".")[0]


def bare_comparisons(tree: ast.AST) -> list[int]:
    """Return the lines on which a comparison is computed and then dropped."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr):
            continue
        value = node.value
        name = ""
        if isinstance(value, ast.Call):
            name = value.func.attr if isinstance(value.func, ast.Attribute) else ast.unparse(value.func)
        if isinstance(value, (ast.Compare, ast.BoolOp)) or COMPARISONS.match(name):
            lines.append(node.lineno)
    return lines


def sizes(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Yield the name, length and allowed length of each function and class."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            assert node.end_lineno is not None
            limit = 250 if isinstance(node, ast.ClassDef) else 60
            yield node.name, node.end_lineno - node.lineno + 1, limit


def test_imports_follow_the_arrows() -> None:
    """Models may import probe, analyses all of them, reports probe only, and probe none of them."""
    for package, may in MAY_IMPORT.items():
        forbidden = {*MAY_IMPORT, "tests", "benchmarks"} - may - {package}
        assert [path for path in sources(package) if forbidden & set(imported(parsed(path)))] == []


def test_files_functions_and_classes_are_small() -> None:
    """Files up to 400 lines, functions up to 60, classes up to 250."""
    for path in sources(*MAY_IMPORT, "benchmarks", "tests"):
        assert len(path.read_text().splitlines()) <= 400, path
        assert [(name, size) for name, size, limit in sizes(parsed(path)) if size > limit] == [], path


def prints_or_asserts(node: ast.AST) -> bool:
    """Return whether a node of code is one of these."""
    name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return isinstance(node, ast.Assert) or name in ("print", "pprint.pprint")


def test_the_library_neither_prints_nor_asserts() -> None:
    """Results are returned and input errors raised: `assert` vanishes under -O, and print cannot be silenced."""
    assert [path for path in sources("probe") if any(map(prints_or_asserts, ast.walk(parsed(path))))] == []


def unencoded(tree: ast.Module) -> list[int]:
    """Return the lines that open a text file without saying its encoding."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        if "'/proc/" in ast.dump(node.func):  # which the system writes
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        builtin = name == "open" and isinstance(node.func, ast.Name) and not any("b" in mode for mode in modes[-1:])
        if name in ("read_text", "write_text") or builtin:
            found.append(node.lineno)
    return found


def test_text_files_are_opened_with_their_encoding() -> None:
    """Without one a file is another one where the locale is not UTF-8: a finding could not be read back."""
    assert {str(file): unencoded(parsed(file)) for file in sources(*MAY_IMPORT) if unencoded(parsed(file))} == {}


def test_every_test_says_what_it_tests_and_asserts_its_comparisons() -> None:
    """Each has a docstring that is a sentence; a comparison without `assert` always passes."""
    for path in sources("tests"):
        assert bare_comparisons(parsed(path)) == [], path
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = (ast.get_docstring(node) or "").split("\n\n")[0].strip()
                assert re.search(r"[.?!:]\W*$", said), f"{path}: {node.name}"


def test_every_row_of_messages_is_of_one_test() -> None:
    """A row is found by the name of its test, in whatever file: there is one of that name."""
    rows = (ROOT / "tests" / "helpers" / "messages.txt").read_text().splitlines()
    tests = {row.partition("[")[0] for row in rows if not row.startswith("  ")}
    found = Counter(
        node.name for path in sources("tests") for node in parsed(path).body if isinstance(node, ast.FunctionDef)
    )
    assert {name: found[name] for name in tests if found[name] != 1} == {}


def test_every_module_can_be_imported_and_none_hides_another() -> None:
    """`probe.name` is a function or a module, and no package of tests hides one of ours."""
    names = [module.name for module in pkgutil.walk_packages(probe.__path__, "probe.")]
    assert len(names) > 15
    for name in names:
        assert importlib.import_module(name).__name__ == name
    assert {name.partition(".")[2] for name in names} & set(probe.__all__) == set()
    assert [path for path in tracked("__init__.py") if path.relative_to(ROOT).parts[0] == "tests"] == []


# Spelt in pieces, so that this file does not find itself.
MACHINE = re.compile(r"(?<![\w.-])/(?:wor" + r"k|tm" + r"p|home/\w+|roo" + r"t)/\w")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
TEXT = {".py", ".md", ".toml", ".ini", ".json", ".yml", ".yaml", ".js", ".mjs", ".css", ".html", ".cfg", "", ".j2"}
TEXT |= {".txt"}


def flaws(text: str) -> list[str]:
    """Return paths of a machine and marks of unfinished work in a text."""
    return [match.group() for pattern in (MACHINE, UNFINISHED) for match in pattern.finditer(text)]


def test_texts_name_no_machine_and_no_unfinished_work() -> None:
    """A path of one machine means nothing on another, and what is unfinished belongs on a list of issues."""
    texts = [path for path in tracked() if path.suffix in TEXT and path.name != "package-lock.json"]
    assert [path for path in texts if flaws(path.read_text(errors="ignore"))] == []


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def test_relative_links_exist() -> None:
    """Every relative link of a page leads to a file or folder of the checkout."""
    for page in tracked(".md"):
        targets = ["".join(groups) for groups in LINK.findall(page.read_text())]
        local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
        assert [target for target in local if not (page.parent / target).exists()] == [], page


def test_documented_names_exist() -> None:
    """A name written `probe.NAME` or `probe.package.NAME` is public, or a module."""
    for page in [ROOT / "README.md", *(page for page in tracked(".md") if page.is_relative_to(ROOT / "docs"))]:
        used = set(re.findall(r"\bprobe\.([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?", page.read_text()))
        assert {pair for pair in used if not documented(*pair)} == set(), page


def documented(name: str, inner: str) -> bool:
    """Return whether `probe.name` is public or a module, and `inner`, if there is one, is what it has."""
    modules = {module.name for module in pkgutil.iter_modules(probe.__path__)}
    if name not in modules | set(probe.__all__):
        return False
    if not inner:
        return True
    one = importlib.import_module(f"probe.{name}") if name in modules else getattr(probe, name)
    return hasattr(one, inner) or importlib.util.find_spec(f"probe.{name}.{inner}") is not None


IMPORTS = (
    "import models.train as m\ndef f():\n    from analyses import a\nimport_module('reports.b')\nfrom . import x"
)
OPENED = "a.read_text()\na.write_text('x', encoding='utf-8')\nopen('a', 'rb')\nopen('a', 'w')\n"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (lambda: set(imported(ast.parse(IMPORTS))), {"models", "reports", "analyses"}),
        (lambda: [size for _, size, _ in sizes(ast.parse("def f():\n" + "    x = 1\n" * 60))], [61]),
        (lambda: unencoded(ast.parse(OPENED)), [1, 4]),
        (lambda: flaws("open('/tm" + "p/x') # TO" + "DO"), ["/tm" + "p/x", "TO" + "DO"]),
        (lambda: flaws("https://example.org/wor" + "k/x and a/tm" + "p/b; todos"), []),
        (lambda: [documented("Rule", ""), documented("evidence", "Rul")], [False, False]),
        (lambda: [documented("evidence", "Rule"), documented("Edit", "from_json")], [True, True]),
        (lambda: bare_comparisons(ast.parse("torch.allclose(a, b)")), [1]),
        (lambda: bare_comparisons(ast.parse("torch.equal(a, b) and a < b\na == b\na.equals(b)")), [1, 2, 3]),
        (lambda: bare_comparisons(ast.parse("assert torch.allclose(a, b)\nsame = np.array_equal(a, b)")), []),
    ],
)
def test_each_rule_would_notice(found: Callable[[], object], wanted: object) -> None:
    """The control arm: what breaks a rule is found, and what only looks like it is not."""
    assert found() == wanted
