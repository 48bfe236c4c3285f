"""The rooms of the house: who imports whom, how full a folder is, one word for one thing."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("seg", "training", "service", "data")
MOST_FILES = 17
"""Python files of one folder that a reader takes in at a glance."""
DEFINED_TWICE: dict[str, str] = {}
"""Class names with two meanings, each with the reason why it stays."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*ROOMS)


def test_no_files_import_each_other_in_a_circle(graph):
    modules = graph.modules
    imports = {m: graph.find_modules_directly_imported_by(m) & modules for m in modules}
    assert circles(imports) == []


def test_a_circle_would_be_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_holds_more_files_than_a_reader_takes_in(room):
    held = Counter(f.parent for f in (ROOT / room).rglob("*.py") if f.name != "__init__.py")
    assert {str(f): n for f, n in held.items() if n > MOST_FILES} == {}


def test_no_room_of_training_imports_a_command(graph):
    commands = {f"training.{f.stem}" for f in (ROOT / "training").glob("[!_]*.py")}
    assert "training.fit" in commands
    users = {
        (user, command)
        for command in commands
        for user in graph.find_modules_that_directly_import(command)
        if user.count(".") > 1
    }
    assert users == set()


def test_a_class_name_means_one_thing():
    places = defaultdict(list)
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(file.relative_to(ROOT)))
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in DEFINED_TWICE} == {}


def test_every_room_says_what_it_is_for():
    for room in ROOMS:
        for file in (ROOT / room).rglob("__init__.py"):
            if file.parent.name != "static":
                assert ast.get_docstring(ast.parse(file.read_text())), file


def circles(imports):
    """Strongly connected modules, two and more. Source: Tarjan, SIAM J. Comput. 1 (1972)."""
    order, low, open_, found = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        open_.append(module)
        for other in imports.get(module, ()):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in open_:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            members = open_[open_.index(module) :]
            del open_[open_.index(module) :]
            if len(members) > 1:
                found.append(set(members))

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return found
