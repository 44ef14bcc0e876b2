"""What all guides share."""

from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike


class Guide:
    """A denoiser around `denoiser`, on the schedule of that one. Guides are called as denoisers are, and stack."""

    denoiser: DenoiserLike

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule
