"""The command line. `main.main` is the entry point of the `hunting` script."""
