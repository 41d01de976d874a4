//! What counting costs each claim: its outcome, how long it took, and how long Redis took of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use couponrush::claiming::{ClaimFigures, Outcome};
use couponrush::domain::Refusal;
use criterion::{Criterion, criterion_group, criterion_main};

fn counting(criterion: &mut Criterion) {
    let figures = ClaimFigures::default();
    criterion.bench_function("an attempt is counted, with its clock", |bencher| {
        bencher.iter(|| {
            let began = Instant::now();
            figures.asked.note_time(black_box(Duration::from_micros(400)));
            figures.note(black_box(&Outcome::Refused(Refusal::SoldOut)), began.elapsed());
        });
    });
    criterion.bench_function("the clock alone", |bencher| bencher.iter(|| black_box(Instant::now()).elapsed()));
}

criterion_group!(benches, counting);
criterion_main!(benches);
