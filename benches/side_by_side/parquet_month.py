"""Writes a CSV month of the benchmark as the agency publishes months since 2023: Parquet with zstd, in one row group, int32
ids, int64 codes, large strings, times in microseconds without a zone.

Called with the gzipped CSV and the path of the Parquet file.
"""

import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

source, target = sys.argv[1:]
ids = dict.fromkeys(["VendorID", "PULocationID", "DOLocationID"], pa.int32())
codes = dict.fromkeys(["passenger_count", "RatecodeID", "payment_type"], pa.int64())
times = dict.fromkeys(["tpep_pickup_datetime", "tpep_dropoff_datetime"], pa.timestamp("us"))
amounts = dict.fromkeys(
    ["trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge",
     "total_amount", "congestion_surcharge"], pa.float64())
types = ids | codes | times | amounts | {"store_and_fwd_flag": pa.large_string()}
options = pyarrow.csv.ConvertOptions(column_types=types, timestamp_parsers=["%Y-%m-%d %H:%M:%S"], strings_can_be_null=True)
table = pyarrow.csv.read_csv(source, convert_options=options)
pyarrow.parquet.write_table(table, target, compression="zstd", row_group_size=len(table))
