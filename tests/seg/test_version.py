import ast
import re
import tomllib
from pathlib import Path

import seg
from seg.version import VERSION, version_of

ROOT = Path(seg.__file__).parents[1]


def asks_for_versions(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "importlib.metadata"
        and any(alias.name == "version" for alias in node.names)
        for node in ast.walk(tree)
    )


def test_what_is_not_installed_has_an_unknown_version():
    assert version_of("seg-that-nobody-installed") == "unknown"


def test_the_version_is_told_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "seg.version.VERSION"
    assert f"version: {VERSION}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_no_document_installs_the_distribution_of_somebody_else():
    files = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[bdst]*/**/*.py")}
    files.remove(Path(__file__))
    strangers = re.compile(r"(?<![\w-])seg\[\w+\]|pip install seg\b")
    assert [f.name for f in files if strangers.search(f.read_text(encoding="utf-8"))] == []


def test_what_a_bento_carries_asks_for_versions_where_it_may_not_be_installed():
    files = [*ROOT.glob("seg/**/*.py"), *ROOT.glob("service/**/*.py")]
    assert [str(f.relative_to(ROOT)) for f in files if asks_for_versions(f)] == ["seg/version.py"]
