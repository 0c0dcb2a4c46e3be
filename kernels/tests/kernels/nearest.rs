//! The search for large scores, against its twin, on every instruction set.

use threadcount_kernels::{Isa, naive, nearest};

#[test]
fn finds_the_first_score_above_the_bar() {
    for len in [0, 1, 15, 16, 255, 256, 257, 511, 513, 1000] {
        let scores: Vec<f32> = (0..len).map(|i| (i as f32 * 1.3).sin()).collect();
        let offsets: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).cos() / 2.0).collect();
        for isa in Isa::detected() {
            for bar in [f32::NEG_INFINITY, 0.0, 1.2, 1.4, 1.49, 9.0, f32::INFINITY, f32::NAN] {
                let mut start = 0;
                loop {
                    let found = nearest::first_from(isa, &scores, &offsets, bar, start);
                    let twin = naive::nearest::first_from(&scores, &offsets, bar, start);
                    assert_eq!(found, twin, "{isa} {len} {bar} {start}");
                    let Some(at) = found else { break };
                    start = at + 1;
                }
            }
        }
    }
}

/// At each place alone: no lane and no stride is passed over.
#[test]
fn no_place_is_overlooked() {
    let len = 700;
    for isa in Isa::detected() {
        for place in 0..len {
            let mut scores = vec![0.0; len];
            scores[place] = 1.0;
            let found = nearest::first_from(isa, &scores, &vec![0.0; len], 1.0, 0);
            assert_eq!(found, Some(place), "{isa}");
            let behind = nearest::first_from(isa, &scores, &vec![0.0; len], 1.0, place + 1);
            assert_eq!(behind, None, "{isa}");
        }
    }
}

#[test]
fn a_score_that_is_not_a_number_is_passed_over() {
    for isa in Isa::detected() {
        let mut scores = vec![f32::NAN; 600];
        scores[599] = 5.0;
        assert_eq!(nearest::first_from(isa, &scores, &[0.0; 600], 1.0, 0), Some(599), "{isa}");
    }
}
