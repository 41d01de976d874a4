//! Time that metrics cost a claim: its outcome, its duration and Redis' share of the duration.

use std::hint::black_box;
use std::time::{Duration, Instant};

use couponrush::claim::{ClaimFigures, ClaimOutcome};
use couponrush::domain::Refusal;
use criterion::{Criterion, criterion_group, criterion_main};

fn counting(criterion: &mut Criterion) {
    let figures = ClaimFigures::default();
    criterion.bench_function("an attempt is counted, including the clock", |bencher| {
        bencher.iter(|| {
            let began = Instant::now();
            figures.asked.note_time(black_box(Duration::from_micros(400)));
            figures.note(black_box(&ClaimOutcome::Refused(Refusal::SoldOut)), began.elapsed());
        });
    });
    criterion.bench_function("the clock alone", |bencher| bencher.iter(|| black_box(Instant::now()).elapsed()));
}

criterion_group!(benches, counting);
criterion_main!(benches);
