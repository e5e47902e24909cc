"""The names of pandas and numpy that the author's code may use: lists only, so that a new one is a word more."""

from engine.sandbox.guards import words

# Functions that may be given by name to agg, apply, transform and pivot_table.
FUNCTIONS = words(
    "all any bfill count cummax cummin cumprod cumsum cumcount diff ffill first idxmax idxmin kurt last max mean "
    "median min ngroup nunique pct_change prod quantile rank sem shift size skew std sum var"
)

PANDAS = (
    "Categorical DataFrame DateOffset DatetimeIndex Grouper Index Int64Dtype Interval MultiIndex NA NaT NamedAgg "
    "Period Series StringDtype Timedelta Timestamp bdate_range concat cut date_range factorize get_dummies isna "
    "isnull json_normalize melt merge merge_asof merge_ordered notna notnull period_range qcut timedelta_range "
    "to_datetime to_numeric to_timedelta unique wide_to_long"
)
OFFSETS = (
    "BDay BMonthEnd BusinessDay Day Hour Minute MonthBegin MonthEnd QuarterBegin QuarterEnd Second Week YearBegin "
    "YearEnd"
)
DTYPES = "BooleanDtype CategoricalDtype DatetimeTZDtype Float64Dtype Int64Dtype PeriodDtype StringDtype"

# Attributes of frames, series, indexes, groups, windows and accessors, where they have them.
SHARED = (
    "T abs add add_prefix add_suffix agg aggregate align all any apply argmax argmin argsort asfreq asof assign "
    "astype at at_time backfill between between_time bfill bool capitalize casefold cat categories ceil center clip "
    "codes columns combine_first compare contains convert_dtypes copy corr corrwith count cov cumcount cummax "
    "cummin cumprod cumsum date day day_name day_of_week day_of_year dayofweek dayofyear days days_in_month "
    "describe diff difference div divide dot drop drop_duplicates droplevel dropna dt dtype dtypes duplicated empty "
    "end_time endswith eq equals ewm expanding explode extract extractall factorize ffill fillna filter find "
    "findall first first_valid_index floor floordiv freq from_records fullmatch ge get get_group get_level_values "
    "groupby groups gt has_duplicates hasnans head hour iat idxmax idxmin iloc index infer_objects insert "
    "interpolate intersection is_leap_year is_monotonic_decreasing is_monotonic_increasing is_month_end "
    "is_month_start is_quarter_end is_quarter_start is_unique is_year_end is_year_start isalnum isalpha isdecimal "
    "isdigit isin islower isna isnull isnumeric isocalendar isspace istitle isupper item items iterrows itertuples "
    "join keys kurt last last_valid_index le left len levels ljust loc lower lstrip lt map mask match max mean "
    "median melt merge microsecond min minute mod mode month month_name mul multiply name names nanosecond ndim ne "
    "ngroup ngroups nlargest nlevels normalize notna notnull nsmallest nth nunique ohlc pad partition pct_change "
    "pipe pivot pivot_table pop pow prod product quantile quarter radd rank ravel rdiv reindex removeprefix "
    "removesuffix rename rename_axis rename_categories repeat replace resample reset_index rfind right rjust "
    "rolling round rpartition rsplit rstrip sample second seconds select_dtypes sem set_axis set_categories "
    "set_index set_names shape shift size skew slice slice_replace sort sort_index sort_values split squeeze stack "
    "start_time startswith std str strftime strip sub subtract sum swapcase swaplevel symmetric_difference tail "
    "take time timetz title to_csv to_dict to_flat_index to_frame to_html to_json to_list to_numpy to_period "
    "to_pydatetime to_pytimedelta to_series to_string to_timestamp tolist total_seconds transform translate "
    "transpose truediv truncate tz tz_convert tz_localize union unique unstack update upper value_counts values var "
    "weekday where wrap xs year zfill"
)
ON_CLASS = {
    "DataFrame": ("from_dict", "from_records"),
    "MultiIndex": ("from_arrays", "from_frame", "from_product", "from_tuples"),
    "Categorical": ("from_codes",),
}

MOMENTS = words("combine fromisoformat fromtimestamp max min now today utcnow")  # on Timestamp itself

READ_OPTIONS = words(
    "header names index_col usecols dtype true_values false_values skipinitialspace skiprows skipfooter nrows "
    "na_values keep_default_na na_filter skip_blank_lines parse_dates date_format dayfirst thousands decimal "
    "lineterminator quotechar quoting doublequote escapechar comment on_bad_lines delimiter"
)
TEXT_OPTIONS = words(
    "sep na_rep float_format columns header index index_label quoting quotechar lineterminator date_format "
    "doublequote escapechar decimal orient double_precision force_ascii date_unit default_handler lines indent "
    "max_rows max_cols justify line_width formatters sparsify index_names show_dimensions max_colwidth min_rows "
    "border"
)

NUMPY = (
    "abs absolute add all allclose amax amin any append arange arccos arcsin arctan arctan2 argmax argmin argsort "
    "around array array_equal asarray average bincount bool_ ceil clip column_stack concatenate convolve corrcoef "
    "cos cosh count_nonzero cov cross cumprod cumsum degrees diff digitize divide dot e empty equal exp expm1 eye "
    "flip float32 float64 floating floor full gradient greater histogram hstack hypot identity inf inner int32 "
    "int64 integer interp intersect1d isclose isfinite isin isinf isnan linspace log log10 log1p log2 logical_and "
    "logical_not logical_or logspace lexsort matmul max maximum mean median meshgrid min minimum mod multiply nan "
    "nan_to_num nanmax nanmean nanmedian nanmin nanpercentile nanstd nansum nanvar newaxis nonzero ones ones_like "
    "outer percentile pi polyfit polyval power prod quantile radians ravel repeat reshape roll round searchsorted "
    "select setdiff1d sign sin sinh sort split sqrt square stack std subtract sum tan tanh tile transpose tril triu "
    "trunc union1d unique var vstack where zeros zeros_like"
)
NUMPY_RANDOM = (
    "choice default_rng exponential normal permutation poisson rand randint randn random seed shuffle uniform"
)
NUMPY_LINALG = "det eig eigh inv lstsq matrix_rank norm pinv solve svd"
NDARRAY = (
    "T all any argmax argmin argsort astype clip copy cumprod cumsum diagonal dot dtype fill flatten item max mean "
    "min ndim nonzero prod ravel repeat reshape round searchsorted shape size sort squeeze std sum swapaxes take "
    "tolist trace transpose var"
)
GENERATOR = "choice exponential integers normal permutation poisson random shuffle standard_normal uniform"
