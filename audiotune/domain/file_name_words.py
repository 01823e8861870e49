"""The words in a take's file name, for captions. Default names of recorders, phones and programs say nothing about the sound."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Words of default names, in the languages that recorders and phones speak. A name made only of these is no description.
_DEFAULT_NAME_WORDS = frozenset(
    """
    zoom tascam mixpre folder line multi sr pcm dm ds gx gh gp audiofile region standard easy recorder notebook dictaphone hub
    standardaufnahme tonspur eigene eigener
    mixpre olympus marantz edirol roland sony yamaha portacapture ste dr dsc dscf img mov mvi vid aud ptt wa gopr dji pxl
    whatsapp signal telegram audio video voice memo memos note clip sound file filename screen
    rec record recording recordings recorded recorder take takes track tracks tr ch chan channel sd lr l r m s xy ms st mono stereo
    out output in input main insert bus mix mixdown mixed bounce bounced bip master mastered render rendered export exported stem
    untitled unnamed unknown new my project song session jam jams jamming impro improv improvisation rehearsal gig test midi wav
    final version copy part pt no nr at am pm
    neue neuer neues aufnahme aufnahmen aufzeichnung sprachmemo sprachaufnahme sprachnotiz bildschirmaufnahme unbenannt unbenanntes
    projekt spur probe datei kopie
    nouvel nouveau nouvelle enregistrement mémo vocal sans titre projet piste prise
    nueva nuevo grabación grabacion nota de voz sin título titulo proyecto pista toma
    nuova nuovo registrazione memo vocale senza titolo progetto traccia
    nova novo gravação gravacao sem título projeto faixa
    nieuwe opname opnamen naamloos ny inspelning optagelse opptak nowe nagranie nová nahrávka uusi äänitys
    новая запись диктофон голос дорожка без названия
    yeni kayıt 新規録音 録音 新录音 录音 새로운 녹음 녹음
    vn voc evp mic mics vom am januar februar märz april mai juni juli august oktober dezember okt dez
    january february march april may june july august september october november december
    jan feb mar apr jun jul aug sep oct nov dec mon tue wed thu fri sat sun
    """.split()  # noqa: SIM905
)
_COPIES = re.compile(
    r"(?:\s*\(\d{1,3}\)|\s+-?\s*(?:copy|kopie|copie|copia)(?:\s+\d+)?|\s*\((?:copy|kopie|copie|copia)\))+$", re.IGNORECASE
)
_COPY_OF = re.compile(r"^(?:copy of|kopie von|copie de|copia de|copia di)\s+", re.IGNORECASE)
# A recorder's counter in front of words that somebody wrote, as in "ZOOM0012_LR dark drone".
_COUNTER = re.compile(
    r"^(?:zoom|tascam|dr|ste|img|dsc|vid|aud|ptt|mov|rec)[ -]?\d{3,}[a-z]?\d*(?:[ -]+(?:lr|tr\d+|ms|xy))*[ -]+(?=\S)",
    re.IGNORECASE,
)
_PITCH = re.compile(r"[a-g][#b]?\d")


def words_from_file_name(name: str) -> str:
    """A take's file name as words: without path, suffix, text after `[`, a browser's "(1)" and the take's number, `_` as space.

    Numbers of one or two digits at the end are take numbers; longer ones (`bd_808`) and pitches (`c4`, `f#2`) are words.
    Empty for default names of recorders, phones and programs.

    >>> words_from_file_name("jam/Resonant_FM_laser_1[ben].wav")
    'Resonant FM laser'
    """
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", stem).split("[", 1)[0]
    text = " ".join(re.sub(r"[_\x00-\x1f]", " ", stem).split())
    text = _COUNTER.sub("", _COPY_OF.sub("", _COPIES.sub("", text)))
    text = re.sub(r"(?:[\s-]+\d{1,2}[a-z]?)+$", "", text)
    text = re.sub(r"(?<=[A-Za-z]{2})\d{1,2}[a-z]?$", "", text).strip(" -")
    return text if _is_description(text) else ""


def _is_description(text: str) -> bool:
    """Whether a name says something beside counters, dates and the words of default names."""
    tokens = re.findall(r"[^\W_]+(?:#\d)?", text.lower())
    words = {word for token in tokens for word in re.findall(r"[^\W\d_]+", token) if not re.search(r"\d", token)}
    coded = {word for token in tokens if re.search(r"\d", token) for word in re.findall(r"[^\W\d_]{2,}", token)}
    if (words | coded) - _DEFAULT_NAME_WORDS:
        return True
    return any(_PITCH.fullmatch(token) for token in tokens) and not (
        coded or any(re.fullmatch(r"\d{3,}", token) for token in tokens)
    )
