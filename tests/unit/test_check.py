"""The definitions themselves: tables, fields and units agree with each other and with DuckDB and Polars."""

from __future__ import annotations

import pytest

from costops.transforms import query
from costops.transforms.fields import FIELDS, Type
from costops.transforms.tables import CORE_CHARGE, CORE_USAGE, TABLE, TABLES, Table
from costops.transforms.units import INPUT_LEAVES, UNIT, UNITS, parts_of


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_names_only_columns_that_it_has(table: Table) -> None:
    names = set(table.columns)
    assert len(names) == len(table.fields)
    assert {*table.key, *table.partition, *table.sort, *table.required} <= names
    assert table.grain
    assert all(field.doc for field in table.fields)
    assert table.name.split("_")[0] in {"core", "out", "run"}


def test_no_two_tables_share_a_name() -> None:
    assert len(TABLE) == len(TABLES)


@pytest.mark.parametrize("kind", list(Type), ids=lambda kind: kind.name)
def test_polars_and_duckdb_mean_the_same_type(kind: Type) -> None:
    made = query.frame(query.connect(threads=1), f"SELECT cast(NULL AS {kind.duckdb}) AS x")
    assert made.schema["x"] == kind.polars


OTHERWISE = {("out_anomaly", "expected")}
"""Names that a published form gives to something else: the contract's columns of anomalies."""


def test_the_same_name_means_the_same_in_every_table() -> None:
    for table in TABLES:
        for field in table.fields:
            if field.name in FIELDS and (table.name, field.name) not in OTHERWISE:
                wanted = FIELDS[field.name].type
                assert field.type in {wanted, Type.USD_SUM if wanted is Type.USD_ROW else wanted}, (
                    f"{table.name}.{field.name} is {field.type.name}, elsewhere {wanted.name}")


def test_usage_is_the_beginning_of_charges() -> None:
    assert CORE_CHARGE.columns[: len(CORE_USAGE.columns)] == CORE_USAGE.columns


def test_every_unit_has_its_count_and_its_cost() -> None:
    for unit in UNITS:
        assert CORE_CHARGE.type_of(unit.column) is Type.COUNT
        assert CORE_CHARGE.type_of(unit.cost_column) is Type.USD_ROW
        assert unit.part_of is None or UNIT[unit.part_of].part_of is None      # parts have no parts
    assert {unit.name for unit in parts_of("output")} >= {"reasoning", "audio_output"}
    assert set(INPUT_LEAVES) == {unit.column for unit in UNITS if unit.direction == "input" and not unit.part_of}


def test_money_never_is_a_float() -> None:
    for table in TABLES:
        for field in table.fields:
            if field.name.endswith("_usd") or (field.name.endswith("Cost") and table.name.startswith("core_b")):
                assert field.type.duckdb.startswith("DECIMAL"), f"{table.name}.{field.name}"
