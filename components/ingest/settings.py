"""Imports recordings: their source, contributors and licence, and limits of their size."""

from __future__ import annotations

from pydantic import Field

from components.executor import StepSettings

INPUTS = ()
OUTPUTS = ("recordings", "report", "metrics")
PARAMETERS = ("recordings_key",)


class Settings(StepSettings):
    """The settings of ingest."""

    source: str = Field(
        default="",
        description="Where the recordings are: a folder, a file, a zip, s3://bucket/prefix, an http(s) address, gdrive:ID, "
        "hf:owner/name[:path], or upload:ID for an upload of the studio.",
    )
    agreement: str = Field(
        default="", description="Path of agreement.toml to put in force; empty keeps the one already in force in the store."
    )
    contributors: str = Field(
        default="", description="Who plays, by the agreement's member ids with commas between; a sidecar file overrules it."
    )
    session: str = Field(default="", max_length=200, description="Name of the jam; a sidecar file overrules it.")
    instrument: str = Field(default="", max_length=200, description="What is played; a sidecar file overrules it.")
    licence: str = Field(
        default="", max_length=200, description="Licence of the recordings; empty means the agreement's recordings_licence."
    )
    shortest_s: float = Field(default=0.01, ge=0.001, le=60, description="Files shorter than this, in seconds, are refused.")
    longest_h: float = Field(default=24.0, gt=0, le=240, description="Files longer than this, in hours, are refused.")
    highest_rate_hz: int = Field(
        default=96_000, ge=8_000, le=768_000, description="Files with a higher sample rate, in hertz, are refused."
    )
    most_channels: int = Field(
        default=32, ge=1, le=64, description="Files with more channels are refused; all channels are heard, mixed to stereo."
    )
    refuse_cut: bool = Field(
        default=False,
        description="Whether files that break off before their end are refused; else what is there comes in, when it is a second or more.",
    )
    largest_file_gib: float = Field(default=32.0, gt=0, le=1024, description="Files larger than this, in GiB, are refused.")
    largest_total_gib: float = Field(
        default=256.0, gt=0, le=65_536, description="A zip that unpacks to more than this, in GiB, is refused."
    )
    most_files: int = Field(default=100_000, ge=1, le=10_000_000, description="A source with more files than this is refused.")
    private_addresses: bool = Field(
        default=False, description="Whether http(s) addresses inside the own network may be fetched, and proxies used."
    )
    likenesses: bool = Field(
        default=True,
        description="Whether likenesses with other recordings are kept and reported. They are always looked for: what sounds like "
        "a recording of other people waits for them.",
    )
