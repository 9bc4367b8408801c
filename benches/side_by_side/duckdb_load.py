"""Loads one month, gzipped CSV or Parquet, into PostgreSQL with DuckDB: its reader, its md5, its PostgreSQL extension.

Called with the URL of the database, the file and the name that the rows carry. The tables exist already.
"""

import glob
import os
import sys

import duckdb
import duckdb_extension_postgres_scanner

url, path, filename = sys.argv[1:]
extension = glob.glob(
    os.path.join(os.path.dirname(duckdb_extension_postgres_scanner.__file__), "**/*.duckdb_extension"), recursive=True
)[0]
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute(f"LOAD '{extension}'")
db.execute(f"ATTACH '{url}' AS pg (TYPE postgres)")

number = lambda column: f"coalesce(printf('%g', {column}), '')"
db.execute("CALL postgres_execute('pg', 'TRUNCATE public.yellow_tripdata_staging')")
csv = f"""read_csv('{path}', header = true, columns = {{
        'VendorID': 'VARCHAR', 'tpep_pickup_datetime': 'TIMESTAMP', 'tpep_dropoff_datetime': 'TIMESTAMP',
        'passenger_count': 'INTEGER', 'trip_distance': 'DOUBLE', 'RatecodeID': 'VARCHAR',
        'store_and_fwd_flag': 'VARCHAR', 'PULocationID': 'VARCHAR', 'DOLocationID': 'VARCHAR',
        'payment_type': 'INTEGER', 'fare_amount': 'DOUBLE', 'extra': 'DOUBLE', 'mta_tax': 'DOUBLE',
        'tip_amount': 'DOUBLE', 'tolls_amount': 'DOUBLE', 'improvement_surcharge': 'DOUBLE',
        'total_amount': 'DOUBLE', 'congestion_surcharge': 'DOUBLE'}})"""
rows = f"read_parquet('{path}')" if path.endswith(".parquet") else csv
db.execute(f"""
    INSERT INTO pg.public.yellow_tripdata_staging
    SELECT md5(concat(VendorID, strftime(tpep_pickup_datetime, '%Y-%m-%d %H:%M:%S'),
                      strftime(tpep_dropoff_datetime, '%Y-%m-%d %H:%M:%S'), PULocationID, DOLocationID,
                      {number('fare_amount')}, {number('trip_distance')})), '{filename}', *
    FROM {rows}
""")
db.execute("""
    CALL postgres_execute('pg', 'MERGE INTO public.yellow_tripdata t USING public.yellow_tripdata_staging s
        ON t.unique_row_id = s.unique_row_id WHEN NOT MATCHED THEN INSERT VALUES (s.*)')
""")
