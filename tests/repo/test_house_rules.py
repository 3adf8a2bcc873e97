"""The rules of the house that ruff does not know, kept by reading the code: imports, sizes, texts, links."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import probe

ROOT = Path(__file__).resolve().parents[2]
#: What each package may import of the others; `reports` builds pages from folders and recomputes nothing.
MAY_IMPORT = {"probe": set(), "models": {"probe"}, "analyses": {"probe", "models", "reports"}, "reports": {"probe"}}
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
            yield str(getattr(node.args[0], "value", "")).split(".")[0]


def bare_comparisons(tree: ast.AST) -> list[int]:
    """Return the lines on which a function of a comparison is called and what it says is dropped."""
    calls = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return [call.lineno for call in calls if COMPARISONS.match(ast.unparse(call.func).rpartition(".")[2])]


def sizes(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Yield the name, length and allowed length of each function and class."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            assert node.end_lineno is not None
            limit = 250 if isinstance(node, ast.ClassDef) else 60
            yield node.name, node.end_lineno - node.lineno + 1, limit


def lost_texts(tree: ast.AST) -> list[int]:
    """Return the lines of texts that stand alone and are no docstring: the end of a sentence without its brackets."""
    named = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0]) for node in ast.walk(tree) if isinstance(node, named) and node.body}
    alone = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and id(node) not in docs]
    texts = [one for one in alone if isinstance(one.value, ast.Constant | ast.JoinedStr)]
    return [one.lineno for one in texts if getattr(one.value, "value", "") is not Ellipsis]


def test_code_keeps_the_rules() -> None:
    """Imports follow the arrows; functions fit a screen of 60 lines, classes take up to 250; no half sentence."""
    assert lost_texts(ast.parse('"""Words."""\nx = "half a "\nf"sentence {x}"')) == [3]
    for path in sources(*MAY_IMPORT, "benchmarks", "tests"):
        assert lost_texts(parsed(path)) == [], path
        assert [(name, size) for name, size, limit in sizes(parsed(path)) if size > limit] == [], path
        package = path.relative_to(ROOT).parts[0]
        if package in MAY_IMPORT:
            forbidden = {*MAY_IMPORT, "tests", "benchmarks"} - MAY_IMPORT[package] - {package}
            assert forbidden & set(imported(parsed(path))) == set(), path


def test_tests_keep_the_rules() -> None:
    """A comparison without `assert` always passes; a row of messages.txt is found by the name of its test alone."""
    names = Counter[str]()
    for path in sources("tests"):
        assert bare_comparisons(parsed(path)) == [], path
        names.update(node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef))
    rows = (ROOT / "tests" / "helpers" / "messages.txt").read_text().splitlines()
    tests = {row.split(" ", 3)[3].partition("[")[0] for row in rows if row.startswith("  ")}
    assert {name: names[name] for name in tests if names[name] != 1} == {}


def test_a_subject_is_one_that_the_hook_lets_pass() -> None:
    """Also that of the last commit: `area: imperative, at most 72 letters`."""
    (rule,) = re.findall(r"entry: '(.*)'", (ROOT / ".pre-commit-config.yaml").read_text())
    command = ["git", "log", "-1", "--no-merges", "--format=%B"]
    last = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tried = [last, "a, b: c\n", "a: " + "b" * 69, "a: " + "b" * 70, "A: b", "a:b", "merge\n\na: b"]
    assert [bool(re.search(rule, text)) for text in tried] == [True] * 3 + [False] * 4


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


def test_what_pages_name_exists() -> None:
    """A relative link leads to a file or folder of the checkout; what README and docs/ call `probe.NAME` is there."""
    for page in tracked(".md"):
        text = page.read_text()
        targets = ["".join(groups) for groups in LINK.findall(text)]
        local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
        assert [target for target in local if not (page.parent / target).exists()] == [], page
        if page == ROOT / "README.md" or page.is_relative_to(ROOT / "docs"):
            used = set(re.findall(r"\bprobe\.([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?", text))
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


#: Names that begin with an underscore and are documented.
DOCUMENTED = {"_replace", "_fields", "_name_", "_value_", "_getframe", "_current_frames", "_exit"}


def private(*trees: ast.AST) -> set[str]:
    """Return the names with an underscore that code reads of others' values and modules; dunder names are not."""
    own, read = {*DOCUMENTED}, set[str]()
    for nodes in (list(ast.walk(tree)) for tree in trees):
        relative = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
        ours = {alias.asname or alias.name for node in relative for alias in node.names}
        for node in nodes:
            match node:
                case ast.ClassDef():
                    own.update(re.findall(r"^    (?:def )?(_\w+)", ast.unparse(node), re.MULTILINE))
                case ast.Attribute(ast.Name("self" | "cls"), name):
                    own |= {name} if isinstance(node.ctx, ast.Store) else set()
                case ast.Attribute(base, name) if ast.unparse(base) not in ours:
                    read.add(name)
                case ast.Import(names) | ast.ImportFrom(names=names, level=0):
                    parts = [getattr(node, "module", ""), *(alias.name for alias in names)]
                    read.update(".".join(parts).split("."))
                case ast.Constant(str(text)) if text.startswith("torch._dynamo"):
                    read.add("_dynamo")
    return {name for name in read - own if re.match(r"_[^_]", name)}


def test_private_parts_of_other_packages_are_listed() -> None:
    """What may move with any of their versions has a row that says what happens then, and nothing else has."""
    rows = (ROOT / "tests" / "repo" / "private_parts.txt").read_text().splitlines()
    assert private(*map(parsed, sources("probe"))) == {row.split()[0] for row in rows[2:] if row.split()[2:]}


IMPORTS = (
    "import models.train as m\ndef f():\n    from analyses import a\nimport_module('reports.b')\nfrom . import x"
)
PRIVATE = "from ._a import _b\nimport c._d\nclass A:\n    _e = 1\nself._f = _b._g, x._e, x._f, x._h, x._replace"
COMPARED = "torch.allclose(a, b)\nassert torch.allclose(a, b)\nsame = np.array_equal(a, b)\na.equals(b)"


def test_each_rule_would_notice() -> None:
    """The control arm: what breaks a rule is found, and what only looks like it is not."""
    assert set(imported(ast.parse(IMPORTS))) == {"models", "reports", "analyses"}
    assert [size for _, size, _ in sizes(ast.parse("def f():\n" + "    x = 1\n" * 60))] == [61]
    assert flaws("open('/tm" + "p/x') # TO" + "DO; a/tm" + "p/b; todos") == ["/tm" + "p/x", "TO" + "DO"]
    assert [documented("evidence", name) for name in ("Rul", "Rule")] == [False, True]
    assert bare_comparisons(ast.parse(COMPARED)) == [1, 4]
    assert private(ast.parse(PRIVATE)) == {"_d", "_h"}
