import csv

import pytest

from seg.errors import ConfigError
from seg.predict.long_table import LongTable
from seg.predict.tables import Table

both_kinds = pytest.mark.parametrize("kind", [Table, LongTable])


def rows_of(path):
    return list(csv.DictReader(path.open(newline="")))


@both_kinds
def test_rows_of_an_earlier_run_stay_until_their_case_is_done_again(kind, tmp_path):
    first = kind(tmp_path / "t.csv")
    first.put("b", [{"volume": 1.5}, {"volume": 2.5}])
    first.put("a", [{"volume": 3.0, "note": 'says "no", twice'}])
    first.save()
    second = kind(tmp_path / "t.csv")
    assert len(list(second.rows_of("a"))) == 1
    assert not list(second.rows_of("c"))
    second.put("b", [{"volume": 9}])
    second.save()
    assert rows_of(tmp_path / "t.csv") == [
        {"case": "a", "note": 'says "no", twice', "volume": "3.0"},
        {"case": "b", "note": "", "volume": "9"},
    ]


@pytest.mark.parametrize("content", [b"x,y\n1,2\n", b"\xff\xfe\x00"])
@both_kinds
def test_another_file_of_that_name_is_not_overwritten(kind, tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.csv"):
        kind(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == content
