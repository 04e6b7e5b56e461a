"""The subcommands of ``disco``, one a file: ``add(commands)`` declares its options, ``run(options)`` does the work."""

__all__: list[str] = []
