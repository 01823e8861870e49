"""Pictures for reports: waveforms with cuts, spectrograms, curves. PNG bytes with a transparent background, readable on light and dark.

Matplotlib is imported only when a picture is drawn: the import takes a second.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from audiotune.audio.sound import Sound

LINE_COLOR = "#7d888c"  # grey with enough contrast on white and on black
WAVE_COLOR = "#2f9c98"
CUT_COLOR = "#e0883a"
FLOOR_DB = -90.0
_PALETTE = ("#2f9c98", "#e0883a", "#7a74c9", "#c2567a", "#6f9a3e", "#4d8fd1")
_DPI = 100


def draw_waveform(
    peaks: ArrayLike, duration_s: float, cuts: Sequence[tuple[float, float]] = (), *, width_px: int = 1000, height_px: int = 130
) -> bytes:
    """A waveform on a decibel scale (quiet takes stay visible) with the cuts shaded.

    Args:
        peaks: absolute amplitudes in [0, 1], one for each column; all columns have the same duration.
        duration_s: of all columns together.
        cuts: (start_s, end_s) of the parts that were kept.
    """
    height = np.clip(1 - 20 * np.log10(np.maximum(np.abs(np.asarray(peaks, np.float32)), 1e-6)) / FLOOR_DB, 0, 1)
    time = (np.arange(len(height)) + 0.5) * duration_s / max(1, len(height))
    with _open_axes(width_px, height_px) as (axes, render):
        # all in one artist: a take of hours has hundreds of cuts, and an artist takes a millisecond
        axes.broken_barh([(start_s, end_s - start_s) for start_s, end_s in cuts], (-1, 2), color=CUT_COLOR, alpha=0.22, lw=0)
        axes.vlines([start_s for start_s, _ in cuts], -1, 1, color=CUT_COLOR, lw=0.7)
        axes.fill_between(time, -height, height, color=WAVE_COLOR, lw=0, step="mid")
        axes.set(xlim=(0, max(duration_s, 1e-3)), ylim=(-1, 1), yticks=[])
        _format_time_axis(axes, duration_s)
        return render()


def draw_spectrogram(sound: Sound, *, width_px: int = 480, height_px: int = 200, max_s: float = 60.0) -> bytes:
    """A spectrogram of at most the first `max_s` seconds: 2048-point Hann frames, logarithmic frequency, 80 dB deep."""
    rate, window = sound.sample_rate_hz, np.hanning(2048).astype(np.float32)
    mono = sound.cut(0, round(max_s * rate)).to_mono().data[0]
    mono = np.pad(mono, (0, max(0, 2048 - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, 2048)[:: max(64, len(mono) // (2 * width_px))]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 * (2 / (rate * np.square(window).sum()))
    rows, frequency = np.geomspace(40, rate / 2, height_px), np.fft.rfftfreq(2048, 1 / rate)
    level_db = 10 * np.log10(np.maximum(power.T, 1e-16))
    level_db = level_db[np.clip(np.searchsorted(frequency, rows), 0, len(frequency) - 1)]
    top = max(float(level_db.max()), -100.0)
    with _open_axes(width_px, height_px) as (axes, render):
        across = np.linspace(0, len(mono) / rate, level_db.shape[1])
        axes.pcolormesh(across, rows, level_db, vmin=top - 80, vmax=top, cmap="magma", rasterized=True)
        axes.set(yscale="log", ylim=(40, rate / 2), yticks=[100, 1000, 10_000][: 2 + (rate > 20_000)])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
        axes.minorticks_off()
        _format_time_axis(axes, sound.duration_s)
        return render()


def draw_curves(series: Mapping[str, tuple[ArrayLike, ArrayLike]], *, x: str = "", y: str = "", log_y: bool = False) -> bytes:
    """Lines with a legend: name -> (xs, ys). Values that are not finite leave gaps."""
    with _open_axes(640, 260) as (axes, render):
        for i, (name, (xs, ys)) in enumerate(series.items()):
            axes.plot(np.asarray(xs), np.asarray(ys, float), color=_PALETTE[i % len(_PALETTE)], lw=1.5, label=name)
        axes.set(xlabel=x, ylabel=y, yscale="log" if log_y else "linear")
        axes.grid(color=LINE_COLOR, alpha=0.2, lw=0.6)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=LINE_COLOR)
        return render()


@contextmanager
def _open_axes(width_px: int, height_px: int) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    """Axes on a new figure and a function that returns its PNG. pyplot's registry of figures is not thread-safe and never emptied."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=LINE_COLOR, labelsize=7, length=3)
    axes.xaxis.label.set_color(LINE_COLOR)
    axes.yaxis.label.set_color(LINE_COLOR)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE_COLOR)

    def render() -> bytes:
        from PIL import Image

        out, small = io.BytesIO(), io.BytesIO()
        figure.savefig(out, format="png", transparent=True)
        Image.open(out).quantize(128, method=Image.Quantize.FASTOCTREE).save(small, format="png", optimize=True)
        return small.getvalue()  # with a palette it has a third of the size

    yield axes, render


def _format_time_axis(axes: Any, whole_s: float) -> None:
    axes.xaxis.get_major_locator().set_params(integer=whole_s >= 10)
    axes.xaxis.set_major_formatter(lambda at_s, _: f"{at_s:g} s" if whole_s < 10 else format_clock_time(at_s))


def format_clock_time(time_s: float) -> str:
    """`2:05:09` or `3:04`."""
    minutes, rest = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
