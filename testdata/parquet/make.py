#!/usr/bin/env python3
"""Makes the Parquet files of this folder: the same invented green trips in every form that programs write, and trips
that no load may accept. Needs pyarrow (pip install pyarrow); run it here. The same rows come out every time.

same/    rows.csv.gz, and the same rows as Parquet: other types, codecs, encodings and page versions
wrong/   five trips each, of which the third has a value that does not fit exactly, or a column that does not
"""
import gzip
import io
import csv
import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
COLUMNS = [
    "VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "RatecodeID", "PULocationID",
    "DOLocationID", "passenger_count", "trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount",
    "ehail_fee", "improvement_surcharge", "total_amount", "payment_type", "trip_type", "congestion_surcharge",
]
TIMES = ["lpep_pickup_datetime", "lpep_dropoff_datetime"]
CODES = ["RatecodeID", "passenger_count", "payment_type", "trip_type"]
IDS = ["VendorID", "PULocationID", "DOLocationID"]
MONEY = ["trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge",
         "total_amount", "congestion_surcharge"]


def trips(rows):
    """Rows as published: whole cents, a block without codes at the end, a trip of another year."""
    below = random.Random(20200301).randrange
    for row in range(rows):
        pickup = datetime(2020, 3, 1) + timedelta(seconds=row * 20000 % 2_500_000 + below(3600))
        if row == 7:
            pickup = datetime(2009, 1, 1, 0, 12, 44)
        known = row < rows * 9 // 10
        code = lambda limit: below(limit) + 1 if known else None
        fare = 250 + 50 * below(80)
        tip = below(900) if below(3) else 0
        yield {
            "VendorID": code(2), "lpep_pickup_datetime": pickup,
            "lpep_dropoff_datetime": pickup + timedelta(seconds=60 + below(2400)),
            "store_and_fwd_flag": "N" if known else None, "RatecodeID": code(5), "PULocationID": below(263) + 1,
            "DOLocationID": below(263) + 1, "passenger_count": code(6), "trip_distance": below(1500) / 100,
            "fare_amount": -fare / 100 if row == 11 else fare / 100, "extra": below(3) / 2, "mta_tax": 0.5,
            "tip_amount": tip / 100, "tolls_amount": 0.0, "ehail_fee": None, "improvement_surcharge": 0.3,
            "total_amount": (fare + tip + 80) / 100, "payment_type": code(4), "trip_type": code(2),
            "congestion_surcharge": 2.75 if known else None,
        }


def table(rows, **types):
    """The rows with the agency's types of 2023, or others."""
    kinds = dict.fromkeys(IDS + CODES, pa.int64()) | dict.fromkeys(MONEY, pa.float64())
    kinds |= dict.fromkeys(TIMES, pa.timestamp("us")) | {"store_and_fwd_flag": pa.string(), "ehail_fee": pa.null()}
    kinds |= types
    return pa.table([pa.array([row[name] for row in rows], kinds[name]) for name in COLUMNS], COLUMNS)


def text(value):
    return "" if value is None else str(value)


def write(folder, name, content, **options):
    path = HERE / folder / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(content, path, **options)


def same(rows):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([text(row[name]) for name in COLUMNS] for row in rows)
    (HERE / "same").mkdir(exist_ok=True)
    (HERE / "same" / "rows.csv.gz").write_bytes(gzip.compress(out.getvalue().encode(), mtime=0))
    doubles = dict.fromkeys(IDS + CODES, pa.float64())
    small = dict.fromkeys(IDS, pa.int32()) | dict.fromkeys(CODES, pa.int64())
    as_times = lambda unit: dict.fromkeys(TIMES, pa.timestamp(unit))
    write("same", "until_2023", table(rows, **dict.fromkeys(CODES, pa.float64())), compression="gzip")
    write("same", "since_2023", table(rows, **small, store_and_fwd_flag=pa.large_string()), compression="zstd")
    write("same", "doubles_brotli", table(rows, **doubles, ehail_fee=pa.float64()), compression="brotli")
    write("same", "seconds_lz4", table(rows, **as_times("s")), compression="lz4")
    write("same", "milliseconds_snappy", table(rows, **as_times("ms")), compression="snappy")
    write("same", "nanoseconds", table(rows, **as_times("ns")), compression="none", version="2.6")
    write("same", "int96", table(rows), use_deprecated_int96_timestamps=True)
    write("same", "row_groups", table(rows), row_group_size=17, data_page_size=64)
    write("same", "page_v2", table(rows), data_page_version="2.0", data_page_size=64, compression="zstd")
    write("same", "plain", table(rows), use_dictionary=False, write_statistics=False)
    delta = {name: "DELTA_BINARY_PACKED" for name in IDS + CODES + TIMES}
    delta |= {name: "BYTE_STREAM_SPLIT" for name in MONEY} | {"store_and_fwd_flag": "DELTA_LENGTH_BYTE_ARRAY"}
    write("same", "delta", table(rows), use_dictionary=False, column_encoding=delta)
    single = dict.fromkeys(["extra", "mta_tax", "congestion_surcharge"], pa.float32())
    tiny = {"passenger_count": pa.uint8(), "payment_type": pa.int8(), "trip_type": pa.uint16(), "RatecodeID": pa.uint64()}
    write("same", "small_types", table(rows, **single, **tiny))
    cents = [{**row, **{name: Decimal(str(row[name])) for name in ["fare_amount", "tip_amount", "total_amount"]}}
             for row in rows]
    decimals = {"fare_amount": pa.decimal128(9, 2), "tip_amount": pa.decimal128(18, 2), "total_amount": pa.decimal128(30, 2)}
    write("same", "decimals", table(cents, **decimals), store_decimal_as_integer=True)
    write("same", "decimals_fixed", table(cents, **decimals))
    # all as text, as a program that reads CSV without types writes it
    texts = [{name: None if row[name] is None else text(row[name]) for name in COLUMNS} for row in rows]
    write("same", "texts", table(texts, **dict.fromkeys(COLUMNS, pa.string())))
    write("same", "binaries", table(texts, **dict.fromkeys(COLUMNS, pa.binary())))
    # upper and lower case, and another order of the columns
    mixed = table(rows).select(COLUMNS[::-1])
    write("same", "other_names", mixed.rename_columns([name.swapcase() for name in mixed.column_names]))


def wrong(rows):
    def with_third(name, column, value, kind, **options):
        changed = [dict(row) for row in rows]
        changed[2][column] = value
        write("wrong", name, table(changed, **{column: kind}), **options)

    day = datetime(2020, 3, 5, 12)
    with_third("fraction", "passenger_count", 1.5, pa.float64())
    with_third("not_a_number", "passenger_count", float("nan"), pa.float64())
    texts = [{**row, "fare_amount": str(row["fare_amount"])} for row in rows]
    texts[2]["fare_amount"] = "free"
    write("wrong", "word", table(texts, fare_amount=pa.string()))
    with_third("large", "passenger_count", 2**31, pa.int64())
    with_third("unsigned", "VendorID", 2**64 - 1, pa.uint64())
    with_third("large_double", "payment_type", 1e19, pa.float64())
    nanoseconds = table(rows, lpep_dropoff_datetime=pa.timestamp("ns"))
    odd = [int((row["lpep_dropoff_datetime"] - datetime(1970, 1, 1)).total_seconds()) * 10**9 for row in rows]
    odd[2] += 1
    place = COLUMNS.index("lpep_dropoff_datetime")
    column = pa.array(odd, pa.int64()).cast(pa.timestamp("ns"))
    write("wrong", "nanosecond", nanoseconds.set_column(place, "lpep_dropoff_datetime", column), version="2.6")
    far = [int((row["lpep_dropoff_datetime"] - datetime(1970, 1, 1)).total_seconds()) for row in rows]
    far[2] = 10**12
    column = pa.array(far, pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp("ms"))
    write("wrong", "far_future", table(rows).set_column(place, "lpep_dropoff_datetime", column))
    with_third("nul_byte", "store_and_fwd_flag", "N\0", pa.string())
    with_third("not_utf8", "store_and_fwd_flag", b"\xff", pa.binary())
    with_third("long_text", "store_and_fwd_flag", "x" * (1024 * 1024 + 1), pa.string(), compression="zstd")
    with_third("half_a_number", "VendorID", Decimal("1.5"), pa.decimal128(9, 1))
    instants = {name: pa.timestamp("us", "UTC") for name in TIMES}
    write("wrong", "instants", table(rows, **instants))
    nested = table(rows)
    lists = pa.array([[1]] * len(rows), pa.list_(pa.int64()))
    write("wrong", "nested", nested.set_column(COLUMNS.index("passenger_count"), "passenger_count", lists))
    clock = pa.array([3600] * len(rows), pa.int32()).cast(pa.time32("s"))
    write("wrong", "time_of_day", nested.set_column(COLUMNS.index("payment_type"), "payment_type", clock))


def more(rows):
    """Files with more columns, and one without rows."""
    plain = table(rows)
    fee = pa.array([0.75] * len(rows), pa.float64())
    write("more", "fee", plain.append_column("cbd_congestion_fee", fee))
    write("more", "fee_and_index", plain.append_column("cbd_congestion_fee", fee).append_column(
        "__index_level_0__", pa.array(range(len(rows)), pa.int64())))
    write("more", "without_values", plain.append_column("airport_note", pa.nulls(len(rows))))
    write("more", "no_rows", plain.slice(0, 0))
    write("more", "no_zones", plain.drop_columns(["PULocationID"]))
    # the names of 2009 and 2010, of a yellow file
    names = {"lpep_pickup_datetime": "Trip_Pickup_DateTime", "lpep_dropoff_datetime": "Trip_Dropoff_DateTime",
             "VendorID": "vendor_name", "fare_amount": "Fare_Amt", "tip_amount": "Tip_Amt", "tolls_amount": "Tolls_Amt",
             "total_amount": "Total_Amt", "RatecodeID": "Rate_Code", "store_and_fwd_flag": "store_and_forward"}
    old = [{**row, **{name: str(row[name]) for name in TIMES}} for row in rows]
    old = table(old, **dict.fromkeys(TIMES, pa.string())).drop_columns(["extra", "ehail_fee", "improvement_surcharge", "trip_type"])
    write("more", "names_of_2009", old.rename_columns([names.get(name, name) for name in old.column_names]))


if __name__ == "__main__":
    everything = list(trips(120))
    same(everything)
    wrong([dict(row) for row in everything[:5]])
    more(everything[:5])
