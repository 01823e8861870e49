"""Analysis of sounds into partials, noise and loudness, frame by frame, and synthesis from them.

Analysis takes a short-time spectrum and moves the energy of each bin to its instantaneous frequency (reassignment, Auger and
Flandrin 1995), so that a steady partial becomes a sharp line. Energy whose frequency differs from that of its neighbours counts
as noise. Each line is drawn as a bell over bands of 50 cents. In decibels a bell is a parabola, so the slope at its top gives the
frequency inside the band, and the slight blur of a neural network does not move it. Synthesis plays one sine oscillator with
continuous phase for each top, adds shaped noise, and corrects the loudness to the stored envelope. Phases are not stored; the
start phases are fixed.

All functions take and return float32 tensors; no row of a batch depends on another.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

RATE_HZ = 22_050
HOP = 512  # audio frames a spectral frame: 23 ms
WINDOW = 2048  # 93 ms: separates partials that are 43 Hz apart
BANDS, BANDS_PER_OCTAVE, LOWEST_HZ = 196, 24, 37.0  # 8.2 octaves, up to 10.3 kHz
BELL_WIDTH = 0.9  # standard deviation of a partial's bell, in bands
NOISE_BANDS = 32
LEVELS, LEVEL_HOP = 4, 128  # loudness values a spectral frame, every 5.8 ms
FLOOR_DB = -80.0
FEATURES = BANDS + NOISE_BANDS + LEVELS

_RIPPLE = 0.35  # difference between the frequencies of neighbouring bins, in bins, from which they count as noise
_LEVEL_WINDOW = 512
_BLOCK = 32  # frames whose sines are synthesised at a time
_FINE = 4  # steps a band while bells are drawn
_CURVE = 10 * math.log10(math.e) / (BELL_WIDTH**2 * -FLOOR_DB / 2)  # second derivative of a bell in levels a band


class SpectralFeatures(NamedTuple):
    """Levels of a sound, scaled so that -1 is FLOOR_DB (-80 dBFS) and +1 is 0 dBFS.

    Attributes:
        level: of partials, as bells, [batch, frames, BANDS].
        noise: of noise, [batch, frames, NOISE_BANDS].
        loudness: of the whole sound, [batch, frames, LEVELS].
    """

    level: Tensor
    noise: Tensor
    loudness: Tensor


def join_features(parts: SpectralFeatures) -> Tensor:
    """One tensor [batch, frames, FEATURES]."""
    return torch.cat(list(parts), dim=-1)


def split_features(features: Tensor) -> SpectralFeatures:
    """The inverse of `join_features`."""
    return SpectralFeatures(*features.split([BANDS, NOISE_BANDS, LEVELS], dim=-1))


def analyse_audio(audio: Tensor) -> SpectralFeatures:
    """Features of mono audio [batch, samples] at RATE_HZ; `samples` is a multiple of HOP."""
    spectrum, ramp = _compute_spectra(audio)
    power = spectrum.abs() ** 2
    bins = torch.arange(power.shape[-1], device=audio.device)
    place = bins - (ramp * spectrum.conj()).imag / (power + 1e-12) * (WINDOW / (2 * math.pi))
    tonal = _compute_tonality(place, power)
    power = power * (4 / (WINDOW * _hann_window(audio.device).square().sum()))  # a sine of amplitude 1 has power 1
    level = _power_to_level(_draw_bells(place, power * tonal))
    noise = _power_to_level((power * (1 - tonal)) @ _build_noise_bank(audio.device))
    return SpectralFeatures(level, noise, _power_to_level(_compute_loudness(audio)).reshape(len(audio), -1, LEVELS))


def synthesise_audio(parts: SpectralFeatures) -> Tensor:
    """Audio [batch, frames * HOP] at RATE_HZ."""
    audio = torch.cat([_synthesise_sines(*_find_partials(level)) for level in parts.level])
    audio = audio + _synthesise_noise(parts.noise)
    target = parts.loudness.reshape(len(audio), -1)
    gain_db = ((target - _power_to_level(_compute_loudness(audio))) * (-FLOOR_DB / 2)).clamp(-40, 12)
    gain_db = gain_db - 40 * (target < -0.97)  # below -79 dBFS is silence
    gain = F.interpolate(10 ** (gain_db[:, None] / 20), scale_factor=LEVEL_HOP, mode="linear", align_corners=False)[:, 0]
    return audio * gain


def _power_to_level(power: Tensor) -> Tensor:
    """Power to level: 0 dBFS is 1, FLOOR_DB and below is -1."""
    decibels: Tensor = 10 * torch.log10(power.clamp_min(10 ** (FLOOR_DB / 10)))
    return decibels / (-FLOOR_DB / 2) + 1


def _level_to_amplitude(level: Tensor) -> Tensor:
    """The inverse of `_power_to_level`, as amplitude; 0 at the floor."""
    amplitude: Tensor = 10 ** ((level.clamp(-1, 1.2) - 1) * (-FLOOR_DB / 40))
    return (amplitude - 10 ** (FLOOR_DB / 20)).clamp_min(0)


@functools.cache
def _hann_window(device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, device=device)


def _compute_spectra(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Short-time spectra [batch, frames, bins] with the window and with its derivative (a sample); zeros outside the sound."""
    padded = F.pad(audio, ((WINDOW - HOP) // 2, (WINDOW - HOP) // 2))
    window = _hann_window(audio.device)
    turn = 2 * math.pi / WINDOW
    slope = 0.5 * turn * torch.sin(turn * torch.arange(WINDOW, device=audio.device))
    spectra = [torch.stft(padded, WINDOW, HOP, window=w, center=False, return_complex=True) for w in (window, slope)]
    return spectra[0].transpose(1, 2), spectra[1].transpose(1, 2)


def _compute_tonality(place: Tensor, power: Tensor) -> Tensor:
    """1 where neighbouring bins and frames have one frequency, 0 where their frequencies differ."""
    ripple = F.pad((place[..., 2:] - place[..., :-2]) / 2, (1, 1))
    weighted = torch.stack([ripple.square().clamp_max(4.0) * power, power], dim=1)
    smooth = F.avg_pool2d(weighted, 3, stride=1, padding=1)
    return torch.exp(-smooth[:, 0] / (smooth[:, 1] + 1e-12) / _RIPPLE**2)


def _draw_bells(place: Tensor, power: Tensor) -> Tensor:
    """Power over bands [batch, frames, BANDS] from each bin's place (in bins) and power."""
    frequency_hz = (place * (RATE_HZ / WINDOW)).clamp_min(1.0)
    fine = (torch.log2(frequency_hz / LOWEST_HZ) * (BANDS_PER_OCTAVE * _FINE)).round()
    inside = (fine > -_FINE) & (fine < BANDS * _FINE) & (frequency_hz < RATE_HZ / 2)
    lines = power.new_zeros(*power.shape[:2], BANDS * _FINE)
    lines.scatter_add_(2, fine.clamp(0, BANDS * _FINE - 1).long(), power * inside)
    return lines @ _build_bell_bank(power.device)


@functools.cache
def _build_bell_bank(device: torch.device) -> Tensor:
    """One bell per fine step: [BANDS * _FINE, BANDS]."""
    distance = torch.arange(BANDS * _FINE)[:, None] / _FINE - torch.arange(BANDS)
    return torch.exp(-0.5 * (distance / BELL_WIDTH) ** 2).to(device)


def _find_partials(level: Tensor) -> tuple[Tensor, Tensor]:
    """Amplitude and place (in bands) of each band's partial, [frames, BANDS] each; amplitude 0 if it belongs to a neighbour."""
    around = F.pad(level[None], (1, 1), mode="replicate")[0]
    away = ((around[:, 2:] - around[:, :-2]) / (2 * _CURVE)).clamp(-1, 1)
    is_inside = ((0.6 - away.abs()) / 0.2).clamp(0, 1)
    amplitude = _level_to_amplitude(level + 0.5 * _CURVE * away**2) * is_inside
    return amplitude, torch.arange(BANDS, device=level.device) + away


@functools.cache
def _build_noise_bank(device: torch.device) -> Tensor:
    """Triangles [bins, NOISE_BANDS] on the mel scale that add up to 1 for each bin."""
    hertz = torch.arange(WINDOW // 2 + 1) * (RATE_HZ / WINDOW)
    mel = torch.log1p(hertz / 700)
    place = mel / mel[-1] * (NOISE_BANDS - 1)
    return (1 - (place[:, None] - torch.arange(NOISE_BANDS)).abs()).clamp_min(0).to(device)


def _compute_loudness(audio: Tensor) -> Tensor:
    """Mean square under a 23 ms window every 5.8 ms: [batch, samples / LEVEL_HOP]."""
    window = torch.hann_window(_LEVEL_WINDOW, device=audio.device)
    around = (_LEVEL_WINDOW - LEVEL_HOP) // 2
    padded = F.pad(audio.square(), (around, around))[:, None]
    return F.conv1d(padded, (window / window.sum())[None, None], stride=LEVEL_HOP)[:, 0]


def _draw_seeded(shape: tuple[int, ...], seed: int, device: torch.device, *, normal: bool) -> Tensor:
    """The same random numbers at every call and on every device; leaves the global generator alone."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn if normal else torch.rand
    return draw(shape, generator=generator).to(device)


def _synthesise_sines(amplitude: Tensor, place: Tensor) -> Tensor:
    """One oscillator per band, [frames, BANDS] -> [1, frames * HOP]; skips bands that are always silent."""
    heard = (amplitude.amax(dim=0) > 0).nonzero()[:, 0]
    if not len(heard):
        return amplitude.new_zeros(1, len(amplitude) * HOP)
    amplitude, band = amplitude[:, heard].T, place[:, heard]  # [bands, frames], [frames, bands]
    cycles = LOWEST_HZ * 2 ** (band.T / BANDS_PER_OCTAVE) / RATE_HZ  # a sample, at the centre of each frame
    start = _draw_seeded((BANDS,), 1, place.device, normal=False)[heard]
    # Amplitude and frequency are linear between frame centres, and constant in the first and last half frame.
    amplitude, cycles = _repeat_edge_frames(amplitude), _repeat_edge_frames(cycles)
    mean = (cycles[:, 1:] + cycles[:, :-1]).double() * (HOP / 2)
    phase = (start[:, None] + torch.cumsum(F.pad(mean, (1, 0)), dim=1)).remainder(1.0).float()
    blocks = range(0, amplitude.shape[1] - 1, _BLOCK)  # phases are known, so memory need not grow with the sound
    played = torch.cat(
        [_synthesise_sine_block(*(line[:, i : i + _BLOCK + 1] for line in (amplitude, cycles, phase))) for i in blocks]
    )
    return played[None, HOP // 2 : -HOP // 2]


def _synthesise_sine_block(amplitude: Tensor, cycles: Tensor, phase: Tensor) -> Tensor:
    """The sines from each frame's centre to the next, of [bands, frames + 1] -> [frames * HOP]."""
    heard = (amplitude.amax(dim=1) > 0).nonzero()[:, 0]
    amplitude, cycles, phase = amplitude[heard], cycles[heard], phase[heard]
    inside = (torch.arange(HOP, device=amplitude.device) + 0.5) / HOP
    turn = (cycles.diff(dim=1) * (HOP / 2))[..., None] * inside
    turn.add_((cycles[:, :-1] * HOP)[..., None]).mul_(inside).add_(phase[:, :-1, None])
    loud = (amplitude.diff(dim=1)[..., None] * inside).add_(amplitude[:, :-1, None])
    return turn.mul_(2 * math.pi).sin_().mul_(loud).sum(dim=0).reshape(-1)


def _repeat_edge_frames(line: Tensor) -> Tensor:
    """[bands, frames] with the first and last frame repeated."""
    return torch.cat([line[:, :1], line, line[:, -1:]], dim=1)


def _synthesise_noise(level: Tensor) -> Tensor:
    """White noise, the same for every sound, shaped by noise levels [batch, frames, NOISE_BANDS]."""
    frames = level.shape[1]
    white = _draw_seeded((1, frames * HOP), 2, level.device, normal=True)
    bank = _build_noise_bank(level.device)
    # A band's power is spread over its bins: white noise of variance 1 has the power 2 / bins in each.
    density = _level_to_amplitude(level).square() / bank.sum(dim=0)
    shape = torch.sqrt((density @ bank.T) * (WINDOW / 2))
    window = _hann_window(level.device)
    shaped = torch.fft.irfft(_compute_spectra(white)[0] * shape, n=WINDOW) * window
    return _overlap_add(shaped) / _overlap_add((window**2).expand(1, frames, WINDOW)).clamp_min(0.1)


def _overlap_add(frames: Tensor) -> Tensor:
    """Overlap-add of [batch, frames, WINDOW] -> [batch, frames * HOP]."""
    length = (frames.shape[1] - 1) * HOP + WINDOW
    summed = F.fold(frames.transpose(1, 2), (1, length), (1, WINDOW), stride=(1, HOP))[:, 0, 0]
    cut = (WINDOW - HOP) // 2
    return summed[:, cut : length - cut]
