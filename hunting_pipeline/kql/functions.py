"""The functions of KQL, in one table. To add a function, add one row to `FUNCTIONS` or a name to `_STEADY`.

A steady function returns the same value at any time if its rows are the same. A function without a row is
unknown. An unknown function is refused in a hunt with a time column, because its value may change without a
change of the rows. A snapshot may call it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

__all__ = ["FUNCTIONS", "FunctionRule", "Rounding", "function_rule"]


class Rounding(Enum):
    """The way in which a function rounds a time. A rounded time represents a span of time."""

    TO_DAY = auto()
    """Down to the start of the day (UTC)."""
    TO_LENGTH = auto()
    """Down to a multiple of its second argument."""


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """One row of the table.

    Attributes:
        refused: the reason why no hunt may call the function; None if hunts may call it.
        refused_by_time: the reason why a hunt with a time column may not call the function. A snapshot may.
        rounding: the way in which the function rounds a time; None if it does not round, or if the spans
            cannot be derived from the text.
        rewrites: whether a late row can change other rows of a query that calls the function.
    """

    refused: str | None = None
    refused_by_time: str | None = None
    rounding: Rounding | None = None
    rewrites: bool = False


def _by_time(reason: str, names: str) -> dict[str, FunctionRule]:
    """Return a row for each of the names, which are separated by blanks."""
    return dict.fromkeys(names.split(), FunctionRule(refused_by_time=reason))


_STEADY = """
    array_concat array_iff array_iif array_index_of array_length array_reverse array_rotate_left
    array_rotate_right array_shift_left array_shift_right array_slice array_sort_asc array_sort_desc
    array_split array_strcat array_sum arraylength bag_has_key bag_keys bag_merge bag_pack bag_pack_columns
    bag_remove_keys bag_set_key bag_zip jaccard_index pack pack_all pack_array pack_dictionary repeat
    set_difference set_equals set_has_element set_intersect set_union treepath zip

    base64_decode_toarray base64_decode_toguid base64_decode_tostring base64_decodestring
    base64_encode_fromarray base64_encode_fromguid base64_encode_tostring base64_encodestring
    gzip_compress_to_base64_string gzip_decompress_from_base64_string zlib_compress_to_base64_string
    zlib_decompress_from_base64_string hash hash_combine hash_many hash_md5 hash_sha1 hash_sha256
    hash_xxhash64 url_decode url_encode url_encode_component punycode_domain_from_string
    punycode_domain_to_string punycode_from_string punycode_to_string unicode_codepoints_from_string
    unicode_codepoints_to_string to_utf8 make_string

    countof extract extract_all extract_json extractall extractjson has_any_index has_any_ipv4
    has_any_ipv4_prefix has_ipv4 has_ipv4_prefix indexof indexof_regex isascii isutf8 parse_command_line
    parse_csv parse_json parse_path parse_url parse_urlquery parse_user_agent parse_version parse_xml
    parsejson parseurl parseurlquery regex_quote replace replace_regex replace_string replace_strings
    reverse split strcat strcat_array strcat_delim strcmp string_size strlen strrep substring tohex tolower
    toupper translate trim trim_end trim_start dynamic_to_json format_bytes

    format_ipv4 format_ipv4_mask ipv4_compare ipv4_is_in_any_range ipv4_is_in_range ipv4_is_match
    ipv4_is_private ipv4_netmask_suffix ipv4_range_to_cidr_list ipv6_compare ipv6_is_in_any_range
    ipv6_is_in_range ipv6_is_match parse_ipv4 parse_ipv4_mask parse_ipv6 parse_ipv6_mask

    bool boolean date datetime decimal double dynamic guid int long real string time timespan typeof uuid
    tobool toboolean todatetime todecimal todouble todynamic toguid toint tolong toobject toreal tostring
    totime totimespan gettype isempty isnotempty isnotnull isnull notempty notnull

    bin_at bin_auto datepart datetime_add datetime_diff datetime_local_to_utc datetime_part
    datetime_utc_to_local dayofmonth dayofweek dayofyear endofday endofmonth endofweek endofyear
    format_datetime format_timespan getmonth getyear hourofday make_datetime make_timespan monthofyear
    startofmonth startofweek startofyear unixtime_microseconds_todatetime unixtime_milliseconds_todatetime
    unixtime_nanoseconds_todatetime unixtime_seconds_todatetime week_of_year weekofyear

    abs acos around asin atan atan2 beta_cdf beta_inv beta_pdf binary_and binary_not binary_or
    binary_shift_left binary_shift_right binary_xor bitset_count_ones case ceiling coalesce convert_angle
    convert_energy convert_force convert_length convert_mass convert_speed convert_temperature
    convert_volume cos cot degrees erf erfc estimate_data_size exp exp10 exp2 gamma iff iif isfinite isinf
    isnan log log10 log2 loggamma max_of min_of not pi pow radians range round sign sin sqrt tan welch_test
    assert column_ifexists columnifexists iscolumnexists

    geo_angle geo_azimuth geo_closest_point_on_line geo_closest_point_on_polygon geo_distance_2points
    geo_distance_point_to_line geo_distance_point_to_polygon geo_from_wkt geo_geohash_neighbors
    geo_geohash_to_central_point geo_geohash_to_polygon geo_h3cell_children geo_h3cell_level
    geo_h3cell_neighbors geo_h3cell_parent geo_h3cell_rings geo_h3cell_to_central_point
    geo_h3cell_to_polygon geo_intersection_2lines geo_intersection_2polygons
    geo_intersection_line_with_polygon geo_intersects_2lines geo_intersects_2polygons
    geo_intersects_line_with_polygon geo_line_buffer geo_line_centroid geo_line_densify
    geo_line_interpolate_point geo_line_length geo_line_locate_point geo_line_simplify geo_line_to_s2cells
    geo_point_buffer geo_point_in_circle geo_point_in_polygon geo_point_to_geohash geo_point_to_h3cell
    geo_point_to_s2cell geo_polygon_area geo_polygon_buffer geo_polygon_centroid geo_polygon_densify
    geo_polygon_perimeter geo_polygon_simplify geo_polygon_to_h3cells geo_polygon_to_s2cells
    geo_s2cell_neighbors geo_s2cell_to_central_point geo_s2cell_to_polygon geo_simplify_polygons_array
    geo_union_lines_array geo_union_polygons_array

    series_abs series_acos series_add series_asin series_atan series_ceiling series_cos
    series_cosine_similarity series_decompose series_decompose_anomalies series_decompose_forecast
    series_divide series_dot_product series_equals series_exp series_fft series_fill_backward
    series_fill_const series_fill_forward series_fill_linear series_fir series_fit_2lines
    series_fit_2lines_dynamic series_fit_line series_fit_line_dynamic series_fit_poly series_floor
    series_greater series_greater_equals series_ifft series_iir series_less series_less_equals series_log
    series_magnitude series_multiply series_not_equals series_outliers series_pearson_correlation
    series_periods_detect series_periods_validate series_pow series_product series_seasonal series_sign
    series_sin series_stats series_stats_dynamic series_subtract series_sum series_tan

    arg_max arg_min argmax argmin avg avgif binary_all_and binary_all_or binary_all_xor buildschema cnt
    count count_distinct count_distinctif countif covariance covarianceif covariancep covariancepif dcount
    dcount_hll dcountif hll hll_if hll_isvalid hll_merge make_bag make_bag_if make_dictionary make_list
    make_list_if make_list_with_nulls make_set make_set_if makelist makeset max maxif merge_tdigest min
    minif percentile percentile_array_tdigest percentile_tdigest percentiles percentiles_array
    percentiles_array_tdigest percentilesw percentilesw_array percentilew percentrank_tdigest rank_tdigest
    stdev stdevif stdevp sum sumif tdigest tdigest_isvalid tdigest_merge variance varianceif variancep
    variancepif

    datatable materialize
"""
"""The steady functions without a special rule, and the literals that are written like a call."""

_CHANCE = FunctionRule(refused="it returns a different value on each call. Remove it")
_ANY_VALUE = FunctionRule(
    refused="it returns the value of an arbitrary row. Use arg_max(), max() or make_set()"
)
_CLOCK = "it changes the result from day to day. Remove it: partitions already limit the time range"
_RANK = "its value depends on all rows before, so it would differ if only one partition is read. Remove it"
_ELSEWHERE = (
    "it reads data outside this query's tables, and these data can change without a change of the rows."
    " Write the values into the query, or write `time: none` for a daily snapshot"
)
_STATE = "its value depends on the state of the service, not on the row. Remove it"

FUNCTIONS: Mapping[str, FunctionRule] = MappingProxyType({
    **dict.fromkeys(_STEADY.split(), FunctionRule()),
    "rand": _CHANCE,
    "new_guid": _CHANCE,
    "take_any": _ANY_VALUE,
    "take_anyif": _ANY_VALUE,
    "any": _ANY_VALUE,
    "anyif": _ANY_VALUE,
    "bin": FunctionRule(rounding=Rounding.TO_LENGTH),
    "floor": FunctionRule(rounding=Rounding.TO_LENGTH),
    "startofday": FunctionRule(rounding=Rounding.TO_DAY),
    "toscalar": FunctionRule(rewrites=True),
    **_by_time(_CLOCK, "now ago"),
    **_by_time(_RANK, """
        prev next row_number row_cumsum row_rank row_rank_dense row_rank_min row_window_session
    """),
    **_by_time(_ELSEWHERE, """
        externaldata external_table materialized_view stored_query_result table cluster database workspace app
        resource adx arg entity_group _GetWatchlist _GetWatchlistAlias geo_info_from_ip_address
        FileProfile DeviceFromIP SeenBy AssignedIPAddresses
    """),
    **_by_time(_STATE, """
        ingestion_time current_principal current_principal_details current_principal_is_member_of
        current_cluster_endpoint current_database current_node_id current_cursor cursor_current cursor_after
        cursor_before_or_at extent_id extentid extent_tags row_id rowstore_ordinal_range column_names_of
        datetime_list_timezones
    """),
})  # fmt: skip
"""The rule of each known function, by its name."""

_UNKNOWN = FunctionRule(
    refused_by_time="it is not known to return the same value for the same rows. Use a documented function,"
    " define it by `let` in the query, or write `time: none` for a daily snapshot"
)


def function_rule(name: str) -> FunctionRule:
    """Return the rule of a function. An unknown function has the most cautious rule."""
    return FUNCTIONS.get(name, _UNKNOWN)
