"""The configuration, read once into small typed values: what is run, and what it needs.

Nothing here imports PyTorch or another room: Snakemake reads it on every call.
"""
