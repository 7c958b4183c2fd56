"""How a job runs: its arguments, log, progress, locks, limits and device."""
