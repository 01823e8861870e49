"""Trains the tiny base on sounds of the synthesizer: renders sounds, trains autoencoder and diffusion transformer, writes weights.

    python -m bases.tiny.make --work /tmp/tiny          about an hour on two free cores; can be interrupted and restarted

The seed is fixed. --work keeps the result of each stage, so that a restart skips finished ones.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from audiotune.store.atomic_files import replace_atomically

HERE = Path(__file__).resolve().parent
SEED = 20_261_123


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder for sounds, checkpoints and the log")
    parser.add_argument("--out", type=Path, default=HERE, help="where model.safetensors goes")
    parser.add_argument("--sounds", type=int, default=8000)
    parser.add_argument("--autoencoder-steps", type=int, default=1800)
    parser.add_argument("--diffusion-steps", type=int, default=2600)
    parser.add_argument("--cool-down-steps", type=int, default=220, help="steps at the end with a falling learning rate")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    from audiotune.stable_audio.load import load_model
    from bases.tiny import caption_words, training_sounds

    caption_words.write_tokenizer(HERE / "tokenizer")
    training_sounds.render_sounds(args.work / "material", args.sounds, seed=1000, workers=args.threads)
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    model = load_model(HERE / "model_config.json").model
    sounds = training_sounds.load_sounds(args.work / "material")
    _train_autoencoder(model, sounds, args)
    _train_diffusion(model, sounds, args)
    _zero_untrained_words(model, sounds)
    _save_weights(model, args.out / "model.safetensors")


def _train_autoencoder(model: Any, sounds: Any, args: argparse.Namespace) -> None:
    from bases.tiny import autoencoder

    done = args.work / "autoencoder.done"
    kept = args.work / "autoencoder.pt"
    if not done.exists():
        save = lambda: torch.save(model.pretransform.state_dict(), kept)  # noqa: E731
        autoencoder.train_autoencoder(model.pretransform, sounds, args.autoencoder_steps, SEED, save, args.work / "log.txt")
        done.touch()
    model.pretransform.load_state_dict(torch.load(kept, weights_only=True))
    model.pretransform.eval().requires_grad_(False)


def _train_diffusion(model: Any, sounds: Any, args: argparse.Namespace) -> None:
    from audiotune.stable_audio import load
    from bases.tiny import diffusion

    latents, log = diffusion.encode_material(model.pretransform, sounds), args.work / "log.txt"
    saved, cooled = args.work / "model.safetensors", args.work / "cooled.safetensors"
    if saved.exists():  # after an interruption only the cool-down is done
        load.load_weights(model, saved)
    else:
        diffusion.train_diffusion(model, latents, args.diffusion_steps, SEED + 1, lambda: _save_weights(model, saved), log)
    diffusion.train_diffusion(model, latents, args.cool_down_steps, SEED + 2, lambda: _save_weights(model, cooled), log, lr=4e-4)


def _zero_untrained_words(model: Any, sounds: Any) -> None:
    """Sets the embedding of untrained words to zero, so that they have no meaning instead of a random one."""
    lookup = model.conditioner.conditioners["prompt"]
    trained = {i for m in sounds.values() for said in m.captions for text in said for i in lookup.tokenizer(text)["input_ids"]}
    with torch.no_grad():
        for i in set(range(lookup.token_embedder.num_embeddings)) - trained:
            lookup.token_embedder.weight[i].zero_()


def _save_weights(model: Any, path: Path) -> None:
    """Writes all weights in half precision."""
    from safetensors.torch import save_file

    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    with replace_atomically(path) as part:
        save_file(state, part, metadata={"format": "pt"})
        part.chmod(0o644)


if __name__ == "__main__":
    main()
