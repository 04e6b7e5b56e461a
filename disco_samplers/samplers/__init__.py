"""Samplers: one algorithm a file as pure ``init`` / ``step``, and one driver for many chains."""
