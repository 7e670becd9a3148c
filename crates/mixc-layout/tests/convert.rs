//! Conversions, carried out word by word as an emitter would.

mod common;

use std::collections::HashMap;

use common::{at, held, points};
use mixc_layout::convert::*;
use mixc_layout::fragment::*;
use mixc_layout::{LANE, Layout, LayoutError, OFFSET, REGISTER, WARP};
use proptest::prelude::*;

/// What each thread holds, by (warp, lane): one element for each register.
type Registers = HashMap<(u32, u32), Vec<Option<Vec<u32>>>>;

fn registers(layout: &Layout) -> Registers {
    let mut held = Registers::new();
    for point in points(layout) {
        let value = |name| point.iter().find(|(n, _)| n == name).map_or(0, |p| p.1);
        let size = 1 << layout.in_bits(REGISTER);
        let thread = held
            .entry((value(WARP), value(LANE)))
            .or_insert(vec![None; size]);
        thread[value(REGISTER) as usize] = Some(layout.values(&at(&point)));
    }
    held
}

fn threads(layout: &Layout) -> impl Iterator<Item = (u32, u32)> {
    let lanes = 1 << layout.in_bits(LANE);
    (0..1 << layout.in_bits(WARP)).flat_map(move |w| (0..lanes).map(move |l| (w, l)))
}

/// Gives a layout's inputs values, where it has them.
fn inputs<'a>(layout: &Layout, all: &[(&'a str, u32)]) -> Vec<(&'a str, u32)> {
    let has = |name: &str| layout.ins().any(|(n, _)| n == name);
    all.iter().copied().filter(|(name, _)| has(name)).collect()
}

fn carry_out(plan: &Conversion, from: &Layout, to: &Layout) -> Registers {
    let mut source = registers(from);
    // Warps that have no part of the destination have no part in the conversion, but for what they
    // store.
    if !matches!(plan, Conversion::Shared(_)) {
        source.retain(|(warp, _), _| warp >> to.in_bits(WARP) == 0);
    }
    let size = 1 << to.in_bits(REGISTER);
    let mut found: Registers = threads(to).map(|t| (t, vec![None; size])).collect();
    match plan {
        Conversion::Nothing => {
            for (thread, values) in &mut found {
                values.clone_from(&source[thread]);
            }
        }
        Conversion::Registers(sources) => {
            for (thread, values) in &mut found {
                *values = sources
                    .iter()
                    .map(|r| source[thread][*r as usize].clone())
                    .collect();
            }
        }
        Conversion::Select(select) => {
            for ((warp, lane), values) in &mut found {
                for (register, value) in values.iter_mut().enumerate() {
                    let (unit, rest) =
                        (register as u32 / select.unit, register as u32 % select.unit);
                    let at = [(REGISTER, unit), (LANE, *lane), (WARP, *warp)];
                    let chosen = select
                        .source
                        .apply_to(REGISTER, &inputs(&select.source, &at));
                    let chosen = (chosen * select.unit + rest) as usize;
                    value.clone_from(&source[&(*warp, *lane)][chosen]);
                }
            }
        }
        Conversion::Shuffle(shuffle) => {
            carry_out_shuffle(shuffle, &source, &mut found);
            repeat(&shuffle.same, &mut found);
        }
        Conversion::Shared(exchange) => {
            carry_out_exchange(exchange, &source, &mut found);
            repeat(&exchange.same, &mut found);
        }
    }
    found
}

/// Gives registers that hold the same as others their elements.
fn repeat(same: &Layout, found: &mut Registers) {
    for values in found.values_mut() {
        for register in 0..values.len() {
            let first = same.apply_to(REGISTER, &[(REGISTER, register as u32)]) as usize;
            // What shares a word with others comes with them.
            assert!(values[register].is_none() || values[register] == values[first]);
            values[register] = values[first].clone();
        }
    }
}

fn carry_out_shuffle(shuffle: &Shuffle, source: &Registers, found: &mut Registers) {
    let words = |values: &[Option<Vec<u32>>], word: u32| {
        let first = (word * shuffle.unit) as usize;
        values[first..first + shuffle.unit as usize].to_vec()
    };
    for round in 0..shuffle.rounds {
        for pass in 0..shuffle.passes {
            let given: HashMap<_, _> = source
                .iter()
                .map(|((warp, lane), values)| {
                    let at = [
                        ("round", round),
                        ("pass", pass),
                        (LANE, *lane),
                        (WARP, *warp),
                    ];
                    let give = &shuffle.give;
                    let register = give.apply_to(REGISTER, &inputs(give, &at));
                    ((*warp, *lane), words(values, register))
                })
                .collect();
            for ((warp, lane), values) in found.iter_mut() {
                let at = [("round", round), (LANE, *lane), (WARP, *warp)];
                let read = shuffle.read.apply_to(LANE, &inputs(&shuffle.read, &at));
                assert!(!shuffle.is_local(round) || read == *lane);
                let at = [("round", round), (LANE, *lane)];
                let take = shuffle.take.apply_to(REGISTER, &inputs(&shuffle.take, &at));
                let accept = &shuffle.accept;
                if accept.apply_to("pass", &inputs(accept, &[(LANE, *lane)])) == pass {
                    for (n, element) in given[&(*warp, read)].iter().enumerate() {
                        let register = (take * shuffle.unit) as usize + n;
                        assert_eq!(
                            values[register], None,
                            "register {register} is filled twice"
                        );
                        values[register].clone_from(element);
                    }
                }
            }
        }
    }
}

fn carry_out_exchange(exchange: &Exchange, source: &Registers, found: &mut Registers) {
    let elem = exchange.tile.elem_bytes;
    // Element slots of shared memory, with the warp that wrote them.
    let mut memory: HashMap<u32, (u32, Vec<u32>)> = HashMap::new();
    let accesses = |side: &Transfer, warp: u32, lane: u32| -> Vec<(u32, Vec<u32>)> {
        let access = |registers: &[u32]| {
            let at = [(REGISTER, registers[0]), (LANE, lane), (WARP, warp)];
            let offset = side.offset.apply_to(OFFSET, &inputs(&side.offset, &at));
            assert_eq!(offset % (side.vector * elem), 0, "misaligned");
            (offset, registers.to_vec())
        };
        side.registers
            .chunks(side.vector as usize)
            .map(access)
            .collect()
    };
    for ((warp, lane), values) in source {
        let copies = exchange.copies;
        if lane & copies.lanes != 0 || warp & copies.warps != 0 {
            continue;
        }
        for (offset, registers) in accesses(&exchange.store, *warp, *lane) {
            for (n, register) in registers.iter().enumerate() {
                let value = values[*register as usize].clone().unwrap();
                let slot = offset + n as u32 * elem;
                assert!(slot + elem <= exchange.tile.bytes());
                let before = memory.insert(slot, (*warp, value));
                assert_eq!(before, None, "byte {slot} is written twice");
            }
        }
    }
    for ((warp, lane), values) in found {
        for (offset, registers) in accesses(&exchange.load, *warp, *lane) {
            for (n, register) in registers.iter().enumerate() {
                let (_, value) = &memory[&(offset + n as u32 * elem)];
                values[*register as usize] = Some(value.clone());
            }
        }
    }
}

fn check(from: &Layout, to: &Layout, elem_bytes: u32) -> Conversion {
    let plan = plan(from, to, elem_bytes).unwrap();
    assert_eq!(
        carry_out(&plan, from, to),
        registers(to),
        "{plan:?}\n{from}\nto\n{to}"
    );
    plan
}

proptest! {
    #[test]
    fn plans_deliver_the_wanted_elements(seeds in any::<[u64; 2]>(), elem in 0u32..5) {
        let tile = vec![("m", 3), ("n", 2)];
        let [from, to] = seeds.map(|seed| held(tile.clone(), 2, seed));
        check(&from, &to, 1 << elem);
        // Through shared memory is always possible.
        let exchange = Conversion::Shared(Exchange::new(&from, &to, 1 << elem).unwrap());
        prop_assert_eq!(carry_out(&exchange, &from, &to), registers(&to));
    }

    /// Layouts over one warp: everything but shared memory.
    #[test]
    fn plans_within_a_warp_need_no_memory(seeds in any::<[u64; 2]>(), elem in 0u32..5) {
        let tile = vec![("m", 3), ("n", 2)];
        let [from, to] = seeds.map(|seed| {
            let several = held(tile.clone(), 3, seed);
            let mut one = Layout::new(&tile).with_input(REGISTER).with_input(LANE);
            for (name, bits) in several.ins() {
                for bit in 0..bits {
                    let vector = several.basis(name, bit);
                    let name = if name == WARP { REGISTER } else { name };
                    one = one.with_bit(name, &[("m", vector[0]), ("n", vector[1])]);
                }
            }
            one
        });
        let plan = check(&from, &to, 1 << elem);
        prop_assert!(!matches!(plan, Conversion::Shared(_)));
    }
}

#[test]
fn the_same_layout_takes_nothing() {
    assert_eq!(
        check(&mma_a_16bit(), &mma_a_16bit(), 2),
        Conversion::Nothing
    );
}

/// The accumulators of two neighbouring m16n8 products are, register for register, the A operand of a
/// product over their 16 columns: what lets `softmax(q k) v` stay in registers.
#[test]
fn two_accumulators_are_one_operand() {
    let pair = mma_accumulator().product(&Layout::identity(REGISTER, "n", 1));
    let plan = check(&pair.rename_out("n", "k"), &mma_a_16bit(), 2);
    assert_eq!(plan, Conversion::Nothing);
    // So are those of a warpgroup.
    let plan = check(
        &wgmma_accumulator(16).unwrap().rename_out("n", "k"),
        &wgmma_a_16bit(),
        2,
    );
    assert_eq!(plan, Conversion::Nothing);
    // Held with the column above the row, it is the same registers in another order.
    let swapped = Layout::new(&[("m", 4), ("k", 4)])
        .with_bit(REGISTER, &[("k", 8)])
        .with_bit(REGISTER, &[("k", 1)])
        .with_bit(REGISTER, &[("m", 8)]);
    let swapped = ["k 2", "k 4", "m 1", "m 2", "m 4"]
        .iter()
        .fold(swapped, |l, bit| {
            let (out, value) = bit.split_once(' ').unwrap();
            l.with_bit(LANE, &[(out, value.parse().unwrap())])
        });
    let plan = check(&swapped, &mma_a_16bit(), 2);
    assert_eq!(plan, Conversion::Registers(vec![0, 2, 4, 6, 1, 3, 5, 7]));
}

/// The tf32 operand does not have the accumulator's columns: lanes exchange within groups of four.
#[test]
fn accumulators_go_to_tf32_operands_by_shuffles() {
    let from = mma_accumulator().rename_out("n", "k");
    let Conversion::Shuffle(shuffle) = check(&from, &mma_a_tf32(), 4) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.rounds, shuffle.passes, shuffle.unit), (4, 1, 1));
    assert!(shuffle.shuffles() <= 4);
}

/// A transpose of four lanes by four registers takes three shuffles and one round without.
#[test]
fn transposes_take_one_shuffle_for_each_register() {
    let tile = |first: &str, second: &str| {
        let start = Layout::new(&[("m", 2), ("n", 2)]);
        let start = (0..2).fold(start, |l, b| l.with_bit(first, &[("m", 1 << b)]));
        (0..2).fold(start, |l, b| l.with_bit(second, &[("n", 1 << b)]))
    };
    let (from, to) = (tile(REGISTER, LANE), tile(LANE, REGISTER));
    let Conversion::Shuffle(shuffle) = check(&from, &to, 4) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.rounds, shuffle.passes), (4, 1));
    assert_eq!(shuffle.shuffles(), 3);
}

#[test]
fn pairs_of_halves_travel_together() {
    let from = mma_a_16bit();
    let mut lanes_swapped = Layout::new(&[("m", 4), ("k", 4)]);
    for bit in 0..3 {
        let v = from.basis(REGISTER, bit);
        lanes_swapped = lanes_swapped.with_bit(REGISTER, &[("m", v[0]), ("k", v[1])]);
    }
    for bit in [1, 0, 2, 3, 4] {
        let v = from.basis(LANE, bit);
        lanes_swapped = lanes_swapped.with_bit(LANE, &[("m", v[0]), ("k", v[1])]);
    }
    let Conversion::Shuffle(shuffle) = check(&from, &lanes_swapped, 2) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.unit, shuffle.shuffles()), (2, 4));
    let Conversion::Shuffle(shuffle) = check(&from, &lanes_swapped, 4) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.unit, shuffle.shuffles()), (1, 8));
}

/// A row's statistic, held by all lanes of the row in both layouts, moves once for each row that a
/// thread has, not once for each register.
#[test]
fn registers_that_repeat_are_filled_once() {
    let from = mma_accumulator().project(&["m"]);
    let to = blocked(&[("m", 16), ("n", 8)], &["m", "n"], 4, 1).unwrap();
    let Conversion::Shuffle(shuffle) = check(&from, &to.project(&["m"]), 4) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.rounds, shuffle.passes), (4, 1));
    let Conversion::Shuffle(back) = check(&to.project(&["m"]), &from, 4) else {
        panic!("not by shuffles");
    };
    assert_eq!(back.rounds, 2);
}

#[test]
fn other_warps_are_reached_through_shared_memory() {
    let from = wgmma_accumulator(64).unwrap();
    let to = blocked(&[("m", 64), ("n", 64)], &["n", "m"], 4, 4).unwrap();
    let Conversion::Shared(exchange) = check(&from, &to, 4) else {
        panic!("not through shared memory");
    };
    assert!(!exchange.within_warp);
    assert_eq!((exchange.store.vector, exchange.load.vector), (2, 4));
    assert_eq!(Shuffle::new(&from, &to, 4), Err(LayoutError::OtherWarp));
    // No conflicts: each wavefront moves 128 bytes.
    let least = 64 * 64 * 4 / 128;
    assert_eq!(exchange.store.wavefronts, least);
    assert_eq!(exchange.load.wavefronts, least);
}

/// Two lanes that want the same register of the same lane are served by one pass, though other lanes
/// want the other register of it.
#[test]
fn lanes_that_want_the_same_share_a_pass() {
    let from = Layout::new(&[("m", 2), ("n", 1)])
        .with_bit(REGISTER, &[("n", 1)])
        .with_bit(LANE, &[("m", 1)])
        .with_bit(LANE, &[("m", 2)]);
    let to = Layout::new(&[("m", 2), ("n", 1)])
        .with_bit(REGISTER, &[("m", 1)])
        .with_bit(REGISTER, &[("m", 2)])
        .with_bit(LANE, &[("n", 1)])
        .with_bit(LANE, &[("n", 1)]);
    let Conversion::Shuffle(shuffle) = check(&from, &to, 4) else {
        panic!("not by shuffles");
    };
    assert_eq!((shuffle.rounds, shuffle.passes), (4, 1));
}

/// The random layouts above come to every kind of plan.
#[test]
fn random_layouts_take_every_kind_of_plan() {
    let mut seen = std::collections::HashSet::new();
    for seed in 0..3000 {
        let tile = vec![("m", 1), ("n", 2 * (seed as u32 % 2))];
        let [from, to] = [seed, seed + 10_000].map(|seed| held(tile.clone(), 2, seed));
        seen.insert(match plan(&from, &to, 2).unwrap() {
            Conversion::Nothing => "nothing",
            Conversion::Registers(_) => "registers",
            Conversion::Select(_) => "select",
            Conversion::Shuffle(s) if s.passes > 1 => "shuffle in passes",
            Conversion::Shuffle(s) if s.unit > 1 => "shuffle of units",
            Conversion::Shuffle(_) => "shuffle",
            Conversion::Shared(e) if e.copies.lanes != 0 => "shared with copies",
            Conversion::Shared(_) => "shared",
        });
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn sizes_are_checked() {
    let from = Layout::identity(WARP, "m", 1);
    let to = Layout::identity(LANE, "m", 1);
    assert!(matches!(plan(&from, &to, 3), Err(LayoutError::Size { .. })));
}
