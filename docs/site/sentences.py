"""A page of all sentences that a refusal can say, read out of the sources.

Whoever looks for the words on their screen finds the kind of the error, and with it cause and cure
(troubleshooting.md). What a sentence fills in is shown as an ellipsis.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
ROOMS = ("seg", "training", "service", "data")
PAGE = "sentences.md"
FEWEST_WORDS = 3
"""Of its own that a sentence needs, to be known by."""
SHOWN = "…"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Sentences by kind, each with the room that says it."""
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, sentence, room in sentences():
        kinds[kind].setdefault(sentence, room)
    lines = [
        "# What a refusal can say",
        "",
        "Every sentence, by the kind of its error; search finds the one on your screen. Cause and",
        "cure of each kind: [troubleshooting](troubleshooting.md).",
    ]
    for kind in sorted(kinds):
        lines += ["", f"## {kind}", ""]
        lines += [f"- {_escaped(text)} (`{room}`)" for text, room in sorted(kinds[kind].items())]
    return "\n".join(lines) + "\n"


def sentences() -> Iterator[tuple[str, str, str]]:
    """Kind, sentence and module of every error that is raised with words of its own."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _kind(node).endswith("Error") and node.args:
                    text = _said(node.args[0])
                    if len(re.findall(r"[a-z]{2,}", text)) >= FEWEST_WORDS:
                        yield _kind(node), text, module


def _kind(call: ast.Call) -> str:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    return "" if name.startswith("_") else name


def _said(node: ast.expr) -> str:
    """The words of a text in the source, what is filled in as an ellipsis."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [_said(each) if isinstance(each, ast.Constant) else SHOWN for each in node.values]
        return re.sub(rf"({SHOWN}\s*)+", f"{SHOWN} ", "".join(parts)).strip()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _said(node.left) + _said(node.right)
    return ""


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
