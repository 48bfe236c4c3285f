"""The runner of documents' commands, on a page of its own."""

from pathlib import Path

import pytest

from tests.run_page import Run, blocks_of, pieces_of, run_page

ROOT = Path(__file__).parents[1]
PAGE = """
<!-- setup
export NAME=world
-->
<!-- given: FILE=said.txt -->
```bash
echo "hello $NAME" > FILE
test -f pyproject.toml
```

<!-- not run: needs a GPU -->
```bash
false
```

```bash
grep -q "hello world" said.txt
```

```bash
cat nowhere.txt
```
"""


def test_a_page_s_blocks_run_in_order_and_failures_are_told(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    outcome = run_page(page)
    assert (outcome.ran, outcome.left_out) == (2, 1)
    assert outcome.failed == ["page.md:21"]
    assert "needs a GPU" in capsys.readouterr().out


def test_port_words_and_minutes_are_replaced(tmp_path):
    run = Run(tmp_path, full=False)
    text = (
        "fit D --minutes 5; bentoml serve --port 3000; curl localhost:3000 127.0.0.1:3000 -p 13000"
    )
    assert run.as_run(text, [("D", "data")]) == (
        f"fit data --steps 12; bentoml serve --port {run.port}; "
        f"curl localhost:{run.port} 127.0.0.1:{run.port} -p 13000"
    )


def test_a_line_that_serves_stands_alone():
    pieces = list(pieces_of("a \\\n  b\nSEG_PACKAGE=p bentoml serve # x\nc\nd"))
    assert pieces == ["a \\\n  b", "SEG_PACKAGE=p bentoml serve # x", "c\nd"]


@pytest.mark.parametrize("document", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_what_is_not_run_says_why(document):
    for block in blocks_of(document.read_text(encoding="utf-8")):
        assert block.text.strip(), block.line
        assert block.hidden or block.why_not == "" or len(block.why_not) > 10, block.line
