"""Forms whose parts are small, many, or too many for the memory of a service."""

import gc

import anyio
import pytest
from starlette.requests import Request

from service.problems.response import Problem
from service.requests import open_files
from service.requests.forms import MAX_FILES, whole_form
from service.requests.open_files import OPEN_FILES
from service.requests.uploads import Uploads


def request_of(*parts: tuple[str, bytes]) -> Request:
    """A form: a line of headers and content each, in blocks as they come over a network."""
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), content)
        for head, content in parts
    )
    body += b"--b--\r\n"
    blocks = [body[start : start + 65536] for start in range(0, len(body), 65536)]

    async def receive():
        block = blocks.pop(0)
        return {"type": "http.request", "body": block, "more_body": bool(blocks)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


FILE, TEXT = 'name="image"; filename="a"', 'name="text"'


def taken(*parts: tuple[str, bytes], **limits):
    """What of a form lies in memory, and its content."""

    async def take():
        async with whole_form(request_of(*parts), **limits) as form:
            files = [part.file for _, part in form.multi_items() if not isinstance(part, str)]
            kept = sum(file.seek(0, 2) for file in files if not file._rolled)
            for file in files:
                file.seek(0)
            return kept, [file.read() for file in files]

    return anyio.run(take)


def test_files_of_a_form_share_the_memory_that_one_may_have():
    content = [bytes([number]) * 400_000 for number in range(6)]
    kept, read = taken(*((FILE, each) for each in content))
    assert read == content
    assert kept == 800_000


def test_fields_of_a_form_share_the_length_that_one_may_have():
    with pytest.raises(Problem, match="together") as raised:
        taken(*((TEXT, bytes(30_000)) for _ in range(40)))
    assert raised.value.status_code == 413


def test_forms_together_have_so_many_files_and_give_them_back(monkeypatch):
    monkeypatch.setattr(open_files, "SHARE", 1 << 40)
    with pytest.raises(Problem, match="too many files") as raised:
        taken((FILE, b"a"))
    assert raised.value.status_code == 503
    monkeypatch.undo()
    for _ in range(3):
        assert taken(*[(FILE, b"a")] * MAX_FILES)[1] == [b"a"] * MAX_FILES
    assert OPEN_FILES.count == 0


def test_others_have_their_turn_while_many_small_parts_are_read():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await anyio.sleep(0)
            turns += 1

    async def both():
        async with anyio.create_task_group() as group:
            group.start_soon(others)
            async with whole_form(request_of(*[(FILE, b"a")] * 5000), most_files=5000):
                group.cancel_scope.cancel()

    anyio.run(both)
    assert turns > 100


@pytest.mark.parametrize("kind", [b"", b"image/png", b"multipart/related; boundary=b"])
def test_what_does_not_say_that_it_is_a_form_is_told_to_be_one(kind):
    request = request_of((FILE, b"x"))
    headers = [(b"content-type", kind)] if kind else []

    async def take():
        async with whole_form(Request({**request.scope, "headers": headers}, request.receive)):
            pass

    with pytest.raises(Problem, match="multipart/form-data") as raised:
        anyio.run(take)
    assert raised.value.status_code == 415


@pytest.mark.parametrize(
    "body", [b"--b\r\n\r\nhalf an instance", b"--b\r\n\r\nx\r\n--b\r\n\r\n", b"--c"]
)
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_related_body_that_is_cut_off_leaves_nothing_to_say_in_the_log(body):
    request = request_of((FILE, b"x"))
    headers = [(b"content-type", b"multipart/related; boundary=b")]

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def take():
        uploads = Uploads(None, 1, 1)
        async with uploads.images_of(Request({**request.scope, "headers": headers}, receive)):
            pass

    with pytest.raises(Problem, match="boundary"):
        anyio.run(take)
    gc.collect()
