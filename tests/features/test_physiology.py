"""Physiology: signals of known rate, level and tone come out as they are; broken ones with the reason."""

import neurokit2 as nk
import numpy as np
import pytest
from pydantic import ValidationError

from pkdot.errors import DataError
from pkdot.features.base import FeatureChoice, Source
from pkdot.features.physiology import Physiology, PhysiologyOptions

COLUMNS = ("gsr", "ecg", "emg_trapezius")
RATE = 512
ROWS = 2816


def write(path, rate=RATE, sep="\t", time=None, **columns):
    length = len(next(iter(columns.values())))
    time = np.round(np.arange(length) * 1e6 / rate).astype(int) if time is None else time
    lines = [sep.join(("time", *columns))]
    lines += [sep.join(map(str, row)) for row in zip(time, *columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def extract(path, start=None, stop=None, **options):
    feature = Physiology(PhysiologyOptions(**options))
    got = feature.extract(Source("sample", path, start, stop))
    assert got.array.shape == feature.shape
    assert got.array.dtype.name == feature.dtype == "float32"
    assert np.isfinite(got.array).all()
    return got


def eda(seconds=5.5, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return 3 + 0.02 * time + 0.8 / (1 + np.exp(-(time - 3) * 3)) + 1e-3 * np.sin(40 * time)


def ecg(beats=72, seconds=6):
    return nk.ecg_simulate(duration=seconds, sampling_rate=RATE, heart_rate=beats, random_state=1)[:ROWS]


def emg(level=5.0, seed=0, rows=ROWS):
    return level * np.random.default_rng(seed).normal(size=rows)


@pytest.fixture
def sound(tmp_path):
    return write(tmp_path / "a.csv", gsr=eda(), ecg=ecg(), emg_trapezius=emg())


@pytest.mark.parametrize("signal", ["eda", "ecg", "emg"])
@pytest.mark.parametrize("form", ["signals", "spectrogram"])
def test_a_sound_file_gives_an_array_without_a_mask_twice_the_same(sound, signal, form):
    got = extract(sound, signal=signal, form=form)
    assert (got.mask, got.note) == (None, "")
    np.testing.assert_array_equal(got.array, extract(sound, signal=signal, form=form).array)


def test_the_feature_is_found_by_its_name():
    cls, options = FeatureChoice(name="physiology", options={"signal": "ecg"}).load()
    assert cls(options).shape == (2, 704)


def test_one_row_more_spaces_around_names_and_missing_muscles_are_tolerated(tmp_path, sound):
    other = write(tmp_path / "b.csv", sep=" \t ", gsr=np.append(eda(), eda()[-1]))
    np.testing.assert_allclose(extract(other).array, extract(sound).array, atol=5e-3)


@pytest.mark.parametrize("rate", [64, 500, 1000, 2000])
def test_the_sampling_rate_is_that_of_the_time_column(tmp_path, sound, rate):
    other = write(tmp_path / "b.csv", rate=rate, gsr=eda(rate=rate))
    np.testing.assert_allclose(extract(other).array[:, 16:-16], extract(sound).array[:, 16:-16], atol=0.02)


def test_uneven_times_are_put_on_an_even_grid(tmp_path, sound):
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, ROWS)
    time = (np.arange(ROWS) + jitter) / RATE
    other = write(
        tmp_path / "b.csv",
        time=np.round(time * 1e6).astype(int),
        gsr=np.interp(time, np.arange(ROWS) / RATE, eda()),
    )
    np.testing.assert_allclose(extract(other).array, extract(sound).array, atol=5e-3)


def test_eda_is_measured_from_its_start_in_microsiemens(tmp_path, sound):
    array = extract(sound).array
    assert np.abs(array[:2, :32].mean(axis=1)).max() < 1e-3
    assert array[0, -1] == pytest.approx(0.8 + 0.02 * 5, abs=0.03)
    raised = extract(write(tmp_path / "b.csv", gsr=eda() + 7)).array
    np.testing.assert_allclose(raised, array, atol=1e-3)  # the level of a skin is not its response
    twice = extract(write(tmp_path / "c.csv", gsr=2 * eda())).array
    np.testing.assert_allclose(twice, 2 * array, atol=1e-5)  # its size is
    np.testing.assert_allclose(extract(sound, unit=0.5).array, 2 * array, atol=1e-5)


def test_eda_keeps_the_number_of_responses(tmp_path):
    simulated = nk.eda_simulate(duration=30, sampling_rate=RATE, scr_number=4, noise=0, drift=0, random_state=3)
    array = extract(write(tmp_path / "a.csv", gsr=simulated), window=(0, 30)).array
    peaks = nk.eda_findpeaks(array[2].astype(float), sampling_rate=32, method="neurokit", amplitude_min=0.3)
    assert len(peaks["SCR_Peaks"]) == 4


@pytest.mark.parametrize("beats", [55, 72, 110])
def test_the_heart_rate_is_that_of_the_simulated_heart(tmp_path, beats):
    array = extract(write(tmp_path / "a.csv", ecg=ecg(beats)), signal="ecg").array
    assert 70 + 10 * array[1].mean() == pytest.approx(beats, abs=2)
    assert array[0].std() == pytest.approx(1, abs=0.1)


def test_the_size_of_an_ecg_tells_nothing(tmp_path, sound):
    other = write(tmp_path / "b.csv", ecg=500 * ecg())
    np.testing.assert_allclose(extract(other, signal="ecg").array, extract(sound, signal="ecg").array, atol=1e-4)


def test_the_envelope_of_an_emg_follows_its_bursts(tmp_path):
    seconds = np.arange(ROWS) / RATE
    burst = (seconds > 2) & (seconds < 3.5)
    array = extract(write(tmp_path / "a.csv", emg_trapezius=emg() * np.where(burst, 10, 1)), signal="emg").array
    rest, tense = (seconds < 1.5) | (seconds > 4.2), (seconds > 2.3) & (seconds < 3.2)
    assert array[1][tense].mean() - array[1][rest].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("form", ["signals", "spectrogram"])
def test_the_size_of_an_emg_is_an_offset_of_a_logarithm(tmp_path, form):
    one = extract(write(tmp_path / "a.csv", emg_trapezius=emg()), signal="emg", form=form).array
    small = extract(write(tmp_path / "b.csv", emg_trapezius=1e-3 * emg()), signal="emg", form=form).array
    offset = [[0], [-3]] if form == "signals" else -6
    np.testing.assert_allclose(small, one + offset, atol=1e-4)


@pytest.mark.parametrize(("tone", "signal", "rate"), [(150, "emg", 512), (6, "ecg", 128), (1.5, "eda", 32)])
def test_a_tone_has_its_power_at_its_frequency(tmp_path, tone, signal, rate):
    amplitude = 3.0
    wave = amplitude * np.sin(2 * np.pi * tone * np.arange(ROWS) / RATE)
    path = write(tmp_path / "a.csv", x=wave)
    array = extract(path, signal=signal, column="x", form="spectrogram").array[0]
    frequencies = np.fft.rfftfreq(64, 1 / rate)
    assert np.abs(frequencies[array.argmax(axis=0)] - tone).max() <= frequencies[1] / 2
    power = (10.0**array).sum(axis=0).mean() * frequencies[1]
    expected = 1 if signal == "ecg" else amplitude**2 / 2  # an ECG is scaled to a deviation of 1
    assert power == pytest.approx(expected, rel=0.15)  # cleaning takes some off


def test_a_span_of_a_long_recording_is_the_sample(tmp_path):
    long = write(tmp_path / "a.csv", gsr=np.concatenate([eda()[::-1] + 9, eda(), eda() - 5]))
    alone = extract(write(tmp_path / "b.csv", gsr=eda())).array
    np.testing.assert_allclose(extract(long, start=5.5, stop=11.0).array[0], alone[0], atol=0.03)


def damaged(signal, damage):
    values = {"gsr": eda(), "ecg": ecg(), "emg_trapezius": emg()}[signal].copy()
    damage(values)
    return {signal: values}


def part(begin, end, value):
    def damage(values):
        values[begin:end] = value

    return damage


def clip_at(share):
    def damage(values):
        values[:] = values.clip(*np.quantile(values, [share, 1 - share]))

    return damage


BROKEN = {
    "flat EDA": (
        "eda",
        damaged("gsr", part(0, None, 2.5)),
        r"column gsr: flat for 5.50 s \(at most 1.00 s may be\)",
    ),
    "electrode off": ("eda", damaged("gsr", part(1500, None, 0.0)), "flat for 2.57 s"),
    "dead ECG": ("ecg", damaged("ecg", part(0, None, 0.0)), "column ecg: flat for 5.50 s"),
    "clipped ECG": (
        "ecg",
        damaged("ecg", clip_at(0.03)),
        r"of the values are clipped at .* \(at most 1.0% may be\)",
    ),
    "clipped EMG": (
        "emg",
        damaged("emg_trapezius", lambda v: v.__setitem__(slice(300, 360), v.max())),
        "clipped",
    ),
    "holes": ("eda", damaged("gsr", part(500, 1200, np.nan)), "25% of the values are missing"),
    "no value at all": ("eda", damaged("gsr", part(0, None, np.nan)), "100% of the values are missing"),
    "infinite": ("eda", damaged("gsr", part(500, 1200, np.inf)), "25% of the values are missing"),
    "noise as ECG": ("ecg", {"ecg": emg()}, "heart beat|the heart beats at"),
    "two beats": ("ecg", {"ecg": ecg(40)[:ROWS] * (np.arange(ROWS) < 1400)}, "flat for"),
    "ends early": (
        "eda",
        {"gsr": eda()[:2000]},
        r"recorded from 0.00 to 3.90 s, but the window is 0.00 to 5.50 s",
    ),
    "other column": ("emg", {"gsr": eda()}, "no column 'emg_trapezius', only time, gsr"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_signal_is_refused_with_the_reason(tmp_path, fault):
    signal, columns, reason = BROKEN[fault]
    path = write(tmp_path / "a.csv", **columns)
    with pytest.raises(DataError, match=reason) as caught:
        extract(path, signal=signal)
    assert str(path) in str(caught.value)


def test_a_pause_of_the_heart_is_no_heart_rate(tmp_path):
    beats = nk.ecg_simulate(duration=12, sampling_rate=RATE, heart_rate=80, random_state=1)
    noise = 1e-3 * np.random.default_rng(0).normal(size=1200)
    values = np.concatenate([beats[:1200], beats[1200] + noise, beats[1200:3000]])
    with pytest.raises(DataError, match="the beats cannot be told apart"):
        extract(write(tmp_path / "a.csv", ecg=values), signal="ecg")


TIMES = {
    "back": (lambda t: t.__setitem__(100, t[50]), "line 102: the time is 97656"),
    "standing": (lambda t: t.__setitem__(7, t[6]), "line 9: the time is 11719"),
    "in seconds": (lambda t: t.__imul__(1e-6), "by the column 'time', which is in microseconds"),
    "in milliseconds": (lambda t: t.__imul__(1e-3), "by the column 'time', which is in microseconds"),
    "late": (lambda t: t.__iadd__(2e6), "recorded from 2.00 to 7.50 s"),
    "nowhere": (lambda t: t.__setitem__(3, np.nan), "line 5: the time is nan"),
}


@pytest.mark.parametrize("fault", TIMES)
def test_a_time_column_that_cannot_be_is_refused_with_its_line(tmp_path, fault):
    damage, reason = TIMES[fault]
    time = np.round(np.arange(ROWS) * 1e6 / RATE)
    damage(time)
    with pytest.raises(DataError, match=reason):
        extract(write(tmp_path / "a.csv", time=time, gsr=eda()))


@pytest.mark.parametrize("content", [b"", b"\n\n", bytes(range(256)) * 20, b"time\tgsr\n", b"time\tgsr\n0\t1\n"])
def test_a_file_that_is_no_table_gets_one_sentence(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable table|no column|0 values a second"):
        extract(tmp_path / "a.csv")
    with pytest.raises(DataError, match="not a readable table"):
        extract(tmp_path / "missing.csv")


@pytest.mark.parametrize("header", ["time\tgsr\tgsr", "time\tgsr\t gsr ", "time\tgsr\ttime "])
def test_two_columns_of_one_name_are_refused(tmp_path, header):
    path = write(tmp_path / "a.csv", gsr=eda(), other=ecg())
    path.write_text(path.read_text().replace("time\tgsr\tother", header))
    with pytest.raises(DataError, match=r"two columns are called '(gsr|time)'; rename one"):
        extract(path)


def test_a_short_hole_is_filled_in_and_masked_just_there(tmp_path, sound):
    got = extract(write(tmp_path / "b.csv", **damaged("gsr", part(1024, 1104, np.nan))))
    hole = (np.arange(176) + 1 > 2 * 32) & (np.arange(176) < (1104 / 512) * 32)
    np.testing.assert_array_equal(got.mask, ~hole)
    assert "2.8% of the values were missing and are filled in" in got.note
    np.testing.assert_allclose(got.array, extract(sound).array, atol=0.02)
    picture = extract(tmp_path / "b.csv", form="spectrogram")
    begins = np.arange(picture.array.shape[-1]) * 2 / 32
    np.testing.assert_array_equal(picture.mask, (begins + 2 <= 2) | (begins >= 1104 / 512))


def test_missing_rows_are_a_hole_too(tmp_path):
    keep = np.ones(ROWS, bool)
    keep[1024:1104] = False
    time = np.round(np.arange(ROWS) * 1e6 / RATE).astype(int)[keep]
    got = extract(write(tmp_path / "a.csv", time=time, gsr=eda()[keep]))
    assert np.flatnonzero(~got.mask).tolist() == [64, 65, 66, 67, 68]


def test_limits_are_options(tmp_path):
    path = write(tmp_path / "a.csv", **damaged("gsr", part(500, 1200, np.nan)))
    assert 0.7 < extract(path, max_missing=0.3).mask.mean() < 0.8
    path = write(tmp_path / "b.csv", **damaged("gsr", part(1500, None, 4.0)))
    assert extract(path, max_flat=3.0, max_clipped=1.0).mask is None


@pytest.mark.parametrize("options", [{"window": (3, 2)}, {"window": (0, 1), "form": "spectrogram"}, {"signal": "eeg"}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValidationError):
        PhysiologyOptions(**options)


@pytest.mark.parametrize("rate", [None, 128])
@pytest.mark.parametrize("signal", ["eda", "ecg", "emg"])
@pytest.mark.parametrize("offset", [0.0, 3.0], ids=["about zero", "on an offset"])
def test_a_cleaned_signal_is_at_its_edges_as_it_is_between(tmp_path, signal, rate, offset):
    """A clip is cut out of a longer recording, so that it starts and ends with a step."""
    largest = []
    for seed in range(6):
        begin = 300 + 217 * seed
        heart = nk.ecg_simulate(duration=14, sampling_rate=RATE, heart_rate=70, random_state=seed)[begin : begin + ROWS]
        noise = 0.004 * np.random.default_rng(seed).normal(size=ROWS)
        columns = {"gsr": eda() + noise + offset, "ecg": heart + offset, "emg_trapezius": emg(0.01, seed) + offset}
        channels = extract(write(tmp_path / "a.csv", **columns), signal=signal, rate=rate).array
        edge = channels.shape[1] // 11
        spread = np.abs(channels - np.median(channels, axis=1, keepdims=True))
        largest.append([spread[:, part].max(axis=1) for part in (np.s_[:edge], np.s_[-edge:], np.s_[edge:-edge])])
    start, end, between = np.mean(largest, axis=0)
    assert (start < 1.3 * between).all()
    assert (end < 1.3 * between).all()


IMPLAUSIBLE = {
    "EDA in ohms": ("eda", {"gsr": 1e6 / eda()}, "its median is .*, and -5 to 100 is plausible"),
    "EDA in siemens": ("eda", {"gsr": 1e-6 * eda()}, "in another unit"),
    "an ECG as EDA": ("eda", {"gsr": ecg()}, "faster than 3 Hz, which no skin conductance is"),
    "a loose electrode": ("eda", {"gsr": 2 + emg(0.8)}, "noise of a loose electrode"),
    "EDA clipped": ("eda", damaged("gsr", clip_at(0.05)), "are clipped at"),
    "EMG clipped": ("emg", damaged("emg_trapezius", clip_at(0.05)), "are clipped at"),
}


@pytest.mark.parametrize("fault", IMPLAUSIBLE)
def test_a_signal_that_cannot_be_is_refused_with_the_reason(tmp_path, fault):
    signal, columns, reason = IMPLAUSIBLE[fault]
    with pytest.raises(DataError, match=reason):
        extract(write(tmp_path / "a.csv", **columns), signal=signal)


def test_an_eda_in_another_unit_is_read_where_the_options_say_so(tmp_path, sound):
    path = write(tmp_path / "b.csv", gsr=1e-6 * eda())
    np.testing.assert_allclose(extract(path, unit=1e-6).array, extract(sound).array, atol=1e-4)


@pytest.mark.parametrize(("signal", "column"), [("eda", "gsr"), ("ecg", "ecg"), ("emg", "emg_trapezius")])
def test_a_spike_is_masked_and_leaves_the_rest_as_it_is(tmp_path, sound, signal, column):
    got = extract(write(tmp_path / "b.csv", **damaged(column, part(1405, 1406, 1e6))), signal=signal)
    assert "1 values cannot be, such as 1e+06, and count as missing" in got.note
    assert 1 <= (~got.mask).sum() <= 3
    far = np.abs(np.arange(len(got.mask)) / len(got.mask) - 0.5) > 0.1
    np.testing.assert_allclose(got.array[:, far], extract(sound, signal=signal).array[:, far], atol=0.05)


def test_an_ecg_that_is_upside_down_is_turned_and_that_is_said(tmp_path):
    beats = nk.ecg_simulate(duration=6, sampling_rate=RATE, heart_rate=72, noise=0, method="simple")[:ROWS]
    upright = extract(write(tmp_path / "a.csv", ecg=beats), signal="ecg")
    turned = extract(write(tmp_path / "b.csv", ecg=-beats), signal="ecg")
    np.testing.assert_allclose(turned.array, upright.array, atol=1e-4)
    assert upright.note == ""
    assert turned.mask is None
    assert "the ECG was upside down and is turned" in turned.note


def test_lines_with_nul_bytes_are_missing_and_that_is_said(tmp_path, sound):
    data = bytearray(sound.read_bytes())
    data[60_000:64_096] = bytes(4096)
    (tmp_path / "b.csv").write_bytes(data)
    got = extract(tmp_path / "b.csv", signal="emg")
    assert "4096 NUL bytes" in got.note
    assert 0.9 < got.mask.mean() < 0.99
    far = np.abs(np.arange(len(got.mask)) - np.flatnonzero(~got.mask).mean()) > 500
    np.testing.assert_allclose(got.array[0, far], extract(sound, signal="emg").array[0, far], atol=0.05)


def test_a_decimal_comma_is_told_with_its_line(tmp_path):
    path = write(tmp_path / "a.csv", gsr=[f"{value:.4f}".replace(".", ",") for value in eda()])
    with pytest.raises(DataError, match=r"line 2: 3,\d+ has a decimal comma"):
        extract(path)
