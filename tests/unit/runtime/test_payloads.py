"""Large outputs in the payload folder."""

import errno
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InternalError
from engine.items import FileRef, Groups, Items, Lineage
from engine.runtime.data.payloads import PayloadRef, Payloads
from tests.support.drawn import typed
from tests.support.stored import all_of, stored_items

TABLE = [{"n": number, "name": f"name {number}"} for number in range(20_000)]
UNEVEN = [{"n": number, "tags": ["a"] * (number % 3)} if number % 2 else {"n": 10**20} for number in range(3_500)]
KINDS = {"table": TABLE, "rows": UNEVEN}
each_kind = pytest.mark.parametrize("rows", KINDS.values(), ids=KINDS)


@pytest.fixture
def payloads(tmp_path):
    return Payloads(tmp_path / "payloads")


def names(payloads: Payloads) -> set[str]:
    return {path.name for path in payloads.folder.iterdir()}


@settings(max_examples=150, deadline=None)
@given(stored_items())
def test_an_output_comes_back_with_its_values_lineage_and_files(items):
    with TemporaryDirectory() as folder:
        payloads = Payloads(Path(folder))
        assert all_of(payloads.load(payloads.save(items))) == all_of(items)


@settings(max_examples=60, deadline=None)
@given(stored_items(), st.integers(-2, 7), st.integers(-2, 7))
def test_a_range_of_rows_is_what_a_slice_would_be(items, start, stop):
    with TemporaryDirectory() as folder:
        payloads = Payloads(Path(folder))
        expected = items.rows[max(start, 0) : max(stop, 0)]
        assert typed(payloads.rows(payloads.save(items), start, stop)) == typed(expected)


@each_kind
@pytest.mark.parametrize(("start", "stop"), [(0, 50), (990, 1_010), (3_400, 9_999), (0, 10**9), (7, 7), (9, 3)])
def test_rows_are_read_over_the_bounds_of_the_parts_of_a_file(payloads, rows, start, stop):
    ref = payloads.save(Items(rows))
    assert payloads.rows(ref, start, stop) == rows[start:stop]


@each_kind
def test_rows_are_taken_from_any_places(payloads, rows):
    ref = payloads.save(Items(rows))
    places = [3_499, 0, 1_000, 999, 0]
    assert payloads.take(ref, places) == [rows[place] for place in places]


def test_a_table_stays_a_table_and_other_rows_stay_rows(payloads):
    table, rows = payloads.save(Items(TABLE)), payloads.save(Items(UNEVEN))
    assert (table.form, table.count, payloads.load(table).is_table) == ("arrow", 20_000, True)
    assert (rows.form, rows.count, payloads.load(rows).is_table) == ("ndjson", 3_500, False)
    assert table.size_bytes == payloads.path_of(table.hash).stat().st_size


def test_a_table_of_many_pieces_is_paged_rightly(payloads):
    pieces = pa.concat_tables([pa.table({"n": list(range(low, low + 700))}) for low in range(0, 14_000, 700)])
    ref = payloads.save(Items(table=pieces.slice(350, 13_000)))
    assert payloads.rows(ref, 8_180, 8_200) == [{"n": number} for number in range(8_530, 8_550)]


def test_large_rows_make_small_batches(payloads):
    rows = [{"text": str(number) * 200_000} for number in range(200)]
    ref = payloads.save(Items(rows))
    began = time.perf_counter()
    assert payloads.rows(ref, 150, 151) == rows[150:151]
    assert time.perf_counter() - began < 0.5
    assert payloads.load(ref) == Items(rows)


LONG = 200_000
LINEAGES = {
    "one": list(reversed(range(LONG))),
    "none": [-1] * LONG,
    "several": [(i, i + 1) if i % 2 else () for i in range(LONG)],
    "groups": Groups([i % 7 - 1 for i in range(LONG)]),
    "array": np.arange(LONG) * 1_000_003,
}


@pytest.mark.parametrize("source", LINEAGES.values(), ids=LINEAGES)
def test_a_long_lineage_is_kept_compactly(payloads, source):
    items = Items(table=pa.table({"n": list(range(LONG))}), lineage=Lineage({"main": source, "other": None}))
    ref = payloads.save(items)
    assert isinstance(ref.origins, str)
    assert payloads.path_of(ref.origins).stat().st_size < LONG / 2
    found = payloads.load(ref).lineage
    assert all(found.of(index) == items.lineage.of(index) for index in range(LONG))


def test_a_ref_survives_as_json_and_names_all_its_files(payloads):
    photo = {"photo": FileRef("k1", "ada.png", "image/png", 3)}
    small, large = Items([{"n": 1}], files=[photo]), Items(TABLE, files=[photo] * len(TABLE))
    for items in (small, large):
        ref = PayloadRef.from_json(payloads.save(items).as_json())
        assert payloads.load(ref) == items
        assert all(payloads.exists(digest) for digest in ref.hashes)
    assert len(payloads.save(small).hashes) == 1
    assert len(payloads.save(large).hashes) == 2


def test_the_same_content_is_kept_once_wherever_it_came_from(payloads):
    first = payloads.save(Items(TABLE, lineage=Lineage({"main": None})))
    second = payloads.save(Items(TABLE))
    assert first.hash == second.hash
    assert names(payloads) == {first.hash}


def test_saving_again_makes_a_payload_young(payloads):
    ref = payloads.save(Items(TABLE))
    os.utime(payloads.path_of(ref.hash), (1_000, 1_000))
    payloads.save(Items(TABLE))
    (stored,) = payloads.all()
    assert stored.hash == ref.hash
    assert stored.size_bytes == ref.size_bytes
    assert time.time() - stored.modified_at_s < 60


def test_many_writers_of_the_same_content_agree(payloads):
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda _: payloads.save(Items(UNEVEN)), range(24)))
    assert len({ref.hash for ref in refs}) == 1
    assert names(payloads) == {refs[0].hash}
    assert payloads.load(refs[0]) == Items(UNEVEN)


@contextmanager
def files_of_at_most(size_bytes: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@each_kind
def test_a_failed_write_says_so_and_leaves_nothing(payloads, rows):
    with files_of_at_most(512), pytest.raises(InternalError, match=r"could not be written.*too large"):
        payloads.save(Items(rows))
    assert names(payloads) == set()
    assert payloads.load(payloads.save(Items(rows))) == Items(rows)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_by_its_name(payloads, monkeypatch, number):
    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InternalError, match="the disk is full") as caught:
        payloads.save(Items(TABLE))
    assert "Make room" in caught.value.hint
    assert names(payloads) == set()


WRITER = """
import sys
from pathlib import Path
from engine.items import Items
from engine.runtime.data.payloads import Payloads
payloads = Payloads(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**9):
    payloads.save(Items([{"text": "x" * 2_000, "n": number, "m": [row]} for row in range(3_000)]))
"""


def test_a_killed_writer_leaves_no_half_payload(payloads):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(payloads.folder)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline()
        while len(list(payloads.all())) < 3:
            time.sleep(0.005)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    for stored in payloads.all():
        ref = PayloadRef(stored.hash, "ndjson", 3_000, stored.size_bytes, {"lineage": None, "files": None})
        assert len(payloads.load(ref)) == 3_000
    payloads.sweep(older_than_s=0)
    assert names(payloads) == {stored.hash for stored in payloads.all()}


def test_what_a_writer_at_work_has_begun_is_not_swept(payloads):
    begun = payloads.folder / ".writing-abc"
    begun.write_bytes(b"half")
    assert payloads.sweep() == 0
    os.utime(begun, (1_000, 1_000))
    assert payloads.sweep() == 1
    assert not begun.exists()


@each_kind
def test_a_payload_that_is_gone_says_what_to_do(payloads, rows):
    ref = payloads.save(Items(rows))
    payloads.save_beside(ref.hash, "profile", b"{}")
    assert payloads.beside(ref.hash, "profile") == b"{}"
    payloads.delete(ref.hash)
    payloads.delete(ref.hash)
    assert names(payloads) == set()
    assert not payloads.exists(ref.hash)
    for read in (lambda: payloads.load(ref), lambda: payloads.rows(ref, 0, 9), lambda: payloads.take(ref, [0])):
        with pytest.raises(InternalError, match="not there any more") as caught:
            read()
        assert "Run the node again" in caught.value.hint


@each_kind
@pytest.mark.parametrize("kept", [0, 5, 3_000])
def test_a_damaged_payload_is_an_error_of_ours(payloads, rows, kept):
    ref = payloads.save(Items(rows))
    path = payloads.path_of(ref.hash)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InternalError, match="cannot be read"):
        payloads.load(ref)


def test_rows_can_be_read_without_this_program(payloads):
    ref = payloads.save(Items(UNEVEN))
    with payloads.path_of(ref.hash).open("rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    assert text.count(b"\n") == len(UNEVEN)
