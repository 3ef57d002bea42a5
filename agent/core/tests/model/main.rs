//! Random projects and random events against a naive world of shims, which knows only what it was
//! told to do and refuses what must never be done.

mod acts;
mod checks;
mod deaths;
mod ends;
mod leases;
mod naive;
mod shown;
#[path = "../stage/mod.rs"]
mod stage;

use naive::Model;
use proptest::prelude::*;

#[test]
fn a_long_random_walk_breaks_no_rule() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut source = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % below.max(1)
    };
    let mut model = Model::new(&mut source);
    for step in 1..=100_000 {
        model.act();
        if step % 500 == 0 {
            model.renew();
        }
        if step % 200 == 0 {
            model.fade();
        }
        if step % 300 == 0 {
            model.ebb();
        }
        if step % 1_250 == 0 {
            model.quiet();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, max_shrink_iters: 20_000, ..Default::default() })]

    #[test]
    fn any_short_walk_breaks_no_rule(choices in proptest::collection::vec(any::<u16>(), 0..1500)) {
        let left = std::cell::RefCell::new(choices.into_iter());
        let mut source = |below: usize| {
            left.borrow_mut().next().map_or(0, |choice| usize::from(choice) % below.max(1))
        };
        let mut model = Model::new(&mut source);
        while left.borrow().len() > 0 {
            model.act();
        }
        model.fade();
        model.ebb();
        model.bloom(&[], None);
        model.quiet();
    }
}
