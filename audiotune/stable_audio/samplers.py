"""Samplers: from noise to latents, with stable-audio-tools' denoiser and k-diffusion; the caller gives all noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from audiotune.stable_audio.batch_invariance import GuidanceScales
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.objective import DISTILLED, SIGMA_MAX, SIGMA_MIN, is_rectified_flow, strength_to_sigma
from audiotune.stable_audio.upstream_factory import silence_output

_V = ("dpmpp-2m", "k-heun", "dpmpp-2m-sde", "dpmpp-3m-sde")
_FLOW = ("euler", "dpmpp", "pingpong")
_DISTILLED = ("pingpong", "euler", "dpmpp")

Noise = Callable[[], Any]
AbandonedRows = Callable[[], Collection[int]]


def list_samplers(objective: str) -> tuple[str, ...]:
    """Samplers of an objective, the default first. Those that end in -sde, and pingpong, add noise at every step.

    Raises:
        ModelError: an objective that is neither v nor rectified flow.
    """
    if objective == DISTILLED:
        return _DISTILLED
    return _FLOW if is_rectified_flow(objective) else _V


def count_sampler_steps(objective: str, steps: int, strength: float | None) -> int:
    """Steps that are really taken: with an init sound the v objective takes only the later ones."""
    if strength is None or is_rectified_flow(objective):
        return steps
    part = math.log(strength_to_sigma(strength) / SIGMA_MIN) / math.log(SIGMA_MAX / SIGMA_MIN)
    return max(1, round(steps * part))


class GuidedModel:
    """The diffusion model with its conditioning and guidance, as samplers call it: latents and times in [0, 1].

    Args:
        inputs: what the model takes beside latents and time, tensors of one row a request.
        guidance: of each row.
        beside: adapters beside the model's layers, see `batch_invariance.isolate_requests`.
        gone: rows nobody waits for any more, asked at every call: they are computed no further and come back as zeros.
    """

    def __init__(
        self,
        sa: StableAudio,
        inputs: dict[str, Any],
        guidance: Sequence[float],
        rescale: float,
        gone: AbandonedRows | None = None,
        beside: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> None:
        self.model, self._rows, self._gone = sa.model.model, len(guidance), gone or frozenset
        self._scales = GuidanceScales(guidance, sa.device)
        self._inputs, self._left = dict(inputs, batch_cfg=True), list(range(len(guidance)))
        self._held: tuple[Any, Any] | None = None
        self._aside = {"beside": beside, "wordless": inputs.get("negative_cross_attn_cond") is None}
        self._predicts_velocity = is_rectified_flow(sa.objective)
        if type(self.model).__name__ == "DiTWrapper":
            # Upstream recomputes activations even where nothing is learned; that only costs time here.
            self._inputs.update(scale_phi=rescale, use_checkpointing=False)

    def fix_latents(self, latents: Any, anew: Any) -> None:
        """Keeps latents [rows, channels, frames] where `anew` [rows, 1, frames] is 0: there they are what is predicted."""
        self._held = (latents, anew)

    def apply_fixed_latents(self, denoised: Any) -> Any:
        """A prediction of the clean latents with what is held in its place."""
        if self._held is None:
            return denoised
        latents, anew = self._held
        return denoised * anew + latents * (1 - anew)

    def __call__(self, x: Any, t: Any, **_: Any) -> Any:
        found = self._call_model(x, t)
        if self._held is None or not self._predicts_velocity:
            return found  # a v-objective's prediction is held where the clean latents are known: in _k_diffusion
        times = t.reshape(-1, 1, 1).clamp(min=1e-4).to(x.dtype)
        return (x - self.apply_fixed_latents(x - times * found)) / times

    def _call_model(self, x: Any, t: Any) -> Any:
        self._drop_abandoned_rows(self._gone())
        if len(self._left) == self._rows:
            return self.model(x, t, cfg_scale=self._scales, **self._aside, **self._inputs).to(x.dtype)
        found = x.new_zeros(x.shape)
        left = self._left
        found[left] = self.model(x[left], t[left], cfg_scale=self._scales, **self._aside, **self._inputs).to(x.dtype)
        return found

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
    """Some rows of a tensor, or of the tensors in a list; anything else as it is."""
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
    stepped: Callable[[], None],
) -> Any:
    """Latents [rows, channels, frames] from unit noise `start`.

    Args:
        noise: gives fresh unit noise of the same shape, row by row from each row's own generator.
        init, strength: latents to start from and how much of them is made anew, or None.
        stepped: called after each step.
    """
    name = sampler or list_samplers(sa.objective)[0]
    if not is_rectified_flow(sa.objective):
        return _sample_k_diffusion(model, start, noise, count_sampler_steps("v", steps, strength), name, init, strength, stepped)
    if name == "pingpong":
        return _sample_pingpong(model, start, noise, steps, init, strength, stepped, sa.model.dist_shift)
    with silence_output():
        from stable_audio_tools.inference.sampling import sample_rf
    return sample_rf(
        model,
        start,
        init_data=init,
        steps=steps,
        sampler_type=name,
        sigma_max=1.0 if strength is None else strength,
        device=start.device,
        callback=lambda _: stepped(),
        disable_tqdm=True,
        dist_shift=sa.model.dist_shift,
    )


def _sample_k_diffusion(
    model: GuidedModel,
    start: Any,
    noise: Noise,
    steps: int,
    name: str,
    init: Any,
    strength: float | None,
    stepped: Callable[[], None],
) -> Any:
    with silence_output():
        import k_diffusion
    from_sigma = SIGMA_MAX if strength is None else strength_to_sigma(strength)
    sigmas = k_diffusion.sampling.get_sigmas_polyexponential(steps, SIGMA_MIN, from_sigma, 1.0, device=start.device)
    x = start * sigmas[0] if init is None else init + start * sigmas[0]
    play = {
        "dpmpp-2m": k_diffusion.sampling.sample_dpmpp_2m,
        "k-heun": k_diffusion.sampling.sample_heun,
        "dpmpp-2m-sde": k_diffusion.sampling.sample_dpmpp_2m_sde,
        "dpmpp-3m-sde": k_diffusion.sampling.sample_dpmpp_3m_sde,
    }[name]
    fresh = {"noise_sampler": lambda _sigma, _next: noise()} if name.endswith("-sde") else {}
    denoiser = k_diffusion.external.VDenoiser(model)
    return play(
        lambda *at, **_: model.apply_fixed_latents(denoiser(*at)), x, sigmas, disable=True, callback=lambda _: stepped(), **fresh
    )


def _sample_pingpong(
    model: GuidedModel,
    start: Any,
    noise: Noise,
    steps: int,
    init: Any,
    strength: float | None,
    stepped: Callable[[], None],
    shift: Any,
) -> Any:
    """Denoise fully, noise again a little less, and so on: for distilled models (stable-audio-tools' sample_flow_pingpong)."""
    import torch

    top = 1.0 if strength is None else strength
    times = torch.sigmoid(-torch.linspace(math.log((1 - top) / top + 1e-6) if top < 1 else -6.0, 2.0, steps + 1))
    times[0], times[-1] = top, 0.0
    if shift is not None:
        times = shift.time_shift(times, start.shape[-1])
    x = start if init is None else init * (1 - top) + start * top
    ones = start.new_ones(len(start))
    for now, following in itertools.pairwise(times):
        denoised = x - now.item() * model(x, now.item() * ones)
        x = (1 - following.item()) * denoised + following.item() * noise() if following > 0 else denoised
        stepped()
    return x
