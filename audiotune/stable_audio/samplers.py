"""Samplers of stable-audio-tools, which brings those of k-diffusion: from noise, which the caller provides, to latents."""

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from audiotune.stable_audio.batch_invariance import GuidanceScales
from audiotune.stable_audio.known_bases import GenerationDefaults
from audiotune.stable_audio.low_rank_layers import LowRankAddition
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.objective import DISTILLED, is_rectified_flow, strength_to_sigma
from audiotune.stable_audio.upstream_factory import silence_output

_V = ("dpmpp-2m", "k-heun", "dpmpp-2m-sde", "dpmpp-3m-sde")
_FLOW = ("euler", "dpmpp", "pingpong")
_DISTILLED = ("pingpong", "euler", "dpmpp")

Noise = Callable[[], Any]
AbandonedRows = Callable[[], Collection[int]]


def list_samplers(objective: str) -> tuple[str, ...]:
    """Samplers of an objective; a base has its own default among them. Those that end in -sde, and pingpong, add noise at every step.

    Raises:
        ModelError: an objective that is neither v nor rectified flow.
    """
    if objective == DISTILLED:
        return _DISTILLED
    return _FLOW if is_rectified_flow(objective) else _V


def count_sampler_steps(objective: str, defaults: GenerationDefaults, steps: int, strength: float | None) -> int:
    """Steps that are computed: with an init sound the v objective computes only the later ones."""
    if strength is None or is_rectified_flow(objective):
        return steps
    lowest, highest = _find_sigma_range(defaults, strength)
    return max(1, round(steps * math.log(highest / lowest) / math.log(defaults.sigma_max / defaults.sigma_min)))


def _find_sigma_range(defaults: GenerationDefaults, strength: float | None) -> tuple[float, float]:
    """The lowest and highest noise level of the v objective's samplers; an init sound that is hardly changed begins low."""
    highest = defaults.sigma_max if strength is None else strength_to_sigma(strength, defaults.sigma_max)
    return min(defaults.sigma_min, highest / 2), highest


class GuidedModel:
    """The diffusion model with its conditioning and guidance, as samplers call it: latents and times in [0, 1].

    Args:
        inputs: the model's inputs besides latents and time, tensors with one row per request.
        guidance: of each row.
        gone: returns the abandoned rows; called at every step. They are computed no further and returned as zeros.
        beside: adapters of the model's layers, see `batch_invariance.isolate_requests`.
    """

    def __init__(
        self,
        sa: StableAudio,
        inputs: dict[str, Any],
        guidance: Sequence[float],
        rescale: float,
        gone: AbandonedRows | None = None,
        beside: Mapping[str, LowRankAddition] | None = None,
    ) -> None:
        self.model, self._rows, self._gone = sa.model.model, len(guidance), gone or frozenset
        self._scales = GuidanceScales(guidance, sa.device)
        self._inputs, self._left = dict(inputs, batch_cfg=True), list(range(len(guidance)))
        self._fixed: tuple[Any, Any] | None = None
        self._batch_options = {"beside": beside, "wordless": inputs.get("negative_cross_attn_cond") is None}
        self._predicts_velocity = is_rectified_flow(sa.objective)
        if type(self.model).__name__ == "DiTWrapper":
            # Upstream recomputes activations even without gradients, which only costs time.
            self._inputs.update(scale_phi=rescale, use_checkpointing=False, apg_scale=sa.defaults.projected_guidance)

    def fix_latents(self, latents: Any, mask: Any) -> None:
        """Makes the model predict `latents` [rows, channels, frames] wherever `mask` [rows, 1, frames] is 0."""
        self._fixed = (latents, mask)

    def apply_fixed_latents(self, denoised: Any) -> Any:
        """A prediction of the clean latents, with the fixed latents in their place."""
        if self._fixed is None:
            return denoised
        latents, mask = self._fixed
        return denoised * mask + latents * (1 - mask)

    def __call__(self, x: Any, t: Any, **_: Any) -> Any:
        output = self._call_model(x, t)
        if self._fixed is None or not self._predicts_velocity:
            return output  # for the v objective _sample_k_diffusion fixes the latents
        times = t.reshape(-1, 1, 1).clamp(min=1e-4).to(x.dtype)
        return (x - self.apply_fixed_latents(x - times * output)) / times

    def _call_model(self, x: Any, t: Any) -> Any:
        self._drop_abandoned_rows(self._gone())
        left, options = self._left, {"cfg_scale": self._scales, **self._batch_options, **self._inputs}
        if len(left) == self._rows:
            return self.model(x, t, **options).to(x.dtype)
        output = x.new_zeros(x.shape)
        output[left] = self.model(x[left], t[left], **options).to(x.dtype)
        return output

    def _drop_abandoned_rows(self, gone: Collection[int]) -> None:
        """Raises CancelledError when no row is left."""
        places = [place for place, row in enumerate(self._left) if row not in gone]
        if len(places) == len(self._left):
            return
        if not places:
            raise CancelledError
        self._inputs = {name: _select_rows(value, places, len(self._left)) for name, value in self._inputs.items()}
        self._scales, self._left = self._scales.select_rows(places), [self._left[place] for place in places]


def _select_rows(value: Any, places: list[int], rows: int) -> Any:
    """Some rows of a tensor, or of the tensors in a list; any other value unchanged."""
    if isinstance(value, list | tuple):
        return type(value)(_select_rows(one, places, rows) for one in value)
    return value[places] if hasattr(value, "ndim") and value.ndim and len(value) == rows else value


def run_sampler(
    sa: StableAudio,
    model: GuidedModel,
    start: Any,
    noise: Noise,
    steps: int,
    sampler: str | None,
    init: Any,
    strength: float | None,
    on_step: Callable[[], None],
) -> Any:
    """Latents [rows, channels, frames] from unit noise `start`.

    Args:
        noise: returns new unit noise of the same shape, each row from its own generator.
        init, strength: latents to start from and how much of them is regenerated, or None.
        on_step: called after each step.
    """
    name = sampler or sa.defaults.sampler
    if not is_rectified_flow(sa.objective):
        computed = count_sampler_steps("v", sa.defaults, steps, strength)
        lowest, highest = _find_sigma_range(sa.defaults, strength)
        with silence_output():
            from stable_audio_tools.inference.k_diffusion.sampling import get_sigmas_polyexponential
        sigmas = get_sigmas_polyexponential(computed, lowest, highest, 1.0, device=start.device)
        return _sample_k_diffusion(model, start, noise, sigmas, name, init, on_step)
    top = 1.0 if strength is None else strength
    levels = build_flow_schedule(sa, steps, top, start.shape[-1]).to(start.device)
    x = start if init is None else init * (1 - top) + start * top
    if name == "pingpong":
        return _sample_pingpong(model, x, noise, levels, on_step)
    with silence_output():
        from stable_audio_tools.inference.sampling import sample_discrete_euler, sample_flow_dpmpp
    sample = {"euler": sample_discrete_euler, "dpmpp": sample_flow_dpmpp}[name]
    return sample(model, x, levels, callback=lambda _: on_step(), disable_tqdm=True)


def _sample_k_diffusion(
    model: GuidedModel,
    start: Any,
    noise: Noise,
    sigmas: Any,
    name: str,
    init: Any,
    on_step: Callable[[], None],
) -> Any:
    with silence_output():
        from stable_audio_tools.inference import k_diffusion
    x = start * sigmas[0] if init is None else init + start * sigmas[0]
    sample = {
        "dpmpp-2m": k_diffusion.sampling.sample_dpmpp_2m,
        "k-heun": k_diffusion.sampling.sample_heun,
        "dpmpp-2m-sde": k_diffusion.sampling.sample_dpmpp_2m_sde,
        "dpmpp-3m-sde": k_diffusion.sampling.sample_dpmpp_3m_sde,
    }[name]
    options = {"noise_sampler": lambda _sigma, _next: noise()} if name.endswith("-sde") else {}
    denoiser = k_diffusion.external.VDenoiser(model)

    def denoise(*at: Any, **_: Any) -> Any:
        return model.apply_fixed_latents(denoiser(*at))

    return sample(denoise, x, sigmas, disable=True, callback=lambda _: on_step(), **options)


def _sample_pingpong(model: GuidedModel, x: Any, noise: Noise, levels: Any, on_step: Callable[[], None]) -> Any:
    """Denoises fully, adds a little less noise, and repeats: for distilled models (stable-audio-tools' sample_flow_pingpong)."""
    ones = x.new_ones(len(x))
    for now, following in itertools.pairwise(levels):
        denoised = x - now.item() * model(x, now.item() * ones)
        x = (1 - following.item()) * denoised + following.item() * noise() if following > 0 else denoised
        on_step()
    return x


def build_flow_schedule(sa: StableAudio, steps: int, top: float, frames: int) -> Any:
    """Noise levels of rectified flow, from `top` down to 0, [steps + 1], by stable-audio-tools' build_schedule.

    They are even, shifted by the base's `sampling_distribution_shift_options`; without these even in log-SNR from -6.2 to 2. The shift
    of training (`distribution_shift_options`) is another one and is not applied here.

    Args:
        frames: latent frames, by which some shifts differ.
    """
    with silence_output():
        from stable_audio_tools.inference.sampling import build_schedule
    return build_schedule(steps, top, sa.model.sampling_dist_shift, fallback_seq_len=frames)
