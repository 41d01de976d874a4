//! Writes metrics in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

use crate::base::Histogram;

const WRITTEN: &str = "writing to a String cannot fail";

#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, help, "gauge");
        self.line(name, "", value);
    }

    /// Writes a gauge if the value is known. A 0 for an unknown value would look healthy.
    pub fn gauge_if_known<T: Display>(&mut self, name: &str, help: &str, value: Option<T>) {
        if let Some(value) = value {
            self.gauge(name, help, value);
        }
    }

    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, help, "counter");
        self.line(name, "", value);
    }

    /// Writes a counter by label. Label values must be few and fixed.
    pub fn counters<V: Display>(
        &mut self,
        name: &str,
        label: &str,
        help: &str,
        values: impl IntoIterator<Item = (V, u64)>,
    ) {
        self.begin(name, help, "counter");
        for (value, count) in values {
            self.line(name, &format!("{{{label}=\"{value}\"}}"), count);
        }
    }

    /// Writes a gauge by label. Label values must be few and fixed.
    pub fn gauges<V: Display>(
        &mut self,
        name: &str,
        label: &str,
        help: &str,
        values: impl IntoIterator<Item = (V, usize)>,
    ) {
        self.begin(name, help, "gauge");
        for (value, count) in values {
            self.line(name, &format!("{{{label}=\"{value}\"}}"), count);
        }
    }

    /// Writes a gauge per state: 1 for the current state, 0 for the rest.
    pub fn state(&mut self, name: &str, label: &str, help: &str, words: &[&str], word: &str) {
        self.begin(name, help, "gauge");
        for other in words {
            self.line(name, &format!("{{{label}=\"{other}\"}}"), u8::from(*other == word));
        }
    }

    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, help, "histogram");
        let distribution = histogram.distribution();
        for (edge, count) in &distribution.up_to {
            self.line(&format!("{name}_bucket"), &format!("{{le=\"{edge}\"}}"), count);
        }
        self.line(&format!("{name}_bucket"), "{le=\"+Inf\"}", distribution.count);
        self.line(&format!("{name}_sum"), "", distribution.sum);
        self.line(&format!("{name}_count"), "", distribution.count);
    }

    pub fn into_text(self) -> String {
        self.0
    }

    fn begin(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect(WRITTEN);
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        writeln!(self.0, "{name}{labels} {value}").expect(WRITTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let mut page = Exposition::default();
        page.gauge("a", "what a is", 1.5);
        page.gauge_if_known("b", "what b is", None::<u64>);
        page.counters("c_total", "status", "what c is", [(200, 7), (503, 0)]);
        page.state("d", "state", "what d is", &["open", "closed"], "closed");
        let text = "# HELP a what a is\n# TYPE a gauge\na 1.5\n\
                    # HELP c_total what c is\n# TYPE c_total counter\n\
                    c_total{status=\"200\"} 7\nc_total{status=\"503\"} 0\n\
                    # HELP d what d is\n# TYPE d gauge\nd{state=\"open\"} 0\nd{state=\"closed\"} 1\n";
        assert_eq!(page.into_text(), text);
    }

    #[test]
    fn a_histogram_counts_up_to_each_edge_and_ends_in_all() {
        let (mut page, histogram) = (Exposition::default(), Histogram::of_sizes());
        histogram.note(10);
        histogram.note(2_000);
        page.histogram("sizes", "how many", &histogram);
        let text = page.into_text();
        for line in ["sizes_bucket{le=\"1\"} 0", "sizes_bucket{le=\"10\"} 1", "sizes_bucket{le=\"1000\"} 1"] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(text.ends_with("sizes_bucket{le=\"+Inf\"} 2\nsizes_sum 2010\nsizes_count 2\n"), "{text}");
    }
}
