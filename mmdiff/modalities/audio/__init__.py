"""Sound: representations, whitening, levels, sample rates and channels."""
