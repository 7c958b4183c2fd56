"""Photographs on disk, in archives and in packages, drawn and decoded into image files."""

from advrob.images.subset import extract, load

__all__ = ["extract", "load"]
