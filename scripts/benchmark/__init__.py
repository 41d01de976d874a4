"""The benchmark behind `scripts/bench` and `scripts/compare-builds`."""
