"""The commands: each module has a `main` that a console script calls."""
