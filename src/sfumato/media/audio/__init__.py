"""Sounds: decoded without trusting them, brought to one rate, written with their record, shown as spectrograms."""

from sfumato.media.audio.medium import Audio
from sfumato.media.audio.mel import filter_bank, hz_to_mel, log_mel, mel_to_hz

__all__ = ["Audio", "filter_bank", "hz_to_mel", "log_mel", "mel_to_hz"]
