"""The mathematics of diffusion: pure functions and frozen values, with no network, no file and no device policy."""
