"""Items: the records that flow along connections, as rows or as an Arrow table, with where each came from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, overload

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FileRef", "Item", "Items", "Lineage", "Outputs"]

NO_FILES: Mapping[str, "FileRef"] = MappingProxyType({})
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

# The index of a frame made from items bears this name. Filtering, sorting and copying keep it; whatever makes new
# rows (groupby, merge, reset_index) drops it: so a frame's index is lineage if and only if the name is still there.
FRAME_INDEX = "(item)"


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that an item carries: its bytes lie elsewhere, under `key`."""

    key: str
    name: str
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Item:
    """One record on a connection. `json` holds plain JSON data and is not to be changed: see `derive`."""

    json: Mapping[str, Any]
    files: Mapping[str, FileRef] = field(default_factory=lambda: NO_FILES)

    def derive(self, **changes: Any) -> "Item":
        """A copy with `changes` merged into its fields."""
        return Item({**self.json, **changes}, self.files)


# Per input: None (item i came from item i), or for each item an index (-1: from none), or a tuple of indexes.
Source = None | Sequence[int] | Sequence[tuple[int, ...]]


class Groups:
    """Many items to one: `codes[i]` is the item that input item i went into, -1 for none."""

    __slots__ = ("_members", "codes")

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes = codes
        self._members: dict[int, list[int]] | None = None

    def of(self, index: int) -> tuple[int, ...]:
        """The input items that went into item `index`."""
        if self._members is None:
            self._members = {}
            for i, code in enumerate(self.codes):
                self._members.setdefault(int(code), []).append(i)
        return tuple(self._members.get(index, ()))


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where the items of an output came from: input name -> indexes into that input's items."""

    sources: Mapping[str, Source | Groups]

    def of(self, index: int) -> dict[str, tuple[int, ...]]:
        """Input name -> indexes of the input items that item `index` came from."""
        found: dict[str, tuple[int, ...]] = {}
        for name, source in self.sources.items():
            if source is None:
                found[name] = (index,)
            elif isinstance(source, Groups):
                found[name] = source.of(index)
            else:
                one = source[index]
                found[name] = one if isinstance(one, tuple) else (int(one),) if one >= 0 else ()
        return found

    def take(self, indexes: Sequence[int]) -> "Lineage":
        """The lineage of the items at `indexes`, in that order."""
        taken: dict[str, Source | Groups] = {}
        for name, source in self.sources.items():
            if source is None:
                taken[name] = indexes
            elif isinstance(source, Groups):
                taken[name] = [source.of(i) for i in indexes]
            else:
                # The elements are all ints or all tuples, which mypy cannot see.
                taken[name] = cast(Sequence[int], [source[i] for i in indexes])
        return Lineage(taken)

    def over(self, kept: Sequence[int]) -> "Lineage":
        """The same lineage where the node was given only the items at `kept` of its one input."""
        through: dict[str, Source | Groups] = {}
        for name, source in self.sources.items():
            if source is None:
                through[name] = kept
            elif isinstance(source, Groups):
                codes = [-1] * ((max(kept) + 1) if kept else 0)
                for i, code in zip(kept, source.codes, strict=True):
                    codes[i] = code
                through[name] = Groups(codes)
            else:
                through[name] = cast(Sequence[int], [_through(one, kept) for one in source])
        return Lineage(through)


def _through(one: int | tuple[int, ...], kept: Sequence[int]) -> int | tuple[int, ...]:
    if isinstance(one, tuple):
        return tuple(kept[i] for i in one)
    return kept[one] if one >= 0 else -1


class _Data:
    """Rows, a table, or both. Shared by all Items of the same data, so that each form is made once."""

    __slots__ = ("_no_table", "_rows", "_table", "length")

    def __init__(self, rows: list[dict[str, Any]] | None, table: "pa.Table | None") -> None:
        self._rows = rows if rows is not None or table is not None else []
        self._table: Any = table
        self._no_table = False
        self.length: int = len(self._rows or ()) if table is None else table.num_rows

    @property
    def rows(self) -> list[dict[str, Any]]:
        if self._rows is None:
            assert self._table is not None
            names = self._table.column_names
            columns = [column.to_pylist() for column in self._table.columns]
            self._rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        return self._rows

    @property
    def table(self) -> "pa.Table | None":
        if self._table is None and not self._no_table:
            self._table = _to_table(self.rows)
            self._no_table = self._table is None
        return self._table

    @property
    def table_only(self) -> "pa.Table | None":
        """The table, while no rows were made of it: then columns are read from it."""
        return self._table if self._rows is None else None


class Items(Sequence[Item]):
    """A sequence of items with its lineage. Holds rows, an Arrow table, or both: each is made from the other once.

    A table stands for rows only where nothing is lost on the way there and back: every row has the same fields in the
    same order, and each column holds one JSON type (or null), whole numbers within 64 bits. Otherwise rows stay rows.

    Attributes:
        lineage: where the items came from, by input of the node that made them; None where that is lost.
    """

    __slots__ = ("_data", "_files", "lineage")

    def __init__(
        self,
        rows: list[dict[str, Any]] | None = None,
        *,
        table: "pa.Table | None" = None,
        files: Sequence[Mapping[str, FileRef]] | None = None,
        lineage: Lineage | None = None,
    ) -> None:
        self._data = _Data(rows, table)
        self._files = files
        self.lineage = lineage

    @classmethod
    def of(cls, records: Iterable[Item | Mapping[str, Any]]) -> "Items":
        """Items of the given records; their lineage is lost."""
        rows, files = [], []
        for record in records:
            rows.append(dict(record.json if isinstance(record, Item) else record))
            files.append(record.files if isinstance(record, Item) else NO_FILES)
        return cls(rows, files=files if any(files) else None)

    @classmethod
    def concat(cls, parts: Sequence["Items"]) -> "Items":
        """All items of `parts` in order. Their lineage is lost: it spoke of different nodes."""
        parts = [part for part in parts if len(part)] or list(parts[:1])
        if len(parts) == 1:
            return parts[0].with_lineage(None)
        files = [f for p in parts for f in p.files] if any(p._files for p in parts) else None
        tables: list[Any] = [p._data.table_only for p in parts]
        if files is None and tables and all(t is not None and t.schema.equals(tables[0].schema) for t in tables):
            import pyarrow as pa  # noqa: PLC0415  0.2 s, and only tables need it

            return cls(table=pa.concat_tables(tables))
        return cls([row for p in parts for row in p.rows], files=files)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The fields of each item, as plain dicts. Shared with other nodes: not to be changed."""
        return self._data.rows

    @property
    def table(self) -> "pa.Table | None":
        """The same data as an Arrow table; None where a table would lose something."""
        return self._data.table

    @property
    def is_table(self) -> bool:
        """Whether the items are held as a table only, so that reading columns makes no rows."""
        return self._data.table_only is not None

    @property
    def files(self) -> Sequence[Mapping[str, FileRef]]:
        """The files of each item."""
        return self._files if self._files is not None else [NO_FILES] * len(self)

    @property
    def fields(self) -> list[str]:
        """Names of all top-level fields, in the order they first appear."""
        table = self._data.table_only
        if table is not None:
            return list(table.column_names)
        return list(dict.fromkeys(name for row in self._data.rows for name in row))

    def column(self, name: str, default: Any = None) -> list[Any]:
        """One field of every item; `default` where an item lacks it. A table's column comes without making rows."""
        table = self._data.table_only
        if table is None:
            return [row.get(name, default) for row in self._data.rows]
        if name not in table.column_names:
            return [default] * len(self)
        values: list[Any] = table.column(name).to_pylist()
        return values

    def take(self, indexes: Sequence[int]) -> "Items":
        """The items at `indexes`, counted from 0, in that order, with their lineage."""
        lineage = self.lineage.take(indexes) if self.lineage is not None else None
        files = [self._files[i] for i in indexes] if self._files is not None else None
        table = self._data.table_only
        if table is not None:
            if isinstance(indexes, range) and indexes.step == 1:
                return Items(table=table.slice(indexes.start, len(indexes)), files=files, lineage=lineage)
            import pyarrow as pa  # noqa: PLC0415  there is a table, so it is imported

            # Named, since the type of no index at all could not be told.
            return Items(table=table.take(pa.array(indexes, pa.int64())), files=files, lineage=lineage)
        rows = self._data.rows
        return Items([rows[i] for i in indexes], files=files, lineage=lineage)

    def with_rows(self, rows: list[dict[str, Any]]) -> "Items":
        """The same items with new fields: item i keeps its files and its lineage. `rows` has one row per item."""
        if len(rows) != len(self):
            raise ValueError(f"{len(rows)} rows for {len(self)} items")
        return Items(rows, files=self._files, lineage=self.lineage)

    def with_lineage(self, lineage: Lineage | None) -> "Items":
        """The same items, said to come from elsewhere."""
        twin = Items.__new__(Items)
        twin._data, twin._files, twin.lineage = self._data, self._files, lineage
        return twin

    def frame(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """The items as a DataFrame: nullable columns where each value is of one type, else columns of objects.

        A frame has every column in every row: a missing field is null there.

        Args:
            columns: names of the fields wanted; None means all.
        """
        import pandas as pd  # noqa: PLC0415  0.35 s, and only frames need it

        index = pd.RangeIndex(len(self), name=FRAME_INDEX)
        table = self._data.table_only
        if table is not None:
            wanted = table.select(list(self.fields if columns is None else columns))
            made: pd.DataFrame = wanted.to_pandas(types_mapper=_frame_type)
            made.index = index
            return made
        names = list(self.fields if columns is None else columns)
        series = [_series(self.column(name), index) for name in names]
        frame = pd.DataFrame(dict(enumerate(series)), index=index)
        frame.columns = pd.Index(names, dtype=object)  # pandas' own text holds no half of a surrogate pair
        return frame

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Items": ...
    def __getitem__(self, index: int | slice) -> "Item | Items":
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return Item(self.rows[index], self._files[index] if self._files is not None else NO_FILES)

    def __len__(self) -> int:
        return self._data.length

    def __iter__(self) -> Iterator[Item]:
        if self._files is None:
            return map(Item, self.rows)
        return map(Item, self.rows, self._files)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Items):
            return NotImplemented
        return self.rows == other.rows and list(self.files) == list(other.files)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Items({len(self)} {'in a table' if self.is_table else 'rows'})"


Outputs = dict[str, Items]  # by output name


def _frame_type(kind: "pa.DataType") -> Any:
    """The pandas type of a column: whole numbers stay whole beside nulls, as they do not in plain NumPy.

    Arrow's own pandas types would hold them too, but know no `%` (pandas 3.1).
    """
    import pandas as pd  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    types = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return pd.StringDtype("pyarrow") if kind == pa.string() else types.get(kind)


def _series(values: list[Any], index: "pd.RangeIndex") -> "pd.Series[Any]":
    import pandas as pd  # noqa: PLC0415

    array = _to_array(values)
    if array is None:
        return pd.Series(values, dtype=object, index=index)
    return pd.Series(pd.array(values, dtype=_frame_type(array.type) or object), index=index)


def _to_table(rows: list[dict[str, Any]]) -> "pa.Table | None":
    """The rows as an Arrow table, or None where that loses something."""
    if not rows:
        return None
    names = tuple(rows[0])
    if not names or any(tuple(row) != names for row in rows):
        return None
    columns = []
    for name in names:
        array = _to_array([row[name] for row in rows])
        if array is None:
            return None
        columns.append(array)
    return table_of(columns, names)


def table_of(columns: "Sequence[pa.Array | pa.ChunkedArray]", names: Sequence[str]) -> "pa.Table | None":
    """The columns as a table, or None where a name holds half of a surrogate pair."""
    import pyarrow as pa  # noqa: PLC0415  0.2 s, and only tables need it

    try:
        return pa.Table.from_arrays(columns, names=list(names))
    except UnicodeEncodeError:
        return None


def _to_array(values: list[Any]) -> "pa.Array | None":
    """The values as an Arrow array, or None where that loses something."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) > 1:
        return None
    import pyarrow as pa  # noqa: PLC0415

    types: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    kind = kinds.pop() if kinds else type(None)
    if kind not in types and kind is not type(None):
        return None
    try:
        return pa.array(values, types.get(kind, pa.null()))
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):  # beyond 64 bits; half a surrogate pair
        return None
