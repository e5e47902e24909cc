"""Where items came from and which files they carry, as JSON beside few items or as compact bytes for many."""

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from engine.convert import dumps, loads
from engine.items import NO_FILES, FileRef, Groups, Lineage
from engine.runtime.data.packed import compress, decompress

if TYPE_CHECKING:
    import numpy as np

Files = Sequence[Mapping[str, FileRef]] | None


def lineage_as_json(lineage: Lineage | None) -> Any:
    """null where it is lost; else input name -> null (the same items), indexes, lists of indexes, or `{"groups"}`."""
    if lineage is None:
        return None
    sources = lineage.sources
    for source in sources.values():
        if source is not None:
            return {name: _source_as_json(source) for name, source in sources.items()}
    return sources


def _source_as_json(source: Any) -> Any:
    if isinstance(source, Groups):
        return {"groups": list(source.codes)}
    return source if source is None or type(source) is list else list(source)


def lineage_from_json(data: Mapping[str, Any] | None) -> Lineage | None:
    """The lineage that `lineage_as_json` was given."""
    if data is None:
        return None
    for source in data.values():
        if source is not None:
            return Lineage({name: _source_from_json(source) for name, source in data.items()})
    return Lineage(data)


def _source_from_json(source: Any) -> Any:
    if type(source) is dict:
        return Groups(source["groups"])
    return source and [tuple(one) if type(one) is list else one for one in source]


def entries(lineage: Lineage | None) -> int:
    """How many indexes a lineage holds: its size, not that of its items."""
    count = 0
    for source in lineage.sources.values() if lineage is not None else ():
        if isinstance(source, Groups):
            count += len(source.codes)
        elif source is not None:
            several = len(source) > 0 and isinstance(source[0], tuple)
            count += sum(map(len, source)) if several else len(source)  # type: ignore[arg-type]
    return count


def files_as_json(files: Files) -> dict[str, Any] | None:
    """Index -> name -> key, name, media type, bytes, of the items that carry files; None where none does."""
    found = {
        str(index): {slot: [f.key, f.name, f.media_type, f.size_bytes] for slot, f in of_item.items()}
        for index, of_item in enumerate(files or ())
        if of_item
    }
    return found or None


def files_from_json(data: Mapping[str, Any] | None, count: int) -> Files:
    """The files of `count` items."""
    if not data:
        return None
    files: list[Mapping[str, FileRef]] = [NO_FILES] * count
    for index, of_item in data.items():
        files[int(index)] = {slot: FileRef(*parts) for slot, parts in of_item.items()}
    return files


def origins_as_bytes(lineage: Lineage | None, files: Files = None) -> bytes:
    """Both, compressed: indexes as differences in the narrowest integers that hold them."""
    arrays: list[Any] = []
    described = None if lineage is None else {name: _described(s, arrays) for name, s in lineage.sources.items()}
    narrow = [_narrow(one) for one in arrays]
    head = {
        "lineage": described,
        "files": files_as_json(files),
        "arrays": [[one.dtype.str, one.nbytes] for one in narrow],
    }
    # JSON has no line feeds of its own, so that the first one ends it.
    return compress(b"".join([dumps(head), b"\n", *(one.tobytes() for one in narrow)]))


def origins_from_bytes(data: bytes | memoryview, count: int) -> tuple[Lineage | None, Files]:
    """What `origins_as_bytes` was given, for `count` items. Many indexes come as an array of 64-bit integers."""
    raw = decompress(data)
    end = raw.index(b"\n")
    head = loads(raw[:end])
    start, arrays = end + 1, []
    for kind, size_bytes in head["arrays"]:
        arrays.append(_wide(kind, raw[start : start + size_bytes]))
        start += size_bytes
    described = head["lineage"]
    lineage = None if described is None else Lineage({name: _source(d, arrays) for name, d in described.items()})
    return lineage, files_from_json(head["files"], count)


def _described(source: Any, arrays: list[Any]) -> Any:
    """How a source is written: null, or its kind and the numbers of its arrays, which are appended."""
    if source is None:
        return None
    at = len(arrays)
    if isinstance(source, Groups):
        arrays.append(source.codes)
        return ["groups", at]
    if not isinstance(source, (list, tuple)) or not any(type(one) is tuple for one in source):
        arrays.append(source)
        return ["one", at]
    several = [one if isinstance(one, tuple) else (one,) if one >= 0 else () for one in source]
    arrays += [[len(one) for one in several], [index for one in several for index in one]]
    return ["several", at, at + 1]


def _source(described: Any, arrays: list["array[int]"]) -> Any:
    if described is None:
        return None
    kind, at = described[0], described[1]
    if kind != "several":
        return Groups(arrays[at]) if kind == "groups" else arrays[at]
    flat, start, source = arrays[described[2]].tolist(), 0, []
    for length in arrays[at]:
        source.append(tuple(flat[start : start + length]))
        start += length
    return source


def _narrow(indexes: Sequence[int]) -> "np.ndarray[Any, Any]":
    import numpy as np  # noqa: PLC0415  0.1 s, and only large outputs need it

    differences = np.diff(np.asarray(indexes, np.int64), prepend=np.int64(0))
    if not differences.size:
        return differences.astype("<i1")
    least, most = int(differences.min()), int(differences.max())
    kind = next(k for k in ("<i1", "<i2", "<i4", "<i8") if np.iinfo(k).min <= least and most <= np.iinfo(k).max)
    return differences.astype(kind)


def _wide(kind: str, data: bytes) -> "array[int]":
    import numpy as np  # noqa: PLC0415

    return array("q", np.frombuffer(data, kind).cumsum(dtype=np.int64).tobytes())


def is_small(value: Any, limit_bytes: int) -> bool:
    """Whether the JSON of origins is short enough to stand in a row."""
    try:
        return len(orjson.dumps(value)) <= limit_bytes
    except orjson.JSONEncodeError:
        return False
