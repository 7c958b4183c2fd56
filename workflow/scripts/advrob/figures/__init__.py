"""Curves, panels and diagrams, in one style."""

import os

# A notebook's choice, which matplotlib refuses where the notebook's packages are not. Figures here
# are drawn without one.
os.environ.pop("MPLBACKEND", None)
