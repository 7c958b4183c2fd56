"""Attacks: one file each, taking a network and images, and knowing nothing of what is inside.

A network maps float images ``(N, 3, H, W)``, RGB in [0, 1], to float32 logits ``(N, classes)``.
Its normalisation, its defence and its number format are inside it. It is given in evaluation mode
and left as it was found: no gradient is accumulated in its parameters.
"""
