"""Generates sounds from requests. Each request has its own noise, so it gives the same sound alone and in a batch.

Unlike stable-audio-tools' generate_diffusion_cond it denoises only as many latent frames as the sound needs, changes no global
seed or backend flag, and draws all noise, also that of stochastic samplers, from one CPU generator per request.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiotune.audio.sound import Sound
from audiotune.errors import GenerationError
from audiotune.stable_audio import batch_invariance, conditioning, samplers, threads
from audiotune.stable_audio.adapters import Adapter, load_adapters, sort_adapters
from audiotune.stable_audio.autoencoder import decode_latents, encode_sound
from audiotune.stable_audio.model import StableAudio

_FADE_S = 0.02
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """One sound to generate.

    Attributes:
        negative_prompt: what the sound must not be; "" for none.
        seconds: length of the sound, > 0, at most the model's window.
        steps: denoising steps, >= 1.
        guidance: classifier-free guidance; 1 is none and halves the computation.
        seed: determines all noise; 0 to 2**63 - 1.
        sampler: one of `samplers.list_samplers(objective)`; None is the base's own.
        init: a sound to start from.
        init_strength: how much of `init` is regenerated, above 0; 1 keeps nothing of it.
        redo: (start, end) in seconds: only this part of `init` is regenerated, from noise. The rest stays bit-exact; fades of 20 ms
            lie inside the part. It may reach beyond the end of `init`.
        guidance_rescale: 0 to 1, restores the standard deviation of guided latents (Lin et al. 2024); upstream's scale_phi.
        adapters: LoRA adapters for this request, each with its strength.
    """

    prompt: str
    negative_prompt: str = ""
    seconds: float = 2.0
    steps: int = 50
    guidance: float = 4.0
    seed: int = 0
    sampler: str | None = None
    init: Sound | None = None
    init_strength: float = 0.7
    guidance_rescale: float = 0.0
    redo: tuple[float, float] | None = None
    adapters: tuple[tuple[Adapter, float], ...] = ()

    def batch_key(self) -> tuple[Any, ...]:
        """Requests with the same value and the same latent length can be denoised in one batch."""
        guidance = (self.guidance != 1, bool(self.negative_prompt), self.guidance_rescale)
        init = (_init_strength(self), self.redo is not None)
        return (self.steps, self.sampler, *guidance, *init, *sort_adapters(self.adapters))


def generate_sounds(sa: StableAudio, requests: Sequence[SamplingRequest], on_step: OnStep | None = None) -> list[Sound]:
    """The sounds of the requests, in their order. Similar requests share a batch; each gives the same bits as alone (on CPUs).

    Args:
        on_step: called with (steps done, steps in all) of all requests; may raise to stop.

    Raises:
        GenerationError: a request that the model cannot meet; checked before anything is computed.
    """
    for request in requests:
        check_request(sa, request)
    groups = _group_requests(sa, requests)
    total = sum(len(group) * count_steps(sa, requests[group[0]]) for group in groups)
    done = 0
    sounds: dict[int, Sound] = {}
    for group in groups:

        def report_step(_done: int, _total: int, count: int = len(group)) -> None:
            nonlocal done
            done += count
            if on_step is not None:
                on_step(min(done, total), total)

        for i, sound in zip(group, generate_batch(sa, [requests[i] for i in group], report_step)):
            assert sound is not None
            sounds[i] = sound
    return [sounds[i] for i in range(len(requests))]


def generate_batch(
    sa: StableAudio,
    requests: Sequence[SamplingRequest],
    on_step: OnStep | None = None,
    gone: samplers.AbandonedRows | None = None,
) -> list[Sound | None]:
    """The sounds of requests with one latent length and one `batch_key()`, as one batch; None for abandoned requests.

    Args:
        on_step: called with (steps done, steps in all) of the batch; may raise to stop.
        gone: returns the indices of abandoned requests; called before each step, which then leaves them out.

    Raises:
        CancelledError: all are abandoned.
        GenerationError: their keys differ.
    """
    if len({(count_latent_frames(sa, r.seconds), *r.batch_key()) for r in requests}) != 1:
        raise GenerationError("these requests are not alike", cure="denoise them apart")
    total, done = count_steps(sa, requests[0]), 0

    def report_step() -> None:
        nonlocal done
        done = min(done + 1, total)
        if on_step is not None:
            on_step(done, total)

    alone, together = count_batch_threads(sa, requests[0], 1), count_batch_threads(sa, requests[0], len(requests))
    threads.log_threads(together, f"{len(requests)} at a time of {requests[0].seconds:.2f} s")
    with threads.use_threads(alone):  # as for one request alone, so that the bits are the same
        denoised = _denoise_batch(sa, requests, report_step, gone, together)
        abandoned = set(gone() if gone else ())
        return [
            None
            if i in abandoned
            else _restore_outside_redo(sa, decode_latents(sa, latents, round(request.seconds * sa.sample_rate_hz)), request)
            for i, (latents, request) in enumerate(zip(denoised, requests))
        ]


def count_batch_threads(sa: StableAudio, request: SamplingRequest, count: int) -> int:
    """CPU threads for a batch of `count` requests like this one, see `threads`."""
    rows = count if request.guidance == 1 else 2 * count
    return threads.choose_threads(sa, rows * count_latent_frames(sa, request.seconds) // sa.patch_frames)


def count_steps(sa: StableAudio, request: SamplingRequest) -> int:
    """Denoising steps that are computed for a request."""
    return samplers.count_sampler_steps(sa.objective, sa.defaults, request.steps, _init_strength(request))


def check_request(sa: StableAudio, request: SamplingRequest) -> None:
    """Raises GenerationError, naming the field, for a request that the model cannot meet."""
    longest_s = sa.window_frames / sa.sample_rate_hz
    names = samplers.list_samplers(sa.objective)
    faults = (
        (not 0 < request.seconds <= longest_s + 1e-6, "seconds", f"above 0, at most {longest_s:.2f}"),
        (request.steps < 1, "steps", "at least 1"),
        (not math.isfinite(request.guidance) or request.guidance < 0, "guidance", "0 or more"),
        (not 0 <= request.seed < 2**63, "seed", "0 to 2**63 - 1"),
        ((request.sampler or sa.defaults.sampler) not in names, "sampler", f"one of {', '.join(names)}"),
        (not 0 < request.init_strength <= 1, "init_strength", "above 0, at most 1"),
        (request.redo is not None and not _redo_fits(request), "redo", "a part of the sound, with an init sound"),
        (not 0 <= request.guidance_rescale <= 1, "guidance_rescale", "0 to 1"),
    )
    for wrong, field, bound in faults:
        if wrong:
            raise GenerationError(f"{field} is {getattr(request, field)!r}", where=field, cure=f"give {bound}")


def count_latent_frames(sa: StableAudio, seconds: float) -> int:
    """Latent frames to denoise for a sound of `seconds`: as many as it needs, up to an eighth more.

    Lengths are rounded up to one of eight steps per octave, so that sounds of similar length share a batch.
    """
    frames = max(1, math.ceil(round(seconds * sa.sample_rate_hz) / sa.downsampling_ratio))
    step = max(1, 1 << max(0, frames.bit_length() - 4))
    return math.ceil(math.ceil(frames / step) * step / sa.patch_frames) * sa.patch_frames


def _group_requests(sa: StableAudio, requests: Sequence[SamplingRequest]) -> list[list[int]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault((count_latent_frames(sa, request.seconds), *request.batch_key()), []).append(i)
    return list(groups.values())


def _init_strength(request: SamplingRequest) -> float | None:
    return request.init_strength if request.init is not None and request.redo is None else None


def _redo_fits(request: SamplingRequest) -> bool:
    start_s, end_s = request.redo or (0.0, 0.0)
    return request.init is not None and 0 <= start_s < end_s <= request.seconds + 1e-6


def _restore_outside_redo(sa: StableAudio, generated: Sound, request: SamplingRequest) -> Sound:
    """Puts the init sound back outside the regenerated part: the autoencoder does not reproduce it exactly."""
    if request.redo is None or request.init is None:
        return generated
    rate, frames = sa.sample_rate_hz, generated.frames
    start, end = (round(second * rate) for second in request.redo)
    fade = min(round(_FADE_S * rate), (end - start) // 2)
    new = np.zeros(frames, np.float32)  # gain of the new sound
    new[start:end] = 1.0
    if start > 0:
        new[start : start + fade] = np.linspace(0, 1, fade, dtype=np.float32)
    if end < frames:
        new[end - fade : end] = np.linspace(1, 0, fade, dtype=np.float32)
    old = request.init.to_channels(generated.channels).resample(rate).data[:, :frames]
    old = np.pad(old, ((0, 0), (0, frames - old.shape[1])))
    return Sound(generated.data * new + old * (1 - new), rate)


def _denoise_batch(
    sa: StableAudio,
    requests: Sequence[SamplingRequest],
    on_step: Callable[[], None],
    gone: samplers.AbandonedRows | None,
    together: int,
) -> list[np.ndarray[Any, Any]]:
    """Latents [latent_channels, latent_frames] of similar requests of one length.

    Args:
        together: threads for the sampler; the inputs are computed request by request with the caller's threads.
    """
    import torch

    first, device = requests[0], sa.device
    generators = [torch.Generator().manual_seed(r.seed) for r in requests]
    shape = (sa.latent_channels, count_latent_frames(sa, first.seconds))

    def noise() -> Any:
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(device)

    with torch.no_grad(), batch_invariance.isolate_requests(sa.model.model):
        start = noise()
        init = torch.stack([_encode_init(sa, r, shape[1]) for r in requests]).to(device) if first.init is not None else None
        guidance = [r.guidance for r in requests]
        adapters = load_adapters(sa, first.adapters)
        redo = None if first.redo is None else torch.stack([_build_redo_mask(sa, r, shape[1]) for r in requests]).to(device)
        with adapters.applied_to_conditioner(sa):
            inputs = _build_model_inputs(sa, requests, start if redo is None else init, None if redo is None else 1 - redo)
        model = samplers.GuidedModel(sa, inputs, guidance, first.guidance_rescale, gone, adapters.diffusion)
        if redo is not None:
            model.fix_latents(init, redo)
            init = None
        with threads.use_threads(together):
            batch = samplers.run_sampler(
                sa, model, start, noise, first.steps, first.sampler, init, _init_strength(first), on_step
            )
    return [latents.float().cpu().numpy() for latents in batch]


def _build_model_inputs(sa: StableAudio, requests: Sequence[SamplingRequest], latents: Any, given: Any) -> dict[str, Any]:
    """The inputs of the diffusion model besides latents and time: prompts, lengths, negative prompts, and what is given of `latents`."""

    def embed(prompts: Sequence[str]) -> conditioning.Conditioning:  # row by row: other prompts must not change a bit of a row
        rows = [conditioning.embed_prompts(sa, [prompt], [r.seconds]) for prompt, r in zip(prompts, requests)]
        return conditioning.add_inpainting(sa.config, conditioning.stack_rows(rows), latents, given)

    inputs = dict(sa.model.get_conditioning_inputs(embed([r.prompt for r in requests])))
    if requests[0].negative_prompt:
        inputs |= sa.model.get_conditioning_inputs(embed([r.negative_prompt for r in requests]), negative=True)
    return inputs


def _build_redo_mask(sa: StableAudio, request: SamplingRequest, frames: int) -> Any:
    """[1, frames]: 1 where latents are regenerated, which includes all frames beyond the init sound."""
    import torch

    assert request.redo is not None
    start, end = (second * sa.sample_rate_hz / sa.downsampling_ratio for second in request.redo)
    mask = torch.zeros(1, frames)
    mask[:, math.floor(start) : math.ceil(end)] = 1.0
    if end >= request.seconds * sa.sample_rate_hz / sa.downsampling_ratio - 1e-3:
        mask[:, math.floor(start) :] = 1.0
    return mask


def _encode_init(sa: StableAudio, request: SamplingRequest, frames: int) -> Any:
    """Latents of the init sound, cut or padded with silence to `frames` latent frames."""
    import torch

    assert request.init is not None
    fitted = request.init.to_channels(sa.channels).resample(sa.sample_rate_hz)
    wanted = frames * sa.downsampling_ratio
    data = np.pad(fitted.data[:, :wanted], ((0, 0), (0, max(0, wanted - fitted.frames))))
    return torch.from_numpy(encode_sound(sa, Sound(data, sa.sample_rate_hz)))
