"""Limits of clients and of the machine, counted over several processes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from service.decoding.budget import FREE_BYTES, DecodingBudget
from service.errors import DecodingFullError
from service.sharing import clients
from service.sharing.clients import ClientCounts, ClientLimitError
from service.sharing.memory import WAYS, SharedMemory

MIB = 1 << 20


@pytest.fixture
def file(tmp_path):
    return tmp_path / "limits"


def taken(counts, client, per_minute, times):
    """How many of so many requests pass."""
    passed = 0
    for _ in range(times):
        try:
            counts.take(client, per_minute)
            passed += 1
        except ClientLimitError:
            pass
    return passed


def test_a_client_s_rate_is_one_for_all_processes(file, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(clients, "monotonic", lambda: now)
    one, other = (ClientCounts(SharedMemory(file)) for _ in range(2))
    assert taken(one, "key a", 10, 7) == 7
    assert taken(other, "key a", 10, 7) == 3
    assert taken(other, "key b", 10, 7) == 7
    with pytest.raises(ClientLimitError) as refused:
        one.take("key a", 10)
    assert refused.value.retry_after_s == 6
    now += 12
    assert taken(one, "key a", 10, 5) == 2  # of ten a minute
    now += 3600
    assert taken(other, "key a", 10, 20) == 10


def test_places_of_a_client_are_those_at_all_processes(file):
    one, other = (ClientCounts(SharedMemory(file)) for _ in range(2))
    with ExitStack() as places:
        for counts in (one, other, one):
            places.enter_context(counts.in_flight("key a", 3))
        with pytest.raises(ClientLimitError), other.in_flight("key a", 3):
            pass
        with other.in_flight("key b", 3):
            pass
    with other.in_flight("key a", 1):
        pass


def test_more_clients_than_there_is_room_for_forget_the_oldest_and_none_in_flight(monkeypatch):
    monkeypatch.setattr(clients, "SETS", 1)
    memory = SharedMemory(None)
    counts = ClientCounts(memory)
    with counts.in_flight("key kept", 1):
        for number in range(3 * WAYS):
            counts.take(f"address {number}", 10)
        with pytest.raises(ClientLimitError), counts.in_flight("key kept", 1):
            pass
        with ExitStack() as places:
            for number in range(WAYS + 2):  # those without a record are bounded by others alone
                places.enter_context(counts.in_flight(f"key {number}", 1))
    assert not memory.clients["active"].any()


def test_a_decoding_gives_way_to_an_older_one_of_another_process(file):
    one, other = (DecodingBudget(100 * MIB, SharedMemory(file)) for _ in range(2))
    older, newer = one.lease(), other.lease()
    older.take(60 * MIB)
    newer.take(40 * MIB)
    with pytest.raises(DecodingFullError):
        newer.take(41 * MIB)
    newer.release()
    small = other.lease()
    older.take(100 * MIB)
    small.take(FREE_BYTES)
    older.release()
    small.take(90 * MIB)
    assert one.used == 90 * MIB
    small.release()
    assert other.used == 0


TAKES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from service.decoding.budget import DecodingBudget
from service.sharing.clients import ClientCounts
from service.sharing.memory import SharedMemory
memory = SharedMemory(Path(sys.argv[1]))
DecodingBudget(100 << 20, memory).lease().take(100 << 20)
memory.uploads[memory.column] = 5
with memory.locked(), ClientCounts(memory).in_flight("key a", 1):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_held_is_free(file):
    memory = SharedMemory(file)
    subprocess.run([sys.executable, "-c", TAKES_AND_DIES, str(file)], check=False)
    assert memory.used.sum() == 100 * MIB
    DecodingBudget(100 * MIB, memory).lease().take(90 * MIB)
    with ClientCounts(memory).in_flight("key a", 1):
        assert memory.uploads.sum() == 0
    assert memory.processes == 1


ADDS = """
import sys
from pathlib import Path
from service.sharing.memory import SharedMemory
memory = SharedMemory(Path(sys.argv[1]))
for _ in range(3000):
    with memory.locked():
        memory.uploads[0] += 1
"""


def test_nothing_is_lost_between_threads_and_processes(file):
    memory = SharedMemory(file)

    def add(_) -> None:
        for _ in range(3000):
            with memory.locked():
                memory.uploads[0] += 1

    def run(_) -> None:
        subprocess.run([sys.executable, "-c", ADDS, str(file)], check=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda do: do(None), [add, run, add, run]))
    assert memory.uploads[0] == 12_000


def test_a_client_s_name_is_not_written_down(file):
    counts = ClientCounts(SharedMemory(file))
    counts.take("address 192.0.2.77", 10)
    content = file.read_bytes()
    assert b"192.0.2.77" not in content
    assert file.stat().st_mode & 0o077 == 0
    assert np.frombuffer(content, np.uint8).any()
