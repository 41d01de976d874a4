"""Plots of a run, drawn by gnuplot."""

import subprocess

# Samples over which the rate of a fill is averaged.
WINDOW = 5


def draw(series, folder):
    if fill := series.get("fill"):
        plot(folder / "rate.svg", "A million customers claim one coupon", "seconds", "a second",
             [("claims answered", rates(fill, 1)), ("rows stored in MySQL", rates(fill, 2))])
        plot(folder / "backlog.svg", "Claims on their way to MySQL meanwhile", "seconds", "claims",
             [("waiting", [(sample[0], sample[3]) for sample in fill])])
    if latencies := series.get("open"):
        lines = [(what, list(zip([*range(100), 99.9], values))) for what, values in latencies.items()]
        plot(folder / "latency.svg", "Latency at half the peak rate, open loop", "percent of all", "ms, at most", lines,
             log=True)


def rates(samples, column):
    """How fast a column of the samples grows, per second."""
    return [(b[0], (b[column] - a[column]) / (b[0] - a[0])) for a, b in zip(samples, samples[WINDOW:])]


def plot(path, title, x, y, lines, log=False):
    commands = ["set terminal svg size 800,320 font 'sans-serif,12' background '#ffffff'", f"set output '{path}'",
                f"set title '{title}'", f"set xlabel '{x}'", f"set ylabel '{y}'", "set grid",
                "set key outside top right horizontal", "set logscale y" if log else "set yrange [0:]",
                "plot " + ", ".join(f"'-' with lines linewidth 2 title '{label}'" for label, _ in lines)]
    for _, points in lines:
        commands += [f"{x} {y}" for x, y in points] + ["e"]
    subprocess.run(["gnuplot"], input="\n".join(commands) + "\n", text=True, check=True)
