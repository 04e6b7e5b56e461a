"""Adapters of disco_samplers to other frameworks; each is an extra of its own."""
