//! Random layouts, and the points of small ones.

use mixc_layout::Layout;

/// Every value of every input of a layout.
pub fn points(layout: &Layout) -> Vec<Vec<(String, u32)>> {
    let mut points = vec![vec![]];
    for (name, bits) in layout.ins() {
        let longer = points.iter().flat_map(|p: &Vec<(String, u32)>| {
            (0..1 << bits).map(move |v| {
                let mut p = p.clone();
                p.push((name.to_string(), v));
                p
            })
        });
        points = longer.collect();
    }
    points
}

/// A point as the methods of layouts take it.
pub fn at(point: &[(String, u32)]) -> Vec<(&str, u32)> {
    point.iter().map(|(n, v)| (n.as_str(), *v)).collect()
}

/// A layout of a tile over `register`, `lane` and `warp` that has every element, some of them
/// several times; up to `extra` more bits than the tile has.
pub fn held(outs: Vec<(&'static str, u32)>, extra: u32, mut seed: u64) -> Layout {
    let total: u32 = outs.iter().map(|(_, bits)| bits).sum();
    // Unit vectors, mixed by adding one to another.
    let mut vectors: Vec<u32> = (0..total).map(|b| 1 << b).collect();
    for _ in 0..next(&mut seed) % 8 * u64::from(total > 1) {
        let (from, to) = (next(&mut seed) as usize, next(&mut seed) as usize);
        let (from, to) = (from % vectors.len(), to % vectors.len());
        if from != to {
            vectors[to] ^= vectors[from];
        }
    }
    for _ in 0..next(&mut seed) % (u64::from(extra) + 1) {
        let random = next(&mut seed) as u32 & ((1 << total) - 1);
        vectors.push(if next(&mut seed) & 1 == 0 { 0 } else { random });
    }
    let mut layout = Layout::new(&outs);
    for input in ["register", "lane", "warp"] {
        layout = layout.with_input(input);
    }
    while !vectors.is_empty() {
        let mut vector = vectors.swap_remove(next(&mut seed) as usize % vectors.len());
        let input = ["register", "lane", "lane", "warp"][next(&mut seed) as usize % 4];
        let values: Vec<_> = outs
            .iter()
            .map(|(name, bits)| {
                let value = vector & ((1 << bits) - 1);
                vector >>= bits;
                (*name, value)
            })
            .collect();
        layout = layout.with_bit(input, &values);
    }
    layout
}

/// A small generator, so that a layout follows from one number.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
