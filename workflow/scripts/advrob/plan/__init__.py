"""The configuration, read once into small typed values: what is run, and what it needs.

Nothing here imports PyTorch or another package of the library: Snakemake reads it on every call.
"""
