"""The mathematics of diffusion: pure functions on tensors, which draw no random number and open no file.

Read level, schedules, targets and denoiser for training; programs and samplers for generation.
"""
