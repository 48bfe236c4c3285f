import ast
from pathlib import Path

import seg
from seg.version import version_of

ROOT = Path(seg.__file__).parents[1]


def asks_for_versions(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "importlib.metadata"
        for node in ast.walk(tree)
    )


def test_what_is_not_installed_has_an_unknown_version():
    assert version_of("seg-that-nobody-installed") == "unknown"


def test_what_a_bento_carries_asks_for_versions_where_it_may_not_be_installed():
    files = [*ROOT.glob("seg/**/*.py"), *ROOT.glob("service/**/*.py")]
    assert [str(f.relative_to(ROOT)) for f in files if asks_for_versions(f)] == ["seg/version.py"]
