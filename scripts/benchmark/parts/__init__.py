"""One module for each part of `scripts/bench`; each has a function `run(bench)`."""
