"""`python -m headsight`."""

from headsight.cli.main import main

if __name__ == "__main__":
    main()
