import csv
import io

import pytest

from seg.tables.comma_separated import as_cell, csv_text, from_cell, read_csv

FORMULAS = ["=1+1", "+dead", "-1uM_B03", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "-", "'=1"]
TEXTS = ["", "B03", "a=b", "'", "'quoted'", "don't", " =1", "1-2"]
NUMBERS = ["-1", "-1.5e-3", "+2", "-inf"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_begins_like_a_formula_is_marked_and_read_back(text):
    assert as_cell(text) == f"'{text}"
    assert from_cell(as_cell(text)) == text


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, -1, -1.5, None])
def test_other_texts_and_numbers_stay_as_they_are(value):
    assert as_cell(value) == value
    assert from_cell(str(value)) == str(value)


def test_no_cell_of_a_table_begins_like_a_formula_and_rows_come_back():
    columns = ["case", "=head", "value"]
    rows = [{"case": text, "=head": text, "value": "-3.5"} for text in (*FORMULAS, *TEXTS)]
    text = csv_text(columns, rows)
    cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
    assert not [cell for cell in cells if cell[:1] in tuple("=+@\t\r\n") or cell[:2] == "-1"]
    assert list(read_csv(io.StringIO(text, newline=""))) == rows


def test_a_column_that_the_head_lacks_is_a_mistake():
    with pytest.raises(ValueError, match="no columns b"):
        csv_text(["a"], [{"b": 1}])
