"""`python -m hunting_pipeline` is the same as `hunting`."""

from hunting_pipeline.cli.main import main

if __name__ == "__main__":
    main()
