"""What several subcommands share. ``options`` imports nothing heavy, so that an error about arguments comes at once."""

__all__: list[str] = []
