"""From scores to statistics, tables, comparisons and verdicts. Neither PyTorch nor matplotlib."""
