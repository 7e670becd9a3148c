//! The last product of every turn of a loop, done during the next turn.
//!
//! In a loop like that of attention, scores = q k; p = f(scores); sum += p v, nothing can run beside the functions f
//! within a turn. So the second product of a turn is started behind the first product of the next one: the
//! matrix unit works on it while the other units compute f (Shah et al. 2024, arXiv 2407.08608, section 3.2).
//! In the first turn there is nothing to add; the product of zeros that is added instead keeps the
//! pipeline of products free of branches.

use super::feeds::Side;
use super::flights::{Flight, Release};
use super::warpgroup::{Step, warpgroup};
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::{Cmp, Ty, Val};
use crate::place::{Home, Product};
use crate::visit::{self, Key};
use mixc_tile::Stmt;

/// What is carried from turn to turn.
#[derive(Clone)]
struct Carried {
    feed: usize,
    /// The rows of the product as words, step by step: slots.
    words: Vec<Vec<Val>>,
    /// The stage of the columns and its parity: slots.
    stage: Val,
    parity: Val,
    /// Whether there was a turn: a slot.
    started: Val,
}

impl<'k> Lower<'k> {
    /// The deferrable product of every loop of a chain, if each has one and they are alike.
    fn deferrable(&self, loops: &'k [Stmt]) -> Option<(usize, Vec<&'k Stmt>)> {
        let mut found: Option<(usize, Vec<&'k Stmt>)> = None;
        for stmt in loops {
            let Stmt::For { body, .. } = stmt else {
                return None;
            };
            let (feed, last) = self.last_product(body)?;
            match &mut found {
                None => found = Some((feed, vec![last])),
                Some((known, lasts)) => {
                    let (a, b) = (self.product_of(lasts[0])?, self.product_of(last)?);
                    let alike = a.dst.buf == b.dst.buf
                        && a.unit == b.unit
                        && extents(a) == extents(b)
                        && *known == feed;
                    if !alike {
                        return None;
                    }
                    lasts.push(last);
                }
            }
        }
        found
    }

    /// The product that ends a turn, if it can wait: its rows are in registers and read by nothing else, its columns are
    /// fed, and another product begins the turn that does not need its result.
    fn last_product(&self, body: &'k [Stmt]) -> Option<(usize, &'k Stmt)> {
        let producer = self.producer()?;
        let work: Vec<&Stmt> = body
            .iter()
            .filter(|s| !producer.of_load.contains_key(&(*s as Key)))
            .collect();
        let (last, others) = work.split_last()?;
        let product = self.product_of(last)?;
        let feed = *producer.of_buf.get(&visit::index(product.columns.buf))?;
        let in_registers = |buf| self.placement.homes[visit::index(buf)] != Home::Shared;
        let plain = product.accumulate
            && !product.split_rows
            && product.warpgroup.as_ref()?.rows.is_none()
            && in_registers(product.dst.buf)
            && in_registers(product.rows.buf)
            && others.iter().all(|s| !self.fed_to(s).contains(&feed));
        let touches = |stmt: &Stmt, buf| {
            let mut found = false;
            visit::each(std::slice::from_ref(stmt), &mut |s| {
                found |= visit::reads(s).iter().any(|a| a.buf == buf)
                    || visit::written(s).is_some_and(|d| d.buf == buf);
            });
            found
        };
        let first = others.iter().position(|s| {
            self.product_of(s)
                .is_some_and(|p| in_registers(p.dst.buf) && p.dst.buf != product.dst.buf)
        })?;
        let free = others[..=first]
            .iter()
            .all(|s| !touches(s, product.dst.buf) && !touches(s, product.rows.buf));
        (plain && free).then_some((feed, *last))
    }

    fn product_of(&self, stmt: &Stmt) -> Option<&Product> {
        let product = self.placement.products.get(&(stmt as *const Stmt))?;
        product.warpgroup.is_some().then_some(product)
    }

    /// Loops of one ring that follow each other.
    pub(super) fn fed_chain(&mut self, loops: &'k [Stmt], ring: usize) -> Result<(), LowerError> {
        let Some((feed, lasts)) = self.deferrable(loops) else {
            for stmt in loops {
                self.fed_loop(stmt, ring)?;
            }
            return Ok(());
        };
        let carried = self.carried(feed, lasts[0], ring)?;
        for (stmt, last) in loops.iter().zip(&lasts) {
            let last: &'k Stmt = last;
            self.counted_loop(stmt, |own, body| {
                own.open_feeds(ring, body);
                own.open.retain(|open| open.feed != feed);
                own.deferring_turn(body, last, &carried)?;
                own.land_all()?;
                let turn = own.turns_of_rings[ring];
                for (from, to) in [(turn.stage, carried.stage), (turn.parity, carried.parity)] {
                    let now = own.e.load(from, Ty::I32);
                    own.e.store(now, to);
                }
                let one = own.e.i32(1);
                own.e.store(one, carried.started);
                own.close_feeds(ring);
                Ok(())
            })?;
        }
        // What the last turn left.
        if let Some(last) = lasts.last() {
            let started = self.e.load(carried.started, Ty::I32);
            let zero = self.e.i32(0);
            let any = self.e.icmp(Cmp::Ne, started, zero);
            self.e.open_if(any);
            self.start_deferred(last, &carried)?;
            self.land_all()?;
            self.e.close();
        }
        Ok(())
    }

    fn carried(&mut self, feed: usize, last: &'k Stmt, ring: usize) -> Result<Carried, LowerError> {
        let product = self.placement.products[&(last as Key)].clone();
        let rows = self.rows(&product);
        let steps = super::matrix::steps(&rows, product.m.len()).len();
        let zero = self.e.i32(0);
        let variable = |own: &mut Self, value: Val| {
            let slot = own.e.slot(Ty::I32);
            own.e.store(value, slot);
            slot
        };
        let words = (0..steps)
            .map(|_| (0..4).map(|_| variable(self, zero)).collect())
            .collect();
        let turn = self.turns_of_rings[ring];
        let stage = self.e.load(turn.stage, Ty::I32);
        let parity = self.e.load(turn.parity, Ty::I32);
        Ok(Carried {
            feed,
            words,
            stage: variable(self, stage),
            parity: variable(self, parity),
            started: variable(self, zero),
        })
    }

    /// The statements of a turn, the last product of the one before in between.
    fn deferring_turn(
        &mut self,
        body: &'k [Stmt],
        last: &'k Stmt,
        carried: &Carried,
    ) -> Result<(), LowerError> {
        let mut waits = true;
        for stmt in body {
            if std::ptr::eq(stmt, last) {
                return self.keep_rows(last, carried);
            }
            let begins = waits && self.product_of(stmt).is_some();
            if begins {
                self.await_turn();
            }
            let under_way = self.flights.len();
            self.run(std::slice::from_ref(stmt))?;
            if waits && self.flights.len() > under_way {
                waits = false;
                self.start_deferred(last, carried)?;
            }
            if begins {
                self.pass_turn();
            }
        }
        Ok(())
    }

    /// Keeps the rows of a product for the next turn. The words must not be made before the product that reads the old ones
    /// is over.
    fn keep_rows(&mut self, last: &'k Stmt, carried: &Carried) -> Result<(), LowerError> {
        self.land_all()?;
        let product = self.placement.products[&(last as Key)].clone();
        let group = warpgroup(&product)?;
        let rows = self.rows(&product);
        self.pinned = true;
        let steps = self.row_steps(&product, &group, &rows);
        self.pinned = false;
        for ((words, _), slots) in steps?.iter().zip(&carried.words) {
            for (word, slot) in words.iter().zip(slots) {
                self.e.store(*word, *slot);
            }
        }
        Ok(())
    }

    /// Starts the product that the turn before left.
    fn start_deferred(&mut self, last: &'k Stmt, carried: &Carried) -> Result<(), LowerError> {
        let product = self.placement.products[&(last as Key)].clone();
        let group = warpgroup(&product)?;
        let stage = self.e.load(carried.stage, Ty::I32);
        let parity = self.e.load(carried.parity, Ty::I32);
        self.wait_at(carried.feed, Side::Full, stage, parity);
        let storage = self.storage(&product.columns)?;
        let bytes = self.e.i32(self.placement.slots[storage.slot].bytes as i32);
        let offset = self.e.mul(stage, bytes);
        let current = self.stages.insert(storage.slot, offset);
        let columns = self.column_steps(&product, &group, carried.words.len())?;
        if let Some(current) = current {
            self.stages.insert(storage.slot, current);
        }
        let mut steps = vec![];
        for (slots, (columns, columns_rest)) in carried.words.iter().zip(columns) {
            steps.push(Step {
                rows: slots.iter().map(|s| self.e.load(*s, Ty::I32)).collect(),
                rest: None,
                columns,
                columns_rest,
            });
        }
        let layout = self.placement.layouts[&(last as Key)].clone();
        let super::shared::Source::Registers(map) = self.source(&product.dst, &layout)? else {
            return Err(unsupported(
                "bug: a deferred product adds to shared memory".to_owned(),
            ));
        };
        let count = product.n.iter().map(|(_, n)| n).product::<usize>() / 2;
        let old = (0..count)
            .map(|r| self.read_register(&product.dst, map[r]))
            .collect();
        let sums = self.start_product(&product, &group, &steps, Some(old));
        let started = self.e.load(carried.started, Ty::I32);
        let zero = self.e.i32(0);
        let only_if = self.e.icmp(Cmp::Ne, started, zero);
        self.flights.push(Flight {
            stmt: last,
            add: false,
            sums,
            reads: vec![visit::index(product.columns.buf)],
            releases: vec![Release {
                feed: carried.feed,
                stage,
                only_if: Some(only_if),
            }],
        });
        Ok(())
    }
}

fn extents(product: &Product) -> [Vec<usize>; 3] {
    let of = |axes: &[(mixc_ir::Name, usize)]| axes.iter().map(|(_, n)| *n).collect();
    [of(&product.m), of(&product.n), of(&product.k)]
}
