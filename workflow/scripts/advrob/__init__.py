"""Attacks, defences and their evaluation: the library behind the workflow's scripts.

Images are float tensors ``(N, 3, H, W)``, RGB in [0, 1]; radii and magnitudes are in units of
1/255 of that range, everywhere.
"""
