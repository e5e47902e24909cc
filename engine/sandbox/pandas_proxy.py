"""pandas and numpy for the author's code: what is shown of them, and the guards' rows for their types.

Both take the names of methods as text (`agg("to_pickle")`), write to paths, import by name and show memory. So there
are lists of what is harmless, and functions given by name are looked up in one of them.
"""

import io
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd
from pandas._libs.tslibs import timezones  # type: ignore[attr-defined]

from engine.sandbox import pandas_names as names
from engine.sandbox.guards import FIELDS, REPLACED, WRITABLE, WRITABLE_NAMES, Denied, ModuleProxy, allow

Made = Callable[..., Any]


class RowOrigin(str):
    """The name of an index that still counts the input items: equal to what pandas would use, but ours.

    Filtering and sorting keep it; whatever makes new rows or numbers them anew loses it.
    """

    __slots__ = ()


def make_proxies() -> dict[str, ModuleProxy]:
    """`pandas` and `numpy`; from now on the guards know their types."""
    _forbid_zone_files()
    _allow_pandas()
    _allow_numpy()
    frames = _pick(pd, names.PANDAS) | {
        "crosstab": _checked(pd.crosstab, 5),
        "pivot_table": _checked(pd.pivot_table, 4),
        "read_csv": _read_csv,
        "read_json": _read_json,
        "offsets": ModuleProxy("pandas.offsets", _pick(pd.offsets, names.OFFSETS)),
    }
    arrays = _pick(np, names.NUMPY) | {
        "random": ModuleProxy("numpy.random", _pick(np.random, names.NUMPY_RANDOM)),
        "linalg": ModuleProxy("numpy.linalg", _pick(np.linalg, names.NUMPY_LINALG)),
    }
    return {"pandas": ModuleProxy("pandas", frames), "numpy": ModuleProxy("numpy", arrays)}


def make_frame(items: list[dict[str, Any]]) -> pd.DataFrame:
    """The items as a frame whose index tells which item a row came from.

    Where items lack a field of whole numbers, the column is Int64: pandas would make floats, and so lose digits.
    """
    frame = pd.DataFrame(items, index=pd.RangeIndex(len(items)))
    for column in frame.select_dtypes("float").columns:
        values = [item[column] for item in items if item.get(column) is not None]
        if len(values) < len(items) and all(type(value) is int and abs(value) < 2**63 for value in values):
            whole = [item.get(column) for item in items]
            frame[column] = pd.array(whole, dtype="Int64")
    frame.index.name = RowOrigin("level_0" if "index" in frame.columns else "index")
    return frame


def without_origin(ob: Any) -> Any:
    """The frame or series with an index as pandas would have made it: for showing."""
    return ob.rename_axis(index=None) if type(ob.index.name) is RowOrigin else ob


def _pick(module: Any, listed: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in listed.split()}


def _forbid_zone_files() -> None:
    """Make `tz="dateutil//any/path"` fail, wherever pandas takes a time zone: dateutil would open that path."""

    def refuse(name: str) -> None:
        raise Denied(f"the time zone {name!r} is not available", "Write it as Europe/Berlin.")

    if not hasattr(timezones, "dateutil_gettz"):
        raise AttributeError("pandas looks up time zones in another way than the sandbox knows")
    timezones.dateutil_gettz = refuse


def _allow_pandas() -> None:
    shared = names.SHARED.split()
    for kind in _pandas_types():
        allow(kind, [name for name in shared if hasattr(kind, name)], on_class=names.ON_CLASS.get(kind.__name__, ()))
        for name in ("agg", "aggregate", "apply", "pipe", "transform"):
            _replace(kind, name, _by_function)
        _replace(kind, "map", _map)
    grouped: tuple[type, ...] = (pd.api.typing.DataFrameGroupBy, pd.api.typing.SeriesGroupBy)
    for kind in grouped:
        _replace(kind, "filter", _by_function)
    tables: tuple[type, ...] = (pd.DataFrame, pd.Series)
    for kind in tables:
        for name in ("to_csv", "to_html", "to_json", "to_string"):
            _replace(kind, name, _text)
    _replace(pd.DataFrame, "pivot_table", lambda ob, name: _checked(getattr(ob, name), 3))
    for kind in (*tables, *grouped):
        FIELDS[kind] = _field
    WRITABLE.update(tables, map(type, (_SAMPLE.loc, _SAMPLE.iloc, _SAMPLE.at, _SAMPLE.iat)))
    WRITABLE_NAMES[pd.DataFrame] = frozenset(("columns", "index"))
    WRITABLE_NAMES[pd.Series] = frozenset(("index", "name"))
    for kind in _index_types():
        WRITABLE_NAMES[kind] = frozenset(("name", "names"))
    for dtype in names.DTYPES.split():
        allow(getattr(pd, dtype), ("itemsize", "kind", "name"))
    for value in (pd.Timestamp(0), pd.Timedelta(0), pd.NaT, pd.Period("2020"), pd.Interval(0, 1)):
        allow(type(value), on_class=names.MOMENTS if type(value) is pd.Timestamp else ())


def _allow_numpy() -> None:
    allow(np.ndarray, names.NDARRAY.split())
    WRITABLE.add(np.ndarray)
    allow(np.random.Generator, names.GENERATOR.split())
    for code in "?bhilqBHILQefdgUSOMm":
        dtype = np.dtype(code)
        allow(type(dtype), ("itemsize", "kind", "name"))
        if code != "O":
            allow(dtype.type, ("dtype", "is_integer", "item", "round", "tolist"))


_SAMPLE = pd.DataFrame({"text": ["a"], "number": [1.5], "time": pd.to_datetime(["2020-01-01"])})


def _index_types() -> list[type]:
    kinds: list[type] = [pd.Index, pd.RangeIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.MultiIndex]
    return [*kinds, pd.CategoricalIndex, pd.IntervalIndex]


def _pandas_types() -> set[type]:
    """The types that the allowed functions hand out, many of which have no public name."""
    text, number, time = _SAMPLE["text"], _SAMPLE["number"], _SAMPLE["time"]
    category, length, period = text.astype("category"), time - time, time.dt.to_period("D")
    groups = number.groupby(text)
    samples: list[Any] = [_SAMPLE, number, groups, _SAMPLE.groupby("text"), text.str, category.cat]
    for table in (_SAMPLE, number):
        samples += [table.loc, table.iloc, table.at, table.iat]
    samples += [column.dt for column in (time, length, period)]
    for windowed in (number, groups):
        samples += [windowed.rolling(1), windowed.expanding(), windowed.ewm(1)]
    for moments in (time, length, period):
        frame = pd.DataFrame({"text": ["a"], "number": [1.5]}, index=pd.Index(moments))
        samples += [frame.resample("D"), frame.groupby("text").resample("D")]
    samples += [column.array for column in (text, time, length, category, period)]
    samples += [pd.array([value]) for value in (1, 1.5, True)]
    return {*map(type, samples), *_index_types(), pd.DateOffset, pd.Grouper}


def _replace(kind: type, name: str, make: Callable[[Any, str], Made]) -> None:
    if hasattr(kind, name):
        REPLACED[kind, name] = lambda ob: make(ob, name)


def _field(ob: Any, name: str) -> Any:
    """The column of a frame or the value of a row that is asked for as an attribute."""
    labels = ob.index if isinstance(ob, pd.Series) else getattr(ob, "obj", ob).columns if ob.ndim == 2 else ()
    return ob[name] if not hasattr(type(ob), name) and name in labels else NotImplemented


def _function(given: Any) -> Any:
    """The function, or name of one, that may be given to pandas; or a list or dict of them, made anew."""
    if type(given) is str:
        if given not in names.FUNCTIONS:
            raise Denied(f"the function name {given!r} is not available", "Give the function itself.")
        return given
    if type(given) is dict:
        return {key: _function(value) for key, value in given.items()}
    if type(given) in (list, tuple):
        return [_function(value) for value in given]
    if given is None or type(given) in (FunctionType, BuiltinFunctionType, MethodType, np.ufunc, type):
        return given
    if not callable(given) or isinstance(given, str | dict | list | tuple | pd.Series | pd.Index | np.ndarray):
        raise Denied(f"a {type(given).__name__} is no function")
    # An object of the author's could be a function and a list of names at once: pandas sees the function only.
    return lambda *values, **options: given(*values, **options)


def _by_function(ob: Any, name: str) -> Made:
    method = getattr(ob, name)

    def call(func: Any = None, *arguments: Any, **options: Any) -> Any:
        _refuse_engine(options)
        if name == "apply" and len(arguments) > 2:  # the third may be the engine
            raise Denied("apply takes its further arguments by name")
        if func is None:
            return method(**{column: _named(given) for column, given in options.items()})
        return method(_function(func), *arguments, **options)

    return call


def _named(given: Any) -> tuple[Any, Any]:
    """`(column, function)` of a named aggregation."""
    pair = (given.column, given.aggfunc) if type(given) is pd.NamedAgg else given
    if type(pair) is not tuple or len(pair) != 2:
        raise TypeError("a named aggregation is (column, function)")
    return pair[0], _function(pair[1])


def _map(ob: Any, name: str) -> Made:
    def call(func: Any, na_action: Any = None, **options: Any) -> Any:
        _refuse_engine(options)
        return getattr(ob, name)(func, na_action=na_action, **options)

    return call


def _checked(function: Made, position: int) -> Made:
    """The function with its argument `aggfunc`, which stands at this position, checked."""

    def call(*arguments: Any, **options: Any) -> Any:
        given = list(arguments)
        if len(given) > position:
            given[position] = _function(given[position])
        if "aggfunc" in options:
            options["aggfunc"] = _function(options["aggfunc"])
        return function(*given, **options)

    return call


def _refuse_engine(options: dict[str, Any]) -> None:
    if options.keys() & {"engine", "engine_kwargs"}:
        raise Denied("engine= is not available in code nodes")


def _text(ob: Any, name: str) -> Made:
    """to_csv and the like, which give their text, or write it to a StringIO, but to no file."""

    def call(target: Any = None, **options: Any) -> str | None:
        for keyword in ("path_or_buf", "buf"):
            target = options.pop(keyword, target)
        if target is not None and type(target) is not io.StringIO:
            raise Denied(f"{name} writes no files in code nodes", f"Without a path, {name}() gives the text.")
        if unknown := sorted(options.keys() - names.TEXT_OPTIONS):
            raise Denied(f"{name} takes no {unknown[0]}= in code nodes")
        text: str = getattr(without_origin(ob), name)(**options)
        if target is None:
            return text
        target.write(text)
        return None

    return call


def _text_of(source: Any, function: str) -> io.StringIO:
    text = source.getvalue() if type(source) is io.StringIO else source
    if type(text) is not str:
        raise Denied(f"{function} takes the text itself, or a StringIO")
    return io.StringIO(text)


def _read_csv(source: Any, sep: str = ",", **options: Any) -> pd.DataFrame:
    if unknown := sorted(options.keys() - names.READ_OPTIONS):
        raise Denied(f"read_csv takes no {unknown[0]}= in code nodes")
    text = _text_of(source, "read_csv")
    if "\n" not in text.getvalue():
        raise Denied("read_csv takes the text itself, of more than one line: code nodes read no files")
    frame: pd.DataFrame = pd.read_csv(text, sep=sep, **options)
    return frame


def _read_json(source: Any, orient: Any = None, lines: bool = False) -> Any:
    return pd.read_json(_text_of(source, "read_json"), orient=orient, lines=lines)
