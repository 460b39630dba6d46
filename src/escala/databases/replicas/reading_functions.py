"""SQL functions that change nothing and lock nothing, so that a replica may compute them."""

from __future__ import annotations

# Those of PostgreSQL that are stable or immutable, as far as queries use them.
_NAMES = """
abs age any_value array_agg array_length array_position array_to_string avg bit_and bit_or
bool_and bool_or btrim cardinality ceil ceiling char_length character_length coalesce concat
concat_ws corr count covar_pop covar_samp cume_dist current_date current_time current_timestamp
date date_part date_trunc dense_rank div every exp extract first_value floor format
generate_series greatest hashtext hashtextextended initcap json_agg json_array_length
json_build_array json_build_object json_extract_path json_extract_path_text json_object_agg
jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
jsonb_build_object jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys
jsonb_path_exists jsonb_path_query jsonb_typeof lag last_value lead least left length ln localtime
localtimestamp log lower lpad ltrim make_date make_interval make_timestamp max md5 min mod mode
now nth_value ntile nullif octet_length overlay percent_rank percentile_cont percentile_disc
phraseto_tsquery plainto_tsquery position power rank regexp_match regexp_matches regexp_replace
regexp_split_to_array repeat replace reverse right round row_number row_to_json rpad rtrim sign
split_part sqrt starts_with stddev stddev_pop stddev_samp string_agg string_to_array strpos substr
substring sum to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector trim
trunc ts_headline ts_rank ts_rank_cd unaccent unnest upper var_pop var_samp variance
websearch_to_tsquery width_bucket
"""

READING = frozenset(_NAMES.split())
