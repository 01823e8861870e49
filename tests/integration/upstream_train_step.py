"""Trains one step with stable-audio-tools alone, on an exported dataset: `python upstream_train_step.py EXPORT TOKENIZER`.

Imports nothing of this project. Two places of stable-audio-tools 0.0.20 do not work with the torch that is installed: torchaudio opens
no file without torchcodec, so soundfile does; and its trainer imports a transform of torchaudio.prototype, which is gone, for a
discriminator that is not used here.
"""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytorch_lightning
import soundfile
import torch
import torchaudio
from stable_audio_tools.data.dataset import create_dataloader_from_config
from stable_audio_tools.models import create_model_from_config

gone = sys.modules["torchaudio.prototype.transforms"] = ModuleType("torchaudio.prototype.transforms")
gone.ChromaSpectrogram = None
from stable_audio_tools.training import create_training_wrapper_from_config  # noqa: E402

RATE, SAMPLES = 44_100, 32_768


def load(file: str, format: str = "") -> tuple[torch.Tensor, int]:
    data, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return torch.from_numpy(data.T.copy()), rate


def describe_model(tokenizer: str) -> dict:
    prompt = {"id": "prompt", "type": "lut", "config": {"tokenizer_name": tokenizer, "max_length": 16}}
    seconds = {"id": "seconds_total", "type": "number", "config": {"min_val": 0, "max_val": 512}}
    blocks = {"channels": 4, "c_mults": [1, 2], "strides": [8, 16], "use_snake": True}
    autoencoder = {
        "encoder": {"type": "oobleck", "config": {"in_channels": 2, "latent_dim": 8, **blocks}},
        "decoder": {"type": "oobleck", "config": {"out_channels": 2, "latent_dim": 4, **blocks}},
        "bottleneck": {"type": "vae"},
        "latent_dim": 4,
        "downsampling_ratio": 128,
        "io_channels": 2,
    }
    transformer = {"io_channels": 4, "embed_dim": 64, "depth": 1, "num_heads": 2, "cond_token_dim": 64, "global_cond_dim": 64}
    diffusion = {"type": "dit", "cross_attention_cond_ids": ["prompt"], "global_cond_ids": ["seconds_total"]}
    return {
        "model_type": "diffusion_cond",
        "sample_size": SAMPLES,
        "sample_rate": RATE,
        "audio_channels": 2,
        "model": {
            "pretransform": {"type": "autoencoder", "config": autoencoder},
            "conditioning": {"configs": [prompt, seconds], "cond_dim": 64},
            "diffusion": {**diffusion, "diffusion_objective": "v", "config": {**transformer, "project_cond_tokens": False}},
            "io_channels": 4,
        },
        "training": {"learning_rate": 1e-3, "use_ema": False, "timestep_sampler": "uniform"},
    }


def main(export: Path, tokenizer: str) -> None:
    torchaudio.load = load
    dataset = json.loads((export / "stable_audio_tools" / "dataset_config.json").read_text())
    loader = create_dataloader_from_config(dataset, batch_size=2, sample_size=SAMPLES, sample_rate=RATE, num_workers=1)
    audio, described = next(iter(loader))
    config = describe_model(tokenizer)
    wrapper = create_training_wrapper_from_config(config, create_model_from_config(config))
    before = [weight.detach().clone() for weight in wrapper.diffusion.model.parameters()]
    trainer = pytorch_lightning.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(wrapper, loader)
    moved = sum(not torch.equal(old, new) for old, new in zip(before, wrapper.diffusion.model.parameters(), strict=True))
    print(json.dumps({"shape": list(audio.shape), "prompts": [one["prompt"] for one in described], "moved": moved}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
