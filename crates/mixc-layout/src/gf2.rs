//! Elimination over the field of two elements, with vectors as the bits of a `u128`.

/// The span of the columns inserted so far, remembering how each vector is made of them.
///
/// A column that depends on earlier ones is never used to make another, so every combination is
/// over the first independent columns alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    /// Reduced vectors with distinct leading bits, each with the set of columns that sum to it.
    rows: Vec<(u128, u128)>,
    /// For each dependent column the set of columns that sums to zero; the dependent one leads it.
    kernel: Vec<u128>,
    columns: u32,
}

impl Span {
    pub fn of(columns: impl IntoIterator<Item = u128>) -> Span {
        let mut span = Span::default();
        for column in columns {
            span.insert(column);
        }
        span
    }

    /// Adds the next column; false when it depends on the earlier ones.
    pub fn insert(&mut self, column: u128) -> bool {
        let (rest, used) = self.reduce(column);
        let used = used | 1 << self.columns;
        self.columns += 1;
        if rest == 0 {
            self.kernel.push(used);
            return false;
        }
        // Larger leading bits first, so that one pass over the rows reduces a vector.
        let place = self.rows.partition_point(|(row, _)| *row > rest);
        self.rows.insert(place, (rest, used));
        true
    }

    /// What is left of a vector after reduction, and the columns that were subtracted.
    fn reduce(&self, mut vector: u128) -> (u128, u128) {
        let mut used = 0;
        for (row, made_of) in &self.rows {
            if leads(*row, vector) {
                vector ^= row;
                used ^= made_of;
            }
        }
        (vector, used)
    }

    pub fn rank(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The set of columns that sums to `vector`, the numerically smallest one; none outside the span.
    pub fn solve(&self, vector: u128) -> Option<u128> {
        let (rest, used) = self.reduce(vector);
        (rest == 0).then_some(used)
    }

    /// The columns that depend on earlier ones.
    pub fn dependent(&self) -> u128 {
        self.kernel.iter().fold(0, |all, k| all | leading(*k))
    }

    /// Sets of columns that sum to zero, one led by each dependent column, which no other set has;
    /// together they generate all such sets.
    pub fn kernel(&self) -> &[u128] {
        &self.kernel
    }

    /// The numerically smallest set with the same sum as `set`.
    pub fn smallest(&self, mut set: u128) -> u128 {
        for k in self.kernel.iter().rev() {
            if leads(*k, set) {
                set ^= k;
            }
        }
        set
    }
}

/// The highest set bit alone.
fn leading(vector: u128) -> u128 {
    1 << vector.ilog2()
}

/// Whether `vector` has the leading bit of `row`.
fn leads(row: u128, vector: u128) -> bool {
    vector & leading(row) != 0
}
