"""Preventive models: networks that are robust by their training, not by a defence in front."""
