"""Median and quartiles."""

from statistics import quantiles


def spread(values):
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartiles": [lower, upper]}
