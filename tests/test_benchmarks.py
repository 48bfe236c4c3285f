import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
ROOMS = {file.stem for file in SCRIPTS} & {"training", "service", "data", "seg"}


def first(tree, wanted):
    return next((i for i, statement in enumerate(tree.body) if wanted(statement)), None)


def imports_a_room_of_that_name(statement):
    return isinstance(statement, ast.ImportFrom) and statement.module.split(".")[0] in ROOMS


def puts_the_root_first(statement):
    return ast.unparse(statement).startswith(("sys.path.insert(0,", "sys.path[0] ="))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_benchmark_finds_the_room_and_not_the_benchmark_of_the_same_name(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imported, prepared = (
        first(tree, each) for each in (imports_a_room_of_that_name, puts_the_root_first)
    )
    assert imported is None or (prepared is not None and prepared < imported)


# one without options is a part that another starts
COMMANDS = [file for file in SCRIPTS if "ArgumentParser" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("script", COMMANDS, ids=lambda script: script.name)
def test_a_benchmark_stands_in_the_table_and_writes_its_result_in_the_common_way(script):
    text = script.read_text(encoding="utf-8")
    assert f"benchmarks/{script.name}" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.search(r"from (benchmarks\.)?result import .*\b(report|write)\b", text)
    assert "json.dumps(result" not in text
