"""A bundle that takes whatever modalities are there: from their files, one of them, or a table with gaps."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from bundles import CHANNELS, drawn, whatever

import pkdot
from pkdot.cli import main
from pkdot.errors import ConfigError, DataError
from pkdot.inference.bundle import write_bundle
from pkdot.inference.export import export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    said = whatever()
    path = tmp_path_factory.mktemp("any") / "student"
    write_bundle(path, said, drawn(said))
    return path


@pytest.fixture
def predicted(folder, tmp_path):
    """Rows of ``pkdot predict`` with these words."""

    def run(*words):
        out = tmp_path / "table.csv"
        main(["predict", str(folder), *map(str, words), "--out", str(out)])
        with open(out, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return run


def numbers(rows):
    return np.array([[float(row[name]) for name in row if name.startswith("p_")] for row in rows])


def arrays(count=4):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(count, channels, 32)).astype(np.float32) for name, channels in CHANNELS.items()}


def test_files_are_given_by_the_names_of_their_modalities(predicted, recordings):
    both = predicted("--motion", recordings["motion"], f"--pulse={recordings['pulse']}")
    alone = predicted("--motion", recordings["motion"])
    other = predicted("--pulse", recordings["pulse"])
    assert [len(rows) for rows in (both, alone, other)] == [3, 3, 3]
    assert {row["present"] for row in both} == {"motion+pulse"}
    assert {row["present"] for row in alone} == {"motion"}
    assert {row["present"] for row in other} == {"pulse"}
    assert not np.allclose(numbers(both), numbers(alone))
    assert not np.allclose(numbers(alone), numbers(other))
    assert numbers(alone).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_python_takes_some_of_the_files_too(folder, predicted, recordings):
    student = pkdot.load_student(folder)
    table = student.predict({"motion": recordings["motion"]})
    told = numbers(predicted("--motion", recordings["motion"]))
    np.testing.assert_allclose(table.filter(like="p_").to_numpy(dtype=float), told, atol=1e-5)
    with pytest.raises(DataError, match="'face' is missing or unknown"):
        student.predict({"face": recordings["motion"]})
    with pytest.raises(DataError, match="missing or unknown"):
        student.predict({})


def test_what_is_absent_may_be_anything(folder):
    student = pkdot.load_student(folder)
    batch = arrays()
    present = np.ones((4, 2, 2), dtype=bool)
    present[:, 1] = False
    alone = student.predict_each([{"motion": one} for one in batch["motion"]])
    for value in (0.0, 9.0, np.nan):
        filled = {**batch, "pulse": np.full_like(batch["pulse"], value)}
        assert np.array_equal(student.predict_arrays(filled, present), alone)
    mixed = student.predict_each([{name: batch[name][i] for name in (["motion"] if i else CHANNELS)} for i in range(4)])
    np.testing.assert_allclose(mixed[1:], alone[1:], atol=1e-6)
    np.testing.assert_allclose(mixed[0], student.predict_arrays(batch)[0], atol=1e-6)


def test_tokens_that_were_filled_in_are_absent(folder):
    student = pkdot.load_student(folder)
    batch = arrays(1)
    sample = {name: values[0] for name, values in batch.items()}
    present = np.array([[[True, True], [False, True]]])
    found = student.predict_each([sample], [{"motion": [0.1, 0.3], "pulse": [0.0, 0.4]}])
    assert np.array_equal(found, student.predict_arrays(batch, present))
    assert not np.array_equal(found, student.predict_each([sample]))


def test_a_modality_of_which_most_was_filled_in_is_absent(recordings, tmp_path, capsys):
    """Both tokens of the pulse are 60 % missing, which the feature allows here."""
    said = whatever()
    for modality in said.modalities.values():
        modality.feature.options["max_missing"] = 0.7
    write_bundle(tmp_path / "loose", said, drawn(said))
    values = np.load(recordings["pulse"])
    values[np.arange(len(values)) % 5 < 3] = np.nan
    np.save(tmp_path / "pulse.npy", values)
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "loose"), "--pulse", str(tmp_path / "pulse.npy")])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {(row["present"], row["prediction"]) for row in rows} == {("", "")}
    assert all("more than half of every part of its time was filled in" in row["note"] for row in rows)


def test_a_sample_that_is_named_by_its_times_has_the_same_gaps(folder, recordings, tmp_path):
    said = whatever()
    for modality in said.modalities.values():
        modality.feature.options["max_missing"] = 0.6
    write_bundle(tmp_path / "loose", said, drawn(said))
    student = pkdot.load_student(tmp_path / "loose")
    gap = np.load(recordings["pulse"])[:32]
    gap[:15] = np.nan
    for name, values in (("pulse", gap), ("motion", np.load(recordings["motion"])[:32])):
        np.save(tmp_path / f"{name}_start.npy", values)
    files = {name: tmp_path / f"{name}_start.npy" for name in CHANNELS}
    by_file, by_times = student.predict(files), student.predict(student.sources(files, start=0))
    np.testing.assert_allclose(*(table.filter(like="p_").to_numpy(float) for table in (by_file, by_times)), atol=1e-6)


def test_a_table_may_have_gaps(predicted, recordings, tmp_path):
    table = tmp_path / "recordings.csv"
    rows = [("both", "motion.npy", "pulse.npy"), ("first", "motion.npy", ""), ("second", "", "pulse.npy")]
    text = "\n".join(["recording_id,motion,pulse", *(",".join(row) for row in rows)])
    table.write_text(f"{text}\n", encoding="utf-8")
    found = predicted(table)
    assert {(row["source"], row["present"]) for row in found} == {
        ("both", "motion+pulse"), ("first", "motion"), ("second", "pulse"),
    }  # fmt: skip


def test_a_file_that_cannot_be_read_is_absent_and_the_note_says_so(predicted, recordings, tmp_path):
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"no array")
    whole = predicted("--motion", recordings["motion"])
    found = predicted("--motion", recordings["motion"], "--pulse", broken)
    assert {row["present"] for row in found} == {"motion"}
    assert all("broken.npy" in row["note"] for row in found)
    assert np.array_equal(numbers(found), numbers(whole))


def test_a_file_that_is_not_there_is_absent_as_in_a_table(predicted, recordings, tmp_path):
    whole = predicted("--motion", recordings["motion"])
    found = predicted("--motion", recordings["motion"], "--pulse", tmp_path / "none.npy")
    assert {row["present"] for row in found} == {"motion"}
    assert all("none.npy" in row["note"] for row in found)
    assert np.array_equal(numbers(found), numbers(whole))


@pytest.mark.parametrize(("moments", "there"), [(0, 0), (20, 0), (60, 1)])
def test_a_file_that_ends_early_takes_no_window_from_the_others(predicted, recordings, tmp_path, moments, there):
    short = tmp_path / "short.npy"
    np.save(short, np.load(recordings["pulse"])[:moments])
    whole = predicted("--motion", recordings["motion"])
    found = predicted("--motion", recordings["motion"], "--pulse", short)
    assert [row["present"] for row in found] == ["motion+pulse"] * there + ["motion"] * (3 - there)
    assert [row["stop"] for row in found] == [row["stop"] for row in whole]
    assert all("short.npy" in row["note"] for row in found[there:])
    np.testing.assert_allclose(numbers(found)[there:], numbers(whole)[there:], atol=1e-5)


@pytest.mark.parametrize("words", [["--pulse"], ["--pulse", "--motion", "x.npy"], ["--pulse="], ["--pulse", ""]])
def test_a_modality_whose_file_was_forgotten_takes_no_other_option_for_it(predicted, capsys, words):
    with pytest.raises(SystemExit):
        predicted(*words)
    assert "argument --pulse: expected the file of a modality after it" in capsys.readouterr().err


def test_an_array_is_not_taken_for_two_modalities_at_once(folder, recordings, capsys, tmp_path):
    """Both are arrays, and nothing in the file says which of them it is."""
    said = "may be motion or pulse; give it by the name of its modality"
    with pytest.raises(SystemExit):
        main(["predict", str(folder), str(recordings["pulse"])])
    assert said in capsys.readouterr().out
    with pytest.raises(DataError, match=said):
        pkdot.load_student(folder).predict(recordings["pulse"])
    parts = whatever()
    parts = parts.model_copy(
        update={"modalities": {n: m.model_copy(update={"part": n}) for n, m in parts.modalities.items()}}
    )
    write_bundle(tmp_path / "parts", parts, drawn(parts))
    np.savez(tmp_path / "many.npz", **{name: np.load(path) for name, path in recordings.items()})
    main(["predict", str(tmp_path / "parts"), str(tmp_path / "many.npz")])
    assert "motion+pulse" in capsys.readouterr().out, "the arrays of an archive have names"


def test_a_modality_is_given_once(predicted, recordings):
    with pytest.raises(SystemExit):
        predicted("--motion", recordings["motion"], "--motion", recordings["motion"])


def test_an_array_of_an_archive_is_named_in_brackets_as_in_a_table(predicted, recordings, tmp_path):
    many = tmp_path / "many.npz"
    np.savez(many, a=np.load(recordings["motion"]), b=np.load(recordings["pulse"]))
    whole = predicted("--motion", recordings["motion"], "--pulse", recordings["pulse"])
    found = predicted("--motion", f"{many}[a]", f"--pulse={many}[b]")
    assert {row["present"] for row in found} == {"motion+pulse"}
    assert np.array_equal(numbers(found), numbers(whole))
    odd = recordings["pulse"].rename(tmp_path / "pulse[b].npy")
    assert np.array_equal(numbers(predicted("--pulse", odd)), numbers(predicted("--pulse", f"{many}[b]")))
    table = tmp_path / "all.csv"
    np.savetxt(table, np.load(recordings["motion"]), delimiter=",", header="x,y", comments="")
    np.testing.assert_allclose(
        numbers(predicted("--motion", f"{table}[x,y]")), numbers(predicted("--motion", f"{many}[a]")), atol=1e-5
    )
    assert "many.npz" in predicted("--pulse", f"{many}[b]", "--motion", f"{many}[c]")[0]["note"]


def test_an_option_that_there_is_not_is_a_sentence(folder, recordings):
    cases = {
        "--outt": "Did you mean --out?",
        "--motoin": "Did you mean --motion?",
        "--face": "The bundle takes --motion and --pulse.",
    }
    for wrong, hint in cases.items():
        with pytest.raises(SystemExit, match=f"there is no option {wrong}. {hint}"):
            main(["predict", str(folder), "--motion", str(recordings["motion"]), wrong, "x.csv"])


def test_without_anything_there_is_no_prediction(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["predict", str(folder), "--motion", str(tmp_path / "none.npy")])
    assert "none.npy" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="name a source"):
        main(["predict", str(folder)])


def test_other_bundles_still_want_all_of_theirs(bundle, recordings, capsys):
    with pytest.raises(SystemExit):
        main(["predict", str(bundle), "--motion", str(recordings["motion"])])
    assert "the pulse is missing" in capsys.readouterr().out
    main(["predict", str(bundle), "--motion", str(recordings["motion"]), "--pulse", str(recordings["pulse"])])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 3
    assert "present" not in rows[0]


def test_options_of_the_verb_are_told_from_names_of_modalities(predicted, recordings):
    rows = predicted("--every", "1", "--motion", recordings["motion"])
    assert len(rows) == 6
    with pytest.raises((SystemExit, ConfigError)):
        predicted("--every")


def test_it_is_exported_with_its_mask(folder):
    found = export(folder, [])
    one, other = (pkdot.load_student(path) for path in (folder, found.path))
    batch = arrays(5)
    some = [{name: batch[name][i] for name in list(CHANNELS)[: 1 + i % 2]} for i in range(5)]
    np.testing.assert_allclose(other.predict_each(some), one.predict_each(some), atol=1e-5)
    np.testing.assert_allclose(other.predict_arrays(batch), one.predict_arrays(batch), atol=1e-5)


def test_a_table_may_say_what_is_absent(predicted, recordings, tmp_path):
    """Of the pulse the first window and 1/32 of the second: as NaN in the array says it."""
    values = np.load(recordings["pulse"])
    values[:33] = np.nan
    np.save(tmp_path / "holes.npy", values)
    table = tmp_path / "recordings.csv"
    rows = [("list", "pulse.npy", "1.5-2.0625; 0-1.75"), ("arrays", "holes.npy", "")]
    text = "\n".join(["recording_id,motion,pulse,pulse_absent", *(f"{a},motion.npy,{b},{c}" for a, b, c in rows)])
    table.write_text(f"{text}\n", encoding="utf-8")
    found = predicted(table)
    by_list, by_arrays = ([row for row in found if row["source"] == name] for name in ("list", "arrays"))
    assert len(by_list) > 1
    np.testing.assert_array_equal(numbers(by_list), numbers(by_arrays))
    assert [row["present"] for row in by_list] == [row["present"] for row in by_arrays]
    assert {row["present"] for row in by_list} == {"motion", "motion+pulse"}
    table.write_text("recording_id,motion,pulse,pulse_absent\nr,motion.npy,pulse.npy,2-1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        predicted(table)
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines())
    assert "row 2: the pulse_absent '2-1' is not like" in row["note"]


def test_a_modality_that_begins_late_takes_no_window_from_the_others(predicted, recordings, tmp_path):
    """The pulse lasts from the fourth second to the eleventh, and the motion to the seventh."""
    whole = predicted("--motion", recordings["motion"])
    table = tmp_path / "recordings.csv"
    lines = ["late,motion.npy,pulse.npy,4", "later,motion.npy,pulse.npy,1e9", "broken,motion.npy,none.npy,4"]
    table.write_text("\n".join(["recording_id,motion,pulse,pulse_offset", *lines]) + "\n", encoding="utf-8")
    found = {name: [row for row in predicted(table) if row["source"] == name] for name in ("late", "later", "broken")}
    assert [row["start"] for row in found["late"]] == ["0.0", "2.0", "4.0", "6.0", "8.0"]
    assert [row["present"] for row in found["late"]] == ["motion", "motion", "motion+pulse", "pulse", "pulse"]
    np.testing.assert_allclose(numbers(found["late"][:2]), numbers(whole[:2]), atol=1e-5)
    assert all("pulse.npy: begins at 4 s" in row["note"] for row in found["late"][:2])
    assert [row["present"] for row in found["later"]] == ["motion"] * 3 + ["pulse"] * 3
    np.testing.assert_allclose(numbers(found["broken"]), numbers(whole), atol=1e-5)


def test_windows_begin_where_all_modalities_do_if_that_loses_none(predicted, recordings, tmp_path):
    table = tmp_path / "recordings.csv"
    table.write_text("recording_id,motion,pulse,pulse_offset\nr,motion.npy,pulse.npy,0.25\n", encoding="utf-8")
    found = predicted(table)
    assert [(row["start"], row["present"]) for row in found] == [(str(t + 0.25), "motion+pulse") for t in (0, 2, 4)]


def test_a_rate_that_cannot_be_costs_its_own_row(folder, recordings, tmp_path, capsys):
    table = tmp_path / "recordings.csv"
    lines = ["wrong,motion.npy,pulse.npy,1e-9", "right,motion.npy,pulse.npy,16"]
    table.write_text("\n".join(["recording_id,motion,pulse,rate", *lines]) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["predict", str(folder), str(table)])
    wrong, *right = csv.DictReader(capsys.readouterr().out.splitlines())
    assert "wrong: has 1.12e+11 windows, and 1,000,000 are allowed" in wrong["note"]
    assert len(right) == 3


def test_python_says_of_each_window_what_was_there(folder, predicted, recordings, tmp_path):
    """The first window of the pulse is empty, and that of the motion as well in the second case."""
    for name in CHANNELS:
        values = np.load(recordings[name])
        values[:32] = np.nan
        np.save(tmp_path / f"{name}_late.npy", values)
    student = pkdot.load_student(folder)
    late = tmp_path / "pulse_late.npy"
    for files in (
        {**recordings, "pulse": late},
        {"pulse": late},
        {"motion": tmp_path / "motion_late.npy", "pulse": late},
    ):
        table = student.predict(files)
        told = predicted(*(word for name, file in files.items() for word in (f"--{name}", file)))
        assert table["present"].tolist() == [row["present"] for row in told]
        assert table["note"].tolist() == [row["note"] for row in told]
        assert table["prediction"].tolist() == [row["prediction"] or None for row in told]
        numbers_of = [[float(row[name] or "nan") for name in row if name.startswith("p_")] for row in told]
        np.testing.assert_allclose(table.filter(like="p_").to_numpy(float), numbers_of, atol=1e-5)
    np.save(tmp_path / "nothing.npy", np.full((64, 1), np.nan))
    with pytest.raises(DataError, match=r"nothing\.npy, row 0: a value is not a finite number"):
        student.predict({"pulse": tmp_path / "nothing.npy"})


def test_a_batch_that_does_not_fit_is_a_sentence(folder):
    student, exported = pkdot.load_student(folder), pkdot.load_student(export(folder, [], folder / "x.onnx").path)
    batch, present = arrays(), np.ones((4, 2, 2), dtype=bool)
    for one in (student, exported):
        for wrong in (present[:, 0], present[:1], present[:, :1], np.ones((4, 3, 2), bool), np.ones((4, 2, 3), bool)):
            with pytest.raises(DataError, match=r"present holds bool of shape .*, not bool of shape \(4, 2, 2\)"):
                one.predict_arrays(batch, wrong)
        with pytest.raises(DataError, match="present holds int64"):
            one.predict_arrays(batch, present.astype(int))
        with pytest.raises(DataError, match="arrays of motion and pulse are of 3 and 4 samples"):
            one.predict_arrays({**batch, "pulse": batch["pulse"][:3]})
        with pytest.raises(DataError, match="there is no sample"):
            one.predict_each([])
        with pytest.raises(DataError, match="'puls' is missing or unknown"):
            one.predict_each([{"puls": batch["pulse"][0]}])
