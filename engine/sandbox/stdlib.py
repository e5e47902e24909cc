"""Which modules of the standard library the author's code may import, and what of them.

Nothing here may read attributes by a name that is data (`operator.attrgetter`, `string.Formatter`), take a path, start
anything, or give out another module. Types written in C give all their public attributes; those written in Python give
a list, since a new release may add to them.
"""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from engine.sandbox.guards import WRITABLE_NAMES, allow, words

ALL = "*"


class Entry(NamedTuple):
    """What a module gives.

    Attributes:
        names: taken from the module as they are, where it has them.
        types: type -> the attributes of its objects; "*" for all public ones.
        on_class: type -> the attributes of the class itself.
        writable: types whose items may be set.
        more: makes further contents out of the module, or other ones of the same name.
    """

    names: str
    types: dict[str, str] = {}
    on_class: dict[str, str] = {}
    writable: str = ""
    more: Callable[[Any], dict[str, Any]] | None = None


def _calendar(module: Any) -> dict[str, Any]:
    names = ("month_name", "month_abbr", "day_name", "day_abbr")
    return {name: tuple(getattr(module, name)) for name in names}


def _collections(module: Any) -> dict[str, Any]:
    def namedtuple(typename: Any, field_names: Any, *, rename: bool = False, defaults: Any = None) -> type:
        """As in collections; the names must be plain text, since there they become part of a program."""
        fields = field_names.replace(",", " ").split() if type(field_names) is str else list(field_names)
        if type(typename) is not str or any(type(field) is not str for field in fields):
            raise TypeError("namedtuple takes names that are text")
        made: type = module.namedtuple(typename, fields, rename=bool(rename), defaults=defaults, module="code")
        return made

    return {"namedtuple": namedtuple}


def _csv(module: Any) -> dict[str, Any]:
    class Sink:
        write = len

    allow(type(module.reader(())), ("line_num",))
    allow(type(module.writer(Sink)), ("writerow", "writerows"))
    return {}


def _decimal(module: Any) -> dict[str, Any]:
    WRITABLE_NAMES[module.Context] = frozenset(("Emax", "Emin", "capitals", "clamp", "prec", "rounding"))
    return {}


def _functools(module: Any) -> dict[str, Any]:
    def wraps(wrapped: Any, *ignored: Any) -> Any:
        """A decorator that changes nothing: the real one copies attributes by name."""
        return lambda function: function

    allow(type(module.lru_cache(len)), ("cache_info", "cache_clear"))
    return {"wraps": wraps}


def _hashlib(module: Any) -> dict[str, Any]:
    for sample in (module.sha256(), module.blake2b(), module.blake2s(), module.sha3_256(), module.shake_128()):
        allow(type(sample), words("block_size copy digest digest_size hexdigest name update"))
    return {}


def _random(module: Any) -> dict[str, Any]:
    names = words(
        "betavariate choice choices expovariate gauss getrandbits lognormvariate normalvariate paretovariate randbytes "
        "randint random randrange sample seed shuffle triangular uniform weibullvariate vonmisesvariate gammavariate"
    )
    allow(module.Random, names)
    return {name: getattr(module, name) for name in names}


def _time(module: Any) -> dict[str, Any]:
    fields = [name for name in dir(module.struct_time) if name.startswith("tm_")]
    allow(module.struct_time, (*fields, "count", "index"))
    return {}


class _Hint:
    """A name of `typing`. Annotations are never evaluated; an alias made of one of these is one again."""

    def __getitem__(self, _: Any) -> "_Hint":
        return self

    def __or__(self, _: Any) -> "_Hint":
        return self

    __ror__ = __or__


def _typing(_: Any) -> dict[str, Any]:
    names = "Any Callable Dict Iterable Iterator List Literal Mapping Optional Sequence Set Tuple Type TypedDict Union"
    return {name: _Hint() for name in names.split()} | {"cast": lambda kind, value: value}


def _zoneinfo(module: Any) -> dict[str, Any]:
    def zone(key: Any) -> Any:
        """A time zone by its name, which is never a path."""
        if type(key) is not str or not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", key):
            raise ValueError("ZoneInfo takes the name of a time zone, such as Europe/Berlin")
        return module.ZoneInfo(key)

    return {"ZoneInfo": zone}


def _public(module: Any) -> str:
    return " ".join(name for name in dir(module) if not name.startswith("_"))


_NOW = "now today utcnow strptime fromisoformat fromtimestamp utcfromtimestamp combine fromordinal min max resolution"

TABLE: dict[str, Entry] = {
    "base64": Entry(
        "b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode standard_b64decode "
        "standard_b64encode urlsafe_b64decode urlsafe_b64encode"
    ),
    "bisect": Entry("bisect bisect_left bisect_right insort insort_left insort_right"),
    "calendar": Entry("isleap leapdays monthcalendar monthrange timegm weekday", more=_calendar),
    "collections": Entry(
        "ChainMap Counter OrderedDict defaultdict deque",
        types={"ChainMap": ALL, "Counter": ALL, "OrderedDict": ALL, "defaultdict": ALL, "deque": ALL},
        on_class={"OrderedDict": "fromkeys"},
        writable="ChainMap Counter OrderedDict defaultdict deque",
        more=_collections,
    ),
    "copy": Entry("copy deepcopy"),
    "csv": Entry(
        "DictReader DictWriter Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC reader writer",
        types={"DictReader": "fieldnames line_num", "DictWriter": "fieldnames writeheader writerow writerows"},
        more=_csv,
    ),
    "datetime": Entry(
        "MAXYEAR MINYEAR UTC date datetime time timedelta timezone",
        types={"date": ALL, "datetime": ALL, "time": ALL, "timedelta": ALL, "timezone": ALL},
        on_class={
            "date": _NOW,
            "datetime": _NOW,
            "time": "fromisoformat min max resolution",
            "timedelta": "min max resolution",
            "timezone": "utc min max",
        },
    ),
    "decimal": Entry(
        "Context Decimal DivisionByZero Inexact InvalidOperation Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN "
        "ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP getcontext localcontext setcontext",
        types={"Context": ALL, "Decimal": ALL},
        on_class={"Decimal": "from_float"},
        more=_decimal,
    ),
    "difflib": Entry(
        "SequenceMatcher context_diff get_close_matches ndiff unified_diff",
        types={
            "SequenceMatcher": "find_longest_match get_grouped_opcodes get_matching_blocks get_opcodes quick_ratio "
            "ratio real_quick_ratio set_seq1 set_seq2 set_seqs"
        },
    ),
    "fractions": Entry(
        "Fraction",
        types={"Fraction": "as_integer_ratio conjugate denominator imag limit_denominator numerator real"},
        on_class={"Fraction": "from_decimal from_float"},
    ),
    "functools": Entry("cache cmp_to_key lru_cache partial reduce", more=_functools),
    "hashlib": Entry(
        "blake2b blake2s md5 new pbkdf2_hmac sha1 sha224 sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512 "
        "shake_128 shake_256",
        more=_hashlib,
    ),
    "heapq": Entry("heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest"),
    "hmac": Entry(
        "compare_digest digest new",
        types={"HMAC": "block_size copy digest digest_size hexdigest name update"},
    ),
    "html": Entry("escape unescape"),
    "io": Entry(
        "BytesIO StringIO",
        types={
            "StringIO": "close closed flush getvalue read readline readlines seek tell truncate write writelines",
            "BytesIO": "close closed flush getvalue read readline readlines seek tell truncate write writelines",
        },
    ),
    "itertools": Entry(_public(itertools), types={"chain": ""}, on_class={"chain": "from_iterable"}),
    "json": Entry("JSONDecodeError dumps loads"),
    "math": Entry(_public(math)),
    "operator": Entry(
        "abs add and_ concat contains countOf eq floordiv ge getitem gt index indexOf inv invert is_ is_not itemgetter "
        "le lshift lt matmul mod mul ne neg not_ or_ pos pow rshift sub truediv truth xor"
    ),
    "random": Entry("Random", more=_random),
    "re": Entry(
        "A ASCII DOTALL I IGNORECASE M MULTILINE S U UNICODE VERBOSE X compile error escape findall finditer fullmatch "
        "match search split sub subn",
        types={"Match": ALL, "Pattern": ALL},
    ),
    "statistics": Entry(
        "StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median "
        "median_grouped median_high median_low mode multimode pstdev pvariance quantiles stdev variance"
    ),
    "string": Entry(
        "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable punctuation "
        "whitespace"
    ),
    "textwrap": Entry("dedent fill indent shorten wrap"),
    "time": Entry(
        "ctime gmtime localtime mktime monotonic perf_counter process_time strftime strptime time time_ns", more=_time
    ),
    "typing": Entry("", more=_typing),
    "unicodedata": Entry(
        "bidirectional category combining decimal digit east_asian_width is_normalized lookup mirrored name normalize "
        "numeric unidata_version"
    ),
    "urllib": Entry(""),
    "urllib.parse": Entry(
        "parse_qs parse_qsl quote quote_from_bytes quote_plus unquote unquote_plus unquote_to_bytes urldefrag "
        "urlencode urljoin urlparse urlsplit urlunparse urlunsplit",
        types={"ParseResult": ALL, "SplitResult": ALL, "DefragResult": ALL},
    ),
    "uuid": Entry(
        "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 UUID uuid3 uuid4 uuid5",
        types={
            "UUID": "bytes bytes_le clock_seq fields hex int node time time_hi_version time_low time_mid urn variant "
            "version"
        },
    ),
    "zoneinfo": Entry("ZoneInfoNotFoundError", types={"ZoneInfo": "dst fromutc key tzname utcoffset"}, more=_zoneinfo),
}
