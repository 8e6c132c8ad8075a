"""The example plugins are as short as their pages say."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples/plugins").glob("rayllm-*"))
MOST = 100
"""Lines of code that an example may have."""
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def documentation(tree: ast.AST) -> Iterator[int]:
    """The lines of docstrings, those below a field among them."""
    for node in ast.walk(tree):
        for statement in node.body if isinstance(node, DOCUMENTED) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield from range(value.lineno, (value.end_lineno or value.lineno) + 1)


def lines_of_code(source: str) -> int:
    """Lines with code; blank ones, comments and docstrings aside."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for token in tokens if token.type not in NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    return len(code - set(documentation(ast.parse(source))))


def test_what_counts() -> None:
    """A statement on two lines is two, and a text in it is code."""
    documented = '"""It."""\n\n# why\nclass A:\n    """It\n\n    is."""\n\n'
    code = '    x = (  # this\n        1\n    )\n    """X."""\n\ny = """\na\n"""\n'
    assert (lines_of_code(documented), lines_of_code(documented + code)) == (1, 7)


@pytest.mark.parametrize("plugin", EXAMPLES, ids=lambda plugin: plugin.name)
def test_an_example_is_as_short_as_its_page_says(plugin: Path) -> None:
    """Short enough to be read through, all of its modules together."""
    count = sum(lines_of_code(file.read_text()) for file in plugin.glob("src/**/*.py"))
    assert 0 < count <= MOST
    claimed = re.search(r"(\d+) lines of\s+code", (plugin / "README.md").read_text())
    assert claimed
    assert int(claimed[1]) == count
