"""What the log may say of an error."""

from service.observability.logs import where_it_failed


def test_an_error_is_told_by_its_type_and_place_and_never_by_its_words():
    def broken():
        raise ValueError("Mueller^Hans, 19700101")

    try:
        broken()
    except ValueError as error:
        told = where_it_failed(error)
    assert told["error"] == "ValueError"
    assert "broken" in str(told["frames"])
    assert "Mueller" not in str(told)
