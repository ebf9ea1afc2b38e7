"""`pendel query` reads the published warehouse, and nothing else of the machine: each defence by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import figures
from pendel.places import Places, UserError
from tests.test_cli import Pendel, at, network, pendel  # noqa: F401  # fixtures

SECRET = "kanarie-Wolfswinkel"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that a query must not read, and a variable of the environment."""
    (tmp_path / "list.csv").write_text(f"name\n{SECRET}\n", encoding="utf-8")
    (tmp_path / "list.json").write_text(json.dumps([{"name": SECRET}]), encoding="utf-8")
    with duckdb.connect(str(tmp_path / "private.duckdb")) as con:
        con.execute(f"CREATE TABLE t AS SELECT '{SECRET}' AS name")
        con.execute(f"COPY t TO '{tmp_path / 'list.parquet'}'")
    monkeypatch.setenv("PENDEL_SECRET", SECRET)
    return tmp_path


READS = [
    "SELECT * FROM '{folder}/list.csv'",
    "SELECT * FROM '{folder}/list.parquet'",
    "SELECT * FROM '{folder}/private.duckdb'",
    "SELECT * FROM read_csv('{folder}/list.csv')",
    "SELECT * FROM read_csv_auto('{folder}/list.csv')",
    "SELECT * FROM sniff_csv('{folder}/list.csv')",
    "SELECT * FROM read_text('{folder}/*')",
    "SELECT * FROM read_blob('{folder}/list.csv')",
    "SELECT * FROM read_json('{folder}/list.json')",
    "SELECT * FROM read_json_objects('{folder}/list.json')",
    "SELECT * FROM read_ndjson_auto('{folder}/list.json')",
    "SELECT * FROM read_parquet('{folder}/list.parquet')",
    "SELECT * FROM parquet_scan('{folder}/list.parquet')",
    "SELECT * FROM parquet_file_metadata('{folder}/list.parquet')",
    "SELECT * FROM read_duckdb('{folder}/private.duckdb')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM query('SELECT * FROM read_text(''{folder}/list.csv'')')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{folder}/list.csv'')'))",
    "WITH a AS (SELECT * FROM read_text('{folder}/list.csv')) SELECT * FROM a",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT * FROM read_csv('https://example.org/list.csv')",
    "SELECT * FROM 's3://bucket/list.parquet'",
    "ATTACH '{folder}/private.duckdb' AS other (READ_ONLY)",
    "IMPORT DATABASE '{folder}'",
    "SELECT getenv('PENDEL_SECRET')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://bucket/', 's3')",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM secret_frame",
    "SELECT * FROM places",
]
WRITES = [
    "CREATE TABLE kpi.mine AS SELECT 1",
    "CREATE MACRO mine() AS 1",
    "WITH gone AS (DELETE FROM kpi.value RETURNING *) SELECT * FROM gone",
    "MERGE INTO kpi.value AS v USING kpi.value AS w ON false WHEN NOT MATCHED THEN INSERT BY NAME",
    "TRUNCATE kpi.value",
    "ALTER TABLE kpi.value ADD COLUMN mine INTEGER",
    "COMMENT ON TABLE kpi.value IS 'mine'",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out' (FORMAT parquet, PARTITION_BY (1))",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/out.duckdb'",
    "CREATE SECRET mine (TYPE s3, KEY_ID 'a', SECRET 'b')",
]
SETTINGS = [
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET memory_limit = '100GB'",
    "SET threads = 64",
    "SET temp_directory = '{folder}/spill'",
    "SET lock_configuration = false",
    "RESET memory_limit",
    "PRAGMA threads = 64",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{folder}/out.json'",
    "CALL enable_logging()",
    "SELECT * FROM enable_logging()",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/mine.duckdb_extension'",
    "FORCE INSTALL httpfs FROM 'https://example.org'",
]


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sql", READS + WRITES + SETTINGS)
def test_duckdb_itself_refuses(sql: str, network: Places, secrets: Path) -> None:  # noqa: F811
    """Without the look at the kind of statement that `figures.query` takes first."""
    import pandas as pd

    secret_frame = pd.DataFrame({"name": [SECRET]})
    before = everything(secrets), network.published.read_bytes()
    with figures.published(network) as con, pytest.raises((duckdb.Error, RuntimeError)) as refused:
        con.execute(sql.format(folder=secrets)).fetchall()
    assert SECRET not in str(refused.value)
    assert (everything(secrets), network.published.read_bytes()) == before
    assert len(secret_frame) == 1


@pytest.mark.parametrize("sql", READS + WRITES + SETTINGS)
def test_a_query_is_refused_in_a_sentence(sql: str, network: Places, secrets: Path) -> None:  # noqa: F811
    with pytest.raises(UserError) as refused:
        figures.query(network, sql.format(folder=secrets))
    assert SECRET not in str(refused.value)


NO_QUESTION = [
    "BEGIN", "CHECKPOINT", "VACUUM", "ANALYZE", "PREPARE p AS SELECT 1", "CREATE TEMP TABLE t AS SELECT 1",
    "SET VARIABLE a = 1", "USE memory", "PRAGMA database_list", "CALL pragma_version()", "UPDATE EXTENSIONS", "-- only",
]  # fmt: skip


@pytest.mark.parametrize("sql", NO_QUESTION)
def test_what_asks_nothing_is_refused(sql: str, network: Places) -> None:  # noqa: F811
    with pytest.raises(UserError, match="only read"):
        figures.query(network, sql)


def test_one_question_at_a_time(network: Places, pendel: Pendel) -> None:  # noqa: F811
    done = pendel("query", "SELECT 1 AS een; SELECT 2 AS twee", *at(network))
    assert (done.code, done.out) == (2, "")
    assert done.err == "Dit is meer dan één opdracht. Stel één vraag tegelijk, zonder ; ertussen.\n"
    assert figures.query(network, "SELECT 1 AS n;") == (["n"], [(1,)])
    assert figures.query(network, "SELECT ';' AS n -- ; a remark;") == (["n"], [(";",)])


@pytest.mark.parametrize(
    "sql",
    [
        "FROM kpi.published",
        "TABLE kpi.published",
        "DESCRIBE marts.fct_leg",
        "SUMMARIZE marts.dim_branch",
        "SHOW ALL TABLES",
        "EXPLAIN SELECT * FROM marts.fct_leg",
        "PIVOT marts.agg_lane_day ON supplying_branch USING sum(delivered) GROUP BY pickup_branch",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a",
        "SELECT table_name, comment FROM duckdb_tables()",
    ],
)
def test_what_an_analyst_asks_is_answered(sql: str, network: Places) -> None:  # noqa: F811
    names, rows = figures.query(network, sql)
    assert names
    assert rows
    assert {len(row) for row in rows} == {len(names)}


def test_a_query_cannot_take_the_whole_machine(network: Places, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with figures.published(network) as con:
        settings = dict(con.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert settings["memory_limit"] == "953.6 MiB"
    assert settings["threads"] == "2"
    assert settings["temp_directory"] == ""
    before = set(network.warehouse.iterdir())
    with pytest.raises(UserError, match="Out of Memory"):
        figures.query(network, "SELECT list(i) FROM range(1000000000) AS r (i)")
    assert set(network.warehouse.iterdir()) == before, "nothing was spilled"
    with pytest.raises(UserError, match="more than 1000000 rows"):
        figures.query(network, "SELECT i FROM range(100000000000) AS r (i)")
    monkeypatch.setattr(figures, "MOST_ROWS", 3)
    assert len(figures.query(network, "FROM range(3)")[1]) == 3
    with pytest.raises(UserError, match="more than 3 rows"):
        figures.query(network, "FROM range(4)")


VALUES = [
    ("1.50::DECIMAL(5, 2)", 1.5),
    ("sum(1.5)", 1.5),
    ("3::DECIMAL(18, 0)", 3),
    ("avg(2)", 2.0),
    ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
    ("'nan'::DOUBLE", None),
    ("'inf'::DOUBLE", None),
    ("true", True),
    ("DATE '2023-05-04'", "2023-05-04"),
    ("[1.5::DECIMAL(3, 1)]", [1.5]),
    ("{'a': 1.5::DECIMAL(3, 1)}", {"a": 1.5}),
    ("MAP {DATE '2023-05-04': 1.5}", {"2023-05-04": 1.5}),
    ("NULL", None),
]


@pytest.mark.parametrize(("sql", "expected"), VALUES)
def test_values_in_json(sql: str, expected: Any, network: Places, pendel: Pendel) -> None:  # noqa: F811
    done = pendel("query", f"SELECT {sql} AS v", "--format", "json", *at(network))
    [found] = json.loads(done.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found == {"v": expected}
    assert type(found["v"]) is type(expected)


def test_two_columns_of_one_name_are_both_told(network: Places, pendel: Pendel) -> None:  # noqa: F811
    assert pendel("query", "SELECT 1 AS a, 2 AS b, 3 AS a", "--format", "json", *at(network)).json == [
        {"a": 1, "b": 2, "a_3": 3}
    ]
