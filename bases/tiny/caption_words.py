"""The words of the tiny base: variations of its captions, and its tokenizer."""

import string
from pathlib import Path

import numpy as np

from audiotune.audio.synthesizer import Patch

# Synonyms of the synthesizer's words; captions of the training use them at random.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "low": ("deep", "bass", "sub", "rumbling"),
    "mid": ("middle", "medium"),
    "high": ("treble", "shrill", "tiny"),
    "drone": ("pad", "sustained", "held", "long", "ambient"),
    "pluck": ("ping", "blip", "plucked", "short", "stab", "percussive"),
    "pulse": ("pulsing", "throbbing", "gated", "beat"),
    "swell": ("swelling", "growing", "crescendo"),
    "sequence": ("arpeggio", "sequenced", "melody", "bubbles", "loop"),
    "sine": ("pure", "whistle"),
    "triangle": ("flute",),
    "saw": ("sawtooth", "buzzing"),
    "square": ("clarinet", "chiptune"),
    "fm": ("bell",),
    "ring": ("modulated", "clanging"),
    "noise": ("noisy", "hiss", "wind", "static"),
    "resonant": ("acid", "squelchy", "resonance"),
    "hum": ("humming", "organ"),
    "dark": ("dull", "muffled", "gloomy"),
    "bright": ("brilliant", "sharp", "shiny"),
    "harsh": ("distorted", "rough", "aggressive", "gritty"),
    "metallic": ("inharmonic", "metal"),
    "warm": ("lush", "thick", "detuned"),
    "soft": ("gentle", "calm", "smooth", "mellow"),
    "airy": ("breathy", "breath"),
    "wobbling": ("vibrato", "wavering", "eerie"),
    "trembling": ("tremolo", "shaking"),
    "rising": ("ascending", "riser"),
    "falling": ("descending", "drop"),
}
FILLERS = ("a", "an", "the", "sound", "synth", "synthesizer", "of", "and", "with", "tone", "note", "texture")

# Words that the base is not trained with, but that a group may use. Each is one token, so that fine-tuning can train it.
_UNTRAINED_WORDS = """
abrasive abstract acoustic alarm alien analog analogue angry atmosphere atonal attack bang bells bird birds bleep bouncy brassy
brittle broken busy buzz calming chaotic chord chime choir choppy chorus clean click clicks clicky cold complex cosmic crackle
crash creepy crunchy crystal cymbal dance dangerous decay delay delayed dense digital dirty dissonant distant distortion dreamy
drift drifting droning drum drums dry dubby dusty echo echoes electric electronic empty energetic ethereal evil evolving explosion
fast fat feedback filter filtered filthy flanger fluid flutter flying formant freaky frequency frog fuzzy game gate ghost ghostly
glass glassy glide glitch glitchy gong grain grainy granular groovy growl growling guitar happy hard harmonic haunting heavy hit
horn horror hypnotic icy industrial insect intense jam jumpy kick kit laser lead light liquid lonely loud lo lofi lfo machine
majestic mechanical melancholic melodic minimal modular modulation monotone monster moody moving murky mysterious nasal nervous
nostalgic oscillator oscillating out overtone phase phaser piano pitch playful pop power processed punchy quick quiet radio rain
random rapid raw relaxed repetitive reverb reverberant reverse rhythm rhythmic ringing robot robotic sad sample scary sci fi
scratch sea sequencer shaker shimmering silky simple siren slow slowly snare snappy solo sonic space spacey sparkling sparse spooky
spring squeak squeal steady steel strange stretched string strings strong submarine subtle sweep sweeping swirling synthetic tape
tense tension thin thump thunder tight tonal toy trance tribal tuned twang uneasy unstable ufo vinyl violent vintage vocal voice
vowel warble warning water watery wave weird wet wide wobble wooden zap zip
"""


def write_caption(patch: Patch, rng: np.random.Generator) -> str:
    """A random variation of the caption: words omitted, replaced or added, without changing its meaning."""
    words = [w for w in patch.list_words() if rng.random() < 0.85]
    said = [str(rng.choice(SYNONYMS[w])) if w in SYNONYMS and rng.random() < 0.3 else w for w in words]
    if rng.random() < 0.4:
        said.insert(0, str(rng.choice(FILLERS)))
    return " ".join(said)


def build_vocabulary() -> list[str]:
    """All tokens in order of their id: specials, words, then single characters for all other words."""
    heard = [*SYNONYMS, *(s for synonyms in SYNONYMS.values() for s in synonyms), "hollow", *FILLERS]
    letters = string.ascii_lowercase + string.digits
    tokens = ["[PAD]", "[UNK]", *heard, *_UNTRAINED_WORDS.split(), *letters, *(f"##{c}" for c in letters), *"'-,.&"]
    return list(dict.fromkeys(tokens))


def write_tokenizer(folder: Path) -> None:
    """A WordPiece tokenizer (Schuster and Nakajima 2012) in the format transformers loads: lower case, accents off."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: i for i, token in enumerate(build_vocabulary())}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(str(folder))
