"""A synthetic voice: pitch, loudness, speed and tilt of its spectrum follow arousal and valence.

A source of harmonics and a filter of three formants. How arousal and valence sound follows Scherer (2003, Speech
Communication 40): arousal raises pitch, loudness, speed and the share of high frequencies; valence is heard less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.simulation.gestures import pulse, smooth_noise

RATE = 22050  # samples a second that the voice is made at; it has little above 8 kHz
CONTROL = 100  # values a second of what drives it
# The first three formants of five vowels, Hz.
VOWELS = np.array([[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]])
WIDTHS = np.array([90.0, 110.0, 170.0])  # of the formants, Hz
HIGHEST = 8000.0  # of the harmonics, Hz


@dataclass(frozen=True)
class Voice:
    """One person's voice.

    Attributes
    ----------
    pitch : float
        At rest, Hz.
    tract : float
        Factor on the formants: about 1.15 for women, 1 for men.
    tilt : float
        Of the spectrum at rest, dB an octave.
    speed : float
        Syllables a second at rest.
    reaction : float
        Factor on what arousal and valence do to the voice.
    """

    pitch: float
    tract: float
    tilt: float
    speed: float
    reaction: float


def draw_voice(rng: np.random.Generator, female: bool) -> Voice:
    """Draw a voice."""
    return Voice(
        pitch=float(rng.normal(205, 18) if female else rng.normal(118, 14)),
        tract=float(rng.normal(1.15 if female else 1.0, 0.03)),
        tilt=float(rng.normal(-11, 1.0)),
        speed=float(rng.normal(3.8, 0.3)),
        reaction=float(rng.lognormal(0, 0.15)),
    )


def turns(rng: np.random.Generator, seconds: float, talk: float) -> np.ndarray:
    """Draw when somebody speaks, 0 to 1, ``CONTROL`` values a second: phrases with pauses for breath."""
    time = np.arange(int(seconds * CONTROL)) / CONTROL
    speaking, start = np.zeros_like(time), float(rng.uniform(-1, 0.5))
    while start < seconds:
        length = float(rng.uniform(0.8, 3.0))
        speaking = np.maximum(speaking, pulse(time, start, 0.08, length, 0.15))
        start += length + 0.25 + float(rng.exponential(length * (1 / talk - 1)))
    return speaking


def speak(
    rng: np.random.Generator, voice: Voice, valence: np.ndarray, arousal: np.ndarray, speaking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say something.

    Parameters
    ----------
    rng : Generator
    voice : Voice
    valence, arousal, speaking : ndarray, shape (n,)
        ``CONTROL`` values a second; in [-1, 1], and 0 to 1.

    Returns
    -------
    sound : ndarray, shape (n * RATE / CONTROL,)
        About 0.1 in root mean square while somebody speaks.
    mouth : ndarray, shape (n,)
        How far it is open, 0 to 1.
    """
    n = len(speaking)
    a, v = voice.reaction * arousal, voice.reaction * valence
    beat = np.cumsum(voice.speed * 2 ** (0.35 * a + 0.15 * smooth_noise(rng, n, 30))) / CONTROL
    mouth = speaking * np.sin(np.pi * beat) ** 2
    melody = (1.2 + 0.8 * np.clip(v, -1, 1)) * smooth_noise(rng, n, 25)  # a glad voice is lively
    pitch = voice.pitch * 2 ** ((6 * a + 2 * v + melody + 0.3 * smooth_noise(rng, n, 5)) / 12)
    level = 10 ** ((7 * a + 1.5 * smooth_noise(rng, n, 60)) / 20)
    formants = _formants(rng, voice, beat) * (1 + 0.1 * v[:, None])  # a smile shortens the tract
    sound = _harmonics(pitch, formants, voice.tilt + 4 * a, mouth**0.7 * level)
    clear = 10 ** (0.4 * v)  # a sad voice is breathy
    breath = np.diff(rng.standard_normal(len(sound) + 1)) * _at_samples(0.003 * speaking * level / clear)
    return sound + breath, mouth


def _formants(rng: np.random.Generator, voice: Voice, beat: np.ndarray) -> np.ndarray:
    """Draw the formants over time (n, 3): a vowel a syllable, gliding from one to the next."""
    vowels = VOWELS[rng.integers(0, len(VOWELS), int(beat[-1]) + 3)] * voice.tract
    centres = np.arange(len(vowels)) - 0.5
    return np.stack([np.interp(beat, centres, column) for column in vowels.T], axis=1)


def _harmonics(pitch: np.ndarray, formants: np.ndarray, tilt: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Add harmonics, each as loud as tilt and formants make it; sines by the recurrence of Chebyshev."""
    phase = 2 * np.pi * np.cumsum(_at_samples(pitch)) / RATE
    before, sine, twice = np.zeros_like(phase), np.sin(phase), 2 * np.cos(phase)
    total = np.zeros_like(phase)
    for harmonic in range(1, int(HIGHEST / pitch.min()) + 1):
        frequency = harmonic * pitch
        gain = 10 ** (tilt * np.log2(harmonic) / 20) * _resonance(frequency, formants)
        gain *= np.clip((HIGHEST - frequency) / 500, 0, 1) * level
        total += _at_samples(0.1 * gain) * sine
        before, sine = sine, twice * sine - before
    return total


def _resonance(frequency: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Return the gain of the tract: what formants near a frequency add."""
    near = 1 / (1 + ((frequency[:, None] - formants) / (2 * WIDTHS)) ** 2)
    return 0.3 + 2 * (near * [1.0, 0.8, 0.6]).sum(axis=1)


def _at_samples(control: np.ndarray) -> np.ndarray:
    """Return the values of a control curve at every sample."""
    step = RATE / CONTROL
    return np.interp(np.arange(int(len(control) * step)) / step, np.arange(len(control)), control)


def music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Draw slow chords, which distract; about 0.1 in root mean square, ``RATE`` samples a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    sound, beat = np.zeros_like(time), float(rng.uniform(1.0, 2.5))
    root = float(rng.uniform(98, 196))
    for start in np.arange(0, seconds, beat):
        steps = rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False)
        shape = pulse(time, start, 0.05, 0.4 * beat, 0.9 * beat)
        here = slice(*np.searchsorted(time, [start, start + 1.5 * beat + 0.1]))
        for frequency in root * 2 ** (steps / 12):
            for harmonic in (1, 2, 3):
                sound[here] += shape[here] * np.sin(2 * np.pi * harmonic * frequency * time[here]) / harmonic
    return 0.1 * sound / max(1e-9, float(np.sqrt(np.mean(sound**2))))


def hum(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Draw the noise of a room, falling 3 dB an octave; 0.1 in root mean square, ``RATE`` samples a second."""
    spectrum = np.fft.rfft(rng.standard_normal(int(seconds * RATE)))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 50)
    noise = np.fft.irfft(spectrum, int(seconds * RATE))
    return 0.1 * noise / float(np.sqrt(np.mean(noise**2)))
