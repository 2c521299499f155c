"""Tests of the stand-in for Aff-Wild2: its layout and troubles, its voice, and what follows what."""

import hashlib

import av
import cv2
import numpy as np
import pytest

from pkdot.datasets.affwild2 import AffWild2, AffWild2Options
from pkdot.errors import DataError
from pkdot.ledger import Ledger
from pkdot.simulation import voice as sounds
from pkdot.simulation.affwild2 import AffWild2Simulation, scenes, simulate_affwild2
from pkdot.simulation.emotion import annotate, draw_manner, face_curves, mood
from pkdot.simulation.gestures import SMILE
from pkdot.simulation.voice import CONTROL, RATE, Voice, draw_voice, hum, music, speak, turns

TINY = AffWild2Simulation(videos=5, seconds=2.5, seed=3)
VOICE = Voice(pitch=150.0, tract=1.0, tilt=-11.0, speed=4.0, reaction=1.0)


@pytest.fixture(scope="session")
def simulate(model_cache, tmp_path_factory):
    def run(workers):
        folder = tmp_path_factory.mktemp("simulated")
        (folder / ".cache").symlink_to(model_cache, target_is_directory=True)
        simulate_affwild2(folder / "affwild2", TINY, workers)
        return folder / "affwild2"

    return run


@pytest.fixture(scope="session")
def root(simulate):
    return simulate(workers=2)


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(root, simulate):
    assert digests(root) == digests(simulate(workers=1))


def test_the_layout_is_that_of_the_owners(root):
    tracks = sorted(path.stem for path in (root / "VA_Estimation_Challenge").rglob("*.txt"))
    assert tracks == [
        "simulated000",
        "simulated001",
        "simulated002_left",
        "simulated002_right",
        "simulated003",
        "simulated004",
    ]
    for path in (root / "VA_Estimation_Challenge").rglob("*.txt"):
        head, *rows = path.read_text().splitlines()
        values = np.array([[float(v) for v in row.split(",")] for row in rows])
        assert head == "valence,arousal"
        assert ((np.abs(values) <= 1) | (values == -5)).all()
        assert (values == -5).any()
    for path in sorted((root / "videos").iterdir()):
        with av.open(str(path)) as container:
            assert 23.9 < float(container.streams.video[0].average_rate) < 30.1
            assert container.streams.audio[0].codec_context.name == "aac"
    crops = sorted(path.name for path in (root / "cropped_aligned").iterdir())
    assert crops == tracks[:-1]  # one video has none
    image = cv2.imread(str(sorted((root / "cropped_aligned" / tracks[0]).iterdir())[0]))
    assert image.shape == (112, 112, 3)


def test_crops_have_gaps(root):
    numbers = [int(path.stem) for path in (root / "cropped_aligned" / "simulated000").iterdir()]
    assert len(numbers) < max(numbers)


def test_the_project_reads_it(root):
    ledger = Ledger()
    table = AffWild2(root, AffWild2Options(subclips=1)).read(ledger)
    assert table["group_id"].nunique() == 5
    assert table["subject_id"].nunique() == 6
    assert set(table["official"]) == {"train", "validation"}
    assert table["audio_path"].notna().all()
    assert {entry.stage for entry in ledger.entries} == {"ingest"}


def test_faces_of_the_crops_lie_where_the_owners_have_them(root):
    """The detector finds the eyes of a crop near the place that they have in an aligned face."""
    from pkdot.features.detector import FaceFinder

    finder, eyes = FaceFinder(112), []
    for folder in sorted((root / "cropped_aligned").iterdir()):
        images = [cv2.imread(str(path))[..., ::-1] for path in sorted(folder.iterdir())[::15]]
        padded = [np.pad(image, ((56, 56), (56, 56), (0, 0)), mode="edge") for image in images]
        faces = [face for face in finder.follow(padded).faces if face]
        assert len(faces) > len(images) / 2
        eyes += [face.landmarks[:2] - 56 for face in faces]
    middle = np.mean(eyes, axis=(0, 1))
    apart = np.mean([pair[1, 0] - pair[0, 0] for pair in eyes])
    assert middle == pytest.approx([56, 51.6], abs=8)
    assert apart == pytest.approx(35.2, abs=7)


def test_a_folder_that_is_not_ours_is_kept(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "102.avi").write_bytes(b"licensed")
    with pytest.raises(DataError, match="may be licensed"):
        simulate_affwild2(tmp_path, TINY)
    assert (tmp_path / "videos" / "102.avi").exists()


def test_all_troubles_occur_in_the_default():
    made = scenes(AffWild2Simulation().videos)
    for trouble in ("drifts", "mute", "pauses", "clips", "plays_music", "lacks_crops"):
        assert 0 < sum(getattr(scene, trouble) for scene in made) < len(made) / 2, trouble
    assert any(len(scene.people) == 2 for scene in made)
    assert any(scene.lacks_crops and len(scene.people) == 2 for scene in made)


def test_everybody_is_in_one_part_and_some_are_in_two_videos():
    parts, videos = {}, {}
    for scene in scenes(96):
        for person in scene.people:
            parts.setdefault(person, set()).add(scene.part)
            videos.setdefault(person, set()).add(scene.number)
    assert all(len(part) == 1 for part in parts.values())
    assert max(len(seen) for seen in videos.values()) == 2
    assert 0.25 < np.mean([part == {"Validation_Set"} for part in parts.values()]) < 0.42


def spoken(valence=0.0, arousal=0.0, seed=0, seconds=4):
    rng = np.random.default_rng(seed)
    n = seconds * CONTROL
    return speak(rng, VOICE, np.full(n, valence), np.full(n, arousal), np.ones(n))[0]


def loudness(sound):
    return 10 * np.log10(np.mean(sound**2))


def pitch(sound):
    """Hz, from the highest peak of the autocorrelation between 70 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    correlation = np.fft.irfft(spectrum)[: RATE // 70]
    return RATE / (RATE // 400 + correlation[RATE // 400 :].argmax())


def brightness(sound):
    """Share of the power above 1 kHz, dB."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    above = np.fft.rfftfreq(len(sound), 1 / RATE) > 1000
    return 10 * np.log10(power[above].sum() / power.sum())


def test_an_excited_voice_is_louder_higher_and_brighter():
    calm, excited = spoken(arousal=-0.8), spoken(arousal=0.8)
    assert loudness(excited) > loudness(calm) + 6
    assert pitch(excited) > 1.3 * pitch(calm)
    assert brightness(excited) > brightness(calm) + 2


def test_an_excited_voice_is_faster():
    rng = [np.random.default_rng(0) for _ in range(2)]
    n = 10 * CONTROL
    beats = [
        speak(r, VOICE, np.zeros(n), np.full(n, arousal), np.ones(n))[1]
        for r, arousal in zip(rng, (-0.8, 0.8), strict=True)
    ]
    calm, excited = (np.count_nonzero((b[1:-1] > b[:-2]) & (b[1:-1] >= b[2:])) for b in beats)
    assert excited > 1.2 * calm


def test_a_steady_voice_has_power_at_multiples_of_its_pitch_alone():
    n = 2 * CONTROL
    sound = sounds._harmonics(np.full(n, 200.0), np.tile(sounds.VOWELS[0], (n, 1)), np.full(n, -9.0), np.ones(n))
    power = np.abs(np.fft.rfft(sound[: 2 * RATE - 200] * np.hanning(2 * RATE - 200))) ** 2
    frequency = np.fft.rfftfreq(2 * RATE - 200, 1 / RATE)
    near = np.abs(frequency - 200 * np.round(frequency / 200)) < 5
    assert power[near].sum() > 0.9999 * power.sum()
    assert power[(frequency > 190) & (frequency < 210)].sum() > 0


def test_nobody_speaking_is_silent():
    n = CONTROL
    sound, mouth = speak(np.random.default_rng(0), VOICE, np.zeros(n), np.zeros(n), np.zeros(n))
    assert not sound.any()
    assert not mouth.any()


def test_people_pause():
    speaking = turns(np.random.default_rng(0), 200, talk=0.75)
    assert speaking.min() == 0
    assert speaking.max() == pytest.approx(1)
    assert 0.5 < (speaking > 0.5).mean() < 0.85


@pytest.mark.parametrize("make", [music, hum])
def test_distractors_have_the_loudness_that_they_say(make):
    sound = make(np.random.default_rng(0), 5.0)
    assert len(sound) == 5 * RATE
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.1)


def test_voices_of_women_are_higher():
    rng = np.random.default_rng(0)
    women, men = ([draw_voice(rng, female).pitch for _ in range(50)] for female in (True, False))
    assert np.mean(women) > 1.4 * np.mean(men)


def test_latent_values_stay_in_range_and_move():
    valence, arousal = mood(np.random.default_rng(0), 2000, 25.0)
    for latent in (valence, arousal):
        assert np.abs(latent).max() < 1
        assert latent.std() > 0.2
    assert abs(np.corrcoef(valence, arousal)[0, 1]) < 0.5


def test_annotators_are_late_and_nearly_right():
    latent = mood(np.random.default_rng(1), 5000, 25.0)[0]
    written = annotate(np.random.default_rng(2), latent, 25.0)
    shifts = [np.corrcoef(latent[: 5000 - lag], written[lag:])[0, 1] for lag in range(12)]
    assert np.argmax(shifts) == 5  # a fifth of a second
    assert 0.9 < max(shifts) < 1


def drawn(valence, strength):
    rng = np.random.default_rng(4)
    manner = draw_manner(rng)
    values = np.full(200, valence)
    return face_curves(rng, manner, values, values, np.zeros(200), 25.0, strength)


def test_a_face_of_no_strength_tells_nothing():
    glad, sad = drawn(0.8, 0.0), drawn(-0.8, 0.0)
    assert all(np.array_equal(glad[name], sad[name]) for name in glad)


def test_a_glad_face_smiles():
    glad, sad = drawn(0.8, 1.0), drawn(-0.8, 1.0)
    for name in SMILE:
        if name.startswith("mouthSmile"):
            assert glad[name].mean() > sad[name].mean() + 0.1
