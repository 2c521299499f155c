"""Tables of predictions: any parts give the same table, names come back as categories, and parts can be picked."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pkdot.tables import TableWriter, copy_parts, read_parts


def table_of(method, seed, rows):
    return pd.DataFrame(
        {"method": method, "seed": seed, "name": [f"n{i % 3}" for i in range(rows)], "x": range(rows)}
    ).astype({"name": object, "method": object, "x": int})


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_parts_are_one_table(lengths, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "table.parquet"
    tables = [table_of("kd", number, length) for number, length in enumerate(lengths)]
    with TableWriter(path) as writer:
        for table in tables:
            writer.write(table)
    whole = pd.read_parquet(path)
    assert isinstance(whole["name"].dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(
        whole.astype({"name": str, "method": str}),
        pd.concat(tables, ignore_index=True).astype({"name": str, "method": str}),
        check_dtype=False,
    )


def test_parts_are_picked_by_method_and_seed(tmp_path):
    with TableWriter(tmp_path / "a.parquet") as writer:
        for method in ("kd", "sp"):
            for seed in (0, 7):
                writer.write(table_of(method, seed, 4))
    with TableWriter(tmp_path / "b.parquet") as writer:
        copy_parts(tmp_path / "a.parquet", writer)
    for name in ("a", "b"):
        (part,) = read_parts(tmp_path / f"{name}.parquet", method="sp", seed=7)
        assert (part["method"] == "sp").all()
        assert (part["seed"] == 7).all()
        assert len(list(read_parts(tmp_path / f"{name}.parquet", ["x"], method="kd"))) == 2
        assert not list(read_parts(tmp_path / f"{name}.parquet", method="rkd"))


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    with TableWriter(tmp_path / "empty.parquet") as writer:
        writer.write(table_of("kd", 0, 0))
    assert list(pd.read_parquet(tmp_path / "empty.parquet")) == ["method", "seed", "name", "x"]
    assert not list(read_parts(tmp_path / "empty.parquet"))
